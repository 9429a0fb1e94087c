//! One direction of one connection: reads, lets the pipeline decide, writes, and sleeps until something is due.
//!
//! ```text
//!  source ──read──▶ Pipeline (pure) ──write──▶ sink
//!                      ▲ plan          a clear pipeline is skipped: read → write through one buffer a thread,
//!                                      or, for bulk, through a pipe (splice.rs)
//! ```
//! Above is `connection.rs`, which owns both links and ends the connection as the first of them says.
//!
//! Invariant: a link waits only in [`Link::wait`], which a change of plan always wakes; and dropping that future
//! between polls loses nothing, for all state is in the link. Bytes are in a pipe only while the pipeline is clear.

mod closing;
mod ends;

pub(crate) use ends::{Between, Peer};

use crate::{
    fault::{ConnectionMark, Ending, Item},
    pipeline::{Appetite, Pipeline},
    plane::DataPlane,
    proxy::Membership,
    reach,
    sieve::Sieve,
    socket::{self, Copied},
    splice::{self, Conduit},
    stream::Stream,
};
use bytes::Bytes;
use std::{
    future::{Future, poll_fn},
    io::{self, ErrorKind, IoSlice},
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll},
    time::Instant,
};
use tokio::{
    io::Interest,
    net::TcpStream,
    task::{coop::consume_budget, yield_now},
};

/// Pieces that one write gathers.
const GATHER: usize = 64;

/// Writes in a row before other tasks get their turn.
const WRITES: usize = 32;

/// A read of so many bytes is bulk, for which a pipe is cheaper than copying; of fewer, it is not.
const BULK: usize = 32 * 1024;

/// Reads of bulk in a row that a stream must have shown before it gets a pipe.
const BULK_READS: u8 = 3;

/// What a piece of a pipe's bytes has at most when a fault gets them.
const PIECE: usize = 64 * 1024;

/// Bytes that a link moves before its other direction, the stop of its connection and other tasks get their turn.
const TURN: usize = 4 * 1024 * 1024;

/// One direction.
pub(crate) struct Link {
    upstream: bool,
    pub(crate) pipeline: Pipeline,
    plane: Arc<DataPlane>,
    membership: Arc<Membership>,
    seen: u64,
    sieve: Sieve,
    pub(crate) mark: Arc<ConnectionMark>,
    source_ended: bool,
    /// It ended by RST, and not in order.
    source_reset: bool,
    /// It ended without the word by which TLS says that nothing is missing.
    source_cut_off: bool,
    /// It is gone altogether: nobody is left to answer.
    vanished: bool,
    sink_gone: bool,
    sink_shut: bool,
    /// The kernel notes when what the source sends comes in.
    noted: bool,
    /// Since when it reads, or would if there was anything; what came before waited for that, and its time begins then.
    reading_since: Option<Instant>,
    /// Goes up with each read of bulk, to [`BULK_READS`], and down with each other.
    bulk: u8,
    /// Bytes moved since others had their turn.
    moved: usize,
    /// Bytes on their way through a pipe, which come before whatever is in the pipeline; none when there are none.
    conduit: Option<Box<Conduit>>,
}

/// Why the loop woke.
enum Woke {
    Again,
    Readable,
    Writable,
    /// The source is gone altogether, and nobody reads it who would be told.
    Vanished,
}

impl Link {
    pub(crate) fn new(
        upstream: bool,
        plane: &Arc<DataPlane>,
        membership: &Arc<Membership>,
        mark: &Arc<ConnectionMark>,
    ) -> Self {
        Self {
            upstream,
            pipeline: Pipeline::new(upstream, Arc::clone(&plane.budget)),
            plane: Arc::clone(plane),
            membership: Arc::clone(membership),
            seen: 0,
            sieve: Sieve::default(),
            mark: Arc::clone(mark),
            source_ended: false,
            source_reset: false,
            source_cut_off: false,
            vanished: false,
            sink_gone: false,
            sink_shut: false,
            noted: false,
            reading_since: None,
            bulk: 0,
            moved: 0,
            conduit: None,
        }
    }

