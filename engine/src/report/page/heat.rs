//! A map of what holds: a row and a column for each thing that was tried, a cell for how it turned out.
//!
//! It is a table, so it can be read aloud; the sign and the word say what the colour says. Neighbour: `block`.

use super::{Tone, block};
use serde::Serialize;

/// A map of what holds.
#[derive(Debug, Clone, Serialize)]
pub struct HeatMap {
    caption: String,
    corner: String,
    columns: Vec<String>,
    rows: Vec<HeatRow>,
}

#[derive(Debug, Clone, Serialize)]
struct HeatRow {
    name: String,
    cells: Vec<HeatCell>,
}

/// One place of the map.
#[derive(Debug, Clone, Serialize)]
pub struct HeatCell {
    tone: Option<Tone>,
    sign: &'static str,
    word: String,
    figure: String,
    title: String,
    /// How strong its colour is, in percent.
    depth: u8,
    href: Option<String>,
}

impl HeatMap {
    /// A map with a sentence on what it shows, what its rows are, and the names of its columns.
    #[must_use]
    pub fn new(caption: impl Into<String>, rows_are: impl Into<String>, columns: Vec<String>) -> Self {
        Self { caption: caption.into(), corner: rows_are.into(), columns, rows: vec![] }
    }

    /// With one more row, a cell for each column.
    #[must_use]
    pub fn row(mut self, name: impl Into<String>, cells: Vec<HeatCell>) -> Self {
        self.rows.push(HeatRow { name: name.into(), cells });
        self
    }
}

impl HeatCell {
    /// How it turned out, in a word: `held`, `deviated`, `aborted`.
    #[must_use]
    pub fn new(tone: Tone, word: &str) -> Self {
        let word = word.replace('_', " ");
        Self {
            tone: Some(tone),
            sign: tone.sign(),
            word,
            figure: String::new(),
            title: String::new(),
            depth: 60,
            href: None,
        }
    }

    /// A place at which nothing was tried, and why.
    #[must_use]
    pub fn empty(why: impl Into<String>) -> Self {
        Self {
            tone: None,
            sign: "–",
            word: String::new(),
            figure: String::new(),
            title: why.into(),
            depth: 0,
            href: None,
        }
    }

    /// With the figure that decided it, smaller: `p99 812 ms`.
    #[must_use]
    pub fn figure(mut self, figure: impl Into<String>) -> Self {
        self.figure = figure.into();
        self
    }

    /// With what is shown when the pointer rests on it: the reason.
    #[must_use]
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.title = title.into();
        self
    }

    /// With the strength of its colour: 0 is just so, 1 is as clear as it gets.
    #[must_use]
    pub const fn strength(mut self, strength: f64) -> Self {
        // Within 20 and 100, so it fits; what is no number becomes 20.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within 20 and 100")]
        let depth = (20.0 + strength.clamp(0.0, 1.0) * 80.0) as u8;
        self.depth = depth;
        self
    }

    /// With a link to its run's page, the path as seen from this page.
    #[must_use]
    pub fn link(mut self, path: &str) -> Self {
        self.href = Some(block::href(path));
        self
    }
}
