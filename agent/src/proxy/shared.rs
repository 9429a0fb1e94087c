//! What a proxy's listener and connections share: roster, target, counters, and the tasks with their stop tokens.
//!
//! Owned by `proxy/mod.rs`, handed to `listener.rs` and `connection.rs`.
//!
//! Invariant: a connection is in the roster from the moment it is accepted until its [`Ticket`] is dropped, and its
//! task is in the tracker all the while.

use super::roster::{Membership, Roster};
use crate::{
    connection::Connection,
    fault::ConnectionMark,
    http::{HttpConnection, RequestTotals},
    plane::DataPlane,
    slots::Slot,
    tls::Tls,
    traffic::Snapshot,
    udp::Plan,
};
use parking_lot::Mutex;
use squall_wire::{Protocol, ProxyCounters, ProxySpec};
use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::net::TcpStream;
use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TrackedFuture},
};

/// Counters that only go up.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    connections: AtomicU64,
    connections_hit: Arc<AtomicU64>,
    pub(crate) connection_errors: AtomicU64,
    /// Datagrams sent to the upstream, and to clients.
    pub(crate) datagrams: [AtomicU64; 2],
    /// Found no room, or nobody to take them.
    pub(crate) datagrams_dropped: AtomicU64,
    pub(crate) requests: Arc<RequestTotals>,
}

/// Where connections from now on lead, and how they are encrypted.
struct Target {
    upstream: String,
    tls: Tls,
}

/// What a proxy's tasks share.
pub(crate) struct Shared {
    id: u64,
    pub(crate) plane: Arc<DataPlane>,
    pub(crate) roster: Mutex<Roster>,
    pub(crate) totals: Totals,
    protocol: Protocol,
    /// Whether the Host header becomes the upstream's.
    pub(crate) rewrites_host: bool,
    /// As it is bound.
    listen: Mutex<SocketAddr>,
    target: Mutex<Target>,
    tasks: TaskTracker,
    // Replaced when it was cancelled, so that a proxy that was disabled can be enabled again.
    stop: Mutex<CancellationToken>,
}

/// A connection's place in the roster and its slot of `max_connections`, given back when dropped.
pub(crate) struct Ticket {
    id: u64,
    shared: Arc<Shared>,
    pub(crate) membership: Arc<Membership>,
    _slot: Slot,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.shared.roster.lock().leave(self.id);
    }
}

impl Shared {
    pub(crate) fn new(plane: &Arc<DataPlane>, spec: &ProxySpec, listen: SocketAddr, tls: Tls) -> Arc<Self> {
        static NEXT_ID: AtomicU64 = AtomicU64::new(1);
        Arc::new(Self {
            id: NEXT_ID.fetch_add(1, Relaxed),
            plane: Arc::clone(plane),
            roster: Mutex::new(Roster::of(spec.protocol)),
            totals: Totals::default(),
            protocol: spec.protocol,
            rewrites_host: !spec.host.is_kept(),
            listen: Mutex::new(listen),
            target: Mutex::new(Target { upstream: spec.upstream.clone(), tls }),
            tasks: TaskTracker::new(),
            stop: Mutex::default(),
        })
    }

    pub(crate) fn listen(&self) -> SocketAddr {
        *self.listen.lock()
    }

    pub(crate) fn set_listen(&self, listen: SocketAddr) {
        *self.listen.lock() = listen;
    }

    pub(crate) fn upstream(&self) -> String {
        self.target.lock().upstream.clone()
    }

    pub(crate) fn tls(&self) -> Tls {
        self.target.lock().tls.clone()
    }

    /// The upstream and the TLS to speak to it: both of one moment.
    pub(crate) fn target(&self) -> (String, Tls) {
        let target = self.target.lock();
        (target.upstream.clone(), target.tls.clone())
    }

    /// What is absent stays.
    pub(crate) fn set_target(&self, upstream: Option<String>, tls: Option<Tls>) {
        let mut target = self.target.lock();
        if let Some(upstream) = upstream {
            target.upstream = upstream;
        }
        if let Some(tls) = tls {
            target.tls = tls;
        }
    }

