//! `reorder`: a datagram that is hit comes after the next `depth` of its session and direction.
//!
//! One is held back at a time: a datagram that is chosen meanwhile is one of those that overtake, and is no hit. So
//! with `percent: 100` and a depth of 3, datagrams come as 2 3 4 1, 6 7 8 5. If too few follow, it leaves after
//! [`PATIENCE`].
//!
//! Acts (and counts a hit) when a datagram is held back.
//!
//! Invariant: nothing is lost, and what is not held keeps its order.

use super::{DatagramStage, NoRoom};
use bytes::Bytes;
use squall_wire::{FaultKind, fault::Reorder};
use std::time::{Duration, Instant};

/// How long a datagram is held back when too few follow.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

struct Held {
    datagram: Bytes,
    since: Instant,
    overtaken: u32,
}

/// The one that is held back in one direction.
pub(super) struct Holding {
    reorder: Reorder,
    held: Option<Held>,
}

impl Holding {
    pub(super) fn new(reorder: Reorder) -> Self {
        Self { reorder, held: None }
    }
}

impl Held {
    fn due(&self, reorder: Reorder) -> Instant {
        if self.overtaken >= u32::from(reorder.depth) { self.since } else { self.since + PATIENCE }
    }
}

impl DatagramStage for Holding {
    fn touches(&self, _: &Bytes, _: u64) -> bool {
        self.held.is_none()
    }

    fn push(&mut self, datagram: Bytes, _: u64, now: Instant) -> Result<(), NoRoom> {
        self.held = Some(Held { datagram, since: now, overtaken: 0 });
        Ok(())
    }

    fn passed(&mut self) {
        if let Some(held) = &mut self.held {
            held.overtaken += 1;
        }
    }

    fn pull(&mut self, now: Instant) -> Option<Bytes> {
        let reorder = self.reorder;
        self.held.take_if(|held| held.due(reorder) <= now).map(|held| held.datagram)
    }

    fn due(&self) -> Option<Instant> {
        self.held.as_ref().map(|held| held.due(self.reorder))
    }

    fn is_empty(&self) -> bool {
        self.held.is_none()
    }

    fn change(&mut self, kind: &FaultKind, _: Instant) {
        if let FaultKind::Reorder(reorder) = kind {
            self.reorder = *reorder;
        }
    }

    fn release(&mut self) -> Vec<Bytes> {
        self.held.take().map(|held| held.datagram).into_iter().collect()
    }
}
