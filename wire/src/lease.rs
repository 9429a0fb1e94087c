//! A lease: who may hurt which proxies, and until when. When it ends, its faults go.
//!
//! Invariant: a lease is exclusive on each of its proxies, and ends by itself when it is not renewed.

use crate::{LeaseId, ProxyName, Span};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The body of `POST /v1/leases`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LeaseRequest {
    /// Who asks, so that a second one can be told: a person, a run, a host.
    #[schemars(length(max = 500), regex(pattern = r"\S"))]
    pub owner: String,
    /// Why.
    #[serde(default)]
    #[schemars(length(max = 500))]
    pub reason: String,
    /// It ends so long after its last renewal. At most the agent's `max_lease`.
    pub ttl: Span,
    /// The proxies that it holds. Nobody else may set faults on them while it lives.
    #[schemars(length(min = 1))]
    pub proxies: Vec<ProxyName>,
}

/// The answer of `GET /v1/leases`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LeaseList {
    /// Those that live.
    pub leases: Vec<Lease>,
}

/// The body of `PUT /v1/leases/{lease}`: renews it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LeaseRenewal {
    /// A new time to live from now; the lease's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Span>,
}

/// A lease as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Lease {
    /// Its id, to be named in faults.
    pub id: LeaseId,
    /// Who holds it.
    pub owner: String,
    /// Why.
    pub reason: String,
    /// It ends so long after its last renewal.
    pub ttl: Span,
    /// Time left.
    pub expires_in: Span,
    /// When it was made, RFC 3339.
    pub created_at: String,
    /// The proxies that it holds.
    pub proxies: Vec<ProxyName>,
    /// How many faults live under it.
    pub faults: usize,
}
