//! A proxied connection's socket as links see it: what can be tried without waiting, and when to try again.
//!
//! `connection.rs` owns two of them, `link.rs` reads one and writes the other, `socket.rs` does what concerns the TCP
//! socket beneath. Over TLS (`tls/`) links see plaintext, and there may be ciphertext pending that they do not know of.
//!
//! Invariant: nothing here waits but [`Stream::ready`], [`Stream::shake_hands`] and what polls, and what one side of a
//! stream does never blocks the other.

use crate::{arrival, tls::TlsStream};
use rustix::net::{RecvFlags, recv};
use std::{
    io::{self, ErrorKind, IoSlice},
    net::Shutdown,
    task::{Context, Poll},
    time::Instant,
};
use tokio::{
    io::{Interest, Ready},
    net::TcpStream,
};

/// One end of a proxied connection.
#[derive(Debug)]
pub(crate) enum Stream {
    /// Bytes as they are on the wire.
    Plain(TcpStream),
    /// Bytes within TLS. Boxed, so that it costs a plain connection nothing.
    Tls(Box<TlsStream>),
}

impl Stream {
    /// The TCP socket beneath, for its options, its addresses and its end.
    pub(crate) fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => tls.tcp(),
        }
    }

    /// Returns when there is something to read or to write; at once where nothing comes before. The caller sets the
    /// limit.
    pub(crate) async fn shake_hands(&self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tls(tls) => tls.shake_hands().await,
        }
    }

    /// The TCP socket, where the stream is nothing else: then bytes may go past us, from socket to socket.
    pub(crate) fn plain(&self) -> Option<&TcpStream> {
        match self {
            Self::Plain(tcp) => Some(tcp),
            Self::Tls(_) => None,
        }
    }

    /// Reads what is there; 0 is the end of the stream.
    pub(crate) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => read_some(tcp, buffer.len(), || Ok(recv(tcp, buffer, RecvFlags::empty())?.0)),
            Self::Tls(tls) => tls.try_read(buffer),
        }
    }

    /// The same, and when the last of it came in.
    pub(crate) fn try_read_noted(&self, buffer: &mut [u8]) -> io::Result<(usize, Instant)> {
        let mut came: Option<Instant> = None;
        let read = match self {
            Self::Plain(tcp) => read_some(tcp, buffer.len(), || {
                let (read, noted) = arrival::read_noted(tcp, buffer)?;
                came = noted;
                Ok(read)
            })?,
            Self::Tls(tls) => {
                let (read, noted) = tls.try_read_noted(buffer)?;
                came = noted;
                read
            }
        };
        Ok((read, arrival::or_now(came)))
    }

    /// Has the kernel note when what is read by [`Self::try_read_noted`] came in.
    pub(crate) fn note_arrivals(&self, whether: bool) {
        let noted = match self {
            Self::Plain(tcp) => arrival::note_arrivals(tcp, whether),
            Self::Tls(tls) => tls.note_arrivals(whether),
        };
        if let Err(error) = noted {
            tracing::debug!(%error, "when bytes come in is not noted: when they are read counts");
        }
    }

    /// Writes what fits.
    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.try_write(bytes),
            Self::Tls(tls) => tls.try_write(&[IoSlice::new(bytes)]),
        }
    }

    /// Writes what fits, of several pieces.
    pub(crate) fn try_write_vectored(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.try_write_vectored(pieces),
            Self::Tls(tls) => tls.try_write(pieces),
        }
    }

    /// Whether something that was written has yet to reach the socket: call [`Self::try_flush`] when that is writable.
    pub(crate) fn has_pending(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(tls) => tls.has_pending(),
        }
    }

    /// Hands the socket what it takes of what is pending.
    pub(crate) fn try_flush(&self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tls(tls) => tls.try_flush(),
        }
    }

    /// Passes an end in order on, after what is pending.
    pub(crate) fn shut_down(&self) {
        match self {
            Self::Plain(tcp) => {
                if let Err(error) = socket2::SockRef::from(tcp).shutdown(Shutdown::Write) {
                    tracing::trace!(%error, "a peer that was gone when its end was passed on");
                }
            }
            Self::Tls(tls) => tls.shut_down(),
        }
    }

    /// Passes on an end of TLS that was not announced, after what is pending; false where there is no way to say it, so
    /// that it would look like an end in order.
    pub(crate) fn cut_off(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(tls) => {
                tls.cut_off();
                true
            }
        }
    }

    /// Ready when it is worth reading. The socket has one waker for its one reader, and a connection is one task, so an
    /// idle connection holds no future for it, which would cost it a few hundred bytes.
    pub(crate) fn poll_readable(&self, context: &mut Context<'_>) -> Poll<()> {
        // An error of the socket is seen by the read that follows.
        self.tcp().poll_read_ready(context).map(drop)
    }

    /// Ready when it is worth writing, by the waker of its one writer.
    pub(crate) fn poll_writable(&self, context: &mut Context<'_>) -> Poll<()> {
        self.tcp().poll_write_ready(context).map(drop)
    }

    /// Returns when it is worth trying again: for what waits seldom, or beside the reader and the writer.
    pub(crate) fn ready(&self, interest: Interest) -> impl Future<Output = io::Result<Ready>> + '_ {
        self.tcp().ready(interest)
    }
}

/// Reads once. Less than the buffer takes is all that there was, so the socket counts as empty until it tells of more:
/// that saves a second read, which would only be told so.
fn read_some(tcp: &TcpStream, room: usize, read: impl FnOnce() -> io::Result<usize>) -> io::Result<usize> {
    let mut short = None;
    let result = tcp.try_io(Interest::READABLE, || {
        let read = read()?;
        if read == 0 || read == room {
            return Ok(read);
        }
        short = Some(read);
        Err(ErrorKind::WouldBlock.into())
    });
    short.map_or(result, Ok)
}
