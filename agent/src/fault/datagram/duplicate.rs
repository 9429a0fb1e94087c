//! `duplicate`: a datagram that is hit comes `copies` times more, each right after the one before.
//!
//! Copies are made as they leave, so that several duplications in a row cost time and not memory. To the faults
//! behind this one each copy is a datagram like any other, with a number of its own.
//!
//! Acts (and counts a hit) when a datagram is doubled.
//!
//! Invariant: copies are equal to the byte.

use super::{DatagramStage, NoRoom};
use bytes::Bytes;
use squall_wire::{FaultKind, fault::Duplicate};
use std::{collections::VecDeque, time::Instant};

struct Left {
    since: Instant,
    times: u32,
    begun: bool,
    datagram: Bytes,
}

/// The doubling in one direction.
pub(super) struct Doubling {
    duplicate: Duplicate,
    // What is still to leave, at once; the line pulls it before it pushes the next.
    left: VecDeque<Left>,
}

impl Doubling {
    pub(super) fn new(duplicate: Duplicate) -> Self {
        Self { duplicate, left: VecDeque::new() }
    }
}

impl DatagramStage for Doubling {
    fn touches(&self, _: &Bytes, _: u64) -> bool {
        true
    }

    fn push(&mut self, datagram: Bytes, _: u64, now: Instant) -> Result<(), NoRoom> {
        self.left.push_back(Left { since: now, times: u32::from(self.duplicate.copies) + 1, begun: false, datagram });
        Ok(())
    }

    fn pull(&mut self, _: Instant) -> Option<Bytes> {
        let first = self.left.front_mut()?;
        first.times -= 1;
        first.begun = true;
        if first.times > 0 {
            return Some(first.datagram.clone());
        }
        self.left.pop_front().map(|last| last.datagram)
    }

    fn due(&self) -> Option<Instant> {
        self.left.front().map(|first| first.since)
    }

    fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    fn change(&mut self, kind: &FaultKind, _: Instant) {
        if let FaultKind::Duplicate(duplicate) = kind {
            self.duplicate = *duplicate;
        }
    }

    /// Once each: those that were to come again need not any more.
    fn release(&mut self) -> Vec<Bytes> {
        let unsent = std::mem::take(&mut self.left).into_iter().filter(|left| !left.begun);
        unsent.map(|left| left.datagram).collect()
    }
}
