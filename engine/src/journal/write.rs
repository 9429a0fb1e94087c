//! Writing: a run's start, its events, its samples, its end.
//!
//! Each call is one transaction: all or none. What cannot be written because the journal is away is kept in the run's
//! spool, where one was chosen; only a run's start never is, so that a journal that cannot be used is noticed before
//! anything is injected. Neighbours: `redact` cleans every text first, `lane` decides where it goes.

use super::{
    Journal, JournalError,
    entry::{self, Entry, micros, storable},
    open::{ATTEMPTS, pause},
    redact,
    store::{Pool, both, is_busy},
};
use crate::{
    event::{Event, What},
    record::{RunEnd, RunStart},
    sample::Sample,
};
use serde::Serialize;
use std::{collections::BTreeMap, sync::Arc};

impl Journal {
    /// Writes that a run starts.
    ///
    /// # Errors
    /// When it cannot be written, when its id is taken, or when `started_at` is no time.
    pub async fn start_run(&self, start: &RunStart) -> Result<(), JournalError> {
        let started: jiff::Timestamp = start
            .started_at
            .parse()
            .map_err(|_| JournalError::StartTime { run: start.id.clone(), text: start.started_at.clone() })?;
        let start = &redact::start(&self.secrets, start);
        let body = json(&start.id, "the start", start)?;
        let mut attempt = 1;
        loop {
            match insert_start(&self.writer, start, started.as_millisecond(), &body).await {
                Ok(()) => break,
                Err(error) if attempt < ATTEMPTS && is_busy(&error) => {
                    pause(attempt).await;
                    attempt += 1;
                }
                Err(source) => {
                    return Err(JournalError::Write {
                        what: "the start of a run",
                        place: self.place().to_string(),
                        source,
                    });
                }
            }
        }
        self.lanes.start(&start.id);
        Ok(())
    }

    /// Writes an event. When this returns, it is on disk, in the journal or in the run's spool, and survives a crash.
    ///
    /// # Errors
    /// When it cannot be written, or the run was never started.
    pub async fn event(&self, run: &str, event: &Event) -> Result<(), JournalError> {
        let event = &redact::event(&self.secrets, event);
        let body = json(run, "an event", event)?;
        let lane = self.lanes.of(run);
        let mut lane = lane.lock().await;
        let seq = lane.next_event(self, run).await?;
        let kind = kind(&event.what).to_owned();
        lane.put(self, run, &[Entry::Event { seq, at_us: micros(event.at), kind, body }]).await.map(drop)
    }

    /// Writes samples, each with the name of its series, in their order and in one transaction: all or none. Times are
    /// kept in whole microseconds, a value that is not a number as none.
    ///
    /// Events wait while samples are written, so give the samples of about a second at a time.
    ///
    /// # Errors
    /// When they cannot be written, or the run was never started.
    pub async fn samples(&self, run: &str, samples: &[(Arc<str>, Sample)]) -> Result<(), JournalError> {
        if samples.is_empty() {
            return Ok(());
        }
        let mut order: Vec<(&str, Vec<entry::Row>)> = Vec::new();
        let mut places: BTreeMap<&str, usize> = BTreeMap::new();
        for (series, sample) in samples {
            let place = *places.entry(series).or_insert_with(|| {
                order.push((series, Vec::new()));
                order.len() - 1
            });
            order[place].1.push(entry::row(sample, |text| self.secrets.redact(text)));
        }
        let lane = self.lanes.of(run);
        let mut lane = lane.lock().await;
        let mut entries = Vec::with_capacity(order.len());
        for (series, rows) in order {
            let first = lane.next_samples(self, run, series, rows.len()).await?;
            entries.push(Entry::Samples { series: storable(series.to_owned()), first, rows });
        }
        lane.put(self, run, &entries).await.map(drop)
    }

    /// Writes how a run ended.
    ///
    /// # Errors
    /// When it cannot be written, when the run has ended already, or was never started.
    pub async fn end_run(&self, run: &str, end: &RunEnd) -> Result<(), JournalError> {
        let end = &redact::end(&self.secrets, end);
        let body = json(run, "the end", end)?;
        let entry = Entry::End {
            verdict: end.verdict.word().to_owned(),
            exit_code: i64::from(end.exit_code),
            took_us: micros(end.took),
            reason: end.reasons.first().cloned().map(storable),
            body,
        };
        let lane = self.lanes.of(run);
        if lane.lock().await.put(self, run, &[entry]).await?.ends == 1 {
            return Ok(());
        }
        Err(if self.exists(run).await? {
            JournalError::AlreadyEnded { run: run.to_owned() }
        } else {
            JournalError::NotFound { asked: run.to_owned(), place: self.place().to_string() }
        })
    }
}

async fn insert_start(pool: &Pool, start: &RunStart, started_ms: i64, body: &str) -> Result<(), sqlx::Error> {
    both!(pool, pool => sqlx::query(
        "INSERT INTO runs (id, experiment, environment, started_ms, start) VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(&start.id)
    .bind(storable(start.experiment.clone()))
    .bind(storable(start.environment.clone()))
    .bind(started_ms)
    .bind(body)
    .execute(pool)
    .await
    .map(drop))
}

/// The column by which events are told apart in SQL: the same word as in their JSON.
const fn kind(what: &What) -> &'static str {
    match what {
        What::Phase { .. } => "phase",
        What::Leased { .. } => "leased",
        What::StepStarted { .. } => "step_started",
        What::StepEnded { .. } => "step_ended",
        What::Intent { .. } => "intent",
        What::Injected { .. } => "injected",
        What::Removed { .. } => "removed",
        What::Chosen { .. } => "chosen",
        What::Surged { .. } => "surged",
        What::Subsided { .. } => "subsided",
        What::Level { .. } => "level",
        What::Judged { .. } => "judged",
        What::Ramped { .. } => "ramped",
        What::UndoOwed { .. } => "undo_owed",
        What::Ran { .. } => "ran",
        What::Undone { .. } => "undone",
        What::Asked { .. } => "asked",
        What::Answered { .. } => "answered",
        What::Round { .. } => "round",
        What::HealConfirmed { .. } => "heal_confirmed",
        What::HealFailed { .. } => "heal_failed",
        What::Breach { .. } => "breach",
        What::Stopped { .. } => "stopped",
        What::Failed { .. } => "failed",
        What::Note { .. } => "note",
        What::Verdict { .. } => "verdict",
    }
}

fn json(run: &str, what: &'static str, value: &impl Serialize) -> Result<String, JournalError> {
    serde_json::to_string(value).map_err(|error| JournalError::Corrupt {
        run: run.to_owned(),
        what,
        cause: error.to_string(),
    })
}
