//! What stands under a heading of a page: text, a table, a heat map, a chart, a listing.
//!
//! Neighbour: `mod` renders them; `heat` and `plot` are kinds of block of their own.
//! Invariant: a link leads to a path and never to another scheme, whatever a file is called.

use super::{HeatMap, Part, Plot, Tone, parts, plot};
use serde::Serialize;

/// One thing under a heading.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "sort", rename_all = "lowercase")]
pub enum Block {
    /// A paragraph.
    Text {
        /// Its text.
        text: Vec<Part>,
    },
    /// Sentences, one below the other.
    List {
        /// The sentences.
        items: Vec<Vec<Part>>,
    },
    /// A table.
    Table(Table),
    /// A map of what holds.
    Heat(HeatMap),
    /// Charts on one card, under a heading.
    Charts {
        /// What they have in common.
        heading: String,
        /// The charts, ready to be drawn.
        plots: Vec<plot::Drawn>,
    },
    /// A file or an output, line by line.
    Listing {
        /// Where it is from.
        path: String,
        /// Its lines.
        lines: Vec<String>,
    },
}

impl Block {
    /// A paragraph, in which backticks mark code.
    #[must_use]
    pub fn text(text: impl AsRef<str>) -> Self {
        Self::Text { text: parts(text.as_ref()) }
    }

    /// Sentences one below the other, in which backticks mark code.
    #[must_use]
    pub fn list<T: AsRef<str>>(items: impl IntoIterator<Item = T>) -> Self {
        Self::List { items: items.into_iter().map(|item| parts(item.as_ref())).collect() }
    }

    /// Charts on one card; those without a single value are left out.
    #[must_use]
    pub fn charts(heading: impl Into<String>, plots: &[Plot]) -> Self {
        Self::Charts { heading: heading.into(), plots: plots.iter().filter_map(Plot::drawn).collect() }
    }

    /// A file or an output.
    #[must_use]
    pub fn listing(path: impl Into<String>, text: &str) -> Self {
        Self::Listing { path: path.into(), lines: text.lines().map(str::to_owned).collect() }
    }
}

impl From<Table> for Block {
    fn from(table: Table) -> Self {
        Self::Table(table)
    }
}

impl From<HeatMap> for Block {
    fn from(map: HeatMap) -> Self {
        Self::Heat(map)
    }
}

/// A table. On a small screen each row becomes a block, its cells beside the heads.
#[derive(Debug, Clone, Serialize)]
pub struct Table {
    caption: String,
    heads: Vec<String>,
    rows: Vec<Row>,
}

#[derive(Debug, Clone, Serialize)]
struct Row {
    broken: bool,
    cells: Vec<Cell>,
}

impl Table {
    /// A table with a sentence on what it shows, and the heads of its columns.
    #[must_use]
    pub fn new(caption: impl Into<String>, heads: &[&str]) -> Self {
        Self { caption: caption.into(), heads: heads.iter().map(|head| (*head).to_owned()).collect(), rows: vec![] }
    }

    /// With one more row, a cell for each head; the first cell is the row's name. A row with a bad cell stands out.
    #[must_use]
    pub fn row(mut self, cells: Vec<Cell>) -> Self {
        self.rows.push(Row { broken: cells.iter().any(|cell| cell.tone == Some(Tone::Bad)), cells });
        self
    }
}

/// A cell of a table.
#[derive(Debug, Clone, Serialize)]
pub struct Cell {
    text: Vec<Part>,
    note: String,
    tone: Option<Tone>,
    sign: &'static str,
    href: Option<String>,
    code: bool,
}

impl Cell {
    /// A cell with this text, in which backticks mark code.
    #[must_use]
    pub fn new(text: impl AsRef<str>) -> Self {
        Self { text: parts(text.as_ref()), note: String::new(), tone: None, sign: "", href: None, code: false }
    }

    /// With what is said under it, smaller.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    /// With the colour and the sign of how it turned out.
    #[must_use]
    pub const fn tone(mut self, tone: Tone) -> Self {
        self.tone = Some(tone);
        self.sign = tone.sign();
        self
    }

    /// Set as code.
    #[must_use]
    pub const fn code(mut self) -> Self {
        self.code = true;
        self
    }

    /// With a link to a file, its path as seen from the page.
    #[must_use]
    pub fn link(mut self, path: &str) -> Self {
        self.href = Some(href(path));
        self
    }
}

/// A path as a relative or absolute reference; what has a meaning of its own there is written as `%XX`.
pub(super) fn href(path: &str) -> String {
    let mut reference = String::from(if path.starts_with('/') { "" } else { "./" });
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'.' | b'_' | b'~' => reference.push(byte.into()),
            _ => reference.push_str(&format!("%{byte:02X}")),
        }
    }
    reference
}

#[cfg(test)]
mod tests {
    use super::href;

    #[test]
    fn a_link_leads_to_a_path_whatever_the_file_is_called() {
        assert_eq!(href("a b#1?.html"), "./a%20b%231%3F.html");
        assert_eq!(href("javascript:alert(1)"), "./javascript%3Aalert%281%29");
        assert_eq!(href("/tmp/é.html"), "/tmp/%C3%A9.html");
    }
}
