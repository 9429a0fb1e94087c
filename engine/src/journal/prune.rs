//! Forgetting old runs: which ones is decided here, by pure rules, and then they go, one transaction a run.
//!
//! Neighbours: `squall history prune` asks. Invariants: a run that is under way is never removed. Unless it was said in so
//! many words, neither is one without an end, nor the last that held of an experiment in an environment: `gate
//! --against last-held` compares with it.

use super::{
    Journal, JournalError, RunFilter, RunSummary,
    store::{Both, Pool, both, within},
};
use crate::verdict::Verdict;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Removing one run, or giving space back, takes so long at most.
const REMOVAL: Duration = Duration::from_secs(600);

/// Which runs may go. At least one of `keep` and `older_than` is needed; a run goes when both say so.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PruneRule {
    /// The newest so many stay, of each experiment in each environment.
    pub keep: Option<u32>,
    /// Only runs that started longer ago go.
    pub older_than: Option<Duration>,
    /// Only runs of this experiment go.
    pub experiment: Option<String>,
    /// Also runs without an end that are not under way, and the last ones that held.
    pub all: bool,
}

/// What would go, or has gone.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Pruned {
    /// The runs, the oldest first.
    pub runs: Vec<RunSummary>,
    /// Runs that the rule names and that stay, each with why.
    pub spared: Vec<(RunSummary, &'static str)>,
}

impl PruneRule {
    /// Decides over the history, which is the newest first.
    #[must_use]
    pub fn decide(
        &self,
        history: &[RunSummary],
        now: jiff::Timestamp,
        under_way: impl Fn(&RunSummary) -> bool,
    ) -> Pruned {
        let mut seen: BTreeMap<(&str, &str), u32> = BTreeMap::new();
        let mut held: BTreeSet<(&str, &str)> = BTreeSet::new();
        let mut pruned = Pruned::default();
        for run in history {
            let series = (&*run.experiment, &*run.environment);
            let newer = seen.entry(series).or_default();
            let is_last_held = run.verdict == Some(Verdict::Held) && held.insert(series);
            let is_meant = self.experiment.as_ref().is_none_or(|name| *name == run.experiment)
                && self.keep.is_none_or(|keep| *newer >= keep)
                && self.older_than.is_none_or(|age| is_older(run, age, now));
            *newer += 1;
            if !is_meant {
                continue;
            }
            let why = match run.verdict {
                None if under_way(run) => Some("it is under way"),
                None if !self.all => Some("it has no end: `squall recover` closes it, or use --all"),
                Some(_) if is_last_held && !self.all => {
                    Some("it is the last that held of its experiment and environment; --all takes it too")
                }
                _ => None,
            };
            match why {
                Some(why) => pruned.spared.push((run.clone(), why)),
                None => pruned.runs.push(run.clone()),
            }
        }
        pruned.runs.reverse();
        pruned.spared.reverse();
        pruned
    }
}

fn is_older(run: &RunSummary, age: Duration, now: jiff::Timestamp) -> bool {
    let started = run.started_at.parse::<jiff::Timestamp>();
    // A run whose time cannot be read is of unknown age, so it stays.
    started.is_ok_and(|started| now.duration_since(started).unsigned_abs() > age && started < now)
}

impl Journal {
    /// What the rule means in this journal. Nothing is removed.
    ///
    /// # Errors
    /// When the history cannot be read.
    pub async fn prunable(
        &self,
        rule: &PruneRule,
        under_way: impl Fn(&RunSummary) -> bool,
    ) -> Result<Pruned, JournalError> {
        let history = self.runs(&RunFilter { limit: u32::MAX, ..RunFilter::default() }).await?;
        Ok(rule.decide(&history, jiff::Timestamp::now(), under_way))
    }

    /// Removes a run with everything in it, in one transaction. False when it was not there.
    ///
    /// # Errors
    /// When it cannot be removed; then it is whole.
    pub async fn remove(&self, run: &str) -> Result<bool, JournalError> {
        const SQL: [&str; 4] = [
            "DELETE FROM samples WHERE series_id IN (SELECT id FROM series WHERE run_id = $1)",
            "DELETE FROM series WHERE run_id = $1",
            "DELETE FROM events WHERE run_id = $1",
            "DELETE FROM runs WHERE id = $1",
        ];
        let removing = async {
            both!(&self.writer, pool => {
                let mut transaction = pool.begin().await?;
                let mut rows = 0;
                for sql in SQL {
                    rows = sqlx::query(sql).bind(run).execute(&mut *transaction).await?.rows_affected();
                }
                transaction.commit().await?;
                Ok(rows == 1)
            })
        };
        within(REMOVAL, removing).await.map_err(|source| JournalError::Write {
            what: "the removal of a run",
            place: self.place().to_string(),
            source,
        })
    }

    /// Gives back the space of what was removed: an SQLite file shrinks; PostgreSQL uses the space for other runs, and
    /// returns what is free at the end of its files.
    ///
    /// # Errors
    /// When the database refuses, mostly because somebody else is using it; nothing is lost by that.
    pub async fn give_back(&self) -> Result<(), JournalError> {
        let vacuum = async {
            match &self.writer {
                Pool::Sqlite(pool) => {
                    sqlx::query("VACUUM").execute(pool).await?;
                    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(pool).await.map(drop)
                }
                Both::Postgres(pool) => {
                    sqlx::query("VACUUM (ANALYZE) samples, series, events, runs").execute(pool).await.map(drop)
                }
            }
        };
        within(REMOVAL, vacuum).await.map_err(|source| JournalError::Write {
            what: "what was removed back to the disk",
            place: self.place().to_string(),
            source,
        })
    }

    /// How many bytes it takes on disk, as far as the database tells.
    pub async fn size(&self) -> Option<u64> {
        let bytes: Result<i64, _> = match &self.readers {
            Pool::Sqlite(pool) => {
                sqlx::query_scalar("SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()")
                    .fetch_one(pool)
                    .await
            }
            Pool::Postgres(pool) => {
                sqlx::query_scalar(
                    "SELECT (pg_total_relation_size('samples') + pg_total_relation_size('series') \
                     + pg_total_relation_size('events') + pg_total_relation_size('runs'))::bigint",
                )
                .fetch_one(pool)
                .await
            }
        };
        bytes.ok().and_then(|bytes| u64::try_from(bytes).ok())
    }
}
