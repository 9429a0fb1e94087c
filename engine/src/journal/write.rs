//! Writing: a run's start, its events, its samples, its end.
//!
//! Each call is one transaction that begins with the write lock, so that it never fails half-way for want of it, and
//! is tried again a bounded number of times while another process has it.
//! Neighbour: `redact` cleans every text first.

use super::{
    Journal, JournalError,
    open::{ATTEMPTS, is_busy, pause},
    redact,
};
use crate::{
    event::{Event, What},
    record::{RunEnd, RunStart},
    sample::Sample,
};
use serde::Serialize;
use sqlx::{QueryBuilder, Sqlite, Transaction};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// Samples in one statement: 8 parameters each, well under SQLite's 32 766.
const SAMPLES_A_STATEMENT: usize = 500;

/// One thing to write, with its texts cleaned.
enum Entry<'a> {
    Start { start: &'a RunStart, started_ms: i64, body: String },
    Event { run: &'a str, event: &'a Event, body: String },
    Samples { run: &'a str, samples: &'a [(Arc<str>, Sample)], redact: &'a crate::experiment::Secrets },
    End { run: &'a str, end: &'a RunEnd, body: String },
}

impl Entry<'_> {
    const fn what(&self) -> &'static str {
        match self {
            Self::Start { .. } => "the start of a run",
            Self::Event { .. } => "an event",
            Self::Samples { .. } => "samples",
            Self::End { .. } => "the end of a run",
        }
    }

    /// Writes it, and says how many rows it changed.
    async fn write(&self, transaction: &mut Transaction<'static, Sqlite>) -> Result<u64, sqlx::Error> {
        match self {
            Self::Start { start, started_ms, body } => insert_start(transaction, start, *started_ms, body).await,
            Self::Event { run, event, body } => insert_event(transaction, run, event, body).await,
            Self::Samples { run, samples, redact } => insert_samples(transaction, run, samples, redact).await,
            Self::End { run, end, body } => update_end(transaction, run, end, body).await,
        }
    }
}

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
        self.write(Entry::Start { start, started_ms: started.as_millisecond(), body }).await.map(drop)
    }

    /// Writes an event. When this returns, it is on disk and survives a crash.
    ///
    /// # Errors
    /// When it cannot be written, or the run was never started.
    pub async fn event(&self, run: &str, event: &Event) -> Result<(), JournalError> {
        let event = &redact::event(&self.secrets, event);
        let body = json(run, "an event", event)?;
        self.write(Entry::Event { run, event, body }).await.map(drop)
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
        self.write(Entry::Samples { run, samples, redact: &self.secrets }).await.map(drop)
    }

    /// Writes how a run ended.
    ///
    /// # Errors
    /// When it cannot be written, when the run has ended already, or was never started.
    pub async fn end_run(&self, run: &str, end: &RunEnd) -> Result<(), JournalError> {
        let end = &redact::end(&self.secrets, end);
        let body = json(run, "the end", end)?;
        if self.write(Entry::End { run, end, body }).await? == 1 {
            return Ok(());
        }
        Err(if self.exists(run).await? {
            JournalError::AlreadyEnded { run: run.to_owned() }
        } else {
            JournalError::NotFound { asked: run.to_owned(), path: self.path().to_owned() }
        })
    }

    async fn write(&self, entry: Entry<'_>) -> Result<u64, JournalError> {
        let mut attempt = 1;
        loop {
            match self.attempt(&entry).await {
                Ok(rows) => return Ok(rows),
                Err(error) if attempt < ATTEMPTS && is_busy(&error) => {
                    pause(attempt).await;
                    attempt += 1;
                }
                Err(source) => {
                    return Err(JournalError::Write { what: entry.what(), path: self.path().to_owned(), source });
                }
            }
        }
    }

    async fn attempt(&self, entry: &Entry<'_>) -> Result<u64, sqlx::Error> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        let rows = entry.write(&mut transaction).await?;
        transaction.commit().await?;
        Ok(rows)
    }
}

