//! Reading: the list of runs, one run, and the runs that never ended.

use super::{
    Journal, JournalError,
    store::{both, within},
};
use crate::{
    event::Event,
    record::{RunEnd, RunRecord, RunStart, SeriesRecord},
    sample::Sample,
    verdict::Verdict,
};
use futures::TryStreamExt;
use serde::{Serialize, de::DeserializeOwned};
use sqlx::Row;
use std::{sync::Arc, time::Duration};

/// What is read at once takes so long at most, two million samples included.
const READ: Duration = Duration::from_secs(120);

/// Which runs to list; the newest come first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFilter {
    /// At most so many.
    pub limit: u32,
    /// Only of this experiment.
    pub experiment: Option<String>,
    /// Only with this verdict.
    pub verdict: Option<Verdict>,
}

impl Default for RunFilter {
    fn default() -> Self {
        Self { limit: 50, experiment: None, verdict: None }
    }
}

/// One line of the history.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunSummary {
    /// The run.
    pub id: String,
    /// The experiment's name.
    pub experiment: String,
    /// `sandbox`, or the environment's name.
    pub environment: String,
    /// When it started, RFC 3339.
    pub started_at: String,
    /// Who answers for it.
    pub owner: Option<String>,
    /// Its tags.
    pub tags: Vec<String>,
    /// Its verdict; none: it is running, or it died.
    pub verdict: Option<Verdict>,
    /// The exit code that went with it.
    pub exit_code: Option<u8>,
    /// How long it took.
    pub took: Option<Duration>,
    /// The first reason.
    pub reason: Option<String>,
}

/// A line of the history as stored.
#[derive(sqlx::FromRow)]
struct SummaryRow {
    id: String,
    start: String,
    verdict: Option<String>,
    exit_code: Option<i64>,
    took_us: Option<i64>,
    reason: Option<String>,
}