    /// Takes over the plan if it changed.
    pub(crate) fn follow_plan(&mut self, between: &Between, now: Instant) {
        let version = self.membership.version();
        if version != self.seen {
            self.seen = version;
            self.pipeline.follow(&self.membership.plan(), now);
        }
        if self.upstream
            && between.replaced.swap(self.pipeline.replaces_upstream(), Relaxed) != self.pipeline.replaces_upstream()
        {
            between.replaced_changed.notify_one();
        }
    }

    /// Runs until the connection is over, and says how it ends. [`Ending::Eof`]: both directions ended in order.
    pub(crate) async fn run(&mut self, source: Peer<'_>, sink: Peer<'_>, between: &Between) -> Ending {
        // Of which plan the source knows; the first one is empty.
        let mut sifted = 0;
        self.membership.set_sifted(self.upstream, sifted);
        loop {
            // A fault that is due again and again must not keep the stop and all other tasks of this thread waiting.
            consume_budget().await;
            if self.moved >= TURN {
                // Waiting for a socket takes a turn away now and then, but by the call, however much a call moves.
                self.moved = 0;
                yield_now().await;
            }
            let now = Instant::now();
            self.follow_plan(between, now);
            if sifted != self.seen {
                sifted = self.seen;
                self.sieve.follow(&self.membership.plan(), self.upstream, source.stream());
                self.membership.set_sifted(self.upstream, sifted);
                self.note_arrivals(source);
            }
            self.drain_conduit(between, now);
            self.pipeline.advance(now);
            self.flush(sink, between);
            if let Some(ending) = self.conclude(sink, between) {
                return ending;
            }
            if self.has_been_left(sink) {
                return Ending::Abort;
            }
            self.note_room(now);
            match self.wait(source, sink).await {
                Woke::Again => {}
                Woke::Readable => self.read(source, sink, between),
                Woke::Writable => self.flush(sink, between),
                Woke::Vanished => self.vanished = true,
            }
        }
    }

    /// Delays count from when bytes came in, which is before they are read; without a fault nobody asks.
    fn note_arrivals(&mut self, source: Peer<'_>) {
        let wanted = !self.pipeline.is_empty_chain();
        if let Peer::Open(source) = source
            && self.noted != wanted
        {
            self.noted = wanted;
            source.note_arrivals(wanted);
        }
    }

    /// Whether it reads from now on, or since when.
    fn note_room(&mut self, now: Instant) {
        let reads = self.conduit.is_none() && self.pipeline.appetite() == Appetite::Hungry;
        self.reading_since = reads.then(|| self.reading_since.unwrap_or(now));
    }

    /// The kernel drops nothing of the source any more.
    pub(crate) fn stop_losing(&mut self, source: &Stream) {
        self.sieve.clear(source);
    }

    async fn wait(&self, source: Peer<'_>, sink: Peer<'_>) -> Woke {
        let writing = self.is_writing(sink);
        let reading = self.conduit.is_none() && !self.source_ended && self.pipeline.appetite() != Appetite::Full;
        let faulty = !self.pipeline.is_empty_chain();
        let wake = faulty.then(Instant::now).and_then(|now| self.pipeline.next_wake(now));
        // Boxed, for an idle connection waits for neither.
        let mut sleep = wake.map(|wake| Box::pin(self.plane.timer.sleep_until(wake)));
        // A client that has ended its side, or is left unread, may go away for good while a fault keeps its
        // connection open; without a look at the socket it would stay for as long as the fault.
        let watching = self.upstream && !self.vanished && (self.source_ended || self.pipeline.forbids_reading());
        let mut error = watching.then(|| Box::pin(source.ready(Interest::ERROR)));
        poll_fn(|context| {
            if self.membership.poll_changed(self.upstream, context).is_ready() {
                return Poll::Ready(Woke::Again);
            }
            if writing && sink.stream().is_some_and(|stream| stream.poll_writable(context).is_ready()) {
                return Poll::Ready(Woke::Writable);
            }
            if due(&mut sleep, context) {
                return Poll::Ready(Woke::Again);
            }
            if reading && source.stream().is_some_and(|stream| stream.poll_readable(context).is_ready()) {
                return Poll::Ready(Woke::Readable);
            }
            if due(&mut error, context) { Poll::Ready(Woke::Vanished) } else { Poll::Pending }
        })
        .await
    }

