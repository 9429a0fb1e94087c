//! Bulkhead: each dependency has a pool of permits of its own, so that a slow one fills only its own.
//!
//! Critical work waits a little for a permit, optional work is turned away at once. Switched off, all dependencies
//! share one common pool, as with one connection pool for everything: whoever comes waits in one line until its
//! deadline, and one slow dependency starves the rest.
//!
//! Invariant: a pool never has more permits out than its size; a permit returns when its holder is dropped.

use crate::resilience::timeout_budget::Deadline;
use std::{sync::Arc, time::Duration};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The pools' sizes and patience.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BulkheadConfig {
    /// Calls to one dependency under way at a time.
    pub size: usize,
    /// Critical work waits so long for a permit.
    pub wait: Duration,
    /// Calls under way at a time over all dependencies, when they have no pools of their own.
    pub common_size: usize,
}

impl Default for BulkheadConfig {
    fn default() -> Self {
        Self { size: 64, wait: Duration::from_millis(250), common_size: 32 }
    }
}

/// How much a call matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Priority {
    Critical,
    Optional,
}

/// No permit in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Admission {
    /// A dependency's own pool.
    Own { wait: Duration },
    /// The pool that all share.
    Common,
}

/// A pool of permits.
#[derive(Debug, Clone)]
pub(crate) struct Bulkhead {
    permits: Arc<Semaphore>,
    size: usize,
    admission: Admission,
}

impl Bulkhead {
    /// A pool for one dependency.
    pub(crate) fn own(config: BulkheadConfig) -> Self {
        let admission = Admission::Own { wait: config.wait };
        Self { permits: Arc::new(Semaphore::new(config.size)), size: config.size, admission }
    }

    /// The pool for all, when there are no bulkheads; clones share it.
    pub(crate) fn common(config: BulkheadConfig) -> Self {
        let size = config.common_size;
        Self { permits: Arc::new(Semaphore::new(size)), size, admission: Admission::Common }
    }

    /// Takes a permit, waiting as long as the call's priority and deadline allow.
    pub(crate) async fn enter(&self, priority: Priority, deadline: Deadline) -> Result<OwnedSemaphorePermit, Full> {
        let permits = Arc::clone(&self.permits);
        match (self.admission, priority) {
            (Admission::Own { .. }, Priority::Optional) => permits.try_acquire_owned().map_err(|_| Full),
            (Admission::Own { wait }, Priority::Critical) => {
                let patience = deadline.left().map_or(wait, |left| left.min(wait));
                let permit = tokio::time::timeout(patience, permits.acquire_owned()).await;
                permit.map_err(|_| Full)?.map_err(|_| Full)
            }
            (Admission::Common, _) => deadline.run(permits.acquire_owned()).await.map_err(|_| Full)?.map_err(|_| Full),
        }
    }

    pub(crate) fn size(&self) -> usize {
        self.size
    }

    pub(crate) fn in_use(&self) -> usize {
        self.size - self.permits.available_permits()
    }
}

#[cfg(test)]
mod tests {
    use super::{Bulkhead, BulkheadConfig, Full, Priority};
    use crate::resilience::timeout_budget::Deadline;
    use std::time::Duration;
    use tokio::time::Instant;

    const MS: Duration = Duration::from_millis(1);

    fn config() -> BulkheadConfig {
        BulkheadConfig { size: 2, common_size: 2, wait: 250 * MS }
    }

    fn soon() -> Deadline {
        Deadline::At(Instant::now() + 1000 * MS)
    }

    #[tokio::test(start_paused = true)]
    async fn optional_work_is_shed_at_once_and_critical_work_after_its_wait() {
        let pool = Bulkhead::own(config());
        let _held = (pool.enter(Priority::Critical, soon()).await, pool.enter(Priority::Optional, soon()).await);
        assert_eq!(pool.in_use(), 2);
        let begun = Instant::now();
        assert_eq!(pool.enter(Priority::Optional, soon()).await.err(), Some(Full));
        assert_eq!(begun.elapsed(), Duration::ZERO);
        assert_eq!(pool.enter(Priority::Critical, soon()).await.err(), Some(Full));
        assert_eq!(begun.elapsed(), 250 * MS);
    }

    #[tokio::test(start_paused = true)]
    async fn critical_work_does_not_wait_beyond_its_deadline() {
        let pool = Bulkhead::own(BulkheadConfig { size: 0, ..config() });
        let begun = Instant::now();
        let deadline = Deadline::At(begun + 100 * MS);
        assert!(pool.enter(Priority::Critical, deadline).await.is_err());
        assert_eq!(begun.elapsed(), 100 * MS);
    }

    #[tokio::test(start_paused = true)]
    async fn a_permit_that_returns_serves_the_one_who_waits() {
        let pool = Bulkhead::own(BulkheadConfig { size: 1, ..config() });
        let held = pool.enter(Priority::Critical, soon()).await;
        let waiting = pool.enter(Priority::Critical, soon());
        let (permit, ()) = tokio::join!(waiting, async { drop(held) });
        assert!(permit.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn own_pools_are_apart_and_the_common_one_is_shared() {
        let (payment, reviews) = (Bulkhead::own(config()), Bulkhead::own(config()));
        let _held = (payment.enter(Priority::Critical, soon()).await, payment.enter(Priority::Critical, soon()).await);
        assert!(reviews.enter(Priority::Optional, soon()).await.is_ok());

        let payment = Bulkhead::common(config());
        let reviews = payment.clone();
        let _held = (payment.enter(Priority::Critical, soon()).await, payment.enter(Priority::Critical, soon()).await);
        let begun = Instant::now();
        assert!(reviews.enter(Priority::Optional, soon()).await.is_err());
        assert_eq!(begun.elapsed(), 1000 * MS, "in the common pool everybody stands in line until the deadline");
    }
}
