//! The faults that hit one direction of one connection, or of one exchange of HTTP, as a chain of stages.
//!
//! ```text
//!  read ──▶ [stage] ──▶ [stage] ──▶ output ──▶ write
//! ```
//! Items move on when they are due and the next stage has room; otherwise they stay, so back pressure reaches the
//! reader through every stage. On an exchange, stages that read heads come before all others. Pure over `now`: `link.rs` is told what to read and write and when to come back.
//!
//! Invariant: bytes leave in the order in which they came, through any sequence of faults set, changed and removed;
//! what a removed stage holds goes to the next one at once.

use crate::{
    budget::Budget,
    fault::{self, Asked, Claim, Ending, Item, Stage, StageContext},
};
use bytes::Bytes;
use std::{collections::VecDeque, sync::Arc, time::Instant};

/// Bytes that may wait to be written before the last stage is held up.
const OUTPUT_LIMIT: usize = 128 * 1024;

/// What a stage takes of memory without its bytes, in about.
const STAGE: usize = 512;

/// Whether the link shall read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Appetite {
    /// There is room.
    Hungry,
    /// There is none, or a fault forbids it.
    Full,
    /// A fault forbids it but has not acted yet: tell it when there is something to read.
    Tell,
}

struct Slot {
    claim: Arc<Claim>,
    stage: Box<dyn Stage>,
    revision: u64,
    /// Its fault is gone; it ends what it has begun.
    orphaned: bool,
    /// What leaves it cannot have been due earlier: the stage came then, or was held up, or let go of something else.
    since: Instant,
    /// Bytes that came in and did not leave; what its kind threw away counts, what it added does not.
    within: usize,
}

impl Slot {
    fn push(&mut self, item: Item, came: Instant) {
        self.within += item.len();
        self.stage.push(item, came);
    }

    fn pull(&mut self, now: Instant) -> Option<Item> {
        let item = self.stage.pull(now)?;
        self.within = self.within.saturating_sub(item.len());
        Some(item)
    }
}

/// One direction's chain.
pub(crate) struct Pipeline {
    upstream: bool,
    budget: Arc<Budget>,
    asked: Option<Arc<Asked>>,
    slots: Vec<Slot>,
    output: VecDeque<Bytes>,
    output_bytes: usize,
    ending: Option<Ending>,
}

impl Pipeline {
    /// An empty chain: what comes in goes out.
    pub(crate) fn new(upstream: bool, budget: Arc<Budget>) -> Self {
        Self {
            upstream,
            budget,
            asked: None,
            slots: Vec::new(),
            output: VecDeque::new(),
            output_bytes: 0,
            ending: None,
        }
    }

    /// The same for one message of an exchange.
    pub(crate) fn of_exchange(upstream: bool, budget: Arc<Budget>, asked: Option<Arc<Asked>>) -> Self {
        Self { asked, ..Self::new(upstream, budget) }
    }

    /// The message is over: no stage that comes later has to know what it answered.
    pub(crate) fn forget_request(&mut self) {
        self.asked = None;
    }

    /// Whether bytes may go straight from reader to writer.
    pub(crate) fn is_clear(&self) -> bool {
        self.slots.is_empty() && self.output.is_empty() && self.ending.is_none()
    }

    /// Whether no fault is in the way.
    pub(crate) fn is_empty_chain(&self) -> bool {
        self.slots.is_empty()
    }

