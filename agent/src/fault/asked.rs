//! What a stage on an exchange of HTTP knows of it, and what the exchanges of one connection have together.
//!
//! Made by `http/conversation.rs` for each request, reached through `StageContext`. A fault that bounds or paces a
//! connection bounds and paces all of its exchanges as one, for their bytes are in one stream.
//!
//! Invariant: what is kept here of a fault goes when the fault has gone.

use super::{
    ActiveFault,
    bandwidth::SharedBuckets,
    latency::{Lines, SharedLines},
};
use crate::{budget::Budget, http::RequestHead};
use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

/// One exchange.
#[derive(Debug)]
pub(crate) struct Asked {
    /// What the client wants.
    pub(crate) request: RequestHead,
    /// Its place among the exchanges of its connection, from 1.
    number: u64,
    pub(super) together: Arc<Together>,
    /// A fault told the client that no other response follows this one.
    closes: AtomicBool,
}

impl Asked {
    pub(crate) fn new(request: RequestHead, number: u64, together: &Arc<Together>) -> Self {
        Self { request, number, together: Arc::clone(together), closes: AtomicBool::new(false) }
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Whether its message in this direction is the one that leaves: all others wait for it.
    pub(super) fn is_first(&self, upstream: bool) -> bool {
        self.together.first[usize::from(upstream)].load(Relaxed) == self.number
    }

    /// The response says that it is the last one.
    pub(super) fn close(&self) {
        self.closes.store(true, Relaxed);
    }

    /// Whether a fault made the response say so.
    pub(crate) fn closes(&self) -> bool {
        self.closes.load(Relaxed)
    }
}

/// What the exchanges of one connection share, by the number of the fault.
#[derive(Debug, Default)]
pub(crate) struct Together {
    buckets: Mutex<BTreeMap<u64, Arc<SharedBuckets>>>,
    /// And by whether the direction is client to server.
    lines: Mutex<BTreeMap<(u64, bool), SharedLines>>,
    /// The number of the exchange whose message leaves, of each direction, downstream first.
    first: [AtomicU64; 2],
}

impl Together {
    pub(super) fn buckets(&self, fault: &ActiveFault) -> Arc<SharedBuckets> {
        Arc::clone(self.buckets.lock().entry(fault.id()).or_default())
    }

    pub(super) fn lines(&self, fault: &ActiveFault, upstream: bool, budget: &Arc<Budget>) -> SharedLines {
        let mut lines = self.lines.lock();
        Arc::clone(lines.entry((fault.id(), upstream)).or_insert_with(|| Lines::new(budget)))
    }

    /// The message of this exchange leaves now.
    pub(crate) fn set_first(&self, upstream: bool, number: u64) {
        self.first[usize::from(upstream)].store(number, Relaxed);
    }

    /// Lets go of what is kept for faults that have gone.
    pub(crate) fn keep_only(&self, faults: &[Arc<ActiveFault>]) {
        let lives = |id: &u64| faults.iter().any(|fault| fault.id() == *id);
        self.buckets.lock().retain(|id, _| lives(id));
        self.lines.lock().retain(|(id, _), _| lives(id));
    }
}
