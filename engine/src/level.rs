//! Levels of a ramp: from one amount to another in even steps or by a factor, in the unit in which they are written.
//!
//! Pure. Neighbours: `validate::ramp` makes them. Invariant: the first level and the last are as written, and the
//! levels between them, of three digits each, go one way.

use squall_wire::{ByteRate, ByteSize, Span};
use std::time::Duration;

/// What an amount is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Number,
    Percent,
    Time,
    Size,
    ByteRate,
    Rate,
}

impl Unit {
    pub(crate) const fn example(self) -> &'static str {
        match self {
            Self::Number => "a number such as `30`",
            Self::Percent => "a share such as `30`",
            Self::Time => "a duration such as `800ms`",
            Self::Size => "a size such as `64KiB`",
            Self::ByteRate => "a rate such as `1MB/s`",
            Self::Rate => "so many a second, such as `40/s`",
        }
    }

    /// The amount, as it is written in a file.
    pub(crate) fn written(self, value: f64) -> String {
        match self {
            Self::Number | Self::Percent => format!("{value}"),
            Self::Time => {
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
        .or_else(|| text.parse::<Span>().ok().map(|span| (Unit::Time, span.get().as_secs_f64())))
        .or_else(|| text.parse::<ByteSize>().ok().map(|size| (Unit::Size, size.get() as f64)))
        .or_else(|| text.trim().strip_suffix("/s").and_then(number).map(|n| (Unit::Rate, n)))
        .or_else(|| text.parse::<ByteRate>().ok().map(|rate| (Unit::ByteRate, rate.get() as f64)))
}

/// So many levels, evenly apart, both ends included.
pub(crate) fn evenly(from: f64, to: f64, levels: u32) -> Vec<f64> {
    let apart = (to - from) / f64::from(levels.saturating_sub(1).max(1));
    let between = (1..levels.saturating_sub(1)).map(|n| three_digits(from + apart * f64::from(n)));
    distinct(std::iter::once(from).chain(between).chain([to]))
}

/// Each level so many times the one before, or a part of it where the ramp goes down; the last is `to` itself.
pub(crate) fn by_factor(from: f64, to: f64, factor: f64, most: usize) -> Option<Vec<f64>> {
    let up = to > from;
    let mut levels = vec![from];
    let mut level = from;
    loop {
        level = if up { level * factor } else { level / factor };
        if levels.len() >= most {
            return None;
        }
        if (up && level >= to) || (!up && level <= to) {
            levels.push(to);
            return Some(distinct(levels.into_iter()));
        }
        levels.push(three_digits(level));
    }
}

fn distinct(levels: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut levels: Vec<f64> = levels.collect();
    levels.dedup();
    levels
}

fn three_digits(value: f64) -> f64 {
    format!("{value:.2e}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::{Unit, by_factor, evenly, parse};
    use proptest::prelude::*;

    #[test]
    fn amounts_are_read_in_their_units_and_written_back() {
        for (text, unit, shown) in [
            ("50ms", Unit::Time, "50ms"),
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

    #[test]
    fn levels_are_even_or_by_a_factor_and_end_where_they_should() {
        assert_eq!(evenly(0.05, 5.0, 4), [0.05, 1.7, 3.35, 5.0]);
        assert_eq!(evenly(10.0, 50.0, 2), [10.0, 50.0]);
        assert_eq!(by_factor(0.05, 0.5, 2.0, 100).unwrap(), [0.05, 0.1, 0.2, 0.4, 0.5]);
        assert_eq!(by_factor(1000.0, 100.0, 3.0, 100).unwrap(), [1000.0, 333.0, 111.0, 100.0]);
        assert_eq!(by_factor(1.0, 1e9, 1.01, 100), None);
    }

    proptest! {
        #[test]
        fn levels_go_one_way(from in 0.001f64..1e6, times in 1.01f64..1e4, levels in 2u32..50, down: bool) {
            let (from, to) = if down { (from * times, from) } else { (from, from * times) };
            for levels in [Some(evenly(from, to, levels)), by_factor(from, to, 1.5, 100)].into_iter().flatten() {
                prop_assert_eq!((levels[0], *levels.last().unwrap()), (from, to));
                prop_assert!(levels.len() < 4 || levels[1..levels.len() - 1].windows(2).all(|w| (w[1] > w[0]) != down));
            }
        }
    }
}
