//! Experiments against switched-off patterns, as a grid, as a page and as Markdown for the docs. Pure.
//!
//! Neighbours: `search::ablation` is the table, `grid` draws it.
//! Invariant: what was not run is shown as not run.

use super::{
    ReportError,
    grid::{self, Grid, Row, Slot},
    markdown,
    page::{Headline, Page, Tone},
};
use crate::search::{
    ablation::{Ablation, Subject},
    cell::{CellEnd, Sense},
};

/// Where the table begins in a Markdown file that has other text as well.
pub const BEGIN: &str = "<!-- squall matrix: begin -->";
/// Where it ends.
pub const END: &str = "<!-- squall matrix: end -->";

/// The grid: a row for each experiment, a column for each pattern; a row for each experiment and own pattern when only
/// those were asked for. An experiment's own pattern is marked.
#[must_use]
pub fn grid(table: &Ablation) -> Grid {
    let corner = "experiment".to_owned();
    if table.own_only {
        let columns = vec!["everything on".to_owned(), "without it".to_owned()];
        let rows = table.subjects.iter().flat_map(|subject| own_rows(table, subject)).collect();
        return Grid { corner, columns, rows };
    }
    let columns = std::iter::once("everything on".to_owned()).chain(table.patterns.iter().cloned()).collect();
    let rows = table.subjects.iter().map(|subject| {
        let whole = slot(table.cell(subject, None), false);
        let lacking = table
            .patterns
            .iter()
            .map(|pattern| slot(table.cell(subject, Some(pattern)), subject.own.contains(pattern)));
        Row { name: subject.name.clone(), note: String::new(), slots: std::iter::once(whole).chain(lacking).collect() }
    });
    Grid { corner, columns, rows: rows.collect() }
}

fn own_rows(table: &Ablation, subject: &Subject) -> Vec<Row> {
    let whole = slot(table.cell(subject, None), false);
    let name = subject.name.clone();
    let own: Vec<_> = subject.own.iter().filter(|pattern| table.patterns.contains(pattern)).collect();
    if own.is_empty() {
        let slots = vec![whole, Slot::empty("not asked")];
        return vec![Row { name, note: "no pattern of its own".to_owned(), slots }];
    }
    own.into_iter()
        .map(|pattern| Row {
            name: name.clone(),
            note: pattern.clone(),
            slots: vec![whole.clone(), slot(table.cell(subject, Some(pattern)), true)],
        })
        .collect()
}

fn slot(end: Option<&CellEnd>, own: bool) -> Slot {
    end.map_or_else(|| Slot { marked: own, ..Slot::empty("not run") }, |end| Slot::of(end, own))
}

/// The page.
///
/// # Errors
/// Only by a bug in the page's template.
pub fn html(table: &Ablation) -> Result<String, ReportError> {
    let complaints = table.complaints();
    let count = |sense: Sense| table.cells.iter().filter(|cell| cell.end.sense() == sense).count().to_string();
    let proven = table.subjects.iter().filter(|subject| is_proven(table, subject)).count();
    let word = format!("{proven} of {} prove their pattern", table.subjects.len());
    let meaning = "each must hold with everything on, and fall when its own pattern is switched off";
    let tone = if complaints.is_empty() { Tone::Good } else { Tone::Bad };
    let mut page = Page::new("Experiments without each pattern", Headline::new(&word, meaning, tone))
        .place("sandbox")
        .lead(
            "The question",
            "Does each experiment notice when the pattern that it is about is missing? One that no missing pattern can \
             fail is not a test.",
        )
        .tile(table.cells.len().to_string(), "runs", format!("of {}", table.keys().len()))
        .tile(count(Sense::Held), "held", "")
        .tile(count(Sense::Broke), "fell", "deviated, aborted or not recovered")
        .tile(count(Sense::Unknown), "taught nothing", "not steady, inconclusive or failed");
    for complaint in &complaints {
        page = page.reason(complaint);
    }
    let caption = "A column for each pattern that is switched off; behind each word is the run's own page.";
    page = page.section("Experiment × pattern", vec![grid(table).heat(caption).into()]);
    if let Some(reasons) = grid::reasons(table.cells.iter().map(|cell| (cell.key.to_string(), &cell.end))) {
        page = page.section("What did not hold, and why", vec![reasons.into()]);
    }
    page.render()
}

fn is_proven(table: &Ablation, subject: &Subject) -> bool {
    let sense = |without: Option<&str>| table.cell(subject, without).map(CellEnd::sense);
    let falls = subject.own.iter().all(|pattern| sense(Some(pattern)) == Some(Sense::Broke));
    sense(None) == Some(Sense::Held) && !subject.own.is_empty() && falls
}

