//! What a link and a listener do to sockets, and what they ask the kernel about them.
//!
//! Reads go through one large buffer a thread, so that an idle connection holds none: `copy_through` is the fast path
//! (`splice.rs` has that for bulk), `read_chunk` hands out exactly what was read. [`queues`] asks
//! `sock_diag(7)` for the length of a listen queue, or of what a peer has not acknowledged yet.
//!
//! Invariant: nothing here blocks; `WouldBlock` is an answer like any other.

use crate::{
    address::{host_of, reaches},
    intercept,
    policy::Upstreams,
    stream::Stream,
};
use bytes::Bytes;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use std::{
    cell::RefCell,
    io::{self, ErrorKind, Read},
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};
use tokio::{
    io::Interest,
    net::{TcpSocket, TcpStream},
    task::coop::consume_budget,
};

/// Large, for a copy costs by the call: 256 KiB take 0.4 s of CPU a GB where 64 KiB take 0.65 s.
const BUFFER: usize = 256 * 1024;

/// What one read takes when a fault looks at the bytes: small enough to be paced, large enough to be cheap.
/// Nine fit into a page of the allocator (512 KiB), where of 64 KiB, with its own head, only seven do.
const CHUNK: usize = 56 * 1024;

thread_local! {
    // Used within one synchronous call only, never across an await.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; BUFFER]);
}

/// How a read and the writes after it went.
#[derive(Debug)]
pub(crate) enum Copied {
    /// So many bytes were read and written; the rest is left to be written.
    Bytes {
        /// Bytes written.
        written: usize,
        /// Bytes read and not written.
        rest: Bytes,
        /// The error of the write that failed, if one did.
        failed: Option<io::Error>,
    },
    /// The source ended.
    Eof,
}

/// Reads once and writes as much of it as the sink takes.
pub(crate) fn copy_through(source: &Stream, sink: &Stream) -> io::Result<Copied> {
    SCRATCH.with_borrow_mut(|buffer| {
        let read = source.try_read(buffer)?;
        if read == 0 {
            return Ok(Copied::Eof);
        }
        let mut written = 0;
        let mut failed = None;
        while written < read {
            match sink.try_write(&buffer[written..read]) {
                Ok(bytes) => written += bytes,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        Ok(Copied::Bytes { written, rest: Bytes::copy_from_slice(&buffer[written..read]), failed })
    })
}

/// Reads one chunk; an empty one is the end of the stream.
pub(crate) fn read_chunk(source: &Stream) -> io::Result<Bytes> {
    SCRATCH.with_borrow_mut(|buffer| {
        let read = source.try_read(&mut buffer[..CHUNK])?;
        Ok(Bytes::copy_from_slice(&buffer[..read]))
    })
}

/// The same, and when the last of it came.
pub(crate) fn read_noted_chunk(source: &Stream) -> io::Result<(Bytes, Instant)> {
    SCRATCH.with_borrow_mut(|buffer| {
        let (read, came) = source.try_read_noted(&mut buffer[..CHUNK])?;
        Ok((Bytes::copy_from_slice(&buffer[..read]), came))
    })
}

/// Makes closing this socket an RST.
pub(crate) fn reset_on_close(stream: &Stream) {
    if let Err(error) = stream.tcp().set_zero_linger() {
        tracing::debug!(%error, "failed to make the close an RST");
    }
}

/// What every proxied socket gets: no delay of small writes, and a probe that notices a peer that vanished. One that is
/// accepted has it from the socket that listens.
pub(crate) fn prepare<'a>(socket: impl Into<SockRef<'a>>) {
    let socket = socket.into();
    let keepalive =
        socket2::TcpKeepalive::new().with_time(Duration::from_secs(60)).with_interval(Duration::from_secs(15));
    if let Err(error) = socket.set_tcp_nodelay(true).and_then(|()| socket.set_tcp_keepalive(&keepalive)) {
        tracing::debug!(%error, "a socket that ended before it was set up");
    }
}

/// Sends what is pending, unless the peer is gone. The caller sets the limit.
async fn flush_out(stream: &Stream) {
    while stream.has_pending() {
        match stream.try_flush() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            _ => return,
        }
        if stream.ready(Interest::WRITABLE).await.is_err() {
            return;
        }
    }
}

