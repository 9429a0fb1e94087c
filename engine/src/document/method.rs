//! The steps of the method, as they are written: what can stand in a step, and the faults.
//!
//! Neighbour: `steps` has what stands behind the other words.

use super::{CheckDoc, PauseDoc, RampDoc, RepeatDoc, RunDoc, SurgeDoc, Text};
use schemars::JsonSchema;
use serde::Deserialize;
use squall_wire::{Direction, FaultKind, FaultName, Percent, ProxyName, Span, Where};
use std::collections::BTreeMap;

/// A step: exactly one of `inject`, `surge`, `wait`, `parallel`, `ramp`, `run`, `check`, `pause` and `repeat`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StepDoc {
    /// What it is called in reports; made up when absent.
    pub name: Option<String>,
    /// A fault that is set, left for a while, and taken away.
    pub inject: Option<InjectDoc>,
    /// The load is another for a while: `{rate: 600/s}`.
    pub surge: Option<SurgeDoc>,
    /// How long the fault or the surge lasts; goes with `inject` and `surge`.
    #[serde(rename = "for")]
    pub lasting: Option<Span>,
    /// Nothing is done for so long.
    pub wait: Option<Span>,
    /// Steps that start together; it ends when the last does.
    pub parallel: Option<Vec<StepDoc>>,
    /// A fault or the load grows level by level until the steady state breaks: finds the last safe level.
    pub ramp: Option<RampDoc>,
    /// A program or a request, whose output later steps can use, and how it is taken back.
    pub run: Option<RunDoc>,
    /// The steady state is judged now.
    pub check: Option<CheckDoc>,
    /// A person is asked whether to go on.
    pub pause: Option<PauseDoc>,
    /// Steps that are done again and again.
    pub repeat: Option<RepeatDoc>,
}

/// One fault on one proxy, of one agent or of several.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InjectDoc {
    /// The agent; the only one when absent.
    #[serde(default)]
    pub agent: Option<String>,
    /// Several agents at once, chosen by labels and share.
    #[serde(default)]
    pub agents: Option<AgentsDoc>,
    /// The proxy.
    pub proxy: ProxyName,
    /// The kind of fault, as one key, and its parameters: `{latency: {delay: 800ms}}`.
    pub fault: FaultKind,
    /// The fault's name, unique on its proxy; made up from the kind when absent.
    #[serde(default)]
    pub name: Option<FaultName>,
    /// Which way; `downstream`, or what the kind fixes, when absent.
    #[serde(default)]
    pub direction: Option<Direction>,
    /// How many units (connections) are hit.
    #[serde(default)]
    pub percent: Percent,
    /// Which units are hit.
    #[serde(default, rename = "where")]
    pub only: Where,
    /// Leave the first so many units alone.
    #[serde(default)]
    pub skip: u64,
    /// Stop after so many hits.
    #[serde(default)]
    pub count: Option<u64>,
    /// Seeds every random choice; made up, and reported, when absent.
    #[serde(default)]
    pub seed: Option<u64>,
}

/// Agents by labels and share. The choice follows from the run's seed alone; a larger share keeps those of a smaller
/// one.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentsDoc {
    /// Labels that an agent must have, in the environment's file or its own configuration; every agent when absent.
    pub labels: Option<BTreeMap<String, Text>>,
    /// So many of those, rounded down; all when absent. None at all is an error.
    pub percent: Option<Percent>,
}
