//! A run as one page: a file that needs no network, reads well on a phone, in the dark and on paper.
//!
//! This fills in `page/run.html`, within the shell that every page has.
//! Neighbours: `page` is the shell and its look; `table`, `story` and `chart` say what there is to show.
//! Invariant: every text of the run reaches the page through the template, which escapes it.

use super::{
    ReportError,
    chart::{self, Frame, SeriesCharts},
    hits, length, moment,
    page::{self, Block, Headline, Lead, Shell, Tile, Tone},
    ramp,
    story::{self, Sort},
    table,
};
use crate::record::{FaultRecord, Outcome, RowResult, RunEnd, RunRecord, RunStart};
use serde::Serialize;

/// Events listed one by one, at most: a run with more is listed whole in its JSON.
const MOST_EVENTS: usize = 1_000;

/// The run as a page.
///
/// # Errors
/// Only by a bug in the page's template.
pub fn render(record: &RunRecord) -> Result<String, ReportError> {
    page::fill("run.html", &run_page(record))
}

/// Everything that the template shows.
#[derive(Serialize)]
struct RunPage<'a> {
    #[serde(flatten)]
    shell: Shell,
    run: &'a RunStart,
    started: String,
    took: Option<String>,
    promises: Vec<Promise<'a>>,
    frame: Frame,
    series: Vec<SeriesCharts>,
    ramps: Vec<Block>,
    compared: Vec<Pair<'a>>,
    faults: Vec<FaultLine<'a>>,
    aborts: &'a [crate::record::AbortRecord],
    timeline: Vec<Moment>,
    left_out: usize,
    source_lines: Vec<&'a str>,
    recovery: [String; 2],
}

#[derive(Serialize)]
struct Promise<'a> {
    probe: &'a str,
    metric: String,
    tolerance: &'a str,
    broken: bool,
    cells: Vec<Cell<'a>>,
}

#[derive(Serialize)]
struct Cell<'a> {
    window: &'static str,
    judged: Option<Judged<'a>>,
}

#[derive(Serialize)]
struct Judged<'a> {
    shown: &'a str,
    samples: usize,
    outcome: &'static str,
    mark: &'static str,
}

/// Those that a fault hit beside those that it spared.
#[derive(Serialize)]
struct Pair<'a> {
    probe: &'a str,
    metric: String,
    tolerance: &'a str,
    outcome: &'static str,
    mark: &'static str,
    shown: &'a str,
    bars: [Bar; 2],
}

#[derive(Serialize)]
struct Bar {
    name: &'static str,
    shown: String,
    count: u64,
    /// In percent of the longer one.
    width: f64,
}

#[derive(Serialize)]
struct FaultLine<'a> {
    fault: &'a FaultRecord,
    from: String,
    to: Option<String>,
    lasted: Option<String>,
    hits: String,
    suspicious: bool,
}

#[derive(Serialize)]
struct Moment {
    at: String,
    sort: Sort,
    sign: &'static str,
    title: String,
    detail: String,
}

fn run_page(record: &RunRecord) -> RunPage<'_> {
    let (start, end) = (&record.start, record.end.as_ref());
    RunPage {
        shell: shell(record),
        run: start,
        started: page::date(&start.started_at),
        took: end.map(|end| moment(end.took)),
        promises: table::lines(end.map_or(&[], |end| &end.rows)).iter().map(promise).collect(),
        frame: chart::frame(record),
        series: chart::charts(record),
        ramps: ramp::cards(record),
        compared: end.map_or(&[][..], |end| &end.rows).iter().filter_map(pair).collect(),
        faults: end.map_or(&[][..], |end| &end.faults).iter().map(fault_line).collect(),
        aborts: end.map_or(&[], |end| &end.aborts),
        timeline: record.events.iter().take(MOST_EVENTS).map(timeline_moment).collect(),
        left_out: record.events.len().saturating_sub(MOST_EVENTS),
        source_lines: start.source.text.lines().collect(),
        recovery: [start.recovery_within, start.recovery_hold].map(length),
    }
}

