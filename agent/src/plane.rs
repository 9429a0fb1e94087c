//! What all proxies of one agent share: the precise timer, the memory of delay lines, the pipes, and the limits.
//!
//! Made once by the agent and handed to each proxy (`proxy/`). Two planes in one process know nothing of each other.
//!
//! Invariant: no connection is accepted without a slot of `max_connections`, and each gives its slot back when it ends.

use crate::{budget::Budget, splice::PipePool, timer::Timer};
use std::{fmt, sync::Arc, time::Duration};
use tokio::sync::Semaphore;

/// The limits of an agent's data plane.
#[derive(Debug, Clone)]
pub struct PlaneLimits {
    /// Resolving and reaching an upstream may take so long; after that the client is reset.
    pub dial_timeout: Duration,
    /// Connections open at once over all proxies; further ones wait in their listen queues.
    pub max_connections: usize,
    /// Bytes that all delay lines together may hold.
    pub latency_budget: u64,
}

impl Default for PlaneLimits {
    fn default() -> Self {
        Self { dial_timeout: Duration::from_secs(10), max_connections: 50_000, latency_budget: 1 << 30 }
    }
}

/// What all proxies of one agent share.
pub struct DataPlane {
    pub(crate) limits: PlaneLimits,
    pub(crate) timer: Timer,
    pub(crate) budget: Arc<Budget>,
    pub(crate) slots: Arc<Semaphore>,
    pub(crate) pipes: Arc<PipePool>,
}

impl DataPlane {
    /// A plane with these limits. Starts the timer's thread, which ends when the plane is dropped.
    #[must_use]
    pub fn new(limits: PlaneLimits) -> Arc<Self> {
        Arc::new(Self {
            timer: Timer::start(),
            budget: Budget::new(limits.latency_budget),
            slots: Arc::new(Semaphore::new(limits.max_connections.clamp(1, Semaphore::MAX_PERMITS))),
            pipes: Arc::default(),
            limits,
        })
    }
}

impl fmt::Debug for DataPlane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataPlane").field("limits", &self.limits).finish_non_exhaustive()
    }
}
