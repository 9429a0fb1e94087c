//! Connections to the API: accepted up to a limit, each with a limit on how long it may take to shake hands, to say
//! what it wants and to take the answer, and ended in order at shutdown.
//!
//! Neighbours: `super::router` answers the requests, `agent` runs this until it is told to stop.
//! hyper's server and not `axum::serve`, which lets a half-sent request stay open for good.
//! Invariant: a client that stalls costs one place for `api_timeout`, or until another needs it, and delays nobody else.

use super::{
    Api, Peer,
    access::ClientName,
    hall::{Hall, Held, Seat},
};
use crate::access::tls::name_of;
use axum::{Router, body::Body};
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use serde_json::json;
use std::{convert::Infallible, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt;

/// Requests under way at shutdown may take so long; then their connections are cut.
const GRACE: Duration = Duration::from_secs(2);
/// Out of file descriptors, accepting is tried again after so long.
const PAUSE: Duration = Duration::from_millis(100);
/// Bytes of a head, at most, give or take one reading; also what one connection buffers. Of headers hyper takes 100.
const LARGEST_HEAD: usize = 64 * 1024;

/// A bound listener and what it serves.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) listener: TcpListener,
    pub(crate) router: Router,
    /// Says how connections are encrypted, if they are.
    pub(crate) api: Arc<Api>,
    /// Connections at once; for further ones those that are idle make room, or they wait in the listen queue.
    pub(crate) max_connections: usize,
    /// For the head of a request, and for an answer to be taken.
    pub(crate) patience: Duration,
}

impl Server {
    /// Serves until it is told to stop, and then what is under way for a moment.
    pub(crate) async fn serve(self, stop: CancellationToken) {
        let hall = Hall::new(self.max_connections);
        let (connections, cut) = (TaskTracker::new(), CancellationToken::new());
        loop {
            match stop.run_until_cancelled(self.listener.accept()).await {
                None => break,
                Some(Ok((stream, peer))) => match stop.run_until_cancelled(hall.enter(peer.ip())).await {
                    None => break,
                    Some(Some(seat)) => {
                        connections
                            .spawn(cut.clone().run_until_cancelled_owned(self.connection(stream, peer, seat, &stop)));
                    }
                    // It has its share, and all of that is busy.
                    Some(None) => tracing::debug!(%peer, "a host has too many connections to the API"),
                },
                Some(Err(error)) => {
                    tracing::warn!(%error, "failed to accept a connection to the API");
                    if is_shortage(&error) {
                        sleep(PAUSE).await;
                    }
                }
            }
        }
        drop(self.listener);
        connections.close();
        if timeout(GRACE, connections.wait()).await.is_err() {
            tracing::info!(connections = connections.len(), "cutting connections to the API that do not end");
            cut.cancel();
            connections.wait().await;
        }
    }

    fn connection(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        seat: Seat,
        stop: &CancellationToken,
    ) -> impl Future<Output = ()> + Send + use<> {
        let (router, tls, stop, patience) = (self.router.clone(), self.api.access.tls(), stop.clone(), self.patience);
        let read_anew = self.api.access.read_anew();
        async move {
            if let Err(error) = bound_writes(&stream, patience) {
                tracing::debug!(%peer, %error, "failed to set up a connection to the API");
            }
            let Some(tls) = tls else {
                let from = From { peer, certificate: None };
                let ends = stop.cancelled();
                return Box::pin(talk(stream, router, (from, &seat), ends, patience)).await;
            };
            let shaken = timeout(patience, seat.leave.run_until_cancelled(shake_hands(stream, tls))).await;
            match shaken {
                Ok(Some(Ok(stream))) => {
                    let certificate = client_name(&stream).map(ClientName);
                    let shown = certificate.is_some();
                    // A certificate is shown anew to those whom the agent trusts by now.
                    let ends = async {
                        tokio::select! {
                            () = stop.cancelled() => {}
                            () = read_anew, if shown => {}
                        }
                    };
                    Box::pin(talk(stream, router, (From { peer, certificate }, &seat), ends, patience)).await;
                }
                Ok(Some(Err(error))) => tracing::debug!(%peer, %error, "a handshake with the API failed"),
                Ok(None) => tracing::debug!(%peer, "another needed the place of a handshake"),
                Err(_) => tracing::debug!(%peer, "a handshake with the API took too long"),
            }
        }
    }
}

/// Where a request comes from.
#[derive(Debug, Clone)]
struct From {
    peer: SocketAddr,
    certificate: Option<ClientName>,
}

/// Answers the requests of one connection until it ends, `ends` says so, or another needs its seat.
async fn talk(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    router: Router,
    (from, seat): (From, &Seat),
    ends: impl Future<Output = ()>,
    patience: Duration,
) {
    let (peer, bell) = (from.peer, seat.bell());
    let service = service_fn(move |request: Request<Incoming>| {
        // Until the answer is there and, where that is a stream, until its end.
        let busy = bell();
        let answer = answer(router.clone(), request, from.clone());
        async move { answer.await.map(|answer| answer.map(|body| Held { body, _busy: busy })) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(patience)
        .max_buf_size(LARGEST_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = ends => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        // It is idle, or half of a head has come.
        () = seat.leave.cancelled() => Ok(()),
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "a connection to the API ended early");
    }
}

async fn answer(
    router: Router,
    mut request: Request<Incoming>,
    from: From,
) -> Result<axum::response::Response, Infallible> {
    request.extensions_mut().insert(Peer(from.peer));
    if let Some(name) = from.certificate {
        request.extensions_mut().insert(name);
    }
    router.oneshot(request.map(Body::new)).await
}

/// Who speaks plain HTTP is told so in plain HTTP, instead of an alert that its client cannot explain.
async fn shake_hands(stream: TcpStream, tls: Arc<ServerConfig>) -> io::Result<TlsStream<TcpStream>> {
    const HANDSHAKE: u8 = 22;
    let mut first = [0];
    if stream.peek(&mut first).await? == 1 && first[0] != HANDSHAKE {
        let mut stream = stream;
        // What is left unread would turn the end into an RST, and the answer would be lost.
        let mut request = vec![0; LARGEST_HEAD];
        let _ = stream.read(&mut request).await?;
        stream.write_all(&in_plain()).await?;
        stream.shutdown().await?;
        return Err(io::Error::other("the client spoke plain HTTP"));
    }
    TlsAcceptor::from(tls).accept(stream).await
}

fn in_plain() -> Vec<u8> {
    let message = "this agent speaks HTTPS only: write https:// in its address";
    let body = json!({ "error": { "code": "invalid_request", "message": message } }).to_string();
    let length = body.len();
    format!(
        "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{body}"
    )
    .into_bytes()
}

/// The name in the certificate that the client showed and the handshake verified.
fn client_name(stream: &TlsStream<TcpStream>) -> Option<Arc<str>> {
    name_of(stream.get_ref().1.peer_certificates()?.first()?)
}

/// A client that does not take its answer is dropped by the kernel: `hyper` has a limit for reading only.
fn bound_writes(stream: &TcpStream, patience: Duration) -> io::Result<()> {
    stream.set_nodelay(true)?;
    #[cfg(target_os = "linux")]
    socket2::SockRef::from(stream).set_tcp_user_timeout(Some(patience))?;
    #[cfg(not(target_os = "linux"))]
    let _ = patience;
    Ok(())
}

/// Whether the machine, and not the one client, is the reason.
fn is_shortage(error: &io::Error) -> bool {
    !matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}
