//! The parser of the tolerance language: one pass over the text, one function a rule of the grammar.
//!
//! Invariant: it ends for every text, and does not panic; depth and length are bounded.

use super::{Comparison, Expr, Margin, value};
use crate::sample::{Metric, MetricKind};
use regex::RegexBuilder;
use squall_wire::Span;

/// Longer texts are refused unread.
const LONGEST: usize = 2000;
/// Deeper parentheses are refused, so that no text can exhaust the stack.
const DEEPEST: usize = 20;
/// A compiled expression may take so many bytes.
const REGEX_BYTES: usize = 1 << 20;
const FORMS: &str = "write one such as `< 50ms`, `>= 99%`, `between 1 and 5`, `within 20% of baseline`, `no worse than control` or `matches /re/`";

/// Why a text is not a tolerance.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ToleranceError {
    /// Where in the text, in bytes.
    pub offset: usize,
    /// What is wrong there, and what would be right.
    pub message: String,
}

pub(super) fn parse(text: &str, metric: Metric) -> Result<Expr, ToleranceError> {
    let mut parser = Parser { text, at: 0, depth: 0, metric, compared: false };
    if text.len() > LONGEST {
        return Err(parser.wrong_at(0, format!("a tolerance has at most {LONGEST} characters")));
    }
    let root = parser.either()?;
    match parser.peek() {
        None => Ok(root),
        Some(')') => Err(parser.wrong("a `)` without its `(`")),
        Some(_) if parser.is_text() => {
            Err(parser.wrong("put quotes around a text of several words: `== \"all is well\"`"))
        }
        Some(_) => Err(parser.wrong("expected `and`, `or` or the end here")),
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    metric: Metric,
    /// Whether it has compared with the control group.
    compared: bool,
}

impl<'a> Parser<'a> {
    fn either(&mut self) -> Result<Expr, ToleranceError> {
        let mut parts = vec![self.both()?];
        while self.word("or") {
            parts.push(self.both()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Expr::Any(parts) })
    }

    fn both(&mut self) -> Result<Expr, ToleranceError> {
        let mut parts = vec![self.single()?];
        while self.word("and") {
            parts.push(self.single()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Expr::All(parts) })
    }

    fn single(&mut self) -> Result<Expr, ToleranceError> {
        let start = self.skip();
        match self.peek() {
            None => Err(self.wrong(format!("a tolerance is missing here: {FORMS}"))),
            Some('(') => self.parenthesis(),
            Some('<' | '>' | '=' | '!') => self.comparison(),
            Some(_) if self.word("between") => self.between(start),
            Some(_) if self.word("within") => self.within(start),
            Some(_) if self.word("matches") => self.matches(start),
            Some(_) if !self.is_text() && self.word("no") => self.control(start),
            Some(_) => self.operand(Comparison::Equal),
        }
    }

    fn parenthesis(&mut self) -> Result<Expr, ToleranceError> {
        if self.depth == DEEPEST {
            return Err(self.wrong(format!("more than {DEEPEST} parentheses inside each other")));
        }
        self.at += 1;
        self.depth += 1;
        let inner = self.either()?;
        self.depth -= 1;
        if self.peek() != Some(')') {
            return Err(self.wrong("expected `)` here"));
        }
        self.at += 1;
        Ok(inner)
    }

    fn comparison(&mut self) -> Result<Expr, ToleranceError> {
        let rest = &self.text[self.at..];
        let length = rest.find(|c| !matches!(c, '<' | '>' | '=' | '!')).unwrap_or(rest.len());
        let comparison = match &rest[..length] {
            "<" => Comparison::Less,
            "<=" => Comparison::AtMost,
            ">" => Comparison::Greater,
            ">=" => Comparison::AtLeast,
            "==" => Comparison::Equal,
            "!=" => Comparison::NotEqual,
            other => {
                let right = match other {
                    "=<" => "write `<=`",
                    "=>" => "write `>=`",
                    "=" | "===" => "write `==`",
                    "<>" | "!" | "!==" => "write `!=`",
                    _ => "write `<`, `<=`, `>`, `>=`, `==` or `!=`",
                };
                return Err(self.wrong(format!("`{other}` is no comparison: {right}")));
            }
        };
        if self.is_text() && !matches!(comparison, Comparison::Equal | Comparison::NotEqual) {
            return Err(self.wrong("texts are not ordered: use `==`, `!=` or `matches /re/`"));
        }
        self.at += length;
        self.operand(comparison)
    }

    fn operand(&mut self, comparison: Comparison) -> Result<Expr, ToleranceError> {
        if self.is_text() {
            return Ok(Expr::Text { equal: comparison == Comparison::Equal, text: self.text_value()? });
        }
        Ok(Expr::Number(comparison, self.number()?))
    }

    fn between(&mut self, start: usize) -> Result<Expr, ToleranceError> {
        self.not_for_text(start, "between")?;
        let low = self.number()?;
        if !self.word("and") {
            return Err(self.wrong("expected `and` here: write `between A and B`"));
        }
        let high = self.number()?;
        if low > high {
            return Err(self.wrong_at(start, "nothing is between these: the smaller value comes first".into()));
        }
        Ok(Expr::Between(low, high))
    }

    fn within(&mut self, start: usize) -> Result<Expr, ToleranceError> {
        self.not_for_text(start, "within")?;
        if self.metric == Metric::BurnRate {
            let message = "a burn rate is held against its objective, and has no baseline: write one such as `< 14.4`";
            return Err(self.wrong_at(start, message.into()));
        }
        let at = self.skip();
        let text = self.value_text();
        let share = value::percent(&text).filter(|share| *share >= 0.0);
        let Some(share) = share else {
            return Err(self.wrong_at(at, "expected a percentage here: write `within 20% of baseline`".into()));
        };
        if self.word("of") && self.word("baseline") {
            Ok(Expr::Within(share))
        } else {
            let at = self.skip();
            Err(self.wrong_at(at, "expected `of baseline` here: write `within 20% of baseline`".into()))
        }
    }

    fn control(&mut self, start: usize) -> Result<Expr, ToleranceError> {
        if !(self.word("worse") && self.word("than") && self.word("control")) {
            let message = "expected `no worse than control` here, or `no worse than control by 20%`";
            return Err(self.wrong_at(start, message.into()));
        }
        if let Some(why) = not_comparable(self.metric) {
            return Err(self.wrong_at(start, format!("`{}` cannot be compared with the control: {why}", self.metric)));
        }
        if std::mem::replace(&mut self.compared, true) {
            return Err(self.wrong_at(start, "a tolerance compares with the control once".into()));
        }
        if !self.word("by") {
            return Ok(Expr::Control(Margin::Usual));
        }
        let at = self.skip();
        let text = self.value_text();
        if let Some(share) = value::percent(&text).filter(|share| *share >= 0.0) {
            return Ok(Expr::Control(Margin::Share(share)));
        }
        let seconds = text.parse::<Span>().ok().filter(|_| self.metric.kind() == MetricKind::Time);
        let right = match self.metric.kind() {
            MetricKind::Time => "expected a percentage or a time here: write `by 20%` or `by 5ms`",
            _ => "expected percentage points here: write `by 2%`",
        };
        let seconds = seconds.ok_or_else(|| self.wrong_at(at, right.into()))?;
        Ok(Expr::Control(Margin::Seconds(seconds.get().as_secs_f64())))
    }

    fn matches(&mut self, start: usize) -> Result<Expr, ToleranceError> {
        if !self.is_text() {
            let message = format!("`matches` is for `body`; `{}` is a number: use `==`, `<` and the like", self.metric);
            return Err(self.wrong_at(start, message));
        }
        let at = self.skip();
        if self.peek() != Some('/') {
            return Err(self.wrong("expected a regular expression here: write `matches /re/`"));
        }
        let pattern = self
            .delimited('/')
            .ok_or_else(|| self.wrong_at(at, "the regular expression does not end: close it with `/`".into()))?;
        let regex = RegexBuilder::new(&pattern).size_limit(REGEX_BYTES).build();
        regex.map(Expr::Matches).map_err(|error| {
            let cause = error.to_string();
            let cause = cause.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            self.wrong_at(at, format!("not a regular expression: {cause}"))
        })
    }

    fn number(&mut self) -> Result<f64, ToleranceError> {
        let at = self.skip();
        let text = self.value_text();
        if text.is_empty() {
            return Err(self.wrong_at(at, format!("a value is missing here: {FORMS}")));
        }
        value::number(&text, self.metric).map_err(|message| self.wrong_at(at, message))
    }

    /// A number with its unit, between which there may be spaces; else the next word.
    fn value_text(&mut self) -> String {
        self.skip();
        let mut text = self.bare().to_owned();
        let is_number = |text: &str| text.ends_with(|c: char| c.is_ascii_digit());
        if is_number(&text) && text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '.' | '-' | '+')) {
            let before = self.at;
            self.skip();
            let unit = self.bare();
            if unit.is_empty() || matches!(unit, "and" | "or" | "of") || unit.starts_with(|c: char| !is_unit(c)) {
                self.at = before;
            } else {
                text.push_str(unit);
            }
        }
        text
    }

    fn text_value(&mut self) -> Result<String, ToleranceError> {
        let at = self.skip();
        match self.peek() {
            Some(quote @ ('"' | '\'')) => self
                .delimited(quote)
                .ok_or_else(|| self.wrong_at(at, format!("the text does not end: close it with `{quote}`"))),
            _ => match self.bare() {
                "" => Err(self.wrong_at(at, "a text is missing here: write one such as `== \"ready\"`".into())),
                word => Ok(word.to_owned()),
            },
        }
    }

    /// Up to the closing delimiter, which a backslash escapes; `None` where it does not end.
    fn delimited(&mut self, delimiter: char) -> Option<String> {
        let mut inner = String::new();
        let mut escaped = false;
        for (offset, c) in self.text[self.at..].char_indices().skip(1) {
            if escaped {
                if c != delimiter && !(delimiter != '/' && c == '\\') {
                    inner.push('\\');
                }
                inner.push(c);
                escaped = false;
            } else if c == '\\' {
                escaped = true;
            } else if c == delimiter {
                self.at += offset + delimiter.len_utf8();
                return Some(inner);
            } else {
                inner.push(c);
            }
        }
        None
    }

    /// The next run of characters up to a space or a parenthesis.
    fn bare(&mut self) -> &'a str {
        let rest = &self.text[self.at..];
        let end = rest.find(|c: char| c.is_whitespace() || matches!(c, '(' | ')')).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    /// Takes this word if it stands here, whole.
    fn word(&mut self, word: &str) -> bool {
        let before = self.at;
        self.skip();
        if self.bare() == word {
            return true;
        }
        self.at = before;
        false
    }

    fn skip(&mut self) -> usize {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
        self.at
    }

    fn peek(&mut self) -> Option<char> {
        self.skip();
        self.text[self.at..].chars().next()
    }

    fn is_text(&self) -> bool {
        self.metric.kind() == MetricKind::EachText
    }

    fn not_for_text(&self, start: usize, word: &str) -> Result<(), ToleranceError> {
        if self.is_text() {
            let message = format!("`{word}` is for numbers; `{}` is a text: use `==` or `matches /re/`", self.metric);
            return Err(self.wrong_at(start, message));
        }
        Ok(())
    }

    fn wrong(&self, message: impl Into<String>) -> ToleranceError {
        self.wrong_at(self.at, message.into())
    }

    fn wrong_at(&self, offset: usize, message: String) -> ToleranceError {
        ToleranceError { offset, message }
    }
}

/// Why a metric of those hit has no fair counterpart among those spared; none: it has one.
fn not_comparable(metric: Metric) -> Option<&'static str> {
    match metric {
        Metric::Max => Some("the longest of more is longer; use `p99` or `p999`"),
        Metric::Mean => Some("a rank test has no means; use `p50`"),
        _ => match metric.kind() {
            MetricKind::Time | MetricKind::Ratio => None,
            _ => Some("use `p50` to `p999`, `error_ratio` or `success_ratio`"),
        },
    }
}

/// What a unit starts with: a letter of `ms` or `µs`, `%`, or `/` of `/s`.
fn is_unit(c: char) -> bool {
    c.is_alphabetic() || matches!(c, '%' | '/')
}
