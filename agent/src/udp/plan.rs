//! What a session has of its proxy: the faults that are in its way, and the bell that tells of others.
//!
//! The roster (`proxy/roster.rs`) writes it, `session.rs` reads it. Which datagrams a fault hits is not said here: it
//! numbers them one by one as they reach it.
//!
//! Invariant: whoever waits on the bell is woken by every new plan.

use crate::fault::ActiveFault;
use parking_lot::Mutex;
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use tokio::sync::Notify;

/// The faults in the way of one session.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    faults: Mutex<Arc<[Arc<ActiveFault>]>>,
    version: AtomicU64,
    bell: Notify,
}

impl Plan {
    /// The faults in this session's way, in the order in which they apply.
    pub(crate) fn faults(&self) -> Arc<[Arc<ActiveFault>]> {
        Arc::clone(&self.faults.lock())
    }

    /// Goes up with every new plan; 0 is the empty one.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Returns when there is a new plan.
    pub(crate) async fn changed(&self) {
        self.bell.notified().await;
    }

    /// Puts these faults in place of all.
    pub(crate) fn publish(&self, faults: Vec<Arc<ActiveFault>>) {
        let mut current = self.faults.lock();
        if current.is_empty() && faults.is_empty() {
            return;
        }
        *current = faults.into();
        drop(current);
        self.version.fetch_add(1, Ordering::Release);
        self.bell.notify_one();
    }
}
