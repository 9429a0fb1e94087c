//! One thing to write of a run, with its place in the run's order: what is stored, and what waits in a spool.
//!
//! Neighbours: `write` makes them of cleaned values, `store` writes several in one transaction, `spool` keeps them in a file.
//! Invariant: writing an entry again changes nothing, by its sequence number: after a connection that broke in the middle
//! of a commit, nobody can tell whether it was written.

use super::store::{Conn, Pool, both};
use crate::sample::Sample;
use serde::{Deserialize, Serialize};
use sqlx::QueryBuilder;
use std::time::Duration;

/// Samples in one statement: 8 parameters each, well under SQLite's 32 766 and PostgreSQL's 65 535.
const SAMPLES_A_STATEMENT: usize = 500;

/// A sample as stored: when, how long, whether it succeeded, its status, its value, its text. Times in microseconds.
pub(super) type Row = (i64, i64, bool, Option<i64>, Option<f64>, Option<String>);

/// One thing to write of a run that has been started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Entry {
    /// An event: its number, counted from 1, when, the word of its kind, and itself as JSON.
    Event { seq: i64, at_us: i64, kind: String, body: String },
    /// Samples of one series; the first has this number, counted from 1.
    Samples { series: String, first: i64, rows: Vec<Row> },
    /// The end, also as JSON.
    End { verdict: String, exit_code: i64, took_us: i64, reason: Option<String>, body: String },
}

/// What became of entries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Written {
    /// Ends that were written; none when the run has ended already.
    pub ends: u64,
    /// The number of the last event, which is another one when somebody else has written one with that number.
    pub last_event: Option<i64>,
    /// Events, for counting.
    pub events: u64,
    /// Samples, for counting.
    pub samples: u64,
}

impl Written {
    pub(super) fn add(&mut self, other: &Self) {
        self.ends += other.ends;
        self.last_event = other.last_event.or(self.last_event);
        self.events += other.events;
        self.samples += other.samples;
    }
}

impl Entry {
    pub(super) const fn what(&self) -> &'static str {
        match self {
            Self::Event { .. } => "an event",
            Self::Samples { .. } => "samples",
            Self::End { .. } => "the end of a run",
        }
    }

    /// Writes it, unless it is there already.
    pub(super) async fn write(&self, run: &str, conn: &mut Conn<'_>) -> Result<Written, sqlx::Error> {
        match self {
            Self::Event { seq, at_us, kind, body } => {
                let last_event = Some(event(conn, run, *seq, *at_us, kind, body).await?);
                Ok(Written { last_event, events: 1, ..Written::default() })
            }
            Self::Samples { series, first, rows } => {
                samples(conn, run, series, *first, rows).await?;
                Ok(Written { samples: rows.len() as u64, ..Written::default() })
            }
            Self::End { .. } => Ok(Written { ends: self.end(run, conn).await?, ..Written::default() }),
        }
    }

    async fn end(&self, run: &str, conn: &mut Conn<'_>) -> Result<u64, sqlx::Error> {
        let Self::End { verdict, exit_code, took_us, reason, body } = self else { return Ok(0) };
        both!(conn, conn => Ok(sqlx::query(
            "UPDATE runs SET verdict = $2, exit_code = $3, took_us = $4, reason = $5, ending = $6 \
             WHERE id = $1 AND ending IS NULL",
        )
        .bind(run)
        .bind(verdict)
        .bind(exit_code)
        .bind(took_us)
        .bind(reason)
        .bind(body)
        .execute(&mut **conn)
        .await?
        .rows_affected()))
    }
}

/// Writes an event under its number, or at the end when somebody else has written another one under it.
async fn event(
    conn: &mut Conn<'_>,
    run: &str,
    seq: i64,
    at_us: i64,
    kind: &str,
    body: &str,
) -> Result<i64, sqlx::Error> {
    let rows = both!(&mut *conn, conn => sqlx::query(
        "INSERT INTO events (run_id, seq, at_us, kind, body) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (run_id, seq) DO NOTHING",
    )
    .bind(run)
    .bind(seq)
    .bind(at_us)
    .bind(kind)
    .bind(body)
    .execute(&mut **conn)
    .await?
    .rows_affected());
    if rows == 1 {
        return Ok(seq);
    }
    let there: Option<i64> = both!(&mut *conn, conn => sqlx::query_scalar(
        "SELECT seq FROM events WHERE run_id = $1 AND seq >= $2 AND at_us = $3 AND body = $4 ORDER BY seq LIMIT 1",
    )
    .bind(run)
    .bind(seq)
    .bind(at_us)
    .bind(body)
    .fetch_optional(&mut **conn)
    .await?);
    if let Some(seq) = there {
        return Ok(seq);
    }
    both!(conn, conn => sqlx::query_scalar(
        "INSERT INTO events (run_id, seq, at_us, kind, body) \
         SELECT $1, COALESCE(MAX(seq), 0) + 1, $2, $3, $4 FROM events WHERE run_id = $1 RETURNING seq",
    )
    .bind(run)
    .bind(at_us)
    .bind(kind)
    .bind(body)
    .fetch_one(&mut **conn)
    .await)
}

