//! What all proxies of one agent share: the precise timer, the memory of delay lines, the pipes, and the limits.
//!
//! Made once by the agent and handed to each proxy (`proxy/`). Two planes in one process know nothing of each other.
//!
//! Invariant: no connection is accepted without a slot of `max_connections`, and each gives its slot back when it ends.

use crate::{
    budget::Budget, intercept::Originals, policy::Upstreams, slots::Slots, splice::PipePool, throttle::Throttle,
    timer::Timer,
};
use std::{
    fmt, io,
    sync::Arc,
    time::{Duration, Instant},
};

/// The limits of an agent's data plane.
#[derive(Debug, Clone)]
pub struct PlaneLimits {
    /// Resolving and reaching an upstream may take so long, its TLS handshake included; after that the client is
    /// reset. A client's own TLS handshake may take as long.
    pub dial_timeout: Duration,
    /// Connections open at once over all proxies; further ones wait in their listen queues. A session of datagrams
    /// counts as one; datagrams of further clients are dropped.
    pub max_connections: usize,
    /// A session of datagrams ends when nothing came or went for so long.
    pub udp_idle: Duration,
    /// Bytes that all delay lines together may hold.
    pub latency_budget: u64,
    /// Where proxies may lead.
    pub upstreams: Upstreams,
    /// So long before something is due a processor is kept busy, so that it cannot fall asleep; never when zero.
    pub busy_poll: Duration,
}

impl Default for PlaneLimits {
    fn default() -> Self {
        Self {
            dial_timeout: Duration::from_secs(10),
            max_connections: 50_000,
            udp_idle: Duration::from_secs(60),
            latency_budget: 1 << 30,
            upstreams: Upstreams::default(),
            busy_poll: Duration::ZERO,
        }
    }
}

/// What all proxies of one agent share.
pub struct DataPlane {
    pub(crate) limits: PlaneLimits,
    pub(crate) timer: Timer,
    pub(crate) budget: Arc<Budget>,
    pub(crate) slots: Slots,
    /// What is intercepted, if anything is.
    pub(crate) intercepted: Option<Originals>,
    pub(crate) pipes: Arc<PipePool>,
    /// How many refused upstreams the log takes.
    pub(crate) refused: Throttle,
    /// How many failures of TLS the log takes.
    tls_failures: Throttle,
    /// How many upstreams the log takes that could not be reached for want of a descriptor.
    pub(crate) short: Throttle,
}

impl DataPlane {
    /// A plane with these limits. Starts the timer's task on the runtime that this is called in; it ends when the plane is
    /// dropped.
    #[must_use]
    pub fn new(limits: PlaneLimits) -> Arc<Self> {
        Self::intercepting(limits, None)
    }

    /// A plane whose clients were redirected to it.
    pub(crate) fn intercepting(limits: PlaneLimits, intercepted: Option<Originals>) -> Arc<Self> {
        Arc::new(Self {
            timer: Timer::start(limits.busy_poll),
            budget: Budget::new(limits.latency_budget),
            slots: Slots::new(limits.max_connections),
            pipes: Arc::default(),
            refused: Throttle::default(),
            tls_failures: Throttle::default(),
            short: Throttle::default(),
            intercepted,
            limits,
        })
    }

    /// TLS failed with somebody: most often a certificate that is not trusted, which nothing else would tell of.
    pub(crate) fn tell_tls_failure(&self, error: &io::Error, with: &str, what: &'static str) {
        if let Some(left_out) = self.tls_failures.lets_through(Instant::now()) {
            tracing::warn!(%error, with, left_out, "{what}");
        }
    }
}

impl fmt::Debug for DataPlane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataPlane").field("limits", &self.limits).finish_non_exhaustive()
    }
}
