//! `http_latency`: the request, the response's head or its body is late.
//!
//! A gate, and not a line: the first piece of the part waits for `delay` ± `jitter` from when it came, what comes after
//! it waits behind it, and once the gate is open everything passes as it comes. So an exchange is late once, whatever
//! its size. Interim responses pass. Beyond 64 KiB the sender meets back pressure.
//!
//! Acts (and counts a hit) when the first piece of the part comes. A response without a body is not hit by `at: body`.
//!
//! Invariant: nothing is lost and nothing overtakes.

use super::{Item, Stage, StageContext, hold::Hold, latency::delay};
use crate::http::Head;
use rand_chacha::ChaCha8Rng;
use squall_wire::{
    ByteSize, FaultKind,
    fault::{HttpLatency, HttpPart, Latency},
};
use std::{collections::VecDeque, time::Instant};

/// The gate of one message.
pub(crate) struct Gate {
    latency: HttpLatency,
    random: ChaCha8Rng,
    /// When the part began to come.
    came: Option<Instant>,
    opens: Option<Instant>,
    /// The head that is not interim has passed.
    in_body: bool,
    hold: Hold,
}

impl Gate {
    pub(crate) fn new(latency: HttpLatency, context: &StageContext<'_>) -> Self {
        Self { latency, random: context.random(), came: None, opens: None, in_body: false, hold: Hold::default() }
    }

    /// Whether this is where the part begins.
    fn begins(&self, item: &Item) -> bool {
        match (self.latency.at, item) {
            _ if self.came.is_some() => false,
            (HttpPart::Request | HttpPart::Headers, Item::Head(head)) => !is_interim(head),
            (HttpPart::Body, Item::Bytes(_)) => self.in_body,
            _ => false,
        }
    }

    /// Each exchange draws once, so that a changed delay keeps its place in the spread.
    fn time(&mut self) {
        let HttpLatency { delay: mean, jitter, distribution, .. } = self.latency;
        let latency = Latency { delay: mean, jitter, distribution, buffer: ByteSize::default() };
        let late = delay(&latency, &mut self.random.clone());
        self.opens = self.came.map(|came| came + late);
    }
}

pub(super) fn is_interim(head: &Head) -> bool {
    matches!(head, Head::Response(head) if head.is_interim())
}

impl Stage for Gate {
    fn accepts(&self) -> bool {
        !self.hold.is_full()
    }

    fn reads_heads(&self) -> bool {
        true
    }

    fn touches(&self, item: &Item, _: Instant) -> bool {
        self.begins(item)
    }

    fn push(&mut self, item: Item, now: Instant) {
        if self.begins(&item) {
            self.came = Some(now);
            self.time();
        }
        if let Item::Head(head) = &item {
            self.in_body |= !is_interim(head);
        }
        self.hold.push(item);
    }

    fn pull(&mut self, now: Instant) -> Option<Item> {
        self.due(now).filter(|due| *due <= now)?;
        self.hold.pop()
    }

    fn due(&self, now: Instant) -> Option<Instant> {
        // With `at: body` the head, and all that is interim, has come before and is let through on its own.
        let waits = match self.hold.front()? {
            Item::Head(head) => !is_interim(head) && self.latency.at != HttpPart::Body,
            _ => true,
        };
        Some(self.opens.filter(|_| waits).map_or(now, |opens| opens.max(now)))
    }

    fn change(&mut self, kind: &FaultKind, _: Instant) {
        if let FaultKind::HttpLatency(latency) = kind {
            self.latency = *latency;
            self.time();
        }
    }

    fn release(&mut self) -> VecDeque<Item> {
        self.hold.release()
    }
}