async fn insert_start(
    transaction: &mut Transaction<'static, Sqlite>,
    start: &RunStart,
    started_ms: i64,
    body: &str,
) -> Result<u64, sqlx::Error> {
    let done =
        sqlx::query("INSERT INTO runs (id, experiment, environment, started_ms, start) VALUES ($1, $2, $3, $4, $5)")
            .bind(&start.id)
            .bind(&start.experiment)
            .bind(&start.environment)
            .bind(started_ms)
            .bind(body)
            .execute(&mut **transaction)
            .await?;
    Ok(done.rows_affected())
}

async fn insert_event(
    transaction: &mut Transaction<'static, Sqlite>,
    run: &str,
    event: &Event,
    body: &str,
) -> Result<u64, sqlx::Error> {
    let done = sqlx::query(
        "INSERT INTO events (run_id, seq, at_us, kind, body) \
         SELECT $1, COALESCE(MAX(seq), 0) + 1, $2, $3, $4 FROM events WHERE run_id = $1",
    )
    .bind(run)
    .bind(micros(event.at))
    .bind(kind(&event.what))
    .bind(body)
    .execute(&mut **transaction)
    .await?;
    Ok(done.rows_affected())
}

async fn update_end(
    transaction: &mut Transaction<'static, Sqlite>,
    run: &str,
    end: &RunEnd,
    body: &str,
) -> Result<u64, sqlx::Error> {
    let done = sqlx::query(
        "UPDATE runs SET verdict = $2, exit_code = $3, took_us = $4, reason = $5, ending = $6 \
         WHERE id = $1 AND ending IS NULL",
    )
    .bind(run)
    .bind(end.verdict.word())
    .bind(i64::from(end.exit_code))
    .bind(micros(end.took))
    .bind(end.reasons.first())
    .bind(body)
    .execute(&mut **transaction)
    .await?;
    Ok(done.rows_affected())
}

/// A series of the run in the making: its key, and the number of its last sample.
struct Position {
    id: i64,
    seq: i64,
}

async fn insert_samples(
    transaction: &mut Transaction<'static, Sqlite>,
    run: &str,
    samples: &[(Arc<str>, Sample)],
    secrets: &crate::experiment::Secrets,
) -> Result<u64, sqlx::Error> {
    let mut positions: BTreeMap<&str, Position> = BTreeMap::new();
    for (series, _) in samples {
        if !positions.contains_key(&**series) {
            positions.insert(series, position(transaction, run, series).await?);
        }
    }
    let mut rows = 0;
    for chunk in samples.chunks(SAMPLES_A_STATEMENT) {
        let mut query =
            QueryBuilder::new("INSERT INTO samples (series_id, seq, at_us, took_us, ok, status, value, text) ");
        query.push_values(chunk, |mut row, (series, sample)| {
            let Some(position) = positions.get_mut(&**series) else { return };
            position.seq += 1;
            row.push_bind(position.id)
                .push_bind(position.seq)
                .push_bind(micros(sample.at))
                .push_bind(micros(sample.took))
                .push_bind(sample.ok)
                .push_bind(sample.status.map(i64::from))
                .push_bind(sample.value)
                .push_bind(sample.text.as_deref().map(|text| secrets.redact(text)));
        });
        rows += query.build().execute(&mut **transaction).await?.rows_affected();
    }
    Ok(rows)
}

/// Finds the series, or makes it.
async fn position(
    transaction: &mut Transaction<'static, Sqlite>,
    run: &str,
    series: &str,
) -> Result<Position, sqlx::Error> {
    let known: Option<(i64, i64)> = sqlx::query_as(
        "SELECT id, (SELECT COALESCE(MAX(seq), 0) FROM samples WHERE series_id = series.id) \
         FROM series WHERE run_id = $1 AND name = $2",
    )
    .bind(run)
    .bind(series)
    .fetch_optional(&mut **transaction)
    .await?;
    if let Some((id, seq)) = known {
        return Ok(Position { id, seq });
    }
    let (id,): (i64,) = sqlx::query_as(
        "INSERT INTO series (id, run_id, name) SELECT COALESCE(MAX(id), 0) + 1, $1, $2 FROM series RETURNING id",
    )
    .bind(run)
    .bind(series)
    .fetch_one(&mut **transaction)
    .await?;
    Ok(Position { id, seq: 0 })
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

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
