//! Texts of the traffic with `{{ … }}` in them, evaluated for each request.
//!
//! Four functions and nothing else, so that a load stays reproducible and cheap: `random(1, 500)` is a whole number
//! of the range, both ends included, from the run's seed; `uuid()` is a new UUID; `now()` is the time of day as
//! RFC 3339 in UTC with milliseconds; `counter()` counts 1, 2, 3, … over the whole load.
//! `uuid()` is not drawn from the seed: it serves as an idempotency key, and a second run must not repeat those of
//! the first.
//! Neighbours: `validate` parses them, `traffic` renders them. Invariant: what was parsed always renders.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use squall_wire::nearest::nearest;
use std::fmt::{self, Write};

const FUNCTIONS: [&str; 4] = ["random", "uuid", "now", "counter"];

/// Why a text is not a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A `{{` without its `}}`.
    #[error("`{{{{` is never closed: write `}}}}` after the function")]
    Unclosed {
        /// Where the `{{` stands, in bytes from the start.
        offset: usize,
    },
    /// Something that is not a call.
    #[error("`{text}` is not a function call: write `random(1, 500)`, `uuid()`, `now()` or `counter()`")]
    NotACall {
        /// Where it stands, in bytes from the start.
        offset: usize,
        /// What was written.
        text: String,
    },
    /// A function that does not exist.
    #[error("there is no function `{name}`{}: known are `random`, `uuid`, `now` and `counter`", did_you_mean(name))]
    Unknown {
        /// Where it stands, in bytes from the start.
        offset: usize,
        /// What was written.
        name: String,
    },
    /// Arguments that the function does not take.
    #[error("`{text}`: {expected}")]
    Arguments {
        /// Where the call stands, in bytes from the start.
        offset: usize,
        /// What was written.
        text: String,
        /// What the function takes.
        expected: &'static str,
    },
}

impl TemplateError {
    /// Where in the text the mistake is, in bytes from its start.
    #[must_use]
    pub const fn offset(&self) -> usize {
        match self {
            Self::Unclosed { offset }
            | Self::NotACall { offset, .. }
            | Self::Unknown { offset, .. }
            | Self::Arguments { offset, .. } => *offset,
        }
    }
}

fn did_you_mean(name: &str) -> String {
    nearest(name, FUNCTIONS).map_or_else(String::new, |known| format!(" (did you mean `{known}`?)"))
}

/// What rendering draws from: one for a whole load.
#[derive(Debug, Clone)]
pub struct Context {
    /// Where `random` draws from.
    pub rng: ChaCha8Rng,
    /// What `counter` gave last.
    pub counter: u64,
}

impl Context {
    /// A context whose `random` is determined by the seed, and whose `counter` starts at 1.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { rng: ChaCha8Rng::seed_from_u64(seed), counter: 0 }
    }
}

/// A parsed template, which prints as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    source: Box<str>,
    parts: Box<[Part]>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(Box<str>),
    Random { low: i64, high: i64 },
    Uuid,
    Now,
    Counter,
}

impl Template {
    /// Reads a text with `{{ … }}` in it. A `}}` outside of one is ordinary text, as JSON needs it.
    ///
    /// # Errors
    /// A `{{` that is not closed, or holds anything but a call of a known function with what it takes.
    pub fn parse(source: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut position = 0;
        while let Some(open) = source[position..].find("{{").map(|found| position + found) {
            let inner = open + 2;
            let close = source[inner..].find("}}").ok_or(TemplateError::Unclosed { offset: open })? + inner;
            if open > position {
                parts.push(Part::Text(source[position..open].into()));
            }
            parts.push(call(&source[inner..close], inner)?);
            position = close + 2;
        }
        if position < source.len() {
            parts.push(Part::Text(source[position..].into()));
        }
        Ok(Self { source: source.into(), parts: parts.into() })
    }

    /// Whether it renders the same each time.
    #[must_use]
    pub fn is_constant(&self) -> bool {
        self.parts.iter().all(|part| matches!(part, Part::Text(_)))
    }

    /// Whether it renders a number and nothing else, so that JSON needs no quotes around it.
    #[must_use]
    pub fn is_number(&self) -> bool {
        matches!(*self.parts, [Part::Random { .. } | Part::Counter])
    }

    /// The text for one request. Allocates once in all ordinary cases.
    #[must_use]
    pub fn render(&self, context: &mut Context) -> String {
        // A UUID is 36 characters, the longest of what can be put in.
        let mut text = String::with_capacity(self.source.len() + 36 * self.parts.len().div_ceil(2));
        for part in &self.parts {
            part.render(context, &mut text);
        }
        text
    }
}

impl Part {
    fn render(&self, context: &mut Context, text: &mut String) {
        // Writing into a String cannot fail.
        let _infallible = match self {
            Self::Text(constant) => text.write_str(constant),
            Self::Random { low, high } => write!(text, "{}", context.rng.random_range(*low..=*high)),
            Self::Uuid => write!(text, "{}", uuid::Uuid::new_v4()),
            Self::Now => write!(text, "{:.3}", jiff::Timestamp::now()),
            Self::Counter => {
                context.counter += 1;
                write!(text, "{}", context.counter)
            }
        };
    }
}

