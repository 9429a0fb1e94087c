//! A proxied connection's socket as links see it: what can be tried without waiting, and when to try again.
//!
//! `connection.rs` owns two of them, `link.rs` reads one and writes the other, `socket.rs` does what concerns the TCP
//! socket beneath.
//!
//! Invariant: nothing here waits but [`Stream::ready`], and what one side of a stream does never blocks the other.

use std::io::{self, IoSlice};
use tokio::{
    io::{Interest, Ready},
    net::TcpStream,
};

/// One end of a proxied connection.
#[derive(Debug)]
pub(crate) enum Stream {
    /// Bytes as they are on the wire.
    Plain(TcpStream),
}

impl Stream {
    /// The TCP socket beneath, for its options, its addresses and its end.
    pub(crate) fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
        }
    }

    /// Reads what is there; 0 is the end of the stream.
    pub(crate) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.try_read(buffer),
        }
    }

    /// Writes what fits.
    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.try_write(bytes),
        }
    }

    /// Writes what fits, of several pieces.
    pub(crate) fn try_write_vectored(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.try_write_vectored(pieces),
        }
    }

    /// Returns when it is worth trying again. The socket's own future and no layer around it: each idle connection
    /// holds several.
    pub(crate) fn ready(&self, interest: Interest) -> impl Future<Output = io::Result<Ready>> + '_ {
        self.tcp().ready(interest)
    }
}
