//! Holds what was measured against what must hold. Pure: samples, tolerances and a window in, outcomes out.
//!
//! ```text
//! recorder ─▶ judge_rows: the phases, by when samples were due ─▶ RowResult
//!          └▶ breach (guard.rs): sliding windows, by when samples were done ─▶ Breach
//! ```
//!
//! Ratios, times and rates are measured over the window; `status`, `value` and `body` must hold for each sample.
//! Neighbours: `stats` measures, `tolerance` compares, `run` asks at the end of each phase.
//! Invariant: too little to go by is `Inconclusive`, never `Held`.

mod guard;

pub use guard::{Breach, GUARD_MIN_SAMPLES, breach};

use crate::{
    experiment::{Check, SteadyRow, When},
    record::{Outcome, RowResult},
    recorder::{Recorder, TRAFFIC},
    sample::{Metric, MetricKind, Sample},
    stats::measure,
    tolerance::{Judgement, Tolerance},
};
use std::{collections::BTreeMap, ops::Range, time::Duration};

/// Fewer samples than this are no ratio and no percentile, unless a row says otherwise.
pub const MIN_SAMPLES: usize = 20;

/// One metric of one series, judged.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// In the metric's base unit. Of metrics that are judged for each sample, the first that does not meet the
    /// tolerance, else the last.
    pub measured: Option<f64>,
    /// The same as people read it, or the text that was read, or why there is nothing to show.
    pub shown: String,
    /// Samples that were looked at.
    pub samples: usize,
    /// How it turned out.
    pub outcome: Outcome,
}

/// What each series measured over the baseline, metric by metric: what `within N% of baseline` compares with.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Baselines(BTreeMap<(String, Metric), f64>);

impl Baselines {
    /// The metric of the series over the baseline; none if there were too few samples for it.
    #[must_use]
    pub fn get(&self, probe: &str, metric: Metric) -> Option<f64> {
        self.0.get(&(probe.to_owned(), metric)).copied()
    }

    /// Sets one.
    pub fn insert(&mut self, probe: &str, metric: Metric, value: f64) {
        self.0.insert((probe.to_owned(), metric), value);
    }
}

/// Every metric of every series over the baseline's window. Rows count only for their `min_samples`.
#[must_use]
pub fn baselines(rows: &[SteadyRow], recorder: &Recorder, window: &Range<Duration>) -> Baselines {
    let mut baselines = Baselines::default();
    let names = recorder.names().iter().map(|name| &**name).chain([TRAFFIC]);
    for name in names {
        let samples = recorder.window_by_start(name, window);
        let fewest = rows.iter().filter(|row| row.probe == name).filter_map(|row| row.min_samples).min();
        for metric in Metric::ALL {
            if samples.len() >= needed(metric, fewest)
                && let Some(value) = measure(metric, &samples, length(window))
            {
                baselines.insert(name, metric, value);
            }
        }
    }
    baselines
}

/// Judges every check of every row that must hold at that time, over the samples that were due in the window.
///
/// The window before the first fault is the baseline itself, so there `within N% of baseline` compares it with
/// itself and is met.
#[must_use]
pub fn judge_rows(
    rows: &[SteadyRow],
    when: When,
    recorder: &Recorder,
    window: &Range<Duration>,
    baselines: &Baselines,
) -> Vec<RowResult> {
    let mut results = Vec::new();
    for row in rows.iter().filter(|row| row.when.contains(&when)) {
        let samples = recorder.window_by_start(&row.probe, window);
        for check in &row.checks {
            let baseline = match when {
                When::Before => measure(check.metric, &samples, recorder.length(window)),
                When::During | When::After => baselines.get(&row.probe, check.metric),
            };
            let judged = judge_check(check, &samples, recorder.length(window), baseline, row.min_samples);
            results.push(RowResult {
                probe: row.probe.clone(),
                metric: check.metric,
                tolerance: check.tolerance.to_string(),
                when,
                measured: judged.measured,
                shown: judged.shown,
                baseline,
                samples: judged.samples,
                outcome: judged.outcome,
                limits: check.tolerance.limits(check.metric, baseline),
            });
        }
    }
    results
}

/// Judges one metric over these samples of one series. Without `min_samples` the usual number is needed:
/// 20 for ratios and times, 1 for what is judged for each sample, none for `rate`.
#[must_use]
pub fn judge_check(
    check: &Check,
    samples: &[Sample],
    window: Duration,
    baseline: Option<f64>,
    min_samples: Option<usize>,
) -> Judged {
    match check.metric.kind() {
        MetricKind::Ratio | MetricKind::Time | MetricKind::Rate => {
            judge_whole(check, samples, window, baseline, min_samples)
        }
        MetricKind::EachNumber | MetricKind::EachText => judge_each(check, samples, baseline, min_samples),
    }
}

