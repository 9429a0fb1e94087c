//! Reads the Prometheus text format and OpenMetrics: one page in, its series out.
//!
//! ```text
//! name{label="value",…} 1.5 1700000000 # {trace="…"} 0.7
//! name  labels          value timestamp  exemplar
//! ```
//!
//! Takes what Prometheus takes, quoted names of version 3 included, and refuses what it refuses: a line that cannot
//! be read fails the page, since a series left out in silence would be a wrong sum.
//! Neighbours: `metrics` selects and computes. Invariant: no text makes it panic.

use std::borrow::Cow;

/// Names and values of labels, in the order of the page.
type Labels<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

/// One series of a page.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Line<'a> {
    pub(crate) name: Cow<'a, str>,
    pub(crate) labels: Labels<'a>,
    pub(crate) value: f64,
}

impl Line<'_> {
    /// The label's value; a label that is not there is an empty one, as in Prometheus.
    pub(crate) fn label(&self, name: &str) -> &str {
        self.labels.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }
}

/// Why a page cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the metrics page cannot be read: {what}")]
pub(crate) struct PageError {
    line: usize,
    what: &'static str,
}

/// Every series of the page, in its order. `# EOF` ends it.
pub(crate) fn parse(page: &str) -> Result<Vec<Line<'_>>, PageError> {
    let mut series = Vec::new();
    for (index, line) in page.lines().enumerate() {
        let line = line.trim();
        if line == "# EOF" {
            break;
        }
        if !line.is_empty() && !line.starts_with('#') {
            series.push(Reader { rest: line }.line().map_err(|what| PageError { line: index + 1, what })?);
        }
    }
    Ok(series)
}

/// What is left of one line.
struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn line(mut self) -> Result<Line<'a>, &'static str> {
        let mut name = Cow::Borrowed(self.word(true));
        self.blank();
        let mut labels = Vec::new();
        if self.take('{') {
            labels = self.labels(&mut name)?;
        }
        if name.is_empty() {
            return Err("it does not start with a name");
        }
        let value = self.number()?.ok_or("it has no value")?;
        if self.rest.trim_start().starts_with('#') {
            return Ok(Line { name, labels, value });
        }
        self.number().map_err(|_| "what follows the value is no timestamp")?;
        self.blank();
        if self.rest.is_empty() || self.rest.starts_with('#') {
            Ok(Line { name, labels, value })
        } else {
            Err("something follows the timestamp")
        }
    }

    /// After `{`, up to and with `}`.
    fn labels(&mut self, name: &mut Cow<'a, str>) -> Result<Labels<'a>, &'static str> {
        let mut labels = Vec::new();
        loop {
            self.blank();
            if self.take('}') {
                return Ok(labels);
            }
            let quoted = self.rest.starts_with('"');
            let key = if quoted { self.quoted()? } else { Cow::Borrowed(self.word(false)) };
            self.blank();
            if self.take('=') {
                self.blank();
                labels.push((key, self.quoted()?));
            } else if quoted && name.is_empty() && labels.is_empty() {
                *name = key;
            } else {
                return Err("a label is not of the form name=\"value\"");
            }
            self.blank();
            if !self.take(',') && !self.rest.starts_with('}') {
                return Err("labels are not separated by commas, or not closed by `}`");
            }
        }
    }

    /// A name, which may be empty.
    fn word(&mut self, colons: bool) -> &'a str {
        let fits = |(index, c): (usize, char)| {
            c.is_ascii_alphabetic() || c == '_' || (colons && c == ':') || (index > 0 && c.is_ascii_digit())
        };
        let end = self.rest.char_indices().find(|&at| !fits(at)).map_or(self.rest.len(), |(end, _)| end);
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    /// A quoted text with `\\`, `\"` and `\n` undone; any other backslash stays, as in Prometheus.
    fn quoted(&mut self) -> Result<Cow<'a, str>, &'static str> {
        let inner = self.rest.strip_prefix('"').ok_or("a label's value is not in quotes")?;
        let mut escaped = false;
        let end = inner.char_indices().find_map(|(index, c)| match c {
            _ if escaped => {
                escaped = false;
                None
            }
            '\\' => {
                escaped = true;
                None
            }
            '"' => Some(index),
            _ => None,
        });
        let end = end.ok_or("a quote is never closed")?;
        self.rest = &inner[end + 1..];
        let raw = &inner[..end];
        Ok(if raw.contains('\\') { Cow::Owned(unescaped(raw)) } else { Cow::Borrowed(raw) })
    }

    /// The number that comes next, if anything does.
    fn number(&mut self) -> Result<Option<f64>, &'static str> {
        self.blank();
        if self.rest.is_empty() || self.rest.starts_with('#') {
            return Ok(None);
        }
        let end = self.rest.find([' ', '\t']).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word.parse().map(Some).map_err(|_| "its value is not a number")
    }

    fn blank(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t']);
    }

    fn take(&mut self, wanted: char) -> bool {
        let rest = self.rest.strip_prefix(wanted);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }
}

