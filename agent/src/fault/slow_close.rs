//! `slow_close`: bytes pass, the end of the stream is passed on late.
//!
//! An end by RST is late as well; that of another fault that aborts at once is not.
//!
//! Acts (and counts a hit) when an end is held back.
//!
//! Invariant: the end comes after every byte that came before it.

use super::{Ending, Item, Stage, hold::Hold};
use squall_wire::{FaultKind, fault::SlowClose};
use std::{collections::VecDeque, time::Instant};

/// Holds the end of one direction.
#[derive(Debug)]
pub(crate) struct LateEnd {
    slow: SlowClose,
    hold: Hold,
    ended: Option<Instant>,
}

impl LateEnd {
    pub(crate) fn new(slow: SlowClose) -> Self {
        Self { slow, hold: Hold::default(), ended: None }
    }
}

impl Stage for LateEnd {
    fn accepts(&self) -> bool {
        !self.hold.is_full()
    }

    fn touches(&self, item: &Item, _: Instant) -> bool {
        matches!(item, Item::End(ending) if !matches!(ending, Ending::Message | Ending::Abort))
    }

    fn push(&mut self, item: Item, now: Instant) {
        if matches!(item, Item::End(ending) if ending != Ending::Message) {
            self.ended.get_or_insert(now);
        }
        self.hold.push(item);
    }

    fn pull(&mut self, now: Instant) -> Option<Item> {
        self.due(now).filter(|due| *due <= now)?;
        self.hold.pop()
    }

    fn due(&self, now: Instant) -> Option<Instant> {
        match (self.hold.front()?, self.ended) {
            (Item::End(Ending::Eof | Ending::Close | Ending::Reset), Some(ended)) => {
                Some(ended + self.slow.delay.get())
            }
            _ => Some(now),
        }
    }

    fn change(&mut self, kind: &FaultKind, _: Instant) {
        if let FaultKind::SlowClose(slow) = kind {
            self.slow = *slow;
        }
    }

    fn release(&mut self) -> VecDeque<Item> {
        self.hold.release()
    }
}
