//! Bulk without copying: bytes go from socket to socket through a pipe, by `splice(2)`, and never come to user space.
//!
//! ```text
//!  source ──fill──▶ pipe ──pour──▶ sink         a fault that comes meanwhile: pipe ──drain──▶ pipeline
//! ```
//! `link.rs` takes a [`Conduit`] for a stream that has shown bulk (small messages are cheaper copied) and lets go of it
//! as soon as it is empty, so the pipes of the [`PipePool`] (one an agent) are held only by what is on its way.
//! Where there is no pipe to be had, or the kernel cannot splice, the link copies.
//!
//! Invariant: what was filled in is poured out or drained, in order; a pipe that still holds bytes is never lent again.

use bytes::Bytes;
use parking_lot::Mutex;
use rustix::{
    io::Errno,
    pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice},
};
use std::{
    io::{self, ErrorKind},
    os::fd::OwnedFd,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{io::Interest, net::TcpStream};

/// What a pipe holds: the most that an ordinary user may have.
const SIZE: usize = 1024 * 1024;

/// Pipes of an agent at once, two descriptors each. A stream beyond them copies.
const MOST: usize = 128;

/// Pipes that are kept for the next stream.
const KEPT: usize = 16;

/// How long not to ask for a pipe again after the machine refused one: it counts the pages of all pipes of a user.
const REFUSAL: Duration = Duration::from_secs(1);

/// The pipes of one agent.
#[derive(Debug, Default)]
pub(crate) struct PipePool {
    shelf: Mutex<Shelf>,
}

#[derive(Debug, Default)]
struct Shelf {
    // At most `KEPT`.
    idle: Vec<Pipe>,
    /// Those on the shelf and those that are lent.
    made: usize,
    refused: Option<Instant>,
    /// The kernel cannot splice these sockets.
    useless: bool,
}

#[derive(Debug)]
struct Pipe {
    out: OwnedFd,
    into: OwnedFd,
}

impl Pipe {
    fn new() -> io::Result<Self> {
        let (out, into) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // A small pipe would cost more calls than copying does.
        fcntl_setpipe_size(&into, SIZE)?;
        Ok(Self { out, into })
    }
}

impl PipePool {
    /// A way through a pipe, if there is one to be had.
    pub(crate) fn take(self: &Arc<Self>) -> Option<Box<Conduit>> {
        let mut shelf = self.shelf.lock();
        let pipe = match shelf.idle.pop() {
            Some(pipe) => pipe,
            None => shelf.make()?,
        };
        drop(shelf);
        Some(Box::new(Conduit { pool: Arc::clone(self), pipe: Some(pipe), held: 0 }))
    }

    /// Lends no more: splicing does not work here.
    pub(crate) fn give_up(&self) {
        let mut shelf = self.shelf.lock();
        shelf.useless = true;
        shelf.made -= shelf.idle.len();
        shelf.idle = Vec::new();
    }

    #[cfg(test)]
    fn made_and_idle(&self) -> (usize, usize) {
        let shelf = self.shelf.lock();
        (shelf.made, shelf.idle.len())
    }
}

impl Shelf {
    fn make(&mut self) -> Option<Pipe> {
        let refused = self.refused.is_some_and(|refused| refused.elapsed() < REFUSAL);
        if self.useless || refused || self.made >= MOST {
            return None;
        }
        match Pipe::new() {
            Ok(pipe) => {
                self.made += 1;
                Some(pipe)
            }
            Err(error) => {
                tracing::debug!(%error, "no pipe for bulk: copying instead");
                self.refused = Some(Instant::now());
                None
            }
        }
    }
}

/// A pipe that one direction of one connection has to itself.
#[derive(Debug)]
pub(crate) struct Conduit {
    pool: Arc<PipePool>,
    /// None only while it is dropped.
    pipe: Option<Pipe>,
    held: usize,
}

/// How pouring went.
#[derive(Debug)]
pub(crate) struct Poured {
    /// Bytes that the sink took.
    pub(crate) bytes: usize,
    /// Why it took no more, if bytes are left.
    pub(crate) stopped: Option<io::Error>,
}

impl Conduit {
    /// Takes in what the source has; 0 is its end. Only to be called when it is empty, so that the source alone can
    /// have kept it waiting.
    pub(crate) fn fill(&mut self, source: &TcpStream) -> io::Result<usize> {
        debug_assert_eq!(self.held, 0, "a source would be blamed for a full pipe");
        let into = &self.pipe()?.into;
        let filled = source.try_io(Interest::READABLE, || Ok(splice(source, None, into, None, SIZE, flags())?))?;
        self.held = filled;
        Ok(filled)
    }

    /// Lets the sink have what it takes.
    pub(crate) fn pour(&mut self, sink: &TcpStream) -> Poured {
        let before = self.held;
        let mut stopped = None;
        while self.held > 0 {
            match self.pour_once(sink) {
                Ok(poured) => self.held -= poured,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    stopped = Some(error);
                    break;
                }
            }
        }
        Poured { bytes: before - self.held, stopped }
    }

    fn pour_once(&self, sink: &TcpStream) -> io::Result<usize> {
        let out = &self.pipe()?.out;
        // Exactly what is there: were more asked for, the kernel would wait for it before it sends the last segment.
        let poured = sink.try_io(Interest::WRITABLE, || Ok(splice(out, None, sink, None, self.held, flags())?))?;
        // Bytes are there, so none moved would be said again and again.
        if poured == 0 { Err(ErrorKind::WriteZero.into()) } else { Ok(poured) }
    }

    /// Takes back what is in it, a chunk of at most `size` bytes; none when it is empty.
    pub(crate) fn drain(&mut self, size: usize) -> io::Result<Option<Bytes>> {
        if self.held == 0 {
            return Ok(None);
        }
        let mut chunk = vec![0; size.min(self.held)];
        let read = loop {
            match rustix::io::read(&self.pipe()?.out, &mut chunk) {
                Err(Errno::INTR) => {}
                other => break other?,
            }
        };
        if read == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        chunk.truncate(read);
        self.held -= read;
        Ok(Some(chunk.into()))
    }

    fn pipe(&self) -> io::Result<&Pipe> {
        self.pipe.as_ref().ok_or_else(|| ErrorKind::BrokenPipe.into())
    }
}

