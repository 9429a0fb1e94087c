//! Whether `jitter` spreads delays as its distribution says: the largest distance between the share of messages that
//! took at most so long and the share that should have (Kolmogorov and Smirnov's), over all delays.
//!
//! Nothing overtakes, so each connection has one message under way at a time. Chance alone gives about
//! `1.36 / sqrt(messages)` in one round of twenty. Below is `stamped`.
//!
//! Invariant: the distributions are computed here from their definitions, not by what the agent draws with.

use super::latency_of;
use crate::{
    contestant::Discipline,
    error::BenchError,
    figures::{Figures, Versus},
    lab::{Lab, Line},
    stamped::Receivers,
};
use squall_wire::{
    FaultKind, Span,
    fault::{Distribution, Latency},
};
use std::time::Duration;

const DELAY_MILLIS: u64 = 50;
const JITTER_MILLIS: u64 = 10;

const SHAPES: [(Distribution, &str); 4] = [
    (Distribution::Uniform, "uniform"),
    (Distribution::Normal, "normal"),
    (Distribution::Exponential, "exponential"),
    (Distribution::Pareto, "pareto"),
];

/// Between two messages on one connection: longer than all but one delay of many thousands.
const PAUSE: Duration = Duration::from_millis(200);

pub(super) fn run(lab: &Lab, figures: &mut Figures) -> Result<(), BenchError> {
    let count = lab.scale.jittered;
    for (shape, name) in SHAPES {
        let id = format!("jitter.{name}");
        let shown = format!(
            "{DELAY_MILLIS} ms with {name} jitter of {JITTER_MILLIS} ms, {count} messages: distribution off by"
        );
        figures.declare(&id, shown, "%", Versus::Nothing);
        lab.in_turn(Discipline::Ours, |contestant| {
            let FaultKind::Latency(plain) = latency_of(DELAY_MILLIS) else { return Ok(()) };
            let jitter = Span::from_millis(JITTER_MILLIS);
            let fault = FaultKind::Latency(Latency { jitter, distribution: shape, ..plain });
            lab.through(contestant, &[fault], |line| {
                let off = distance(delays(lab, line, count)?, |millis| share_within(shape, millis));
                figures.record(&id, contestant.name(), off * 100.0)
            })
        })?;
    }
    Ok(())
}

/// How long each message took, in milliseconds.
fn delays(lab: &Lab, line: &Line<'_>, count: usize) -> Result<Vec<f64>, BenchError> {
    let connections = count.div_ceil(3).max(1);
    let (senders, sockets) =
        line.connect(connections)?.into_iter().map(|pair| (pair.client, pair.server)).collect::<(Vec<_>, Vec<_>)>();
    let receivers = Receivers::start(&lab.runtime, sockets, count)?;
    receivers.send_evenly(&senders, count, PAUSE.div_f64(connections as f64))?;
    Ok(receivers.collect(count)?.iter().map(crate::stamped::Record::millis).collect())
}

/// The share of delays that should be at most so long, by the definitions in the catalogue of faults.
fn share_within(shape: Distribution, millis: f64) -> f64 {
    let above = (millis - DELAY_MILLIS as f64) / JITTER_MILLIS as f64;
    match shape {
        Distribution::Uniform => f64::midpoint(above, 1.0).clamp(0.0, 1.0),
        Distribution::Normal => f64::midpoint(1.0, libm::erf(above / std::f64::consts::SQRT_2)),
        Distribution::Exponential => 1.0 - (-above.max(0.0)).exp(),
        // Lomax with exponent 2.5 and a mean of 1.
        Distribution::Pareto => 1.0 - (1.0 + above.max(0.0) / 1.5).powf(-2.5),
    }
}

/// Kolmogorov and Smirnov's distance.
fn distance(mut values: Vec<f64>, share_within: impl Fn(f64) -> f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let count = values.len() as f64;
    let off = |(at, value): (usize, &f64)| {
        let should = share_within(*value);
        (should - at as f64 / count).max((at + 1) as f64 / count - should)
    };
    values.iter().enumerate().map(off).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::{distance, share_within};
    use squall_wire::fault::Distribution;

    #[test]
    fn the_distance_is_small_for_what_it_should_be_and_large_for_another_shape() {
        let even = || (0..1000).map(|n| 40.0 + 20.0 * (f64::from(n) + 0.5) / 1000.0).collect::<Vec<_>>();
        assert!(distance(even(), |millis| share_within(Distribution::Uniform, millis)) < 0.001);
        assert!(distance(even(), |millis| share_within(Distribution::Normal, millis)) > 0.05);
        assert!(distance(even(), |millis| share_within(Distribution::Exponential, millis)) > 0.4);
        let late = even().into_iter().map(|millis| millis + 1.0).collect();
        assert!((distance(late, |millis| share_within(Distribution::Uniform, millis)) - 0.05).abs() < 0.002);
    }

    #[test]
    fn each_distribution_has_its_middle_where_its_definition_says() {
        for (shape, median) in [
            (Distribution::Uniform, 50.0),
            (Distribution::Normal, 50.0),
            (Distribution::Exponential, 50.0 + 10.0 * std::f64::consts::LN_2),
            (Distribution::Pareto, 50.0 + 15.0 * (2.0_f64.powf(0.4) - 1.0)),
        ] {
            assert!((share_within(shape, median) - 0.5).abs() < 1e-9, "{shape:?}");
        }
    }
}
