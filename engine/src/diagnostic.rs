//! Mistakes in a file, all of them: each with file, line, column, the offending line underlined, what was expected
//! and the nearest known word.
//!
//! A `Reporter` collects them by place while a file is read; `Diagnostics` are what a reader of the file gets, in the
//! order of the file. Neighbours: `yaml`, `variables`, `validate` and `environment` report, commands render.
//! Invariant: no secret is in a message, and what is told is bounded.

use crate::{experiment::Secrets, yaml::Mark};
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet, renderer::DecorStyle};
use serde::Serialize;
use std::fmt;

/// More mistakes than this are not told: who made so many starts with these.
pub(crate) const MOST: usize = 100;
/// Lists of known words up to this length are shown even beside a suggestion.
const SHORT_LIST: usize = 6;
/// Lines are cropped to this width, whatever the terminal, so that a snapshot is one.
const WIDTH: usize = 140;

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// The file, as it was named.
    pub path: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// How many characters of the line are meant, at least 1.
    pub length: usize,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// What to do about it: the nearest known word, or what to write.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// Other places that have to do with it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub related: Vec<Related>,
}

/// Another place that has to do with a mistake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Related {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// How many characters of the line are meant, at least 1.
    pub length: usize,
    /// What it has to do with it.
    pub message: String,
}

/// Every mistake in a file, in the order of the file; at least one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
pub struct Diagnostics {
    /// The file, as it was named.
    pub path: String,
    /// The mistakes, by place.
    pub mistakes: Vec<Diagnostic>,
    /// How many more there are than are listed.
    pub more: usize,
}

impl Diagnostics {
    /// One mistake about a file as a whole, such as that it cannot be read.
    #[must_use]
    pub fn whole_file(path: &str, message: impl Into<String>, help: Option<String>) -> Self {
        Self::single(path, 1, 1, message.into(), help)
    }

    pub(crate) fn at(path: &str, line: usize, column: usize, message: &str, help: &str) -> Self {
        Self::single(path, line, column, message.to_owned(), Some(help.to_owned()))
    }

    fn single(path: &str, line: usize, column: usize, message: String, help: Option<String>) -> Self {
        let path = path.to_owned();
        let related = Vec::new();
        let mistake =
            Diagnostic { path: path.clone(), line, column, length: 1, message, expected: None, help, related };
        Self { path, mistakes: vec![mistake], more: 0 }
    }

    /// All of them for people: each with its line of the source underlined, then how many there are. `source` is the
    /// text that was read; with `color`, ANSI colours.
    #[must_use]
    pub fn render(&self, source: &str, color: bool) -> String {
        let source = &*crate::veil::veil(source);
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        let renderer = renderer.decor_style(DecorStyle::Ascii).term_width(WIDTH);
        let mut out = String::new();
        for mistake in &self.mistakes {
            out.push_str(&mistake.render(source, &renderer));
            out.push_str("\n\n");
        }
        out.push_str(&self.count());
        out.push('\n');
        out
    }

    /// `3 mistakes in FILE`.
    #[must_use]
    pub fn count(&self) -> String {
        match self.mistakes.len() + self.more {
            1 => format!("1 mistake in {}", self.path),
            all if self.more > 0 => format!("{all} mistakes in {}, the first {} are shown", self.path, all - self.more),
            all => format!("{all} mistakes in {}", self.path),
        }
    }
}

/// Without the source at hand: a line each, `FILE:LINE:COLUMN: message`.
impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for mistake in &self.mistakes {
            writeln!(f, "{mistake}")?;
        }
        f.write_str(&self.count())
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.path, self.line, self.column, self.message)?;
        if let Some(expected) = &self.expected {
            write!(f, "; expected {expected}")?;
        }
        if let Some(help) = &self.help {
            write!(f, "; {help}")?;
        }
        Ok(())
    }
}

impl Diagnostic {
    fn render(&self, source: &str, renderer: &Renderer) -> String {
        let mut snippet = Snippet::source(source).path(&*self.path).fold(true);
        snippet = snippet.annotation(AnnotationKind::Primary.span(range(source, self.line, self.column, self.length)));
        for other in &self.related {
            let span = range(source, other.line, other.column, other.length);
            snippet = snippet.annotation(AnnotationKind::Context.span(span).label(&*other.message));
        }
        let mut group = Group::with_title(Level::ERROR.primary_title(&*self.message)).element(snippet);
        if let Some(expected) = &self.expected {
            group = group.element(Level::NOTE.message(format!("expected {expected}")));
        }
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help.clone()));
        }
        renderer.render(&[group])
    }
}

/// The bytes of so many characters from this line and column; inside the source, whatever the numbers.
fn range(source: &str, line: usize, column: usize, length: usize) -> std::ops::Range<usize> {
    let line_start = line_starts(source).nth(line.saturating_sub(1)).unwrap_or(source.len());
    let after = |from: usize, chars: usize| {
        source[from..].char_indices().nth(chars).map_or(source.len(), |(offset, _)| from + offset)
    };
    let start = after(line_start, column.saturating_sub(1));
    start..after(start, length).max(start)
}

