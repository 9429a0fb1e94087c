//! Builds the tree from the parser's events, under budgets: a file cannot cost more than it looks like.
//!
//! An alias stands for a copy, and each copy counts: what expands beyond the budget is refused before it does.
//! Broken syntax ends the reading; whatever can be read on (a double key, a tag) is told and read on.

use super::{Entry, Mark, Node, Value};
use crate::diagnostic::Reporter;
use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError, Span, StrInput, options};
use std::collections::{BTreeMap, HashSet};

/// Larger files are refused unread.
pub(crate) const LARGEST_FILE: usize = 1 << 20;
/// Values in a tree, copies by alias included.
const MOST_VALUES: usize = 20_000;
/// Maps and lists inside each other.
const DEEPEST: usize = 40;

/// The tree of the one document in the text; `None` when there is none to speak of, which is reported.
pub(crate) fn parse(text: &str, what: &str, report: &mut Reporter<'_>) -> Option<Node> {
    let start = Mark::new(0, text.len());
    if text.len() > LARGEST_FILE {
        let size = text.len().div_ceil(LARGEST_FILE);
        report.error(Mark::default(), format!("the file is too large: {size} MiB, and 1 MiB is the most"));
        return None;
    }
    if let Some(offset) = text.find(|c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
        report
            .error(Mark::new(offset, offset + 1), "this is not a text file: it has a control character here")
            .expected("a YAML file in UTF-8");
        return None;
    }
    let mut composer = Composer { report, anchors: BTreeMap::new(), stack: Vec::new(), values: 0, root: None };
    match composer.run(text) {
        Err(Stop) => None,
        Ok(()) => composer.root.or_else(|| {
            report
                .error(start, format!("the file is empty: {what} is missing"))
                .help("it begins with `version: 1`; `squall schema` says what may follow");
            None
        }),
    }
}

/// Reading cannot go on; why has been reported.
struct Stop;

struct Composer<'r, 't> {
    report: &'r mut Reporter<'t>,
    anchors: BTreeMap<usize, (Node, usize)>,
    stack: Vec<Frame>,
    values: usize,
    root: Option<Node>,
}

/// A collection that is not closed yet.
struct Frame {
    start: usize,
    anchor: usize,
    /// The key whose value comes next; only in a map.
    key: Option<(String, Mark)>,
    value: Value,
    keys: HashSet<String>,
}

impl Composer<'_, '_> {
    fn run(&mut self, text: &str) -> Result<(), Stop> {
        let mut options = options! { flow_nesting_limit: DEEPEST, block_nesting_limit: DEEPEST };
        options.set_emit_comments(false);
        for event in Parser::<StrInput<'_>>::new_from_str_with_options(text, options) {
            match event {
                Ok((event, span)) => self.event(event, span)?,
                Err(error) => return self.syntax(&error, text),
            }
        }
        Ok(())
    }

    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Stop> {
        let mark = mark_of(span);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.tag(tag.is_some(), span);
                let plain = style == ScalarStyle::Plain;
                let node = Node { mark, value: Value::Scalar { text: text.into_owned(), plain } };
                self.count(1, mark)?;
                self.add(node, anchor)
            }
            Event::Alias(anchor) => self.alias(anchor, mark),
            Event::SequenceStart(_, anchor, tag) => {
                self.tag(tag.is_some(), span);
                self.open(mark, anchor, Value::List { items: Vec::new(), pruned: 0 })
            }
            Event::MappingStart(_, anchor, tag) => {
                self.tag(tag.is_some(), span);
                self.open(mark, anchor, Value::Map { entries: Vec::new(), pruned: Vec::new() })
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(mark),
            Event::DocumentStart(..) if self.root.is_some() => {
                self.report.error(mark, "a second document begins here: a file holds one");
                Err(Stop)
            }
            _ => Ok(()),
        }
    }

    fn tag(&mut self, tagged: bool, span: Span) {
        if tagged {
            let start =
                span.tag_start.and_then(|tag| tag.byte_offset()).unwrap_or(span.start.byte_offset().unwrap_or(0));
            self.report.error(Mark::new(start, start + 1), "tags (`!…`) are not understood here: leave it out");
        }
    }

    fn count(&mut self, more: usize, mark: Mark) -> Result<(), Stop> {
        self.values += more;
        if self.values > MOST_VALUES {
            self.report
                .error(mark, format!("the file has more than {MOST_VALUES} values, what aliases repeat included"));
            return Err(Stop);
        }
        Ok(())
    }

    fn alias(&mut self, anchor: usize, mark: Mark) -> Result<(), Stop> {
        let Some((_, size)) = self.anchors.get(&anchor) else {
            self.report.error(mark, "this alias stands inside what it stands for");
            return Err(Stop);
        };
        // Counted before it is copied, so that an alias bomb is refused before it goes off.
        self.count(*size, mark)?;
        let Some((node, _)) = self.anchors.get(&anchor) else { return Err(Stop) };
        let node = node.clone();
        self.add(node, 0)
    }

    fn open(&mut self, mark: Mark, anchor: usize, value: Value) -> Result<(), Stop> {
        self.count(1, mark)?;
        if self.stack.len() == DEEPEST {
            self.report.error(mark, format!("more than {DEEPEST} maps and lists inside each other"));
            return Err(Stop);
        }
        if let Some(Frame { value: Value::Map { .. }, key: None, .. }) = self.stack.last() {
            self.report
                .error(mark, "a key must be a word, not a map or a list")
                .help("text with `{` in it needs quotes: `\"{{ uuid() }}\"`, `\"${shop}/health\"`");
            return Err(Stop);
        }
        self.stack.push(Frame { start: mark.start, anchor, key: None, value, keys: HashSet::new() });
        Ok(())
    }

    fn close(&mut self, mark: Mark) -> Result<(), Stop> {
        let Some(frame) = self.stack.pop() else { return Ok(()) };
        let node = Node { mark: Mark::new(frame.start, mark.end.max(frame.start)), value: frame.value };
        self.add(node, frame.anchor)
    }

    /// Puts a finished value where it belongs: a key, the value of a key, an item, or the root.
    fn add(&mut self, node: Node, anchor: usize) -> Result<(), Stop> {
        if anchor != 0 {
            let size = node.size();
            self.anchors.insert(anchor, (node.clone(), size));
        }
        let Some(frame) = self.stack.last_mut() else {
            self.root = Some(node)
                .filter(|root| !matches!(&root.value, Value::Scalar { text, plain: true } if text.is_empty()));
            return Ok(());
        };
        match (&mut frame.value, frame.key.take()) {
            (Value::List { items, .. }, _) => items.push(node),
            (Value::Map { entries, .. }, Some((key, key_mark))) => {
                if key == "<<" {
                    if !merge(entries, node) {
                        self.report.error(key_mark, "`<<` takes the alias of a map: `<<: *base`");
                    }
                } else if frame.keys.insert(key.clone()) {
                    // What was merged in from a base gives way to the map's own.
                    entries.retain(|inherited| inherited.key != key);
                    entries.push(Entry { key, key_mark, value: node });
                } else {
                    let first = entries.iter().find(|entry| entry.key == key).map(|entry| entry.key_mark);
                    let told = self.report.error(key_mark, format!("`{key}` is given twice"));
                    if let Some(first) = first {
                        told.related(first, "first given here");
                    }
                }
            }
            (Value::Map { .. }, None) => match node.value {
                Value::Scalar { text, .. } => frame.key = Some((text, node.mark)),
                _ => {
                    self.report.error(node.mark, "a key must be a word, not a map or a list");
                    return Err(Stop);
                }
            },
            (Value::Scalar { .. }, _) => {}
        }
        Ok(())
    }

    fn syntax(&mut self, error: &ScanError, text: &str) -> Result<(), Stop> {
        let start = error.marker().byte_offset().unwrap_or(0).min(text.len());
        let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let line = text[line_start..].lines().next().unwrap_or_default();
        let indent = &line[..line.len() - line.trim_start().len()];
        if let Some(tab) = indent.find('\t') {
            let mark = Mark::new(line_start + tab, line_start + tab + 1);
            self.report.error(mark, "a tab cannot indent: use spaces");
            return Err(Stop);
        }
        let (message, help) = explained(error.kind());
        let told = self.report.error(Mark::new(start, start + 1), message);
        if let Some(help) = help {
            told.help(help);
        } else if line.contains("${") || line.contains("{{") {
            told.help("text with `{` in it needs quotes: `\"{{ uuid() }}\"`, `\"${shop}/health\"`");
        }
        Err(Stop)
    }
}

