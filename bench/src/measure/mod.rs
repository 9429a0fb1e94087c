//! The measurements, one file each, in the order in which they run.
//!
//! A measurement declares its figures and then fills them through `lab`. Adding one is a file, and a row here.
//! Invariant: what a measurement promises is the row of it that the project publishes.

mod bandwidth;
mod bare;
mod bulk;
mod connections;
mod crowd;
mod http;
mod jitter;
mod latency;
mod live;
mod many;
mod memory;
mod pipelined;
mod round_trip;
mod throughput;
mod tls;
mod udp;

use crate::{error::BenchError, figures::Figures, lab::Lab};
use squall_wire::{
    ByteSize, FaultKind, Span,
    fault::{Distribution, Latency},
};

/// One measurement.
pub(crate) struct Measurement {
    /// What `--only` calls it.
    pub(crate) name: &'static str,
    /// Takes it.
    pub(crate) run: fn(&Lab, &mut Figures) -> Result<(), BenchError>,
}

/// All of them.
pub(crate) const ALL: [Measurement; 15] = [
    Measurement { name: "throughput", run: throughput::run },
    Measurement { name: "round-trip", run: round_trip::run },
    Measurement { name: "http", run: http::run },
    Measurement { name: "connections", run: connections::run },
    Measurement { name: "tls", run: tls::run },
    Measurement { name: "udp", run: udp::run },
    Measurement { name: "latency", run: latency::run },
    Measurement { name: "pipelined", run: pipelined::run },
    Measurement { name: "jitter", run: jitter::run },
    Measurement { name: "bulk", run: bulk::run },
    Measurement { name: "bandwidth", run: bandwidth::run },
    Measurement { name: "live", run: live::run },
    Measurement { name: "memory", run: memory::run },
    Measurement { name: "many", run: many::run },
    Measurement { name: "crowd", run: crowd::run },
];

/// Their names.
pub(crate) const NAMES: [&str; ALL.len()] = {
    let mut names = [""; ALL.len()];
    let mut index = 0;
    while index < names.len() {
        names[index] = ALL[index].name;
        index += 1;
    }
    names
};

/// The fault `latency` with everything else as it is by default.
fn latency_of(millis: u64) -> FaultKind {
    FaultKind::Latency(Latency {
        delay: Span::from_millis(millis),
        jitter: Span::ZERO,
        distribution: Distribution::Uniform,
        buffer: ByteSize::mib(64),
    })
}