fn line_starts(source: &str) -> impl Iterator<Item = usize> + '_ {
    std::iter::once(0).chain(source.match_indices('\n').map(|(newline, _)| newline + 1))
}

/// Collects the mistakes of one file by place.
#[derive(Debug)]
pub(crate) struct Reporter<'t> {
    text: &'t str,
    found: Vec<Found>,
}

/// A mistake that is being told; see `Diagnostic`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    mark: Mark,
    message: String,
    expected: Option<String>,
    help: Option<String>,
    related: Vec<(Mark, String)>,
}

impl Found {
    pub(crate) fn expected(&mut self, expected: impl Into<String>) -> &mut Self {
        self.expected = Some(expected.into());
        self
    }

    pub(crate) fn help(&mut self, help: impl Into<String>) -> &mut Self {
        self.help = Some(help.into());
        self
    }

    pub(crate) fn related(&mut self, mark: Mark, message: impl Into<String>) -> &mut Self {
        self.related.push((mark, message.into()));
        self
    }

    /// "Did you mean …?" where a known word is near, and what is known where that is short or nothing is near.
    pub(crate) fn nearest<'a>(&mut self, word: &str, known: impl IntoIterator<Item = &'a str>) -> &mut Self {
        let known: Vec<&str> = known.into_iter().collect();
        let near = near(word, &known);
        if let Some(near) = near {
            self.help(format!("did you mean `{near}`?"));
        }
        if !known.is_empty() && (near.is_none() || known.len() <= SHORT_LIST) {
            self.expected(one_of(&known));
        }
        self
    }
}

/// The known word that was most likely meant: one that is nearly the same, or that is the beginning.
pub(crate) fn near<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let plain = word.to_lowercase().replace('-', "_");
    squall_wire::nearest::nearest(&plain, known.iter().copied())
        .or_else(|| known.iter().copied().find(|known| known.len() >= 4 && plain.starts_with(known)))
}

/// `one of a, b, c`.
pub(crate) fn one_of(words: &[&str]) -> String {
    match words {
        [only] => format!("`{only}`"),
        _ => format!("one of `{}`", words.join("`, `")),
    }
}

impl<'t> Reporter<'t> {
    pub(crate) const fn new(text: &'t str) -> Self {
        Self { text, found: Vec::new() }
    }

    /// The text that is being read.
    pub(crate) const fn text(&self) -> &'t str {
        self.text
    }

    pub(crate) fn error(&mut self, mark: Mark, message: impl Into<String>) -> &mut Found {
        let found = Found { mark, message: message.into(), expected: None, help: None, related: Vec::new() };
        self.found.push(found);
        let last = self.found.len() - 1;
        &mut self.found[last]
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.found.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.found.len()
    }

    /// The mistakes by place, each once, without secrets; `None` when there are none.
    pub(crate) fn finish(mut self, path: &str, secrets: &Secrets) -> Option<Diagnostics> {
        if self.found.is_empty() {
            return None;
        }
        self.found.sort_by_key(|found| found.mark.start);
        self.found.dedup();
        let more = self.found.len().saturating_sub(MOST);
        let lines: Vec<usize> = line_starts(self.text).collect();
        let mistakes = self.found.iter().take(MOST).map(|found| found.told(path, self.text, &lines, secrets)).collect();
        Some(Diagnostics { path: path.to_owned(), mistakes, more })
    }
}

impl Found {
    fn told(&self, path: &str, text: &str, lines: &[usize], secrets: &Secrets) -> Diagnostic {
        let (line, column, length) = place(text, lines, self.mark);
        // A message may quote the value in part or escaped, which redaction would not find: so it is not told at all.
        let (message, help) = if self.mark.secret {
            ("this value does not fit here; it comes from a secret and is not shown".to_owned(), None)
        } else {
            (secrets.redact(&self.message), self.help.as_ref().map(|help| secrets.redact(help)))
        };
        let related = self.related.iter().map(|(mark, message)| {
            let (line, column, length) = place(text, lines, *mark);
            Related { line, column, length, message: secrets.redact(message) }
        });
        Diagnostic {
            path: path.to_owned(),
            line,
            column,
            length,
            message,
            expected: self.expected.as_ref().map(|expected| secrets.redact(expected)),
            help,
            related: related.collect(),
        }
    }
}

/// Line, column and length in characters, within the first line of the mark.
fn place(text: &str, lines: &[usize], mark: Mark) -> (usize, usize, usize) {
    let start = text.floor_char_boundary(mark.start);
    let end = text.ceil_char_boundary(mark.end.max(start));
    let line = lines.partition_point(|line| *line <= start);
    let line_start = lines.get(line.saturating_sub(1)).copied().unwrap_or(0);
    let first_line = text[start..end].lines().next().unwrap_or_default().trim_end();
    (line, text[line_start..start].chars().count() + 1, first_line.chars().count().max(1))
}
