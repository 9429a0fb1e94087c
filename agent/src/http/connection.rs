//! One connection that speaks HTTP: reads and writes both sockets as its conversation says, and ends them.
//!
//! ```text
//!            read               write
//!  client ──────▶ Conversation ──────▶ upstream     one loop for both directions, for each answers the other
//!         ◀──────              ◀──────              dialled like any upstream, unless a fault may answer in its place
//! ```
//! Made by `proxy/shared.rs` in place of `crate::connection` where the protocol is `http`; `conversation.rs` decides.
//!
//! Invariant: it waits only in [`HttpConnection::wait`], which a change of the faults always wakes; and it ends when its
//! token is cancelled, whatever its peers do.

use super::{conversation::Conversation, outgoing::Outgoing};
use crate::{
    connection::finish,
    fault::{ConnectionMark, Ending},
    pipeline::Appetite,
    proxy::{Shared, Ticket},
    reach,
    sieve::Sieve,
    socket,
    stream::Stream,
};
use std::{
    future::poll_fn,
    io::{self, ErrorKind, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};
use tokio::{
    io::Interest,
    net::TcpStream,
    task::{coop::consume_budget, yield_now},
};
use tokio_util::sync::CancellationToken;

/// Bytes that are written before the stop of the connection and other tasks get their turn.
const TURN: usize = 4 * 1024 * 1024;

/// Pieces that one write gathers.
const GATHER: usize = 64;

type Dial = Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>>;

/// The way to the upstream.
enum Upstream {
    /// Nobody has asked for it.
    Unasked,
    Dialling(Dial),
    Open(Stream),
    /// Not to be had.
    Gone,
}

impl Upstream {
    fn stream(&self) -> Option<&Stream> {
        match self {
            Self::Open(stream) => Some(stream),
            _ => None,
        }
    }
}

/// Why the loop woke.
enum Woke {
    Again,
    Client,
    Upstream,
    Dialled(io::Result<Stream>),
    /// The client is gone altogether, and nobody reads it who would be told.
    Vanished,
}

/// What has happened to one side's socket, beside what the conversation knows.
#[derive(Debug, Default, Clone, Copy)]
struct Side {
    /// Writing to it failed.
    lost: bool,
    /// It ended without the word by which TLS says that nothing is missing.
    cut_off: bool,
    /// The end was passed on to it.
    shut: bool,
}

/// One connection between its acceptance and its end.
pub(crate) struct HttpConnection {
    shared: Arc<Shared>,
    /// Its slot and its place in the roster, given back with it.
    ticket: Ticket,
    /// Counts what passes.
    mark: Arc<ConnectionMark>,
    client: Stream,
    conversation: Conversation,
    /// The version of the plan that the conversation follows.
    seen: u64,
    /// The version of the plan that the sieves follow, and whether the upstream was there.
    sifted: (u64, bool),
    from_client: Sieve,
    from_upstream: Sieve,
    to_client: Side,
    to_upstream: Side,
    /// The client is gone altogether.
    vanished: bool,
    /// Either side ended with an error that was not ours.
    failed: bool,
    /// Bytes written since others had their turn.
    moved: usize,
}

impl HttpConnection {
    /// # Errors
    /// When the client's socket cannot be taken over.
    pub(crate) fn new(
        shared: &Arc<Shared>,
        ticket: Ticket,
        client: TcpStream,
        mark: Arc<ConnectionMark>,
    ) -> io::Result<Self> {
        let host = shared.rewrites_host.then(|| shared.upstream());
        Ok(Self {
            client: reach::accepted(shared, client)?,
            conversation: Conversation::new(
                &shared.plane.budget,
                Arc::clone(&mark),
                Arc::clone(&shared.totals.requests),
                host,
            ),
            shared: Arc::clone(shared),
            ticket,
            mark,
            seen: 0,
            sifted: (0, false),
            from_client: Sieve::default(),
            from_upstream: Sieve::default(),
            to_client: Side::default(),
            to_upstream: Side::default(),
            vanished: false,
            failed: false,
            moved: 0,
        })
    }

    /// Runs it to its end.
    pub(crate) async fn run(mut self: Box<Self>, stop: CancellationToken) {
        let mut upstream = Upstream::Unasked;
        let ending = tokio::select! {
            biased;
            () = stop.cancelled() => None,
            ending = self.relay(&mut upstream) => Some(ending),
        };
        self.conversation.close(Instant::now());
        if self.failed {
            self.mark.meter.fail();
            self.shared.count_error();
        }
        if let Some(ending) = ending {
            tokio::select! {
                () = stop.cancelled() => {}
                () = Box::pin(finish(&self.client, upstream.stream(), ending)) => {}
            }
        }
        self.from_client.clear(&self.client);
        upstream.stream().into_iter().for_each(|stream| self.from_upstream.clear(stream));
        // Its slot and its place among the live ones are given back only now that the sockets are done with.
        drop(upstream);
        drop(self);
    }

    async fn relay(&mut self, upstream: &mut Upstream) -> Ending {
        if matches!(self.client, Stream::Tls(_))
            && let Err(error) = Box::pin(reach::welcome(&self.shared, &self.client)).await
        {
            if error.kind() != ErrorKind::NotConnected {
                self.shared.plane.tell_tls_failure(&error, "client", "failed to agree on TLS");
                self.failed = true;
            }
            return Ending::Close;
        }
        loop {
            // A fault that is due again and again must not keep the stop and all other tasks of this thread waiting.
            consume_budget().await;
            if self.moved >= TURN {
                self.moved = 0;
                yield_now().await;
            }
            let now = Instant::now();
            self.follow_plan(now);
            self.sift(upstream.stream());
            self.conversation.advance(now);
            if matches!(upstream, Upstream::Unasked) && self.conversation.wants_upstream() {
                *upstream = Upstream::Dialling(self.dial());
            }
            // What was written makes room for more.
            let wrote = self.flush_upstream(upstream) | self.flush_client();
            if let Some(ending) = self.conclude(upstream) {
                return ending;
            }
            // What it sent before goes on its way, as a network would let it; nobody is left for what comes back.
            if self.vanished && !self.conversation.owes_upstream(now) {
                return Ending::Abort;
            }
            if wrote {
                continue;
            }
            match self.wait(upstream).await {
                Woke::Again => {}
                Woke::Client => self.read_client(),
                Woke::Upstream => self.read_upstream(upstream),
                Woke::Dialled(Ok(stream)) => *upstream = Upstream::Open(stream),
                Woke::Dialled(Err(error)) => {
                    reach::tell_unreached(&self.shared, &error);
                    self.failed = true;
                    *upstream = Upstream::Gone;
                    self.conversation.end_upstream(Ending::Reset, Instant::now());
                }
                Woke::Vanished => self.vanished = true,
            }
        }
    }

    fn follow_plan(&mut self, now: Instant) {
        let membership = &self.ticket.membership;
        let version = membership.version();
        if version != self.seen {
            self.seen = version;
            self.conversation.follow(&membership.plan(), membership.for_requests(), now);
        }
    }

    /// What the kernel drops of either side follows the plan, and the upstream's from when that is there.
    fn sift(&mut self, upstream: Option<&Stream>) {
        let now = (self.seen, upstream.is_some());
        if self.sifted != now {
            self.sifted = now;
            let plan = self.ticket.membership.plan();
            self.from_client.follow(&plan, true, Some(&self.client));
            self.from_upstream.follow(&plan, false, upstream);
            self.ticket.membership.set_sifted(true, self.seen);
            self.ticket.membership.set_sifted(false, self.seen);
        }
    }

    fn dial(&self) -> Dial {
        let (shared, mark) = (Arc::clone(&self.shared), Arc::clone(&self.mark));
        let meant = reach::meant(&self.shared, &self.client);
        Box::pin(async move { reach::dial(&shared, meant, &mark.meter).await })
    }

    /// Polls what it waits for one by one, as a link does, for an idle connection is to be small.
    async fn wait(&self, upstream: &mut Upstream) -> Woke {
        let wake = self.conversation.next_wake(Instant::now());
        let mut sleep = wake.map(|wake| Box::pin(self.shared.plane.timer.sleep_until(wake)));
        let ended = self.conversation.client_ended.is_some() || self.conversation.leaves_client_unread();
        let watching = ended && !self.vanished;
        let mut gone = watching.then(|| Box::pin(async { drop(self.client.ready(Interest::ERROR).await) }));
        let from_client = self.conversation.client_appetite() != Appetite::Full;
        let from_upstream = self.conversation.upstream_appetite() != Appetite::Full;
        let to_client = !self.conversation.down.is_empty() || self.client.has_pending();
        let to_upstream = !self.conversation.up.is_empty() || upstream.stream().is_some_and(Stream::has_pending);
        poll_fn(|context| {
            if self.ticket.membership.poll_changed(true, context).is_ready()
                || (to_client && self.client.poll_writable(context).is_ready())
                || due(&mut sleep, context)
            {
                return Poll::Ready(Woke::Again);
            }
            match upstream {
                Upstream::Open(stream) if to_upstream && stream.poll_writable(context).is_ready() => {
                    return Poll::Ready(Woke::Again);
                }
                Upstream::Open(stream) if from_upstream && stream.poll_readable(context).is_ready() => {
                    return Poll::Ready(Woke::Upstream);
                }
                Upstream::Dialling(dial) => {
                    if let Poll::Ready(result) = dial.as_mut().poll(context) {
                        return Poll::Ready(Woke::Dialled(result));
                    }
                }
                Upstream::Open(_) | Upstream::Unasked | Upstream::Gone => {}
            }
            if from_client && self.client.poll_readable(context).is_ready() {
                return Poll::Ready(Woke::Client);
            }
            if due(&mut gone, context) { Poll::Ready(Woke::Vanished) } else { Poll::Pending }
        })
        .await
    }

    fn read_client(&mut self) {
        let now = Instant::now();
        if self.conversation.client_appetite() == Appetite::Tell {
            return self.conversation.tell_unread(true, now);
        }
        match socket::read_chunk(&self.client) {
            Ok(bytes) if !bytes.is_empty() => {
                self.mark.meter.receive(true, bytes.len());
                self.conversation.take_from_client(bytes, now);
            }
            Ok(_) => self.conversation.end_client(if self.to_client.lost { Ending::Reset } else { Ending::Eof }, now),
            Err(error) if passes(&error) => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                self.to_upstream.cut_off = true;
                self.conversation.end_client(Ending::Eof, now);
            }
            Err(error) => {
                self.note_failure(&error, "client");
                self.conversation.end_client(Ending::Reset, now);
            }
        }
    }

    fn read_upstream(&mut self, upstream: &Upstream) {
        let (now, Some(stream)) = (Instant::now(), upstream.stream()) else { return };
        if self.conversation.upstream_appetite() == Appetite::Tell {
            return self.conversation.tell_unread(false, now);
        }
        match socket::read_chunk(stream) {
            Ok(bytes) if !bytes.is_empty() => {
                self.mark.meter.receive(false, bytes.len());
                self.conversation.take_from_upstream(bytes);
            }
            // An RST that a write was told of reads as an ordinary end afterwards.
            Ok(_) => {
                self.conversation.end_upstream(if self.to_upstream.lost { Ending::Reset } else { Ending::Eof }, now)
            }
            Err(error) if passes(&error) => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                self.to_client.cut_off = true;
                self.conversation.end_upstream(Ending::Eof, now);
            }
            Err(error) => {
                self.note_failure(&error, "upstream");
                self.conversation.end_upstream(Ending::Reset, now);
            }
        }
    }

    fn note_failure(&mut self, error: &io::Error, from: &str) {
        self.failed = true;
        if reach::is_of_tls(error) {
            self.shared.plane.tell_tls_failure(error, from, "TLS broke off");
        }
    }

    /// Writes what the client takes; whether it took any.
    fn flush_client(&mut self) -> bool {
        let side = &mut self.to_client;
        if side.lost || side.shut {
            let some = !self.conversation.down.is_empty();
            self.conversation.client_took(usize::MAX);
            return some;
        }
        match write(&self.client, &self.conversation.down, |written| self.mark.meter.deliver(false, written)) {
            Ok(written) => {
                self.conversation.client_took(written);
                self.moved += written;
                written > 0
            }
            Err(_) => {
                (side.lost, self.failed) = (true, true);
                if self.conversation.client_ended.is_none_or(|ended| ended < Ending::Reset) {
                    self.conversation.end_client(Ending::Reset, Instant::now());
                }
                true
            }
        }
    }

    /// The same for the upstream.
    fn flush_upstream(&mut self, upstream: &Upstream) -> bool {
        let side = &mut self.to_upstream;
        let stream = match upstream {
            Upstream::Open(stream) if !side.lost && !side.shut => stream,
            Upstream::Unasked | Upstream::Dialling(_) => return false,
            Upstream::Open(_) | Upstream::Gone => {
                let some = !self.conversation.up.is_empty();
                self.conversation.upstream_took(usize::MAX);
                return some;
            }
        };
        match write(stream, &self.conversation.up, |written| self.mark.meter.deliver(true, written)) {
            Ok(written) => {
                self.conversation.upstream_took(written);
                self.moved += written;
                written > 0
            }
            // Its own direction tells how the connection ends: a response may have come before.
            Err(_) => {
                (side.lost, self.failed) = (true, true);
                true
            }
        }
    }

    /// Whether a peer has yet to be sent something that its TLS took.
    fn has_unsent(&self, upstream: Option<&Stream>) -> bool {
        (!self.to_client.lost && self.client.has_pending())
            || (!self.to_upstream.lost && upstream.is_some_and(Stream::has_pending))
    }

    /// Whether the connection is over, once what was to be written is.
    fn conclude(&mut self, upstream: &Upstream) -> Option<Ending> {
        let reached = upstream.stream();
        // Over TLS what was written may have yet to be sent.
        let unsent = self.has_unsent(reached);
        if let Some(ending) = self.conversation.verdict() {
            return (!unsent || ending == Ending::Abort).then_some(ending);
        }
        let pending = matches!(upstream, Upstream::Unasked | Upstream::Dialling(_));
        let passed = self.conversation.up_is_over() || (pending && !self.conversation.owes_upstream(Instant::now()));
        if self.conversation.client_ended == Some(Ending::Reset) && passed {
            // Nobody is left to answer.
            return Some(Ending::Reset);
        }
        if self.conversation.down_is_over() && !pass_end(&mut self.to_client, Some(&self.client)) {
            // The upstream's TLS was cut off, and a client without TLS would take its end for one in order.
            self.failed = true;
            return Some(Ending::Reset);
        }
        if self.conversation.up_is_over() && !pending && !pass_end(&mut self.to_upstream, reached) {
            return Some(Ending::Reset);
        }
        // Over TLS an end is something to send, too.
        if self.has_unsent(reached) {
            return None;
        }
        // Nobody but faults has answered, all of it, and no upstream will end what the client has ended.
        let unneeded =
            matches!(upstream, Upstream::Unasked) && self.conversation.up_is_over() && self.conversation.is_idle();
        // A peer that has closed altogether answers with RST to whatever comes; so do we.
        let left = (self.to_client.shut && self.to_upstream.lost) || (self.to_upstream.shut && self.to_client.lost);
        let over = (self.to_client.shut && self.to_upstream.shut) || unneeded || left;
        let lost = self.to_client.lost || self.to_upstream.lost;
        over.then_some(if lost { Ending::Reset } else { Ending::Eof })
    }
}

