//! The tolerance language: `< 1500ms`, `between 1 and 5`, `within 20% of baseline or < 50ms`, `matches /re/`.
//!
//! ```text
//! either := both ("or" both)*            one is enough
//! both   := single ("and" single)*       binds tighter than `or`
//! single := "(" either ")" | ("<" | "<=" | ">" | ">=" | "==" | "!=") value | value
//!         | "between" value "and" value | "within" N "%" "of" "baseline" | "matches" "/" regex "/"
//!         | "no" "worse" "than" "control" ("by" (N "%" | time))?
//! ```
//!
//! Parsed once, against the metric that it will judge, into base units: shares of 1, seconds, a second, bytes.
//! Pure: no clock, no I/O. Neighbours: `validate` parses, `judge` and the guard ask.

mod parse;
mod value;

pub use parse::ToleranceError;

use crate::sample::{Metric, MetricKind};
use regex::Regex;

/// A parsed tolerance, which prints as it was written.
///
/// Two are equal when they were written alike.
#[derive(Debug, Clone)]
pub struct Tolerance {
    source: String,
    root: Expr,
}

/// What a tolerance says of a measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// It is met.
    Met,
    /// It is not.
    Unmet,
    /// It compares with the baseline, of which there is none, and no other part of it decides.
    NoBaseline,
    /// It compares with the control group, of which too little is known, and no other part of it decides.
    NoControl,
}

/// How much worse than the control group is not yet worse.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Margin {
    /// What counts where nothing is said: of times [`Margin::TIME_SHARE`] and at least [`Margin::TIME_LEAST`], of ratios
    /// [`Margin::RATIO`].
    Usual,
    /// Of times a share of the control's, of ratios percentage points.
    Share(f64),
    /// Seconds.
    Seconds(f64),
}

impl Margin {
    /// 10 %.
    pub const TIME_SHARE: f64 = 0.1;
    /// A millisecond, in seconds: less says more about the machine than about the system.
    pub const TIME_LEAST: f64 = 0.001;
    /// One percentage point.
    pub const RATIO: f64 = 0.01;
}

#[derive(Debug, Clone)]
enum Expr {
    Any(Vec<Expr>),
    All(Vec<Expr>),
    Number(Comparison, f64),
    Between(f64, f64),
    /// A share of the baseline: 0.2 for `within 20% of baseline`.
    Within(f64),
    /// No worse than the control group.
    Control(Margin),
    Text {
        equal: bool,
        text: String,
    },
    Matches(Regex),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Less,
    AtMost,
    Greater,
    AtLeast,
    Equal,
    NotEqual,
}

impl Comparison {
    fn holds(self, left: f64, right: f64) -> bool {
        let same = same(left, right);
        match self {
            Self::Less => left < right && !same,
            Self::AtMost => left < right || same,
            Self::Greater => left > right && !same,
            Self::AtLeast => left > right || same,
            Self::Equal => same,
            Self::NotEqual => !same,
        }
    }
}

/// Equal but for what floating point adds: 99 of 100 is 99 %, wherever the last bit falls.
fn same(left: f64, right: f64) -> bool {
    left == right || (left - right).abs() <= 1e-9 * left.abs().max(right.abs()) && (left - right).is_finite()
}

impl Tolerance {
    /// Parses a tolerance for this metric, whose units it then takes.
    ///
    /// # Errors
    /// Where and why it is not one, with what would be right.
    pub fn parse(text: &str, metric: Metric) -> Result<Self, ToleranceError> {
        Ok(Self { source: text.trim().to_owned(), root: parse::parse(text, metric)? })
    }

    /// Judges a number in the metric's base unit.
    ///
    /// `within N% of baseline` looks only at the worse side: times and error ratios may be lower, success ratios
    /// higher than the baseline by any amount. Rates, statuses and values may be off by N % either way.
    /// Without a baseline such a part says nothing, and the others decide if they can: `or` needs one that is met,
    /// `and` one that is not. In the window before the first fault, which is the baseline, callers pass its own
    /// measurement, of which such a part is always met.
    #[must_use]
    pub fn judge_number(&self, metric: Metric, value: f64, baseline: Option<f64>) -> Judgement {
        self.judge_against(metric, value, baseline, Judgement::NoControl)
    }

    /// The same for a tolerance that compares with the control group, given how that comparison came out.
    #[must_use]
    pub fn judge_against(&self, metric: Metric, value: f64, baseline: Option<f64>, control: Judgement) -> Judgement {
        self.root.judge(&|leaf| match leaf {
            Expr::Control(_) => control,
            leaf => leaf.judge_number(metric, value, baseline),
        })
    }

