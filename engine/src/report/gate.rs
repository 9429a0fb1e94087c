//! A gate as one page: the heaviest word on top, a line for each file with a link to its run's page, then what was not
//! held in full.
//!
//! Neighbours: `case` is what there is to show, `page` the look; `markdown` and `junit` show the same to CI systems.
//! Invariant: every file of the gate is on the page, also one that came to no run.

use super::{
    ReportError,
    case::{self, Case, Ending},
    moment,
    page::{self, Block, Cell, Headline, Page, Table, Tone},
    table,
};
use crate::{experiment::When, record::Outcome, verdict::Verdict};
use std::{
    path::{Component, Path, PathBuf},
    time::Duration,
};

/// The gate as a page that lies in this directory.
///
/// # Errors
/// Only by a bug in a template.
pub fn render(cases: &[Case], directory: &Path) -> Result<String, ReportError> {
    let held = cases.iter().filter(|case| case.is_held()).count();
    let took: Duration = cases.iter().filter_map(Case::took).sum();
    let runs = cases.iter().filter_map(Case::record);
    let faults: usize = runs.clone().filter_map(|run| run.end.as_ref()).map(|end| end.faults.len()).sum();
    let mut page = Page::new(subject(cases), headline(cases))
        .place(place(cases))
        .tile(format!("{held} of {}", cases.len()), "experiments held", others(cases))
        .tile(faults.to_string(), "faults injected", "in all runs together")
        .tile(moment(took), "duration", "of all runs together");
    for case in cases.iter().filter(|case| !case.is_held()) {
        page = page.reason(&format!("{}: {}", case.name(), case.reason()));
    }
    page = page.section("Experiments", vec![overview(cases, directory).into()]);
    for case in cases.iter().filter(|case| !case.is_held()) {
        page = page.section(case.name(), details(case));
    }
    page.render()
}

fn subject(cases: &[Case]) -> String {
    match cases.len() {
        1 => "A gate of one experiment".to_owned(),
        many => format!("A gate of {many} experiments"),
    }
}

/// The gate's word is that of its heaviest case.
fn headline(cases: &[Case]) -> Headline {
    let worst = case::worst(cases);
    if worst == 0 && cases.iter().all(Case::is_held) {
        return Headline::new("passed", "every hypothesis stood", Tone::Good).exit_code(0);
    }
    let heaviest = cases.iter().find(|case| case.exit_code() == Some(worst));
    let meaning = heaviest.map_or_else(String::new, |case| {
        format!("what weighs most is {}: {}", case.name(), case.word().replace('_', " "))
    });
    Headline::new("failed", meaning, Tone::Bad).exit_code(worst)
}

fn others(cases: &[Case]) -> String {
    let mut words: Vec<(&str, usize)> = vec![];
    for case in cases.iter().filter(|case| !case.is_held()) {
        match words.iter_mut().find(|(word, _)| *word == case.word()) {
            Some((_, count)) => *count += 1,
            None => words.push((case.word(), 1)),
        }
    }
    let words: Vec<String> = words.iter().map(|(word, count)| format!("{count} {}", word.replace('_', " "))).collect();
    if words.is_empty() { "none did not".to_owned() } else { words.join(", ") }
}

fn place(cases: &[Case]) -> String {
    let first = cases.iter().find_map(Case::record);
    let place = first.map(|run| format!("{} · {}", run.start.environment, page::date(&run.start.started_at)));
    place.unwrap_or_default()
}

fn tone(case: &Case) -> Tone {
    match (&case.ending, case.verdict()) {
        _ if case.is_held() => Tone::Good,
        (Ending::Ran { .. }, Some(Verdict::Held)) | (Ending::Prevented { .. }, _) => Tone::Bad,
        (_, Some(verdict)) => verdict.into(),
        _ => Tone::Unsure,
    }
}

