//! `truncate`: so many bytes pass, then the stream ends: in order, by RST, or in silence.
//!
//! `close` closes the whole connection, as a server that dies in the middle of its answer does. `blackhole` throws the
//! rest and the end away; when the fault goes, a connection that lost bytes is reset.
//!
//! Acts (and counts a hit) when it cuts; a stream that is shorter is not touched.
//!
//! Invariant: exactly `bytes` pass, see `cut.rs`.

use super::{Ending, Item, Stage, StageContext, cut::Cut};
use squall_wire::{
    FaultKind,
    fault::{Truncate, TruncateThen},
};
use std::{collections::VecDeque, time::Instant};

/// The cutting of one direction.
#[derive(Debug)]
pub(crate) struct Truncation {
    then: TruncateThen,
    cut: Cut,
}

impl Truncation {
    pub(crate) fn new(truncate: Truncate, context: &StageContext<'_>) -> Self {
        Self { then: truncate.then, cut: Cut::new(truncate.bytes.get(), context.now) }
    }

    fn ending(&self) -> Option<Ending> {
        match self.then {
            TruncateThen::Close => Some(Ending::Close),
            TruncateThen::Reset => Some(Ending::Reset),
            TruncateThen::Blackhole => None,
        }
    }
}

impl Stage for Truncation {
    fn accepts(&self) -> bool {
        !self.cut.is_full()
    }

    fn touches(&self, item: &Item, _: Instant) -> bool {
        self.cut.falls_in(item)
    }

    fn push(&mut self, item: Item, _: Instant) {
        let ending = self.ending();
        self.cut.push(item, ending);
    }

    fn pull(&mut self, now: Instant) -> Option<Item> {
        let ending = self.ending();
        self.cut.pull(now, ending)
    }

    fn due(&self, now: Instant) -> Option<Instant> {
        self.cut.due(now)
    }

    fn alarm(&self) -> Option<Instant> {
        self.cut.alarm()
    }

    fn change(&mut self, kind: &FaultKind, _: Instant) {
        if let FaultKind::Truncate(truncate) = kind {
            self.then = truncate.then;
            self.cut.change(truncate.bytes.get(), self.ending());
        }
    }

    fn release(&mut self) -> VecDeque<Item> {
        self.cut.release()
    }
}
