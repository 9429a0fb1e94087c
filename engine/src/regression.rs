//! What got worse since an earlier run of the same experiment, although it is still within its tolerances. Pure.
//!
//! Compared are rows that both runs have: the same series, metric, tolerance and window. Times may not grow, shares of
//! success and goodput not shrink, by more than the margin. Rates, statuses, values and texts have no worse side, and are left out.
//! Neighbours: `squall gate --against` asks, `report` shows.

use crate::{
    experiment::When,
    record::{Outcome, RowResult},
    sample::{Metric, MetricKind},
};

/// A difference below this, in seconds, says more about the machine than about the system.
const NOTICEABLE: f64 = 0.001;

/// A sentence for each row that is worse by more than the margin, which is a share: 0.2 is 20 %.
#[must_use]
pub fn regressions(earlier: &[RowResult], now: &[RowResult], margin: f64) -> Vec<String> {
    now.iter().filter_map(|row| regression(earlier.iter().find(|other| is_same(other, row))?, row, margin)).collect()
}

fn is_same(one: &RowResult, other: &RowResult) -> bool {
    let key = |row: &RowResult| (row.metric, row.when);
    key(one) == key(other) && one.probe == other.probe && one.tolerance == other.tolerance
}

fn regression(earlier: &RowResult, now: &RowResult, margin: f64) -> Option<String> {
    let unknown = [earlier, now].iter().any(|row| row.outcome == Outcome::Inconclusive);
    let (before, after) = (earlier.measured?, now.measured?);
    let worse = match (now.metric, now.metric.kind()) {
        (Metric::SuccessRatio | Metric::Goodput, _) => after < before * (1.0 - margin),
        (Metric::ErrorRatio, _) => 1.0 - after < (1.0 - before) * (1.0 - margin),
        (_, MetricKind::Time) => after > before * (1.0 + margin) && after - before >= NOTICEABLE,
        _ => false,
    };
    let when = match now.when {
        When::Before => "before the faults",
        When::During => "during the faults",
        When::After => "after the faults",
    };
    (worse && !unknown).then(|| {
        let (before, after) = (now.metric.shown(before), now.metric.shown(after));
        format!("{} {} was {after} {when}, and {before} when it was last held", now.probe, now.metric)
    })
}

#[cfg(test)]
mod tests {
    use super::regressions;
    use crate::{
        experiment::When,
        record::{Outcome, RowResult},
        sample::Metric,
    };

    fn row(metric: Metric, measured: f64) -> RowResult {
        RowResult {
            probe: "traffic".into(),
            metric,
            tolerance: "any".into(),
            when: When::During,
            measured: Some(measured),
            shown: String::new(),
            baseline: None,
            samples: 100,
            outcome: Outcome::Held,
            limits: vec![],
            control: None,
        }
    }

    fn worse(metric: Metric, before: f64, after: f64) -> bool {
        !regressions(&[row(metric, before)], &[row(metric, after)], 0.2).is_empty()
    }

    #[test]
    fn times_may_grow_and_shares_shrink_by_the_margin_and_no_more() {
        assert!(
            worse(Metric::P99, 0.100, 0.121) && !worse(Metric::P99, 0.100, 0.119) && !worse(Metric::P99, 0.1, 0.01)
        );
        assert!(worse(Metric::SuccessRatio, 1.0, 0.79) && !worse(Metric::SuccessRatio, 1.0, 0.81));
        assert!(worse(Metric::ErrorRatio, 0.0, 0.21) && !worse(Metric::ErrorRatio, 0.0, 0.19));
        assert!(!worse(Metric::P50, 0.0002, 0.0009), "less than can be noticed");
        assert!(
            !worse(Metric::Rate, 1.0, 9.0) && worse(Metric::Goodput, 100.0, 79.0) && !worse(Metric::Value, 1.0, 9.0)
        );
    }

    #[test]
    fn only_the_same_row_is_compared_and_only_when_it_is_conclusive() {
        let (before, after) = (row(Metric::P99, 0.1), row(Metric::P99, 0.5));
        let told = regressions(std::slice::from_ref(&before), std::slice::from_ref(&after), 0.2);
        assert_eq!(told, ["traffic p99 was 500 ms during the faults, and 100 ms when it was last held"]);
        for other in [
            RowResult { when: When::After, ..before.clone() },
            RowResult { probe: "ready".into(), ..before.clone() },
            RowResult { tolerance: "other".into(), ..before.clone() },
            RowResult { outcome: Outcome::Inconclusive, ..before.clone() },
            RowResult { measured: None, ..before },
        ] {
            assert!(regressions(&[other], std::slice::from_ref(&after), 0.2).is_empty());
        }
    }
}
