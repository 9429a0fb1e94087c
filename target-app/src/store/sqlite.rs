//! SQLite: one file in WAL mode, one writer at a time, readers beside it.
//!
//! `synchronous = NORMAL`: what is committed outlives the process, however it ends; only the machine's own crash can take
//! the last moments. Neighbours: `mod.rs` opens, `limit.rs` ends what runs too long.

use super::{DatabaseConfig, Migrations, schema::Schema};
use sqlx::{
    SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use std::{path::Path, time::Duration};

/// How long a shop waits for the lock where statements have no limit of their own.
const LOCK_LIMIT: Duration = Duration::from_secs(2);
/// Two shops that begin at the same time may meet while they bring the tables up to date; the second finds them so.
const TRIES: u32 = 5;

static MIGRATIONS: Migrations = Migrations(sqlx::migrate!("./migrations/sqlite"));

pub(super) async fn connect(file: &Path, config: &DatabaseConfig) -> Result<SqlitePool, sqlx::Error> {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .foreign_keys(true)
        .busy_timeout(config.statement_limit.unwrap_or(LOCK_LIMIT));
    SqlitePoolOptions::new()
        .max_connections(config.connections)
        .acquire_timeout(config.acquire_limit)
        // A local file does not go away; asking before each use would double the work.
        .test_before_acquire(false)
        .connect_with(options)
        .await
}

pub(super) async fn migrate(pool: &SqlitePool, schema: Schema) -> Result<(), sqlx::Error> {
    let migrator = MIGRATIONS.up_to(schema);
    let mut tries = 0;
    loop {
        tries += 1;
        match migrator.run(pool).await {
            Err(error) if tries < TRIES => {
                tracing::debug!(%error, "the tables are brought up to date by somebody else, perhaps");
                tokio::time::sleep(Duration::from_millis(100) * tries).await;
            }
            result => return Ok(result?),
        }
    }
}
