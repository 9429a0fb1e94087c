//! `bandwidth` on datagrams: they are paced to a rate, each whole.
//!
//! The bucket is that of `bandwidth.rs`. A datagram larger than the burst leaves when the bucket is full, and what
//! follows waits the longer. Those that wait are in a queue as a router has it: a full one drops what comes. Bytes
//! are those of payloads. With `scope: proxy` all sessions ask one bucket, a datagram each in turn. A rate of 0 lets
//! nothing pass.
//!
//! Acts (and counts a hit) when a datagram is paced.
//!
//! Invariant: in any span of time, at most a burst and one datagram more pass than the rate allows, in order.

use super::{ActiveFault, DatagramContext, DatagramStage, NoRoom};
use crate::fault::bandwidth::{self, Bucket};
use bytes::Bytes;
use squall_wire::{
    FaultKind,
    fault::{Bandwidth, RateScope},
};
use std::{collections::VecDeque, sync::Arc, time::Instant};

/// Datagrams that may wait in one direction of a session: as many as a network card queues.
pub(super) const QUEUE_DATAGRAMS: usize = 1000;

/// Bytes that may wait there; a datagram always finds room in an empty queue.
pub(super) const QUEUE_BYTES: usize = 256 * 1024;

/// The pacing of one direction.
pub(super) struct Pace {
    pace: bandwidth::Pace,
    own: Bucket,
    /// Has the bucket of the proxy, if that is the scope.
    fault: Arc<ActiveFault>,
    shared: bool,
    upstream: bool,
    // Bounded by `QUEUE_DATAGRAMS` and `QUEUE_BYTES`.
    queue: VecDeque<Bytes>,
    bytes: usize,
    /// When the first of them leaves.
    booked: Option<Instant>,
}

impl Pace {
    pub(super) fn new(bandwidth: &Bandwidth, context: &DatagramContext<'_>) -> Self {
        Self {
            pace: bandwidth::Pace::of(bandwidth),
            own: Bucket::default(),
            fault: Arc::clone(context.fault),
            shared: bandwidth.scope == RateScope::Proxy,
            upstream: context.upstream,
            queue: VecDeque::new(),
            bytes: 0,
            booked: None,
        }
    }

    fn book(&mut self, now: Instant) {
        let Some(first) = self.queue.front() else { return };
        if self.booked.is_some() || self.pace.is_standstill() {
            return;
        }
        let bytes = first.len() as u64;
        self.booked = Some(if self.shared {
            self.fault.buckets()[usize::from(self.upstream)].lock().book(bytes, &self.pace, now)
        } else {
            self.own.book(bytes, &self.pace, now)
        });
    }
}

impl DatagramStage for Pace {
    fn touches(&self, _: &Bytes, _: u64) -> bool {
        true
    }

    fn push(&mut self, datagram: Bytes, _: u64, now: Instant) -> Result<(), NoRoom> {
        let full = self.queue.len() >= QUEUE_DATAGRAMS || self.bytes + datagram.len() > QUEUE_BYTES;
        if full && !self.queue.is_empty() {
            return Err(NoRoom);
        }
        self.bytes += datagram.len();
        self.queue.push_back(datagram);
        self.book(now);
        Ok(())
    }

    fn pull(&mut self, now: Instant) -> Option<Bytes> {
        self.book(now);
        self.booked.take_if(|leave| *leave <= now)?;
        let datagram = self.queue.pop_front()?;
        self.bytes -= datagram.len();
        self.book(now);
        Some(datagram)
    }

    fn due(&self) -> Option<Instant> {
        self.booked
    }

    fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    fn change(&mut self, kind: &FaultKind, now: Instant) {
        let FaultKind::Bandwidth(bandwidth) = kind else { return };
        self.pace = bandwidth::Pace::of(bandwidth);
        self.booked = None;
        self.shared = bandwidth.scope == RateScope::Proxy;
        self.book(now);
    }

    fn release(&mut self) -> Vec<Bytes> {
        self.booked = None;
        self.bytes = 0;
        std::mem::take(&mut self.queue).into()
    }
}
