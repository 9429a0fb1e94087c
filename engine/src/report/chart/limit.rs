//! The limits of a chart: what was promised of its metrics, and what would abort the run. Pure.
//!
//! Ratios of errors are drawn as ratios of successes, so that one chart shows both.
//! Neighbours: `line` and `strip`.

use crate::{
    record::{AbortRecord, BurnRecord, RowResult},
    sample::{Metric, MetricKind},
};
use serde::Serialize;

/// Two labels closer than this, in percent of the height, would cover each other.
const LABEL: f64 = 9.0;

/// Everything that limits one series.
pub(crate) struct Limits<'a> {
    rows: Vec<&'a RowResult>,
    aborts: Vec<&'a AbortRecord>,
}

/// A limit on a chart.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Limit {
    /// `tolerance` or `abort`.
    kind: &'static str,
    /// In percent from the top; none: too far away to be drawn.
    at: Option<f64>,
    /// The limit as people read it.
    shown: String,
    /// The whole condition, for the legend.
    text: String,
    /// Whether there is room for its label in the chart.
    labelled: bool,
    /// Whether the legend names it: conditions with several limits are named once.
    named: bool,
}

impl<'a> Limits<'a> {
    /// Those of one series. What is said of all traffic holds for every request of it as well, for aborts.
    pub(crate) fn of_series(series: &str, rows: &'a [RowResult], aborts: &'a [AbortRecord]) -> Self {
        let of_all = |probe: &str| probe == "traffic" && series.starts_with("traffic.");
        Self {
            // What compares those hit with those spared is not about the readings, which are what charts show.
            rows: rows.iter().filter(|row| row.probe == series && row.control.is_none()).collect(),
            aborts: aborts.iter().filter(|abort| abort.probe == series || of_all(&abort.probe)).collect(),
        }
    }

    /// The metrics that are limited.
    pub(crate) fn metrics(&self) -> impl Iterator<Item = Metric> {
        let aborts = self.aborts.iter().flat_map(|abort| abort.limits.iter().map(|(metric, _)| *metric));
        self.rows.iter().map(|row| row.metric).chain(aborts)
    }

    /// The windows of burn rates that are limited, each once.
    pub(crate) fn burns(&self) -> Vec<BurnRecord> {
        let mut burns: Vec<BurnRecord> = vec![];
        for burn in self.rows.iter().filter_map(|row| row.burn) {
            if !burns.contains(&burn) {
                burns.push(burn);
            }
        }
        burns
    }

    /// The limits on the chart of this metric, each with what it is.
    pub(crate) fn of(&self, chart: Metric) -> impl Iterator<Item = (f64, Limit)> {
        let rows = self.rows.iter().flat_map(move |row| {
            let text = format!("{} {}", row.metric.word().replace('_', " "), row.tolerance);
            row.limits.iter().filter_map(move |limit| place(chart, row.metric, *limit, "tolerance", &text))
        });
        let aborts = self.aborts.iter().flat_map(move |abort| {
            let all = if abort.probe == "traffic" { "all traffic: " } else { "" };
            let text = format!("{all}{}", abort.condition);
            abort.limits.iter().filter_map(move |(metric, limit)| place(chart, *metric, *limit, "abort", &text))
        });
        rows.chain(aborts)
    }

    /// The same, each once, with its place and as much lettering as there is room for.
    pub(crate) fn placed(&self, chart: Metric, at: impl Fn(f64, &Limit) -> Option<f64>) -> Vec<Limit> {
        let mut limits: Vec<Limit> = vec![];
        for (value, limit) in self.of(chart) {
            let limit = Limit { at: at(value, &limit), ..limit };
            let known = limits.iter().any(|known| known.kind == limit.kind && known.shown == limit.shown);
            let covered = |known: &Limit| {
                known.labelled
                    && known.kind == limit.kind
                    && known.at.zip(limit.at).is_some_and(|(one, other)| (one - other).abs() < LABEL)
            };
            if !known {
                let labelled = !limits.iter().any(covered);
                let named = !limits.iter().any(|known| known.kind == limit.kind && known.text == limit.text);
                limits.push(Limit { labelled, named, ..limit });
            }
        }
        limits
    }
}

impl Limit {
    /// A limit with its lettering.
    pub(crate) fn new(kind: &'static str, at: Option<f64>, shown: String, text: String) -> Self {
        Self { kind, at, shown, text, labelled: true, named: true }
    }

