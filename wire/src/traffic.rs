//! What a proxy saw since a mark, in groups: the connections that faults hit, and those that they spared.
//!
//! Those spared are the control group of an experiment: the same proxy, the same time, no fault. A connection belongs
//! to those spared until a fault first acts on it, and to those hit from then on. On an `http` proxy the requests are told
//! in the same two groups, for there a fault hits requests, of which one connection may carry some of either.
//! Neighbours: `squall-agent` counts, the `agent` probe of `squall-engine` reads.
//! Invariant: all numbers but `open` are of the time since the mark that was asked for.

use crate::{Mark, ProxyName, Span};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The answer of `GET /v1/traffic`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Traffic {
    /// This moment, to be named in `since` the next time.
    pub mark: Mark,
    /// By name.
    pub proxies: Vec<ProxyTraffic>,
}

/// What one proxy saw.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProxyTraffic {
    /// Its name.
    pub proxy: ProxyName,
    /// Both groups together.
    pub all: TrafficGroup,
    /// Connections on which a fault acted, from when it first did.
    pub hit: TrafficGroup,
    /// Connections on which no fault has acted: the control group.
    pub spared: TrafficGroup,
}

/// What one group of connections did.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TrafficGroup {
    /// Connections that are open now.
    pub open: u64,
    /// Connections that ended.
    pub ended: u64,
    /// Of these, those that ended with an error: upstream not reached, reset by either side.
    pub errors: u64,
    /// Bytes delivered from client to server, also of connections that are open.
    pub bytes_upstream: u64,
    /// Bytes delivered from server to client, also of connections that are open.
    pub bytes_downstream: u64,
    /// How long reaching the upstream took.
    pub connect: TimingInfo,
    /// From the client's first byte, or from the beginning where the server speaks first, to the first byte that the
    /// client got.
    pub first_byte: TimingInfo,
    /// How long connections that ended had lasted.
    pub duration: TimingInfo,
    /// What the requests did, on an `http` proxy; `null` on others.
    #[serde(default)]
    pub requests: Option<RequestGroup>,
}

/// What one group of an `http` proxy's requests did. A request is one of those hit if a fault acted on it or, for
/// as long as such a fault is there, on its whole connection.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RequestGroup {
    /// Requests that are under way.
    pub open: u64,
    /// Requests that were answered, or will not be.
    pub ended: u64,
    /// Of these, those that were answered with 5xx, with no whole response, or not at all.
    pub errors: u64,
    /// From the request's head to the first byte of the response, as it leaves for the client.
    pub first_byte: TimingInfo,
    /// From the request's head to the last byte of the response, as it leaves for the client; of a connection that was
    /// upgraded, to its end.
    pub duration: TimingInfo,
}

/// How something that was timed spreads: within 1 %, `null` where nothing was.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TimingInfo {
    /// How often it was timed.
    pub count: u64,
    /// Half took at most this long.
    pub p50: Option<Span>,
    /// Nine of ten.
    pub p90: Option<Span>,
    /// 99 of 100.
    pub p99: Option<Span>,
    /// 999 of 1000.
    pub p999: Option<Span>,
    /// The longest.
    pub max: Option<Span>,
    /// Every time that occurred, in microseconds, with how often, in ascending order; only where `times=true` asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<Vec<(u64, u64)>>,
}
