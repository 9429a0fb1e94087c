//! How well the load keeps its own schedule: how late requests are sent for which a client was free, and how many had to
//! wait for one.
//!
//! What is late here is squall's doing or its machine's; what waits for a client waits for the system under load.
//! Neighbours: `traffic` tells it of every request, `search::surge` asks whether a rate was kept.

use hdrhistogram::Histogram;
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Later than this counts as this, in microseconds.
const LATEST_MICROS: u64 = 60_000_000;

/// The lateness of the requests of one load.
#[derive(Debug)]
pub struct Punctuality {
    late: parking_lot::Mutex<Histogram<u64>>,
    waited: AtomicU64,
    due: AtomicU64,
}

impl Default for Punctuality {
    fn default() -> Self {
        #[expect(
            clippy::expect_used,
            reason = "the bounds are constants and valid: 1 < 2 * 1 <= latest, digits below 6"
        )]
        let late = Histogram::new_with_bounds(1, LATEST_MICROS, 3).expect("constant bounds");
        Self { late: parking_lot::Mutex::new(late), waited: AtomicU64::new(0), due: AtomicU64::new(0) }
    }
}

impl Punctuality {
    /// A request was sent so long after it could have been.
    pub fn sent(&self, late: Duration) {
        self.late.lock().saturating_record(u64::try_from(late.as_micros()).unwrap_or(LATEST_MICROS));
    }

    /// A request found no free client.
    pub(super) fn has_waited(&self) {
        self.waited.fetch_add(1, Ordering::Relaxed);
    }

    /// A request's time has come.
    pub(crate) fn has_come_due(&self) {
        self.due.fetch_add(1, Ordering::Relaxed);
    }

    /// How many requests have come due.
    #[must_use]
    pub fn due(&self) -> u64 {
        self.due.load(Ordering::Relaxed)
    }

    /// The lateness that this share of the requests did not exceed.
    #[must_use]
    pub fn late(&self, share: f64) -> Duration {
        Duration::from_micros(self.late.lock().value_at_quantile(share))
    }

    /// How many requests found no free client.
    #[must_use]
    pub fn waited(&self) -> u64 {
        self.waited.load(Ordering::Relaxed)
    }
}
