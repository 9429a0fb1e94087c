//! How fast errors used up what the objective allows, over time: the long window and the short one, which must agree. Pure.
//!
//! Neighbours: `judge::burn` judges by the same two windows; `line` draws. Invariant: a window that begins before the first
//! sample, or has too few of them, is a gap, for it was not judged either.

use super::{
    limit::Limits,
    line::{LineChart, Points, chart},
    time::TimeAxis,
};
use crate::{
    judge::MIN_SAMPLES,
    record::BurnRecord,
    report::length,
    sample::{Metric, Sample},
};
use std::time::Duration;

/// Both windows over the run, one point each moment of the axis.
pub(crate) fn burning(burn: &BurnRecord, samples: &[Sample], limits: &Limits<'_>, axis: TimeAxis) -> Option<LineChart> {
    let mut due: Vec<(Duration, bool)> = samples.iter().map(|sample| (sample.at, sample.ok)).collect();
    due.sort_unstable();
    let (first, last) = (due.first()?.0, due.last()?.0);
    let step = axis.bucket();
    let moments = std::iter::successors(Some(first + burn.short), |at| Some(*at + step)).take_while(|at| *at <= last);
    let moments: Vec<Duration> = moments.collect();
    let line = |window: Duration| Points {
        metric: Metric::BurnRate,
        name: format!("over {}", length(window)),
        points: moments.iter().map(|at| (*at, rate(burn, &due, window, *at))).collect(),
    };
    let note = format!("of {} %; both windows must be out of tolerance", burn.objective * 100.0);
    Some(chart("Burn rate", note, Metric::BurnRate, vec![line(burn.long), line(burn.short)], limits, axis, false))
}

/// Over the window that ends then.
fn rate(burn: &BurnRecord, due: &[(Duration, bool)], window: Duration, at: Duration) -> Option<f64> {
    let from = due.partition_point(|(time, _)| *time + window <= at);
    let inside = &due[from..due.partition_point(|(time, _)| *time <= at)];
    let failed = inside.iter().filter(|(_, ok)| !ok).count();
    (inside.len() >= MIN_SAMPLES).then(|| (failed as f64 / inside.len() as f64) / (1.0 - burn.objective))
}

#[cfg(test)]
mod tests {
    use super::{BurnRecord, rate};
    use std::time::Duration;

    #[test]
    fn one_error_in_a_hundred_at_three_nines_is_a_rate_of_ten() {
        let burn = BurnRecord { objective: 0.999, long: Duration::from_secs(10), short: Duration::from_secs(1) };
        let due: Vec<_> =
            (0..1000_u64).map(|number| (Duration::from_millis(number * 10), number % 100 != 50)).collect();
        let at = Duration::from_secs(9);
        assert!((rate(&burn, &due, burn.long, at).unwrap() - 10.0).abs() < 0.5);
        assert_eq!(rate(&burn, &due, Duration::from_millis(100), at), None, "ten samples are too few");
    }
}
