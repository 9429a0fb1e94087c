//! `reset`: the connection ends by RST: `after` a time (at once by default), or after exactly so many bytes.
//!
//! The time runs from when the fault took hold of the connection, and what waits to be written then is dropped. The
//! bytes are those in the fault's direction; they are delivered and acknowledged before the RST. Both sockets are
//! reset either way.
//!
//! Acts (and counts a hit) when the RST is sent.
//!
//! Invariant: a connection that is not hit is never reset; one that is ends once.

use super::{Ending, Item, Stage, StageContext, cut::Cut, hold::Hold};
use squall_wire::{FaultKind, fault::Reset};
use std::{collections::VecDeque, time::Instant};

/// What brings the RST.
#[derive(Debug)]
enum Trigger {
    Time { at: Option<Instant>, hold: Hold },
    Bytes(Cut),
}

/// The RST of one direction's making.
#[derive(Debug)]
pub(crate) struct Resetter {
    since: Instant,
    trigger: Trigger,
}

impl Resetter {
    pub(crate) fn new(reset: Reset, context: &StageContext<'_>) -> Self {
        let since = context.now;
        let trigger = match reset.after_bytes {
            Some(bytes) => Trigger::Bytes(Cut::new(bytes.get(), since)),
            None => Trigger::Time { at: since.checked_add(reset.after.get()), hold: Hold::default() },
        };
        Self { since, trigger }
    }
}

impl Stage for Resetter {
    fn accepts(&self) -> bool {
        match &self.trigger {
            Trigger::Time { hold, .. } => !hold.is_full(),
            Trigger::Bytes(cut) => !cut.is_full(),
        }
    }

    fn touches(&self, item: &Item, _: Instant) -> bool {
        match &self.trigger {
            Trigger::Time { .. } => false,
            Trigger::Bytes(cut) => cut.falls_in(item),
        }
    }

    fn push(&mut self, item: Item, _: Instant) {
        match &mut self.trigger {
            Trigger::Time { hold, .. } => hold.push(item),
            Trigger::Bytes(cut) => cut.push(item, Some(Ending::Reset)),
        }
    }

    fn pull(&mut self, now: Instant) -> Option<Item> {
        match &mut self.trigger {
            Trigger::Time { at, hold } => {
                if at.take_if(|at| *at <= now).is_some() {
                    return Some(Item::End(Ending::Abort));
                }
                hold.pop()
            }
            Trigger::Bytes(cut) => cut.pull(now, Some(Ending::Reset)),
        }
    }

    fn due(&self, now: Instant) -> Option<Instant> {
        match &self.trigger {
            Trigger::Time { hold, .. } => (!hold.is_empty()).then_some(now),
            Trigger::Bytes(cut) => cut.due(now),
        }
    }

    fn alarm(&self) -> Option<Instant> {
        match &self.trigger {
            Trigger::Time { at, .. } => *at,
            Trigger::Bytes(cut) => cut.alarm(),
        }
    }

    fn change(&mut self, kind: &FaultKind, now: Instant) {
        let FaultKind::Reset(reset) = kind else { return };
        match (&mut self.trigger, reset.after_bytes) {
            (Trigger::Bytes(cut), Some(bytes)) => cut.change(bytes.get(), Some(Ending::Reset)),
            (Trigger::Time { at, .. }, None) => *at = self.since.checked_add(reset.after.get()),
            // From a time to a number of bytes or back: as if it had been set anew, with what it holds.
            (_, after_bytes) => {
                let held = self.release();
                self.trigger = match after_bytes {
                    Some(bytes) => Trigger::Bytes(Cut::new(bytes.get(), now)),
                    None => Trigger::Time { at: now.checked_add(reset.after.get()), hold: Hold::default() },
                };
                held.into_iter().for_each(|item| self.push(item, now));
            }
        }
    }

    fn release(&mut self) -> VecDeque<Item> {
        match &mut self.trigger {
            Trigger::Time { hold, .. } => hold.release(),
            Trigger::Bytes(cut) => cut.release(),
        }
    }
}
