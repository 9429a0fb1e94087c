//! The database: products, orders, answers to keys, intents to undo, messages and events. SQLite or PostgreSQL.
//!
//! ```text
//! url ─▶ sqlite | postgres (connect, migrate) ─▶ Store ─▶ catalogue, orders, keys, outbox, messages, events, sales,
//!                                                         retention: one file a table or a task
//! ```
//! An enum of two pools with the same statements, for sqlx's `Any` cannot read all that both can. Ids are text, times are
//! milliseconds since 1970 in a bigint. Neighbours: `orders.rs` writes, `pages.rs` reads; deadlines are theirs to
//! set, by `Deadline::run`.
//!
//! Invariant: whatever is dropped or takes too long ends in the database as well; what belongs together is written in
//! one transaction.

mod catalogue;
mod error;
pub(crate) mod events;
mod keys;
mod limit;
pub(crate) mod messages;
mod orders;
pub(crate) mod outbox;
mod postgres;
pub(crate) mod retention;
mod sales;
mod schema;
mod sqlite;
#[cfg(test)]
mod tests;
mod url;

pub(crate) use self::{
    catalogue::Product,
    error::StoreError,
    keys::KeyedAnswer,
    orders::{NewOrder, Order},
    sales::Sold,
};
pub use self::{
    schema::{Schema, UnknownSchema},
    url::{DatabaseUrl, InvalidDatabase},
};

use sqlx::{PgPool, SqlitePool, migrate::Migrator};
use std::time::{Duration, SystemTime};
use tempfile::TempDir;
use url::Place;

/// All connections may take so long to be closed.
const CLOSE_LIMIT: Duration = Duration::from_secs(4);

/// Does the same with whichever pool there is.
macro_rules! on_pool {
    ($store:expr, |$pool:ident| $body:expr) => {
        match &$store.pool {
            $crate::store::Pool::Sqlite($pool) => $body,
            $crate::store::Pool::Postgres($pool) => $body,
        }
    };
}

/// Does the same in one transaction, whichever database it is.
macro_rules! in_transaction {
    ($store:expr, |$transaction:ident| $body:block) => {
        match &$store.pool {
            $crate::store::Pool::Sqlite(pool) => {
                // Taking the write lock at once avoids the deadlock of two readers who both want to write.
                let mut $transaction = pool.begin_with("BEGIN IMMEDIATE").await?;
                let value = $body;
                $transaction.commit().await?;
                value
            }
            $crate::store::Pool::Postgres(pool) => {
                let mut $transaction = pool.begin().await?;
                let value = $body;
                $transaction.commit().await?;
                value
            }
        }
    };
}

/// Does the same on a connection of its own, on which the work ends with whoever waits for it.
macro_rules! limited {
    ($store:expr, |$connection:ident| $body:expr) => {
        match &$store.pool {
            $crate::store::Pool::Sqlite(pool) => {
                let mut $connection = $crate::store::limit::Limited::sqlite(pool, $store.statement_limit).await?;
                let value = $body;
                $connection.finish().await?;
                value
            }
            $crate::store::Pool::Postgres(pool) => {
                let mut $connection = $crate::store::limit::Limited::postgres(pool).await?;
                let value = $body;
                $connection.finish().await?;
                value
            }
        }
    };
}
use {in_transaction, limited, on_pool};

/// How the database is reached, and its limits.
#[derive(Debug, Clone)]
pub struct DatabaseConfig {
    /// A temporary SQLite file, gone with the shop, when absent.
    pub url: Option<DatabaseUrl>,
    /// Open connections, at most.
    pub connections: u32,
    /// Whoever gets no connection for so long is turned away.
    pub acquire_limit: Duration,
    /// The database gives up a statement after so long; never when absent.
    pub statement_limit: Option<Duration>,
    /// Which columns of the orders are read and written.
    pub schema: Schema,
}

impl Default for DatabaseConfig {
    fn default() -> Self {
        Self {
            url: None,
            connections: 8,
            acquire_limit: Duration::from_secs(2),
            statement_limit: Some(Duration::from_secs(2)),
            schema: Schema::Both,
        }
    }
}

enum Pool {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// The database of one shop.
pub(crate) struct Store {
    pool: Pool,
    size: u32,
    statement_limit: Option<Duration>,
    schema: Schema,
    /// Kept so that a temporary file lives as long as the store.
    _directory: Option<TempDir>,
}

impl Store {
    /// Connects, and brings the tables up to date.
    pub(crate) async fn open(config: &DatabaseConfig) -> Result<Self, sqlx::Error> {
        let (place, directory) = match &config.url {
            Some(url) => (url.0.clone(), None),
            None => {
                let directory = tempfile::Builder::new().prefix("squall-shop-").tempdir()?;
                (Place::Sqlite(directory.path().join("shop.sqlite")), Some(directory))
            }
        };
        let pool = match place {
            Place::Sqlite(file) => {
                let pool = sqlite::connect(&file, config).await?;
                sqlite::migrate(&pool, config.schema).await?;
                Pool::Sqlite(pool)
            }
            Place::Postgres(to) => {
                let pool = postgres::connect(&to, config).await?;
                postgres::migrate(&pool, config.schema).await?;
                Pool::Postgres(pool)
            }
        };
        let DatabaseConfig { connections: size, statement_limit, schema, .. } = *config;
        Ok(Self { pool, size, statement_limit, schema, _directory: directory })
    }

    pub(crate) async fn ping(&self) -> Result<(), StoreError> {
        on_pool!(self, |pool| sqlx::query("SELECT 1").execute(pool).await.map(|_| ())?);
        Ok(())
    }

    /// Connections in use, and how many there can be.
    pub(crate) fn usage(&self) -> (usize, usize) {
        let (open, idle) = on_pool!(self, |pool| (pool.size() as usize, pool.num_idle()));
        (open.saturating_sub(idle), self.size as usize)
    }

    pub(crate) async fn close(&self) {
        // A connection that the network has swallowed does not keep the shop from ending.
        if on_pool!(self, |pool| tokio::time::timeout(CLOSE_LIMIT, pool.close()).await).is_err() {
            tracing::warn!("a connection to the database could not be closed in time");
        }
    }
}

/// The migrations of one database, of which an older shop knows the first ones.
struct Migrations(Migrator);

impl Migrations {
    /// What a shop that is so old would bring along. What others have applied since is left as it is.
    fn up_to(&self, schema: Schema) -> Migrator {
        let known = self.0.iter().filter(|migration| migration.version <= schema.last_migration()).cloned();
        let mut migrator = Migrator::with_migrations(known.collect());
        migrator.set_ignore_missing(true);
        migrator
    }
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// As milliseconds, which fit for three hundred million years.
pub(crate) fn in_ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
