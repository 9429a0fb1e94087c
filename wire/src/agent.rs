//! What an agent says of itself, and what it answers when it heals.

use crate::{FaultName, Halt, Percent, ProxyName, Span};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The answer of `GET /v1/agent`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AgentInfo {
    /// Its name, the host's by default.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The commit that it was built from, where that is known.
    #[serde(default)]
    pub commit: Option<String>,
    /// An id made up at each start: a changed one means that the agent was restarted, and so healed.
    pub instance: String,
    /// Labels by which an experiment can choose it.
    pub labels: BTreeMap<String, String>,
    /// Time since it started.
    pub uptime: Span,
    /// The longest that a fault may live.
    pub max_fault_duration: Span,
    /// The longest that a lease may live without renewal.
    pub max_lease: Span,
    /// The kinds of fault that it can set.
    pub faults: Vec<String>,
    /// The kinds that it cannot set on its machine, and why.
    #[serde(default)]
    pub unavailable: BTreeMap<String, String>,
    /// What it will never do, whoever asks.
    #[serde(default)]
    pub policy: PolicyInfo,
    /// The halt that is in effect, if one is.
    #[serde(default)]
    pub halt: Option<Halt>,
}

/// What an agent will never do, whoever asks, as its configuration has it. What is absent allows everything.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PolicyInfo {
    /// Where its proxies may lead.
    pub upstreams: UpstreamsInfo,
    /// Networks in which its proxies may listen; anywhere when absent.
    #[serde(default)]
    pub listen: Option<Vec<String>>,
    /// The directory from which alone files for TLS are read that the API names.
    #[serde(default)]
    pub tls_files: Option<String>,
    /// The kinds of fault that may be set.
    pub kinds: Option<Vec<String>>,
    /// The largest share of a fault.
    pub max_percent: Option<Percent>,
    /// The longest that a fault may live.
    pub max_fault_duration: Option<Span>,
    /// Whether faults live under leases only.
    pub require_lease: bool,
    /// Proxies that get no faults, and that the API does not change.
    pub protected: Vec<ProxyName>,
}

/// Networks, and names with `*`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct UpstreamsInfo {
    /// Those that may be proxied; all when absent.
    pub allowed: Option<Vec<String>>,
    /// Those that never may, whatever `allowed` says.
    pub never: Vec<String>,
}

/// The answer of `GET /health/live` and `GET /health/ready`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Health {
    /// `live`, or `ready`.
    pub status: String,
}

/// One fault that was removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RemovedFault {
    /// The proxy that it was on.
    pub proxy: ProxyName,
    /// Its name there.
    pub fault: FaultName,
    /// How many units it had hit; `null` where that cannot be counted.
    pub hits: Option<u64>,
}

/// The answer of every DELETE that takes faults away: `/v1/faults`, one fault, a lease.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Healed {
    /// The faults that are gone.
    pub removed: Vec<RemovedFault>,
    /// Proxies that were changed under a lease, and are as they were before it.
    #[serde(default)]
    pub restored: Vec<ProxyName>,
}
