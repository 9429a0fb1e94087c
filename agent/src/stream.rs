//! A proxied connection's socket as links see it: what can be tried without waiting, and when to try again.
//!
//! `connection.rs` owns two of them, `link.rs` reads one and writes the other, `socket.rs` does what concerns the TCP
//! socket beneath. Over TLS (`tls/`) links see plaintext, and there may be ciphertext pending that they do not know of.
//!
//! Invariant: nothing here waits but [`Stream::ready`] and [`Stream::shake_hands`], and what one side of a stream does
//! never blocks the other.

use crate::tls::TlsStream;
use std::{
    io::{self, IoSlice},
    net::Shutdown,
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

    /// Reads what is there; 0 is the end of the stream.
    pub(crate) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.try_read(buffer),
            Self::Tls(tls) => tls.try_read(buffer),
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

    /// Returns when it is worth trying again. The socket's own future and no layer around it: each idle connection
    /// holds several.
    pub(crate) fn ready(&self, interest: Interest) -> impl Future<Output = io::Result<Ready>> + '_ {
        self.tcp().ready(interest)
    }
}
