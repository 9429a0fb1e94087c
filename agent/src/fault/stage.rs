//! What a kind of fault must be able to do to one direction of one connection.
//!
//! A stage is a pure state machine: it is told what comes and what time it is, and says what leaves and when. It
//! never sleeps, reads or writes; `pipeline.rs` chains stages and `link.rs` acts for them.
//!
//! Invariant: what was pushed is pulled in the same order, or released, unless the kind is there to lose it.

use super::{
    ActiveFault, Asked, Claim,
    bandwidth::SharedBuckets,
    latency::{Lines, SharedLines},
    random_stream,
};
use crate::{budget::Budget, http::Head};
use bytes::Bytes;
use rand_chacha::ChaCha8Rng;
use squall_wire::FaultKind;
use std::{collections::VecDeque, sync::Arc, time::Instant};

/// How a direction, or the whole connection, ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ending {
    /// A message of HTTP is whole; others may follow it on the same stream.
    Message,
    /// This direction ended in order; the other one goes on.
    Eof,
    /// The whole connection closes in order, after what is still to be written.
    Close,
    /// The whole connection ends by RST, after what is still to be written.
    Reset,
    /// The whole connection ends by RST, now.
    Abort,
}

/// What moves along a direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Item {
    /// The head of a message of HTTP, for those stages that read heads; for all others it is bytes like any.
    Head(Box<Head>),
    /// A piece of the stream.
    Bytes(Bytes),
    /// The end of it.
    End(Ending),
}

impl Item {
    /// The same for who does not read heads.
    pub(crate) fn plain(self) -> Self {
        match self {
            Self::Head(head) => Self::Bytes(head.raw().clone()),
            other => other,
        }
    }

    /// Bytes in it; an end has none.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Head(head) => head.raw().len(),
            Self::Bytes(bytes) => bytes.len(),
            Self::End(_) => 0,
        }
    }
}

/// What a stage is made from.
pub(crate) struct StageContext<'a> {
    /// Its fault's hold on the connection.
    pub(crate) claim: &'a Arc<Claim>,
    /// Whether the direction is client to server.
    pub(crate) upstream: bool,
    /// The memory that delay lines share.
    pub(crate) budget: &'a Arc<Budget>,
    /// When the fault took hold of the connection.
    pub(crate) now: Instant,
    /// The exchange, where the unit is one and not a connection.
    pub(crate) asked: Option<&'a Arc<Asked>>,
}

impl StageContext<'_> {
    /// The fault.
    pub(crate) fn fault(&self) -> &Arc<ActiveFault> {
        &self.claim.fault
    }

    /// The random stream of this fault, connection and direction.
    pub(crate) fn random(&self) -> ChaCha8Rng {
        random_stream(self.fault().seed(), self.claim.unit, u8::from(self.upstream))
    }

    /// The budgets of the connection, one a direction; its exchanges share them.
    pub(super) fn buckets(&self) -> Arc<SharedBuckets> {
        match self.asked {
            Some(asked) => asked.together.buckets(self.fault()),
            None => Arc::default(),
        }
    }

    /// What the delay lines of this direction of the connection hold together; each exchange has one.
    pub(super) fn lines(&self) -> SharedLines {
        match self.asked {
            Some(asked) => asked.together.lines(self.fault(), self.upstream, self.budget),
            None => Lines::new(self.budget),
        }
    }
}

/// One fault's work on one direction.
pub(crate) trait Stage: Send + Sync {
    /// Whether it takes more bytes now. An end is always taken.
    fn accepts(&self) -> bool;

    /// Whether the link must not read at all.
    fn forbids_reading(&self) -> bool {
        false
    }

    /// Whether the upstream must not be dialled, for this stage answers in its place.
    fn replaces_upstream(&self) -> bool {
        false
    }

    /// Whether what it holds is bounded by a budget of its own, and not by how much of an exchange may be held.
    fn has_own_budget(&self) -> bool {
        false
    }

    /// Whether it is given heads as heads.
    fn reads_heads(&self) -> bool {
        false
    }

    /// Whether the fault acts on this item; asked before it is pushed.
    fn touches(&self, item: &Item, now: Instant) -> bool;

    /// Takes an item in that came at this time, which may be a little earlier than the last time that it was told.
    fn push(&mut self, item: Item, came: Instant);

    /// The next item that leaves by `now`.
    fn pull(&mut self, now: Instant) -> Option<Item>;

    /// When the next item can leave, if that is a question of time.
    fn due(&self, now: Instant) -> Option<Instant>;

    /// When it acts of its own accord, whatever the traffic; the next pull at or after that time is the deed.
    fn alarm(&self) -> Option<Instant> {
        None
    }

    /// Takes new parameters.
    fn change(&mut self, kind: &FaultKind, now: Instant);

    /// The fault is gone: whether the stage must stay in its place all the same, for a message that it began to change
    /// has to be ended; it does nothing else from now on.
    fn stays(&mut self) -> bool {
        false
    }

    /// Lets go of everything it holds, in order, for the fault is gone.
    fn release(&mut self) -> VecDeque<Item>;
}
