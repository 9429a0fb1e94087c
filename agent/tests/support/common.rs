//! A proxy between a test's client and a server that the test describes.
//!
//! Everything is on loopback with ports that the kernel chose. Each wait has a limit far above what it takes on a
//! busy machine, so a test that hangs fails.

// Each test file uses its own part of this.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use squall_agent::{ActiveFault, DataPlane, PlaneLimits, Proxy};
use squall_wire::{FaultKind, FaultSpec, ProxyCounters, ProxySpec};
use std::{
    future::Future,
    io::ErrorKind,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::timeout,
};

/// Far above what anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A proxy, and the server behind it.
pub(crate) struct Rig {
    /// The proxy.
    pub(crate) proxy: Proxy,
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
        Self { proxy: proxy(address, &server.to_string(), limits).await, server, _server: tasks }
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
        rig.proxy = start(&spec, PlaneLimits::default()).await;
        rig
    }

    /// Before an address on which nobody listens, and not taking connections yet.
    pub(crate) async fn disabled() -> Self {
        let spec = r#"{"name": "p", "listen": "127.0.0.1:0", "upstream": "127.0.0.1:9", "enabled": false}"#;
        let proxy = start(spec, PlaneLimits::default()).await;
        let server = proxy.listen_addr();
        Self { proxy, server, _server: JoinSet::new() }
    }

    /// Before no server of ours.
    pub(crate) async fn towards(upstream: &str) -> Self {
        let proxy = proxy("127.0.0.1:0", upstream, PlaneLimits::default()).await;
        let server = proxy.listen_addr();
        Self { proxy, server, _server: JoinSet::new() }
    }

    /// A client's connection through the proxy.
    pub(crate) async fn connect(&self) -> TcpStream {
        connect(self.proxy.listen_addr()).await
    }

    /// Sets a fault, given as JSON.
    pub(crate) async fn fault(&self, json: &str) -> Arc<ActiveFault> {
        let fault = fault(json);
        self.proxy.add_fault(Arc::clone(&fault)).await.unwrap();
        fault
    }

    /// Changes the parameters of a fault, given as JSON.
    pub(crate) async fn change(&self, fault: &ActiveFault, kind: &str) {
        let kind: FaultKind = serde_json::from_str(kind).unwrap();
        self.proxy.change_fault(fault.name(), Some(kind), None).await.unwrap();
    }

    /// Removes a fault and answers what it had hit.
    pub(crate) async fn heal(&self, fault: &ActiveFault) -> Option<u64> {
        let removed = self.proxy.remove_faults(std::slice::from_ref(fault.name())).await.unwrap();
        assert_eq!(removed.len(), 1);
        removed[0].hits
    }

    /// Waits until the counters say so.
    pub(crate) async fn until(&self, holds: impl Fn(ProxyCounters) -> bool) {
        until(|| holds(self.proxy.counters()), || format!("{:?}", self.proxy.counters())).await;
    }
}

/// Waits until something holds that nobody tells of.
pub(crate) async fn until(holds: impl Fn() -> bool, told: impl Fn() -> String) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "{}", told());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn proxy(listen: &str, upstream: &str, limits: PlaneLimits) -> Proxy {
    let spec = format!(r#"{{"name": "p", "listen": "{listen}", "upstream": "{upstream}"}}"#);
    start(&spec, limits).await
}

async fn start(spec: &str, limits: PlaneLimits) -> Proxy {
    let spec: ProxySpec = serde_json::from_str(spec).unwrap();
    Proxy::start(&spec, &DataPlane::new(limits)).await.unwrap()
}

const HTTP_ONLY: [&str; 5] = ["http_status", "http_latency", "http_headers", "http_body", "http_unauthorized"];

/// A fault from JSON, its name made up.
pub(crate) fn fault(json: &str) -> Arc<ActiveFault> {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    let spec: FaultSpec = serde_json::from_str(json).unwrap();
    let protocol = if HTTP_ONLY.contains(&spec.fault.name()) || spec.only.names_requests() { "http" } else { "tcp" };
    assert_eq!(spec.mistakes_on(protocol.parse().unwrap()), []);
    let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let name = spec.name.clone().unwrap_or_else(|| format!("f-{number}").parse().unwrap());
    ActiveFault::new(name, &spec, spec.seed.unwrap_or(1))
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
