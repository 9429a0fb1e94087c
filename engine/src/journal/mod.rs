//! The journal: every run, what happened in it and what was measured, written down as it happens.
//!
//! It is what reports are made from, what `squall history` lists, and what `squall recover` reads after a crash.
//! The database is SQLite in WAL mode, or PostgreSQL; several processes may read and write either at once.
//! [`docs/journal.md`](../../../../docs/journal.md) has the schema and the spool. Neighbours: `run` writes, `report` and
//! the commands read.
//!
//! ```text
//! write ─▶ redact ─▶ lane ─▶ store ─▶ SQLite | PostgreSQL
//!                      └───▶ spool   while that is away; then into it, or by `absorb` of a later process
//! ```
//!
//! Invariants: when [`Journal::event`] returns, the event survives a crash and a loss of power. Nothing is overwritten:
//! a run ends once. With [`Journal::with_secrets`], no secret reaches the journal or a spool.

mod absorb;
mod entry;
mod error;
mod lane;
mod open;
mod place;
mod prune;
mod read;
mod redact;
mod spool;
mod store;
mod write;

pub use absorb::Absorbed;
pub use error::JournalError;
pub use place::{JournalPlace, PostgresUrl};
pub use prune::{PruneRule, Pruned};
pub use read::{RunFilter, RunSummary};
pub(crate) use redact::redacted;
pub use spool::SpoolChoice;

use crate::experiment::Secrets;
use lane::Lanes;
use std::sync::Arc;
use store::{Pool, both};

/// An open journal. Clones share its connections.
#[derive(Debug, Clone)]
pub struct Journal {
    place: Arc<JournalPlace>,
    writer: Pool,
    readers: Pool,
    secrets: Arc<Secrets>,
    spool: Option<Arc<SpoolChoice>>,
    lanes: Arc<Lanes>,
}

impl Journal {
    /// Opens it, making its tables (and a file and its directory) if they are not there, and proves that it can be
    /// written.
    ///
    /// # Errors
    /// When it cannot be reached or written, is no journal, or was written by a newer squall.
    pub async fn open(place: impl Into<JournalPlace>) -> Result<Self, JournalError> {
        let place = place.into();
        let (writer, readers) = open::open(&place).await?;
        let (secrets, lanes) = Default::default();
        Ok(Self { place: Arc::new(place), writer, readers, secrets, spool: None, lanes })
    }

    /// The same journal, which from now on replaces these secrets by `***` in everything that it stores.
    #[must_use]
    pub fn with_secrets(mut self, secrets: Secrets) -> Self {
        self.secrets = Arc::new(secrets);
        self
    }

    /// The same journal, which from now on keeps what it cannot write while it is away.
    #[must_use]
    pub fn with_spool(mut self, spool: SpoolChoice) -> Self {
        self.spool = Some(Arc::new(spool));
        self
    }

    /// Where it is.
    #[must_use]
    pub fn place(&self) -> &JournalPlace {
        &self.place
    }

    /// Waits for what is being written and closes its connections. A journal that is dropped instead loses nothing.
    pub async fn close(self) {
        both!(self.readers, pool => pool.close().await);
        both!(self.writer, pool => pool.close().await);
    }
}
