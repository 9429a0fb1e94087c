//! Two runs over each other: what each metric was in each window, and whether the change is more than noise. Pure.
//!
//! How noisy a metric is, is seen in the runs themselves: each window is cut into moments of a second (less where it is short),
//! and the metric's scatter over them gives the error of its mean. A change counts when it is more than three of these errors, and large enough that
//! somebody would care. For ratios the error follows from the counts.
//!
//! Neighbours: `stats` measures a window, `report::compare` draws it, `regression` is the gate's simpler question.
//! Invariant: with too little to tell noise by, nothing is called better or worse.

use crate::{
    event::{Phase, What},
    experiment::When,
    record::{RunRecord, SeriesRecord},
    recorder::TRAFFIC,
    sample::{Metric, MetricKind, Sample},
    stats::measure,
};
use serde::Serialize;
use std::{borrow::Cow, ops::Range, time::Duration};

/// A point of scatter: a second of samples, or an eighth of a short window, but never less than this.
const SECOND: Duration = Duration::from_secs(1);
const SHORTEST: Duration = Duration::from_millis(200);
/// Fewer points than this say nothing about noise.
const FEWEST: usize = 4;
/// So many standard errors are more than noise.
const ERRORS: f64 = 3.0;
/// A change below this share of what it was is not worth a word.
const NOTICEABLE: f64 = 0.05;
/// Nor is one of a time by less, in seconds.
const NOTICEABLE_TIME: f64 = 0.001;
/// Nor is one of a ratio by less.
const NOTICEABLE_RATIO: f64 = 0.001;

/// What became of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// More than noise, and for the worse.
    Worse,
    /// More than noise, and for the better.
    Better,
    /// More than noise; which way is better cannot be said.
    Different,
    /// Within the noise, or too little to be noticed.
    Same,
    /// Measured in one of them only, or over too little time to tell.
    Unknown,
}

impl Change {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Worse => "worse",
            Self::Better => "better",
            Self::Different => "different",
            Self::Same => "same",
            Self::Unknown => "cannot tell",
        }
    }
}

/// One metric of one series in one window of both runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Line {
    /// The series.
    pub probe: String,
    /// The metric.
    pub metric: Metric,
    /// The window.
    pub when: When,
    /// In the first run, in the metric's base unit.
    pub before: Option<f64>,
    /// In the second.
    pub after: Option<f64>,
    /// How far apart they are, as a share of what it was; none where that was nothing.
    pub by: Option<f64>,
    /// What is less than this is noise, in the metric's base unit.
    pub noise: Option<f64>,
    /// What became of it.
    pub change: Change,
}

/// Two runs over each other.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// 1.
    pub format: u32,
    /// Their ids, verdicts and starts: the first and the second.
    pub runs: [RunLine; 2],
    /// What differs besides what was measured: another file, other variables.
    pub differences: Vec<String>,
    /// Every metric.
    pub lines: Vec<Line>,
}

/// One of the runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunLine {
    /// Its id.
    pub id: String,
    /// The experiment.
    pub experiment: String,
    /// Where.
    pub environment: String,
    /// When it started, RFC 3339.
    pub started_at: String,
    /// Its verdict; none: it has no end.
    pub verdict: Option<crate::verdict::Verdict>,
    /// When its first fault was set, in seconds since its start.
    pub first_fault: Option<f64>,
}

impl Comparison {
    /// Compares two runs, the earlier first.
    #[must_use]
    pub fn new(first: &RunRecord, second: &RunRecord) -> Self {
        let lines = metrics(first, second).into_iter().flat_map(|(probe, metric)| {
            let windows = [When::Before, When::During, When::After].into_iter();
            windows.filter_map(move |when| line(first, second, &probe, metric, when)).collect::<Vec<_>>()
        });
        Self {
            format: 1,
            runs: [run_line(first), run_line(second)],
            differences: differences(first, second),
            lines: lines.collect(),
        }
    }

    /// How many lines changed in this way.
    #[must_use]
    pub fn count(&self, change: Change) -> usize {
        self.lines.iter().filter(|line| line.change == change).count()
    }
}

fn run_line(record: &RunRecord) -> RunLine {
    let start = &record.start;
    RunLine {
        id: start.id.clone(),
        experiment: start.experiment.clone(),
        environment: start.environment.clone(),
        started_at: start.started_at.clone(),
        verdict: record.end.as_ref().map(|end| end.verdict),
        first_fault: first_fault(record).map(|at| at.as_secs_f64()),
    }
}

/// When the first fault was set, since the run's start.
#[must_use]
pub fn first_fault(record: &RunRecord) -> Option<Duration> {
    record.end.as_ref()?.faults.iter().map(|fault| fault.from).min()
}

/// The samples of a series; `traffic` is all of the load together.
#[must_use]
pub fn samples<'a>(record: &'a RunRecord, probe: &str) -> Cow<'a, [Sample]> {
    let is_load = |series: &&SeriesRecord| series.name.starts_with("traffic.");
    if probe == TRAFFIC {
        let loads = record.series.iter().filter(is_load);
        return Cow::Owned(loads.flat_map(|series| series.samples.iter().cloned()).collect());
    }
    let found = record.series.iter().find(|series| series.name == probe);
    Cow::Borrowed(found.map_or(&[][..], |series| &series.samples))
}

