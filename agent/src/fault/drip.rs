//! `drip`: data leaves in small pieces, one each `every`: the one-byte-every-thirty-seconds server.
//!
//! The first piece leaves at once, for none was before it. A piece is gathered from what is there and may be smaller
//! when that is less. An end follows the last piece at once.
//!
//! Acts (and counts a hit) when the first bytes come.
//!
//! Invariant: two pieces are never less than `every` apart.

use super::{Item, Stage, StageContext, hold::Hold};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use squall_wire::{FaultKind, fault::Drip};
use std::{collections::VecDeque, time::Instant};

/// Of a larger piece so much leaves each time, for each connection has to hold one.
const LARGEST_GATHERED: u64 = 4 * 1024 * 1024;

/// The dripping of one direction.
pub(crate) struct Dripper {
    drip: Drip,
    random: ChaCha8Rng,
    hold: Hold,
    last: Option<Instant>,
}

impl Dripper {
    pub(crate) fn new(drip: Drip, context: &StageContext<'_>) -> Self {
        Self { drip, random: context.random(), hold: Hold::default(), last: None }
    }

    fn size(&mut self) -> usize {
        let Drip { bytes, size_jitter, .. } = self.drip;
        let size = match size_jitter {
            0 => bytes,
            jitter => self.random.random_range(bytes.saturating_sub(jitter)..=bytes.saturating_add(jitter)),
        };
        usize::try_from(size.max(1)).unwrap_or(usize::MAX)
    }
}

impl Stage for Dripper {
    fn accepts(&self) -> bool {
        let piece = self.drip.bytes.saturating_add(self.drip.size_jitter).min(LARGEST_GATHERED);
        !self.hold.is_full() || (self.hold.bytes() as u64) < piece
    }

    fn touches(&self, item: &Item, _: Instant) -> bool {
        matches!(item, Item::Bytes(_))
    }

    fn push(&mut self, item: Item, _: Instant) {
        self.hold.push(item);
    }

    fn pull(&mut self, now: Instant) -> Option<Item> {
        if let Some(ending) = self.hold.pop_end() {
            return Some(Item::End(ending));
        }
        self.due(now).filter(|due| *due <= now)?;
        self.last = Some(now);
        let size = self.size();
        Some(Item::Bytes(self.hold.take(size)))
    }

    fn due(&self, now: Instant) -> Option<Instant> {
        match self.hold.front()? {
            Item::End(_) => Some(now),
            _ => Some(self.last.map_or(now, |last| now.max(last + self.drip.every.get()))),
        }
    }

    fn change(&mut self, kind: &FaultKind, _: Instant) {
        if let FaultKind::Drip(drip) = kind {
            self.drip = *drip;
        }
    }

    fn release(&mut self) -> VecDeque<Item> {
        self.hold.release()
    }
}