/// The number of samples from which on a metric says something.
fn needed(metric: Metric, min_samples: Option<usize>) -> usize {
    match metric.kind() {
        MetricKind::Rate => min_samples.unwrap_or(0),
        MetricKind::Ratio | MetricKind::Time => min_samples.unwrap_or(MIN_SAMPLES).max(1),
        MetricKind::EachNumber | MetricKind::EachText => min_samples.unwrap_or(1).max(1),
    }
}

fn judge_whole(
    check: &Check,
    samples: &[Sample],
    window: Duration,
    baseline: Option<f64>,
    min_samples: Option<usize>,
) -> Judged {
    let Some(value) = measure(check.metric, samples, window) else {
        return inconclusive(None, "no samples".to_owned(), samples.len());
    };
    let shown = check.metric.shown(value);
    let needed = needed(check.metric, min_samples);
    if samples.len() < needed {
        let shown = format!("{shown} of {} samples, too few: {needed} are needed", samples.len());
        return inconclusive(Some(value), shown, samples.len());
    }
    match check.tolerance.judge_number(check.metric, value, baseline) {
        Judgement::NoBaseline => inconclusive(Some(value), format!("{shown}, without a baseline"), samples.len()),
        judgement => Judged { measured: Some(value), shown, samples: samples.len(), outcome: outcome(judgement) },
    }
}

fn judge_each(check: &Check, samples: &[Sample], baseline: Option<f64>, min_samples: Option<usize>) -> Judged {
    let readings: Vec<(Reading<'_>, Judgement)> = samples
        .iter()
        .filter_map(|sample| Reading::of(check.metric, sample))
        .map(|reading| (reading, reading.judge(&check.tolerance, check.metric, baseline)))
        .collect();
    let unmet = readings.iter().filter(|(_, judgement)| *judgement == Judgement::Unmet).count();
    let telling = readings.iter().find(|(_, judgement)| *judgement == Judgement::Unmet).or(readings.last());
    let Some((reading, _)) = telling else {
        let shown = if samples.is_empty() { "no samples" } else { "no sample has one" };
        return inconclusive(None, shown.to_owned(), 0);
    };
    let (measured, shown) = (reading.number(), reading.shown(check.metric));
    let count = readings.len();
    let needed = needed(check.metric, min_samples);
    if unmet > 0 {
        // One sample that does not meet it is enough to know, however few there are.
        let shown = if unmet > 1 { format!("{shown} ({unmet} of {count} samples)") } else { shown };
        Judged { measured, shown, samples: count, outcome: Outcome::Broken }
    } else if count < needed {
        inconclusive(measured, format!("{shown} in {count} samples, too few: {needed} are needed"), count)
    } else if readings.iter().any(|(_, judgement)| *judgement == Judgement::NoBaseline) {
        inconclusive(measured, format!("{shown}, without a baseline"), count)
    } else {
        Judged { measured, shown, samples: count, outcome: Outcome::Held }
    }
}

/// What one sample has to say about a metric that is judged for each sample.
#[derive(Debug, Clone, Copy)]
enum Reading<'a> {
    Number(f64),
    Text(&'a str),
    /// It failed before it had what is asked for, and so meets no tolerance.
    Failed(Option<&'a str>),
}

impl<'a> Reading<'a> {
    /// None when the sample succeeded but has nothing of the kind, as the first reading of a rate.
    fn of(metric: Metric, sample: &'a Sample) -> Option<Self> {
        let failed = (!sample.ok).then_some(Self::Failed(sample.text.as_deref()));
        match metric {
            // An answer has a status even when it is not the expected one.
            Metric::Status => sample.status.map(|status| Self::Number(status.into())).or(failed),
            // And a program an exit code, when it is not 0.
            Metric::Value => sample.value.map(Self::Number).or(failed),
            _ => failed.or(sample.text.as_deref().map(Self::Text)),
        }
    }

    fn judge(self, tolerance: &Tolerance, metric: Metric, baseline: Option<f64>) -> Judgement {
        match self {
            Self::Number(value) => tolerance.judge_number(metric, value, baseline),
            Self::Text(text) => tolerance.judge_text(text),
            Self::Failed(_) => Judgement::Unmet,
        }
    }

    fn number(self) -> Option<f64> {
        if let Self::Number(value) = self { Some(value) } else { None }
    }

    fn shown(self, metric: Metric) -> String {
        match self {
            Self::Number(value) => metric.shown(value),
            Self::Text(text) => text.to_owned(),
            Self::Failed(Some(why)) => format!("no answer: {why}"),
            Self::Failed(None) => "no answer".to_owned(),
        }
    }
}

fn outcome(judgement: Judgement) -> Outcome {
    match judgement {
        Judgement::Met => Outcome::Held,
        Judgement::Unmet => Outcome::Broken,
        Judgement::NoBaseline => Outcome::Inconclusive,
    }
}

fn inconclusive(measured: Option<f64>, shown: String, samples: usize) -> Judged {
    Judged { measured, shown, samples, outcome: Outcome::Inconclusive }
}

fn length(window: &Range<Duration>) -> Duration {
    window.end.saturating_sub(window.start)
}