    /// Whether something is ready to be written.
    fn is_writing(&self, sink: Peer<'_>) -> bool {
        self.conduit.is_some() || !self.pipeline.output().is_empty() || self.is_pending(sink)
    }

    fn read(&mut self, source: Peer<'_>, sink: Peer<'_>, between: &Between) {
        let Peer::Open(source) = source else { return };
        if self.pipeline.appetite() == Appetite::Tell {
            return self.pipeline.tell_unread(Instant::now());
        }
        let mut came = None;
        let result = match sink {
            Peer::Open(sink) if self.pipeline.is_clear() && !self.sink_gone => self.read_through(source, sink, between),
            _ => socket::read_noted_chunk(source).map(|(bytes, noted)| {
                self.has_read(bytes.len());
                came = Some(noted);
                (!bytes.is_empty()).then_some(Item::Bytes(bytes))
            }),
        };
        let item = match result {
            Ok(Some(item)) => item,
            Ok(None) => {
                self.source_ended = true;
                // An RST that a write on the same socket was told of reads as an ordinary end afterwards.
                let reset = between.reset[usize::from(!self.upstream)].load(Relaxed);
                Item::End(if reset { Ending::Reset } else { Ending::Eof })
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return,
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                (self.source_ended, self.source_cut_off) = (true, true);
                Item::End(Ending::Eof)
            }
            Err(error) => {
                (self.source_ended, self.source_reset) = (true, true);
                self.note_failure(&error, between);
                Item::End(Ending::Reset)
            }
        };
        let now = Instant::now();
        // What waited for room, and not for a worker, comes now.
        let came = came.map_or(now, |came| came.max(self.reading_since.unwrap_or(now)).min(now));
        self.pipeline.push_late(item, came, now);
        // What was heard here is answered on the other direction; and what its TLS has to say to it is flushed there.
        if self.pipeline.replaces_upstream() || source.has_pending() {
            self.membership.wake();
        }
    }

    fn note_failure(&self, error: &io::Error, between: &Between) {
        between.failed.store(true, Relaxed);
        if reach::is_of_tls(error) {
            let from = if self.upstream { "client" } else { "upstream" };
            self.plane.tell_tls_failure(error, from, "TLS broke off");
        }
    }

    /// The fast path: what does not fit into the sink now is what the pipeline gets.
    fn read_through(&mut self, source: &Stream, sink: &Stream, between: &Between) -> io::Result<Option<Item>> {
        if self.bulk >= BULK_READS
            && let (Some(source), Some(sink)) = (source.plain(), sink.plain())
            && let Some(conduit) = self.plane.pipes.take()
        {
            return self.splice_through(conduit, source, sink, between);
        }
        match socket::copy_through(source, sink)? {
            Copied::Eof => Ok(None),
            Copied::Bytes { written, rest, failed } => {
                self.has_read(written + rest.len());
                self.mark.meter.deliver(self.upstream, written);
                if failed.is_some() {
                    self.lose_sink(between);
                }
                Ok(Some(Item::Bytes(rest)))
            }
        }
    }

    /// The fast path for bulk. What does not fit into the sink now stays in the pipe, unless a fault comes for it.
    fn splice_through(
        &mut self,
        mut conduit: Box<Conduit>,
        source: &TcpStream,
        sink: &TcpStream,
        between: &Between,
    ) -> io::Result<Option<Item>> {
        match conduit.fill(source) {
            Ok(0) => return Ok(None),
            Ok(filled) => self.has_read(filled),
            Err(error) if splice::is_no_splice(&error) => {
                // Nothing was moved, and the next read copies.
                self.plane.pipes.give_up();
                return Ok(Some(Item::Bytes(Bytes::new())));
            }
            Err(error) => return Err(error),
        }
        self.conduit = Some(conduit);
        self.pour(sink, between);
        Ok(Some(Item::Bytes(Bytes::new())))
    }