    pub(crate) fn counters(&self) -> ProxyCounters {
        let (open_connections, [bytes_upstream, bytes_downstream]) = {
            let roster = self.roster.lock();
            (roster.open() as u64, roster.delivered())
        };
        ProxyCounters {
            open_connections,
            connections: self.totals.connections.load(Relaxed),
            connections_hit: self.totals.connections_hit.load(Relaxed),
            connection_errors: self.totals.connection_errors.load(Relaxed),
            requests: self.totals.requests.requests.load(Relaxed),
            requests_hit: self.totals.requests.hit.load(Relaxed),
            request_errors: self.totals.requests.errors.load(Relaxed),
            bytes_upstream,
            bytes_downstream,
            datagrams_upstream: self.totals.datagrams[0].load(Relaxed),
            datagrams_downstream: self.totals.datagrams[1].load(Relaxed),
            datagrams_dropped: self.totals.datagrams_dropped.load(Relaxed),
        }
    }

    /// Bytes read from clients, and from the upstream.
    pub(crate) fn received(&self) -> [u64; 2] {
        self.roster.lock().received()
    }

    /// What its connections and requests did, hit and spared apart.
    pub(crate) fn traffic(&self) -> Snapshot {
        let snapshot = self.roster.lock().traffic(self.id);
        match self.protocol {
            Protocol::Http => snapshot.with_requests(self.totals.requests.snapshot()),
            Protocol::Tcp | Protocol::Udp => snapshot,
        }
    }

    /// What distinguishes this proxy from an earlier one of the same name; and its connections that are over: spared,
    /// hit, and with an error.
    pub(crate) fn ends(&self) -> (u64, [u64; 3]) {
        (self.id, self.roster.lock().ends())
    }

    /// A mark for a connection that nothing has acted on yet.
    pub(crate) fn new_mark(&self) -> Arc<ConnectionMark> {
        Arc::new(ConnectionMark::new(Arc::clone(&self.totals.connections_hit)))
    }

    /// A connection ends with an error.
    pub(crate) fn count_error(&self) {
        self.totals.connection_errors.fetch_add(1, Relaxed);
    }

    /// Runs a connection that was accepted.
    pub(crate) fn admit(self: &Arc<Self>, client: TcpStream, from: SocketAddr, mark: Arc<ConnectionMark>, slot: Slot) {
        self.totals.connections.fetch_add(1, Relaxed);
        let (id, membership) = self.roster.lock().enter(from.ip(), Arc::clone(&mark));
        let ticket = Ticket { id, shared: Arc::clone(self), membership, _slot: slot };
        let stop = self.stop.lock().clone();
        let spawned = match self.protocol {
            Protocol::Http => HttpConnection::new(self, ticket, client, mark)
                .map(|connection| drop(self.tasks.spawn(Box::new(connection).run(stop)))),
            Protocol::Tcp | Protocol::Udp => Connection::new(self, ticket, &mark, client)
                .map(|connection| drop(self.tasks.spawn(Box::new(connection).run(stop)))),
        };
        if let Err(error) = spawned {
            tracing::warn!(%error, "failed to take over a connection");
        }
    }

    /// Takes a session of datagrams into the roster, which it leaves by its number.
    pub(crate) fn begin_session(&self, client: IpAddr, mark: &Arc<ConnectionMark>) -> (u64, Arc<Plan>) {
        self.totals.connections.fetch_add(1, Relaxed);
        self.roster.lock().enter_session(client, Arc::clone(mark))
    }

    /// A session's task, to be spawned: it is waited for from now on, and ends when its token is cancelled.
    pub(crate) fn session_task<F: Future<Output = ()>>(
        &self,
        session: impl FnOnce(CancellationToken) -> F,
    ) -> TrackedFuture<F> {
        let stop = self.stop.lock().clone();
        self.tasks.track_future(session(stop))
    }

    /// Ends every connection that is open, and waits for their tasks, for `limit` at most.
    pub(crate) async fn cut_connections(&self, limit: Duration) {
        std::mem::take(&mut *self.stop.lock()).cancel();
        if tokio::time::timeout(limit, self.connections_ended()).await.is_err() {
            tracing::error!(open = self.tasks.len(), "connections that were cancelled have not ended");
        }
    }

    /// Returns when no connection is open.
    pub(crate) async fn connections_ended(&self) {
        self.tasks.close();
        self.tasks.wait().await;
        self.tasks.reopen();
    }

    /// Cancels everything, waiting for nothing.
    pub(crate) fn abandon(&self) {
        self.stop.lock().cancel();
    }
}