/// Sends what is pending after an end was passed on, then reads and throws away until the peer ends. What it says is
/// not even deciphered.
pub(crate) async fn read_out(stream: &Stream) {
    flush_out(stream).await;
    while stream.ready(Interest::READABLE).await.is_ok() {
        // A peer that sends on and on must not keep other tasks waiting.
        consume_budget().await;
        match SCRATCH.with_borrow_mut(|buffer| stream.tcp().try_read(buffer)) {
            Ok(read) if read > 0 => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            _ => return,
        }
    }
}

/// Waits until the peer has acknowledged everything that was sent, or is pending. The caller sets the limit.
pub(crate) async fn acknowledged(stream: &Stream) {
    flush_out(stream).await;
    let (Ok(local), Ok(peer)) = (stream.tcp().local_addr(), stream.tcp().peer_addr()) else { return };
    // Nobody tells when the queue is empty, so it is asked for, less and less often.
    let mut pause = Duration::from_millis(1);
    // A peer that reset meanwhile is connected no longer, and the kernel would tell of the listening socket instead.
    while stream.tcp().peer_addr().is_ok() && queues(local, Some(peer)).is_ok_and(|queues| queues.send > 0) {
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// Whom to dial.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call<'a> {
    /// `HOST:PORT`.
    pub(crate) target: &'a str,
    /// The one of its addresses that is meant; any when absent.
    pub(crate) only: Option<SocketAddr>,
    /// Where proxies may lead.
    pub(crate) rules: &'a Upstreams,
    /// Where the proxy itself listens, which is no upstream.
    pub(crate) own: SocketAddr,
}

/// A name led to where its proxy listens.
#[derive(Debug, thiserror::Error)]
#[error("the proxy itself listens on {0}, so the connection would only open another")]
pub(crate) struct OwnAddress(SocketAddr);

/// Connects to the first address that answers; what is sent carries `mark`. The caller sets the limit.
pub(crate) async fn dial(call: Call<'_>, mark: Option<u32>) -> io::Result<TcpStream> {
    let stream = first_reached(call, |address| connect(address, mark)).await?;
    prepare(&stream);
    Ok(stream)
}

async fn connect(address: SocketAddr, mark: Option<u32>) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(mark) = mark {
        intercept::set_mark(&SockRef::from(&socket), mark)?;
    }
    socket.connect(address).await
}