impl Drop for Conduit {
    fn drop(&mut self) {
        let Some(pipe) = self.pipe.take() else { return };
        let mut shelf = self.pool.shelf.lock();
        if self.held == 0 && shelf.idle.len() < KEPT && !shelf.useless {
            shelf.idle.push(pipe);
        } else {
            shelf.made -= 1;
        }
    }
}

/// Whether this error says that splicing itself does not work, rather than that the socket has ended.
pub(crate) fn is_no_splice(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported)
}

fn flags() -> SpliceFlags {
    SpliceFlags::MOVE | SpliceFlags::NONBLOCK
}

#[cfg(test)]
mod tests {
    use super::{KEPT, MOST, PipePool};
    use std::{io::ErrorKind, sync::Arc};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
    };

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (near, far) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        (near.unwrap(), far.unwrap().0)
    }

    fn pattern(bytes: usize) -> Vec<u8> {
        (0..bytes).map(|n| (n % 251) as u8).collect()
    }

    #[tokio::test]
    async fn what_is_filled_in_is_poured_out_and_an_empty_source_is_waited_for() {
        let pool = Arc::new(PipePool::default());
        let ((mut client, source), (sink, mut server)) = (pair().await, pair().await);
        let mut conduit = pool.take().unwrap();
        client.write_all(&pattern(100_000)).await.unwrap();
        let mut moved = 0;
        while moved < 100_000 {
            source.readable().await.unwrap();
            match conduit.fill(&source) {
                Ok(filled) => {
                    sink.writable().await.unwrap();
                    let poured = conduit.pour(&sink);
                    assert_eq!((poured.bytes, poured.stopped.is_none()), (filled, true));
                    moved += filled;
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        }
        let mut got = vec![0; 100_000];
        server.read_exact(&mut got).await.unwrap();
        assert!(got == pattern(100_000));
        assert_eq!(conduit.fill(&source).unwrap_err().kind(), ErrorKind::WouldBlock);
        drop(client);
        source.readable().await.unwrap();
        assert_eq!(conduit.fill(&source).unwrap(), 0, "the end");
    }

    #[tokio::test]
    async fn what_a_sink_did_not_take_is_drained_in_order() {
        let pool = Arc::new(PipePool::default());
        let ((mut client, source), (sink, mut server)) = (pair().await, pair().await);
        socket2::SockRef::from(&sink).set_send_buffer_size(4096).unwrap();
        let sent = pattern(20_000_000);
        let (mut conduit, mut poured, mut drained) = (pool.take().unwrap(), 0, Vec::new());
        let (writing, check) = (sent.clone(), sent.len());
        let writer = tokio::spawn(async move { client.write_all(&writing).await.map(|()| client) });
        // Nobody reads, so the sink is full at some point, with bytes left in the pipe.
        let held = loop {
            source.readable().await.unwrap();
            let Ok(filled) = conduit.fill(&source) else { continue };
            let outcome = conduit.pour(&sink);
            poured += outcome.bytes;
            if let Some(stopped) = outcome.stopped {
                assert_eq!(stopped.kind(), ErrorKind::WouldBlock);
                break filled - outcome.bytes;
            }
        };
        while let Some(chunk) = conduit.drain(1000).unwrap() {
            assert!(chunk.len() <= 1000);
            drained.extend(chunk);
        }
        assert_eq!(drained.len(), held);
        assert!(drained == sent[poured..poured + held] && check > poured + held);
        drop(conduit);
        assert_eq!(pool.made_and_idle(), (1, 1), "an empty pipe goes back");
        drop(sink);
        let mut got = Vec::new();
        server.read_to_end(&mut got).await.unwrap();
        assert!(got == sent[..poured]);
        writer.abort();
    }

    #[tokio::test]
    async fn a_pipe_with_bytes_in_it_is_not_lent_again() {
        let pool = Arc::new(PipePool::default());
        let (mut client, source) = pair().await;
        client.write_all(b"secret").await.unwrap();
        let mut conduit = pool.take().unwrap();
        source.readable().await.unwrap();
        assert_eq!(conduit.fill(&source).unwrap(), 6);
        drop(conduit);
        assert_eq!(pool.made_and_idle(), (0, 0));
    }

    #[test]
    fn a_pool_lends_so_many_and_keeps_a_few() {
        let pool = Arc::new(PipePool::default());
        // A user who may not have so many pages in pipes gets fewer, which is as it should be.
        let lent: Vec<_> = std::iter::from_fn(|| pool.take()).take(MOST + 1).collect();
        assert!(!lent.is_empty() && lent.len() <= MOST, "{}", lent.len());
        assert!(pool.take().is_none());
        let kept = lent.len().min(KEPT);
        drop(lent);
        assert_eq!(pool.made_and_idle(), (kept, kept));
        assert!(pool.take().is_some(), "one from the shelf, whatever was refused before");
        pool.give_up();
        assert_eq!(pool.made_and_idle(), (0, 0));
        assert!(pool.take().is_none());
    }
}
