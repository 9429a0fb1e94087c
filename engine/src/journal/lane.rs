//! One run's way into the journal: numbers for what is written, and the spool while the journal is away.
//!
//! ```text
//! write ─▶ lane ──▶ store                        the journal is there
//!            └────▶ spool ──▶ catch_up ──▶ store  it is away: everything, in order, until it has caught up
//! ```
//!
//! Neighbours: `write` puts entries in, the runner's writer of samples calls [`Journal::catch_up`] again and again.
//! Invariants: a run's entries reach the journal in their order and once. While a spool is there nothing goes past it.

use super::{
    Journal, JournalError,
    entry::{self, Entry, Written},
    open::{ATTEMPTS, pause},
    spool::{Spool, SpoolChoice},
    store::{self, cause, is_away, is_busy},
};
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::Mutex;

/// Attempts while another process holds the file, where a spool can take it instead.
const ATTEMPTS_BEFORE_SPOOL: u32 = 2;

/// How often it is looked whether a journal that was away is back.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// One run's way.
#[derive(Debug, Default)]
pub(super) struct Lane {
    /// The number of the last event; none: the journal must be asked.
    last_event: Option<i64>,
    /// The number of the last sample of each series; none: the journal must be asked.
    last_samples: Option<BTreeMap<String, i64>>,
    spool: Option<Spool>,
    look_again: Option<Instant>,
    /// Samples for which there was no room, while the journal was away.
    dropped: u64,
    /// What a person should know, until somebody asks.
    news: Vec<String>,
    /// Brought in from the spool since the journal went away.
    caught_up: Written,
}

/// The lanes of this process, one a run: tens at most.
#[derive(Debug, Default)]
pub(super) struct Lanes(parking_lot::Mutex<BTreeMap<String, Arc<Mutex<Lane>>>>);

impl Lanes {
    pub(super) fn of(&self, run: &str) -> Arc<Mutex<Lane>> {
        Arc::clone(self.0.lock().entry(run.to_owned()).or_default())
    }

    /// A run that starts has nothing yet, so nobody needs to be asked.
    pub(super) fn start(&self, run: &str) {
        let lane = Lane { last_event: Some(0), last_samples: Some(BTreeMap::new()), ..Lane::default() };
        self.0.lock().insert(run.to_owned(), Arc::new(Mutex::new(lane)));
    }
}

impl Lane {
    /// The number of the next event.
    pub(super) async fn next_event(&mut self, journal: &Journal, run: &str) -> Result<i64, JournalError> {
        let last = match self.last_event {
            Some(last) => last,
            None => journal.reading("a run", entry::last_event(&journal.readers, run)).await?,
        };
        Ok(*self.last_event.insert(last) + 1)
    }

    /// Numbers for so many samples of a series: the first of them.
    pub(super) async fn next_samples(
        &mut self,
        journal: &Journal,
        run: &str,
        series: &str,
        many: usize,
    ) -> Result<i64, JournalError> {
        if self.last_samples.is_none() {
            let known = journal.reading("a run", entry::last_samples(&journal.readers, run)).await?;
            self.last_samples = Some(known.into_iter().collect());
        }
        let last = self.last_samples.get_or_insert_default().entry(series.to_owned()).or_default();
        let first = *last + 1;
        *last += i64::try_from(many).unwrap_or(i64::MAX);
        Ok(first)
    }

    /// Brings entries into the journal, or keeps them for it.
    pub(super) async fn put(
        &mut self,
        journal: &Journal,
        run: &str,
        entries: &[Entry],
    ) -> Result<Written, JournalError> {
        if self.spool.is_none() {
            match (journal.store(run, entries).await, &journal.spool) {
                (Ok(written), _) => {
                    self.last_event = written.last_event.or(self.last_event);
                    return Ok(written);
                }
                (Err(error), Some(choice)) if is_away(&error) => self.begin_spool(journal, choice, run, &error).await?,
                (Err(error), _) => return Err(journal.unwritten(entries, error)),
            }
        }
        self.keep(entries).await
    }

    async fn begin_spool(
        &mut self,
        journal: &Journal,
        choice: &SpoolChoice,
        run: &str,
        why: &sqlx::Error,
    ) -> Result<(), JournalError> {
        let spool = Spool::create(choice, journal.place().identity(), run).await.map_err(|error| {
            let cause = format!("{error} (the journal is away: {})", cause(why));
            JournalError::Spool { what: "what happens", path: choice.directory.clone(), cause }
        })?;
        self.news.push(format!(
            "the journal is away ({}): what happens and what is measured waits in {}",
            cause(why),
            spool.path.display()
        ));
        (self.spool, self.caught_up) = (Some(spool), Written::default());
        self.look_again = Some(Instant::now() + LOOK_AGAIN);
        Ok(())
    }