/// Resolves `HOST:PORT` and takes the first address that can be connected to. The caller sets the limit.
///
/// Each address is held against the rules, and against the proxy's own, before it is dialled: a name may mean another one
/// each time.
pub(crate) async fn first_reached<T, F: Future<Output = io::Result<T>>>(
    call: Call<'_>,
    connect: impl Fn(SocketAddr) -> F,
) -> io::Result<T> {
    let host = host_of(call.target);
    let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
    let addresses: Vec<_> = match call.only {
        Some(address) => vec![address],
        None => tokio::net::lookup_host(call.target).await?.collect(),
    };
    for address in addresses {
        if let Err(forbidden) = call.rules.check(host, address.ip()) {
            last = io::Error::new(ErrorKind::PermissionDenied, forbidden);
            continue;
        }
        if reaches(call.own, address) {
            last = io::Error::other(OwnAddress(address));
            continue;
        }
        match connect(address).await {
            Ok(reached) => return Ok(reached),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The kernel's two queues of a TCP socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Queues {
    /// Of a listening socket: connections that wait to be accepted. Of another: bytes not read.
    pub(crate) receive: u32,
    /// Of a listening socket: how many may wait. Of another: bytes sent and not acknowledged.
    pub(crate) send: u32,
}

/// Asks the kernel for the queues of the socket at `local`, connected to `peer` or listening.
pub(crate) fn queues(local: SocketAddr, peer: Option<SocketAddr>) -> io::Result<Queues> {
    const NETLINK: i32 = 16;
    const NETLINK_SOCK_DIAG: i32 = 4;
    let socket = Socket::new(Domain::from(NETLINK), Type::DGRAM, Some(Protocol::from(NETLINK_SOCK_DIAG)))?;
    // The kernel answers within the call that sends, so there is nothing to wait for.
    socket.set_nonblocking(true)?;
    socket.send(&diag_request(local, peer))?;
    let mut answer = [0; 1024];
    let length = (&socket).read(&mut answer)?;
    diag_answer(&answer[..length])
}

/// Where the bodies of `nlmsghdr` messages start.
const HEADER: usize = 16;

/// `struct nlmsghdr` and `struct inet_diag_req_v2`, for exactly one socket.
fn diag_request(local: SocketAddr, peer: Option<SocketAddr>) -> Vec<u8> {
    const SOCK_DIAG_BY_FAMILY: u16 = 20;
    const NLM_F_REQUEST: u16 = 1;
    const LENGTH: u32 = 72;
    let ports = [local.port(), peer.map_or(0, |peer| peer.port())];
    let mut request = Vec::with_capacity(LENGTH as usize);
    request.extend(LENGTH.to_ne_bytes());
    request.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    request.extend(NLM_F_REQUEST.to_ne_bytes());
    request.extend([0; 8]);
    let (family, protocol) = (if local.is_ipv4() { 2 } else { 10 }, 6);
    request.extend([family, protocol, 0, 0]);
    // Every state.
    request.extend(u32::MAX.to_ne_bytes());
    ports.iter().for_each(|port| request.extend(port.to_be_bytes()));
    request.extend(address(Some(local.ip())));
    request.extend(address(peer.map(|peer| peer.ip())));
    // Any interface, and no cookie.
    request.extend(0_u32.to_ne_bytes());
    request.extend([0xff; 8]);
    request
}

fn address(ip: Option<IpAddr>) -> [u8; 16] {
    match ip {
        Some(IpAddr::V4(ip)) => {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&ip.octets());
            bytes
        }
        Some(IpAddr::V6(ip)) => ip.octets(),
        None => [0; 16],
    }
}

/// `struct inet_diag_msg`, of which the queues matter.
fn diag_answer(answer: &[u8]) -> io::Result<Queues> {
    const NLMSG_ERROR: u16 = 2;
    const RECEIVE_QUEUE: usize = HEADER + 56;
    let short = || io::Error::new(ErrorKind::UnexpectedEof, "the kernel's answer about a socket is too short");
    let word = |at: usize| -> io::Result<u32> {
        let bytes = answer.get(at..at + 4).ok_or_else(short)?;
        Ok(u32::from_ne_bytes(bytes.try_into().map_err(|_| short())?))
    };
    let kind = answer.get(4..6).ok_or_else(short)?;
    if kind == NLMSG_ERROR.to_ne_bytes() {
        return Err(io::Error::from_raw_os_error(word(HEADER)?.cast_signed().wrapping_neg()));
    }
    Ok(Queues { receive: word(RECEIVE_QUEUE)?, send: word(RECEIVE_QUEUE + 4)? })
}

#[cfg(test)]
mod tests {
    use super::queues;
    use std::{
        io::{ErrorKind, Write},
        net::{TcpListener, TcpStream},
    };

    #[test]
    fn the_kernel_tells_how_many_wait_to_be_accepted() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).unwrap();
            let local = listener.local_addr().unwrap();
            assert_eq!(queues(local, None).unwrap().receive, 0);
            let _waiting: Vec<_> = (0..3).map(|_| TcpStream::connect(local).unwrap()).collect();
            assert_eq!(queues(local, None).unwrap().receive, 3);
            listener.accept().unwrap();
            assert_eq!(queues(local, None).unwrap().receive, 2);
        }
    }

    #[test]
    fn the_kernel_tells_what_a_peer_has_not_acknowledged() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut sender = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (local, peer) = (sender.local_addr().unwrap(), sender.peer_addr().unwrap());
        assert_eq!(queues(local, Some(peer)).unwrap().send, 0);
        sender.set_nonblocking(true).unwrap();
        while sender.write(&[0; 65536]).is_ok() {}
        assert!(queues(local, Some(peer)).unwrap().send > 0);
    }

    #[test]
    fn a_socket_that_does_not_exist_is_an_error() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let local = listener.local_addr().unwrap();
        drop(listener);
        assert_eq!(queues(local, None).unwrap_err().kind(), ErrorKind::NotFound);
    }
}
