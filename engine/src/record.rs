//! A whole run as it is remembered: what the journal gives back, and what every report is made from.

use crate::{
    event::Event,
    experiment::{Recovery, Source, When},
    sample::{Metric, Sample},
    verdict::Verdict,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};

/// What is known of a run when it starts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunStart {
    /// A UUID, ordered by time.
    pub id: String,
    /// The experiment's name.
    pub experiment: String,
    /// Its hypothesis.
    pub hypothesis: String,
    /// Who answers for it.
    pub owner: Option<String>,
    /// Its tags.
    pub tags: Vec<String>,
    /// The file as run.
    pub source: SourceRecord,
    /// Variables as resolved, secrets left out.
    pub variables: BTreeMap<String, String>,
    /// `sandbox`, or the environment's name.
    pub environment: String,
    /// The agents that it may touch.
    pub agents: Vec<AgentRecord>,
    /// When it started, RFC 3339 with offset UTC.
    pub started_at: String,
    /// The version of squall.
    pub version: String,
    /// The machine that squall ran on.
    pub host: String,
    /// Process id of squall there, by which `recover` tells a dead run.
    pub pid: u32,
    /// How the return to normal is judged.
    pub recovery_within: Duration,
    /// See `recovery_within`.
    pub recovery_hold: Duration,
}

/// A file as run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceRecord {
    /// Its path as given.
    pub path: String,
    /// Its text.
    pub text: String,
}

impl From<Source> for SourceRecord {
    fn from(Source { path, text }: Source) -> Self {
        Self { path, text }
    }
}

impl RunStart {
    /// How the return to normal is judged.
    #[must_use]
    pub const fn recovery(&self) -> Recovery {
        Recovery { within: self.recovery_within, hold: self.recovery_hold }
    }
}

/// An agent of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentRecord {
    /// Its name in the environment.
    pub name: String,
    /// Its address.
    pub url: String,
    /// Its version.
    pub version: String,
}

/// How one line of the steady state turned out in one window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It held.
    Held,
    /// It did not.
    Broken,
    /// Too few samples to say.
    Inconclusive,
}

/// One metric of one row in one window, measured and judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RowResult {
    /// The series.
    pub probe: String,
    /// What was measured.
    pub metric: Metric,
    /// The tolerance as written.
    pub tolerance: String,
    /// The window.
    pub when: When,
    /// What was measured: in the metric's base unit (a share of 1, seconds, a second). For `status` and `value` the
    /// sample furthest off, else the last.
    pub measured: Option<f64>,
    /// The same as people read it, or the text that was read.
    pub shown: String,
    /// The same metric over the baseline.
    pub baseline: Option<f64>,
    /// Samples in the window.
    pub samples: usize,
    /// How it turned out.
    pub outcome: Outcome,
    /// Limits of the tolerance as numbers in the metric's base unit, for charts.
    pub limits: Vec<f64>,
    /// What the comparison with the control group gave, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control: Option<ControlRecord>,
    /// Of a burn rate: over which windows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burn: Option<BurnRecord>,
}

/// What a burn rate was of.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BurnRecord {
    /// The share of samples that shall succeed.
    pub objective: f64,
    /// The long window.
    pub long: Duration,
    /// The short one.
    pub short: Duration,
}

/// Those that a fault hit against those that it spared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ControlRecord {
    /// The metric of those hit; none of none.
    pub hit: Option<f64>,
    /// The metric of those spared, which are the control group; none of none.
    pub spared: Option<f64>,
    /// How many were hit.
    pub hit_samples: u64,
    /// How many were spared.
    pub spared_samples: u64,
    /// `mann_whitney`, `exceedance` or `fisher`.
    pub test: String,
    /// The chance of a difference like this, or a larger one, if those hit were not worse; none: too few samples.
    pub p_value: Option<f64>,
    /// The same, corrected for all comparisons of the experiment (Holm).
    pub p_adjusted: Option<f64>,
}

/// A fault of a run, from injection to removal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FaultRecord {
    /// The step.
    pub step: String,
    /// The agent.
    pub agent: String,
    /// The proxy.
    pub proxy: String,
    /// Its name there.
    pub name: String,
    /// The kind's name.
    pub kind: String,
    /// The fault as asked for, as one line of YAML.
    pub shown: String,
    /// Its seed.
    pub seed: Option<u64>,
    /// When it was set, since the run started.
    pub from: Duration,
    /// When it was confirmed gone; none: not confirmed.
    pub to: Option<Duration>,
    /// How many units it hit; none: cannot be counted.
    pub hits: Option<u64>,
}

/// A condition of `abort_when`, as text and with its limits for charts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AbortRecord {
    /// The series; `*` for any.
    pub probe: String,
    /// As text.
    pub condition: String,
    /// Metric and limit in its base unit, for charts.
    pub limits: Vec<(Metric, f64)>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunEnd {
    /// The verdict.
    pub verdict: Verdict,
    /// The exit code that went with it.
    pub exit_code: u8,
    /// Why, in sentences.
    pub reasons: Vec<String>,
    /// How long it took.
    pub took: Duration,
    /// Every line of the steady state in every window.
    pub rows: Vec<RowResult>,
    /// Every fault.
    pub faults: Vec<FaultRecord>,
    /// Every abort condition.
    pub aborts: Vec<AbortRecord>,
}

/// One series of samples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SeriesRecord {
    /// `traffic.NAME`, or a probe's name. The overall `traffic` is all of the former together.
    pub name: String,
    /// In the order in which they were done.
    pub samples: Vec<Sample>,
}

/// A whole run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// What was known when it started.
    pub start: RunStart,
    /// How it ended; none: it is running, or it died.
    pub end: Option<RunEnd>,
    /// What happened, in order.
    pub events: Vec<Event>,
    /// What was measured.
    pub series: Vec<SeriesRecord>,
}
