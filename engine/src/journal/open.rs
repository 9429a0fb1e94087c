//! Opening: the connections, the schema, and the proof that the file can be written before anything is injected.
//!
//! Invariant: migrations and the proof are one transaction under the write lock, so that two processes that open a
//! new journal at once do not both make it.

use super::JournalError;
use sqlx::{
    SqlitePool,
    migrate::{MigrateError, Migrator},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use std::{path::Path, time::Duration};

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// How long SQLite itself waits for another process's lock before a statement fails.
const BUSY: Duration = Duration::from_secs(2);

/// How long a caller waits for one of our own connections.
const ACQUIRE: Duration = Duration::from_secs(15);

/// Attempts at opening or writing while another process holds the file, each up to `BUSY` long.
pub(super) const ATTEMPTS: u32 = 5;

/// Opens and prepares the file: the one connection that writes, and those that read.
pub(super) async fn open(path: &Path) -> Result<(SqlitePool, SqlitePool), JournalError> {
    make_directory(path)?;
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        // A commit returns when the log is on disk: an intent must survive a loss of power.
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY);
    let mut attempt = 1;
    let writer = loop {
        match prepare(options.clone()).await {
            Ok(writer) => break writer,
            Err(error) if attempt < ATTEMPTS && is_busy_migration(&error) => {
                pause(attempt).await;
                attempt += 1;
            }
            Err(error) => return Err(explain(path, error)),
        }
    };
    let readers = SqlitePoolOptions::new()
        // Two: a report may be read while the history is listed.
        .max_connections(2)
        .acquire_timeout(ACQUIRE)
        .connect_lazy_with(options.create_if_missing(false));
    Ok((writer, readers))
}

fn make_directory(path: &Path) -> Result<(), JournalError> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => std::fs::create_dir_all(parent)
            .map_err(|source| JournalError::Directory { path: parent.to_owned(), source }),
        _ => Ok(()),
    }
}

async fn prepare(options: SqliteConnectOptions) -> Result<SqlitePool, MigrateError> {
    let pool = SqlitePoolOptions::new()
        // One, see `Journal::writer`; it stays open, as opening costs more than a write.
        .max_connections(1)
        .min_connections(1)
        .acquire_timeout(ACQUIRE)
        .connect_with(options)
        .await?;
    let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await?;
    MIGRATIONS.run(&mut *transaction).await?;
    sqlx::query("INSERT INTO opened (id, at_ms) VALUES (1, $1) ON CONFLICT (id) DO UPDATE SET at_ms = excluded.at_ms")
        .bind(jiff::Timestamp::now().as_millisecond())
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(pool)
}

fn explain(path: &Path, error: MigrateError) -> JournalError {
    let path = path.to_owned();
    match error {
        MigrateError::VersionMissing(version) | MigrateError::VersionTooNew(version, _) => {
            JournalError::Newer { path, version }
        }
        MigrateError::VersionMismatch(version) => {
            JournalError::NotAJournal { path, cause: format!("its migration {version} is another one") }
        }
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => match code(&error) {
            // SQLITE_NOTADB, and SQLITE_ERROR when a table of ours is there already and is not ours.
            Some(26 | 1) => JournalError::NotAJournal { path, cause: cause(&error) },
            _ => JournalError::Unwritable { path, cause: cause(&error) },
        },
        other => JournalError::Unwritable { path, cause: other.to_string() },
    }
}

fn cause(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => error.message().to_owned(),
        other => other.to_string(),
    }
}

fn is_busy_migration(error: &MigrateError) -> bool {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => is_busy(error),
        _ => false,
    }
}

/// Whether another connection holds what is needed, so that trying again can help.
pub(super) fn is_busy(error: &sqlx::Error) -> bool {
    // SQLITE_BUSY and SQLITE_LOCKED; the low byte is the primary code.
    matches!(code(error), Some(5 | 6))
}

fn code(error: &sqlx::Error) -> Option<u32> {
    let sqlx::Error::Database(error) = error else { return None };
    error.code()?.parse::<u32>().ok().map(|extended| extended & 0xff)
}

/// Lets another process go first: 20 ms after the first attempt, then longer.
pub(super) async fn pause(attempt: u32) {
    tokio::time::sleep(Duration::from_millis(20) * attempt).await;
}
