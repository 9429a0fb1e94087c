//! Compensation: an order that fails half-way gives back what it took, also after a crash.
//!
//! ```text
//! begin (intent on disk) ─▶ reserve ─▶ charge ─▶ store the order, end the intent: one transaction
//!                             └───────────┴─▶ failed, dropped or crashed ─▶ worker undoes, until acknowledged
//! ```
//! The intent to undo is a row of the outbox, written before the first step. A `Saga` that is dropped before
//! `complete`, for whatever reason, makes it due at once; after a crash it becomes due by itself, when the order's time is
//! over. The worker of any shop on the database carries out what is due. Own, for this is a few rows and their states:
//! crates of sagas or queues bring a framework or another server.
//!
//! Neighbours: `orders.rs` begins and completes, `store/outbox.rs` keeps. Invariant: undoing is idempotent on the other
//! side, and an order of which undoing has begun can no longer be stored. Switched off, nothing is undone.

use crate::{
    failure::CallError,
    metrics::Metrics,
    resilience::timeout_budget::Deadline,
    store::{Store, StoreError, in_ms, now_ms, outbox::Intent},
    upstream::{Call, Upstream},
};
use futures::{StreamExt as _, stream};
use serde::de::IgnoredAny;
use std::{sync::Arc, time::Duration};
use tokio::{
    runtime::Handle,
    sync::{Notify, Semaphore},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

/// Failed orders whose intents are being made due; beyond, they become so by themselves a little later.
const CAPACITY: usize = 256;
/// So many orders at a time are undone, so that undoing does not crowd out new orders.
const LANES: usize = 8;
/// Taken over at a time.
const CLAIM: i64 = 32;
/// One try to undo one step, or to write.
const TRY_LIMIT: Duration = Duration::from_secs(2);
/// Whoever has taken over an intent has so long for it, before another may.
const LEASE: Duration = Duration::from_secs(20);
/// An order without a deadline is taken for dead after this.
const NO_DEADLINE: Duration = Duration::from_secs(60);
/// The order's own end comes first.
const GRACE: Duration = Duration::from_millis(250);
/// How often is looked whether something has become due by itself.
const LOOK_EVERY: Duration = Duration::from_millis(500);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How orders are begun.
#[derive(Clone)]
pub(crate) enum Compensation {
    On(Arc<Compensator>),
    Off,
}

impl Compensation {
    /// Begins an order: from here on, what it takes is given back unless it is completed.
    pub(crate) async fn begin(&self, order: &str, deadline: Deadline) -> Result<Saga, StoreError> {
        match self {
            Self::Off => Ok(Saga { undo: None }),
            Self::On(compensator) => {
                let due_in = deadline.left().unwrap_or(NO_DEADLINE) + GRACE;
                compensator.store.intend(order, &compensator.owner, now_ms() + in_ms(due_in)).await?;
                let (order, compensator) = (order.to_owned(), Arc::clone(compensator));
                Ok(Saga { undo: Some(Undo { order, stock: false, charge: false, compensator }) })
            }
        }
    }
}

/// What undoes orders.
pub(crate) struct Compensator {
    inventory: Arc<Upstream>,
    payment: Arc<Upstream>,
    store: Arc<Store>,
    metrics: Arc<Metrics>,
    /// This process among those on the database.
    owner: String,
    wake: Notify,
    slots: Arc<Semaphore>,
    tasks: TaskTracker,
    runtime: Handle,
}

impl Compensator {
    /// Must be called inside a runtime.
    pub(crate) fn new(
        inventory: Arc<Upstream>,
        payment: Arc<Upstream>,
        store: Arc<Store>,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        let (owner, wake, slots) = (Uuid::new_v4().to_string(), Notify::new(), Arc::new(Semaphore::new(CAPACITY)));
        let (tasks, runtime) = (TaskTracker::new(), Handle::current());
        Arc::new(Self { inventory, payment, store, metrics, owner, wake, slots, tasks, runtime })
    }

    /// Carries out what is due, until stopped.
    pub(crate) async fn run(&self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            if self.pass().await > 0 {
                continue;
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.wake.notified() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// The last passes: until nothing that this process has begun is left to undo.
    pub(crate) async fn finish(&self) {
        self.tasks.close();
        self.tasks.wait().await;
        loop {
            self.pass().await;
            match self.store.outbox_size(&self.owner).await {
                Ok((_, 0)) => return,
                Ok(_) | Err(_) => tokio::time::sleep(FIRST_PAUSE).await,
            }
        }
    }

    /// Undoes what is due, and says of how many orders.
    async fn pass(&self) -> usize {
        let claimed = async {
            if !self.store.is_due().await? {
                return Ok(Vec::new());
            }
            self.store.claim(&self.owner, now_ms() + in_ms(LEASE), CLAIM).await
        };
        let intents = match tokio::time::timeout(TRY_LIMIT, claimed).await {
            Ok(Ok(intents)) => intents,
            Ok(Err(StoreError::Failed(error))) => {
                tracing::error!(%error, "failed to look for what is to be undone");
                return 0;
            }
            Ok(Err(_)) | Err(_) => return 0,
        };
        let count = intents.len();
        stream::iter(intents).for_each_concurrent(LANES, |intent| self.undo(intent)).await;
        if let Ok((pending, _)) = self.store.outbox_size(&self.owner).await {
            self.metrics.storage.outbox(pending);
        }
        count
    }

    async fn undo(&self, mut intent: Intent) {
        let order = intent.order_id.clone();
        let charge = self.step(intent.undo_charge, "charge", &self.payment, format!("/charges/{order}"));
        let stock = self.step(intent.undo_stock, "stock", &self.inventory, format!("/reservations/{order}"));
        (intent.undo_charge, intent.undo_stock) = tokio::join!(charge, stock);
        let again = now_ms() + in_ms(pause(intent.attempts));
        match tokio::time::timeout(TRY_LIMIT, self.store.settle(&intent, again)).await {
            Ok(Ok(())) => {}
            // Its lease runs out, and it is undone again, which does no harm.
            Ok(Err(error)) => tracing::warn!(order, %error, "failed to write that the order was undone"),
            Err(_) => tracing::warn!(order, "failed to write in time that the order was undone"),
        }
    }

    /// What is left of a step: 0 when it was acknowledged.
    async fn step(&self, wanted: i64, what: &'static str, upstream: &Upstream, path: String) -> i64 {
        if wanted == 0 {
            return 0;
        }
        // A limit of its own: the order's budget is spent, and without budgets this must still end.
        let deadline = Deadline::At(Instant::now() + TRY_LIMIT);
        let result: Result<IgnoredAny, CallError> = upstream.attempt(&Call::delete(path), deadline).await;
        self.metrics.compensation(what, if result.is_ok() { "undone" } else { "failed" });
        i64::from(result.is_err())
    }

    /// An order failed; its intent is due now.
    fn failed(self: &Arc<Self>, order: String, stock: bool, charge: bool) {
        let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() else { return };
        let this = Arc::clone(self);
        let work = async move {
            let written = tokio::time::timeout(TRY_LIMIT, this.store.intend_now(&order, stock, charge)).await;
            if !matches!(written, Ok(Ok(()))) {
                tracing::debug!(order, "the order is undone a little later");
            }
            this.wake.notify_one();
            drop(slot);
        };
        self.tasks.spawn_on(work, &self.runtime);
    }
}

/// The pause before the next try.
fn pause(attempts: i64) -> Duration {
    let doublings = u32::try_from(attempts.clamp(1, 16) - 1).unwrap_or(0);
    (FIRST_PAUSE * 2_u32.pow(doublings)).min(LONGEST_PAUSE)
}

struct Undo {
    order: String,
    stock: bool,
    charge: bool,
    compensator: Arc<Compensator>,
}

/// One order on its way. Undone when dropped, unless it is complete.
#[must_use]
pub(crate) struct Saga {
    /// Absent when it is complete, or when the pattern is switched off.
    undo: Option<Undo>,
}

impl Saga {
    /// Whether an intent was written, which storing the order must end.
    pub(crate) fn is_intended(&self) -> bool {
        self.undo.is_some()
    }

    /// The stock is about to be reserved, or is known not to have been.
    pub(crate) fn stock(&mut self, may_be_taken: bool) {
        if let Some(undo) = &mut self.undo {
            undo.stock = may_be_taken;
        }
    }

    /// The charge is about to be made, or is known not to have been.
    pub(crate) fn charge(&mut self, may_be_made: bool) {
        if let Some(undo) = &mut self.undo {
            undo.charge = may_be_made;
        }
    }

    /// The order stands.
    pub(crate) fn complete(mut self) {
        self.undo = None;
    }
}

impl Drop for Saga {
    fn drop(&mut self) {
        if let Some(Undo { order, stock, charge, compensator }) = self.undo.take() {
            compensator.failed(order, stock, charge);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{LONGEST_PAUSE, pause};
    use std::time::Duration;

    #[test]
    fn pauses_double_up_to_a_limit() {
        let pauses = [1, 2, 3, 40].map(pause);
        assert_eq!(
            pauses,
            [Duration::from_millis(100), Duration::from_millis(200), Duration::from_millis(400), LONGEST_PAUSE]
        );
    }
}
