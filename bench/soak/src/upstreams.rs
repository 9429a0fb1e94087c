//! What the proxies lead to: servers of each protocol that answer with what they were sent.
//!
//! `site` starts one of each protocol and leads all proxies of that protocol to it. Invariant: a server's tasks end
//! when it is dropped, and no reader of it waits for another.

use crate::error::SoakError;
use axum::{Router, body::Body, extract::Request, response::Response, routing::any};
use squall_wire::Protocol;
use std::net::SocketAddr;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    task::JoinSet,
};

/// A server that runs until it is dropped.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Upstream {
    /// Starts one that speaks this protocol.
    pub(crate) async fn start(protocol: Protocol) -> Result<Self, SoakError> {
        let failed = |e: std::io::Error| SoakError::new(format!("start the {protocol} server"), e);
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut tasks = JoinSet::new();
        let address = match protocol {
            Protocol::Tcp => {
                let listener = TcpListener::bind(any_port).await.map_err(failed)?;
                let address = listener.local_addr().map_err(failed)?;
                tasks.spawn(echo_streams(listener));
                address
            }
            Protocol::Http => {
                let listener = TcpListener::bind(any_port).await.map_err(failed)?;
                let address = listener.local_addr().map_err(failed)?;
                let router = Router::new().fallback(any(echo_body));
                tasks.spawn(async move {
                    // It ends with the task that it runs in.
                    let _ = axum::serve(listener, router).await;
                });
                address
            }
            Protocol::Udp => {
                let socket = UdpSocket::bind(any_port).await.map_err(failed)?;
                let address = socket.local_addr().map_err(failed)?;
                tasks.spawn(echo_datagrams(socket));
                address
            }
        };
        Ok(Self { address, _tasks: tasks })
    }
}

async fn echo_streams(listener: TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        // Those that ended are let go of; as many are open as the proxies have connections.
        while connections.try_join_next().is_some() {}
        if let Ok((stream, _)) = listener.accept().await {
            connections.spawn(echo(stream));
        }
    }
}

/// Sends back what comes, to the end.
async fn echo(mut stream: TcpStream) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        if stream.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
    // The peer may be gone already.
    let _ = stream.shutdown().await;
}

async fn echo_body(request: Request) -> Response {
    Response::new(Body::from_stream(request.into_body().into_data_stream()))
}

async fn echo_datagrams(socket: UdpSocket) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        if let Ok((read, from)) = socket.recv_from(&mut buffer).await {
            // A datagram that cannot be sent is lost, as datagrams are.
            let _ = socket.send_to(&buffer[..read], from).await;
        }
    }
}
