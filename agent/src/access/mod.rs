//! Who may do what: an identity for each request, and the role that it has.
//!
//! Neighbours: `api::access` asks here for every request; `registry` writes the identity into the audit trail and asks
//! for the role where it depends on whose lease it is.
//! Invariant: a role includes those below it.

use serde::{Deserialize, Serialize};
use std::{fmt, sync::Arc};

/// What somebody may do; each includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// Look at everything.
    Read,
    /// Take leases, set faults, change proxies.
    Inject,
    /// Also halt the agent, and take away what others' leases hold.
    Admin,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Inject => "inject",
            Self::Admin => "admin",
        })
    }
}

/// Who sent a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) who: Arc<str>,
    pub(crate) role: Role,
}

impl Identity {
    /// Anybody, where the agent asks nobody who they are.
    pub(crate) fn anonymous() -> Self {
        Self { who: "anonymous".into(), role: Role::Admin }
    }
}
