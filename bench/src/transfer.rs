//! Bulk bytes from clients to servers, as fast as they go, by plain blocking threads: one to write and one to read a
//! stream.
//!
//! `throughput` and `bulk` use it. Invariant: only bytes that arrived are counted, over the time in which they did.

use crate::{
    error::{BenchError, Tried},
    pairs::Pair,
};
use std::{
    io::{Read, Write},
    net::Shutdown,
    thread::ScopedJoinHandle,
    time::{Duration, Instant},
};

/// What one write offers and one read takes, at most.
const CHUNK: usize = 256 * 1024;

/// What arrived.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Transfer {
    /// Bytes, of all streams together.
    pub(crate) bytes: u64,
    /// From the first byte of any stream to the end of the last one.
    pub(crate) took: Duration,
}

impl Transfer {
    /// Megabytes (10^6) a second.
    pub(crate) fn megabytes_per_second(&self) -> f64 {
        self.bytes as f64 / 1e6 / self.took.as_secs_f64()
    }
}

/// Feeds all pairs, client to server, for so long, and waits for the rest to arrive.
pub(crate) fn run(pairs: Vec<Pair>, feed: Duration) -> Result<Transfer, BenchError> {
    let pairs: Vec<Pair> = pairs.into_iter().map(Pair::blocking).collect::<Result<_, _>>()?;
    let until = Instant::now() + feed;
    std::thread::scope(|scope| {
        let readers: Vec<_> = pairs.iter().map(|pair| scope.spawn(|| drain(&pair.server))).collect();
        let writers: Vec<_> = pairs.iter().map(|pair| scope.spawn(move || write(&pair.client, until))).collect();
        for writer in writers {
            joined(writer, "write")??;
        }
        let mut total: Option<(u64, Instant, Instant)> = None;
        for reader in readers {
            let (bytes, first, last) = joined(reader, "read")??;
            total = Some(match total {
                Some((sum, start, end)) => (sum + bytes, start.min(first), end.max(last)),
                None => (bytes, first, last),
            });
        }
        let (bytes, first, last) = total.ok_or_else(|| BenchError::Missing("bytes of a transfer".into()))?;
        Ok(Transfer { bytes, took: last - first })
    })
}

fn joined<T>(thread: ScopedJoinHandle<'_, T>, what: &'static str) -> Result<T, BenchError> {
    thread.join().map_err(|_| BenchError::Panicked(what))
}

fn write(mut client: &std::net::TcpStream, until: Instant) -> Result<(), BenchError> {
    let chunk = vec![0x5a; CHUNK];
    while Instant::now() < until {
        client.write_all(&chunk).tried("write a bulk transfer")?;
    }
    client.shutdown(Shutdown::Write).tried("end a bulk transfer")
}

/// Reads to the end: how many bytes, when the first came and when the end.
fn drain(mut server: &std::net::TcpStream) -> Result<(u64, Instant, Instant), BenchError> {
    let mut chunk = vec![0; CHUNK];
    let (mut bytes, mut first) = (0, None);
    loop {
        let read = server.read(&mut chunk).tried("read a bulk transfer")?;
        let now = Instant::now();
        let first = *first.get_or_insert(now);
        if read == 0 {
            return Ok((bytes, first, now));
        }
        bytes += read as u64;
    }
}
