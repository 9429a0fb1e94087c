//! The experiment as it is written: what the keys are, and nothing of what they mean together.
//!
//! The JSON Schema is derived from these types, and so are the words of "unknown key" and "did you mean". Keys that
//! must be there are optional here wherever `validate` can say better what is missing, and marked for the schema.
//! Neighbours: `yaml` fills them, `validate` makes an `Experiment` of them, `environment` has its own. Invariant:
//! unknown keys are refused everywhere; no `flatten` or `untagged`, which would lose the place.

mod measure;
mod method;
mod rows;
mod steps;
mod text;

pub use measure::{
    AgentProbeDoc, CommandProbeDoc, CommandReadDoc, ExpectDoc, HttpProbeDoc, MetricsProbeDoc, ProbeDoc, PromqlProbeDoc,
    RequestDoc, SqlProbeDoc, TcpProbeDoc, TrafficDoc,
};
pub use method::{AgentsDoc, InjectDoc, StepDoc};
pub use rows::{AbortDoc, SteadyDoc};
pub use steps::{
    ActionHttpDoc, CheckDoc, CheckWhen, PauseDoc, RampDoc, RepeatDoc, RunDoc, RunExpectDoc, SurgeDoc, UndoDoc,
    WindowDoc,
};
pub use text::{OneOrMore, RequestRate, Text};

use crate::environment::SandboxDoc;
use schemars::JsonSchema;
use serde::Deserialize;
use squall_wire::{Percent, ProxyName, Span};
use std::collections::BTreeMap;

/// A chaos experiment: a hypothesis about measurable behaviour, the faults that put it to the test, and the limits at
/// which to stop.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Squall experiment")]
pub struct Document {
    /// The version of this language: 1.
    #[schemars(required, range(min = 1, max = 1))]
    pub version: Option<u32>,
    /// A word for file names and lists: small letters, digits and `-`.
    #[schemars(required, regex(pattern = "^[a-z0-9][a-z0-9-]{0,63}$"))]
    pub name: Option<String>,
    /// What is believed about the system, in a sentence or two.
    #[schemars(required)]
    pub hypothesis: Option<String>,
    /// Who answers for it.
    pub owner: Option<String>,
    /// For choosing and listing.
    pub tags: Option<Vec<String>>,
    /// What it needs where the built-in sandbox is the environment.
    pub sandbox: Option<SandboxDoc>,
    /// Values that `${name}` stands for; `--set name=value` and the environment change them.
    pub variables: Option<BTreeMap<String, VariableDoc>>,
    /// Squall's own load.
    pub traffic: Option<TrafficDoc>,
    /// Everything else that is measured, by name.
    pub probes: Option<BTreeMap<String, ProbeDoc>>,
    /// What holds before, during and after the faults, unless a row says otherwise.
    #[schemars(required, length(min = 1))]
    pub steady_state: Option<Vec<SteadyDoc>>,
    /// `run` and `wait` steps before the load and the baseline; what they did is taken back after recovery.
    pub setup: Option<Vec<StepDoc>>,
    /// What is done to the system, in order.
    #[schemars(required, length(min = 1))]
    pub method: Option<Vec<StepDoc>>,
    /// What may be touched; checked before anything is.
    #[schemars(required)]
    pub blast_radius: Option<BlastRadiusDoc>,
    /// When to stop at once: one row that is met ends the run and heals everything.
    pub abort_when: Option<Vec<AbortDoc>>,
    /// How long the steady state is watched before the first fault; 10s when absent.
    pub baseline: Option<Span>,
    /// How the return to normal is judged; `{within: 10s, hold: 3s}` when absent.
    pub recovery: Option<RecoveryDoc>,
    /// The agents heal themselves so long after they last heard from the run; 10s when absent.
    pub lease: Option<Span>,
    /// When it may run; always when absent. The environment's windows count as well.
    pub windows: Option<Vec<WindowDoc>>,
}

/// A variable: a value, and what it may be changed to.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VariableDoc {
    /// The value unless `--set` or the environment gives another; may refer to other variables.
    pub default: Option<Text>,
    /// The largest value allowed, whatever gives it.
    pub max: Option<Text>,
    /// The smallest value allowed, whatever gives it.
    pub min: Option<Text>,
}

/// What may be touched.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BlastRadiusDoc {
    /// The only proxies that may be named. None where no step touches one.
    pub proxies: Option<Vec<ProxyName>>,
    /// The largest share of units that may be hit; 100 when absent.
    pub percent: Option<Percent>,
    /// The largest share of the environment's agents that may be touched, all steps together; 100 when absent.
    pub agents_percent: Option<Percent>,
    /// The longest that the whole method may take.
    #[schemars(required)]
    pub duration: Option<Span>,
}

/// How the return to normal is judged, after the faults are confirmed gone.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RecoveryDoc {
    /// It must be back to normal within so long; 10s when absent.
    pub within: Option<Span>,
    /// And stay so for this long, which is the window that is judged; 3s when absent.
    pub hold: Option<Span>,
}
