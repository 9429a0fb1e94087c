//! The steps of the method, as they are written.

use schemars::JsonSchema;
use serde::Deserialize;
use squall_wire::{Direction, FaultKind, FaultName, Percent, ProxyName, Span, Where};

/// A step: exactly one of `inject`, `wait` and `parallel`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StepDoc {
    /// What it is called in reports; made up when absent.
    pub name: Option<String>,
    /// A fault that is set, left for a while, and taken away.
    pub inject: Option<InjectDoc>,
    /// How long the fault stays; goes with `inject`.
    #[serde(rename = "for")]
    pub lasting: Option<Span>,
    /// Nothing is done for so long.
    pub wait: Option<Span>,
    /// Steps that start together; it ends when the last does.
    pub parallel: Option<Vec<StepDoc>>,
}

/// One fault on one proxy.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InjectDoc {
    /// The agent; the only one when absent.
    #[serde(default)]
    pub agent: Option<String>,
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
