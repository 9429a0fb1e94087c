//! One sample: what one request or one reading of a probe gave, and when.
//!
//! Traffic and probes give the same value, so that one set of functions judges both. A reading that failed or timed
//! out is a sample that is not `ok`, never a missing one.
//! Neighbours: `probe` and `traffic` make them, `recorder` keeps them, `stats` computes over them, the journal stores them.

use serde::{Deserialize, Serialize};
use std::{sync::Arc, time::Duration};

/// What one request or one reading gave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// When it was due to start, since the run started. For traffic the time on the schedule, so that a client that
    /// is kept waiting counts the wait (no coordinated omission).
    pub at: Duration,
    /// From `at` until it was done.
    pub took: Duration,
    /// Whether it succeeded: for traffic what `expect` says, for a probe that it got its reading.
    pub ok: bool,
    /// The HTTP status, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The value read, if the probe reads one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// The text read (`body`), or why it is not `ok`; shortened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<Arc<str>>,
}

impl Sample {
    /// When it was done, since the run started.
    #[must_use]
    pub fn done(&self) -> Duration {
        self.at + self.took
    }
}

/// What can be computed over a window of samples and held against a tolerance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Share of samples that are `ok`, 0..=1.
    SuccessRatio,
    /// Share of samples that are not `ok`, 0..=1.
    ErrorRatio,
    /// Samples a second.
    Rate,
    /// Successes a second.
    Goodput,
    /// Median time taken, in seconds.
    P50,
    /// 90th percentile, in seconds.
    P90,
    /// 95th percentile, in seconds.
    P95,
    /// 99th percentile, in seconds.
    P99,
    /// 99.9th percentile, in seconds.
    P999,
    /// 99th percentile of what was not turned away with 429 or 503, in seconds.
    AcceptedP99,
    /// The longest, in seconds.
    Max,
    /// The mean, in seconds.
    Mean,
    /// The HTTP status of each sample.
    Status,
    /// The value of each sample.
    Value,
    /// The text of each sample.
    Body,
    /// How many times faster than an objective allows errors come, over two windows.
    BurnRate,
}

/// How a metric is written and which way is worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// A share of 1, shown in percent.
    Ratio,
    /// A time in seconds, shown in milliseconds.
    Time,
    /// Samples a second.
    Rate,
    /// A number, compared for each sample.
    EachNumber,
    /// A text, compared for each sample.
    EachText,
    /// So many times what is allowed.
    Multiple,
}

impl Metric {
    /// Every metric, in the order in which reports show them.
    pub const ALL: [Self; 16] = [
        Self::SuccessRatio,
        Self::ErrorRatio,
        Self::Rate,
        Self::Goodput,
        Self::P50,
        Self::P90,
        Self::P95,
        Self::P99,
        Self::P999,
        Self::AcceptedP99,
        Self::Max,
        Self::Mean,
        Self::Status,
        Self::Value,
        Self::Body,
        Self::BurnRate,
    ];

    /// Its key in a file.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::SuccessRatio => "success_ratio",
            Self::ErrorRatio => "error_ratio",
            Self::Rate => "rate",
            Self::Goodput => "goodput",
            Self::P50 => "p50",
            Self::P90 => "p90",
            Self::P95 => "p95",
            Self::P99 => "p99",
            Self::P999 => "p999",
            Self::AcceptedP99 => "accepted_p99",
            Self::Max => "max",
            Self::Mean => "mean",
            Self::Status => "status",
            Self::Value => "value",
            Self::Body => "body",
            Self::BurnRate => "burn_rate",
        }
    }

    /// Whether it says something about a sample with this status: what was turned away was not accepted.
    #[must_use]
    pub const fn counts(self, status: Option<u16>) -> bool {
        !(matches!(self, Self::AcceptedP99) && matches!(status, Some(429 | 503)))
    }

    /// How it is written and judged.
    #[must_use]
    pub const fn kind(self) -> MetricKind {
        match self {
            Self::SuccessRatio | Self::ErrorRatio => MetricKind::Ratio,
            Self::P50 | Self::P90 | Self::P95 | Self::P99 | Self::P999 => MetricKind::Time,
            Self::AcceptedP99 | Self::Max | Self::Mean => MetricKind::Time,
            Self::Rate | Self::Goodput => MetricKind::Rate,
            Self::Status | Self::Value => MetricKind::EachNumber,
            Self::Body => MetricKind::EachText,
            Self::BurnRate => MetricKind::Multiple,
        }
    }

    /// The value as people read it: `99.8 %`, `812 ms`, `40.1/s`, `503`.
    #[must_use]
    pub fn shown(self, value: f64) -> String {
        match self.kind() {
            MetricKind::Ratio => format!("{} %", short(value * 100.0)),
            MetricKind::Time if value < 0.001 => format!("{} µs", short(value * 1e6)),
            MetricKind::Time if value < 10.0 => format!("{} ms", short(value * 1e3)),
            MetricKind::Time => format!("{} s", short(value)),
            MetricKind::Rate => format!("{}/s", short(value)),
            MetricKind::EachNumber | MetricKind::EachText => short(value),
            MetricKind::Multiple => format!("{}x", short(value)),
        }
    }
}

/// Three decimals below 1, two below 10, one below 100 unless that hides a difference from 100, none above.
fn short(value: f64) -> String {
    let decimals = match value.abs() {
        v if v >= 1000.0 => 0,
        v if v >= 99.0 => 2,
        v if v >= 10.0 => 1,
        v if v >= 1.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

impl std::fmt::Display for Metric {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.word())
    }
}
