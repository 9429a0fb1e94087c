//! What doors and sessions do to sockets for datagrams.
//!
//! Neighbours: `door.rs` and `session.rs`; `crate::socket` has the same for streams.
//!
//! Invariant: nothing here blocks but [`connect`], which has a limit.

use crate::{
    arrival,
    socket::{Call, first_reached},
};
use bytes::Bytes;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use std::{
    cell::RefCell,
    io::{self, ErrorKind},
    net::SocketAddr,
    time::{Duration, Instant},
};
use tokio::{io::Interest, net::UdpSocket};

/// The largest datagram: 65,507 bytes over IPv4, 65,527 over IPv6.
const LARGEST: usize = 65_536;

/// What the kernel is asked to keep of datagrams that were not read yet. It may give less (`net.core.rmem_max`).
const RECEIVE_BUFFER: usize = 4 * 1024 * 1024;

thread_local! {
    // Used within one synchronous call only, never across an await.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; LARGEST]);
}

/// A socket at this address, for everybody's datagrams.
pub(super) fn bind(addr: SocketAddr) -> io::Result<UdpSocket> {
    let socket = socket(addr)?;
    socket.bind(&addr.into())?;
    UdpSocket::from_std(socket.into())
}

/// Resolves `HOST:PORT` and makes a socket to the first address that can be had, all within `limit`.
pub(super) async fn connect(call: Call<'_>, limit: Duration) -> io::Result<UdpSocket> {
    let attempt = first_reached(call, |address| std::future::ready(connected(address)));
    tokio::time::timeout(limit, attempt).await.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))
}

fn connected(addr: SocketAddr) -> io::Result<UdpSocket> {
    let socket = socket(addr)?;
    socket.connect(&addr.into())?;
    UdpSocket::from_std(socket.into())
}

fn socket(addr: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    if let Err(error) = SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER) {
        tracing::debug!(%error, "the receive buffer stays as it is");
    }
    Ok(socket)
}

/// Has the kernel note when datagrams come in, or no longer; answers whether it does.
pub(super) fn note_arrivals(socket: &UdpSocket, whether: bool) -> bool {
    match arrival::note_arrivals(socket, whether) {
        Ok(()) => whether,
        Err(error) => {
            tracing::debug!(%error, "when datagrams come in is not noted: when they are read counts");
            false
        }
    }
}

/// Hands over one datagram that waits, who sent it, and when it came in: as `noted`, or now.
pub(super) fn receive_from<T>(
    socket: &UdpSocket,
    noted: bool,
    take: impl FnOnce(&[u8], SocketAddr, Instant) -> T,
) -> io::Result<T> {
    BUFFER.with_borrow_mut(|buffer| {
        let (length, from, came) = if noted {
            socket.try_io(Interest::READABLE, || arrival::receive_noted(socket, buffer))?
        } else {
            let (length, from) = socket.try_recv_from(buffer)?;
            (length, from, None)
        };
        Ok(take(&buffer[..length], from, arrival::or_now(came)))
    })
}

/// What ICMP told of a datagram that was sent from this socket, each once. A reader is not woken for it.
pub(super) fn refusal(socket: &UdpSocket) -> Option<io::Error> {
    let told = socket.try_io(Interest::ERROR, || socket.take_error()?.ok_or_else(|| ErrorKind::WouldBlock.into()));
    told.ok()
}

/// The same on a connected socket.
pub(super) fn receive(socket: &UdpSocket, noted: bool) -> io::Result<(Bytes, Instant)> {
    BUFFER.with_borrow_mut(|buffer| {
        let (length, came) = if noted {
            socket.try_io(Interest::READABLE, || arrival::read_noted(socket, buffer))?
        } else {
            (socket.try_recv(buffer)?, None)
        };
        Ok((Bytes::copy_from_slice(&buffer[..length]), arrival::or_now(came)))
    })
}
