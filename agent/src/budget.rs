//! How many bytes all delay lines of one agent may hold together, shared fairly.
//!
//! Up to half of the budget goes to whoever asks; the second half only to links that hold less than an even share.
//! So one greedy link cannot starve the others, and a lonely one gets the buffer that it was promised.
//!
//! Invariant: what a link took is given back when its delay line lets go of it, or is dropped.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

/// A link may always hold this much, so that it makes progress however short memory is.
pub(crate) const FLOOR: u64 = 64 * 1024;

/// The budget of one agent.
#[derive(Debug)]
pub(crate) struct Budget {
    total: u64,
    used: AtomicU64,
    holders: AtomicU64,
}

impl Budget {
    pub(crate) fn new(total: u64) -> Arc<Self> {
        Arc::new(Self { total, used: AtomicU64::new(0), holders: AtomicU64::new(0) })
    }

    /// Bytes that are held now, over all delay lines.
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Relaxed)
    }

    /// A part of the budget for one delay line.
    pub(crate) fn share(self: &Arc<Self>) -> Share {
        Share { budget: Arc::clone(self), held: 0 }
    }
}

/// What one delay line holds of the budget.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<Budget>,
    held: u64,
}

impl Share {
    /// Whether another chunk may be taken in, `own_limit` being what this line may hold at most.
    pub(crate) fn has_room(&self, own_limit: u64) -> bool {
        let used = self.budget.used.load(Relaxed);
        let even = self.budget.total / self.budget.holders.load(Relaxed).max(1);
        self.held < own_limit
            && (self.held < FLOOR || used < self.budget.total / 2 || (used < self.budget.total && self.held < even))
    }

    /// What this line holds.
    pub(crate) fn held(&self) -> u64 {
        self.held
    }

    pub(crate) fn take(&mut self, bytes: u64) {
        if self.held == 0 && bytes > 0 {
            self.budget.holders.fetch_add(1, Relaxed);
        }
        self.held += bytes;
        self.budget.used.fetch_add(bytes, Relaxed);
    }

    pub(crate) fn give(&mut self, bytes: u64) {
        if self.held > 0 && self.held == bytes {
            self.budget.holders.fetch_sub(1, Relaxed);
        }
        self.held -= bytes;
        self.budget.used.fetch_sub(bytes, Relaxed);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.give(self.held);
    }
}

#[cfg(test)]
mod tests {
    use super::{Budget, FLOOR};
    use std::sync::atomic::Ordering::Relaxed;

    #[test]
    fn a_greedy_link_leaves_an_even_share_to_others() {
        let budget = Budget::new(16 * FLOOR);
        let (mut greedy, mut modest) = (budget.share(), budget.share());
        modest.take(1);
        while greedy.has_room(u64::MAX) {
            greedy.take(FLOOR / 4);
        }
        assert!(modest.has_room(u64::MAX), "the greedy one left nothing");
        while modest.has_room(u64::MAX) {
            modest.take(FLOOR / 4);
        }
        assert!(budget.used.load(Relaxed) <= 17 * FLOOR);
        assert!(modest.held >= 7 * FLOOR, "{}", modest.held);
        assert!(!greedy.has_room(u64::MAX));
    }

    #[test]
    fn a_link_keeps_to_its_own_limit_and_gives_all_back() {
        let budget = Budget::new(1 << 30);
        let mut share = budget.share();
        share.take(1000);
        assert!(!share.has_room(1000) && share.has_room(1001));
        drop(share);
        assert_eq!((budget.used.load(Relaxed), budget.holders.load(Relaxed)), (0, 0));
    }

    #[test]
    fn a_link_gets_its_floor_from_an_empty_budget() {
        let budget = Budget::new(FLOOR);
        let (mut first, second) = (budget.share(), budget.share());
        first.take(2 * FLOOR);
        assert!(second.has_room(u64::MAX));
    }
}