    /// The same without its text in the legend, where another has named it.
    pub(crate) fn unless_named(self, others: &[Self]) -> Self {
        let named = !others.iter().any(|known| known.kind == self.kind && known.text == self.text);
        Self { named, ..self }
    }

    /// Whether both are one line.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.kind == other.kind && self.shown == other.shown
    }

    /// Whether it was promised; else it aborts.
    pub(crate) fn is_promise(&self) -> bool {
        self.kind == "tolerance"
    }
}

fn place(chart: Metric, metric: Metric, limit: f64, kind: &'static str, text: &str) -> Option<(f64, Limit)> {
    let same = metric.kind() == chart.kind() && (metric.kind() != MetricKind::EachNumber || metric == chart);
    let limit = if metric == Metric::ErrorRatio { 1.0 - limit } else { limit };
    let shown = chart.shown(limit);
    same.then(|| (limit, Limit { kind, at: None, shown, text: text.to_owned(), labelled: true, named: true }))
}

#[cfg(test)]
mod tests {
    use super::Limits;
    use crate::{
        experiment::When,
        record::{AbortRecord, Outcome, RowResult},
        sample::Metric,
    };

    fn row(probe: &str, metric: Metric, when: When, limits: &[f64]) -> RowResult {
        RowResult {
            probe: probe.into(),
            metric,
            tolerance: "as promised".into(),
            when,
            measured: None,
            shown: String::new(),
            baseline: None,
            samples: 0,
            outcome: Outcome::Held,
            limits: limits.to_vec(),
            control: None,
            burn: None,
        }
    }

    fn abort(probe: &str, limits: &[(Metric, f64)]) -> AbortRecord {
        AbortRecord { probe: probe.into(), condition: "too bad".into(), limits: limits.to_vec() }
    }

    #[test]
    fn a_promise_for_three_windows_is_one_line() {
        let rows = [When::Before, When::During, When::After].map(|when| row("p", Metric::P99, when, &[1.5]));
        let limits = Limits::of_series("p", &rows, &[]).placed(Metric::P99, |_, _| Some(50.0));
        assert_eq!(limits.len(), 1);
        assert_eq!(limits[0].shown, "1500 ms");
    }

    #[test]
    fn errors_are_limited_on_the_chart_of_successes() {
        let rows = [row("p", Metric::ErrorRatio, When::During, &[0.25])];
        let limits: Vec<f64> =
            Limits::of_series("p", &rows, &[]).of(Metric::SuccessRatio).map(|(value, _)| value).collect();
        assert_eq!(limits, [0.75]);
    }

    #[test]
    fn limits_go_to_their_own_chart_and_series() {
        let rows = [row("p", Metric::Status, When::During, &[200.0]), row("q", Metric::Value, When::During, &[1.0])];
        let of = |series: &str, chart| Limits::of_series(series, &rows, &[]).of(chart).count();
        assert_eq!([of("p", Metric::Status), of("p", Metric::Value), of("p", Metric::P99)], [1, 0, 0]);
        assert_eq!([of("q", Metric::Status), of("q", Metric::Value)], [0, 1]);
    }

    #[test]
    fn what_aborts_on_all_traffic_is_shown_for_each_kind_of_it() {
        let aborts = [abort("traffic", &[(Metric::SuccessRatio, 0.9)]), abort("traffic.other", &[(Metric::P99, 1.0)])];
        let limits = Limits::of_series("traffic.checkout", &[], &aborts);
        assert_eq!(limits.metrics().collect::<Vec<_>>(), [Metric::SuccessRatio]);
        assert_eq!(limits.placed(Metric::SuccessRatio, |_, _| None)[0].text, "all traffic: too bad");
    }

    #[test]
    fn labels_that_would_cover_each_other_are_left_to_the_legend() {
        let rows = [row("p", Metric::P99, When::During, &[0.5, 0.51, 0.9])];
        let limits = Limits::of_series("p", &rows, &[]).placed(Metric::P99, |value, _| Some(100.0 - value * 100.0));
        assert_eq!(limits.iter().map(|limit| limit.labelled).collect::<Vec<_>>(), [true, false, true]);
        assert_eq!(limits.iter().map(|limit| limit.named).collect::<Vec<_>>(), [true, false, false]);
    }
}
