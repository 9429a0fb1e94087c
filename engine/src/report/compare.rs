//! Two runs over each other: a table for the terminal, and a page with their charts laid over each other. Pure.
//!
//! The second run is drawn on the clock of the first, moved so that their first faults are set at the same moment.
//! Neighbours: `search::compare` is what is shown, `page` has the charts.
//! Invariant: a change is called one only where the comparison says that it is more than noise.

use super::{
    ReportError, length,
    page::{Axis, Band, Block, Cell, Curve, Headline, Limit, Page, Plot, Table, Tone, date},
};
use crate::{
    experiment::When,
    record::RunRecord,
    sample::{Metric, Sample},
    search::compare::{Change, Comparison, Line, first_fault, samples},
};
use std::time::Duration;

/// Time that one point of a curve stands for.
const STRETCH: Duration = Duration::from_secs(1);

/// The comparison in words: header first, then a line for each metric and window.
#[must_use]
pub fn table(comparison: &Comparison) -> Vec<[String; 7]> {
    let head = ["probe", "metric", "when", "before", "after", "change", ""].map(str::to_owned);
    let lines = comparison.lines.iter().map(|line| {
        let [before, after] = [line.before, line.after].map(|value| shown(line.metric, value));
        let metric = line.metric.word().to_owned();
        let when = word(line.when).to_owned();
        [
            line.probe.clone(),
            metric,
            when,
            before,
            after,
            by(line),
            format!("{} {}", sign(line.change), line.change.word()),
        ]
    });
    std::iter::once(head).chain(lines).collect()
}

fn shown(metric: Metric, value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| metric.shown(value))
}

const fn word(when: When) -> &'static str {
    match when {
        When::Before => "before",
        When::During => "during",
        When::After => "after",
    }
}

fn by(line: &Line) -> String {
    line.by.map_or_else(|| "–".to_owned(), |by| format!("{:+.1} %", by * 100.0))
}

const fn sign(change: Change) -> &'static str {
    match change {
        Change::Worse => "✕",
        Change::Better => "✓",
        Change::Different | Change::Unknown => "?",
        Change::Same => "=",
    }
}

/// The whole comparison in a sentence.
#[must_use]
pub fn sentence(comparison: &Comparison) -> String {
    let count = |change: Change| comparison.count(change);
    match (count(Change::Worse), count(Change::Better), count(Change::Different)) {
        (0, 0, 0) => "no change that is more than noise".to_owned(),
        (worse, better, different) => {
            format!("more than noise: {worse} worse, {better} better, {different} different without a better side")
        }
    }
}

/// The page.
///
/// # Errors
/// Only by a bug in the page's template.
pub fn html(comparison: &Comparison, first: &RunRecord, second: &RunRecord) -> Result<String, ReportError> {
    let (word, tone) = match (comparison.count(Change::Worse), comparison.count(Change::Better)) {
        (0, 0) => ("the same", Tone::Good),
        (0, _) => ("better", Tone::Good),
        (_, 0) => ("worse", Tone::Bad),
        (_, _) => ("mixed", Tone::Unsure),
    };
    let run = |index: usize| {
        let run = &comparison.runs[index];
        let verdict = run.verdict.map_or("no verdict", |verdict| verdict.word()).replace('_', " ");
        (verdict, format!("{}, {}", run.id.get(..8).unwrap_or(&run.id), date(&run.started_at)))
    };
    let ((one, one_note), (other, other_note)) = (run(0), run(1));
    let mut page = Page::new(subject(comparison), Headline::new(word, sentence(comparison), tone))
        .place(comparison.runs[1].environment.clone())
        .hypothesis(second.start.hypothesis.trim().to_owned())
        .tile(one, "first run", one_note)
        .tile(other, "second run", other_note)
        .tile(comparison.count(Change::Worse).to_string(), "worse", "by more than noise")
        .tile(comparison.count(Change::Better).to_string(), "better", "by more than noise");
    for difference in &comparison.differences {
        page = page.reason(difference);
    }
    page.section("Differences", vec![differences(comparison).into()])
        .section("Over each other", charts(comparison, first, second))
        .render()
}

