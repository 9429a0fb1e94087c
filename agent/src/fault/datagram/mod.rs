//! What a kind of fault must be able to do to the datagrams of one session and direction.
//!
//! A stage is a pure state machine, as those of `stage.rs` are: it is told what comes and what time it is, and says
//! what leaves and when. Here a unit is one datagram, whole: `udp/line.rs` numbers it, and asks whether it is hit
//! (`percent`, `skip`, `count`), before a stage sees it. One file a kind; a blackhole is a loss of everything.
//!
//! Invariant: what a stage draws for a datagram depends on the seed and the datagram's number alone.

mod corrupt;
mod delay;
mod duplicate;
mod loss;
mod pace;
mod reorder;

use super::{ActiveFault, random_stream};
use crate::budget::Budget;
use bytes::Bytes;
use rand_chacha::ChaCha8Rng;
use squall_wire::{FaultKind, Percent};
use std::{sync::Arc, time::Instant};

/// What a stage is made from.
pub(crate) struct DatagramContext<'a> {
    /// The fault.
    pub(crate) fault: &'a Arc<ActiveFault>,
    /// Whether the direction is client to server.
    pub(crate) upstream: bool,
    /// The memory that delay lines share.
    pub(crate) budget: &'a Arc<Budget>,
}

/// There was no room for a datagram; it is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoRoom;

/// One fault's work on the datagrams of one direction.
pub(crate) trait DatagramStage: Send + Sync {
    /// Whether the fault acts on this datagram, which was chosen; asked before it is pushed.
    fn touches(&self, datagram: &Bytes, unit: u64) -> bool;

    /// Takes a datagram that the fault acts on.
    fn push(&mut self, datagram: Bytes, unit: u64, now: Instant) -> Result<(), NoRoom>;

    /// Another datagram passed by.
    fn passed(&mut self) {}

    /// The next datagram that leaves by `now`.
    fn pull(&mut self, now: Instant) -> Option<Bytes>;

    /// When the next datagram can leave, if that is a question of time. One in the past: at once.
    fn due(&self) -> Option<Instant>;

    /// Whether it holds nothing.
    fn is_empty(&self) -> bool;

    /// Takes new parameters.
    fn change(&mut self, kind: &FaultKind, now: Instant);

    /// Lets go of everything it holds, in the order in which it came, for the fault is gone.
    fn release(&mut self) -> Vec<Bytes>;
}

/// The work of this fault on one direction of a session. None where the kind has none on datagrams.
pub(crate) fn datagram_stage(context: &DatagramContext<'_>) -> Option<Box<dyn DatagramStage>> {
    Some(match context.fault.kind() {
        FaultKind::Latency(latency) => Box::new(delay::Delay::new(latency, context)),
        FaultKind::Bandwidth(bandwidth) => Box::new(pace::Pace::new(&bandwidth, context)),
        FaultKind::Blackhole(_) => Box::new(loss::Losing::new(Percent::ALL, context)),
        FaultKind::Loss(loss) => Box::new(loss::Losing::new(loss.percent, context)),
        FaultKind::Corrupt(corrupt) => Box::new(corrupt::Corruption::new(corrupt, context)),
        FaultKind::Duplicate(duplicate) => Box::new(duplicate::Doubling::new(duplicate)),
        FaultKind::Reorder(reorder) => Box::new(reorder::Holding::new(reorder)),
        // Refused on a `udp` proxy before it comes here (`FaultSpec::mistakes_on`).
        _ => return None,
    })
}

/// The random stream of one datagram.
fn draw(fault: &ActiveFault, unit: u64) -> ChaCha8Rng {
    // Links draw with 0 and 1.
    const DATAGRAM: u8 = 2;
    random_stream(fault.seed(), unit, DATAGRAM)
}
