//! When bytes came in, as the kernel notes it, and not when a worker found the time to read them.
//!
//! A delay that counted from the read would be longer by what the reader had to wait for a processor. The kernel notes
//! the time of each segment and datagram for a socket that asks (`SO_TIMESTAMPNS`), which `link.rs` and `udp/` do for one
//! that a fault looks at.
//! nix reads what the kernel adds to a message, for rustix knows no times there.
//!
//! Invariant: an arrival is never in the future.

use nix::{
    cmsg_space,
    sys::{
        socket::{
            ControlMessageOwned, MsgFlags, RecvMsg, SockaddrStorage, recvmsg, setsockopt, sockopt::ReceiveTimestampns,
        },
        time::TimeSpec,
    },
};
use std::{
    io::{self, ErrorKind, IoSliceMut},
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd},
    time::{Duration, Instant, SystemTime},
};

/// No worker is as late as that: the clock was set in between, by which the kernel notes the time.
const NEVER_SO_LATE: Duration = Duration::from_millis(250);

/// Has the kernel note when segments and datagrams come in on this socket, or no longer.
///
/// # Errors
/// Of a socket that is none.
pub fn note_arrivals(socket: &impl AsFd, whether: bool) -> io::Result<()> {
    Ok(setsockopt(socket, ReceiveTimestampns, &whether)?)
}

/// Reads once; when the last of it came in, if that was noted.
///
/// # Errors
/// As those of any read.
pub fn read_noted(socket: &impl AsFd, buffer: &mut [u8]) -> io::Result<(usize, Option<Instant>)> {
    let mut control = cmsg_space!(TimeSpec);
    let mut pieces = [IoSliceMut::new(buffer)];
    let message = recvmsg::<()>(socket.as_fd().as_raw_fd(), &mut pieces, Some(&mut control), MsgFlags::empty())?;
    Ok((message.bytes, came(&message)))
}

/// The same of a datagram, and who sent it.
pub(crate) fn receive_noted(socket: &impl AsFd, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr, Option<Instant>)> {
    let mut control = cmsg_space!(TimeSpec);
    let mut pieces = [IoSliceMut::new(buffer)];
    let message = recvmsg(socket.as_fd().as_raw_fd(), &mut pieces, Some(&mut control), MsgFlags::empty())?;
    let from = message.address.as_ref().and_then(address_of).ok_or(ErrorKind::InvalidData)?;
    Ok((message.bytes, from, came(&message)))
}

/// When something came in: then, or now, where nobody noted it, or the clock was set meanwhile.
pub(crate) fn or_now(noted: Option<Instant>) -> Instant {
    let now = Instant::now();
    noted.filter(|came| now.saturating_duration_since(*came) <= NEVER_SO_LATE).unwrap_or(now)
}

fn address_of(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address.as_sockaddr_in().map(|v4| SocketAddr::V4((*v4).into()));
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| SocketAddr::V6((*v6).into())))
}

/// The time that the kernel added to a message.
fn came<S>(message: &RecvMsg<'_, '_, S>) -> Option<Instant> {
    message.cmsgs().ok()?.find_map(|one| match one {
        ControlMessageOwned::ScmTimestampns(noted) => on_our_clock(noted),
        _ => None,
    })
}

/// The kernel notes the time of day.
fn on_our_clock(noted: TimeSpec) -> Option<Instant> {
    let today = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()?;
    Instant::now().checked_sub(today.checked_sub(Duration::from(noted))?)
}

#[cfg(test)]
mod tests {
    use super::{note_arrivals, read_noted};
    use std::{
        io::{ErrorKind, Write},
        time::{Duration, Instant},
    };
    use tokio::net::{TcpListener, TcpStream};

    async fn pair() -> (std::net::TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let client = client.into_std().unwrap();
        (client, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn bytes_came_when_they_were_sent_however_late_they_are_read() {
        let (mut client, server) = pair().await;
        note_arrivals(&server, true).unwrap();
        let mut buffer = [0; 16];
        assert_eq!(read_noted(&server, &mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);
        // A machine that took longer between the two says nothing.
        for _ in 0..200 {
            let before = Instant::now();
            client.write_all(b"hello").unwrap();
            let sent = Instant::now();
            while sent.elapsed() < Duration::from_millis(2) {}
            let (bytes, came) = read_noted(&server, &mut buffer).unwrap();
            assert_eq!(&buffer[..bytes], b"hello");
            let Some(came) = came.filter(|_| before.elapsed() < Duration::from_millis(4)) else { continue };
            // The two clocks are read one after the other.
            let tolerance = Duration::from_micros(500);
            assert!(came + tolerance >= before && came <= sent + tolerance, "{:?}", sent - before);
            return;
        }
        panic!("no arrival was noted");
    }

    #[tokio::test]
    async fn what_was_not_noted_has_no_time_and_an_end_has_none_either() {
        let (mut client, server) = pair().await;
        let mut buffer = [0; 16];
        client.write_all(b"a").unwrap();
        server.readable().await.unwrap();
        assert_eq!(read_noted(&server, &mut buffer).unwrap(), (1, None));
        note_arrivals(&server, true).unwrap();
        note_arrivals(&server, false).unwrap();
        client.write_all(b"b").unwrap();
        assert_eq!(read_noted(&server, &mut buffer).unwrap(), (1, None));
        drop(client);
        while read_noted(&server, &mut buffer).map_err(|error| error.kind()) == Err(ErrorKind::WouldBlock) {
            tokio::task::yield_now().await;
        }
        assert_eq!(read_noted(&server, &mut buffer).unwrap(), (0, None), "the end");
    }
}
