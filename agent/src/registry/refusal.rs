//! Why the registry would not, or could not: one enum for whatever a caller can cause or must be told.
//!
//! Neighbours: `registry` and `lease` return it, `api::error` maps it to a status and a body in one `match`.
//! Invariant: a refusal changed nothing, but for those that say so: `Unhealed` and `NotSaved`.

use crate::{access::Role, proxy::ProxyError, toxiproxy::ToxiproxyMistake};
use squall_wire::{FaultName, LeaseId, ProxyName, nearest::nearest};

/// A change that did not happen, or not wholly.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// The request makes no sense.
    #[error("{message}")]
    Invalid {
        /// The field that is wrong.
        field: String,
        /// What is wrong, and what would be right.
        message: String,
    },
    /// There is no such proxy, fault or lease.
    #[error("{what}")]
    NotFound {
        /// What is not there.
        what: String,
        /// What was meant, perhaps.
        hint: Option<String>,
    },
    /// The name is taken.
    #[error("{what}")]
    Taken {
        /// What exists already.
        what: String,
        /// What to do instead.
        hint: &'static str,
    },
    /// Something else leads to the proxy, which has to stay.
    #[error("{what}")]
    InUse {
        /// What leads to it.
        what: String,
        /// What to do instead.
        hint: &'static str,
    },
    /// What was asked for in Toxiproxy's words makes no sense.
    #[error(transparent)]
    Toxiproxy(#[from] ToxiproxyMistake),
    /// There is no such toxic.
    #[error("toxic not found")]
    NoToxic,
    /// The name of a toxic is taken.
    #[error("toxic already exists")]
    ToxicExists,
    /// Somebody else's lease holds the proxy.
    #[error("proxy `{proxy}` is leased by {owner} ({}) since {since}, until {until} unless renewed",
        if reason.is_empty() { "no reason given" } else { reason })]
    Leased {
        /// The proxy.
        proxy: ProxyName,
        /// Who holds it.
        owner: String,
        /// Why.
        reason: String,
        /// Since when, RFC 3339.
        since: String,
        /// Until when, RFC 3339.
        until: String,
    },
    /// A lease is asked for on a proxy that has faults which it would not own.
    #[error("proxy `{proxy}` has faults that no lease holds ({faults}): they would stay when this one ends")]
    Hurt {
        /// The proxy.
        proxy: ProxyName,
        /// Their names.
        faults: String,
    },
    /// A lease is asked for on a proxy that is not yet what it was before another.
    #[error("proxy `{proxy}` was changed under lease `{lease}`, which is over, and could not be brought back yet")]
    NotBack {
        /// The proxy.
        proxy: ProxyName,
        /// The lease that is over.
        lease: LeaseId,
    },
    /// It takes a role that the caller does not have.
    #[error("{message}: that takes the role `{needed}`")]
    Role {
        /// The role.
        needed: Role,
        /// What is in the way.
        message: String,
    },
    /// The agent's policy forbids it, whoever asks.
    #[error("{rule}: {message}")]
    Policy {
        /// The rule's place in the configuration.
        rule: &'static str,
        /// The field that it is about.
        field: &'static str,
        /// What it forbids.
        message: String,
    },
    /// The agent is halted.
    #[error("this agent was halted by {who} at {since}, and takes no faults until that is lifted: {reason}")]
    Halted {
        /// Why.
        reason: String,
        /// Who ordered it.
        who: String,
        /// Since when, RFC 3339.
        since: String,
    },
    /// A limit of this agent's forbids it.
    #[error("{message}")]
    Limit {
        /// The field that is over the limit; empty when it is none.
        field: &'static str,
        /// The limit, by name.
        message: String,
        /// How to stay within it.
        hint: String,
    },
    /// This agent, on this machine, cannot do it.
    #[error("{what} cannot be had here: {why}")]
    Unavailable {
        /// What was asked for.
        what: String,
        /// Why not.
        why: String,
    },
    /// The data plane could not do it: an address is taken or cannot be resolved.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    /// A fault could not be removed. The agent goes on trying.
    #[error("failed to heal {faults}: {cause}")]
    Unhealed {
        /// Which, as `proxy/fault`.
        faults: String,
        /// Why not.
        cause: String,
    },
    /// The change took effect and is not in the state file. The agent goes on trying.
    #[error("the change took effect, but would be lost at a restart: {0}")]
    NotSaved(String),
    /// The data plane did not answer: a bug, or a machine in trouble.
    #[error("the proxy did not do it within {seconds}s: look at the agent's log and the load of its machine")]
    Stuck {
        /// So long it was waited for.
        seconds: u64,
    },
    /// The agent is shutting down.
    #[error("the agent is shutting down and takes no more changes")]
    Closed,
}

impl Refusal {
    pub(crate) fn invalid(field: &str, message: impl Into<String>) -> Self {
        Self::Invalid { field: field.to_owned(), message: message.into() }
    }

    pub(crate) fn forbidden(message: String) -> Self {
        Self::Limit { field: "", message, hint: String::new() }
    }

    pub(crate) fn no_lease(id: &LeaseId) -> Self {
        Self::NotFound {
            what: format!("there is no lease `{id}`: it ended, or never was"),
            hint: Some("take a new one with POST /v1/leases".into()),
        }
    }

    pub(crate) fn not_held(proxy: &ProxyName) -> Self {
        Self::invalid("lease", format!("that lease does not hold proxy `{proxy}`: take one that does"))
    }

    pub(crate) fn no_proxy<'a>(name: &ProxyName, known: impl Iterator<Item = &'a ProxyName>) -> Self {
        let hint = nearest(name.as_str(), known.map(ProxyName::as_str));
        Self::NotFound {
            what: format!("there is no proxy `{name}`"),
            hint: hint.map(|word| format!("did you mean `{word}`?")),
        }
    }

    pub(crate) fn no_fault<'a>(
        proxy: &ProxyName,
        name: &FaultName,
        known: impl Iterator<Item = &'a FaultName>,
    ) -> Self {
        let hint = nearest(name.as_str(), known.map(FaultName::as_str));
        Self::NotFound {
            what: format!("proxy `{proxy}` has no fault `{name}`"),
            hint: hint.map(|word| format!("did you mean `{word}`?")),
        }
    }
}
