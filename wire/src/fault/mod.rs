//! A fault: one thing that goes wrong on one proxy. A value: a kind with its parameters, and what every fault has.
//!
//! `kind.rs` is one enum, one variant a kind, from which the REST JSON, the experiment YAML and the JSON Schema follow;
//! `parameters.rs`, `http.rs` and `packets.rs` have what each kind can be told, `catalogue.rs` what `squall faults` says of it. `selection.rs` says
//! which units are hit. `check.rs` refuses what makes no sense.
//!
//! Invariant: the same value means the same thing in a file, in a request and in the journal.

mod catalogue;
mod check;
mod http;
mod kind;
mod packets;
mod parameters;
mod selection;

pub use catalogue::{KindInfo, ParameterInfo};
pub use check::InvalidFault;
pub use http::{HttpBody, HttpHeaders, HttpLatency, HttpMessage, HttpPart, HttpStatus};
pub use kind::FaultKind;
pub use packets::{Duplicate, Loss, PacketLoss, Reorder};
pub use parameters::{
    Bandwidth, Blackhole, ConnectionLimit, Corrupt, CorruptHow, Distribution, Drip, Flap, Garbage, GarbageStyle,
    GarbageThen, Latency, LimitThen, Nothing, RateScope, Reset, SlowAccept, SlowClose, Stall, Truncate, TruncateThen,
};
pub use selection::{RequestLine, Where, unit_draw};

use crate::{FaultName, LeaseId, Percent, Span};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which way the bytes go that a fault acts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Client to server.
    Upstream,
    /// Server to client.
    Downstream,
    /// Both ways.
    Both,
}

impl Direction {
    /// Whether bytes from client to server are meant.
    #[must_use]
    pub const fn covers_upstream(self) -> bool {
        matches!(self, Self::Upstream | Self::Both)
    }

    /// Whether bytes from server to client are meant.
    #[must_use]
    pub const fn covers_downstream(self) -> bool {
        matches!(self, Self::Downstream | Self::Both)
    }
}

/// A fault as it is asked for: the body of `POST /v1/proxies/{proxy}/faults`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FaultSpec {
    /// Unique on its proxy; made up from the kind when absent (`latency-1`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<FaultName>,
    /// The kind and its parameters.
    pub fault: FaultKind,
    /// Which way; `downstream`, or what the kind fixes, when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direction: Option<Direction>,
    /// How many units are hit.
    #[serde(default, skip_serializing_if = "Percent::is_all")]
    pub percent: Percent,
    /// Which units are hit.
    #[serde(default, rename = "where", skip_serializing_if = "Where::is_everything")]
    pub only: Where,
    /// Leave the first so many units alone.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub skip: u64,
    /// Stop after so many hits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub count: Option<u64>,
    /// Seeds every random choice; made up, and reported, when absent. Below 2^53, so that JSON carries it exactly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 9_007_199_254_740_991_u64))]
    pub seed: Option<u64>,
    /// The lease that it lives under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<LeaseId>,
    /// Removed by the agent itself after so long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<Span>,
}

impl FaultSpec {
    /// A fault of this kind that hits everything.
    #[must_use]
    pub fn of(fault: FaultKind) -> Self {
        Self {
            name: None,
            fault,
            direction: None,
            percent: Percent::ALL,
            only: Where::default(),
            skip: 0,
            count: None,
            seed: None,
            lease: None,
            expires_in: None,
        }
    }

    /// The direction in which it acts: the one asked for, or the kind's own.
    #[must_use]
    pub fn resolved_direction(&self) -> Direction {
        self.direction.unwrap_or_else(|| self.fault.default_direction())
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The body of `PATCH /v1/proxies/{proxy}/faults/{fault}`: what is absent stays.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FaultPatch {
    /// New parameters, whole, of the same kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<FaultKind>,
    /// A new share: a larger one keeps those hit already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<Percent>,
    /// A new time left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<Span>,
}

/// A fault as it is: the answer of `GET /v1/proxies/{proxy}/faults/{fault}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FaultInfo {
    /// Unique on its proxy.
    pub name: FaultName,
    /// The kind and its parameters.
    pub fault: FaultKind,
    /// Which way it acts.
    pub direction: Direction,
    /// How many units are hit.
    pub percent: Percent,
    /// Which units are hit.
    #[serde(default, rename = "where", skip_serializing_if = "Where::is_everything")]
    pub only: Where,
    /// The first so many units are left alone.
    pub skip: u64,
    /// It stops after so many hits.
    pub count: Option<u64>,
    /// The seed of every random choice.
    pub seed: u64,
    /// The lease that it lives under.
    pub lease: Option<LeaseId>,
    /// Time left.
    pub expires_in: Span,
    /// Units (connections, datagrams on `udp`) on which it acted; `null` where that cannot be counted, as with `refuse`.
    pub hits: Option<u64>,
    /// Units that matched `where`, hit or spared.
    pub units: u64,
}

/// The answer of `GET /v1/proxies/{proxy}/faults`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FaultList {
    /// In the order in which they apply.
    pub faults: Vec<FaultInfo>,
}
