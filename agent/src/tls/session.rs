//! One connection's TLS over its socket: what can be tried without waiting.
//!
//! ```text
//!  try_read  ◀─plaintext── rustls ◀─ciphertext── socket      the socket is read only when no plaintext is left
//!  try_write ──plaintext─▶ rustls ──ciphertext─▶ socket      nothing is taken while ciphertext is pending
//! ```
//! Neighbours: `crate::stream` makes it one kind of stream; links look at [`TlsStream::has_pending`] to know that the
//! socket is to be written to although they have nothing to write.
//!
//! Invariant: while plaintext is left, the socket counts as readable, so that whoever waits for it comes back; bytes
//! leave in the order in which they were taken; and an end without `close_notify` is an error, never an end in order.

use crate::arrival;
use parking_lot::Mutex;
use rustls::Connection;
use std::{
    fmt,
    io::{self, ErrorKind, IoSlice, Read, Write},
    net::Shutdown,
    time::Instant,
};
use tokio::{io::Interest, net::TcpStream, task::coop::consume_budget};

/// A socket and the TLS that is spoken over it.
pub(crate) struct TlsStream {
    tcp: TcpStream,
    // Held within synchronous calls only. Both links of a connection are one task, so nobody waits for it.
    session: Mutex<Session>,
}

struct Session {
    tls: Connection,
    broken: Option<Broken>,
    closing: Closing,
    /// Something has come.
    heard: bool,
    /// The kernel notes when ciphertext comes in.
    noting: bool,
    /// When that came in of which plaintext was read last, or is yet to be read.
    came: Option<Instant>,
}

/// Why nothing can be read any more; the kernel tells of an error once only.
enum Broken {
    Socket(ErrorKind),
    Tls(rustls::Error),
}

/// How far the end of what we say has come.
#[derive(PartialEq, Eq)]
enum Closing {
    Open,
    /// The socket is shut down after the pending ciphertext, `close_notify` among it if the end is in order.
    Due,
    Shut,
}

impl TlsStream {
    pub(super) fn new(tcp: TcpStream, tls: Connection) -> Self {
        let (broken, closing) = (None, Closing::Open);
        Self { tcp, session: Mutex::new(Session { tls, broken, closing, heard: false, noting: false, came: None }) }
    }

    /// The socket beneath.
    pub(crate) fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    /// Returns when both sides have agreed on keys. The caller sets the limit. A client that goes without a word, as
    /// those do that only look whether somebody listens, is [`ErrorKind::NotConnected`].
    pub(crate) async fn shake_hands(&self) -> io::Result<()> {
        loop {
            // A peer that sends on and on must not keep other tasks waiting.
            consume_budget().await;
            let wanted = self.session.lock().advance_handshake(&self.tcp)?;
            match wanted {
                Some(interest) => drop(self.tcp.ready(interest).await?),
                None => return Ok(()),
            }
        }
    }

    /// Has the times noted that [`Self::try_read_noted`] tells, or no longer.
    pub(crate) fn note_arrivals(&self, whether: bool) -> io::Result<()> {
        let mut session = self.session.lock();
        arrival::note_arrivals(&self.tcp, whether)?;
        session.noting = whether;
        session.came = session.came.filter(|_| whether);
        Ok(())
    }

    /// The same as [`Self::try_read`], and when the last of it came in, as ciphertext, if that was noted.
    pub(crate) fn try_read_noted(&self, buffer: &mut [u8]) -> io::Result<(usize, Option<Instant>)> {
        let read = self.try_read(buffer)?;
        Ok((read, self.session.lock().came))
    }

