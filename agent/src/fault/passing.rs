//! A stage that passes everything: what a fault of the listener does to a link.
//!
//! Neighbours: `slow_accept.rs` and `listener.rs`, where those faults act.
//!
//! Invariant: it never acts, so it never counts a hit.

use super::{Item, Stage};
use squall_wire::FaultKind;
use std::{collections::VecDeque, time::Instant};

/// Passes everything at once.
#[derive(Debug, Default)]
pub(crate) struct Passing {
    held: VecDeque<Item>,
}

impl Stage for Passing {
    fn accepts(&self) -> bool {
        self.held.is_empty()
    }

    fn touches(&self, _: &Item, _: Instant) -> bool {
        false
    }

    fn push(&mut self, item: Item, _: Instant) {
        self.held.push_back(item);
    }

    fn pull(&mut self, _: Instant) -> Option<Item> {
        self.held.pop_front()
    }

    fn due(&self, now: Instant) -> Option<Instant> {
        (!self.held.is_empty()).then_some(now)
    }

    fn change(&mut self, _: &FaultKind, _: Instant) {}

    fn release(&mut self) -> VecDeque<Item> {
        std::mem::take(&mut self.held)
    }
}