async fn samples(conn: &mut Conn<'_>, run: &str, series: &str, first: i64, rows: &[Row]) -> Result<(), sqlx::Error> {
    let id = series_id(conn, run, series).await?;
    let mut seq = first;
    for chunk in rows.chunks(SAMPLES_A_STATEMENT) {
        both!(&mut *conn, conn => {
            let mut query: QueryBuilder<Db> =
                QueryBuilder::new("INSERT INTO samples (series_id, seq, at_us, took_us, ok, status, value, text) ");
            query.push_values(chunk, |mut row, (at_us, took_us, ok, status, value, text)| {
                row.push_bind(id)
                    .push_bind(seq)
                    .push_bind(at_us)
                    .push_bind(took_us)
                    .push_bind(ok)
                    .push_bind(status)
                    .push_bind(value)
                    .push_bind(text.as_deref());
                seq += 1;
            });
            query.push(" ON CONFLICT (series_id, seq) DO NOTHING");
            // Their length varies, so that keeping them prepared would only fill the connection's cache.
            query.build().persistent(false).execute(&mut **conn).await?;
        });
    }
    Ok(())
}

/// Finds the series, or makes it.
async fn series_id(conn: &mut Conn<'_>, run: &str, series: &str) -> Result<i64, sqlx::Error> {
    loop {
        let known: Option<i64> = both!(&mut *conn, conn => sqlx::query_scalar(
            "SELECT id FROM series WHERE run_id = $1 AND name = $2",
        )
        .bind(run)
        .bind(series)
        .fetch_optional(&mut **conn)
        .await?);
        if let Some(id) = known {
            return Ok(id);
        }
        // Where the id is taken, which takes two writers in one microsecond, the next one is tried.
        both!(&mut *conn, conn => sqlx::query(
            "INSERT INTO series (id, run_id, name) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        )
        .bind(made_up_id())
        .bind(run)
        .bind(series)
        .execute(&mut **conn)
        .await
        .map(drop))?;
    }
}

/// A key that no other process makes and that grows, so that series are read in the order in which they came up: no
/// counter of the database's that writers would have to queue for.
fn made_up_id() -> i64 {
    /// Bits below the microseconds, made up.
    const CHANCE: u32 = 11;
    let micros = jiff::Timestamp::now().as_microsecond();
    let chance = uuid::Uuid::new_v4().as_u64_pair().1 & ((1 << CHANCE) - 1);
    (micros << CHANCE) | i64::try_from(chance).unwrap_or_default()
}

/// The number of the last event of a run.
pub(super) async fn last_event(pool: &Pool, run: &str) -> Result<i64, sqlx::Error> {
    const SQL: &str = "SELECT COALESCE(MAX(seq), 0) FROM events WHERE run_id = $1";
    both!(pool, pool => sqlx::query_scalar(SQL).bind(run).fetch_one(pool).await)
}

/// The number of the last sample of each series of a run.
pub(super) async fn last_samples(pool: &Pool, run: &str) -> Result<Vec<(String, i64)>, sqlx::Error> {
    const SQL: &str = "SELECT name, (SELECT COALESCE(MAX(seq), 0) FROM samples WHERE series_id = series.id) \
                       FROM series WHERE run_id = $1";
    both!(pool, pool => sqlx::query_as(SQL).bind(run).fetch_all(pool).await)
}

/// A sample as stored. What no database can store is replaced: a number that is none, and the character NUL.
pub(super) fn row(sample: &Sample, redact: impl Fn(&str) -> String) -> Row {
    (
        micros(sample.at),
        micros(sample.took),
        sample.ok,
        sample.status.map(i64::from),
        sample.value.filter(|value| !value.is_nan()),
        sample.text.as_deref().map(|text| storable(redact(text))),
    )
}

/// PostgreSQL's texts have no NUL.
pub(super) fn storable(text: String) -> String {
    if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text }
}

pub(super) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
