//! Amounts as they are written: durations, sizes, rates, shares, plain numbers; what each is of, and how it is written back.
//!
//! Pure. Neighbours: `level` makes the levels of a ramp of them, `search::scale` halves a range of them.
//! Invariant: what is written of an amount is read as the same one.

use squall_wire::{ByteRate, ByteSize, Span};
use std::time::Duration;

/// What an amount is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// `30`.
    Number,
    /// `30%`.
    Percent,
    /// `800ms`, in seconds.
    Duration,
    /// `64KiB`, in bytes.
    Size,
    /// `1MB/s`, in bytes a second.
    ByteRate,
    /// `200/s`.
    Rate,
}

impl Unit {
    pub(crate) const fn example(self) -> &'static str {
        match self {
            Self::Number => "a number such as `30`",
            Self::Percent => "a share such as `30`",
            Self::Duration => "a duration such as `800ms`",
            Self::Size => "a size such as `64KiB`",
            Self::ByteRate => "a rate such as `1MB/s`",
            Self::Rate => "so many a second, such as `40/s`",
        }
    }

    /// The amount, as it is written as a fault's parameter, where a share is a plain number.
    pub(crate) fn written(self, value: f64) -> String {
        match self {
            Self::Number | Self::Percent => format!("{value}"),
            Self::Duration => {
                let micros = Duration::try_from_secs_f64(value).unwrap_or_default().as_nanos().div_ceil(1000);
                Span::from(Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))).to_string()
            }
            Self::Size => ByteSize::new(whole(value)).to_string(),
            Self::ByteRate => format!("{}/s", ByteSize::new(whole(value))),
            Self::Rate => format!("{value}/s"),
        }
    }

    /// The amount, as people read it.
    pub(crate) fn shown(self, value: f64) -> String {
        if self == Self::Percent { format!("{value} %") } else { self.written(value) }
    }
}

/// Never negative, and far below 2^52 where it came from a file.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "amounts of bytes are not negative, and rounded"
)]
fn whole(value: f64) -> u64 {
    value.round() as u64
}

/// The unit and the amount in its base.
pub(crate) fn parse(text: &str) -> Option<(Unit, f64)> {
    let number = |text: &str| text.trim().parse::<f64>().ok().filter(|number| number.is_finite());
    number(text)
        .map(|n| (Unit::Number, n))
        .or_else(|| text.trim().strip_suffix('%').and_then(number).map(|n| (Unit::Percent, n)))
        .or_else(|| text.parse::<Span>().ok().map(|span| (Unit::Duration, span.get().as_secs_f64())))
        .or_else(|| text.parse::<ByteSize>().ok().map(|size| (Unit::Size, size.get() as f64)))
        .or_else(|| text.trim().strip_suffix("/s").and_then(number).map(|n| (Unit::Rate, n)))
        .or_else(|| text.parse::<ByteRate>().ok().map(|rate| (Unit::ByteRate, rate.get() as f64)))
}

#[cfg(test)]
mod tests {
    use super::{Unit, parse};

    #[test]
    fn amounts_are_read_in_their_units_and_written_back() {
        for (text, unit, shown) in [
            ("50ms", Unit::Duration, "50ms"),
            ("30", Unit::Number, "30"),
            ("64KiB", Unit::Size, "64KiB"),
            ("1MB/s", Unit::ByteRate, "1MB/s"),
            ("200/s", Unit::Rate, "200/s"),
        ] {
            let (found, value) = parse(text).unwrap();
            assert_eq!((found, found.written(value).as_str()), (unit, shown), "{text}");
        }
        assert_eq!(parse("fast"), None);
        assert_eq!(Unit::Percent.shown(12.5), "12.5 %");
    }
}
