//! A `udp` proxy between a test's clients and a server that sends datagrams back.
//!
//! Everything is on loopback with ports that the kernel chose. Each wait has a limit far above what it takes on a
//! busy machine, so a test that hangs fails. Neighbours: every `udp_*.rs`.

// Each test file uses its own part of this.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use crate::hurt::Hurt;
use squall_agent::{DataPlane, PlaneLimits, Proxy};
use squall_wire::ProxySpec;
use std::{
    net::SocketAddr,
    sync::{Arc, atomic::AtomicU64, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};
use tokio::{net::UdpSocket, task::JoinSet, time::timeout};

pub(crate) use crate::hurt::{PATIENCE, until};

/// Milliseconds.
pub(crate) const MS: fn(u64) -> Duration = Duration::from_millis;

/// A server that sends back what it gets.
pub(crate) struct Echo {
    pub(crate) addr: SocketAddr,
    /// Datagrams that it got.
    pub(crate) got: Arc<AtomicU64>,
    _task: JoinSet<()>,
}

impl Echo {
    /// On an address.
    pub(crate) async fn on(addr: &str) -> Self {
        Self::saying(addr, b"").await
    }

    /// The same, with a greeting before each datagram.
    pub(crate) async fn saying(addr: &str, greeting: &'static [u8]) -> Self {
        let socket = UdpSocket::bind(addr).await.unwrap();
        let addr = socket.local_addr().unwrap();
        let got = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&got);
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut buffer = vec![0; 65_536];
            loop {
                // A client that is gone is none of the server's business.
                let Ok((length, from)) = socket.recv_from(&mut buffer).await else { continue };
                count.fetch_add(1, Relaxed);
                let _ = socket.send_to(&[greeting, &buffer[..length]].concat(), from).await;
            }
        });
        Self { addr, got, _task: task }
    }
}

/// A proxy, and the server behind it.
pub(crate) struct Rig {
    hurt: Hurt,
    pub(crate) echo: Echo,
}

impl Rig {
    /// On 127.0.0.1.
    pub(crate) async fn echo() -> Self {
        Self::with("127.0.0.1:0", PlaneLimits::default()).await
    }

    /// All said.
    pub(crate) async fn with(listen: &str, limits: PlaneLimits) -> Self {
        let echo = Echo::on(listen).await;
        let proxy = proxy(listen, &echo.addr.to_string(), limits).await;
        Self { hurt: Hurt { proxy, datagrams: true }, echo }
    }

    /// A client's socket.
    pub(crate) async fn client(&self) -> Client {
        Client::of(self.proxy.listen_addr()).await
    }
}

impl std::ops::Deref for Rig {
    type Target = Hurt;

    fn deref(&self) -> &Hurt {
        &self.hurt
    }
}

/// A proxy for datagrams.
pub(crate) async fn proxy(listen: &str, upstream: &str, limits: PlaneLimits) -> Proxy {
    let spec = serde_json::json!({"name": "p", "listen": listen, "upstream": upstream, "protocol": "udp"});
    let spec: ProxySpec = serde_json::from_value(spec).unwrap();
    Proxy::start(&spec, &DataPlane::new(limits)).await.unwrap()
}

/// A client's socket, connected to a proxy.
pub(crate) struct Client {
    pub(crate) socket: UdpSocket,
}

impl Client {
    /// From any port.
    pub(crate) async fn of(proxy: SocketAddr) -> Self {
        let any = if proxy.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" };
        Self::from(any, proxy).await
    }

    /// From an address.
    pub(crate) async fn from(addr: &str, proxy: SocketAddr) -> Self {
        let socket = UdpSocket::bind(addr).await.unwrap();
        socket.connect(proxy).await.unwrap();
        Self { socket }
    }

    pub(crate) async fn send(&self, datagram: &[u8]) {
        assert_eq!(self.socket.send(datagram).await.unwrap(), datagram.len());
    }

    /// The next datagram, which must come.
    pub(crate) async fn receive(&self) -> Vec<u8> {
        let mut buffer = vec![0; 65_536];
        let length = timeout(PATIENCE, self.socket.recv(&mut buffer)).await.expect("a datagram in time").unwrap();
        buffer.truncate(length);
        buffer
    }

    /// Sends one and gets one.
    pub(crate) async fn ask(&self, datagram: &[u8]) -> Vec<u8> {
        self.send(datagram).await;
        self.receive().await
    }

    /// Sends one and gets the same one back; answers how long that took.
    pub(crate) async fn ping(&self, datagram: &[u8]) -> Duration {
        let start = Instant::now();
        assert_eq!(self.ask(datagram).await, datagram);
        start.elapsed()
    }

    /// Everything that has come by now, though nothing need have come.
    pub(crate) fn arrived(&self) -> Vec<Vec<u8>> {
        let mut buffer = vec![0; 65_536];
        let mut all = Vec::new();
        while let Ok(length) = self.socket.try_recv(&mut buffer) {
            all.push(buffer[..length].to_vec());
        }
        all
    }
}
