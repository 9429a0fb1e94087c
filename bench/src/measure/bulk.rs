//! Bytes a second through latency: a delay line that does not lower throughput, up to its buffer.
//!
//! 64 MiB a link and 100 ms allow 671 MB/s at most; 10 ms allow ten times as much, more than a loopback gives.
//! Below is `transfer`. Invariant: only the time in which bytes arrived counts, so the delay itself does not.

use super::latency_of;
use crate::{
    error::BenchError,
    figures::{Figures, Versus},
    lab::Lab,
    transfer,
};

const DELAYS_MILLIS: [u64; 2] = [10, 100];

pub(super) fn run(lab: &Lab, figures: &mut Figures) -> Result<(), BenchError> {
    for millis in DELAYS_MILLIS {
        let id = format!("bulk.latency_{millis}ms");
        figures.declare(&id, format!("bulk through latency {millis} ms, 1 stream"), "MB/s", Versus::Ratio);
        lab.in_turn(|contestant| {
            lab.through(contestant, &[latency_of(millis)], |line| {
                let moved = transfer::run(line.connect(1)?, lab.scale.transfer)?;
                figures.record(&id, contestant.name(), moved.megabytes_per_second())
            })
        })?;
    }
    Ok(())
}
