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
    /// The emptiest [`SLOT`] of any stream, from `settled` after its first byte to its last, as a share of the mean.
    pub(crate) emptiest: f64,
}

/// How finely [`Transfer::emptiest`] looks.
const SLOT: Duration = Duration::from_millis(100);

/// What one stream delivered.
struct Drained {
    bytes: u64,
    first: Instant,
    last: Instant,
    /// Bytes of each [`SLOT`] since the first.
    slots: Vec<u64>,
}

impl Transfer {
    /// Megabytes (10^6) a second.
    pub(crate) fn megabytes_per_second(&self) -> f64 {
        self.bytes as f64 / 1e6 / self.took.as_secs_f64()
    }
}

/// Feeds all pairs, client to server, for so long, and waits for the rest to arrive.
pub(crate) fn run(pairs: Vec<Pair>, feed: Duration, settled: Duration) -> Result<Transfer, BenchError> {
    let pairs: Vec<Pair> = pairs.into_iter().map(Pair::blocking).collect::<Result<_, _>>()?;
    let until = Instant::now() + feed;
    std::thread::scope(|scope| {
        let readers: Vec<_> = pairs.iter().map(|pair| scope.spawn(|| drain(&pair.server))).collect();
        let writers: Vec<_> = pairs.iter().map(|pair| scope.spawn(move || write(&pair.client, until))).collect();
        for writer in writers {
            joined(writer, "write")??;
        }
        let mut drained = Vec::new();
        for reader in readers {
            drained.push(joined(reader, "read")??);
        }
        summed(&drained, settled).ok_or_else(|| BenchError::Missing("bytes of a transfer".into()))
    })
}

fn summed(streams: &[Drained], settled: Duration) -> Option<Transfer> {
    let first = streams.iter().map(|stream| stream.first).min()?;
    let last = streams.iter().map(|stream| stream.last).max()?;
    let emptiest = streams.iter().map(|stream| stream.emptiest(settled)).reduce(f64::min)?;
    Some(Transfer { bytes: streams.iter().map(|stream| stream.bytes).sum(), took: last - first, emptiest })
}

impl Drained {
    fn emptiest(&self, settled: Duration) -> f64 {
        let before = (settled.as_nanos() / SLOT.as_nanos()) as usize;
        // The last one is not full, unless it is the only one.
        let whole = self.slots.get(before..self.slots.len() - 1).filter(|whole| !whole.is_empty());
        let whole = whole.unwrap_or(&self.slots);
        let mean = whole.iter().sum::<u64>() as f64 / whole.len() as f64;
        whole.iter().min().map_or(0.0, |least| *least as f64 / mean)
    }
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

/// Reads to the end.
fn drain(mut server: &std::net::TcpStream) -> Result<Drained, BenchError> {
    let mut chunk = vec![0; CHUNK];
    let (mut bytes, mut first, mut slots) = (0, None, vec![0]);
    loop {
        let read = server.read(&mut chunk).tried("read a bulk transfer")?;
        let now = Instant::now();
        let first = *first.get_or_insert(now);
        if read == 0 {
            return Ok(Drained { bytes, first, last: now, slots });
        }
        let slot = ((now - first).as_nanos() / SLOT.as_nanos()) as usize;
        if slots.len() <= slot {
            slots.resize(slot + 1, 0);
        }
        slots[slot] += read as u64;
        bytes += read as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::Drained;
    use std::time::{Duration, Instant};

    #[test]
    fn the_emptiest_slot_is_set_against_the_mean_of_the_whole_ones() {
        let emptiest = |slots: &[u64], settled: u64| {
            let now = Instant::now();
            let drained = Drained { bytes: slots.iter().sum(), first: now, last: now, slots: slots.to_vec() };
            drained.emptiest(Duration::from_millis(settled))
        };
        assert_eq!(emptiest(&[10, 10, 10, 1], 0), 1.0);
        assert_eq!(emptiest(&[30, 0, 30, 1], 0), 0.0);
        assert_eq!(emptiest(&[30, 10, 20, 0], 0), 0.5);
        assert_eq!(emptiest(&[99, 0, 10, 10, 1], 200), 1.0, "what comes before it settled does not count");
        assert_eq!(emptiest(&[7], 0), 1.0);
        assert_eq!(emptiest(&[8, 8], 1000), 1.0, "nothing is left: all of it");
    }
}
