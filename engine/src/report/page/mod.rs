//! The look that every page shares: a shell with the verdict on top, and what may stand under it.
//!
//! ```text
//! Page::new(subject, headline) ─ place, lead, reasons, tile ─ section(heading, [Block…]) ─▶ render ─▶ one file
//! ```
//!
//! A run's own page (`html`) fills in the same shell. `style.css` is the whole look, `hover.js` shows values under the
//! pointer and by the arrow keys; each `*.html` here is a template.
//! Neighbours: `block` is text and tables, `heat` maps, `plot` charts that are not of one run.
//! Invariant: every text reaches a page through a template, which escapes it; nothing is fetched from anywhere.

mod block;
mod heat;
mod plot;

pub use block::{Block, Cell, Table};
pub use heat::{HeatCell, HeatMap};
pub use plot::{Axis, Band, Curve, Limit, Plot, Point};

use super::ReportError;
use crate::verdict::Verdict;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, syntax::SyntaxConfig, value::Serde};
use serde::Serialize;

const TEMPLATES: [(&str, &str); 8] = [
    ("parts.html", include_str!("parts.html")),
    ("shell.html", include_str!("shell.html")),
    ("chart.html", include_str!("chart.html")),
    ("charts.html", include_str!("charts.html")),
    ("run.html", include_str!("run.html")),
    ("blocks.html", include_str!("blocks.html")),
    ("table.html", include_str!("table.html")),
    ("heat.html", include_str!("heat.html")),
];
const STYLE: &str = include_str!("style.css");
const HOVER: &str = include_str!("hover.js");

/// How a thing turned out, for its colour and its sign; no page tells it by colour alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Tone {
    /// It held.
    Good,
    /// It did not.
    Bad,
    /// It cannot be said.
    Unsure,
}

impl Tone {
    /// Its sign.
    #[must_use]
    pub const fn sign(self) -> &'static str {
        match self {
            Self::Good => "✓",
            Self::Bad => "✕",
            Self::Unsure => "?",
        }
    }
}

impl From<Verdict> for Tone {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Held => Self::Good,
            Verdict::Interrupted | Verdict::NotSteady | Verdict::Inconclusive => Self::Unsure,
            Verdict::Deviated | Verdict::NotRecovered | Verdict::NotHealed | Verdict::Aborted | Verdict::Error => {
                Self::Bad
            }
        }
    }
}

/// The word on top of a page.
#[derive(Debug, Clone, Serialize)]
pub struct Headline {
    pub(super) word: String,
    pub(super) meaning: String,
    pub(super) sign: &'static str,
    pub(super) tone: Tone,
    pub(super) exit_code: Option<u8>,
}

impl Headline {
    /// A word, and what it means in a sentence.
    #[must_use]
    pub fn new(word: &str, meaning: impl Into<String>, tone: Tone) -> Self {
        let word = capital(&word.replace('_', " "));
        Self { word, meaning: meaning.into(), sign: tone.sign(), tone, exit_code: None }
    }

    /// The verdict of a run.
    #[must_use]
    pub fn of(verdict: Verdict) -> Self {
        let sign = if verdict == Verdict::Error { "!" } else { Tone::from(verdict).sign() };
        Self { sign, ..Self::new(verdict.word(), verdict.meaning(), verdict.into()) }
    }

    /// With the exit code that goes with it.
    #[must_use]
    pub const fn exit_code(mut self, code: u8) -> Self {
        self.exit_code = Some(code);
        self
    }
}

/// What the template of every page is filled with.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Shell {
    style: &'static str,
    hover: &'static str,
    pub(super) version: String,
    pub(super) subject: String,
    pub(super) place: String,
    pub(super) foot: String,
    pub(super) headline: Headline,
    pub(super) lead: Option<Lead>,
    pub(super) reasons: Vec<Vec<Part>>,
    pub(super) tiles: Vec<Tile>,
}

/// What is said beside the verdict.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Lead {
    pub(super) heading: &'static str,
    pub(super) text: String,
}

