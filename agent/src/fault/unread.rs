//! `unread`: nothing is read in its direction, so the sender meets a full receive window; not even its end is seen.
//!
//! What was read before the fault came and is still on its way through other faults stops here too.
//!
//! Acts (and counts a hit) when there is something to read that is left where it is.
//!
//! Invariant: nothing is lost: when the fault goes, everything passes in order.

use super::{Item, Stage, hold::Hold};
use squall_wire::FaultKind;
use std::{collections::VecDeque, time::Instant};

/// The wall in one direction.
#[derive(Debug, Default)]
pub(crate) struct Wall {
    hold: Hold,
}

impl Stage for Wall {
    fn accepts(&self) -> bool {
        false
    }

    fn forbids_reading(&self) -> bool {
        true
    }

    fn touches(&self, _: &Item, _: Instant) -> bool {
        true
    }

    fn push(&mut self, item: Item, _: Instant) {
        self.hold.push(item);
    }

    fn pull(&mut self, _: Instant) -> Option<Item> {
        None
    }

    fn due(&self, _: Instant) -> Option<Instant> {
        None
    }

    fn change(&mut self, _: &FaultKind, _: Instant) {}

    fn release(&mut self) -> VecDeque<Item> {
        self.hold.release()
    }
}