    /// Reads plaintext; 0 is an end that the peer announced.
    pub(crate) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut session = self.session.lock();
        let mut filled = 0;
        while filled < buffer.len() {
            match session.read_some(&self.tcp, &mut buffer[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                // Said again by the next read.
                Err(_) if filled > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    /// Takes plaintext to be sent, unless ciphertext is still waiting for the socket.
    pub(crate) fn try_write(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut session = self.session.lock();
        session.flush(&self.tcp)?;
        let taken = session.tls.writer().write_vectored(pieces)?;
        if taken == 0 && pieces.iter().any(|piece| !piece.is_empty()) {
            return Err(io::Error::new(ErrorKind::WriteZero, "this TLS session takes no more"));
        }
        // What was taken is ours to deliver: what does not fit is pending, and an error is said by the next call.
        let _ = session.flush(&self.tcp);
        Ok(taken)
    }

    /// Whether ciphertext waits for the socket.
    pub(crate) fn has_pending(&self) -> bool {
        let session = self.session.lock();
        session.tls.wants_write() || session.closing == Closing::Due
    }

    /// Writes what the socket takes of the pending ciphertext.
    pub(crate) fn try_flush(&self) -> io::Result<()> {
        self.session.lock().flush(&self.tcp)
    }

    /// Announces the end of what we say; the socket is shut down when that has been sent.
    pub(crate) fn shut_down(&self) {
        self.end(true);
    }

    /// Shuts the socket down, after what is pending, and does not announce it.
    pub(crate) fn cut_off(&self) {
        self.end(false);
    }

    fn end(&self, announced: bool) {
        let mut session = self.session.lock();
        if session.closing == Closing::Open {
            if announced {
                session.tls.send_close_notify();
            }
            session.closing = Closing::Due;
        }
        if let Err(error) = session.flush(&self.tcp) {
            tracing::trace!(%error, "an end that has not been sent yet, or never will");
        }
    }
}

impl Session {
    /// None when it is done; otherwise what to wait for.
    fn advance_handshake(&mut self, tcp: &TcpStream) -> io::Result<Option<Interest>> {
        loop {
            match self.flush(tcp) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Some(Interest::WRITABLE)),
                result => result?,
            }
            if !self.tls.is_handshaking() {
                return Ok(None);
            }
            match self.take_in(tcp) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Some(Interest::READABLE)),
                Ok(0) | Err(_) if !self.heard && matches!(self.tls, Connection::Server(_)) => {
                    return Err(io::Error::new(ErrorKind::NotConnected, "the client left without a word"));
                }
                Ok(0) => return Err(io::Error::new(ErrorKind::UnexpectedEof, "the peer left in the middle of it")),
                result => drop(result?),
            }
        }
    }

    fn read_some(&mut self, tcp: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.tls.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                result => return result,
            }
            self.take_in(tcp)?;
        }
    }

    /// Reads the socket once, and deciphers. 0: it has ended.
    fn take_in(&mut self, tcp: &TcpStream) -> io::Result<usize> {
        if let Some(broken) = &self.broken {
            return Err(broken.error());
        }
        let mut wire = Incoming { tcp, noting: self.noting, came: None };
        let taken = loop {
            match self.tls.read_tls(&mut wire) {
                Ok(taken) => break taken,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Err(error),
                Err(error) => {
                    self.broken = Some(Broken::Socket(error.kind()));
                    return Err(error);
                }
            }
        };
        self.heard |= taken > 0;
        self.came = wire.came;
        let deciphered = self.tls.process_new_packets();
        // An answer to the peer's TLS, or the alert that says why this ends. What does not fit stays pending, and an
        // error of the socket is said by the next write.
        let _ = self.flush(tcp);
        if let Err(error) = deciphered {
            let broken = self.broken.insert(Broken::Tls(error));
            return Err(broken.error());
        }
        Ok(taken)
    }

    fn flush(&mut self, tcp: &TcpStream) -> io::Result<()> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut Outgoing(tcp)) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
        }
        if self.closing == Closing::Due {
            self.closing = Closing::Shut;
            socket2::SockRef::from(tcp).shutdown(Shutdown::Write)?;
        }
        Ok(())
    }
}

impl Broken {
    fn error(&self) -> io::Error {
        match self {
            Self::Socket(kind) => (*kind).into(),
            Self::Tls(error) => io::Error::new(ErrorKind::InvalidData, error.clone()),
        }
    }
}

/// The socket as rustls reads it.
struct Incoming<'a> {
    tcp: &'a TcpStream,
    noting: bool,
    /// When the last that was read came in, if that was noted.
    came: Option<Instant>,
}

impl Read for Incoming<'_> {
    // A short read leaves the socket counting as readable, for there may be plaintext that nobody has taken yet.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.noting {
            return self.tcp.try_read(buffer);
        }
        let (read, came) = self.tcp.try_io(Interest::READABLE, || arrival::read_noted(self.tcp, buffer))?;
        self.came = came;
        Ok(read)
    }
}

/// The socket as rustls writes it.
struct Outgoing<'a>(&'a TcpStream);

impl Write for Outgoing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(pieces)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for TlsStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsStream").field("tcp", &self.tcp).finish_non_exhaustive()
    }
}
