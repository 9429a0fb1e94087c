//! What is known of a proxy's requests: how many, how many failed, and how soon they were answered, hit and spared apart.
//!
//! Neighbours: `conversation.rs` and `ending.rs` tell when an exchange begins and ends, `crate::traffic` has the sums.
//! Invariant: an exchange that was counted in is counted out once, however its connection ends.

use super::{conversation::Conversation, exchange::Exchange};
use crate::{
    fault::Claim,
    traffic::{Ended, RequestSnapshot, RequestTally},
};
use parking_lot::Mutex;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

/// Requests of a proxy, over all its connections.
#[derive(Debug, Default)]
pub(crate) struct RequestTotals {
    pub(crate) requests: AtomicU64,
    pub(crate) hit: Arc<AtomicU64>,
    pub(crate) errors: AtomicU64,
    tally: Mutex<RequestTally>,
}

impl RequestTotals {
    /// What they did, hit and spared apart.
    pub(crate) fn snapshot(&self) -> RequestSnapshot {
        let tally = self.tally.lock();
        tally.snapshot(self.hit.load(Relaxed))
    }
}

/// When what happened to an exchange.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timing {
    begun: Instant,
    /// When its response began to leave, and whether a fault of requests had hit it by then.
    pub(super) spoke: Option<(Instant, bool)>,
    /// A fault of connections acted on its connection, which is gone since, or acted before there was a request.
    touched: bool,
}

impl Conversation {
    /// An exchange begins. `is_request`: it is one that could be read.
    pub(super) fn count_begin(&mut self, exchange: &mut Exchange, is_request: bool, now: Instant) {
        self.totals.requests.fetch_add(u64::from(is_request), Relaxed);
        self.totals.tally.lock().begin();
        let first = self.exchanges.iter().all(|earlier| earlier.request().is_none());
        let touched = first && std::mem::take(&mut self.touched_before);
        exchange.timing = Some(Timing { begun: now, spoke: None, touched });
    }

    /// The faults of the connection change: what acted until now did so on all that is under way.
    pub(super) fn note_touched(&mut self, plan: &[Arc<Claim>]) {
        if acted(&self.claims) {
            self.exchanges.iter_mut().filter_map(|exchange| exchange.timing.as_mut()).for_each(|it| it.touched = true);
        }
        self.claims = plan.to_vec();
    }
}

fn acted(claims: &[Arc<Claim>]) -> bool {
    claims.iter().any(|claim| claim.has_acted())
}

/// An exchange is over, if it was not before.
pub(super) fn count_end(exchange: &mut Exchange, totals: &RequestTotals, claims: &[Arc<Claim>], now: Instant) {
    let Some(timing) = exchange.timing.take() else { return };
    let since = |then: Instant| now.saturating_duration_since(then);
    totals.tally.lock().end(&Ended {
        hit: exchange.is_hit(),
        touched: timing.touched || acted(claims),
        failed: exchange.failed,
        first_byte: timing.spoke.map(|(spoke, hit)| (spoke.saturating_duration_since(timing.begun), hit)),
        lasted: since(timing.begun),
    });
}

/// An exchange fails, if it did not before.
pub(super) fn count_failure(exchange: &mut Exchange, totals: &RequestTotals) {
    if !std::mem::replace(&mut exchange.failed, true) {
        totals.errors.fetch_add(1, Relaxed);
    }
}