/// A piece of a sentence: what stands between backticks is code.
#[derive(Debug, Clone, Serialize)]
pub struct Part {
    text: String,
    code: bool,
}

fn parts(sentence: &str) -> Vec<Part> {
    let parts = sentence.split('`').enumerate().filter(|(_, text)| !text.is_empty());
    parts.map(|(number, text)| Part { text: text.to_owned(), code: number % 2 == 1 }).collect()
}

/// A figure at a glance.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Tile {
    pub(super) figure: String,
    pub(super) label: String,
    pub(super) note: String,
}

impl Shell {
    pub(super) fn new(subject: String, headline: Headline) -> Self {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Self {
            style: STYLE,
            hover: HOVER,
            foot: format!("Squall {version}"),
            version,
            subject,
            place: String::new(),
            headline,
            lead: None,
            reasons: vec![],
            tiles: vec![],
        }
    }

    pub(super) fn reason(&mut self, sentence: &str) {
        self.reasons.push(parts(sentence));
    }
}

/// A page that is not of one run: a gate, a limit, a matrix, a comparison.
#[derive(Debug, Clone)]
pub struct Page {
    shell: Shell,
    sections: Vec<Section>,
}

#[derive(Debug, Clone, Serialize)]
struct Section {
    heading: String,
    blocks: Vec<Block>,
}

impl Page {
    /// A page about this subject (an experiment, a gate), with this word on top.
    #[must_use]
    pub fn new(subject: impl Into<String>, headline: Headline) -> Self {
        Self { shell: Shell::new(subject.into(), headline), sections: vec![] }
    }

    /// Where and when, at the top right: `sandbox · 21 November 2026, 08:14:07 UTC` (see [`date`]).
    #[must_use]
    pub fn place(mut self, place: impl Into<String>) -> Self {
        self.shell.place = place.into();
        self
    }

    /// What is believed, under the verdict.
    #[must_use]
    pub fn hypothesis(self, text: impl Into<String>) -> Self {
        self.lead("Hypothesis", text)
    }

    /// A paragraph under the verdict.
    #[must_use]
    pub fn lead(mut self, heading: &'static str, text: impl Into<String>) -> Self {
        self.shell.lead = Some(Lead { heading, text: text.into() });
        self
    }

    /// Why the verdict is what it is: a sentence, in which backticks mark code.
    #[must_use]
    pub fn reason(mut self, sentence: &str) -> Self {
        self.shell.reason(sentence);
        self
    }

    /// A figure at a glance; four of them fill a line.
    #[must_use]
    pub fn tile(mut self, figure: impl Into<String>, label: impl Into<String>, note: impl Into<String>) -> Self {
        self.shell.tiles.push(Tile { figure: figure.into(), label: label.into(), note: note.into() });
        self
    }

    /// What stands under a heading.
    #[must_use]
    pub fn section(mut self, heading: impl Into<String>, blocks: Vec<Block>) -> Self {
        self.sections.push(Section { heading: heading.into(), blocks });
        self
    }

    /// The page as one file.
    ///
    /// # Errors
    /// Only by a bug in a template.
    pub fn render(&self) -> Result<String, ReportError> {
        #[derive(Serialize)]
        struct Filled<'a> {
            #[serde(flatten)]
            shell: &'a Shell,
            sections: &'a [Section],
        }
        fill("blocks.html", &Filled { shell: &self.shell, sections: &self.sections })
    }
}

/// Fills in a template.
pub(super) fn fill(template: &str, with: &impl Serialize) -> Result<String, ReportError> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    for (name, source) in TEMPLATES {
        environment.add_template(name, source)?;
    }
    Ok(environment.get_template(template)?.render(Serde(with))?)
}

/// An RFC 3339 time as people read it; what is none stays as it is.
#[must_use]
pub fn date(rfc3339: &str) -> String {
    let parsed = rfc3339.parse::<jiff::Timestamp>();
    parsed.map_or_else(|_| rfc3339.to_owned(), |at| at.strftime("%-d %B %Y, %H:%M:%S UTC").to_string())
}

pub(super) fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
