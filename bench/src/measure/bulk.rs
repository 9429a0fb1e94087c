//! Bytes a second through latency: a delay line that does not lower throughput, up to its buffer; how evenly they
//! come, and the memory that they take.
//!
//! 64 MiB a link and 100 ms allow 671 MB/s at most; 10 ms allow ten times as much, more than a loopback gives. The first
//! buffer comes at once, for nothing holds it up; how even the stream is counts from the next delay on.
//! Below is `transfer`. Invariant: only the time in which bytes arrived counts, so the delay itself does not.

use super::latency_of;
use crate::{
    contestant::Discipline,
    error::BenchError,
    figures::{Figures, Promise, Versus},
    lab::Lab,
    transfer,
};
use std::time::Duration;

const DELAYS_MILLIS: [u64; 3] = [10, 100, 1_000];

/// The stated buffer of a link, 64 MiB, and a quarter of it for what the allocator and the sockets take.
const MEMORY: Promise = Promise::AtMost(80.0);

/// So many delays, at least, that what is on the line at the end does not make the figure.
const DELAYS_LONG: u32 = 4;

pub(super) fn run(lab: &Lab, figures: &mut Figures) -> Result<(), BenchError> {
    for millis in DELAYS_MILLIS {
        let id = format!("bulk.latency_{millis}ms");
        let name = format!("bulk through latency {millis} ms, 1 stream");
        let promise = Promise::AtLeastBest(2.0, &["toxiproxy"]);
        figures.declare_promised(&id, &name, "MB/s", Versus::Ratio, promise);
        let even = format!("{id}.emptiest");
        let emptiest = format!("{name}: emptiest 100 ms after the first delay, against the mean");
        figures.declare(&even, emptiest, "%", Versus::Nothing);
        let memory = format!("{id}.memory");
        figures.declare_promised(&memory, format!("{name}: memory"), "MiB", Versus::Nothing, MEMORY);
        let feed = lab.scale.transfer.max(lab.scale.transfer.min(Duration::from_millis(millis)) * DELAYS_LONG);
        lab.in_turn(Discipline::Delays, |contestant| {
            lab.through(contestant, &[latency_of(millis)], |line| {
                let before = line.process().map(|process| process.resident_bytes()).transpose()?;
                let moved = transfer::run(line.connect(1)?, feed, Duration::from_millis(millis))?;
                figures.record(&id, contestant.name(), moved.megabytes_per_second())?;
                figures.record(&even, contestant.name(), moved.emptiest * 100.0)?;
                if let (Some(process), Some(before)) = (line.process(), before) {
                    let grown = process.most_resident_bytes()? - before;
                    figures.record(&memory, contestant.name(), grown / f64::from(1 << 20))?;
                }
                Ok(())
            })
        })?;
    }
    Ok(())
}
