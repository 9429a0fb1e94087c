//! `loss` and `blackhole`: datagrams are thrown away, a share of those that are hit, or all of them.
//!
//! The share is drawn from the datagram's number, so a larger one loses the same datagrams and more.
//!
//! Acts (and counts a hit) when a datagram is thrown away.
//!
//! Invariant: nothing is held, so nothing comes back when the fault goes.

use super::{ActiveFault, DatagramContext, DatagramStage, NoRoom, draw};
use bytes::Bytes;
use rand::RngExt;
use squall_wire::{FaultKind, Percent};
use std::{sync::Arc, time::Instant};

/// The losing in one direction.
#[derive(Debug)]
pub(super) struct Losing {
    share: Percent,
    fault: Arc<ActiveFault>,
}

impl Losing {
    pub(super) fn new(share: Percent, context: &DatagramContext<'_>) -> Self {
        Self { share, fault: Arc::clone(context.fault) }
    }
}

impl DatagramStage for Losing {
    fn touches(&self, _: &Bytes, unit: u64) -> bool {
        self.share.is_all() || draw(&self.fault, unit).random::<f64>() * 100.0 < self.share.get()
    }

    fn push(&mut self, _: Bytes, _: u64, _: Instant) -> Result<(), NoRoom> {
        Ok(())
    }

    fn pull(&mut self, _: Instant) -> Option<Bytes> {
        None
    }

    fn due(&self) -> Option<Instant> {
        None
    }

    fn is_empty(&self) -> bool {
        true
    }

    fn change(&mut self, kind: &FaultKind, _: Instant) {
        if let FaultKind::Loss(loss) = kind {
            self.share = loss.percent;
        }
    }

    fn release(&mut self) -> Vec<Bytes> {
        Vec::new()
    }
}
