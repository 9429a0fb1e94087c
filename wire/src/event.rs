//! What happened on an agent: one value for each change, as its bus and its event stream tell it.
//!
//! Neighbours: `squall-agent` publishes them, whoever follows an agent reads them.
//! Invariant: ids go up by one in the order in which changes happened; an agent that starts anew counts from 1 again,
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
    /// A fault hit units since it was last told: at most one event a fault and second.
    FaultHit,
    /// Connections ended since that was last told: at most one event a proxy and second.
    ConnectionsEnded,
}

impl EventKind {
    /// Whether it sums up what happens too often to be told each time. Such an event is told to those who follow at
    /// that moment, is not kept, and has the id of the change before it.
    #[must_use]
    pub const fn is_sample(self) -> bool {
        matches!(self, Self::FaultHit | Self::ConnectionsEnded)
    }
}

/// What an event stream tells instead of events that it no longer has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EventsLost {
    /// How many; `null` where nobody can know, after a restart of the agent.
    pub missed: Option<u64>,
    /// Why.
    pub why: String,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// Goes up by one with each change of one agent's life.
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
    /// How often, where the event sums up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// More about it, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}
