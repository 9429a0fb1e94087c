//! `latency` on datagrams: each leaves `delay` ± `jitter` after it arrived.
//!
//! Without jitter they keep their order. With jitter each has a delay of its own, so one may overtake another, as on
//! a network of many paths. `buffer` bytes may be on their way in one direction of a session; what comes on top is
//! dropped, for a sender of datagrams cannot be held back. When the delay changes, what is on its way is timed anew
//! from its arrival.
//!
//! Acts (and counts a hit) when a datagram is held back.
//!
//! Invariant: a delay depends on the datagram's number alone, and is never negative.

use super::{ActiveFault, DatagramContext, DatagramStage, NoRoom, draw};
use crate::{budget::Share, fault::latency};
use bytes::Bytes;
use squall_wire::{FaultKind, fault::Latency};
use std::{collections::BTreeMap, sync::Arc, time::Instant};

struct OnItsWay {
    arrived: Instant,
    unit: u64,
    datagram: Bytes,
}

/// What is on its way in one direction.
pub(super) struct Delay {
    latency: Latency,
    fault: Arc<ActiveFault>,
    /// By the time at which each leaves, then by the order in which they came. Bounded in bytes by `share`.
    held: BTreeMap<(Instant, u64), OnItsWay>,
    share: Share,
    came: u64,
}

impl Delay {
    pub(super) fn new(latency: Latency, context: &DatagramContext<'_>) -> Self {
        Self {
            latency,
            fault: Arc::clone(context.fault),
            held: BTreeMap::new(),
            share: context.budget.share(),
            came: 0,
        }
    }

    fn ready(&self, on_its_way: &OnItsWay) -> Instant {
        on_its_way.arrived + latency::delay(&self.latency, &mut draw(&self.fault, on_its_way.unit))
    }
}

fn cost(datagram: &Bytes) -> u64 {
    latency::cost(datagram.len())
}

impl DatagramStage for Delay {
    fn touches(&self, _: &Bytes, _: u64) -> bool {
        true
    }

    fn push(&mut self, datagram: Bytes, unit: u64, now: Instant) -> Result<(), NoRoom> {
        if !self.share.has_room(self.latency.buffer.get()) {
            return Err(NoRoom);
        }
        self.share.take(cost(&datagram));
        let on_its_way = OnItsWay { arrived: now, unit, datagram };
        self.held.insert((self.ready(&on_its_way), self.came), on_its_way);
        self.came += 1;
        Ok(())
    }

    fn pull(&mut self, now: Instant) -> Option<Bytes> {
        let first = self.held.first_entry().filter(|first| first.key().0 <= now)?;
        let datagram = first.remove().datagram;
        self.share.give(cost(&datagram));
        Some(datagram)
    }

    fn due(&self) -> Option<Instant> {
        self.held.first_key_value().map(|(key, _)| key.0)
    }

    fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    fn change(&mut self, kind: &FaultKind, _: Instant) {
        let FaultKind::Latency(latency) = kind else { return };
        self.latency = *latency;
        let held = std::mem::take(&mut self.held);
        self.held = held.into_iter().map(|((_, came), way)| ((self.ready(&way), came), way)).collect();
    }

    fn release(&mut self) -> Vec<Bytes> {
        let mut held: Vec<_> = std::mem::take(&mut self.held).into_iter().map(|((_, came), way)| (came, way)).collect();
        held.sort_by_key(|(came, _)| *came);
        self.share.give(held.iter().map(|(_, way)| cost(&way.datagram)).sum());
        held.into_iter().map(|(_, way)| way.datagram).collect()
    }
}