    fn has_read(&mut self, bytes: usize) {
        self.mark.meter.receive(self.upstream, bytes);
        self.moved += bytes;
        self.bulk = if bytes >= BULK { (self.bulk + 1).min(BULK_READS) } else { self.bulk.saturating_sub(1) };
    }

    /// Lets the sink have what is in the pipe, which goes back when it is empty.
    fn pour(&mut self, sink: &TcpStream, between: &Between) {
        let Some(mut conduit) = self.conduit.take() else { return };
        let poured = conduit.pour(sink);
        self.mark.meter.deliver(self.upstream, poured.bytes);
        match poured.stopped {
            None => {}
            Some(error) if error.kind() == ErrorKind::WouldBlock => self.conduit = Some(conduit),
            Some(error) if splice::is_no_splice(&error) => {
                self.plane.pipes.give_up();
                self.conduit = Some(conduit);
                self.empty_conduit(between, Instant::now());
            }
            Some(_) => self.lose_sink(between),
        }
    }

    /// A fault that came gets what is in the pipe, in front of all that is read from now on.
    fn drain_conduit(&mut self, between: &Between, now: Instant) {
        if self.conduit.is_some() && !self.pipeline.is_clear() {
            self.empty_conduit(between, now);
        }
    }

    fn empty_conduit(&mut self, between: &Between, now: Instant) {
        let Some(mut conduit) = self.conduit.take() else { return };
        loop {
            match conduit.drain(PIECE) {
                Ok(Some(bytes)) => self.pipeline.push(Item::Bytes(bytes), now),
                Ok(None) => return,
                Err(error) => {
                    // The kernel gives bytes back that it took, so this is a bug; going on would leave a hole.
                    tracing::error!(%error, "bytes are lost in a pipe: the connection ends");
                    between.failed.store(true, Relaxed);
                    return self.pipeline.push(Item::End(Ending::Abort), now);
                }
            }
        }
    }

    /// Whether the sink has something to send that it took before.
    fn is_pending(&self, sink: Peer<'_>) -> bool {
        matches!(sink, Peer::Open(stream) if !self.sink_gone && stream.has_pending())
    }

    fn flush_pending(&mut self, sink: Peer<'_>, between: &Between) {
        if let Peer::Open(stream) = sink
            && self.is_pending(sink)
            && let Err(error) = stream.try_flush()
            && error.kind() != ErrorKind::WouldBlock
        {
            self.lose_sink(between);
        }
    }

    /// Writes what the sink takes.
    fn flush(&mut self, sink: Peer<'_>, between: &Between) {
        self.flush_pending(sink, between);
        if let Peer::Open(sink) = sink
            && let Some(sink) = sink.plain()
        {
            self.pour(sink, between);
        }
        // Bounded, so that a fast reader of a long queue does not keep the other tasks waiting.
        for _ in 0..WRITES {
            if self.conduit.is_some() || self.pipeline.output().is_empty() {
                return;
            }
            let stream = match sink {
                Peer::Open(stream) if !self.sink_gone => stream,
                Peer::Pending => return,
                _ => {
                    self.pipeline.written(usize::MAX);
                    continue;
                }
            };
            let mut slices = [IoSlice::new(&[]); GATHER];
            for (slice, bytes) in slices.iter_mut().zip(self.pipeline.output()) {
                *slice = IoSlice::new(bytes);
            }
            match stream.try_write_vectored(&slices[..self.pipeline.output().len().min(GATHER)]) {
                Ok(written) => {
                    self.mark.meter.deliver(self.upstream, written);
                    self.moved += written;
                    self.pipeline.written(written);
                    self.pipeline.advance(Instant::now());
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => self.lose_sink(between),
            }
        }
    }
}

fn due(future: &mut Option<Pin<Box<impl Future<Output = ()>>>>, context: &mut Context<'_>) -> bool {
    future.as_mut().is_some_and(|future| future.as_mut().poll(context).is_ready())
}
