//! A run as one page: a file that needs no network, reads well on a phone, in the dark and on paper.
//!
//! This fills in `page/page.html`; `page/style.css` is the whole look, `page/hover.js` shows values under the pointer.
//! Neighbours: `table`, `story` and `chart` say what there is to show.
//! Invariant: every text of the run reaches the page through the template, which escapes it.

use super::{
    ReportError,
    chart::{self, Frame, SeriesCharts},
    hits, length, moment,
    shell::{self, HOVER, STYLE, Tile},
    story::{self, Sort},
    table,
};
use crate::{
    record::{FaultRecord, Outcome, RowResult, RunEnd, RunRecord, RunStart},
    verdict::Verdict,
};
use serde::Serialize;

/// Events listed one by one, at most: a run with more is listed whole in its JSON.
const MOST_EVENTS: usize = 1_000;

/// The run as a page.
///
/// # Errors
/// Only by a bug in the page's template.
pub fn render(record: &RunRecord) -> Result<String, ReportError> {
    shell::render("page.html", page(record))
}

/// Everything that the template shows.
#[derive(Serialize)]
struct Page<'a> {
    style: &'static str,
    hover: &'static str,
    run: &'a RunStart,
    started: String,
    took: Option<String>,
    headline: Headline,
    reasons: Vec<Vec<Part<'a>>>,
    tiles: Vec<Tile>,
    promises: Vec<Promise<'a>>,
    frame: Frame,
    series: Vec<SeriesCharts>,
    faults: Vec<FaultLine<'a>>,
    aborts: &'a [crate::record::AbortRecord],
    timeline: Vec<Moment>,
    left_out: usize,
    source_lines: Vec<&'a str>,
    recovery: [String; 2],
}

#[derive(Serialize)]
struct Headline {
    word: String,
    meaning: &'static str,
    sign: &'static str,
    tone: &'static str,
    exit_code: Option<u8>,
}

/// A piece of a sentence: what stands between backticks is code.
#[derive(Serialize)]
struct Part<'a> {
    text: &'a str,
    code: bool,
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

fn page(record: &RunRecord) -> Page<'_> {
    let (start, end) = (&record.start, record.end.as_ref());
    Page {
        style: STYLE,
        hover: HOVER,
        run: start,
        started: start
            .started_at
            .parse::<jiff::Timestamp>()
            .map_or_else(|_| start.started_at.clone(), |at| at.strftime("%-d %B %Y, %H:%M:%S UTC").to_string()),
        took: end.map(|end| moment(end.took)),
        headline: headline(end),
        reasons: end.map_or(&[][..], |end| &end.reasons).iter().map(|reason| parts(reason)).collect(),
        tiles: end.map(|end| tiles(record, end)).unwrap_or_default(),
        promises: table::lines(end.map_or(&[], |end| &end.rows)).iter().map(promise).collect(),
        frame: chart::frame(record),
        series: chart::charts(record),
        faults: end.map_or(&[][..], |end| &end.faults).iter().map(fault_line).collect(),
        aborts: end.map_or(&[], |end| &end.aborts),
        timeline: record.events.iter().take(MOST_EVENTS).map(timeline_moment).collect(),
        left_out: record.events.len().saturating_sub(MOST_EVENTS),
        source_lines: start.source.text.lines().collect(),
        recovery: [start.recovery_within, start.recovery_hold].map(length),
    }
}

fn parts(sentence: &str) -> Vec<Part<'_>> {
    sentence.split('`').enumerate().map(|(number, text)| Part { text, code: number % 2 == 1 }).collect()
}

fn headline(end: Option<&RunEnd>) -> Headline {
    let Some(end) = end else {
        return Headline {
            word: "No verdict".to_owned(),
            meaning: "it is still running, or it died: squall recover heals what a dead run may have left",
            sign: "…",
            tone: "unsure",
            exit_code: None,
        };
    };
    let (sign, tone) = match end.verdict {
        Verdict::Held => ("✓", "good"),
        Verdict::Deviated | Verdict::NotRecovered | Verdict::NotHealed | Verdict::Aborted => ("✕", "bad"),
        Verdict::Error => ("!", "bad"),
        Verdict::Interrupted | Verdict::NotSteady | Verdict::Inconclusive => ("?", "unsure"),
    };
    let word = end.verdict.word().replace('_', " ");
    let word = word[..1].to_uppercase() + &word[1..];
    Headline { word, meaning: end.verdict.meaning(), sign, tone, exit_code: Some(end.exit_code) }
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
            label: "checks held",
            note: format!("{broken} broken, {inconclusive} inconclusive"),
        },
        Tile {
            figure: end.faults.len().to_string(),
            label: "faults injected",
            note: format!("{gone} confirmed gone; {hit} hits"),
        },
        Tile { figure: thousands(samples), label: "samples", note: format!("in {} series", record.series.len()) },
        Tile { figure: moment(end.took), label: "duration", note: format!("in {}", record.start.environment) },
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