fn overview(cases: &[Case], directory: &Path) -> Table {
    let heads = ["Experiment", "Verdict", "Why", "Duration", "Checks", "Exit code"];
    let table = Table::new("Every file of the gate, in the order in which they were run.", &heads);
    cases.iter().fold(table, |table, case| {
        let name = Cell::new(case.name()).note(case.file.clone());
        let name = match &case.ending {
            Ending::Ran { report: Some(report), .. } => name.link(&relative(directory, Path::new(report))),
            _ => name,
        };
        table.row(vec![
            name,
            Cell::new(case.word().replace('_', " ")).tone(tone(case)),
            Cell::new(if case.is_held() { "the hypothesis stood".to_owned() } else { case.reason() }),
            Cell::new(case.took().map_or_else(|| "–".to_owned(), moment)),
            Cell::new(checks(case)),
            Cell::new(case.exit_code().map_or_else(|| "–".to_owned(), |code| code.to_string())),
        ])
    })
}

fn checks(case: &Case) -> String {
    let rows = case.record().and_then(|run| run.end.as_ref()).map_or(&[][..], |end| &end.rows);
    if rows.is_empty() {
        return "–".to_owned();
    }
    format!("{} of {} held", rows.iter().filter(|row| row.outcome == Outcome::Held).count(), rows.len())
}

/// What was not held, or what stood in its way.
fn details(case: &Case) -> Vec<Block> {
    match &case.ending {
        Ending::Ran { record, regressions, .. } => {
            let end = record.end.as_ref();
            let mut blocks = vec![Block::text(&record.start.hypothesis)];
            let reasons = end.map_or(&[][..], |end| &end.reasons).iter().chain(regressions);
            blocks.push(Block::list(reasons));
            let rows = end.map_or(&[][..], |end| &end.rows).iter().filter(|row| row.outcome != Outcome::Held);
            let rows_left = rows.clone().next().is_some();
            let heads = ["Probe", "Promise", "When", "Measured", "Samples"];
            let table = rows.fold(Table::new("The checks that did not hold.", &heads), |table, row| {
                let tone = if row.outcome == Outcome::Broken { Tone::Bad } else { Tone::Unsure };
                table.row(vec![
                    Cell::new(row.probe.clone()),
                    Cell::new(format!("{} {}", row.metric.word().replace('_', " "), row.tolerance)).code(),
                    Cell::new(when(row.when)),
                    Cell::new(row.shown.clone()).tone(tone).note(table::word(row.outcome)),
                    Cell::new(row.samples.to_string()),
                ])
            });
            if rows_left {
                blocks.push(table.into());
            }
            blocks
        }
        Ending::Prevented { message, mistakes, .. } if mistakes.is_empty() => {
            vec![Block::listing(case.file.clone(), message)]
        }
        Ending::Prevented { mistakes, .. } => {
            let told: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
            vec![Block::listing(case.file.clone(), &told.join("\n"))]
        }
        Ending::NotRun => vec![Block::text(case.reason())],
    }
}

const fn when(when: When) -> &'static str {
    match when {
        When::Before => "before",
        When::During => "during",
        When::After => "after",
    }
}

/// The way from a directory to a file, so that both can be moved together.
fn relative(directory: &Path, file: &Path) -> String {
    // An empty path is this directory, as in a file's name alone.
    let here = |path: &Path| if path.as_os_str().is_empty() { PathBuf::from(".") } else { path.to_owned() };
    let absolute = |path: &Path| std::path::absolute(here(path)).unwrap_or_else(|_| path.to_owned());
    let (directory, file) = (absolute(directory), absolute(file));
    let common = directory.components().zip(file.components()).take_while(|(one, other)| one == other).count();
    let up = directory.components().skip(common).map(|_| Component::ParentDir);
    let way: PathBuf = up.chain(file.components().skip(common)).collect();
    way.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::relative;
    use std::path::Path;

    #[test]
    fn a_link_leads_from_the_page_to_the_report_wherever_both_lie() {
        let way = |directory: &str, file: &str| relative(Path::new(directory), Path::new(file));
        assert_eq!(way("runs", "runs/a.html"), "a.html");
        assert_eq!(way("out/pages", "runs/a.html"), "../../runs/a.html");
        assert_eq!(way("", "runs/a.html"), "runs/a.html");
        assert_eq!(way("/x", "/y/a.html"), "../y/a.html");
    }
}
