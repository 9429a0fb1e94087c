//! What one connection did: bytes each way, how soon it was served, when a fault first acted on it.
//!
//! Its links and its task write here, without locks; the roster settles it into the proxy's tally when it ends, and
//! what is known before that at each reading. Neighbours: `super::tally` has the sums.
//! Invariant: each thing is settled once, in the group in which the connection was when it happened.

use super::{Side, Timing, tally::Tally};
use std::{
    sync::atomic::{
        AtomicBool, AtomicU64,
        Ordering::{Acquire, Relaxed, Release},
    },
    time::{Duration, Instant},
};

/// One connection. There may be 50,000, so times are kept as numbers, and both directions here.
#[derive(Debug)]
pub(crate) struct Meter {
    born: Instant,
    /// Bytes read from the client, and from the server.
    received: [AtomicU64; 2],
    /// Bytes written to the server, and to the client.
    delivered: [AtomicU64; 2],
    /// When the client first spoke.
    asked: Moment,
    /// When it was first answered.
    answered: Moment,
    /// How long reaching the upstream took.
    connect: Moment,
    /// When a fault first acted, and what had been delivered until then.
    hit: Moment,
    delivered_before: [AtomicU64; 2],
    failed: AtomicBool,
    /// Whether reaching the upstream, and the first byte, were settled already.
    settled: [AtomicBool; 2],
}

/// A time since the connection began, set once at most: nanoseconds and one; 0 when it is not set.
#[derive(Debug, Default)]
struct Moment(AtomicU64);

impl Moment {
    fn set(&self, since: Duration) -> bool {
        let nanos = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX - 1);
        self.0.compare_exchange(0, nanos.saturating_add(1), Release, Relaxed).is_ok()
    }

    fn get(&self) -> Option<Duration> {
        self.0.load(Acquire).checked_sub(1).map(Duration::from_nanos)
    }
}

impl Meter {
    /// Of a connection that begins now.
    pub(crate) fn start() -> Self {
        Self {
            born: Instant::now(),
            received: Default::default(),
            delivered: Default::default(),
            asked: Moment::default(),
            answered: Moment::default(),
            connect: Moment::default(),
            hit: Moment::default(),
            delivered_before: Default::default(),
            failed: AtomicBool::new(false),
            settled: Default::default(),
        }
    }

    /// So many bytes were read from the client, or from the server.
    pub(crate) fn receive(&self, upstream: bool, bytes: usize) {
        let before = self.received[way(upstream)].fetch_add(bytes as u64, Relaxed);
        if upstream && before == 0 && bytes > 0 {
            self.asked.set(self.born.elapsed());
        }
    }

    /// So many bytes were written to the server, or to the client.
    pub(crate) fn deliver(&self, upstream: bool, bytes: usize) {
        let before = self.delivered[way(upstream)].fetch_add(bytes as u64, Relaxed);
        if !upstream && before == 0 && bytes > 0 {
            self.answered.set(self.born.elapsed());
        }
    }

    /// A fault acts on it; whether it is the first to. The connection's own task alone calls this.
    pub(crate) fn hit(&self) -> bool {
        if self.hit.get().is_some() {
            return false;
        }
        for (before, bytes) in self.delivered_before.iter().zip(self.delivered()) {
            before.store(bytes, Relaxed);
        }
        self.hit.set(self.born.elapsed())
    }

    /// Whether a fault acted on it.
    pub(crate) fn was_hit(&self) -> bool {
        self.hit.get().is_some()
    }

    /// The upstream was reached, after so long.
    pub(crate) fn reached(&self, took: Duration) {
        self.connect.set(took);
    }

    /// It ends with an error.
    pub(crate) fn fail(&self) {
        self.failed.store(true, Relaxed);
    }

    /// Bytes written to the server, and to the client.
    pub(crate) fn delivered(&self) -> [u64; 2] {
        self.delivered.each_ref().map(|bytes| bytes.load(Relaxed))
    }

    /// Bytes read from the client, and from the server.
    pub(crate) fn received(&self) -> [u64; 2] {
        self.received.each_ref().map(|bytes| bytes.load(Relaxed))
    }

    /// In which group it is.
    pub(super) fn side(&self) -> Side {
        if self.was_hit() { Side::Hit } else { Side::Spared }
    }

    /// Bytes delivered both ways while it was spared, and since it was hit.
    pub(super) fn bytes(&self) -> [[u64; 2]; 2] {
        if self.hit.get().is_none() {
            return [self.delivered(), [0; 2]];
        }
        let before = self.delivered_before.each_ref().map(|bytes| bytes.load(Relaxed));
        let all = self.delivered();
        [before, [0, 1].map(|way| all[way].saturating_sub(before[way]))]
    }

    /// Brings what is known of a connection that goes on into the tally: how soon it was served.
    pub(super) fn settle_beginning(&self, tally: &mut Tally) {
        let Some(answered) = self.answered.get() else { return };
        self.settle_connect(tally, answered);
        if self.settled[1].swap(true, Relaxed) {
            return;
        }
        let asked = self.asked.get().filter(|asked| *asked < answered).unwrap_or_default();
        tally.time(self.side_at(answered), Timing::FirstByte, answered.saturating_sub(asked));
    }

    /// Brings all of a connection that is over into the tally.
    pub(crate) fn settle(&self, tally: &mut Tally) {
        let lasted = self.born.elapsed();
        self.settle_beginning(tally);
        self.settle_connect(tally, lasted);
        tally.time(self.side(), Timing::Duration, lasted);
        tally.ended(self.side(), self.failed.load(Relaxed), self.bytes(), self.received());
    }

    /// A fault that acts on the first bytes has hit the connection as a whole, though it was reached before.
    fn settle_connect(&self, tally: &mut Tally, at: Duration) {
        if let Some(took) = self.connect.get()
            && !self.settled[0].swap(true, Relaxed)
        {
            tally.time(self.side_at(at), Timing::Connect, took);
        }
    }

    fn side_at(&self, at: Duration) -> Side {
        if self.hit.get().is_some_and(|hit| hit <= at) { Side::Hit } else { Side::Spared }
    }
}

fn way(upstream: bool) -> usize {
    usize::from(!upstream)
}
