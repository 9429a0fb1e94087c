//! When bytes came in, as the kernel notes it, and not when a worker found the time to read them.
//!
//! A delay that counted from the read would be longer by what the reader had to wait for a processor. The kernel notes
//! the time of each segment for a socket that asks (`SO_TIMESTAMPNS`), which `link.rs` does for one that a fault looks at.
//!
//! Invariant: an arrival is never in the future, and no longer ago than [`OLDEST`].

use nix::{
    cmsg_space,
    sys::{
        socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt::ReceiveTimestampns},
        time::TimeSpec,
    },
};
use std::{
    io::{self, IoSliceMut},
    os::fd::AsRawFd,
    time::{Duration, Instant, SystemTime},
};
use tokio::net::TcpStream;

/// Bytes that came longer ago were not waiting for a worker but for room, which their time begins with.
const OLDEST: Duration = Duration::from_millis(5);

/// Has the kernel note when segments come in on this socket.
pub(crate) fn note(socket: &TcpStream) {
    if let Err(error) = setsockopt(socket, ReceiveTimestampns, &true) {
        tracing::debug!(%error, "the time of arrivals is not noted: that of reading them counts");
    }
}

/// Reads once; when the last of it came in, if that was noted.
pub(crate) fn read(socket: &TcpStream, buffer: &mut [u8]) -> io::Result<(usize, Option<Instant>)> {
    let mut control = cmsg_space!(TimeSpec);
    let mut pieces = [IoSliceMut::new(buffer)];
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut pieces, Some(&mut control), MsgFlags::empty())?;
    let noted = message.cmsgs().ok().and_then(|mut all| {
        all.find_map(|one| match one {
            ControlMessageOwned::ScmTimestampns(noted) => Some(noted),
            _ => None,
        })
    });
    Ok((message.bytes, noted.and_then(on_our_clock)))
}

/// The kernel notes the time of day.
fn on_our_clock(noted: TimeSpec) -> Option<Instant> {
    let today = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()?;
    let age = today.checked_sub(Duration::from(noted)).filter(|age| *age <= OLDEST)?;
    Instant::now().checked_sub(age)
}

#[cfg(test)]
mod tests {
    use super::{note, read};
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
        note(&server);
        let mut buffer = [0; 16];
        assert_eq!(read(&server, &mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);
        // A machine that took longer between the two says nothing.
        for _ in 0..200 {
            let before = Instant::now();
            client.write_all(b"hello").unwrap();
            let sent = Instant::now();
            while sent.elapsed() < Duration::from_millis(2) {}
            let (bytes, came) = read(&server, &mut buffer).unwrap();
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
    async fn what_waited_long_or_was_not_noted_has_no_time() {
        let (mut client, server) = pair().await;
        let mut buffer = [0; 16];
        client.write_all(b"a").unwrap();
        assert_eq!(read(&server, &mut buffer).unwrap(), (1, None));
        note(&server);
        let sent = Instant::now();
        client.write_all(b"b").unwrap();
        while sent.elapsed() < Duration::from_millis(7) {}
        assert_eq!(read(&server, &mut buffer).unwrap(), (1, None));
        drop(client);
        server.readable().await.unwrap();
        assert_eq!(read(&server, &mut buffer).unwrap().0, 0, "the end");
    }
}
