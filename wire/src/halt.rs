//! The big red switch: an agent that is halted has no faults and takes none until the halt is lifted.

use crate::{ProxyName, RemovedFault};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The body of `PUT /v1/halt`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HaltRequest {
    /// Why, for those whose faults are refused.
    pub reason: String,
}

/// A halt that is in effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Halt {
    /// Why.
    pub reason: String,
    /// Who ordered it, as the agent knows them.
    pub who: String,
    /// Since when, RFC 3339.
    pub since: String,
}

/// The answer of every call of `/v1/halt`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HaltInfo {
    /// The halt that is in effect, if one is.
    pub halt: Option<Halt>,
    /// Whether a restarted agent would be as halted as this one: it has a state file, and that was written.
    pub survives_restart: bool,
    /// The faults that this call took away.
    #[serde(default)]
    pub removed: Vec<RemovedFault>,
    /// The proxies that this call brought back to what they were before a lease's holder changed them.
    #[serde(default)]
    pub restored: Vec<ProxyName>,
}
