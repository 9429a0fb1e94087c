//! Many runs as a grid: rows, columns, and in each slot how a run came out; as a heat map and as a Markdown table. Pure.
//!
//! Neighbours: `search::ablation` and `search::matrix` are what is shown; `page` has the heat map.
//! Invariant: a slot tells its verdict by a sign and a word, never by its colour alone.

use super::{
    markdown,
    page::{Cell, HeatCell, HeatMap, Table, Tone},
};
use crate::search::cell::{CellEnd, Sense};

/// Rows, columns, and slots where they cross.
#[derive(Debug, Clone)]
pub struct Grid {
    /// What the rows are.
    pub corner: String,
    /// The columns' names.
    pub columns: Vec<String>,
    /// The rows, each with a slot for each column.
    pub rows: Vec<Row>,
}

/// A row.
#[derive(Debug, Clone)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// What else is said of it.
    pub note: String,
    /// A slot for each column.
    pub slots: Vec<Slot>,
}

/// Where a row and a column cross.
#[derive(Debug, Clone)]
pub struct Slot {
    /// How the run came out; none: there was none.
    pub tone: Option<Tone>,
    /// The verdict's word, or why there was no run.
    pub word: String,
    /// What is said when somebody points at it.
    pub title: String,
    /// The run's own page, as seen from this one.
    pub href: Option<String>,
    /// Whether it is one that matters most.
    pub marked: bool,
}

impl From<Sense> for Tone {
    fn from(sense: Sense) -> Self {
        match sense {
            Sense::Held => Self::Good,
            Sense::Broke => Self::Bad,
            Sense::Unknown => Self::Unsure,
        }
    }
}

impl Slot {
    /// A slot without a run, and why.
    #[must_use]
    pub fn empty(word: &str) -> Self {
        Self { tone: None, word: word.to_owned(), title: String::new(), href: None, marked: false }
    }

    /// How a run came out.
    #[must_use]
    pub fn of(end: &CellEnd, marked: bool) -> Self {
        let took = end.took.map_or_else(String::new, |took| format!("{took:.1} s"));
        let tries = if end.tries > 1 { format!("tried {} times", end.tries) } else { String::new() };
        let parts = [end.reason.as_str(), &tries, &took].map(str::to_owned);
        let title = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ");
        // Pages lie side by side in one directory.
        let file = |path: &String| path.rsplit('/').next().unwrap_or(path).to_owned();
        let href = end.report.as_ref().map(file);
        Self { tone: Some(end.sense().into()), word: end.word().replace('_', " "), title, href, marked }
    }

    /// As text: sign and word.
    #[must_use]
    pub fn shown(&self) -> String {
        format!("{} {}", self.tone.map_or("·", Tone::sign), self.word)
    }

    fn heat(&self) -> HeatCell {
        let Some(tone) = self.tone else { return HeatCell::empty(self.word.clone()) };
        let cell = HeatCell::new(tone, &self.word).title(self.title.clone());
        let cell = if self.marked { cell.figure("its own").strength(1.0) } else { cell };
        match &self.href {
            Some(path) => cell.link(path),
            None => cell,
        }
    }
}

impl Row {
    /// Its name and what else is said of it.
    #[must_use]
    pub fn title(&self) -> String {
        if self.note.is_empty() { self.name.clone() } else { format!("{} ({})", self.name, self.note) }
    }
}

impl Grid {
    /// As a heat map, with a sentence on what it shows.
    #[must_use]
    pub fn heat(&self, caption: impl Into<String>) -> HeatMap {
        let map = HeatMap::new(caption, self.corner.clone(), self.columns.clone());
        self.rows.iter().fold(map, |map, row| map.row(row.title(), row.slots.iter().map(Slot::heat).collect()))
    }

    /// The lines of a Markdown table; what matters most is bold.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut table = format!("| {} |", markdown::text(&self.corner));
        self.columns.iter().for_each(|column| table.push_str(&format!(" {} |", markdown::text(column))));
        table.push_str("\n| --- |");
        table.push_str(&" --- |".repeat(self.columns.len()));
        for row in &self.rows {
            table.push_str(&format!("\n| {} |", markdown::text(&row.title())));
            for slot in &row.slots {
                let shown = markdown::text(&slot.shown());
                table.push_str(&if slot.marked { format!(" **{shown}** |") } else { format!(" {shown} |") });
            }
        }
        table.push('\n');
        table
    }
}

/// Why runs did not hold, as a table: what each was, its verdict, why.
pub(super) fn reasons<'a>(runs: impl Iterator<Item = (String, &'a CellEnd)>) -> Option<Table> {
    let mut rows = runs.filter(|(_, end)| end.sense() != Sense::Held).peekable();
    rows.peek()?;
    let table = Table::new("Every run that did not hold.", &["Run", "Verdict", "Why"]);
    Some(rows.fold(table, |table, (name, end)| {
        let slot = Slot::of(end, false);
        let verdict = Cell::new(slot.word.clone()).tone(end.sense().into());
        let verdict = match &slot.href {
            Some(path) => verdict.link(path),
            None => verdict,
        };
        let run = end.run.as_ref().map_or_else(String::new, |run| format!("run {run}"));
        table.row(vec![Cell::new(name), verdict, Cell::new(end.reason.clone()).note(run)])
    }))
}
