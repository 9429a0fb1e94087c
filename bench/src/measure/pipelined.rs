//! Messages in a row, 1 ms apart on one connection, through 100 ms of latency, and through two such faults in a row.
//!
//! A delay that were slept for each message would add up; a delay line keeps every one of them at 100 ms.
//! Below is `stamped`. Invariant: the sender never waits for an answer.

use super::latency_of;
use crate::{
    contestant::Discipline,
    error::{BenchError, Tried},
    figures::{Figures, Promise, Versus},
    lab::Lab,
    stamped::Receivers,
};
use std::time::Duration;

const DELAY_MILLIS: u64 = 100;
const GAP: Duration = Duration::from_millis(1);
const QUANTILES: [(&str, f64); 3] = [("p50", 0.5), ("p99", 0.99), ("max", 1.0)];

pub(super) fn run(lab: &Lab, figures: &mut Figures) -> Result<(), BenchError> {
    let count = lab.scale.pipelined;
    for (faults, name) in [(1, "latency 100 ms"), (2, "two latencies of 100 ms")] {
        let id = format!("pipelined.faults_{faults}");
        for (suffix, _) in QUANTILES {
            let promise = if suffix == "p99" { Promise::AtMost(0.2 * faults as f64) } else { Promise::None };
            let name = format!("error of {name}, {count} messages in a row, {suffix}");
            figures.declare_promised(format!("{id}.{suffix}"), name, "ms", Versus::Added, promise);
        }
        lab.in_turn(Discipline::Delays, |contestant| {
            let delay = if contestant.injects() { DELAY_MILLIS * faults as u64 } else { 0 };
            lab.through(contestant, &vec![latency_of(DELAY_MILLIS); faults], |line| {
                let pair = line.connect_one()?;
                let receivers = Receivers::start(&lab.runtime, vec![pair.server], count)?;
                let sender = [pair.client.try_clone().tried("share a socket")?];
                receivers.send_evenly(&sender, count, GAP)?;
                let records = receivers.collect(count)?;
                let mut errors: Vec<f64> = records.iter().map(|record| record.millis() - delay as f64).collect();
                figures.record_quantiles(&id, contestant.name(), &mut errors, &QUANTILES)
            })
        })?;
    }
    Ok(())
}
