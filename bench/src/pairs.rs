//! Connections whose both ends are ours: a client's end and the server's end that belongs to it.
//!
//! `lab` opens them through a contestant; `transfer`, `stamped` and the measurements use the ends.
//! Invariant: pairs are opened one after the other, so the ends of a pair belong together whatever is in between.

use crate::error::{BenchError, Tried};
use std::{
    net::{SocketAddr, TcpStream},
    time::Duration,
};
use tokio::net::TcpListener;

/// The longest that a connection, or a blocking read or write on it, may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Both ends of a connection, non-blocking.
pub(crate) struct Pair {
    /// Where the client reads and writes.
    pub(crate) client: TcpStream,
    /// Where the server does.
    pub(crate) server: TcpStream,
}

impl Pair {
    /// Makes both ends block, with a limit.
    pub(crate) fn blocking(self) -> Result<Self, BenchError> {
        for end in [&self.client, &self.server] {
            let set = || {
                end.set_nonblocking(false)?;
                end.set_read_timeout(Some(PATIENCE))?;
                end.set_write_timeout(Some(PATIENCE))
            };
            set().tried("make a socket block with a limit")?;
        }
        Ok(self)
    }
}

/// Opens so many connections to `address`, which leads to `upstream`.
pub(crate) async fn connect(
    upstream: &TcpListener,
    address: SocketAddr,
    count: usize,
) -> Result<Vec<Pair>, BenchError> {
    let mut pairs = Vec::with_capacity(count);
    for _ in 0..count {
        let both = async { tokio::try_join!(tokio::net::TcpStream::connect(address), upstream.accept()) };
        let (client, (server, _)) = tokio::time::timeout(PATIENCE, both)
            .await
            .map_err(|_| BenchError::Late { what: format!("a connection through {address}"), limit: PATIENCE })?
            .tried("connect")?;
        pairs.push(Pair { client: owned(client)?, server: owned(server)? });
    }
    Ok(pairs)
}

fn owned(stream: tokio::net::TcpStream) -> Result<TcpStream, BenchError> {
    stream.set_nodelay(true).and_then(|()| stream.into_std()).tried("take over a socket")
}