    /// Makes the chain what the plan says: stages of faults that stay keep their state, those of faults that are
    /// gone hand over what they hold, new ones come in at their place.
    pub(crate) fn follow(&mut self, plan: &[Arc<Claim>], now: Instant) {
        if plan.is_empty() && self.slots.is_empty() {
            return;
        }
        let mut wanted: Vec<&Arc<Claim>> = plan.iter().filter(|claim| self.concerns(claim)).collect();
        wanted.sort_by_key(|claim| !fault::reads_messages(&claim.fault.kind()));
        let mut at = 0;
        while let Some(slot) = self.slots.get(at) {
            let stays = slot.orphaned || wanted.iter().any(|claim| claim.fault.id() == slot.claim.fault.id());
            at += usize::from(stays || !self.remove(at, now));
        }
        if self.slots.is_empty() {
            self.slots = Vec::new();
        }
        let mut place = 0;
        for claim in wanted {
            while self.slots.get(place).is_some_and(|slot| slot.orphaned) {
                place += 1;
            }
            match self.slots.get_mut(place).filter(|slot| slot.claim.fault.id() == claim.fault.id()) {
                Some(slot) if slot.revision == claim.fault.revision() => {}
                Some(slot) => {
                    slot.revision = claim.fault.revision();
                    slot.stage.change(&claim.fault.kind(), now);
                }
                None => {
                    let revision = claim.fault.revision();
                    let context = StageContext {
                        claim,
                        upstream: self.upstream,
                        budget: &self.budget,
                        now,
                        asked: self.asked.as_ref(),
                    };
                    if let Some(stage) = fault::stage(&context) {
                        let claim = Arc::clone(claim);
                        let slot = Slot { claim, stage, revision, orphaned: false, since: now, within: 0 };
                        self.slots.insert(place, slot);
                    }
                }
            }
            place += 1;
        }
        self.advance(now);
    }

    fn concerns(&self, claim: &Claim) -> bool {
        let direction = claim.fault.direction();
        let ours = if self.upstream { direction.covers_upstream() } else { direction.covers_downstream() };
        let kind = claim.fault.kind();
        !claim.was_refused()
            && fault::acts_on_links(&kind)
            && (self.asked.is_some() || !fault::reads_messages(&kind))
            && (ours || fault::watches_both_ways(&kind))
    }

    /// What was read.
    pub(crate) fn push(&mut self, item: Item, now: Instant) {
        self.push_late(item, now, now);
    }

    /// The same, of something that came a little before it was read.
    pub(crate) fn push_late(&mut self, item: Item, came: Instant, now: Instant) {
        self.enter(0, item, came.min(now));
        self.advance(now);
    }

    /// Moves everything on that is due. What moves is followed down the chain first, so that an item costs each stage
    /// one visit on its way and one afterwards, however long the chain is.
    pub(crate) fn advance(&mut self, now: Instant) {
        let mut at = self.slots.len();
        while at > 0 {
            at -= 1;
            if self.drain_stage(at, now) {
                // To the next stage, which got something, and back here after it, for it may have room again. A stage
                // whose claim was refused is gone, and the one after it stands here now, so the end is counted anew.
                at = (at + 2).min(self.slots.len());
            }
        }
    }

    fn drain_stage(&mut self, at: usize, now: Instant) -> bool {
        let mut moved = false;
        loop {
            let room = self.has_room_from(at + 1);
            let Some(slot) = self.slots.get_mut(at) else { return moved };
            let fires = !slot.orphaned && slot.stage.alarm().is_some_and(|alarm| alarm <= now);
            if fires && !slot.claim.act() {
                self.remove(at, now);
                return true;
            }
            if !(room || fires) {
                slot.since = now;
                return moved;
            }
            let due = slot.stage.due(now);
            let Some(item) = slot.pull(now) else { return moved };
            moved = true;
            // For the next stage it came when it was to leave here, or each stage would add what a wake-up is late.
            slot.since = due.map_or(now, |due| due.max(slot.since).min(now));
            let came = slot.since;
            self.enter(at + 1, item, came);
        }
    }

    fn enter(&mut self, at: usize, item: Item, came: Instant) {
        let mut item = item;
        while let Some(slot) = self.slots.get_mut(at) {
            if !slot.stage.reads_heads() {
                item = item.plain();
            }
            if slot.orphaned || !slot.stage.touches(&item, came) || slot.claim.act() {
                return slot.push(item, came);
            }
            self.remove(at, came);
        }
        self.emit(item);
    }

    /// Whether the stage is gone, and did not stay to end what it has begun.
    fn remove(&mut self, at: usize, now: Instant) -> bool {
        if self.slots[at].stage.stays() {
            self.slots[at].orphaned = true;
            return false;
        }
        let mut slot = self.slots.remove(at);
        for item in slot.stage.release() {
            self.enter(at, item, now);
        }
        true
    }

