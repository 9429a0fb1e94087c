//! The limits of a chart: what was promised of its metrics, and what would abort the run. Pure.
//!
//! Ratios of errors are drawn as ratios of successes, so that one chart shows both.
//! Neighbours: `line` and `strip`.

use crate::{
    record::{AbortRecord, RowResult},
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
            rows: rows.iter().filter(|row| row.probe == series).collect(),
            aborts: aborts.iter().filter(|abort| abort.probe == series || of_all(&abort.probe)).collect(),
        }
    }

    /// The metrics that are limited.
    pub(crate) fn metrics(&self) -> impl Iterator<Item = Metric> {
        let aborts = self.aborts.iter().flat_map(|abort| abort.limits.iter().map(|(metric, _)| *metric));
        self.rows.iter().map(|row| row.metric).chain(aborts)
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
