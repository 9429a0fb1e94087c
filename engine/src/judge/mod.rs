//! Holds what was measured against what must hold. Pure: samples, tolerances and a window in, outcomes out.
//!
//! ```text
//! recorder ─▶ judge_rows: the phases, by when samples were due ─▶ RowResult
//!          └▶ breach (guard.rs): sliding windows, by when samples were done ─▶ Breach
//! ```
//!
//! Ratios, times and rates are measured over the window; `status`, `value` and `body` must hold for each sample. Rows with
//! `for` are judged by `lasting`, burn rates by `burn`, those that compare with the control group by `control`.
//! Neighbours: `stats` measures, `tolerance` compares, `run` asks at the end of each phase.
//! Invariant: too little to go by is `Inconclusive`, never `Held`.

mod burn;
mod control;
mod guard;
mod lasting;

pub use control::SIGNIFICANCE;
pub use guard::{Breach, GUARD_MIN_SAMPLES, breach, burning, condition};

use crate::{
    experiment::{Check, SteadyRow, When},
    groups,
    record::{Outcome, RowResult},
    recorder::{Recorder, TRAFFIC},
    sample::{Metric, MetricKind, Sample},
    stats::measure,
    tolerance::{Judgement, Tolerance},
};
use control::Compared;
use lasting::Lasting;
use squall_wire::Span;
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
            let counted = samples.iter().filter(|sample| metric.counts(sample.status)).count();
            if counted >= needed(metric, fewest)
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
/// itself and is met. What compares those hit with those spared is judged during the faults only, all rows at once.
#[must_use]
pub fn judge_rows(
    rows: &[SteadyRow],
    when: When,
    recorder: &Recorder,
    window: &Range<Duration>,
    baselines: &Baselines,
) -> Vec<RowResult> {
    let mut results = Vec::new();
    let mut compared = compare_all(rows, when, recorder, window).into_iter();
    for row in rows.iter().filter(|row| row.when.contains(&when)) {
        let mut samples = recorder.window_by_start(&row.probe, window);
        for check in &row.checks {
            if check.tolerance.control().is_some() {
                results.extend(compared.next().map(|compared| against_control(row, check, when, compared)));
                continue;
            }
            let baseline = match when {
                When::Before => measure(check.metric, &samples, recorder.length(window)),
                When::During | When::After => baselines.get(&row.probe, check.metric),
            };
            let judged = match (check.burn, row.lasting) {
                (Some(burn), _) => {
                    let mut history =
                        recorder.window_by_start(&row.probe, &(window.start.saturating_sub(burn.long)..window.end));
                    let began = recorder.watched_since(&row.probe);
                    let fewest = needed(check.metric, row.min_samples);
                    burn::judge((check, &burn), &mut history, window, began, fewest)
                }
                (None, Some(lasting)) => {
                    Lasting { check, lasting, window, when, baseline, min_samples: row.min_samples }.judge(&mut samples)
                }
                (None, None) => judge_check(check, &samples, recorder.length(window), baseline, row.min_samples),
            };
            results.push(RowResult {
                probe: row.probe.clone(),
                metric: check.metric,
                tolerance: written(row, check),
                when,
                measured: judged.measured,
                shown: judged.shown,
                baseline,
                samples: judged.samples,
                outcome: judged.outcome,
                limits: check.tolerance.limits(check.metric, baseline),
                control: None,
            });
        }
    }
    results
}

/// The tolerance as it was written, with what stands beside it in the row.
fn written(row: &SteadyRow, check: &Check) -> String {
    match (check.burn, row.lasting) {
        (Some(burn), _) => format!("{} {}", check.tolerance, burn.shown()),
        (None, Some(lasting)) => format!("{} for {}", check.tolerance, Span::from(lasting)),
        (None, None) => check.tolerance.to_string(),
    }
}

/// Every comparison with the control group, in the order of rows and checks, corrected for their number.
fn compare_all(rows: &[SteadyRow], when: When, recorder: &Recorder, window: &Range<Duration>) -> Vec<Compared> {
    let mut all = Vec::new();
    for row in rows.iter().filter(|row| when == When::During && row.when.contains(&when)) {
        if row.checks.iter().any(|check| check.tolerance.control().is_some()) {
            let (hit, spared) = groups::over(&recorder.groups(&row.probe), window);
            let compare = |check| control::compare(check, &hit, &spared, row.min_samples);
            all.extend(row.checks.iter().filter_map(compare));
        }
    }
    control::correct(&mut all);
    all
}

fn against_control(row: &SteadyRow, check: &Check, when: When, compared: Compared) -> RowResult {
    // Other parts of such a tolerance are about those hit as well.
    let hit = compared.record.hit;
    let judged = hit.map_or(Judgement::NoControl, |hit| {
        check.tolerance.judge_against(check.metric, hit, None, compared.judgement())
    });
    RowResult {
        probe: row.probe.clone(),
        metric: check.metric,
        tolerance: check.tolerance.to_string(),
        when,
        measured: hit,
        shown: compared.shown(check.metric),
        baseline: None,
        samples: compared.samples(),
        outcome: outcome(judged),
        limits: check.tolerance.limits(check.metric, None),
        control: Some(compared.record),
    }
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
        // It is more than these samples: see `judge_rows`.
        MetricKind::Multiple => inconclusive(None, "a burn rate has windows of its own".to_owned(), samples.len()),
    }
}

/// The number of samples from which on a metric says something.
fn needed(metric: Metric, min_samples: Option<usize>) -> usize {
    match metric.kind() {
        MetricKind::Rate => min_samples.unwrap_or(0),
        MetricKind::Ratio | MetricKind::Time | MetricKind::Multiple => min_samples.unwrap_or(MIN_SAMPLES).max(1),
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
    let count = samples.iter().filter(|sample| check.metric.counts(sample.status)).count();
    if count < needed {
        let shown = format!("{shown} of {count} samples, too few: {needed} are needed");
        return inconclusive(Some(value), shown, count);
    }
    match check.tolerance.judge_number(check.metric, value, baseline) {
        Judgement::NoBaseline => inconclusive(Some(value), format!("{shown}, without a baseline"), count),
        judgement => Judged { measured: Some(value), shown, samples: count, outcome: outcome(judgement) },
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
        Judgement::NoBaseline | Judgement::NoControl => Outcome::Inconclusive,
    }
}

fn inconclusive(measured: Option<f64>, shown: String, samples: usize) -> Judged {
    Judged { measured, shown, samples, outcome: Outcome::Inconclusive }
}

fn length(window: &Range<Duration>) -> Duration {
    window.end.saturating_sub(window.start)
}
