//! Compensation: an order that fails half-way gives back what it took.
//!
//! A `Saga` notes each step before it is taken. Dropped before `complete`, for whatever reason (an error, a deadline,
//! a client that went away), it hands the steps that may have happened to the `Compensator`, which undoes them in
//! the background and tries again for a while if that fails.
//!
//! Invariant: undoing is idempotent on the other side, so undoing a step that never happened does no harm.
//! After a crash nothing is undone: that needs the steps on disk first.

use crate::{
    failure::CallError,
    metrics::Metrics,
    resilience::timeout_budget::Deadline,
    store::Store,
    upstream::{Call, Upstream},
};
use serde::de::IgnoredAny;
use std::{sync::Arc, time::Duration};
use tokio::{runtime::Handle, sync::Semaphore, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Orders waiting to be undone; a minute's failed orders at seventy a second. Beyond, they are logged and lost.
const CAPACITY: usize = 4096;
/// Of these, so many at a time are at the dependencies, so that undoing does not crowd out new orders.
const LANES: usize = 8;
/// One try to undo one step.
const TRY_LIMIT: Duration = Duration::from_secs(2);
/// Then it is given up and logged.
const GIVE_UP_AFTER: Duration = Duration::from_secs(60);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The steps that may have happened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Steps {
    stock: bool,
    charge: bool,
    row: bool,
}

impl Steps {
    fn none(&self) -> bool {
        *self == Self::default()
    }
}

/// What undoes orders, and the tasks that do.
pub(crate) struct Compensator {
    inventory: Arc<Upstream>,
    payment: Arc<Upstream>,
    store: Arc<Store>,
    metrics: Arc<Metrics>,
    slots: Arc<Semaphore>,
    lanes: Semaphore,
    tasks: TaskTracker,
    runtime: Handle,
    abort: CancellationToken,
}

impl Compensator {
    /// Its tasks end when `abort` is cancelled. Must be called inside a runtime.
    pub(crate) fn new(
        inventory: Arc<Upstream>,
        payment: Arc<Upstream>,
        store: Arc<Store>,
        metrics: Arc<Metrics>,
        abort: CancellationToken,
    ) -> Arc<Self> {
        let (slots, lanes) = (Arc::new(Semaphore::new(CAPACITY)), Semaphore::new(LANES));
        let (tasks, runtime) = (TaskTracker::new(), Handle::current());
        Arc::new(Self { inventory, payment, store, metrics, slots, lanes, tasks, runtime, abort })
    }

    /// Begins an order.
    pub(crate) fn saga(self: &Arc<Self>, order: String) -> Saga {
        Saga { order, steps: Steps::default(), compensator: Arc::clone(self) }
    }

    /// Waits for what is being undone; nothing more is expected.
    pub(crate) async fn finish(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn undo(self: &Arc<Self>, order: String, steps: Steps) {
        let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() else {
            tracing::error!(order, ?steps, "too many orders to undo, this one is left as it is");
            self.metrics.compensation("order", "lost");
            return;
        };
        let this = Arc::clone(self);
        let work = async move {
            tokio::select! {
                () = this.until_undone(&order, steps) => {}
                () = this.abort.cancelled() => tracing::error!(order, "shut down before the order was undone"),
            }
            drop(slot);
        };
        self.tasks.spawn_on(work, &self.runtime);
    }

    async fn until_undone(&self, order: &str, mut steps: Steps) {
        let begun = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            // Never closed, so always granted; held for the try and not for the pause.
            let lane = self.lanes.acquire().await;
            self.try_undo(order, &mut steps).await;
            drop(lane);
            if steps.none() {
                return;
            }
            if begun.elapsed() >= GIVE_UP_AFTER {
                tracing::error!(order, ?steps, "failed to undo the order");
                self.metrics.compensation("order", "lost");
                return;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// The row first, so that its key does not promise an order that is being taken back.
    async fn try_undo(&self, order: &str, steps: &mut Steps) {
        if steps.row {
            let removed = tokio::time::timeout(TRY_LIMIT, self.store.remove_order(order)).await;
            steps.row = !self.done("row", matches!(removed, Ok(Ok(()))));
        }
        if steps.charge {
            steps.charge = !self.delete("charge", &self.payment, format!("/charges/{order}")).await;
        }
        if steps.stock {
            steps.stock = !self.delete("stock", &self.inventory, format!("/reservations/{order}")).await;
        }
    }

    async fn delete(&self, what: &'static str, upstream: &Upstream, path: String) -> bool {
        // A limit of its own: the order's budget is spent, and without budgets this must still end.
        let deadline = Deadline::At(Instant::now() + TRY_LIMIT);
        let result: Result<IgnoredAny, CallError> = upstream.attempt(&Call::delete(path), deadline).await;
        self.done(what, result.is_ok())
    }

    fn done(&self, what: &'static str, done: bool) -> bool {
        self.metrics.compensation(what, if done { "undone" } else { "failed" });
        done
    }
}

/// One order on its way. Undone when dropped, unless it is complete.
#[must_use]
pub(crate) struct Saga {
    order: String,
    steps: Steps,
    compensator: Arc<Compensator>,
}

impl Saga {
    /// The stock is about to be reserved, or is known not to have been.
    pub(crate) fn stock(&mut self, may_be_taken: bool) {
        self.steps.stock = may_be_taken;
    }

    /// The charge is about to be made, or is known not to have been.
    pub(crate) fn charge(&mut self, may_be_made: bool) {
        self.steps.charge = may_be_made;
    }

    /// The order is about to be stored, or is known not to have been.
    pub(crate) fn row(&mut self, may_be_stored: bool) {
        self.steps.row = may_be_stored;
    }

    /// The order stands.
    pub(crate) fn complete(mut self) {
        self.steps = Steps::default();
    }
}

impl Drop for Saga {
    fn drop(&mut self) {
        if !self.steps.none() {
            let (order, steps) = (std::mem::take(&mut self.order), std::mem::take(&mut self.steps));
            self.compensator.undo(order, steps);
        }
    }
}
