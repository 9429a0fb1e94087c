//! A proxy: a listener between clients and one upstream.
//!
//! Neighbours: `squall-agent` binds and runs them, environments in `squall-engine` name the ones to create.

use crate::{FaultInfo, LeaseId, ProxyName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a proxy speaks. Decides what one unit of `percent` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// A byte stream; a unit is a connection.
    #[default]
    Tcp,
}

/// A proxy as it is asked for: the body of `POST /v1/proxies` and `PUT /v1/proxies/{proxy}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProxySpec {
    /// Unique on its agent.
    pub name: ProxyName,
    /// Where clients connect, `HOST:PORT`; port 0 takes a free one, which the answer names.
    #[serde(default = "any_loopback_port")]
    pub listen: String,
    /// Where the traffic goes, `HOST:PORT`. Names are resolved for each connection.
    pub upstream: String,
    /// What is spoken.
    #[serde(default)]
    pub protocol: Protocol,
    /// A proxy that is not enabled refuses connections and keeps its name and faults.
    #[serde(default = "yes")]
    pub enabled: bool,
}

fn any_loopback_port() -> String {
    "127.0.0.1:0".to_owned()
}

fn yes() -> bool {
    true
}

/// The body of `PATCH /v1/proxies/{proxy}`: what is absent stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProxyPatch {
    /// A new address to listen on; open connections go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listen: Option<String>,
    /// A new target for connections from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    /// Whether it takes connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
}

/// A proxy as it is: the answer of `GET /v1/proxies/{proxy}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProxyInfo {
    /// Unique on its agent.
    pub name: ProxyName,
    /// The address that is bound.
    pub listen: String,
    /// Where the traffic goes.
    pub upstream: String,
    /// What is spoken.
    pub protocol: Protocol,
    /// Whether it takes connections.
    pub enabled: bool,
    /// Its faults, in the order in which they apply.
    pub faults: Vec<FaultInfo>,
    /// The lease that holds it, if any.
    pub lease: Option<LeaseId>,
    /// What it has seen since it was made.
    pub counters: ProxyCounters,
}

/// What a proxy has seen since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ProxyCounters {
    /// Connections that are open now.
    pub open_connections: u64,
    /// Connections accepted.
    pub connections: u64,
    /// Connections on which at least one fault acted.
    pub connections_hit: u64,
    /// Connections that ended with an error: upstream not reached, reset by either side.
    pub connection_errors: u64,
    /// Bytes delivered from client to server.
    pub bytes_upstream: u64,
    /// Bytes delivered from server to client.
    pub bytes_downstream: u64,
}
