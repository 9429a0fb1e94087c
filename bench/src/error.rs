//! What ends a run early. A figure that cannot be taken is an error, never a gap in the table.
//!
//! Every module returns it; `main` prints it and exits with 1.
//! Invariant: each message names what was tried.

use std::time::Duration;

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    /// The machine refused something.
    #[error("failed to {what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why not.
        source: std::io::Error,
    },
    /// The agent did not start, or answered what it should not.
    #[error("the agent failed to {what}: {why}")]
    Agent {
        /// What was asked.
        what: String,
        /// What came instead.
        why: String,
    },
    /// Another program did not start, or answered what it should not.
    #[error("{who} failed to {what}: {why}")]
    Peer {
        /// The program.
        who: &'static str,
        /// What was asked.
        what: String,
        /// What came instead.
        why: String,
    },
    /// A file of the kernel's is not as proc(5) says.
    #[error("failed to read {0}: it is not as proc(5) says")]
    Unreadable(String),
    /// Something that should have come did not.
    #[error("waited {limit:?} in vain for {what}")]
    Late {
        /// What was expected.
        what: String,
        /// For how long.
        limit: Duration,
    },
    /// A measurement did not deliver what it declared.
    #[error("figure `{0}` has no finite value: the measurement is broken")]
    Missing(String),
    /// A program that is to be measured is not there.
    #[error("there is no program {0}")]
    NoProgram(String),
    /// A measurement's thread panicked.
    #[error("a thread of the measurement panicked while it was to {0}")]
    Panicked(&'static str),
}

/// Adds what was tried to an error of the machine.
pub(crate) trait Tried<T> {
    /// Fails as "failed to `what`: …".
    fn tried(self, what: &str) -> Result<T, BenchError>;
}

impl<T> Tried<T> for std::io::Result<T> {
    fn tried(self, what: &str) -> Result<T, BenchError> {
        self.map_err(|source| BenchError::Io { what: what.to_owned(), source })
    }
}
