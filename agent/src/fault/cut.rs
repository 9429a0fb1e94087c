//! Lets exactly so many bytes pass and then ends the stream: what `truncate` and `reset: {after_bytes}` have in common.
//!
//! The bytes are counted from when the fault took hold of the connection. The end comes with the last byte that
//! passes, not with the first that does not; so a limit of 0 ends the connection at once. What comes after the cut is
//! thrown away. Neighbours: `truncate.rs`, `reset.rs`.
//!
//! Invariant: never more than `limit` bytes pass after the fault took hold (a limit that is lowered below what has
//! passed cuts at once).

use super::{Ending, Item, hold::Hold};
use std::{collections::VecDeque, time::Instant};

/// A cut after so many bytes.
#[derive(Debug)]
pub(crate) struct Cut {
    limit: u64,
    passed: u64,
    since: Instant,
    hold: Hold,
    /// Whether the cut was made.
    made: bool,
    /// Whether bytes were thrown away.
    lost: bool,
    /// What the cut put after the last byte: nothing for one that goes on in silence.
    said: Option<Ending>,
    /// An end that came after a silent cut.
    unsaid: Option<Ending>,
}

impl Cut {
    pub(crate) fn new(limit: u64, since: Instant) -> Self {
        Self { limit, passed: 0, since, hold: Hold::default(), made: false, lost: false, said: None, unsaid: None }
    }

    /// Another limit, and another end of what is cut. A cut that lost nothing is taken back where the limit is now beyond it, and one
    /// that was silent ends what it cut, where it is to.
    pub(crate) fn change(&mut self, limit: u64, ending: Option<Ending>) {
        self.limit = limit;
        if !self.made || self.said.is_some() {
            return;
        }
        if self.passed < limit && !self.lost {
            self.made = false;
            self.hold.extend(self.unsaid.take().map(Item::End));
        } else {
            self.make(ending);
        }
    }

    /// Bytes that wait to pass.
    pub(crate) fn is_full(&self) -> bool {
        self.hold.is_full()
    }

    /// Whether the cut falls within or right after this item.
    pub(crate) fn falls_in(&self, item: &Item) -> bool {
        self.made || (item.len() > 0 && self.passed + item.len() as u64 >= self.limit)
    }

    /// Takes an item; `ending` is what the cut puts after the last byte.
    pub(crate) fn push(&mut self, item: Item, ending: Option<Ending>) {
        let cut_here = self.falls_in(&item);
        match item {
            Item::End(ending) if self.made => self.unsaid = self.unsaid.max(Some(ending)),
            _ if self.made => self.lost |= item.len() > 0,
            Item::Bytes(mut bytes) if cut_here => {
                let rest = self.limit.saturating_sub(self.passed);
                let keep = usize::try_from(rest).unwrap_or(usize::MAX).min(bytes.len());
                self.lost |= keep < bytes.len();
                bytes.truncate(keep);
                self.passed += keep as u64;
                self.hold.push(Item::Bytes(bytes));
                self.make(ending);
            }
            item => {
                self.passed += item.len() as u64;
                self.hold.push(item);
            }
        }
    }

    fn make(&mut self, ending: Option<Ending>) {
        self.made = true;
        self.said = ending;
        self.hold.extend(ending.map(Item::End));
    }

    /// The next item that passes. A limit that is reached without traffic (0, or lowered) cuts now.
    pub(crate) fn pull(&mut self, now: Instant, ending: Option<Ending>) -> Option<Item> {
        if self.alarm().is_some_and(|alarm| alarm <= now) {
            self.make(ending);
        }
        self.hold.pop()
    }

    /// When it cuts without traffic.
    pub(crate) fn alarm(&self) -> Option<Instant> {
        (!self.made && self.passed >= self.limit).then_some(self.since)
    }

    pub(crate) fn due(&self, now: Instant) -> Option<Instant> {
        (!self.hold.is_empty()).then_some(now)
    }

    /// What is held; a stream that lost bytes and would go on ends by RST, and one that ended meanwhile as it did.
    pub(crate) fn release(&mut self) -> VecDeque<Item> {
        let mut held = self.hold.release();
        let ending = if self.lost { Some(Ending::Reset) } else { self.unsaid };
        held.extend(ending.map(Item::End));
        held
    }
}