/// Passes an end on, once; false where it was cut off and there is no way to say so.
fn pass_end(side: &mut Side, stream: Option<&Stream>) -> bool {
    if std::mem::replace(&mut side.shut, true) || side.lost {
        return true;
    }
    let Some(stream) = stream else { return true };
    if side.cut_off {
        return stream.cut_off();
    }
    stream.shut_down();
    true
}

/// Writes what the peer takes at once, and before it what it took before and has not sent yet.
fn write(stream: &Stream, outgoing: &Outgoing, count: impl Fn(usize)) -> io::Result<usize> {
    let result = stream.try_flush().and_then(|()| {
        if outgoing.is_empty() {
            return Ok(0);
        }
        let mut slices = [IoSlice::new(&[]); GATHER];
        for (slice, piece) in slices.iter_mut().zip(outgoing.pieces()) {
            *slice = IoSlice::new(piece);
        }
        stream.try_write_vectored(&slices[..outgoing.pieces().len().min(GATHER)])
    });
    match result {
        Ok(written) => {
            count(written);
            Ok(written)
        }
        Err(error) if passes(&error) => Ok(0),
        Err(error) => Err(error),
    }
}

/// Whether it is worth trying again.
fn passes(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

fn due(future: &mut Option<Pin<Box<impl Future<Output = ()>>>>, context: &mut Context<'_>) -> bool {
    future.as_mut().is_some_and(|future| future.as_mut().poll(context).is_ready())
}
