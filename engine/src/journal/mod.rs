//! The journal: every run, what happened in it and what was measured, written down as it happens.
//!
//! It is what reports are made from, what `squall history` lists, and what `squall recover` reads after a crash.
//! The database is SQLite in WAL mode, so several processes may read and write it at once.
//! Neighbours: `run` writes, `report` and the commands read.
//!
//! Invariants: when [`Journal::event`] returns, the event survives a crash and a loss of power. Nothing is overwritten:
//! a run ends once. With [`Journal::with_secrets`], no secret reaches the file.

mod error;
mod open;
mod read;
mod redact;
mod write;

pub use error::JournalError;
pub use read::{RunFilter, RunSummary};

use crate::experiment::Secrets;
use sqlx::SqlitePool;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// An open journal. Clones share its connections.
#[derive(Debug, Clone)]
pub struct Journal {
    path: Arc<PathBuf>,
    /// One connection: writers of this process queue here in order, not in SQLite's busy handler.
    writer: SqlitePool,
    readers: SqlitePool,
    secrets: Arc<Secrets>,
}

impl Journal {
    /// Opens the file, making it and its directory if they are not there, and proves that it can be written.
    ///
    /// # Errors
    /// When it cannot be written, is no journal, or was written by a newer squall.
    pub async fn open(path: &Path) -> Result<Self, JournalError> {
        let (writer, readers) = open::open(path).await?;
        Ok(Self { path: Arc::new(path.to_owned()), writer, readers, secrets: Arc::default() })
    }

    /// The same journal, which from now on replaces these secrets by `***` in everything that it stores.
    #[must_use]
    pub fn with_secrets(mut self, secrets: Secrets) -> Self {
        self.secrets = Arc::new(secrets);
        self
    }

    /// Its file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for what is being written and closes the file. A journal that is dropped instead loses nothing.
    pub async fn close(self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}
