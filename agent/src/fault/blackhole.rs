//! `blackhole`: bytes in its direction are read and thrown away, and so is their end; nothing is answered.
//!
//! The connection stays open, whatever happens behind the hole, until `close_after` has passed since the fault took
//! hold of it; data that trickles in makes no difference. When the fault goes, a connection that lost bytes is reset,
//! for a stream with a hole in it must not go on; one that lost none goes on, its end passed on if it came meanwhile.
//!
//! Acts (and counts a hit) when something is thrown away, or the connection is closed.
//!
//! Invariant: nothing passes.

use super::{Ending, Item, Stage, StageContext};
use squall_wire::{FaultKind, fault::Blackhole};
use std::{collections::VecDeque, time::Instant};

/// The hole in one direction.
#[derive(Debug)]
pub(crate) struct Hole {
    blackhole: Blackhole,
    since: Instant,
    lost: bool,
    swallowed: Option<Ending>,
    closed: bool,
}

impl Hole {
    pub(crate) fn new(blackhole: Blackhole, context: &StageContext<'_>) -> Self {
        Self { blackhole, since: context.now, lost: false, swallowed: None, closed: false }
    }
}

impl Stage for Hole {
    fn accepts(&self) -> bool {
        true
    }

    fn touches(&self, _: &Item, _: Instant) -> bool {
        true
    }

    fn push(&mut self, item: Item, _: Instant) {
        match item {
            Item::Head(_) | Item::Bytes(_) => self.lost = true,
            Item::End(ending) => self.swallowed = self.swallowed.max(Some(ending)),
        }
    }

    fn pull(&mut self, now: Instant) -> Option<Item> {
        self.alarm().filter(|alarm| *alarm <= now)?;
        self.closed = true;
        Some(Item::End(Ending::Close))
    }

    fn due(&self, _: Instant) -> Option<Instant> {
        None
    }

    fn alarm(&self) -> Option<Instant> {
        if self.closed { None } else { self.since.checked_add(self.blackhole.close_after?.get()) }
    }

    fn change(&mut self, kind: &FaultKind, _: Instant) {
        if let FaultKind::Blackhole(blackhole) = kind {
            self.blackhole = *blackhole;
        }
    }

    fn release(&mut self) -> VecDeque<Item> {
        let ending = if self.lost { Some(Ending::Reset) } else { self.swallowed };
        ending.map(Item::End).into_iter().collect()
    }
}
