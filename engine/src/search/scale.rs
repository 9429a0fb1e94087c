//! A range of values that is searched: durations, sizes, rates, percents, plain numbers; halved evenly or by ratio. Pure.
//!
//! Neighbours: `limit` searches, the quantities of `squall-wire` are what a variable is written in.
//! Invariant: every value between the edges is written as people would write it, parses back, and lies between them.

use crate::amount::{self, Unit};
use squall_wire::Span;
use std::time::Duration;

/// From one edge to the other.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Scale {
    /// What is varied.
    pub unit: Unit,
    /// The lower edge, in the unit's base; of durations in nanoseconds.
    pub low: f64,
    /// The upper edge.
    pub high: f64,
    /// Whether it is halved by ratio: the range spans more than a factor of ten.
    pub by_ratio: bool,
}

/// A variable and the range in which it is varied, as typed: `delay=50ms..5s`.
#[derive(Debug, Clone, PartialEq)]
pub struct Vary {
    /// The variable.
    pub name: String,
    /// The range.
    pub scale: Scale,
}

impl std::str::FromStr for Vary {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no variable and range: write one such as delay=50ms..5s");
        let (name, range) = text.split_once('=').ok_or_else(wrong)?;
        let (low, high) = range.split_once("..").ok_or_else(wrong)?;
        let name = name.trim();
        if name.is_empty() {
            return Err(wrong());
        }
        let ((unit, low_value), (other, high_value)) = (value(low)?, value(high)?);
        if unit != other {
            return Err(format!(
                "`{low}` and `{high}` are of two sorts: write both as durations, sizes, rates or numbers"
            ));
        }
        if low_value >= high_value {
            return Err(format!("`{low}..{high}` is no range: the first must be below the second"));
        }
        Ok(Self { name: name.to_owned(), scale: Scale::new(unit, low_value, high_value) })
    }
}

/// Durations are searched by the nanosecond.
const NANOS: f64 = 1e9;

/// A value as it is written, and what it is; a duration in nanoseconds.
pub(crate) fn value(text: &str) -> Result<(Unit, f64), String> {
    match amount::parse(text.trim()).filter(|(_, value)| *value >= 0.0) {
        Some((Unit::Duration, seconds)) => Ok((Unit::Duration, (seconds * NANOS).round())),
        Some(found) => Ok(found),
        None => Err(format!(
            "`{text}` is no value: write a duration (50ms), a size (64KiB), a rate (1MB/s, 200/s), a percent (30%) or a number"
        )),
    }
}

/// How a value of [`value`] is written as a variable.
pub(crate) fn shown(unit: Unit) -> fn(f64) -> String {
    match unit {
        Unit::Duration => |value| Span::from(Duration::from_nanos(value.round() as u64)).to_string(),
        Unit::Size => |value| Unit::Size.written(value),
        Unit::ByteRate => |value| Unit::ByteRate.written(value),
        Unit::Rate => |value| format!("{}/s", number(value)),
        Unit::Percent => |value| format!("{}%", number(value)),
        Unit::Number => number,
    }
}

/// A range over this factor is halved by ratio.
const WIDE: f64 = 10.0;

impl Scale {
    /// A range; halved by ratio where it spans more than a factor of ten.
    #[must_use]
    pub fn new(unit: Unit, low: f64, high: f64) -> Self {
        Self { unit, low, high, by_ratio: low > 0.0 && high / low > WIDE }
    }

    /// A value as it is written in a file.
    #[must_use]
    pub fn shown(&self, value: f64) -> String {
        shown(self.unit)(value)
    }

    /// A value of this range's sort, whether or not it lies in the range.
    ///
    /// # Errors
    /// When it is of another sort, or none at all.
    pub fn parse(&self, text: &str) -> Result<f64, String> {
        match value(text)? {
            (unit, value) if unit == self.unit => Ok(value),
            _ => Err(format!("`{text}` is of another sort than {} to {}", self.shown(self.low), self.shown(self.high))),
        }
    }

    /// How far along the range a value lies, from 0 to 1.
    #[must_use]
    pub fn position(&self, value: f64) -> f64 {
        let (low, high, value) = if self.by_ratio {
            (self.low.ln(), self.high.ln(), value.max(self.low).ln())
        } else {
            (self.low, self.high, value)
        };
        ((value - low) / (high - low)).clamp(0.0, 1.0)
    }

    /// A round value so far along the range, from 0 to 1; none when no such value lies near.
    #[must_use]
    pub fn at(&self, position: f64) -> Option<f64> {
        let exact = if self.by_ratio {
            (self.low.ln() + (self.high.ln() - self.low.ln()) * position).exp()
        } else {
            self.low + (self.high - self.low) * position
        };
        (2..=12)
            .map(|digits| self.whole(significant(exact, digits)))
            .find(|value| (self.low..=self.high).contains(value))
    }

