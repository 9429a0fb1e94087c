//! `garbage`: the upstream is not asked, and the client gets nonsense.
//!
//! ```text
//!  client ──▶ Ear: throws the client's bytes away, and raises the claim's signal
//!  client ◀── Mouth: once the signal is up, drops what the upstream sends and speaks (`nonsense.rs`)
//! ```
//! While an ear is in the way, an upstream that is not connected yet is not dialled. On a live connection all this
//! holds from the next client bytes on; an answer that is under way until then passes. A banner comes unasked.
//! When the fault goes, a connection that was answered is reset, for the upstream never saw the question; one that
//! was not is dialled and goes on.
//!
//! Acts (and counts a hit) when the first client bytes are thrown away, or the banner is sent.
//!
//! Invariant: from the first byte of the answer on, the client gets nothing else.

use super::{
    Claim, Ending, Item, Stage, StageContext,
    hold::Hold,
    nonsense::{Nonsense, Said},
};
use rand_chacha::ChaCha8Rng;
use squall_wire::{
    FaultKind,
    fault::{Garbage, GarbageStyle, GarbageThen},
};
use std::{collections::VecDeque, sync::Arc, time::Instant};

/// Hears the client's question, and keeps it from the upstream.
pub(crate) struct Ear {
    claim: Arc<Claim>,
    hold: Hold,
    lost: bool,
}

impl Ear {
    pub(crate) fn new(context: &StageContext<'_>) -> Self {
        Self { claim: Arc::clone(context.claim), hold: Hold::default(), lost: false }
    }
}

impl Stage for Ear {
    fn accepts(&self) -> bool {
        !self.hold.is_full()
    }

    fn replaces_upstream(&self) -> bool {
        true
    }

    fn touches(&self, item: &Item, _: Instant) -> bool {
        !matches!(item, Item::End(_))
    }

    fn push(&mut self, item: Item, _: Instant) {
        match item {
            Item::Head(_) | Item::Bytes(_) => {
                self.lost = true;
                self.claim.raise();
            }
            end => self.hold.push(end),
        }
    }

    fn pull(&mut self, _: Instant) -> Option<Item> {
        self.hold.pop()
    }

    fn due(&self, now: Instant) -> Option<Instant> {
        (!self.hold.is_empty()).then_some(now)
    }

    fn change(&mut self, _: &FaultKind, _: Instant) {}

    fn release(&mut self) -> VecDeque<Item> {
        let mut held = self.hold.release();
        if self.lost {
            held.push_back(Item::End(Ending::Reset));
        }
        held
    }
}

/// Answers in the upstream's place.
pub(crate) struct Mouth {
    garbage: Garbage,
    claim: Arc<Claim>,
    random: ChaCha8Rng,
    since: Instant,
    hold: Hold,
    answer: Answer,
}

enum Answer {
    /// Nobody has asked.
    Listening,
    /// Under way; the next part not before then.
    Speaking(Box<Nonsense>, Instant),
    /// Said; the connection stays, for as long as the fault says so.
    Hanging,
    /// Said, and so is the end.
    Done,
}

impl Mouth {
    pub(crate) fn new(garbage: Garbage, context: &StageContext<'_>) -> Self {
        Self {
            garbage,
            claim: Arc::clone(context.claim),
            random: context.random(),
            since: context.now,
            hold: Hold::default(),
            answer: Answer::Listening,
        }
    }

    fn is_asked(&self, now: Instant) -> bool {
        self.claim.is_raised() || self.alarm().is_some_and(|alarm| alarm <= now)
    }

    fn conclude(&mut self) -> Option<Item> {
        let ending = match self.garbage.then {
            GarbageThen::Close => Some(Ending::Close),
            GarbageThen::Reset => Some(Ending::Reset),
            GarbageThen::Hang => None,
        };
        self.answer = if ending.is_some() { Answer::Done } else { Answer::Hanging };
        ending.map(Item::End)
    }
}

impl Stage for Mouth {
    fn accepts(&self) -> bool {
        !self.hold.is_full()
    }

    fn touches(&self, _: &Item, now: Instant) -> bool {
        self.is_asked(now)
    }

    fn push(&mut self, item: Item, now: Instant) {
        if matches!(self.answer, Answer::Listening) && !self.is_asked(now) {
            self.hold.push(item);
        }
    }

    fn pull(&mut self, now: Instant) -> Option<Item> {
        // What the upstream said before the question goes first.
        if let Some(item) = self.hold.pop() {
            return Some(item);
        }
        if matches!(self.answer, Answer::Listening) && self.is_asked(now) {
            // For a banner nobody needs to have asked.
            self.claim.raise();
            self.answer = Answer::Speaking(Box::new(Nonsense::new(&self.garbage, self.random.clone())), now);
        }
        match &mut self.answer {
            Answer::Speaking(nonsense, next) if *next <= now => match nonsense.say() {
                Said::Part(part, pause) => {
                    *next = now + pause;
                    Some(Item::Bytes(part))
                }
                Said::All => self.conclude(),
            },
            Answer::Hanging => self.conclude(),
            _ => None,
        }
    }

    fn due(&self, now: Instant) -> Option<Instant> {
        match &self.answer {
            _ if !self.hold.is_empty() => Some(now),
            Answer::Listening => self.claim.is_raised().then_some(now),
            Answer::Speaking(_, next) => Some(*next),
            Answer::Hanging => (self.garbage.then != GarbageThen::Hang).then_some(now),
            Answer::Done => None,
        }
    }

    fn alarm(&self) -> Option<Instant> {
        let unasked = matches!(self.garbage.style, GarbageStyle::Banner) && matches!(self.answer, Answer::Listening);
        unasked.then_some(self.since)
    }

    fn change(&mut self, kind: &FaultKind, _: Instant) {
        // An answer that has begun goes on as it was; how it ends is as the fault says then.
        if let FaultKind::Garbage(garbage) = kind {
            self.garbage = garbage.clone();
        }
    }

    fn release(&mut self) -> VecDeque<Item> {
        let mut held = self.hold.release();
        if !matches!(self.answer, Answer::Listening) {
            held.push_back(Item::End(Ending::Reset));
        }
        held
    }
}
