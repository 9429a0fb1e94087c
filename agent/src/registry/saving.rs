//! Keeping the state file up with the registry, one writer at a time and never under the registry's lock.
//!
//! Neighbours: `crate::state` has the format; `proxies.rs` saves after each change; the keeper tries again what failed.
//! Invariant: each writing takes its snapshot after it got its turn, so an older state never overwrites a newer one.

use super::{Refusal, Registry};
use crate::state::{self, Saved};
use parking_lot::Mutex;
use std::{path::PathBuf, time::Duration};
use tokio::time::Instant;

/// A state that could not be written is written again after so long, if no change does it before.
const RETRY: Duration = Duration::from_secs(5);

/// Where the state goes, and whether the last writing failed.
#[derive(Debug)]
pub(super) struct Saving {
    path: PathBuf,
    turn: tokio::sync::Mutex<()>,
    next_try: Mutex<Option<Instant>>,
}

impl Saving {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, turn: tokio::sync::Mutex::new(()), next_try: Mutex::new(None) }
    }

    pub(super) fn next_try(&self) -> Option<Instant> {
        *self.next_try.lock()
    }
}

impl Registry {
    /// Writes proxies and halt to the state file, if there is one.
    pub(crate) async fn save(&self) -> Result<(), Refusal> {
        let Some(saving) = &self.saving else { return Ok(()) };
        let _turn = saving.turn.lock().await;
        let saved = self.to_save().await;
        let path = saving.path.clone();
        let written = tokio::task::spawn_blocking(move || state::save(&path, saved)).await;
        let failure = match written {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(error) => Some(error.to_string()),
        };
        *saving.next_try.lock() = failure.as_ref().map(|_| Instant::now() + RETRY);
        let Some(cause) = failure else { return Ok(()) };
        tracing::error!(cause, "failed to save the state; trying again");
        self.sooner.notify_one();
        Err(Refusal::NotSaved(cause))
    }

    /// What is to come back: the halt, and the proxies.
    async fn to_save(&self) -> Saved {
        let inner = self.inner.lock().await;
        let proxies = inner.proxies.iter().map(|(name, entry)| entry.to_keep(name)).collect();
        let any_port = inner.proxies.iter().filter(|(_, entry)| entry.may_have_any_port());
        Saved { proxies, halt: inner.halt.clone(), any_port: any_port.map(|(name, _)| name.clone()).collect() }
    }
}
