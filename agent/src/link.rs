//! One direction of one connection: reads, lets the pipeline decide, writes, and sleeps until something is due.
//!
//! ```text
//!  source ──read──▶ Pipeline (pure) ──write──▶ sink
//!                      ▲ plan          a clear pipeline is skipped: read → write through one buffer a thread
//! ```
//! Above is `connection.rs`, which owns both links and ends the connection as the first of them says.
//!
//! Invariant: a link waits only in [`Link::run`]'s one `select!`, which a change of plan always wakes; and dropping
//! that future between polls loses nothing, for all state is in the link.

use crate::{
    fault::{Ending, Item},
    pipeline::{Appetite, Pipeline},
    plane::DataPlane,
    proxy::{Flow, Membership},
    reach,
    sieve::Sieve,
    socket::{self, Copied},
    stream::Stream,
};
use std::{
    future::pending,
    io::{self, ErrorKind, IoSlice},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Instant,
};
use tokio::{io::Interest, sync::Notify, task::coop::consume_budget};

/// Pieces that one write gathers.
const GATHER: usize = 64;

/// Writes in a row before other tasks get their turn.
const WRITES: usize = 32;

/// One end of a link.
#[derive(Clone, Copy)]
pub(crate) enum Peer<'a> {
    /// Not there yet: what is for it waits.
    Pending,
    /// Connected.
    Open(&'a Stream),
    /// Never to come: what is for it is thrown away.
    Gone,
}

/// What the two links of a connection know of each other.
#[derive(Debug, Default)]
pub(crate) struct Between {
    /// The client's side, then the upstream's: that socket reported an RST, which is told once only.
    reset: [AtomicBool; 2],
    /// Client to server, then server to client: the end was passed on.
    finished: [AtomicBool; 2],
    /// Either side ended with an error that was not ours.
    pub(crate) failed: AtomicBool,
    /// A fault stopped answering in the upstream's place, or started to.
    pub(crate) replaced: AtomicBool,
    pub(crate) replaced_changed: Notify,
}