/// The table as Markdown, with what each experiment showed of its own pattern, and the patterns that none notices.
#[must_use]
pub fn markdown(table: &Ablation) -> String {
    let mut page = String::from("✓ held · ✕ fell · ? nothing was learnt · **bold**: the pattern that it is about\n\n");
    page.push_str(&grid(table).markdown());
    page.push_str("\n| experiment | is about | and falls without it, because |\n| --- | --- | --- |\n");
    for subject in &table.subjects {
        for pattern in &subject.own {
            let why = match table.cell(subject, Some(pattern)) {
                None => "not run".to_owned(),
                Some(end) if end.sense() == Sense::Held => "it holds all the same".to_owned(),
                Some(end) => format!("{}: {}", end.word(), end.reason),
            };
            let (name, pattern) = (markdown::text(&subject.name), markdown::text(pattern));
            page.push_str(&format!("| {name} | {pattern} | {} |\n", markdown::text(&why)));
        }
    }
    let unnoticed = table.unnoticed();
    if !table.own_only && !unnoticed.is_empty() {
        page.push_str(&format!("\nNo experiment here falls without: {}.\n", unnoticed.join(", ")));
    }
    let days =
        table.cells.iter().filter_map(|cell| cell.end.started_at.as_deref()).map(|at| at.get(..10).unwrap_or(at));
    let (first, last) = (days.clone().min().unwrap_or("never"), days.max().unwrap_or("never"));
    let when = if first == last { first.to_owned() } else { format!("{first} to {last}") };
    page.push_str(&format!("\n{} runs, measured {when} with squall {}.\n", table.cells.len(), table.version));
    page
}

/// A file with the table in it: between its marks where it has them, else nothing but the table.
#[must_use]
pub fn into_file(before: Option<&str>, table: &str) -> String {
    let part = format!("{BEGIN}\n{table}{END}");
    let marks = before.and_then(|text| {
        let begin = text.find(BEGIN)?;
        let end = begin + text[begin..].find(END)? + END.len();
        Some(format!("{}{part}{}", &text[..begin], &text[end..]))
    });
    marks.unwrap_or_else(|| format!("{part}\n"))
}

#[cfg(test)]
mod tests {
    use super::{html, into_file, markdown};
    use crate::{
        search::{
            ablation::{Ablation, Subject},
            cell::ended,
        },
        verdict::Verdict,
    };

    fn table(own_only: bool) -> Ablation {
        let patterns: Vec<String> = ["retry", "bulkhead", "degradation"].map(str::to_owned).into();
        let subject = |name: &str, tag: &str| {
            Subject::new(&format!("{name}.yaml"), name, name, &[tag.to_owned(), "ci".to_owned()], &patterns)
        };
        let subjects = vec![subject("flap", "retry"), subject("slow", "bulkhead")];
        let mut table = Ablation::new("0.0.0", subjects, patterns, own_only);
        for key in table.keys().into_iter().skip(1) {
            let verdict = match (key.experiment.as_str(), key.without.as_deref()) {
                ("flap", Some("retry")) => Verdict::Deviated,
                ("slow", Some("retry")) => Verdict::NotSteady,
                _ => Verdict::Held,
            };
            table.put(key, ended(verdict));
        }
        table
    }

    #[test]
    fn the_whole_table_and_the_one_of_own_patterns_as_markdown() {
        insta::assert_snapshot!(markdown(&table(false)));
        insta::assert_snapshot!(markdown(&table(true)));
    }

    #[test]
    fn the_page_shows_every_run_by_sign_and_word() {
        let page = html(&table(false)).unwrap();
        for part in ["✕</b> <span>deviated", "?</b> <span>not steady", "✓</b> <span>held", "not run", "<small>its own"]
        {
            assert!(page.contains(part), "{part}");
        }
        assert!(page.contains("flap.yaml: was not run with everything on"), "{page}");
    }

    #[test]
    fn text_around_the_marks_of_a_file_stays() {
        let once = into_file(
            Some("# Patterns\n<!-- squall matrix: begin -->\nold\n<!-- squall matrix: end -->\nwhy\n"),
            "new\n",
        );
        assert_eq!(once, "# Patterns\n<!-- squall matrix: begin -->\nnew\n<!-- squall matrix: end -->\nwhy\n");
        assert_eq!(into_file(Some(&once), "new\n"), once);
        assert_eq!(into_file(None, "new\n"), "<!-- squall matrix: begin -->\nnew\n<!-- squall matrix: end -->\n");
    }
}