    fn emit(&mut self, item: Item) {
        match item.plain() {
            Item::Bytes(bytes) if self.ending.is_none_or(|ending| ending == Ending::Message) && !bytes.is_empty() => {
                // What follows a message here is of the same exchange: a tunnel that it opened.
                self.ending = None;
                self.output_bytes += bytes.len();
                self.output.push_back(bytes);
            }
            Item::Head(_) | Item::Bytes(_) => {}
            Item::End(ending) => {
                self.ending = self.ending.max(Some(ending));
                if ending == Ending::Abort {
                    self.output.clear();
                    self.output_bytes = 0;
                }
            }
        }
    }

    fn has_room_from(&self, at: usize) -> bool {
        self.slots.get(at).map_or(self.output_bytes < OUTPUT_LIMIT, |slot| slot.stage.accepts())
    }

    /// Whether the link shall read.
    pub(crate) fn appetite(&self) -> Appetite {
        let mut forbidding = self.slots.iter().filter(|slot| slot.stage.forbids_reading()).peekable();
        if forbidding.peek().is_some() {
            return if forbidding.all(|slot| slot.claim.has_acted()) { Appetite::Full } else { Appetite::Tell };
        }
        let room = if self.slots.is_empty() { self.output.is_empty() } else { self.has_room_from(0) };
        if room { Appetite::Hungry } else { Appetite::Full }
    }

    /// Bytes on their way in it, but for what stages hold of a budget of their own, and what the stages are themselves.
    pub(crate) fn held(&self) -> usize {
        let within = self.slots.iter().filter(|slot| !slot.stage.has_own_budget()).map(|slot| slot.within);
        self.output_bytes + within.sum::<usize>() + STAGE * self.slots.len()
    }

    /// Whether a fault forbids to read.
    pub(crate) fn forbids_reading(&self) -> bool {
        self.slots.iter().any(|slot| slot.stage.forbids_reading())
    }

    /// There is something to read that a fault forbids to read.
    pub(crate) fn tell_unread(&mut self, now: Instant) {
        let mut at = 0;
        while let Some(slot) = self.slots.get(at) {
            let spared = slot.stage.forbids_reading() && !slot.claim.act();
            at += usize::from(!(spared && self.remove(at, now)));
        }
        self.advance(now);
    }

    /// When to call [`Self::advance`] next, if time alone moves anything.
    pub(crate) fn next_wake(&self, now: Instant) -> Option<Instant> {
        let wake = |(at, slot): (usize, &Slot)| {
            let due = if self.has_room_from(at + 1) { slot.stage.due(now) } else { None };
            [due, slot.stage.alarm()].into_iter().flatten().min()
        };
        self.slots.iter().enumerate().filter_map(wake).min()
    }

    /// Whether a fault answers in the upstream's place.
    pub(crate) fn replaces_upstream(&self) -> bool {
        self.slots.iter().any(|slot| slot.stage.replaces_upstream())
    }

    /// What is ready to be written, in order.
    pub(crate) fn output(&self) -> &VecDeque<Bytes> {
        &self.output
    }

    /// Takes the first piece of it.
    pub(crate) fn next_piece(&mut self) -> Option<Bytes> {
        let piece = self.output.pop_front()?;
        self.output_bytes -= piece.len();
        Some(piece)
    }

    /// Takes all of it.
    pub(crate) fn take_output(&mut self) -> VecDeque<Bytes> {
        self.output_bytes = 0;
        std::mem::take(&mut self.output)
    }

    /// So many bytes of it were written.
    pub(crate) fn written(&mut self, mut bytes: usize) {
        self.output_bytes = self.output_bytes.saturating_sub(bytes);
        while let Some(front) = self.output.front_mut() {
            if front.len() > bytes {
                bytes::Buf::advance(front, bytes);
                return;
            }
            bytes -= front.len();
            self.output.pop_front();
        }
        if self.output.capacity() > 64 {
            self.output = VecDeque::new();
        }
    }

    /// What comes after the output.
    pub(crate) fn ending(&self) -> Option<Ending> {
        self.ending
    }
}

#[cfg(test)]
mod tests;