fn shell(record: &RunRecord) -> Shell {
    let (start, end) = (&record.start, record.end.as_ref());
    let mut shell = Shell::new(start.experiment.clone(), headline(end));
    shell.place = format!("{} · {}", start.environment, page::date(&start.started_at));
    shell.version.clone_from(&start.version);
    shell.foot = format!("Squall {} · run {}", start.version, start.id);
    shell.lead = Some(Lead { heading: "Hypothesis", text: start.hypothesis.clone() });
    for reason in end.map_or(&[][..], |end| &end.reasons) {
        shell.reason(reason);
    }
    shell.tiles = end.map(|end| tiles(record, end)).unwrap_or_default();
    shell
}

fn headline(end: Option<&RunEnd>) -> Headline {
    let Some(end) = end else {
        let meaning = "it is still running, or it died: squall recover heals what a dead run may have left";
        return Headline { sign: "…", ..Headline::new("no verdict", meaning, Tone::Unsure) };
    };
    Headline::of(end.verdict).exit_code(end.exit_code)
}

fn tiles(record: &RunRecord, end: &RunEnd) -> Vec<Tile> {
    let count = |outcome: Outcome| end.rows.iter().filter(|row| row.outcome == outcome).count();
    let (broken, inconclusive) = (count(Outcome::Broken), count(Outcome::Inconclusive));
    let samples: usize = record.series.iter().map(|series| series.samples.len()).sum();
    let gone = end.faults.iter().filter(|fault| fault.to.is_some()).count();
    let hit: u64 = end.faults.iter().filter_map(|fault| fault.hits).sum();
    vec![
        Tile {
            figure: format!("{} of {}", count(Outcome::Held), end.rows.len()),
            label: "checks held".to_owned(),
            note: format!("{broken} broken, {inconclusive} inconclusive"),
        },
        Tile {
            figure: end.faults.len().to_string(),
            label: "faults injected".to_owned(),
            note: format!("{gone} confirmed gone; {hit} hits"),
        },
        Tile {
            figure: thousands(samples),
            label: "samples".to_owned(),
            note: format!("in {} series", record.series.len()),
        },
        Tile {
            figure: moment(end.took),
            label: "duration".to_owned(),
            note: format!("in {}", record.start.environment),
        },
    ]
}

/// Groups of three digits, apart by a thin space.
fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap_or_default()).collect();
    groups.join("\u{2009}")
}

fn promise<'a>(line: &table::Line<'a>) -> Promise<'a> {
    let cells = line.cells;
    Promise {
        probe: line.probe,
        metric: line.metric.word().replace('_', " "),
        tolerance: line.tolerance,
        broken: cells.iter().flatten().any(|row| row.outcome == Outcome::Broken),
        cells: ["before", "during", "after"]
            .into_iter()
            .zip(cells)
            .map(|(window, row)| Cell { window, judged: row.map(judged) })
            .collect(),
    }
}

fn pair(row: &RowResult) -> Option<Pair<'_>> {
    let control = row.control.as_ref()?;
    let longest = control.hit.into_iter().chain(control.spared).fold(0.0, f64::max);
    let bar = |name, value: Option<f64>, count| Bar {
        name,
        shown: value.map_or_else(|| "–".to_owned(), |value| row.metric.shown(value)),
        count,
        width: value.filter(|_| longest > 0.0).map_or(0.0, |value| (value / longest * 1000.0).round() / 10.0),
    };
    Some(Pair {
        probe: &row.probe,
        metric: row.metric.word().replace('_', " "),
        tolerance: &row.tolerance,
        outcome: table::word(row.outcome),
        mark: table::mark(row.outcome),
        shown: &row.shown,
        bars: [bar("hit", control.hit, control.hit_samples), bar("spared", control.spared, control.spared_samples)],
    })
}

fn judged(row: &RowResult) -> Judged<'_> {
    Judged {
        shown: &row.shown,
        samples: row.samples,
        outcome: table::word(row.outcome),
        mark: table::mark(row.outcome),
    }
}

fn fault_line(fault: &FaultRecord) -> FaultLine<'_> {
    FaultLine {
        fault,
        from: moment(fault.from),
        to: fault.to.map(moment),
        lasted: fault.to.map(|to| moment(to.saturating_sub(fault.from))),
        hits: hits(fault.hits),
        suspicious: fault.hits == Some(0) || fault.to.is_none(),
    }
}

fn timeline_moment(event: &crate::event::Event) -> Moment {
    let told = story::tell(event);
    Moment { at: moment(event.at), sort: told.sort, sign: told.sort.sign(), title: told.title, detail: told.detail }
}
