//! One connection that speaks HTTP: reads and writes both sockets as its session says, and ends them.
//!
//! ```text
//!            read          write
//!  client ──────▶ Session ──────▶ upstream       one loop for both directions, for each answers the other
//!         ◀──────         ◀──────                dialled like any upstream, unless a fault may answer in its place
//! ```
//! Made by `proxy/shared.rs` in place of `crate::connection` where the protocol is `http`; `session.rs` decides.
//!
//! Invariant: it waits only in the loop's one `select!`, which a change of the faults always wakes; and it ends when its
//! token is cancelled, whatever its peers do.

use super::{outgoing::Outgoing, session::Session};
use crate::{
    connection::finish,
    fault::{ConnectionMark, Ending},
    pipeline::Appetite,
    proxy::{Flow, Shared, Ticket},
    socket,
    stream::Stream,
};
use std::{
    future::pending,
    io::{self, ErrorKind, IoSlice},
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Instant,
};
use tokio::{io::Interest, net::TcpStream, task::coop::consume_budget};
use tokio_util::sync::CancellationToken;

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

/// What has happened to one side's socket, beside what the session knows.
#[derive(Debug, Default, Clone, Copy)]
struct Side {
    /// Writing to it failed.
    lost: bool,
    /// The end was passed on to it.
    shut: bool,
}

/// One connection between its acceptance and its end.
pub(crate) struct HttpConnection {
    shared: Arc<Shared>,
    /// Its slot and its place in the roster, given back with it.
    ticket: Ticket,
    client: Stream,
    session: Session,
    /// The version of the plan that the session follows.
    seen: u64,
    to_client: Side,
    to_upstream: Side,
    /// Either side ended with an error that was not ours.
    failed: bool,
}

impl HttpConnection {
    pub(crate) fn new(shared: &Arc<Shared>, ticket: Ticket, client: TcpStream, mark: Arc<ConnectionMark>) -> Self {
        socket::prepare(&client);
        let host = shared.rewrites_host.then(|| shared.upstream());
        Self {
            session: Session::new(&shared.plane.budget, mark, Arc::clone(&shared.totals.requests), host),
            shared: Arc::clone(shared),
            ticket,
            client: Stream::Plain(client),
            seen: 0,
            to_client: Side::default(),
            to_upstream: Side::default(),
            failed: false,
        }
    }

    /// Runs it to its end.
    pub(crate) async fn run(mut self: Box<Self>, stop: CancellationToken) {
        let mut upstream = Upstream::Unasked;
        let ending = tokio::select! {
            biased;
            () = stop.cancelled() => None,
            ending = self.relay(&mut upstream) => Some(ending),
        };
        self.session.close();
        if self.failed {
            self.shared.totals.connection_errors.fetch_add(1, Relaxed);
        }
        let Some(ending) = ending else { return };
        tokio::select! {
            () = stop.cancelled() => {}
            () = Box::pin(finish(&self.client, upstream.stream(), ending)) => {}
        }
        // Its slot and its place among the live ones are given back only now that the sockets are done with.
        drop(upstream);
        drop(self);
    }

