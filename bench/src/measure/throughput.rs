//! Bytes a second with no fault set, over one stream and over eight, and what they cost a proxy in processor time.
//!
//! Client, proxy and server share the machine's cores, so this is less than the proxy could do alone.
//! Below is `transfer`. Invariant: the processor time is the proxy's processes' own, kernel included.

use crate::{
    contestant::Discipline,
    error::BenchError,
    figures::{Figures, Promise, Versus},
    lab::Lab,
    transfer,
};
use std::time::Duration;

const STREAMS: [usize; 2] = [1, 8];

const FASTEST: Promise = Promise::AtLeastBest(1.0, &["haproxy", "haproxy-splice", "nginx"]);

/// What a bare loop of splice(2) reaches.
const CHEAPEST: Promise = Promise::AtMostBest(0.6, &["haproxy"]);

pub(super) fn run(lab: &Lab, figures: &mut Figures) -> Result<(), BenchError> {
    for streams in STREAMS {
        let id = format!("throughput.streams_{streams}");
        let plural = if streams == 1 { "" } else { "s" };
        let name = format!("throughput, {streams} stream{plural}");
        figures.declare_promised(&id, name, "MB/s", Versus::Ratio, FASTEST);
        let cpu = format!("{id}.cpu");
        let name = format!("CPU of the proxy, {streams} stream{plural}");
        figures.declare_promised(&cpu, name, "s/GB", Versus::Nothing, CHEAPEST);
        lab.in_turn(Discipline::Bulk, |contestant| {
            lab.through(contestant, &[], |line| {
                let pairs = line.connect(streams)?;
                let before = line.process().map(|process| process.cpu_seconds()).transpose()?;
                let moved = transfer::run(pairs, lab.scale.transfer, Duration::ZERO)?;
                figures.record(&id, contestant.name(), moved.megabytes_per_second())?;
                if let (Some(process), Some(before)) = (line.process(), before) {
                    let gigabytes = moved.bytes as f64 / 1e9;
                    figures.record(&cpu, contestant.name(), (process.cpu_seconds()? - before) / gigabytes)?;
                }
                Ok(())
            })
        })?;
    }
    Ok(())
}
