//! `corrupt` on datagrams: a share of their bytes is changed, and their number is not.
//!
//! Which bytes of a datagram, and how, is drawn from its number, with the gaps of `corrupt.rs`. So a datagram of a
//! thousand bytes is changed more often than one of ten, and many are left as they are.
//!
//! Acts (and counts a hit) on a datagram of which at least one byte is chosen.
//!
//! Invariant: a datagram keeps its length, and an empty one is never touched.

use super::{ActiveFault, DatagramContext, DatagramStage, NoRoom, draw};
use crate::fault::corrupt::{changed, draw_gap};
use bytes::{Bytes, BytesMut};
use rand::RngExt;
use squall_wire::{FaultKind, fault::Corrupt};
use std::{collections::VecDeque, sync::Arc, time::Instant};

/// The corruption of one direction.
#[derive(Debug)]
pub(super) struct Corruption {
    corrupt: Corrupt,
    fault: Arc<ActiveFault>,
    // What was changed and leaves at once; the line pulls it before it pushes the next.
    ready: VecDeque<(Instant, Bytes)>,
}

impl Corruption {
    pub(super) fn new(corrupt: Corrupt, context: &DatagramContext<'_>) -> Self {
        Self { corrupt, fault: Arc::clone(context.fault), ready: VecDeque::new() }
    }

    fn spoil(&self, datagram: Bytes, unit: u64) -> Bytes {
        let mut random = draw(&self.fault, unit);
        // Copied only where somebody else still holds the same bytes.
        let mut bytes = datagram.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
        let mut place = draw_gap(&mut random, self.corrupt.rate);
        while let Some(chosen) = usize::try_from(place).ok().and_then(|place| bytes.get_mut(place)) {
            *chosen = changed(*chosen, self.corrupt.how, random.random());
            place = place.saturating_add(draw_gap(&mut random, self.corrupt.rate)).saturating_add(1);
        }
        bytes.freeze()
    }
}

impl DatagramStage for Corruption {
    fn touches(&self, datagram: &Bytes, unit: u64) -> bool {
        draw_gap(&mut draw(&self.fault, unit), self.corrupt.rate) < datagram.len() as u64
    }

    fn push(&mut self, datagram: Bytes, unit: u64, now: Instant) -> Result<(), NoRoom> {
        let spoilt = self.spoil(datagram, unit);
        self.ready.push_back((now, spoilt));
        Ok(())
    }

    fn pull(&mut self, _: Instant) -> Option<Bytes> {
        self.ready.pop_front().map(|(_, datagram)| datagram)
    }

    fn due(&self) -> Option<Instant> {
        self.ready.front().map(|(since, _)| *since)
    }

    fn is_empty(&self) -> bool {
        self.ready.is_empty()
    }

    fn change(&mut self, kind: &FaultKind, _: Instant) {
        if let FaultKind::Corrupt(corrupt) = kind {
            self.corrupt = *corrupt;
        }
    }

    fn release(&mut self) -> Vec<Bytes> {
        std::mem::take(&mut self.ready).into_iter().map(|(_, datagram)| datagram).collect()
    }
}