/// What is compared: what either steady state asks for, and of each load what everybody wants to know.
fn metrics(first: &RunRecord, second: &RunRecord) -> Vec<(String, Metric)> {
    let mut all: Vec<(String, Metric)> = Vec::new();
    let mut add = |probe: &str, metric: Metric| {
        if metric.kind() != MetricKind::EachText && !all.iter().any(|known| known.0 == probe && known.1 == metric) {
            all.push((probe.to_owned(), metric));
        }
    };
    for record in [first, second] {
        for series in record.series.iter().filter(|series| series.name.starts_with("traffic.")) {
            let usual = [Metric::SuccessRatio, Metric::Rate, Metric::P50, Metric::P99];
            usual.into_iter().for_each(|metric| add(&series.name, metric));
        }
        record.end.iter().flat_map(|end| &end.rows).for_each(|row| add(&row.probe, row.metric));
    }
    all.sort();
    all
}

/// The window of a run, as far as it came to it: the baseline, the time of the faults, the time after them.
fn window(record: &RunRecord, when: When) -> Option<Range<Duration>> {
    let end = record.end.as_ref()?;
    let phase = |wanted: Phase| {
        record.events.iter().find_map(|event| match &event.what {
            What::Phase { phase, .. } if *phase == wanted => Some(event.at),
            _ => None,
        })
    };
    let set = end.faults.iter().map(|fault| fault.from).min();
    let gone = end.faults.iter().filter_map(|fault| fault.to).max();
    let window = match when {
        When::Before => phase(Phase::Baseline)?..set.unwrap_or(end.took),
        When::During => set?..gone.unwrap_or(end.took),
        When::After => gone?..end.took,
    };
    (window.start < window.end).then_some(window)
}

fn line(first: &RunRecord, second: &RunRecord, probe: &str, metric: Metric, when: When) -> Option<Line> {
    let [before, after] = [first, second].map(|record| {
        let window = window(record, when)?;
        let inside: Vec<Sample> =
            samples(record, probe).iter().filter(|sample| window.contains(&sample.at)).cloned().collect();
        Window::of(metric, &inside, &window)
    });
    if before.is_none() && after.is_none() {
        return None;
    }
    let (change, noise) = match (&before, &after) {
        (Some(before), Some(after)) => judge(metric, before, after),
        _ => (Change::Unknown, None),
    };
    let [before, after] = [before, after].map(|window| window.map(|window| window.whole));
    let by = before.zip(after).and_then(|(one, other)| (one != 0.0).then(|| (other - one) / one.abs()));
    Some(Line { probe: probe.to_owned(), metric, when, before, after, by, noise, change })
}

/// A metric over a window: as a whole, and each moment of it.
struct Window {
    whole: f64,
    moments: Vec<f64>,
    samples: usize,
}

impl Window {
    fn of(metric: Metric, samples: &[Sample], window: &Range<Duration>) -> Option<Self> {
        let length = window.end.saturating_sub(window.start);
        if samples.is_empty() {
            return None;
        }
        let whole = measure(metric, samples, length)?;
        let width = (length / 8).clamp(SHORTEST, SECOND);
        let count = (length.div_duration_f64(width) + 1e-9).floor().min(36_000.0) as u32;
        let moments = (0..count).filter_map(|number| {
            let from = window.start + width * number;
            let moment = from..from + width;
            let inside: Vec<Sample> = samples.iter().filter(|sample| moment.contains(&sample.at)).cloned().collect();
            if inside.is_empty() && !matches!(metric, Metric::Rate | Metric::Goodput) {
                None
            } else {
                measure(metric, &inside, width)
            }
        });
        Some(Self { whole, moments: moments.collect(), samples: samples.len() })
    }

    /// The squared standard error of the mean over the moments.
    fn error_squared(&self) -> f64 {
        let count = self.moments.len() as f64;
        let mean = self.moments.iter().sum::<f64>() / count;
        self.moments.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0) / count
    }
}

fn judge(metric: Metric, before: &Window, after: &Window) -> (Change, Option<f64>) {
    if before.moments.len() < FEWEST || after.moments.len() < FEWEST {
        return (Change::Unknown, None);
    }
    let (error, least) = match metric.kind() {
        MetricKind::Ratio => (ratio_error(before, after), NOTICEABLE_RATIO),
        MetricKind::Time => (scatter(before, after), (before.whole * NOTICEABLE).max(NOTICEABLE_TIME)),
        _ => (scatter(before, after), before.whole.abs() * NOTICEABLE),
    };
    let noise = (ERRORS * error).max(least);
    let difference = after.whole - before.whole;
    if difference.abs() <= noise {
        return (Change::Same, Some(noise));
    }
    let larger_is_worse = match (metric, metric.kind()) {
        (Metric::SuccessRatio | Metric::Goodput, _) => Some(false),
        (Metric::ErrorRatio, _) | (_, MetricKind::Time) => Some(true),
        _ => None,
    };
    let change = match larger_is_worse {
        None => Change::Different,
        Some(worse) if worse == (difference > 0.0) => Change::Worse,
        Some(_) => Change::Better,
    };
    (change, Some(noise))
}

