//! The verdict as plain text: what was found, why, and every promise beside what was measured.
//!
//! No colour codes: the command that prints it colours the marks `✓`, `✕` and `?`.
//! Neighbour: `table`.

use super::{hits, moment, table};
use crate::{
    event::{What, in_words},
    record::{FaultRecord, RowResult, RunEnd, RunRecord, RunStart},
};

/// A whole run.
#[must_use]
pub fn summary(record: &RunRecord) -> String {
    match &record.end {
        Some(end) => {
            let mut text = conclusion(&record.start, end);
            let ramps =
                record.events.iter().map(|event| &event.what).filter(|what| matches!(what, What::Ramped { .. }));
            // Most verdicts tell it among their reasons.
            let is_new = |told: &String| !end.reasons.iter().any(|reason| reason.contains(told.as_str()));
            for told in ramps.filter_map(in_words).filter(is_new) {
                line(&mut text, &format!("  {told}"));
            }
            text
        }
        None => format!(
            "NO VERDICT  {}\n  it is still running, or it died: `squall recover` heals what a dead run may have left\n\n  \
             started {} on {} (process {}) · run {}\n",
            record.start.experiment, record.start.started_at, record.start.host, record.start.pid, record.start.id
        ),
    }
}

/// How a run ended.
#[must_use]
pub fn conclusion(start: &RunStart, end: &RunEnd) -> String {
    let mut text = format!(
        "{}  {}  (exit code {})\n  {}\n",
        end.verdict.word().to_uppercase().replace('_', " "),
        start.experiment,
        end.exit_code,
        end.verdict.meaning()
    );
    if !end.reasons.is_empty() {
        text.push('\n');
    }
    for reason in &end.reasons {
        line(&mut text, &format!("  - {reason}"));
    }
    steady_state(&mut text, &end.rows);
    faults(&mut text, &end.faults);
    text.push('\n');
    line(&mut text, &format!("  took {} · {} · run {}", moment(end.took), start.environment, start.id));
    text
}

fn steady_state(text: &mut String, rows: &[RowResult]) {
    let lines = table::lines(rows);
    if lines.is_empty() {
        return;
    }
    let head = ["probe", "metric", "tolerance", "before", "during", "after"].map(str::to_owned);
    let body = lines.iter().map(|line| {
        let [before, during, after] = line.cells.map(cell);
        [line.probe.to_owned(), line.metric.word().to_owned(), line.tolerance.to_owned(), before, during, after]
    });
    text.push('\n');
    align(text, std::iter::once(head).chain(body).collect());
}

fn cell(row: Option<&RowResult>) -> String {
    row.map_or_else(|| "–".to_owned(), |row| format!("{} {}", table::mark(row.outcome), row.shown))
}

fn faults(text: &mut String, faults: &[FaultRecord]) {
    if faults.is_empty() {
        return;
    }
    let head = ["fault", "from", "to", "hits", "as asked for"].map(str::to_owned);
    let body = faults.iter().map(|fault| {
        let to = fault.to.map_or_else(|| "NOT CONFIRMED GONE".to_owned(), moment);
        let name = format!("{}/{} {}", fault.agent, fault.proxy, fault.name);
        [name, moment(fault.from), to, hits(fault.hits), fault.shown.clone()]
    });
    text.push('\n');
    align(text, std::iter::once(head).chain(body).collect());
}

/// Writes the cells so that columns line up, two spaces apart, and no line ends in spaces.
fn align<const COLUMNS: usize>(text: &mut String, rows: Vec<[String; COLUMNS]>) {
    let mut widths = [0; COLUMNS];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    for row in rows {
        let mut padded = String::from("  ");
        for (cell, width) in row.iter().zip(widths) {
            padded.push_str(&format!("{cell:width$}  "));
        }
        line(text, padded.trim_end());
    }
}

/// Writes a line. Control characters in an answer could tear the table, or repaint the terminal.
fn line(text: &mut String, line: &str) {
    text.extend(line.chars().map(|letter| if letter.is_control() { ' ' } else { letter }));
    text.push('\n');
}
