//! Why a soak cannot go on: the machine's fault or the harness's, never a finding about the agent.
//!
//! Findings are counted in `ledger` and `checkpoint`. Invariant: a message says what was tried.

/// What failed, and why.
#[derive(Debug, thiserror::Error)]
#[error("failed to {what}: {why}")]
pub(crate) struct SoakError {
    what: String,
    why: String,
}

impl SoakError {
    pub(crate) fn new(what: impl Into<String>, why: impl std::fmt::Display) -> Self {
        Self { what: what.into(), why: why.to_string() }
    }
}