fn unescaped(raw: &str) -> String {
    let mut text = String::with_capacity(raw.len());
    let mut chars = raw.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            text.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => text.push('\n'),
            Some(c @ ('"' | '\\')) => text.push(c),
            other => text.extend(['\\'].into_iter().chain(other)),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Line, parse};
    use proptest::prelude::{any, prop_assert_eq, proptest};

    fn one(page: &str) -> Line<'_> {
        let mut lines = parse(page).unwrap();
        assert_eq!(lines.len(), 1, "{page}");
        lines.remove(0)
    }

    fn labels<'a>(line: &'a Line<'_>) -> Vec<(&'a str, &'a str)> {
        line.labels.iter().map(|(key, value)| (&**key, &**value)).collect()
    }

    #[test]
    fn plain_lines_comments_and_both_line_endings() {
        let page = "# HELP up Whether.\r\n# TYPE up gauge\r\n\r\nup 1\r\nhttp:requests_total 2.5e3\n   #any\n\tlast 3";
        let lines = parse(page).unwrap();
        let lines: Vec<_> = lines.iter().map(|line| (&*line.name, line.value)).collect();
        assert_eq!(lines, [("up", 1.0), ("http:requests_total", 2500.0), ("last", 3.0)]);
    }

    #[test]
    fn braces_commas_quotes_hashes_and_spaces_may_stand_in_a_label_value() {
        let line = one(r##"m{a="}",b="x,y=\"z\"",c="a # b  {",d=""} 7"##);
        assert_eq!(labels(&line), [("a", "}"), ("b", r#"x,y="z""#), ("c", "a # b  {"), ("d", "")]);
        assert_eq!(line.value, 7.0);
    }

    #[test]
    fn escapes_are_undone_and_unknown_ones_stay() {
        let line = one(r#"m{path="C:\\dir",text="a\nb",odd="\d",end="x\\"} 1"#);
        assert_eq!(labels(&line), [("path", r"C:\dir"), ("text", "a\nb"), ("odd", r"\d"), ("end", r"x\")]);
    }

    #[test]
    fn spaces_and_a_trailing_comma_are_allowed() {
        let line = one("m { a = \"1\" , b=\"2\", }\t 3 \t 1700000000123 ");
        assert_eq!((labels(&line), line.value), (vec![("a", "1"), ("b", "2")], 3.0));
        assert_eq!(one("m{} 4").value, 4.0);
    }

    #[test]
    fn timestamps_and_exemplars_are_not_the_value() {
        assert_eq!(one(r#"m_bucket{le="0.1"} 8 # {trace_id="a } b"} 0.067 1520879607.789"#).value, 8.0);
        assert_eq!(one(r#"m_bucket{le="0.1"} 8 1520879607.789 # {} 0.067"#).value, 8.0);
        assert_eq!(one("m 8 -1").value, 8.0);
    }

    #[test]
    fn values_may_be_infinite_or_no_number() {
        assert!(one("m NaN").value.is_nan());
        assert_eq!(one("m +Inf").value, f64::INFINITY);
        assert_eq!(one("m -Inf").value, f64::NEG_INFINITY);
        assert_eq!(one("m 1e-3").value, 0.001);
    }

    #[test]
    fn names_in_quotes_are_read() {
        let line = one(r#"{"http.server.duration", "service.name"="a b", code="200"} 2"#);
        assert_eq!(line.name, "http.server.duration");
        assert_eq!(labels(&line), [("service.name", "a b"), ("code", "200")]);
    }

    #[test]
    fn nothing_after_eof_counts() {
        assert_eq!(parse("a 1\n# EOF\nb 2").unwrap().len(), 1);
    }

    #[test]
    fn broken_lines_fail_the_page_with_their_number() {
        for line in [
            "m",
            "m{",
            "m{a} 1",
            "m{a=1} 1",
            "m{a=\"1} 1",
            "m{a=\"1\" b=\"2\"} 1",
            "m{a=\"1\"",
            "m one",
            "1m 2",
            "m 1 now",
            "m 1 2 3",
            "{} 1",
            "{a=\"b\"} 1",
            "m{\"n\"} 1",
            "é 1",
            "m{a=\"1\"}",
        ] {
            let error = parse(&format!("ok 1\n{line}\n")).unwrap_err().to_string();
            assert!(error.starts_with("line 2 of the metrics page cannot be read: "), "{line}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_page_panics(page in any::<String>(), line in r#"[a-z{}=",\\ #0-9.é\n+-]{0,60}"#) {
            let _read = (parse(&page), parse(&line));
        }

        #[test]
        fn any_label_value_comes_back_as_it_was(value in any::<String>(), number in any::<f64>()) {
            let escaped = value.replace('\\', r"\\").replace('"', r#"\""#).replace('\n', r"\n");
            // A lone carriage return is within a line, one before a line feed belongs to the line's end.
            let page = format!("m{{a=\"{escaped}\"}} {number}\n");
            let read = parse(&page).unwrap();
            prop_assert_eq!(read[0].label("a"), &*value);
            prop_assert_eq!(read[0].value.to_bits(), number.to_bits());
        }
    }
}