fn scatter(before: &Window, after: &Window) -> f64 {
    (before.error_squared() + after.error_squared()).sqrt()
}

/// Of two shares, from their counts; also from their scatter, since failures come in bursts.
fn ratio_error(before: &Window, after: &Window) -> f64 {
    let (n, m) = (before.samples as f64, after.samples as f64);
    let pooled = (before.whole * n + after.whole * m) / (n + m);
    (pooled * (1.0 - pooled) * (1.0 / n + 1.0 / m)).sqrt().max(scatter(before, after))
}

fn differences(first: &RunRecord, second: &RunRecord) -> Vec<String> {
    let (one, other) = (&first.start, &second.start);
    let mut told = Vec::new();
    let mut differ = |what: &str, before: &str, after: &str| {
        if before != after {
            told.push(format!("{what}: {before}, then {after}"));
        }
    };
    differ("experiment", &one.experiment, &other.experiment);
    differ("environment", &one.environment, &other.environment);
    differ("version of squall", &one.version, &other.version);
    differ("machine", &one.host, &other.host);
    for name in one.variables.keys().chain(other.variables.keys().filter(|name| !one.variables.contains_key(*name))) {
        let value = |run: &crate::record::RunStart| run.variables.get(name).cloned().unwrap_or_else(|| "none".into());
        differ(&format!("variable {name}"), &value(one), &value(other));
    }
    if one.source.text != other.source.text {
        told.push("the file is another".to_owned());
    }
    told
}

#[cfg(test)]
mod tests {
    use super::{Change, Window, judge};
    use crate::sample::{Metric, Sample};
    use std::time::Duration;

    /// Twenty seconds of fifty requests each, of about this many milliseconds, give or take.
    fn window(metric: Metric, millis: f64, spread: f64, failed: usize) -> Window {
        let samples: Vec<Sample> = (0..1000_u32)
            .map(|number| {
                // No two seconds alike, and the same in each run.
                let wave = (f64::from(number * 7919 % 1000) / 1000.0 - 0.5) * spread;
                let took = Duration::from_secs_f64((millis + wave * f64::from(number / 50 % 3 + 1)) / 1e3);
                let ok = (number as usize) % 1000 >= failed;
                let at = Duration::from_millis(u64::from(number) * 20);
                Sample { at, took, ok, status: None, value: None, text: None }
            })
            .collect();
        Window::of(metric, &samples, &(Duration::ZERO..Duration::from_secs(20))).unwrap()
    }

    fn change(metric: Metric, before: (f64, f64, usize), after: (f64, f64, usize)) -> Change {
        judge(metric, &window(metric, before.0, before.1, before.2), &window(metric, after.0, after.1, after.2)).0
    }

    #[test]
    fn what_is_within_the_scatter_is_the_same_and_what_is_beyond_it_is_not() {
        assert_eq!(change(Metric::P50, (100.0, 5.0, 0), (104.0, 5.0, 0)), Change::Same, "less than 5 %");
        assert_eq!(change(Metric::P50, (100.0, 5.0, 0), (120.0, 5.0, 0)), Change::Worse);
        assert_eq!(change(Metric::P50, (120.0, 5.0, 0), (100.0, 5.0, 0)), Change::Better);
        assert_eq!(change(Metric::P50, (0.2, 0.1, 0), (0.9, 0.1, 0)), Change::Same, "less than a millisecond");
    }

    #[test]
    fn the_same_difference_is_noise_where_the_scatter_is_wide() {
        let change = |spread: f64| change(Metric::P99, (200.0, spread, 0), (230.0, spread, 0));
        assert_eq!((change(1.0), change(90.0)), (Change::Worse, Change::Same));
    }

    #[test]
    fn ratios_are_judged_by_their_counts() {
        assert_eq!(change(Metric::SuccessRatio, (100.0, 5.0, 0), (100.0, 5.0, 3)), Change::Same);
        assert_eq!(change(Metric::SuccessRatio, (100.0, 5.0, 0), (100.0, 5.0, 500)), Change::Worse);
        assert_eq!(change(Metric::ErrorRatio, (100.0, 5.0, 500), (100.0, 5.0, 0)), Change::Better);
        assert_eq!(change(Metric::Rate, (100.0, 5.0, 0), (100.0, 5.0, 0)), Change::Same);
    }

    #[test]
    fn too_short_a_window_says_nothing() {
        let sample = Sample {
            at: Duration::ZERO,
            took: Duration::from_secs(9),
            ok: true,
            status: None,
            value: None,
            text: None,
        };
        let short = Window::of(Metric::P99, &[sample], &(Duration::ZERO..Duration::from_secs(2))).unwrap();
        assert_eq!(judge(Metric::P99, &window(Metric::P99, 1.0, 0.0, 0), &short).0, Change::Unknown);
    }
}
