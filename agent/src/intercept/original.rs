//! Where an intercepted connection was going, and the mark of what the agent dials.
//!
//! Neighbours: `reach.rs` asks for each connection, `socket.rs` dials with the mark.
//! Invariant: a connection is sent to where it was going only if that is one of the addresses that are intercepted, so
//! a proxy never dials itself; and only while its proxy has the upstream that it was made for.

use socket2::SockRef;
use squall_wire::{ProxyName, ProxySpec};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::SocketAddr,
};
use tokio::net::TcpStream;

/// What a data plane must know of the interception.
#[derive(Debug, Clone)]
pub(crate) struct Originals {
    mark: u32,
    /// The addresses of each upstream that is intercepted.
    targets: BTreeMap<String, BTreeSet<SocketAddr>>,
    /// The proxies that connections are redirected to.
    proxies: BTreeSet<ProxyName>,
}

impl Originals {
    pub(super) fn new(mark: u32) -> Self {
        Self { mark, targets: BTreeMap::new(), proxies: BTreeSet::new() }
    }

    pub(super) fn add(&mut self, proxy: &ProxySpec, addresses: &BTreeSet<SocketAddr>) {
        self.targets.entry(proxy.upstream.clone()).or_default().extend(addresses);
        self.proxies.insert(proxy.name.clone());
    }

    /// Whether connections are redirected to this proxy, and so to the port where it listens.
    pub(crate) fn lead_to(&self, proxy: &ProxyName) -> bool {
        self.proxies.contains(proxy)
    }

    /// What every connection that the agent opens is marked with.
    pub(crate) fn mark(&self) -> u32 {
        self.mark
    }

    /// Where this client was going, when it was redirected on its way to `upstream`.
    pub(crate) fn of(&self, client: &TcpStream, upstream: &str) -> Option<SocketAddr> {
        let addresses = self.targets.get(upstream)?;
        original(client).filter(|original| addresses.contains(original))
    }
}

#[cfg(target_os = "linux")]
fn original(client: &TcpStream) -> Option<SocketAddr> {
    let socket = SockRef::from(client);
    let original = match client.local_addr().ok()? {
        SocketAddr::V4(_) => socket.original_dst_v4(),
        SocketAddr::V6(_) => socket.original_dst_v6(),
    };
    // An error means that nobody redirected it.
    original.ok()?.as_socket()
}

#[cfg(not(target_os = "linux"))]
fn original(_client: &TcpStream) -> Option<SocketAddr> {
    None
}

/// Marks what a socket sends.
#[cfg(target_os = "linux")]
pub(crate) fn set_mark(socket: &SockRef<'_>, mark: u32) -> io::Result<()> {
    socket.set_mark(mark)
}

/// Marks what a socket sends.
#[cfg(not(target_os = "linux"))]
pub(crate) fn set_mark(_socket: &SockRef<'_>, _mark: u32) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Whether sockets can be marked here.
pub(super) fn try_mark(mark: u32) -> io::Result<()> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    set_mark(&SockRef::from(&socket), mark)
}