/// One direction.
pub(crate) struct Link {
    upstream: bool,
    pub(crate) pipeline: Pipeline,
    plane: Arc<DataPlane>,
    membership: Arc<Membership>,
    seen: u64,
    sieve: Sieve,
    flow: Arc<Flow>,
    source_ended: bool,
    /// It ended by RST, and not in order.
    source_reset: bool,
    sink_gone: bool,
    sink_shut: bool,
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
    pub(crate) fn new(upstream: bool, plane: &Arc<DataPlane>, membership: &Arc<Membership>, flow: &Arc<Flow>) -> Self {
        Self {
            upstream,
            pipeline: Pipeline::new(upstream, Arc::clone(&plane.budget)),
            plane: Arc::clone(plane),
            membership: Arc::clone(membership),
            seen: 0,
            sieve: Sieve::default(),
            flow: Arc::clone(flow),
            source_ended: false,
            source_reset: false,
            sink_gone: false,
            sink_shut: false,
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
        loop {
            // Waiting for a socket that is ready takes no turn away by itself, so a busy link would keep its other
            // direction, the stop of its connection and all other tasks of this thread waiting.
            consume_budget().await;
            let now = Instant::now();
            self.follow_plan(between, now);
            if sifted != self.seen {
                sifted = self.seen;
                self.sieve.follow(&self.membership.plan(), self.upstream, source);
            }
            self.pipeline.advance(now);
            self.flush(sink, between);
            if let Some(ending) = self.conclude(sink, between) {
                return ending;
            }
            match self.wait(source, sink).await {
                Woke::Again => {}
                Woke::Readable => self.read(source, sink, between),
                Woke::Writable => self.flush(sink, between),
                Woke::Vanished => return Ending::Abort,
            }
        }
    }

    /// The kernel drops nothing of the source any more.
    pub(crate) fn stop_losing(&mut self, source: &Stream) {
        self.sieve.clear(source);
    }

    async fn wait(&self, source: Peer<'_>, sink: Peer<'_>) -> Woke {
        let reading = !self.source_ended && self.pipeline.appetite() != Appetite::Full;
        let writing = !self.pipeline.output().is_empty() || self.is_pending(sink);
        let wake = self.pipeline.next_wake(Instant::now());
        // A client that has ended its side, or is left unread, may go away for good while a fault keeps its
        // connection open; without a look at the socket it would stay for as long as the fault.
        let watching = self.upstream && (self.source_ended || self.pipeline.forbids_reading());
        tokio::select! {
            biased;
            () = self.membership.changed(self.upstream) => Woke::Again,
            () = ready(sink, Interest::WRITABLE), if writing => Woke::Writable,
            () = self.sleep_until(wake), if wake.is_some() => Woke::Again,
            () = ready(source, Interest::READABLE), if reading => Woke::Readable,
            () = ready(source, Interest::ERROR), if watching => Woke::Vanished,
        }
    }

    async fn sleep_until(&self, wake: Option<Instant>) {
        match wake {
            Some(wake) => self.plane.timer.sleep_until(wake).await,
            None => pending().await,
        }
    }

    fn read(&mut self, source: Peer<'_>, sink: Peer<'_>, between: &Between) {
        let Peer::Open(source) = source else { return };
        if self.pipeline.appetite() == Appetite::Tell {
            return self.pipeline.tell_unread(Instant::now());
        }
        let result = match sink {
            Peer::Open(sink) if self.pipeline.is_clear() && !self.sink_gone => self.read_through(source, sink, between),
            _ => socket::read_chunk(source).map(|bytes| {
                self.flow.received.fetch_add(bytes.len() as u64, Relaxed);
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
            Err(error) => {
                (self.source_ended, self.source_reset) = (true, true);
                self.note_failure(&error, between);
                Item::End(Ending::Reset)
            }
        };
        self.pipeline.push(item, Instant::now());
        // What was heard here is answered on the other direction; and what its TLS has to say to it is flushed there.
        if self.pipeline.replaces_upstream() || source.has_pending() {
            self.membership.wake();
        }
    }

    /// A source that did not end in order. Clients commonly leave TLS without saying so, which is no error of theirs;
    /// but the upstream cannot know that nothing is missing, so for it the connection is reset all the same.
    fn note_failure(&self, error: &io::Error, between: &Between) {
        if !(self.upstream && error.kind() == ErrorKind::UnexpectedEof) {
            between.failed.store(true, Relaxed);
        }
        if reach::is_of_tls(error) {
            let from = if self.upstream { "client" } else { "upstream" };
            self.plane.tell_tls_failure(error, from, "TLS broke off");
        }
    }

    /// The fast path: what does not fit into the sink now is what the pipeline gets.
    fn read_through(&mut self, source: &Stream, sink: &Stream, between: &Between) -> io::Result<Option<Item>> {
        match socket::copy_through(source, sink)? {
            Copied::Eof => Ok(None),
            Copied::Bytes { written, rest, failed } => {
                self.flow.received.fetch_add((written + rest.len()) as u64, Relaxed);
                self.flow.delivered.fetch_add(written as u64, Relaxed);
                if failed.is_some() {
                    self.lose_sink(between);
                }
                Ok(Some(Item::Bytes(rest)))
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
        // Bounded, so that a fast reader of a long queue does not keep the other tasks waiting.
        for _ in 0..WRITES {
            if self.pipeline.output().is_empty() {
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
                    self.flow.delivered.fetch_add(written as u64, Relaxed);
                    self.pipeline.written(written);
                    self.pipeline.advance(Instant::now());
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => self.lose_sink(between),
            }
        }
    }

    /// The peer that we write to is gone. What is still read is thrown away; its own direction ends the connection.
    fn lose_sink(&mut self, between: &Between) {
        self.sink_gone = true;
        between.failed.store(true, Relaxed);
        between.reset[usize::from(self.upstream)].store(true, Relaxed);
        self.membership.wake();
    }

    /// Whether the connection is over, once what was to be written is.
    fn conclude(&mut self, sink: Peer<'_>, between: &Between) -> Option<Ending> {
        let finished = |upstream: bool| between.finished[usize::from(upstream)].load(Relaxed);
        if self.sink_gone && finished(!self.upstream) {
            // That peer has closed altogether and answers with RST to whatever comes; so do we.
            return Some(Ending::Reset);
        }
        let ending = self.pipeline.ending()?;
        // What a fault lets pass before it ends the connection waits for the dial; what a client left that is gone
        // does not.
        let unheard = self.source_reset || between.reset[usize::from(!self.upstream)].load(Relaxed);
        if ending == Ending::Abort || (ending != Ending::Eof && unheard && matches!(sink, Peer::Pending)) {
            return Some(ending);
        }
        if !self.pipeline.output().is_empty() || self.is_pending(sink) {
            return None;
        }
        if ending != Ending::Eof {
            return Some(ending);
        }
        if !self.sink_shut {
            match sink {
                // Nobody will hear the end, and the client is gone: it need not be kept for a dial to come.
                Peer::Pending => return between.reset[0].load(Relaxed).then_some(Ending::Reset),
                Peer::Open(stream) if !self.sink_gone => stream.shut_down(),
                _ => {}
            }
            self.sink_shut = true;
        }
        // Over TLS the end is something to send, too.
        if self.is_pending(sink) {
            return None;
        }
        if !finished(self.upstream) {
            between.finished[usize::from(self.upstream)].store(true, Relaxed);
            self.membership.wake();
        }
        let lost = between.reset.iter().any(|reset| reset.load(Relaxed));
        (finished(true) && finished(false)).then_some(if lost { Ending::Reset } else { Ending::Eof })
    }
}

async fn ready(peer: Peer<'_>, interest: Interest) {
    match peer {
        // An error of the socket is seen by the read or the write that follows.
        Peer::Open(stream) => drop(stream.ready(interest).await),
        Peer::Pending | Peer::Gone => pending().await,
    }
}