fn call(inner: &str, inner_offset: usize) -> Result<Part, TemplateError> {
    let text = inner.trim();
    let offset = inner_offset + (inner.len() - inner.trim_start().len());
    let not_a_call = || TemplateError::NotACall { offset, text: text.to_owned() };
    let (name, rest) = text.split_once('(').ok_or_else(not_a_call)?;
    let arguments = rest.strip_suffix(')').ok_or_else(not_a_call)?.trim();
    let wrong = |expected| TemplateError::Arguments { offset, text: text.to_owned(), expected };
    let nothing = |part| if arguments.is_empty() { Ok(part) } else { Err(wrong("takes nothing between the brackets")) };
    match name.trim() {
        "random" => random(arguments).map_err(wrong),
        "uuid" => nothing(Part::Uuid),
        "now" => nothing(Part::Now),
        "counter" => nothing(Part::Counter),
        name => Err(TemplateError::Unknown { offset, name: name.to_owned() }),
    }
}

fn random(arguments: &str) -> Result<Part, &'static str> {
    const TWO: &str = "takes two whole numbers, the lowest and the highest: `random(1, 500)`";
    let (low, high) = arguments.split_once(',').ok_or(TWO)?;
    let low: i64 = low.trim().parse().map_err(|_| TWO)?;
    let high: i64 = high.trim().parse().map_err(|_| TWO)?;
    if low > high {
        return Err("the first number is the lowest: swap the two");
    }
    Ok(Part::Random { low, high })
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::{Context, Template, TemplateError};
    use proptest::prelude::{any, proptest};
    use std::collections::BTreeSet;

    fn render(source: &str) -> String {
        Template::parse(source).unwrap().render(&mut Context::new(1))
    }

    #[test]
    fn text_without_functions_stays_as_it_is() {
        for source in ["", "plain", r#"{"a":{"b":1}}"#, "a { b", "}} {"] {
            let template = Template::parse(source).unwrap();
            assert!(template.is_constant(), "{source}");
            assert_eq!(template.render(&mut Context::new(1)), source);
        }
    }

    #[test]
    fn random_covers_its_range_with_both_ends_and_repeats_with_the_seed() {
        let template = Template::parse("/products/{{ random(1, 3) }}").unwrap();
        let mut context = Context::new(7);
        let texts: Vec<_> = (0..200).map(|_| template.render(&mut context)).collect();
        let distinct: BTreeSet<_> = texts.iter().map(String::as_str).collect();
        assert_eq!(distinct, BTreeSet::from(["/products/1", "/products/2", "/products/3"]));
        let mut again = Context::new(7);
        assert_eq!(texts, (0..200).map(|_| template.render(&mut again)).collect::<Vec<_>>());
    }

    #[test]
    fn random_takes_negative_and_extreme_numbers() {
        assert_eq!(render("{{random(-5,-5)}}"), "-5");
        render(&format!("{{{{ random({}, {}) }}}}", i64::MIN, i64::MAX)).parse::<i64>().unwrap();
    }

    #[test]
    fn a_uuid_is_new_each_time_even_with_the_same_seed() {
        let (first, second) = (render("{{ uuid() }}"), render("{{ uuid() }}"));
        assert_eq!(uuid::Uuid::parse_str(&first).unwrap().get_version_num(), 4);
        assert_ne!(first, second);
    }

    #[test]
    fn now_is_rfc_3339_with_milliseconds() {
        let text = render("{{ now() }}");
        assert!(text.parse::<jiff::Timestamp>().is_ok() && text.len() == "2026-11-21T08:00:00.000Z".len(), "{text}");
    }

    #[test]
    fn the_counter_counts_over_all_templates_of_a_load() {
        let template = Template::parse("{{ counter() }}-{{ counter() }}").unwrap();
        let mut context = Context::new(1);
        assert_eq!(template.render(&mut context), "1-2");
        assert_eq!(template.render(&mut context), "3-4");
    }

    #[test]
    fn mistakes_name_their_place_and_the_remedy() {
        let mistake = |source: &str| {
            let error = Template::parse(source).unwrap_err();
            (error.offset(), error.to_string())
        };
        assert_eq!(mistake("ab{{ uuid()"), (2, "`{{` is never closed: write `}}` after the function".to_owned()));
        assert_eq!(mistake("{{ uuid }}").0, 3);
        let (offset, text) = mistake("x{{ randm(1, 2) }}");
        assert_eq!(offset, 4);
        assert!(text.contains("did you mean `random`?"), "{text}");
        assert!(mistake("{{ random(5, 1) }}").1.contains("swap the two"));
        assert!(mistake("{{ random(1) }}").1.contains("two whole numbers"));
        assert!(mistake("{{ uuid(4) }}").1.contains("takes nothing"));
        assert!(matches!(Template::parse("{{ }}"), Err(TemplateError::NotACall { .. })));
    }

    #[test]
    fn it_prints_as_it_was_written() {
        let source = "${shop}/{{random(1,2)}}/{{ now() }}";
        assert_eq!(Template::parse(source).unwrap().to_string(), source);
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_parses_renders(source in "[{}a-z(), 0-9é-]{0,60}", seed in any::<u64>()) {
            if let Ok(template) = Template::parse(&source) {
                let _text = template.render(&mut Context::new(seed));
            }
        }
    }
}
