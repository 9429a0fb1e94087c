//! What all pages share: the template engine with every template and style in it, the head of a page, and its call: the
//! name, the word, what it means, figures at a glance.
//!
//! Neighbours: `html` is the page of a run; `grid`, and the pages of what many runs answer, fill in `page/sheet.html`.
//! Invariant: every text reaches a page through a template, which escapes it.

use super::ReportError;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, syntax::SyntaxConfig, value::Serde};
use serde::Serialize;

const TEMPLATES: [(&str, &str); 5] = [
    ("chart.html", include_str!("page/chart.html")),
    ("page.html", include_str!("page/page.html")),
    ("sheet.html", include_str!("page/sheet.html")),
    ("grid.html", include_str!("page/grid.html")),
    ("limit.html", include_str!("page/limit.html")),
];
/// The look.
pub(super) const STYLE: &str = include_str!("page/style.css");
/// What the pages of many runs need beside it.
const SHEET_STYLE: &str = include_str!("page/sheet.css");
/// Values under the pointer.
pub(super) const HOVER: &str = include_str!("page/hover.js");

/// Fills in a template.
///
/// # Errors
/// Only by a bug in the template.
pub(super) fn render(template: &str, page: impl Serialize) -> Result<String, ReportError> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    for (name, text) in TEMPLATES {
        environment.add_template(name, text)?;
    }
    Ok(environment.get_template(template)?.render(Serde(page))?)
}

/// How a page greets: whether it is good news, unsure or bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Tone {
    Good,
    Unsure,
    Bad,
}

impl Tone {
    pub(super) const fn sign(self) -> &'static str {
        match self {
            Self::Good => "✓",
            Self::Unsure => "?",
            Self::Bad => "✕",
        }
    }
}

/// A figure at a glance.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Tile {
    pub(super) figure: String,
    pub(super) label: &'static str,
    pub(super) note: String,
}

/// The top of a page about many runs.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Call {
    pub(super) name: String,
    pub(super) word: String,
    pub(super) meaning: String,
    pub(super) tone: Tone,
    pub(super) exit_code: Option<u8>,
    /// Of what the page is: its heading's left column.
    pub(super) about: &'static str,
    pub(super) text: String,
    pub(super) reasons: Vec<String>,
    pub(super) tiles: Vec<Tile>,
    pub(super) place: String,
}

/// A page about many runs: its top, and what the template of its kind shows below.
#[derive(Serialize)]
struct Sheet<'a, Body> {
    style: &'static str,
    sheet_style: &'static str,
    hover: &'static str,
    version: &'static str,
    sign: &'static str,
    call: &'a Call,
    body: Body,
}

/// Fills in the template of a kind of page, which extends `sheet.html`.
///
/// # Errors
/// Only by a bug in the template.
pub(super) fn sheet(template: &str, call: &Call, body: impl Serialize) -> Result<String, ReportError> {
    let version = env!("CARGO_PKG_VERSION");
    let (style, sheet_style, hover, sign) = (STYLE, SHEET_STYLE, HOVER, call.tone.sign());
    render(template, Sheet { style, sheet_style, hover, version, sign, call, body })
}