fn subject(comparison: &Comparison) -> String {
    let [one, other] = &comparison.runs;
    if one.experiment == other.experiment {
        format!("{}: two runs", one.experiment)
    } else {
        format!("{} and {}", one.experiment, other.experiment)
    }
}

fn differences(comparison: &Comparison) -> Table {
    let caption = "A change counts when it is more than three standard errors of the metric's scatter from moment to \
                   moment, and large enough to be noticed.";
    let table = Table::new(caption, &["Probe", "Metric", "When", "First", "Second", "Change"]);
    comparison.lines.iter().fold(table, |table, line| {
        let change = Cell::new(format!("{} {}", line.change.word(), by(line)));
        let change = match line.change {
            Change::Worse => change.tone(Tone::Bad),
            Change::Better => change.tone(Tone::Good),
            Change::Different => change.tone(Tone::Unsure),
            Change::Same | Change::Unknown => change,
        };
        let noise = line.noise.map_or_else(String::new, |noise| format!("noise up to {}", line.metric.shown(noise)));
        table.row(vec![
            Cell::new(line.probe.clone()),
            Cell::new(line.metric.word().replace('_', " ")),
            Cell::new(word(line.when)),
            Cell::new(shown(line.metric, line.before)),
            Cell::new(shown(line.metric, line.after)),
            change.note(noise),
        ])
    })
}

fn charts(comparison: &Comparison, first: &RunRecord, second: &RunRecord) -> Vec<Block> {
    let mut probes: Vec<&str> = comparison.lines.iter().map(|line| line.probe.as_str()).collect();
    probes.dedup();
    let shifts = shifts(first, second);
    let plots = |probe: &str| {
        let mut metrics: Vec<Metric> =
            comparison.lines.iter().filter(|line| line.probe == probe).map(|line| line.metric).collect();
        metrics.dedup();
        metrics.into_iter().map(|metric| plot(probe, metric, (first, second), shifts)).collect::<Vec<_>>()
    };
    let mut blocks: Vec<Block> = probes.into_iter().map(|probe| Block::charts(probe, &plots(probe))).collect();
    blocks
        .push(Block::text("Times are those of the run whose first fault came later; the other is moved to match it."));
    blocks
}

/// How far each run is moved, so that their first faults are set at the same moment.
fn shifts(first: &RunRecord, second: &RunRecord) -> (Duration, Duration) {
    match (first_fault(first), first_fault(second)) {
        (Some(one), Some(other)) => (other.saturating_sub(one), one.saturating_sub(other)),
        _ => (Duration::ZERO, Duration::ZERO),
    }
}

fn plot(
    probe: &str,
    metric: Metric,
    (first, second): (&RunRecord, &RunRecord),
    (one, other): (Duration, Duration),
) -> Plot {
    let curve = |name: &str, record: &RunRecord, shift: Duration| {
        let moved: Vec<Sample> =
            samples(record, probe).iter().map(|sample| Sample { at: sample.at + shift, ..sample.clone() }).collect();
        Curve::over_time(name, metric, &moved, STRETCH)
    };
    let title = metric.word().replace('_', " ");
    let mut plot = Plot::new(title, format!("each point is {} of samples", length(STRETCH)), metric, Axis::Time)
        .curve(curve("second", second, other))
        .curve(curve("first", first, one));
    let faults = second.end.iter().flat_map(|end| &end.faults);
    for fault in faults {
        let to = fault.to.unwrap_or(fault.from);
        let (from, to) = ((fault.from + other).as_secs_f64(), (to + other).as_secs_f64());
        plot = plot.band(Band { from, to, label: format!("{} · {}", fault.kind, fault.proxy), tone: None });
    }
    let rows = second.end.iter().flat_map(|end| &end.rows);
    let mut drawn: Vec<f64> = Vec::new();
    for row in rows.filter(|row| row.probe == probe && row.metric == metric) {
        for limit in row.limits.iter().filter(|limit| !drawn.contains(limit)).copied().collect::<Vec<_>>() {
            let text = format!("{} {}", row.metric.word().replace('_', " "), row.tolerance);
            plot = plot.limit(Limit { value: limit, text, aborts: false });
            drawn.push(limit);
        }
    }
    plot
}