    /// The margin, if a part of it compares with the control group.
    #[must_use]
    pub fn control(&self) -> Option<Margin> {
        let mut found = None;
        self.root.each_leaf(&mut |leaf| {
            if let Expr::Control(margin) = leaf {
                found = Some(*margin);
            }
        });
        found
    }

    /// Judges a text.
    #[must_use]
    pub fn judge_text(&self, text: &str) -> Judgement {
        self.root.judge(&|leaf| match leaf {
            Expr::Text { equal, text: wanted } => decided((wanted == text) == *equal),
            Expr::Matches(regex) => decided(regex.is_match(text)),
            _ => Judgement::Unmet,
        })
    }

    /// Its limits as numbers in the metric's base unit, in order and once each, for charts.
    #[must_use]
    pub fn limits(&self, metric: Metric, baseline: Option<f64>) -> Vec<f64> {
        let mut found = Vec::new();
        self.root.each_leaf(&mut |leaf| match leaf {
            Expr::Number(_, limit) => found.push(*limit),
            Expr::Between(low, high) => found.extend([*low, *high]),
            Expr::Within(share) => {
                let (low, high) = within(metric, *share, baseline.unwrap_or(f64::NAN));
                found.extend([low, high].into_iter().flatten());
            }
            _ => {}
        });
        found.retain(|limit| limit.is_finite());
        found.sort_by(f64::total_cmp);
        found.dedup();
        found
    }

    /// Whether a part of it compares with the baseline.
    #[must_use]
    pub fn needs_baseline(&self) -> bool {
        let mut needs = false;
        self.root.each_leaf(&mut |leaf| needs |= matches!(leaf, Expr::Within(_)));
        needs
    }
}

impl Expr {
    /// Three-valued logic: what has no baseline or no control is neither true nor false.
    fn judge(&self, leaf: &dyn Fn(&Self) -> Judgement) -> Judgement {
        let fold = |parts: &[Self], decisive: Judgement, otherwise: Judgement| {
            parts.iter().map(|part| part.judge(leaf)).fold(otherwise, |sofar, next| match (sofar, next) {
                (a, b) if a == decisive || b == decisive => decisive,
                (unknown @ (Judgement::NoBaseline | Judgement::NoControl), _)
                | (_, unknown @ (Judgement::NoBaseline | Judgement::NoControl)) => unknown,
                _ => otherwise,
            })
        };
        match self {
            Self::Any(parts) => fold(parts, Judgement::Met, Judgement::Unmet),
            Self::All(parts) => fold(parts, Judgement::Unmet, Judgement::Met),
            _ => leaf(self),
        }
    }

    fn judge_number(&self, metric: Metric, value: f64, baseline: Option<f64>) -> Judgement {
        match self {
            Self::Number(comparison, limit) => decided(comparison.holds(value, *limit)),
            Self::Between(low, high) => {
                decided(Comparison::AtLeast.holds(value, *low) && Comparison::AtMost.holds(value, *high))
            }
            Self::Within(share) => baseline.map_or(Judgement::NoBaseline, |baseline| {
                let (low, high) = within(metric, *share, baseline);
                decided(
                    !value.is_nan()
                        && low.is_none_or(|low| Comparison::AtLeast.holds(value, low))
                        && high.is_none_or(|high| Comparison::AtMost.holds(value, high)),
                )
            }),
            _ => Judgement::Unmet,
        }
    }

    fn each_leaf(&self, visit: &mut dyn FnMut(&Self)) {
        match self {
            Self::Any(parts) | Self::All(parts) => parts.iter().for_each(|part| part.each_leaf(visit)),
            leaf => visit(leaf),
        }
    }
}

/// The lower and the upper limit of `within share of baseline`; `None` where that side is the better one.
fn within(metric: Metric, share: f64, baseline: f64) -> (Option<f64>, Option<f64>) {
    let (low, high) = (baseline - share * baseline.abs(), baseline + share * baseline.abs());
    match (metric, metric.kind()) {
        (Metric::SuccessRatio | Metric::Goodput, _) => (Some(low), None),
        (Metric::ErrorRatio, _) | (_, MetricKind::Time) => (None, Some(high)),
        _ => (Some(low), Some(high)),
    }
}

/// A share as it is written: `99.9%` or `0.999`.
///
/// # Errors
/// What would be right.
pub(crate) fn share(text: &str) -> Result<f64, String> {
    value::ratio(text.trim())
}

fn decided(met: bool) -> Judgement {
    if met { Judgement::Met } else { Judgement::Unmet }
}

impl PartialEq for Tolerance {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl std::fmt::Display for Tolerance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.source)
    }
}