    /// A round value about the middle between two; none when there is none between them that can be told from both.
    #[must_use]
    pub fn middle(&self, low: f64, high: f64) -> Option<f64> {
        let middle = if self.by_ratio && low > 0.0 { (low * high).sqrt() } else { f64::midpoint(low, high) };
        let between = |value: &f64| *value > low && *value < high;
        let candidates = (2..=12).map(|digits| significant(middle, digits)).map(|value| self.whole(value));
        // The roundest that is not too far off the middle: within a tenth of the gap.
        let near = |value: &f64| (value - middle).abs() <= (high - low) * 0.1;
        let mut candidates = candidates.filter(between);
        let first = candidates.next();
        candidates.find(near).filter(|_| first.is_some_and(|value| !near(&value))).or(first)
    }

    /// Values that are counted in whole numbers are whole.
    fn whole(&self, value: f64) -> f64 {
        match self.unit {
            Unit::Duration | Unit::Size | Unit::ByteRate => value.round(),
            // A percent is kept to a thousandth of one.
            Unit::Percent => (value * 1e3).round() / 1e3,
            Unit::Rate => value,
            Unit::Number if self.low.fract() == 0.0 && self.high.fract() == 0.0 => value.round(),
            Unit::Number => value,
        }
    }

    /// Whether two values lie so close that nothing is left to be found between them, `precision` being a share.
    #[must_use]
    pub fn is_close(&self, low: f64, high: f64, precision: f64) -> bool {
        high - low <= high.abs() * precision
    }
}

fn significant(value: f64, digits: i32) -> f64 {
    if value == 0.0 {
        return 0.0;
    }
    let power = 10f64.powi(digits - 1 - value.abs().log10().floor() as i32);
    (value * power).round() / power
}

fn number(value: f64) -> String {
    let text = format!("{value:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::{Scale, Vary, value};
    use crate::amount::Unit;
    use proptest::prelude::{Just, Strategy, prop_assert, prop_oneof, proptest};

    #[test]
    fn ranges_of_every_sort_are_read_and_halved_by_ratio_where_they_are_wide() {
        for (text, unit, by_ratio) in [
            ("delay=50ms..5s", Unit::Duration, true),
            ("delay=100ms..900ms", Unit::Duration, false),
            ("size=1KiB..1MiB", Unit::Size, true),
            ("rate=100KB/s..1MB/s", Unit::ByteRate, false),
            ("load=10/s..200/s", Unit::Rate, true),
            ("share=0%..100%", Unit::Percent, false),
            ("n=1..8", Unit::Number, false),
        ] {
            let vary: Vary = text.parse().unwrap();
            assert_eq!((vary.scale.unit, vary.scale.by_ratio), (unit, by_ratio), "{text}");
        }
    }

    #[test]
    fn mistakes_say_what_would_be_right() {
        let told = |text: &str| text.parse::<Vary>().unwrap_err();
        assert!(told("delay").contains("delay=50ms..5s"));
        assert!(told("=1..2").contains("delay=50ms..5s"));
        assert!(told("delay=5s..1s").contains("must be below"));
        assert!(told("delay=5s..64KiB").contains("two sorts"));
        assert!(told("delay=soon..later").contains("`soon` is no value"));
    }

    #[test]
    fn the_middle_is_a_value_that_people_would_write() {
        let scale = "delay=50ms..5s".parse::<Vary>().unwrap().scale;
        let shown = |low: &str, high: &str| {
            let (low, high) = (value(low).unwrap().1, value(high).unwrap().1);
            scale.middle(low, high).map(|value| scale.shown(value))
        };
        assert_eq!(shown("50ms", "5s").unwrap(), "500ms");
        assert_eq!(shown("500ms", "5s").unwrap(), "1.6s");
        assert_eq!(shown("1ns", "2ns"), None);
        let whole = "n=1..8".parse::<Vary>().unwrap().scale;
        assert_eq!(whole.middle(1.0, 8.0), Some(5.0));
        assert_eq!(whole.middle(1.0, 2.0), None);
    }

    fn scales() -> impl Strategy<Value = Scale> {
        let unit = prop_oneof![
            Just(Unit::Duration),
            Just(Unit::Size),
            Just(Unit::ByteRate),
            Just(Unit::Rate),
            Just(Unit::Percent),
            Just(Unit::Number)
        ];
        (unit, 1_u32..100, 1_u32..1_000_000).prop_map(|(unit, low, more)| {
            let more = if unit == Unit::Percent { more % (100 - low.min(99)) + 1 } else { more };
            Scale::new(unit, f64::from(low), f64::from(low.min(99)) + f64::from(more))
        })
    }

    proptest! {
        #[test]
        fn halving_ends_and_every_value_parses_back_between_its_edges(scale in scales(), right: bool) {
            let (mut low, mut high) = (scale.low, scale.high);
            for _ in 0..200 {
                let Some(middle) = scale.middle(low, high) else { break };
                prop_assert!(low < middle && middle < high);
                let shown = scale.shown(middle);
                let (unit, parsed) = value(&shown).unwrap();
                prop_assert!(unit == scale.unit && (parsed - middle).abs() <= middle * 1e-6 + 1e-6, "{shown}: {middle}");
                prop_assert!((0.0..=1.0).contains(&scale.position(middle)));
                if right { low = middle } else { high = middle }
            }
            prop_assert!(scale.is_close(low, high, 0.5) || scale.middle(low, high).is_none() || !right);
        }
    }
}
