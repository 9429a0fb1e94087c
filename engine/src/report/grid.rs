//! Many runs as a grid: rows, columns, and in each slot how a run came out; as a heat map and as a Markdown table. Pure.
//!
//! Neighbours: `search::ablation` and `search::matrix` are what is shown; `shell` is the page around it.
//! Invariant: a slot tells its verdict by a sign and a word, never by its colour alone.

use super::{
    ReportError, markdown,
    shell::{self, Call, Tone},
};
use crate::search::cell::{CellEnd, Sense};
use serde::Serialize;

/// Rows, columns, and slots where they cross.
#[derive(Debug, Clone, Serialize)]
pub struct Grid {
    /// What the rows are.
    pub corner: String,
    /// The columns' names.
    pub columns: Vec<String>,
    /// The rows, each with a slot for each column.
    pub rows: Vec<Row>,
}

/// A row.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// What else is said of it.
    pub note: String,
    /// A slot for each column.
    pub slots: Vec<Slot>,
}

/// Where a row and a column cross.
#[derive(Debug, Clone, Serialize)]
pub struct Slot {
    /// `good`, `bad`, `unsure`; `none`: there was no run.
    pub tone: &'static str,
    /// The sign of the tone.
    pub sign: &'static str,
    /// The verdict's word, or why there was no run.
    pub word: String,
    /// What is said when somebody points at it.
    pub title: String,
    /// The run's own page.
    pub href: Option<String>,
    /// Whether it is one that matters most.
    pub marked: bool,
}

impl Slot {
    /// A slot without a run, and why.
    #[must_use]
    pub fn empty(word: &str) -> Self {
        let (word, title) = (word.to_owned(), String::new());
        Self { tone: "none", sign: "·", word, title, href: None, marked: false }
    }

    /// How a run came out.
    #[must_use]
    pub fn of(end: &CellEnd, marked: bool) -> Self {
        let (tone, sign) = match end.sense() {
            Sense::Held => ("good", Tone::Good.sign()),
            Sense::Broke => ("bad", Tone::Bad.sign()),
            Sense::Unknown => ("unsure", Tone::Unsure.sign()),
        };
        let word = end.word().replace('_', " ");
        let took = end.took.map_or_else(String::new, |took| format!("{took:.1} s"));
        let tries = if end.tries > 1 { format!("tried {} times", end.tries) } else { String::new() };
        let parts = [end.reason.as_str(), &tries, &took].map(str::to_owned);
        let title = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ");
        // Pages lie side by side in one directory.
        let file = |path: &String| path.rsplit('/').next().unwrap_or(path).to_owned();
        Self { tone, sign, word, title, href: end.report.as_ref().map(file), marked }
    }

    /// As text: sign and word.
    #[must_use]
    pub fn shown(&self) -> String {
        if self.word.is_empty() { self.sign.to_owned() } else { format!("{} {}", self.sign, self.word) }
    }
}

impl Grid {
    /// The lines of a Markdown table; what matters most is bold.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut table = format!("| {} |", markdown::text(&self.corner));
        self.columns.iter().for_each(|column| table.push_str(&format!(" {} |", markdown::text(column))));
        table.push_str("\n| --- |");
        table.push_str(&" --- |".repeat(self.columns.len()));
        for row in &self.rows {
            let note = if row.note.is_empty() { String::new() } else { format!(" ({})", row.note) };
            table.push_str(&format!("\n| {} |", markdown::text(&format!("{}{note}", row.name))));
            for slot in &row.slots {
                let shown = markdown::text(&slot.shown());
                table.push_str(&if slot.marked { format!(" **{shown}** |") } else { format!(" {shown} |") });
            }
        }
        table.push('\n');
        table
    }
}

/// A grid under its title.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Section {
    pub(super) title: String,
    pub(super) caption: String,
    pub(super) grid: Grid,
}

/// Why a run did not hold.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Note {
    pub(super) name: String,
    pub(super) word: String,
    pub(super) reason: String,
    pub(super) run: Option<String>,
}

impl Note {
    /// Of a run that did not hold; none of one that did.
    pub(super) fn of(name: String, end: &CellEnd) -> Option<Self> {
        let (word, reason, run) = (end.word().replace('_', " "), end.reason.clone(), end.run.clone());
        (end.sense() != Sense::Held).then_some(Self { name, word, reason, run })
    }
}

#[derive(Serialize)]
struct Body {
    sections: Vec<Section>,
    notes: Vec<Note>,
}

/// The page of heat maps.
pub(super) fn page(call: &Call, sections: Vec<Section>, notes: Vec<Note>) -> Result<String, ReportError> {
    shell::sheet("grid.html", call, Body { sections, notes })
}