/// `<<: *base`: the base's entries, where the map has none of its own; false when it is no map.
fn merge(entries: &mut Vec<Entry>, node: Node) -> bool {
    let bases = match node.value {
        Value::List { items, .. } => items,
        _ => vec![node],
    };
    bases.into_iter().all(|base| match base.value {
        Value::Map { entries: inherited, .. } => {
            for entry in inherited {
                if entries.iter().all(|known| known.key != entry.key) {
                    entries.push(entry);
                }
            }
            true
        }
        _ => false,
    })
}

fn mark_of(span: Span) -> Mark {
    let start = span.start.byte_offset().unwrap_or(0);
    Mark::new(start, span.end.byte_offset().unwrap_or(start).max(start))
}

/// A parser's error in words for people who did not write a parser, and what to do where that is known.
fn explained(kind: &ErrorKind) -> (String, Option<&'static str>) {
    let (message, help) = match kind {
        ErrorKind::TabNotAllowed | ErrorKind::TabInBlockIndentation | ErrorKind::TabInIndentation => {
            ("a tab cannot indent: use spaces", None)
        }
        ErrorKind::UnclosedFlowCollection { open } => {
            return (format!("this `{open}` is never closed"), None);
        }
        ErrorKind::MismatchedFlowCollectionEnd { open, close } => {
            return (format!("`{close}` does not close `{open}`"), None);
        }
        ErrorKind::UnclosedQuotedScalar | ErrorKind::InvalidQuotedScalarIndent => ("this quote is never closed", None),
        ErrorKind::UnknownAnchor => ("this alias stands for nothing: no `&name` before it", None),
        ErrorKind::RecursionLimitExceeded => ("too many maps and lists inside each other", None),
        ErrorKind::ExpectedFlowMappingSeparator => ("expected `,` or `}` here", None),
        ErrorKind::ExpectedFlowSequenceSeparator => ("expected `,` or `]` here", None),
        ErrorKind::SimpleKeyExpected => ("expected `:` and a value after this key", None),
        ErrorKind::MappingValueNotAllowed | ErrorKind::InvalidColonPlacement => (
            "a `:` cannot stand here",
            Some("is the line indented as its neighbours? Text with `: ` in it needs quotes"),
        ),
        ErrorKind::ExpectedBlockMappingKey | ErrorKind::InvalidIndentation => {
            ("this line is not indented as the ones before it", None)
        }
        ErrorKind::UnexpectedCharacter { character } => {
            return (format!("`{character}` cannot begin a value"), Some("put the text in quotes"));
        }
        other => return (format!("not YAML: {other}"), None),
    };
    (message.to_owned(), help)
}
