//! A proxy between a test's client and a server that the test describes.
//!
//! Everything is on loopback with ports that the kernel chose. Each wait has a limit far above what it takes on a
//! busy machine, so a test that hangs fails.

// Each test file uses its own part of this.
#![allow(dead_code, unused_imports, clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use crate::hurt::Hurt;
use squall_agent::{ActiveFault, DataPlane, PlaneLimits, Proxy};
use squall_wire::ProxySpec;
use std::{future::Future, io::ErrorKind, net::SocketAddr, ops::Deref, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::timeout,
};

pub(crate) use crate::hurt::{PATIENCE, until};

/// A proxy, and the server behind it.
pub(crate) struct Rig {
    /// The proxy.
    hurt: Hurt,
    /// The server's address.
    pub(crate) server: SocketAddr,
    _server: JoinSet<()>,
}

impl Rig {
    /// Before a server that sends back what it gets.
    pub(crate) async fn echo() -> Self {
        Self::echo_on("127.0.0.1:0").await
    }

    /// The same on an address.
    pub(crate) async fn echo_on(address: &str) -> Self {
        Self::serve_on(address, PlaneLimits::default(), |mut server: TcpStream| async move {
            let (mut reader, mut writer) = server.split();
            // A client that resets is none of the server's business.
            let _ = tokio::io::copy(&mut reader, &mut writer).await;
        })
        .await
    }

    /// Before a server that does this with each connection.
    pub(crate) async fn serve<F: Future<Output = ()> + Send + 'static>(
        serve: impl Fn(TcpStream) -> F + Send + 'static,
    ) -> Self {
        Self::serve_on("127.0.0.1:0", PlaneLimits::default(), serve).await
    }

    /// The same, all said.
    pub(crate) async fn serve_on<F: Future<Output = ()> + Send + 'static>(
        address: &str,
        limits: PlaneLimits,
        serve: impl Fn(TcpStream) -> F + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let server = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                connections.spawn(serve(stream));
            }
        });
        Self { hurt: hurt(proxy(address, &server.to_string(), limits).await), server, _server: tasks }
    }

    /// An `http` proxy before a server that does this with each connection; `more` is put into its specification.
    pub(crate) async fn http<F: Future<Output = ()> + Send + 'static>(
        more: &str,
        serve: impl Fn(TcpStream) -> F + Send + 'static,
    ) -> Self {
        let mut rig = Self::serve(serve).await;
        let spec = format!(
            r#"{{"name": "p", "listen": "127.0.0.1:0", "upstream": "{}", "protocol": "http"{more}}}"#,
            rig.server
        );
        rig.hurt.proxy = start(&spec, PlaneLimits::default()).await;
        rig
    }

    /// Before an address on which nobody listens, and not taking connections yet.
    pub(crate) async fn disabled() -> Self {
        let spec = r#"{"name": "p", "listen": "127.0.0.1:0", "upstream": "127.0.0.1:9", "enabled": false}"#;
        let proxy = start(spec, PlaneLimits::default()).await;
        let server = proxy.listen_addr();
        Self { hurt: hurt(proxy), server, _server: JoinSet::new() }
    }

    /// Before no server of ours.
    pub(crate) async fn towards(upstream: &str) -> Self {
        let proxy = proxy("127.0.0.1:0", upstream, PlaneLimits::default()).await;
        let server = proxy.listen_addr();
        Self { hurt: hurt(proxy), server, _server: JoinSet::new() }
    }

    /// A client's connection through the proxy.
    pub(crate) async fn connect(&self) -> TcpStream {
        connect(self.proxy.listen_addr()).await
    }
}

impl Deref for Rig {
    type Target = Hurt;

    fn deref(&self) -> &Hurt {
        &self.hurt
    }
}

fn hurt(proxy: Proxy) -> Hurt {
    Hurt { proxy, datagrams: false }
}

/// A sound fault from JSON, its name made up.
pub(crate) fn fault(json: &str) -> Arc<ActiveFault> {
    crate::hurt::fault(json, false)
}

async fn proxy(listen: &str, upstream: &str, limits: PlaneLimits) -> Proxy {
    let spec = format!(r#"{{"name": "p", "listen": "{listen}", "upstream": "{upstream}"}}"#);
    start(&spec, limits).await
}

async fn start(spec: &str, limits: PlaneLimits) -> Proxy {
    let spec: ProxySpec = serde_json::from_str(spec).unwrap();
    Proxy::start(&spec, &DataPlane::new(limits)).await.unwrap()
}

/// A client's connection.
pub(crate) async fn connect(address: SocketAddr) -> TcpStream {
    let stream = timeout(PATIENCE, TcpStream::connect(address)).await.unwrap().unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Everything until the end.
pub(crate) async fn read_all(reader: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut got = Vec::new();
    timeout(PATIENCE, reader.read_to_end(&mut got)).await.expect("an end in time").expect("an end in order");
    got
}

/// Everything until an RST, which must come.
pub(crate) async fn expect_reset(reader: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut got = Vec::new();
    let result = timeout(PATIENCE, reader.read_to_end(&mut got)).await.expect("an end in time");
    assert_eq!(result.expect_err("not an end in order").kind(), ErrorKind::ConnectionReset);
    got
}

/// Nothing comes for so long, neither byte nor end.
pub(crate) async fn expect_silence(reader: &mut (impl AsyncRead + Unpin), span: Duration) {
    let mut buffer = [0; 64];
    if let Ok(got) = timeout(span, reader.read(&mut buffer)).await {
        panic!("not silent: {got:?}");
    }
}

/// An address on which nobody listens.
pub(crate) fn free_address() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