    async fn relay(&mut self, upstream: &mut Upstream) -> Ending {
        loop {
            // As in a link, sockets that are always ready must not keep other tasks waiting.
            consume_budget().await;
            let now = Instant::now();
            self.follow_plan(now);
            self.session.advance(now);
            if matches!(upstream, Upstream::Unasked) && self.session.wants_upstream() {
                *upstream = Upstream::Dialling(self.dial());
            }
            // What was written makes room for more.
            let wrote = self.flush_upstream(upstream) | self.flush_client();
            if let Some(ending) = self.conclude(upstream) {
                return ending;
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
                    tracing::debug!(%error, upstream = self.shared.upstream(), "failed to reach the upstream");
                    self.failed = true;
                    *upstream = Upstream::Gone;
                    self.session.end_upstream(Ending::Reset, Instant::now());
                }
                Woke::Vanished => return Ending::Abort,
            }
        }
    }

    fn follow_plan(&mut self, now: Instant) {
        let membership = &self.ticket.membership;
        let version = membership.version();
        if version != self.seen {
            self.seen = version;
            self.session.follow(&membership.plan(), membership.for_requests(), now);
        }
    }

    fn dial(&self) -> Dial {
        let (target, limit) = (self.shared.upstream(), self.shared.plane.limits.dial_timeout);
        Box::pin(async move { socket::dial(&target, limit).await.map(Stream::Plain) })
    }

    async fn wait(&self, upstream: &mut Upstream) -> Woke {
        let wake = self.session.next_wake(Instant::now());
        let from_client = self.session.client_appetite() != Appetite::Full;
        let from_upstream = self.session.upstream_appetite() != Appetite::Full;
        let to_client = !self.session.down.is_empty();
        let to_upstream = !self.session.up.is_empty();
        let watching = self.session.client_ended.is_some() || self.session.leaves_client_unread();
        let (stream, dial) = match upstream {
            Upstream::Open(stream) => (Some(&*stream), None),
            Upstream::Dialling(dial) => (None, Some(dial)),
            Upstream::Unasked | Upstream::Gone => (None, None),
        };
        let dialled = async {
            match dial {
                Some(dial) => dial.await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.ticket.membership.changed(true) => Woke::Again,
            () = ready(Some(&self.client), Interest::WRITABLE), if to_client => Woke::Again,
            () = ready(stream, Interest::WRITABLE), if to_upstream => Woke::Again,
            () = self.sleep_until(wake), if wake.is_some() => Woke::Again,
            () = ready(stream, Interest::READABLE), if from_upstream => Woke::Upstream,
            () = ready(Some(&self.client), Interest::READABLE), if from_client => Woke::Client,
            result = dialled => Woke::Dialled(result),
            () = ready(Some(&self.client), Interest::ERROR), if watching => Woke::Vanished,
        }
    }

    async fn sleep_until(&self, wake: Option<Instant>) {
        match wake {
            Some(wake) => self.shared.plane.timer.sleep_until(wake).await,
            None => pending().await,
        }
    }

    fn read_client(&mut self) {
        let now = Instant::now();
        if self.session.client_appetite() == Appetite::Tell {
            return self.session.tell_unread(true, now);
        }
        match socket::read_chunk(&self.client) {
            Ok(bytes) if !bytes.is_empty() => {
                self.shared.totals.upstream.received.fetch_add(bytes.len() as u64, Relaxed);
                self.session.take_from_client(bytes, now);
            }
            Ok(_) => self.session.end_client(if self.to_client.lost { Ending::Reset } else { Ending::Eof }, now),
            Err(error) if passes(&error) => {}
            Err(_) => {
                self.failed = true;
                self.session.end_client(Ending::Reset, now);
            }
        }
    }

    fn read_upstream(&mut self, upstream: &Upstream) {
        let (now, Some(stream)) = (Instant::now(), upstream.stream()) else { return };
        if self.session.upstream_appetite() == Appetite::Tell {
            return self.session.tell_unread(false, now);
        }
        match socket::read_chunk(stream) {
            Ok(bytes) if !bytes.is_empty() => {
                self.shared.totals.downstream.received.fetch_add(bytes.len() as u64, Relaxed);
                self.session.take_from_upstream(bytes);
            }
            // An RST that a write was told of reads as an ordinary end afterwards.
            Ok(_) => self.session.end_upstream(if self.to_upstream.lost { Ending::Reset } else { Ending::Eof }, now),
            Err(error) if passes(&error) => {}
            Err(_) => {
                self.failed = true;
                self.session.end_upstream(Ending::Reset, now);
            }
        }
    }

    /// Writes what the client takes; whether it took any.
    fn flush_client(&mut self) -> bool {
        if self.session.down.is_empty() {
            return false;
        }
        if self.to_client.lost || self.to_client.shut {
            self.session.client_took(usize::MAX);
            return true;
        }
        match write(&self.client, &self.session.down, &self.shared.totals.downstream) {
            Ok(written) => {
                self.session.client_took(written);
                written > 0
            }
            Err(_) => {
                (self.to_client.lost, self.failed) = (true, true);
                if self.session.client_ended.is_none_or(|ended| ended < Ending::Reset) {
                    self.session.end_client(Ending::Reset, Instant::now());
                }
                true
            }
        }
    }

    /// The same for the upstream.
    fn flush_upstream(&mut self, upstream: &Upstream) -> bool {
        if self.session.up.is_empty() {
            return false;
        }
        let stream = match upstream {
            Upstream::Open(stream) if !self.to_upstream.lost && !self.to_upstream.shut => stream,
            Upstream::Unasked | Upstream::Dialling(_) => return false,
            _ => {
                self.session.upstream_took(usize::MAX);
                return true;
            }
        };
        match write(stream, &self.session.up, &self.shared.totals.upstream) {
            Ok(written) => {
                self.session.upstream_took(written);
                written > 0
            }
            // Its own direction tells how the connection ends: a response may have come before.
            Err(_) => {
                (self.to_upstream.lost, self.failed) = (true, true);
                true
            }
        }
    }

    /// Whether the connection is over, once what was to be written is.
    fn conclude(&mut self, upstream: &Upstream) -> Option<Ending> {
        if let Some(ending) = self.session.verdict() {
            return Some(ending);
        }
        let reached = upstream.stream();
        let pending = matches!(upstream, Upstream::Unasked | Upstream::Dialling(_));
        if self.session.client_ended == Some(Ending::Reset) && (pending || self.session.up_is_over()) {
            // Nobody is left to answer.
            return Some(Ending::Reset);
        }
        if self.session.down_is_over() && !self.to_client.shut {
            self.to_client.shut = true;
            if !self.to_client.lost {
                socket::shut_down(&self.client);
            }
        }
        if self.session.up_is_over() && !self.to_upstream.shut && !pending {
            self.to_upstream.shut = true;
            if let (Some(stream), false) = (reached, self.to_upstream.lost) {
                socket::shut_down(stream);
            }
        }
        // Nobody but faults has answered, all of it, and no upstream will end what the client has ended.
        let unneeded = matches!(upstream, Upstream::Unasked) && self.session.up_is_over() && self.session.is_idle();
        // A peer that has closed altogether answers with RST to whatever comes; so do we.
        let left = (self.to_client.shut && self.to_upstream.lost) || (self.to_upstream.shut && self.to_client.lost);
        let over = (self.to_client.shut && self.to_upstream.shut) || unneeded || left;
        let lost = self.to_client.lost || self.to_upstream.lost;
        over.then_some(if lost { Ending::Reset } else { Ending::Eof })
    }
}

/// Writes what the peer takes at once.
fn write(stream: &Stream, outgoing: &Outgoing, flow: &Flow) -> io::Result<usize> {
    let mut slices = [IoSlice::new(&[]); GATHER];
    for (slice, piece) in slices.iter_mut().zip(outgoing.pieces()) {
        *slice = IoSlice::new(piece);
    }
    match stream.try_write_vectored(&slices[..outgoing.pieces().len().min(GATHER)]) {
        Ok(written) => {
            flow.delivered.fetch_add(written as u64, Relaxed);
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

async fn ready(stream: Option<&Stream>, interest: Interest) {
    match stream {
        // An error of the socket is seen by the read or the write that follows.
        Some(stream) => drop(stream.ready(interest).await),
        None => pending().await,
    }
}
