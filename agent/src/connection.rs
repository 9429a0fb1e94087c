//! One connection: reaches the upstream, runs both links, and ends both sockets as the links say.
//!
//! ```text
//!  accepted ──▶ dialling ──▶ relaying ──▶ ending          both links run in all of the first three, so a fault
//!          ╰──▶ answered by a fault ──╯                    works before there is an upstream, or without one
//! ```
//! Where TLS ends here, the client's handshake comes before all that, and faults take hold when it is done.
//! Made by `listener.rs`, one task each, owned by the proxy's tracker; `link.rs` does the work.
//!
//! Invariant: it ends when its token is cancelled, whatever its peers do; and nothing else waits for it.

use crate::{
    fault::{Ending, Item},
    link::{Between, Link, Peer},
    proxy::{Membership, Shared, Ticket},
    reach, socket,
    stream::Stream,
};
use std::{
    io,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

/// How long an RST waits for the peer to acknowledge what was sent before, so that exactly that arrives.
const ACKNOWLEDGE_LIMIT: Duration = Duration::from_secs(5);

/// How long a connection that we close goes on reading, for unread bytes would turn the close into an RST.
const LINGER_LIMIT: Duration = Duration::from_secs(2);

/// One connection between its acceptance and its end.
pub(crate) struct Connection {
    shared: Arc<Shared>,
    /// Its slot and its place in the roster, given back with it.
    _ticket: Ticket,
    client: Stream,
    up: Link,
    down: Link,
    between: Between,
}

/// How a phase came to its end.
enum Phase {
    /// The upstream is there.
    Reached(Stream),
    /// The upstream is not to be had.
    Unreached(io::Error),
    /// A fault began or ceased to answer in its place.
    Replaced,
    /// The connection is over.
    Over(Ending),
}

impl Connection {
    /// # Errors
    /// When the client's socket cannot be taken over.
    pub(crate) fn new(shared: &Arc<Shared>, ticket: Ticket, client: TcpStream) -> io::Result<Self> {
        let client = reach::accepted(shared, client)?;
        let membership: &Arc<Membership> = &ticket.membership;
        let totals = &shared.totals;
        Ok(Self {
            up: Link::new(true, &shared.plane, membership, &totals.upstream),
            down: Link::new(false, &shared.plane, membership, &totals.downstream),
            shared: Arc::clone(shared),
            _ticket: ticket,
            client,
            between: Between::default(),
        })
    }

    /// Runs it to its end. What only a beginning or an end needs is boxed, so that an idle connection is small.
    pub(crate) async fn run(mut self: Box<Self>, stop: CancellationToken) {
        let mut upstream = None;
        let ending = tokio::select! {
            biased;
            () = stop.cancelled() => None,
            ending = self.relay(&mut upstream) => Some(ending),
        };
        if self.between.failed.load(Relaxed) {
            self.shared.totals.connection_errors.fetch_add(1, Relaxed);
        }
        if let Some(ending) = ending {
            tokio::select! {
                () = stop.cancelled() => {}
                () = Box::pin(finish(&self.client, upstream.as_ref(), ending)) => {}
            }
        }
        self.up.stop_losing(&self.client);
        if let Some(upstream) = &upstream {
            self.down.stop_losing(upstream);
        }
        // Its slot and its place among the live ones are given back only now that the sockets are done with.
        drop(upstream);
        drop(self);
    }

    async fn relay(&mut self, reached: &mut Option<Stream>) -> Ending {
        if matches!(self.client, Stream::Tls(_))
            && let Err(error) = Box::pin(reach::welcome(&self.shared, &self.client)).await
        {
            if error.kind() != io::ErrorKind::NotConnected {
                self.shared.plane.tell_tls_failure(&error, "client", "failed to agree on TLS");
                self.between.failed.store(true, Relaxed);
            }
            return Ending::Close;
        }
        self.follow_plan();
        loop {
            match self.reach().await {
                Phase::Replaced => {}
                Phase::Over(ending) => return ending,
                Phase::Reached(upstream) => {
                    let upstream = &*reached.insert(upstream);
                    return self.links(Peer::Open(upstream)).await;
                }
                Phase::Unreached(error) => {
                    reach::tell_unreached(&self.shared, &error);
                    self.between.failed.store(true, Relaxed);
                    self.down.pipeline.push(Item::End(Ending::Reset), Instant::now());
                    return self.links(Peer::Gone).await;
                }
            }
        }
    }

    fn follow_plan(&mut self) {
        let now = Instant::now();
        self.up.follow_plan(&self.between, now);
        self.down.follow_plan(&self.between, now);
    }

    /// Dials, unless a fault answers in the upstream's place; the links run meanwhile.
    async fn reach(&mut self) -> Phase {
        let dial = !self.between.replaced.load(Relaxed);
        let (shared, meant) = (Arc::clone(&self.shared), reach::meant(&self.shared, &self.client));
        let links = run_links(&mut self.up, &mut self.down, &self.client, Peer::Pending, &self.between);
        tokio::select! {
            biased;
            ending = links => Phase::Over(ending),
            () = self.between.replaced_changed.notified() => Phase::Replaced,
            result = Box::pin(reach::dial(&shared, meant)), if dial => match result {
                Ok(upstream) => Phase::Reached(upstream),
                Err(error) => Phase::Unreached(error),
            },
        }
    }

    async fn links(&mut self, upstream: Peer<'_>) -> Ending {
        run_links(&mut self.up, &mut self.down, &self.client, upstream, &self.between).await
    }
}

/// Runs both links until one of them says how the connection ends.
async fn run_links(up: &mut Link, down: &mut Link, client: &Stream, upstream: Peer<'_>, between: &Between) -> Ending {
    tokio::select! {
        ending = up.run(Peer::Open(client), upstream, between) => ending,
        ending = down.run(upstream, Peer::Open(client), between) => ending,
    }
}

/// Ends both sockets.
pub(crate) async fn finish(client: &Stream, upstream: Option<&Stream>, ending: Ending) {
    let both = || std::iter::once(client).chain(upstream);
    match ending {
        // Both ends were passed on already.
        Ending::Message | Ending::Eof => {}
        Ending::Abort => both().for_each(socket::reset_on_close),
        Ending::Reset => {
            // At once where nothing is on its way.
            let limit = tokio::time::sleep(ACKNOWLEDGE_LIMIT);
            tokio::select! {
                () = limit => {}
                () = async { for stream in both() { socket::acknowledged(stream).await } } => {}
            }
            both().for_each(socket::reset_on_close);
        }
        Ending::Close => {
            both().for_each(Stream::shut_down);
            let limit = tokio::time::sleep(LINGER_LIMIT);
            tokio::select! {
                () = limit => {}
                () = async { for stream in both() { socket::read_out(stream).await } } => {}
            }
        }
    }
}