impl Journal {
    /// Lists runs, the newest first.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn runs(&self, filter: &RunFilter) -> Result<Vec<RunSummary>, JournalError> {
        let rows: Vec<SummaryRow> = self
            .reading("the history", async {
                both!(&self.readers, pool => sqlx::query_as(
                    "SELECT id, start, verdict, exit_code, took_us, reason FROM runs \
                     WHERE ($1 IS NULL OR experiment = $1) AND ($2 IS NULL OR verdict = $2) \
                     ORDER BY started_ms DESC, id DESC LIMIT $3",
                )
                .bind(filter.experiment.as_deref())
                .bind(filter.verdict.map(Verdict::word))
                .bind(i64::from(filter.limit))
                .fetch_all(pool)
                .await)
            })
            .await?;
        rows.into_iter().map(summary).collect()
    }

    /// Loads one run by its id, by letters that only its id starts with, or the newest as `last`.
    ///
    /// # Errors
    /// When there is none, when several ids start so, or when it cannot be read.
    pub async fn load(&self, asked: &str) -> Result<RunRecord, JournalError> {
        let run = self.find(asked).await?;
        let mut record = self.record(&run).await?;
        record.series = self.series(&run).await?;
        Ok(record)
    }

    /// Every run without an end, the oldest first and without its samples: it is running, or it died.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn open_runs(&self) -> Result<Vec<RunRecord>, JournalError> {
        const SQL: &str = "SELECT id FROM runs WHERE ending IS NULL ORDER BY started_ms, id";
        let ids: Vec<String> = self
            .reading("the open runs", async {
                both!(&self.readers, pool => sqlx::query_scalar(SQL).fetch_all(pool).await)
            })
            .await?;
        let mut runs = Vec::with_capacity(ids.len());
        for id in ids {
            runs.push(self.record(&id).await?);
        }
        Ok(runs)
    }

    pub(super) async fn exists(&self, run: &str) -> Result<bool, JournalError> {
        const SQL: &str = "SELECT COUNT(*) > 0 FROM runs WHERE id = $1";
        self.reading("a run", async {
            both!(&self.readers, pool => sqlx::query_scalar(SQL).bind(run).fetch_one(pool).await)
        })
        .await
    }

    /// The id that is meant.
    async fn find(&self, asked: &str) -> Result<String, JournalError> {
        const LAST: &str = "SELECT id FROM runs ORDER BY started_ms DESC, id DESC LIMIT 1";
        // The whole id first: it may be the beginning of another. Five are enough to show.
        const BEGINNING: &str = "SELECT id FROM runs WHERE substr(lower(id), 1, $2) = $1 \
                                 ORDER BY CASE WHEN lower(id) = $1 THEN 0 ELSE 1 END, started_ms DESC LIMIT 5";
        // No text for a database has a NUL, and no id either.
        let prefix = asked.trim().to_lowercase().replace('\0', "\u{fffd}");
        let length = i32::try_from(prefix.chars().count()).unwrap_or(i32::MAX);
        let mut found: Vec<String> = self
            .reading("a run", async {
                match &*prefix {
                    "" => Ok(vec![]),
                    "last" => both!(&self.readers, pool => sqlx::query_scalar(LAST).fetch_all(pool).await),
                    _ => both!(&self.readers, pool => {
                        sqlx::query_scalar(BEGINNING).bind(&prefix).bind(length).fetch_all(pool).await
                    }),
                }
            })
            .await?;
        match found.len() {
            0 => Err(JournalError::NotFound { asked: asked.to_owned(), place: self.place().to_string() }),
            1 => Ok(found.remove(0)),
            _ if found[0].to_lowercase() == prefix => Ok(found.remove(0)),
            _ => Err(JournalError::Ambiguous { asked: asked.to_owned(), candidates: found }),
        }
    }

    /// A run without its samples.
    async fn record(&self, run: &str) -> Result<RunRecord, JournalError> {
        const RUN: &str = "SELECT start, ending FROM runs WHERE id = $1";
        const EVENTS: &str = "SELECT body FROM events WHERE run_id = $1 ORDER BY seq";
        let (start, end): (String, Option<String>) = self
            .reading("a run", async {
                both!(&self.readers, pool => sqlx::query_as(RUN).bind(run).fetch_one(pool).await)
            })
            .await?;
        let events: Vec<String> = self
            .reading("events", async {
                both!(&self.readers, pool => sqlx::query_scalar(EVENTS).bind(run).fetch_all(pool).await)
            })
            .await?;
        Ok(RunRecord {
            start: parse(run, "the start", &start)?,
            end: end.map(|end| parse::<RunEnd>(run, "the end", &end)).transpose()?,
            events: events.iter().map(|event| parse::<Event>(run, "an event", event)).collect::<Result<_, _>>()?,
            series: vec![],
        })
    }

    async fn series(&self, run: &str) -> Result<Vec<SeriesRecord>, JournalError> {
        const SQL: &str = "SELECT id, name FROM series WHERE run_id = $1 ORDER BY id";
        let names: Vec<(i64, String)> = self
            .reading("series", async {
                both!(&self.readers, pool => sqlx::query_as(SQL).bind(run).fetch_all(pool).await)
            })
            .await?;
        let mut series = Vec::with_capacity(names.len());
        for (id, name) in names {
            let samples = self.reading("samples", self.stored_samples(id)).await?;
            series.push(SeriesRecord { name, samples });
        }
        Ok(series)
    }

    async fn stored_samples(&self, series: i64) -> Result<Vec<Sample>, sqlx::Error> {
        const SQL: &str =
            "SELECT at_us, took_us, ok, status, value, text FROM samples WHERE series_id = $1 ORDER BY seq";
        let mut samples = vec![];
        both!(&self.readers, pool => {
            let mut rows = sqlx::query(SQL).bind(series).fetch(pool);
            while let Some(row) = rows.try_next().await? {
                samples.push(Sample {
                    at: micros(row.try_get(0)?),
                    took: micros(row.try_get(1)?),
                    ok: row.try_get(2)?,
                    status: row.try_get::<Option<i64>, _>(3)?.and_then(|status| u16::try_from(status).ok()),
                    value: row.try_get(4)?,
                    text: row.try_get::<Option<String>, _>(5)?.map(Arc::from),
                });
            }
        });
        Ok(samples)
    }

    pub(super) async fn reading<T>(
        &self,
        what: &'static str,
        work: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, JournalError> {
        within(READ, work).await.map_err(self.unread(what))
    }

    fn unread(&self, what: &'static str) -> impl Fn(sqlx::Error) -> JournalError {
        let place = self.place().to_string();
        move |source| JournalError::Read { what, place: place.clone(), source }
    }
}

fn summary(row: SummaryRow) -> Result<RunSummary, JournalError> {
    let SummaryRow { id, start, verdict, exit_code, took_us, reason } = row;
    let start: RunStart = parse(&id, "the start", &start)?;
    let verdict = verdict.map(|word| parse(&id, "the verdict", &format!("\"{word}\""))).transpose()?;
    Ok(RunSummary {
        id,
        experiment: start.experiment,
        environment: start.environment,
        started_at: start.started_at,
        owner: start.owner,
        tags: start.tags,
        verdict,
        exit_code: exit_code.and_then(|code| u8::try_from(code).ok()),
        took: took_us.map(micros),
        reason,
    })
}

fn parse<T: DeserializeOwned>(run: &str, what: &'static str, text: &str) -> Result<T, JournalError> {
    serde_json::from_str(text).map_err(|error| JournalError::Corrupt {
        run: run.to_owned(),
        what,
        cause: error.to_string(),
    })
}

fn micros(micros: i64) -> Duration {
    Duration::from_micros(u64::try_from(micros).unwrap_or_default())
}
