//! A length of time: `800ms`, `1.5s`, `2m`, `1m30s`, and `forever` where that makes sense.

use super::{InvalidQuantity, number_and_unit, text_quantity};
use std::{fmt, str::FromStr, time::Duration};

/// A length of time, to the nanosecond, at most a year.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span(Duration);

const UNITS: [(&str, f64); 7] =
    [("ns", 1e-9), ("us", 1e-6), ("µs", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

impl Span {
    /// No time at all.
    pub const ZERO: Self = Self(Duration::ZERO);

    /// A span of so many seconds.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// A span of so many milliseconds.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    /// The span as the standard library's type.
    #[must_use]
    pub const fn get(self) -> Duration {
        self.0
    }

    /// Whether it is no time at all.
    #[must_use]
    pub const fn is_zero(&self) -> bool {
        self.0.is_zero()
    }
}

impl From<Duration> for Span {
    fn from(duration: Duration) -> Self {
        Self(duration.min(LONGEST))
    }
}

impl From<Span> for Duration {
    fn from(span: Span) -> Self {
        span.0
    }
}

impl FromStr for Span {
    type Err = InvalidQuantity;

    fn from_str(text: &str) -> Result<Self, InvalidQuantity> {
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return Err(InvalidQuantity("a duration is missing: write one such as `800ms`".into()));
        }
        let mut rest = trimmed;
        let mut total = Duration::ZERO;
        while !rest.is_empty() {
            let (number, tail) = number_and_unit(rest).ok_or_else(|| not_a_duration(text))?;
            let end = tail.find(|c: char| c.is_ascii_digit() || c == '.' || c.is_whitespace()).unwrap_or(tail.len());
            let (unit, next) = tail.split_at(end);
            if unit.is_empty() {
                if number == 0.0 {
                    return Err(InvalidQuantity(format!("`{text}` has no unit: write a duration such as `800ms`")));
                }
                let shown = trimmed;
                return Err(InvalidQuantity(format!(
                    "`{text}` has no unit: write `{shown}ms` for milliseconds or `{shown}s` for seconds"
                )));
            }
            let scale = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(|| not_a_duration(text))?.1;
            let part = Duration::try_from_secs_f64(number * scale).map_err(|_| too_long(text))?;
            let part = round_to_nanos(part, number, scale);
            if part.is_zero() && number > 0.0 {
                return Err(InvalidQuantity(format!("`{text}` is less than a nanosecond: write one such as `800ms`")));
            }
            total = total.checked_add(part).ok_or_else(|| too_long(text))?;
            rest = next.trim_start();
        }
        if total > LONGEST { Err(too_long(text)) } else { Ok(Self(total)) }
    }
}

/// Whole numbers of a unit are exact; only fractions go through floating point.
fn round_to_nanos(part: Duration, number: f64, scale: f64) -> Duration {
    let nanos = number * (scale * 1e9).round();
    if nanos.fract() == 0.0 && nanos < 9e15 { Duration::from_nanos(nanos as u64) } else { part }
}

fn not_a_duration(text: &str) -> InvalidQuantity {
    InvalidQuantity(format!("`{text}` is not a duration: write one such as `800ms`, `1.5s` or `2m`"))
}

fn too_long(text: &str) -> InvalidQuantity {
    InvalidQuantity(format!("`{text}` is too long: at most a year (`8784h`)"))
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.as_nanos();
        let whole =
            [("h", 3_600_000_000_000), ("m", 60_000_000_000), ("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000)];
        if nanos == 0 {
            return f.write_str("0s");
        }
        for (unit, size) in whole {
            if nanos.is_multiple_of(size) && (size <= 1_000_000_000 || nanos / size > 1 || nanos == size) {
                return write!(f, "{}{unit}", nanos / size);
            }
            if size <= 1_000_000_000 && nanos >= size {
                return write!(f, "{}{unit}", exact_fraction(nanos, size));
            }
        }
        write!(f, "{nanos}ns")
    }
}

/// `nanos / size` as a decimal number without rounding.
fn exact_fraction(nanos: u128, size: u128) -> String {
    let digits = size.ilog10() as usize;
    let text = format!("{}.{:0digits$}", nanos / size, nanos % size);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

text_quantity!(
    Span,
    "a duration",
    "800ms",
    "(([0-9][0-9_]*(\\.[0-9_]*)?|\\.[0-9][0-9_]*) ?(ns|us|µs|ms|s|m|h) ?)+",
    "A length of time: 800ms, 1.5s, 2m, 1m30s"
);

/// A length of time, or no end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SpanOrForever {
    /// So long.
    Span(Span),
    /// No end: `forever`.
    Forever,
}

impl FromStr for SpanOrForever {
    type Err = InvalidQuantity;

    fn from_str(text: &str) -> Result<Self, InvalidQuantity> {
        match text.trim() {
            "forever" => Ok(Self::Forever),
            other => other
                .parse()
                .map(Self::Span)
                .map_err(|InvalidQuantity(m)| InvalidQuantity(format!("{m}, or `forever`"))),
        }
    }
}

impl fmt::Display for SpanOrForever {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Span(span) => span.fmt(f),
            Self::Forever => f.write_str("forever"),
        }
    }
}

