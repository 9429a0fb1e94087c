//! Messages that carry the time at which they were sent, and what receivers saw.
//!
//! A message is eight bytes: nanoseconds since the origin of [`Receivers`]. Sender and receiver are in this process, so
//! one clock counts, and `arrival - sent` is the way in one direction. A message arrived when the kernel had it for the
//! receiver, which then may have had to wait for a processor; sending costs microseconds itself, which is why direct
//! loopback is measured beside. `latency`, `pipelined` and `live` use it.
//!
//! Invariant: every message that was sent is received or the run fails; none is left out of a figure.

use crate::error::{BenchError, Tried};
use squall_agent::inside::{note_arrivals, read_noted};
use std::{
    io::{self, ErrorKind, Write},
    net::TcpStream,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    time::{Duration, Instant},
};
use tokio::{io::Interest, runtime::Runtime, task::JoinSet};

/// The longest that a message may be under way.
const PATIENCE: Duration = Duration::from_secs(20);

/// One message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record {
    /// When it was sent.
    pub(crate) sent: Instant,
    /// When it came to its receiver's socket.
    pub(crate) arrived: Instant,
}

impl Record {
    /// How long it was under way, in milliseconds.
    pub(crate) fn millis(&self) -> f64 {
        (self.arrived - self.sent).as_secs_f64() * 1e3
    }
}

/// Sends messages that the [`Receivers`] it came from can read the time of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stamper {
    origin: Instant,
}

impl Stamper {
    /// Sends one message.
    pub(crate) fn send(&self, mut socket: &TcpStream) -> Result<Instant, BenchError> {
        let now = Instant::now();
        let nanos = u64::try_from((now - self.origin).as_nanos()).unwrap_or(u64::MAX);
        // Eight bytes fit into any socket that is read; one that takes no more is a broken measurement.
        socket.write_all(&nanos.to_be_bytes()).tried("send a message")?;
        Ok(now)
    }
}

/// Reads messages from many sockets, until it is dropped.
pub(crate) struct Receivers {
    stamper: Stamper,
    records: Receiver<Record>,
    // Owned, so that no task outlives the measurement.
    _tasks: JoinSet<()>,
}

impl Receivers {
    /// Listens on these sockets, for at most so many messages.
    pub(crate) fn start(runtime: &Runtime, sockets: Vec<TcpStream>, at_most: usize) -> Result<Self, BenchError> {
        let origin = Instant::now();
        // Room for all messages that are sent, so that no receiver ever waits for the collector.
        let (sender, records) = sync_channel(at_most);
        let mut tasks = JoinSet::new();
        for socket in sockets {
            let _inside = runtime.enter();
            note_arrivals(&socket, true).tried("have arrivals noted")?;
            let socket = tokio::net::TcpStream::from_std(socket).tried("receive on a socket")?;
            tasks.spawn_on(receive(socket, origin, sender.clone()), runtime.handle());
        }
        Ok(Self { stamper: Stamper { origin }, records, _tasks: tasks })
    }

    /// The sender's side, for any thread.
    pub(crate) fn stamper(&self) -> Stamper {
        self.stamper
    }

    /// Sends so many messages, one each `gap`, to the sockets in turn.
    pub(crate) fn send_evenly(&self, sockets: &[TcpStream], count: usize, gap: Duration) -> Result<(), BenchError> {
        let start = Instant::now();
        for (number, socket) in (0..count).zip(sockets.iter().cycle()) {
            let due = start + gap.mul_f64(number as f64);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            self.stamper.send(socket)?;
        }
        Ok(())
    }

    /// The next message that arrived.
    pub(crate) fn next(&self) -> Result<Record, BenchError> {
        self.records
            .recv_timeout(PATIENCE)
            .map_err(|_| BenchError::Late { what: "a message on the line".into(), limit: PATIENCE })
    }

    /// The next so many.
    pub(crate) fn collect(&self, count: usize) -> Result<Vec<Record>, BenchError> {
        (0..count).map(|_| self.next()).collect()
    }
}

async fn receive(socket: tokio::net::TcpStream, origin: Instant, records: SyncSender<Record>) {
    let mut message = [0; 8];
    // An end or an error ends the receiving; whoever misses a message says so.
    while let Ok(arrived) = read_message(&socket, &mut message).await {
        let sent = origin + Duration::from_nanos(u64::from_be_bytes(message));
        if records.try_send(Record { sent, arrived }).is_err() {
            return;
        }
    }
}

/// Fills the message; when the last of it came in.
async fn read_message(socket: &tokio::net::TcpStream, message: &mut [u8]) -> io::Result<Instant> {
    let mut filled = 0;
    loop {
        socket.readable().await?;
        match socket.try_io(Interest::READABLE, || read_noted(socket, &mut message[filled..])) {
            Ok((0, _)) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok((read, came)) => {
                filled += read;
                if filled == message.len() {
                    return Ok(came.unwrap_or_else(Instant::now));
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}
