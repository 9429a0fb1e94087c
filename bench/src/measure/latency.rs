//! How exact `latency: 100ms` is: the error of single messages in both directions, over one and over many connections.
//!
//! The error is `arrival - sent - 100 ms`; of direct loopback it is `arrival - sent`, which is what sending costs on this
//! machine. Beside it is how late the kernel's own timer wakes a thread that does nothing else, with as many deadlines:
//! what sleeps cannot be more exact than that. Below is `stamped`.
//! Invariant: the fault is set before anything is sent.

use super::{bare, latency_of};
use crate::{
    contestant::{Contestant, Discipline},
    error::{BenchError, Tried},
    figures::{Figures, Promise, Versus},
    lab::{Lab, Line},
    stamped::{Receivers, Record},
};
use std::time::Duration;

const DELAY_MILLIS: u64 = 100;
const QUANTILES: [(&str, f64); 2] = [("p50", 0.5), ("p99", 0.99)];

/// The p99 that is promised over one connection, over some, and over many.
const MOST_MILLIS: [f64; 3] = [0.2, 0.5, 3.0];

/// Between two messages, whichever connections they are on.
const GAP: Duration = Duration::from_micros(500);

/// The same for a connection that is alone.
const LONELY_GAP: Duration = Duration::from_millis(2);

pub(super) fn run(lab: &Lab, figures: &mut Figures) -> Result<(), BenchError> {
    for (connections, most) in lab.scale.delayed_over.into_iter().zip(MOST_MILLIS) {
        let id = format!("latency.connections_{connections}");
        declare(figures, &id, connections, most);
        lab.in_turn(Discipline::Delays, |contestant| {
            let delay = if contestant.injects() { DELAY_MILLIS } else { 0 };
            if *contestant == Contestant::Direct {
                let mut late = bare::timer(gap(connections), count(lab, connections))?;
                figures.record_quantiles(&format!("{id}.timer"), contestant.name(), &mut late, &QUANTILES)?;
            }
            lab.through(contestant, &[latency_of(DELAY_MILLIS)], |line| {
                let records = messages(lab, line, connections)?;
                let mut errors: Vec<f64> = records.iter().map(|record| record.millis() - delay as f64).collect();
                figures.record_quantiles(&id, contestant.name(), &mut errors, &QUANTILES)
            })
        })?;
    }
    Ok(())
}

fn declare(figures: &mut Figures, id: &str, connections: usize, most: f64) {
    let plural = if connections == 1 { "" } else { "s" };
    for (suffix, _) in QUANTILES {
        let promise = if suffix == "p99" { Promise::AtMost(most) } else { Promise::None };
        let name = format!("error of latency 100 ms, {connections} connection{plural}, {suffix}");
        figures.declare_promised(format!("{id}.{suffix}"), name, "ms", Versus::Added, promise);
    }
    let every = gap(connections).as_secs_f64() * 1e3;
    for (suffix, _) in QUANTILES {
        let name = format!("a bare timer beside it, a deadline each {every} ms: late by, {suffix}");
        figures.declare(format!("{id}.timer.{suffix}"), name, "ms", Versus::Nothing);
    }
}

fn gap(connections: usize) -> Duration {
    if connections == 1 { LONELY_GAP } else { GAP }
}

/// Each connection gets one message each way at least.
fn count(lab: &Lab, connections: usize) -> usize {
    ((lab.scale.delayed.as_secs_f64() / gap(connections).as_secs_f64()) as usize).max(2 * connections)
}

fn messages(lab: &Lab, line: &Line<'_>, connections: usize) -> Result<Vec<Record>, BenchError> {
    let (gap, count) = (gap(connections), count(lab, connections));
    let (mut senders, mut sockets) = (Vec::new(), Vec::new());
    for pair in line.connect(connections)? {
        for end in [pair.client, pair.server] {
            senders.push(end.try_clone().tried("share a socket")?);
            sockets.push(end);
        }
    }
    let receivers = Receivers::start(&lab.runtime, sockets, count)?;
    receivers.send_evenly(&senders, count, gap)?;
    receivers.collect(count)
}
