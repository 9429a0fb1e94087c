//! `stall`: traffic freezes for a while, again and again: a garbage-collection pause, or a retransmission.
//!
//! Freezes begin at `since + n * every` for n = 0, 1, 2 …, `since` being when the fault was set; so the first begins
//! at once, and all connections freeze together, as they would behind one stopped process. How long each one lasts is
//! drawn from the seed and its number.
//!
//! Acts (and counts a hit) when something comes during a freeze.
//!
//! Invariant: outside a freeze nothing is held back.

use super::{Item, Stage, StageContext, hold::Hold, random_stream};
use rand::RngExt;
use squall_wire::{FaultKind, fault::Stall};
use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// The freezing of one direction.
#[derive(Debug)]
pub(crate) struct Freezer {
    stall: Stall,
    since: Instant,
    seed: u64,
    hold: Hold,
}

impl Freezer {
    pub(crate) fn new(stall: Stall, context: &StageContext<'_>) -> Self {
        let fault = context.fault();
        Self { stall, since: fault.since(), seed: fault.seed(), hold: Hold::default() }
    }

    /// Each freeze begins where the last one ends.
    fn never_thaws(&self) -> bool {
        self.stall.jitter.is_zero() && self.stall.duration >= self.stall.every
    }

    /// The end of the freeze that lasts at `now`.
    fn frozen_until(&self, now: Instant) -> Option<Instant> {
        let every = self.stall.every.get().as_nanos().max(1);
        let number = now.saturating_duration_since(self.since).as_nanos() / every;
        let begin = self.since.checked_add(nanos(number * every))?;
        let end = begin.checked_add(self.length(u64::try_from(number).unwrap_or(u64::MAX)))?;
        (now < end).then_some(end)
    }

    fn length(&self, number: u64) -> Duration {
        let (length, jitter) = (self.stall.duration.get(), self.stall.jitter.get());
        if jitter.is_zero() {
            return length;
        }
        let spread = random_stream(self.seed, number, 2).random_range(0.0..=2.0);
        (length + jitter.mul_f64(spread)).saturating_sub(jitter)
    }
}

fn nanos(nanos: u128) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

impl Stage for Freezer {
    fn accepts(&self) -> bool {
        !self.hold.is_full()
    }

    fn touches(&self, _: &Item, now: Instant) -> bool {
        self.frozen_until(now).is_some()
    }

    fn push(&mut self, item: Item, _: Instant) {
        self.hold.push(item);
    }

    fn pull(&mut self, now: Instant) -> Option<Item> {
        if self.frozen_until(now).is_some() { None } else { self.hold.pop() }
    }

    fn due(&self, now: Instant) -> Option<Instant> {
        self.hold.front()?;
        if self.never_thaws() {
            return None;
        }
        Some(self.frozen_until(now).unwrap_or(now))
    }

    fn change(&mut self, kind: &FaultKind, _: Instant) {
        if let FaultKind::Stall(stall) = kind {
            self.stall = *stall;
        }
    }

    fn release(&mut self) -> VecDeque<Item> {
        self.hold.release()
    }
}