    async fn keep(&mut self, entries: &[Entry]) -> Result<Written, JournalError> {
        let mut written = Written::default();
        for entry in entries {
            let Some(spool) = &mut self.spool else { break };
            let kept = spool.append(entry).await.map_err(|error| JournalError::Spool {
                what: entry.what(),
                path: spool.path.clone(),
                cause: error.to_string(),
            })?;
            match entry {
                Entry::Event { seq, .. } => self.last_event = Some(*seq),
                Entry::Samples { rows, .. } if !kept => {
                    if self.dropped == 0 {
                        self.news
                            .push("the spool is full: samples are dropped and counted, events are kept".to_owned());
                    }
                    self.dropped += rows.len() as u64;
                }
                Entry::Samples { .. } => {}
                Entry::End { .. } => written.ends += 1,
            }
        }
        Ok(written)
    }
}

impl Journal {
    /// Writes what waits for the journal, if it is back: as much as there is, or until it goes away again. Costs nothing
    /// while nothing waits.
    ///
    /// # Errors
    /// When what waits cannot be read, or is refused; it is kept then.
    pub async fn catch_up(&self, run: &str) -> Result<(), JournalError> {
        let lane = self.lanes.of(run);
        loop {
            let (entries, up_to, path) = {
                let mut lane = lane.lock().await;
                let Some(spool) = &lane.spool else { return Ok(()) };
                if spool.is_done() {
                    lane.finish_spool();
                    return Ok(());
                }
                if lane.look_again.is_some_and(|at| Instant::now() < at) {
                    return Ok(());
                }
                let (entries, up_to) = spool.next().map_err(|error| unread(&spool.path, &error))?;
                (entries, up_to, spool.path.clone())
            };
            // Without the lane, so that events are kept meanwhile.
            let stored = self.store(run, &entries).await;
            let mut lane = lane.lock().await;
            match stored {
                Ok(written) => {
                    lane.look_again = None;
                    lane.caught_up.add(&written);
                    if let Some(spool) = &mut lane.spool {
                        spool.done = up_to;
                    }
                }
                Err(error) if is_away(&error) => {
                    tracing::info!(%error, "the journal is still away");
                    lane.look_again = Some(Instant::now() + LOOK_AGAIN);
                    return Ok(());
                }
                Err(error) => {
                    tracing::error!(%error, spool = %path.display(), "the journal refuses what waited for it");
                    return Err(self.unwritten(&entries, error));
                }
            }
        }
    }

    /// Tries for so long to bring what waits into the journal; where it is, when it still waits.
    pub async fn settle(&self, run: &str, patience: Duration) -> Option<PathBuf> {
        let deadline = Instant::now() + patience;
        loop {
            if let Err(error) = self.catch_up(run).await {
                tracing::error!(%error, "failed to write what waits for the journal");
                return self.waiting(run).await;
            }
            match self.waiting(run).await {
                Some(_) if Instant::now() < deadline => tokio::time::sleep(LOOK_AGAIN / 5).await,
                waiting => return waiting,
            }
        }
    }

    /// The spool in which something of the run waits, if so.
    pub async fn waiting(&self, run: &str) -> Option<PathBuf> {
        self.lanes.of(run).lock().await.spool.as_ref().map(|spool| spool.path.clone())
    }

    /// Samples that the journal will never have, as the spool was full.
    pub async fn dropped(&self, run: &str) -> u64 {
        self.lanes.of(run).lock().await.dropped
    }

    /// What a person should know about the journal since this was asked last: it is away, it is back, it drops samples.
    pub async fn news(&self, run: &str) -> Vec<String> {
        std::mem::take(&mut self.lanes.of(run).lock().await.news)
    }

    /// One transaction, tried again a bounded number of times while another process has the lock.
    pub(super) async fn store(&self, run: &str, entries: &[Entry]) -> Result<Written, sqlx::Error> {
        let attempts = if self.spool.is_some() { ATTEMPTS_BEFORE_SPOOL } else { ATTEMPTS };
        let mut attempt = 1;
        loop {
            match store::write(&self.writer, run, entries).await {
                Err(error) if attempt < attempts && (is_busy(&error) || is_taken(&error, entries)) => {
                    pause(attempt).await;
                    attempt += 1;
                }
                done => return done,
            }
        }
    }

    fn unwritten(&self, entries: &[Entry], source: sqlx::Error) -> JournalError {
        let what = entries.first().map_or("what happens", Entry::what);
        JournalError::Write { what, place: self.place().to_string(), source }
    }
}

impl Lane {
    /// The journal has everything.
    fn finish_spool(&mut self) {
        let Some(spool) = self.spool.take() else { return };
        let Written { events, samples, .. } = self.caught_up;
        self.news.push(format!("the journal is back: {events} events and {samples} samples that waited are written"));
        if let Err(error) = spool.remove() {
            tracing::warn!(%error, "failed to remove a spool that is done with");
        }
    }
}

/// Two that append to one run's events at once want the same number; the second attempt finds another.
fn is_taken(error: &sqlx::Error, entries: &[Entry]) -> bool {
    let unique = matches!(error, sqlx::Error::Database(error) if error.is_unique_violation());
    unique && entries.iter().any(|entry| matches!(entry, Entry::Event { .. }))
}

pub(super) fn unread(path: &std::path::Path, error: &std::io::Error) -> JournalError {
    JournalError::Spool { what: "what waits", path: path.to_owned(), cause: error.to_string() }
}
