//! What happened on an agent: one value for each change, as its bus and its event stream tell it.
//!
//! Neighbours: `squall-agent` publishes them, whoever follows an agent reads them.
//! Invariant: ids go up by one in the order in which things happened; an agent that starts anew counts from 1 again,
//! and has another `instance`.

use crate::{FaultName, LeaseId, ProxyName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which kind of thing happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A fault is in the way of a proxy from now on.
    FaultSet,
    /// Its parameters, its share or its end changed.
    FaultChanged,
    /// It is gone, and `detail` says why.
    FaultHealed,
    /// Somebody holds proxies from now on.
    LeaseTaken,
    /// It counts from now again.
    LeaseRenewed,
    /// It is over: by its owner, or because nobody renewed it.
    LeaseEnded,
    /// A proxy is there.
    ProxyCreated,
    /// Its address, its target or its switch changed.
    ProxyChanged,
    /// It is gone.
    ProxyRemoved,
    /// Everything was healed, and no new fault is taken.
    Halted,
    /// New faults are taken again.
    Resumed,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// Goes up by one with each event of one agent's life.
    pub id: u64,
    /// When, RFC 3339.
    pub at: String,
    /// What.
    pub kind: EventKind,
    /// On which proxy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<ProxyName>,
    /// Which fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<FaultName>,
    /// Under which lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<LeaseId>,
    /// Who did it: the name of a token, `cert:` and the name in a certificate, `anonymous`, or `agent` for its own doing.
    pub who: String,
    /// From where: the peer's address, or `agent`.
    pub from: String,
    /// More about it, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}
