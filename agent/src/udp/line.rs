//! The faults in the way of one direction of one session, as a chain of stages.
//!
//! ```text
//!  inbox or socket ──▶ [stage] ──▶ [stage] ──▶ output ──▶ socket
//! ```
//! As `pipeline.rs` is for streams, pure over `now`: `session.rs` is told what to send and when to come back. A fault
//! numbers each datagram that reaches it, and lets those pass that it does not hit. A stage that has no room drops.
//!
//! Invariant: datagrams stay whole; what a removed stage holds goes to the next one at once, in order.

use crate::{
    budget::Budget,
    fault::{ActiveFault, ConnectionMark, DatagramContext, DatagramStage, datagram_stage},
};
use bytes::Bytes;
use std::{collections::VecDeque, sync::Arc, time::Instant};

/// Datagrams that may wait to be sent before stages keep theirs. A socket for datagrams is nearly always ready.
pub(super) const OUTPUT_LIMIT: usize = 64;

struct Slot {
    fault: Arc<ActiveFault>,
    stage: Box<dyn DatagramStage>,
    revision: u64,
}

/// One direction of one session.
pub(super) struct Line {
    upstream: bool,
    budget: Arc<Budget>,
    mark: Arc<ConnectionMark>,
    slots: Vec<Slot>,
    output: VecDeque<Bytes>,
    dropped: u64,
}

impl Line {
    /// An empty chain: what comes in goes out. `mark` is told of the first hit.
    pub(super) fn new(upstream: bool, budget: &Arc<Budget>, mark: &Arc<ConnectionMark>) -> Self {
        Self {
            upstream,
            budget: Arc::clone(budget),
            mark: Arc::clone(mark),
            slots: Vec::new(),
            output: VecDeque::new(),
            dropped: 0,
        }
    }

    /// Makes the chain what the plan says: stages of faults that stay keep their state, those of faults that are
    /// gone hand over what they hold, new ones come in at their place.
    pub(super) fn follow(&mut self, plan: &[Arc<ActiveFault>], now: Instant) {
        let mut at = 0;
        while let Some(slot) = self.slots.get(at) {
            if plan.iter().any(|fault| fault.id() == slot.fault.id()) {
                at += 1;
            } else {
                self.remove(at, now);
            }
        }
        let mut place = 0;
        for fault in plan.iter().filter(|fault| self.concerns(fault)).map(Arc::clone).collect::<Vec<_>>() {
            let revision = fault.revision();
            match self.slots.get_mut(place).filter(|slot| slot.fault.id() == fault.id()) {
                Some(slot) if slot.revision == revision => {}
                Some(slot) => {
                    slot.revision = revision;
                    slot.stage.change(&fault.kind(), now);
                }
                None => {
                    let context = DatagramContext { fault: &fault, upstream: self.upstream, budget: &self.budget };
                    let Some(stage) = datagram_stage(&context) else { continue };
                    self.slots.insert(place, Slot { fault, stage, revision });
                }
            }
            place += 1;
        }
        self.advance(now);
    }

    fn concerns(&self, fault: &ActiveFault) -> bool {
        let direction = fault.direction();
        if self.upstream { direction.covers_upstream() } else { direction.covers_downstream() }
    }

    /// A datagram that came.
    pub(super) fn push(&mut self, datagram: Bytes, now: Instant) {
        self.enter(0, datagram, now);
        self.advance(now);
    }

    /// Moves everything on that is due, as far as there is room: one at a time, those first that came furthest.
    pub(super) fn advance(&mut self, now: Instant) {
        while self.has_room() {
            let next = |(at, slot): (usize, &mut Slot)| Some((at, slot.stage.pull(now)?));
            let Some((at, datagram)) = self.slots.iter_mut().enumerate().rev().find_map(next) else { return };
            self.enter(at + 1, datagram, now);
        }
    }

    fn enter(&mut self, at: usize, datagram: Bytes, now: Instant) {
        for slot in self.slots.iter_mut().skip(at) {
            let unit = slot.fault.next_unit();
            let hit = slot.fault.chooses(unit) && slot.stage.touches(&datagram, unit) && slot.fault.count_hit();
            if hit {
                self.mark.set();
                self.dropped += u64::from(slot.stage.push(datagram, unit, now).is_err());
                return;
            }
            slot.stage.passed();
        }
        self.output.push_back(datagram);
    }

    fn remove(&mut self, at: usize, now: Instant) {
        let mut slot = self.slots.remove(at);
        for datagram in slot.stage.release() {
            self.enter(at, datagram, now);
        }
    }

    /// Whether another datagram may come.
    pub(super) fn has_room(&self) -> bool {
        self.output.len() < OUTPUT_LIMIT
    }

    /// Whether nothing is in it.
    pub(super) fn is_empty(&self) -> bool {
        self.output.is_empty() && self.slots.iter().all(|slot| slot.stage.is_empty())
    }

    /// When to call [`Self::advance`] next, if time alone moves anything.
    pub(super) fn next_wake(&self) -> Option<Instant> {
        if !self.has_room() {
            return None;
        }
        self.slots.iter().filter_map(|slot| slot.stage.due()).min()
    }

    /// The next to be sent.
    pub(super) fn front(&self) -> Option<&Bytes> {
        self.output.front()
    }

    /// It was sent, or cannot be.
    pub(super) fn pop(&mut self) {
        self.output.pop_front();
        if self.output.is_empty() && self.output.capacity() > OUTPUT_LIMIT {
            self.output = VecDeque::new();
        }
    }

    /// How many found no room since this was asked last.
    pub(super) fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }
}

#[cfg(test)]
mod tests;