text_quantity!(
    SpanOrForever,
    "a duration or `forever`,",
    "800ms",
    "forever|(([0-9][0-9_]*(\\.[0-9_]*)?|\\.[0-9][0-9_]*) ?(ns|us|µs|ms|s|m|h) ?)+",
    "A length of time (800ms, 1.5s, 2m) or forever"
);

#[cfg(test)]
mod tests {
    use super::{Span, SpanOrForever};
    use proptest::prelude::*;
    use std::time::Duration;

    fn parse(text: &str) -> Result<Duration, String> {
        text.parse::<Span>().map(Span::get).map_err(|e| e.to_string())
    }

    #[test]
    fn common_forms_are_understood() {
        assert_eq!(parse("800ms"), Ok(Duration::from_millis(800)));
        assert_eq!(parse("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(parse("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse("0s"), Ok(Duration::ZERO));
        assert_eq!(parse(" 250 us "), Ok(Duration::from_micros(250)));
        assert_eq!(parse("1s.5ms"), Ok(Duration::from_micros(1_000_500)));
    }

    #[test]
    fn a_number_without_a_unit_is_refused_with_the_right_form() {
        insta::assert_snapshot!(parse("800").unwrap_err(), @"`800` has no unit: write `800ms` for milliseconds or `800s` for seconds");
        let from_json = serde_json::from_str::<Span>("800").unwrap_err().to_string();
        assert!(from_json.contains("write `800ms`"), "{from_json}");
        // Where a delay is asked for none is refused, so it is no advice.
        insta::assert_snapshot!(parse("0").unwrap_err(), @"`0` has no unit: write a duration such as `800ms`");
    }

    #[test]
    fn what_is_there_is_never_rounded_to_nothing() {
        insta::assert_snapshot!(parse("0.1ns").unwrap_err(), @"`0.1ns` is less than a nanosecond: write one such as `800ms`");
        assert_eq!(parse("0.5us"), Ok(Duration::from_nanos(500)));
        assert_eq!(parse("1s0ms"), Ok(Duration::from_secs(1)));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "ms", "-5ms", "5 parsecs", "1..5s", "5ms!", "999999999999h", "nan", "1e9s"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn forever_is_understood_where_it_makes_sense() {
        assert_eq!("forever".parse(), Ok(SpanOrForever::Forever));
        assert!("forever".parse::<Span>().is_err());
    }

    #[test]
    fn printed_forms_are_short() {
        for text in ["800ms", "1.5s", "2m", "90s", "250us", "1h", "0s", "10s"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn printing_and_parsing_return_the_same_span(nanos in 0u64..=31_000_000_000_000_000) {
            let span = Span::from(Duration::from_nanos(nanos));
            let again: Span = span.to_string().parse().unwrap();
            let error = again.get().abs_diff(span.get());
            prop_assert!(error <= Duration::from_nanos(nanos / 1_000_000_000_000_000 * 4), "{span} → {again}");
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC{0,20}") {
            let _ = text.parse::<Span>();
        }
    }
}
