//! Values in a tolerance, with the units that the metric takes, into its base unit.
//!
//! A wrong unit is refused with the right form. Quantities are parsed by `squall-wire`, so `1500ms` means the same
//! here as in a fault.

use crate::sample::{Metric, MetricKind};
use squall_wire::{ByteRate, ByteSize, Span};

/// The value in the metric's base unit: a share of 1, seconds, a second, or as it is.
///
/// # Errors
/// What would be right.
pub(super) fn number(text: &str, metric: Metric) -> Result<f64, String> {
    match (metric, metric.kind()) {
        (_, MetricKind::Ratio) => ratio(text),
        (_, MetricKind::Time) => text.parse::<Span>().map(|span| span.get().as_secs_f64()).map_err(|e| e.to_string()),
        (_, MetricKind::Rate) => rate(text),
        (_, MetricKind::Multiple) => multiple(text),
        (Metric::Status, _) => status(text),
        _ => any(text),
    }
}

/// `99%` as 0.99; the number of a `within` as well.
pub(super) fn percent(text: &str) -> Option<f64> {
    Some(plain(text.strip_suffix('%')?.trim_end())? / 100.0)
}

fn plain(text: &str) -> Option<f64> {
    // Rust would take `inf`, `nan` and `infinity` as numbers.
    let number = text.parse::<f64>().ok()?;
    (number.is_finite() && text.contains(|c: char| c.is_ascii_digit())).then_some(number)
}

pub(super) fn ratio(text: &str) -> Result<f64, String> {
    let Some(share) = percent(text).or_else(|| plain(text)) else {
        return Err(format!("`{text}` is not a share: write one such as `99%` or `0.99`"));
    };
    if (0.0..=1.0).contains(&share) {
        Ok(share)
    } else if text.ends_with('%') || !(0.0..=100.0).contains(&share) {
        Err(format!("`{text}` is not a share: it goes from `0%` to `100%`"))
    } else {
        Err(format!("`{text}` is not a share of 1: write `{text}%` or `{}`", share / 100.0))
    }
}

fn rate(text: &str) -> Result<f64, String> {
    text.strip_suffix("/s")
        .and_then(|number| plain(number.trim_end()))
        .or_else(|| plain(text))
        .filter(|rate| *rate >= 0.0)
        .ok_or_else(|| format!("`{text}` is not a rate: write so many a second, such as `40/s`"))
}

fn multiple(text: &str) -> Result<f64, String> {
    plain(text.strip_suffix('x').unwrap_or(text))
        .filter(|times| *times >= 0.0)
        .ok_or_else(|| format!("`{text}` is not so many times: write one such as `14.4`"))
}

fn status(text: &str) -> Result<f64, String> {
    match text.parse::<u16>() {
        Ok(status) if (100..1000).contains(&status) => Ok(f64::from(status)),
        _ => Err(format!("`{text}` is not an HTTP status: write one such as `200`")),
    }
}

/// A probe's value may be anything, so any unit is taken into its base: seconds, bytes, bytes a second, a share of 1.
fn any(text: &str) -> Result<f64, String> {
    plain(text)
        .or_else(|| percent(text))
        .or_else(|| text.parse::<Span>().ok().map(|span| span.get().as_secs_f64()))
        .or_else(|| text.parse::<ByteSize>().ok().map(|size| size.get() as f64))
        .or_else(|| text.parse::<ByteRate>().ok().map(|rate| rate.get() as f64))
        .ok_or_else(|| format!("`{text}` is not a number: write one such as `5`, `0.25`, `200ms` or `1MB/s`"))
}
