//! Cases as GitHub's workflow commands, which mark the lines of the files that they are about. Pure.
//!
//! `::error file=…,line=…,title=…::…`: a mistake at its place, a broken promise at the row that made it, as far as the
//! file shows it, and everything else at the first line. Neighbour: `case`.

use super::case::{Case, Ending};
use crate::record::{Outcome, RowResult, RunRecord};

/// One command a line for every case that is not held; empty when all are.
#[must_use]
pub fn annotations(cases: &[Case]) -> Vec<String> {
    cases.iter().filter(|case| !case.is_held()).flat_map(of_case).collect()
}

fn of_case(case: &Case) -> Vec<String> {
    let title = format!("{}: {}", case.name(), case.word().replace('_', " "));
    let error = |line, column, message: &str| command("error", &case.file, line, column, &title, message);
    match &case.ending {
        Ending::NotRun => vec![command("warning", &case.file, 1, None, &title, &case.reason())],
        Ending::Prevented { mistakes, message, .. } if mistakes.is_empty() => vec![error(1, None, message)],
        Ending::Prevented { mistakes, .. } => mistakes
            .iter()
            .map(|mistake| {
                let extra = [&mistake.expected, &mistake.help];
                let [expected, help] =
                    extra.map(|text| text.as_ref().map_or(String::new(), |text| format!("; {text}")));
                let expected = expected.replacen("; ", "; expected ", 1);
                error(mistake.line, Some(mistake.column), &format!("{}{expected}{help}", mistake.message))
            })
            .collect(),
        Ending::Ran { record, .. } => {
            let broken = broken(record);
            if broken.is_empty() {
                return vec![error(1, None, &case.reason())];
            }
            broken.iter().map(|row| error(line_of(record, row), None, &sentence(row))).collect()
        }
    }
}

/// The rows that broke, each promise once, where it first did.
fn broken(record: &RunRecord) -> Vec<&RowResult> {
    let mut found: Vec<&RowResult> = vec![];
    for row in record.end.iter().flat_map(|end| &end.rows).filter(|row| row.outcome == Outcome::Broken) {
        let same = |known: &&RowResult| {
            known.probe == row.probe && known.metric == row.metric && known.tolerance == row.tolerance
        };
        if !found.iter().any(same) {
            found.push(row);
        }
    }
    found
}

fn sentence(row: &RowResult) -> String {
    let when = match row.when {
        crate::experiment::When::Before => "before",
        crate::experiment::When::During => "during",
        crate::experiment::When::After => "after",
    };
    format!("{} {} was {} {when} the faults; `{}` was promised", row.probe, row.metric, row.shown, row.tolerance)
}

/// The line, from 1, that names the probe and the metric, after `steady_state`; where that stands over several lines,
/// the one that names the probe.
fn line_of(record: &RunRecord, row: &RowResult) -> usize {
    let lines: Vec<&str> = record.start.source.text.lines().collect();
    let section = lines.iter().position(|line| line.starts_with("steady_state")).unwrap_or(0);
    let named = |line: &str, word: &str| {
        let part_of_word = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-');
        line.split(|c| !part_of_word(c)).any(|found| found == word)
    };
    let rows = || lines.iter().enumerate().skip(section).filter(|(_, line)| named(line, &row.probe));
    let metric = rows().find(|(_, line)| named(line, row.metric.word()));
    metric.or_else(|| rows().next()).map_or(section, |(line, _)| line) + 1
}

fn command(level: &str, file: &str, line: usize, column: Option<usize>, title: &str, message: &str) -> String {
    let column = column.map_or(String::new(), |column| format!(",col={column}"));
    let (file, title) = (property(file), property(title));
    format!("::{level} file={file},line={line}{column},title={title}::{}", data(message.trim_end()))
}

/// What follows the second `::`, as GitHub's runner decodes it.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
