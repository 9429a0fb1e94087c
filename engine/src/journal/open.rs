//! Opening: the connections, the schema, and the proof that the journal can be written before anything is injected.
//!
//! One text of migrations serves both databases; what is only a hint to SQLite is taken out for PostgreSQL.
//! Invariant: migrations and the proof are under a lock, so that two processes that open a new journal at once do not
//! both make it.

use super::{
    JournalError, JournalPlace,
    place::PostgresUrl,
    store::{Code, Pool, cause, code, is_busy, within},
};
use sqlx::{
    PgPool, SqlSafeStr as _, SqlitePool,
    migrate::{MigrateError, Migration, Migrator},
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use std::{path::Path, time::Duration};

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// How long SQLite itself waits for another process's lock before a statement fails.
const BUSY: Duration = Duration::from_secs(2);

/// How long a caller waits for one of our own connections.
const ACQUIRE: Duration = Duration::from_secs(15);

/// How long a caller waits for a connection to a server: a server that is away is noticed in this time.
const CONNECT: Duration = Duration::from_secs(3);

/// How long it may take until a server's database is ready, another process that makes its tables included.
const PREPARE: Duration = Duration::from_secs(30);

/// Attempts at opening or writing while another process holds the file, each up to `BUSY` long.
pub(super) const ATTEMPTS: u32 = 5;

/// What is written whenever a journal is opened.
const PROOF: &str =
    "INSERT INTO opened (id, at_ms) VALUES (1, $1) ON CONFLICT (id) DO UPDATE SET at_ms = excluded.at_ms";

/// Opens and prepares it: the connections that write, and those that read.
pub(super) async fn open(place: &JournalPlace) -> Result<(Pool, Pool), JournalError> {
    match place {
        JournalPlace::File(path) => {
            let (writer, readers) = open_file(path).await?;
            Ok((Pool::Sqlite(writer), Pool::Sqlite(readers)))
        }
        JournalPlace::Postgres(url) => {
            let (writer, readers) = open_postgres(url, &place.to_string()).await?;
            Ok((Pool::Postgres(writer), Pool::Postgres(readers)))
        }
    }
}

async fn open_file(path: &Path) -> Result<(SqlitePool, SqlitePool), JournalError> {
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
        match prepare_file(options.clone()).await {
            Ok(writer) => break writer,
            Err(error) if attempt < ATTEMPTS && is_busy_migration(&error) => {
                pause(attempt).await;
                attempt += 1;
            }
            Err(error) => return Err(explain(path.display().to_string(), error, false)),
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

async fn prepare_file(options: SqliteConnectOptions) -> Result<SqlitePool, MigrateError> {
    let pool = SqlitePoolOptions::new()
        // One: writers of this process queue here, not in SQLite's busy handler. It stays open, as opening costs more
        // than a write.
        .max_connections(1)
        .min_connections(1)
        .acquire_timeout(ACQUIRE)
        .connect_with(options)
        .await?;
    let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await?;
    MIGRATIONS.run(&mut *transaction).await?;
    sqlx::query(PROOF).bind(jiff::Timestamp::now().as_millisecond()).execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(pool)
}

async fn open_postgres(url: &PostgresUrl, shown: &str) -> Result<(PgPool, PgPool), JournalError> {
    let unreachable = |cause: String| JournalError::Unreachable { place: shown.to_owned(), cause };
    let options: PgConnectOptions =
        url.reveal().parse().map_err(|error: sqlx::Error| unreachable(format!("its URL is wrong: {error}")))?;
    let options = match options.get_application_name() {
        Some(_) => options,
        None => options.application_name("squall"),
    };
    let pool = |connections| {
        // A connection more than is used at once, for while one that was cut off is being closed.
        PgPoolOptions::new().max_connections(connections).acquire_timeout(CONNECT).connect_lazy_with(options.clone())
    };
    let writer = pool(2);
    match tokio::time::timeout(PREPARE, prepare_postgres(&options, &writer)).await {
        Ok(Ok(())) => Ok((writer, pool(3))),
        Ok(Err(error)) => Err(explain(shown.to_owned(), error, true)),
        Err(_) => Err(unreachable(format!("no answer within {}", squall_wire::Span::from(PREPARE)))),
    }
}

async fn prepare_postgres(options: &PgConnectOptions, pool: &PgPool) -> Result<(), MigrateError> {
    // Not by the pool, which hides why there is no connection behind how long it has tried.
    let first = within(CONNECT, sqlx::ConnectOptions::connect(options)).await?;
    let mut first = first;
    if !is_prepared(&mut first).await? {
        postgres_migrations().run(&mut first).await?;
    }
    sqlx::Connection::close(first).await?;
    sqlx::query(PROOF).bind(jiff::Timestamp::now().as_millisecond()).execute(pool).await?;
    Ok(())
}

/// Whether every migration has been done, and no other: a user who may not create tables can use the journal then.
async fn is_prepared(connection: &mut sqlx::PgConnection) -> Result<bool, sqlx::Error> {
    let there: bool =
        sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL").fetch_one(&mut *connection).await?;
    if !there {
        return Ok(false);
    }
    let done: Vec<(i64, Vec<u8>, bool)> =
        sqlx::query_as("SELECT version, checksum, success FROM _sqlx_migrations ORDER BY version")
            .fetch_all(connection)
            .await?;
    let wanted = postgres_migrations();
    let wanted: Vec<_> = wanted.iter().map(|one| (one.version, one.checksum.to_vec(), true)).collect();
    Ok(done == wanted)
}

/// The same migrations without what PostgreSQL does not know: it has no tables without row ids.
fn postgres_migrations() -> Migrator {
    let migrations = MIGRATIONS.iter().map(|one| {
        let sql = one.sql.as_str().replace(") WITHOUT ROWID;", ");");
        Migration::new(
            one.version,
            one.description.clone(),
            one.migration_type,
            sqlx::AssertSqlSafe(sql).into_sql_str(),
            one.no_tx,
        )
    });
    Migrator::with_migrations(migrations.collect())
}

fn explain(place: String, error: MigrateError, is_server: bool) -> JournalError {
    let unusable = |cause: String| match is_server {
        true => JournalError::Unreachable { place: place.clone(), cause },
        false => JournalError::Unwritable { place: place.clone(), cause },
    };
    match error {
        MigrateError::VersionMissing(version) | MigrateError::VersionTooNew(version, _) => {
            JournalError::Newer { place, version }
        }
        MigrateError::VersionMismatch(version) => {
            JournalError::NotAJournal { place, cause: format!("its migration {version} is another one") }
        }
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => match code(&error) {
            // SQLITE_NOTADB, and SQLITE_ERROR when a table of ours is there already and is not ours.
            Some(Code::Sqlite(code)) if matches!(code & 0xff, 26 | 1) => {
                JournalError::NotAJournal { place, cause: cause(&error) }
            }
            // The same: a table or an index is there, or a column is not.
            Some(Code::Postgres(code)) if matches!(&*code, "42P07" | "42703") => {
                JournalError::NotAJournal { place, cause: cause(&error) }
            }
            _ => unusable(cause(&error)),
        },
        other => unusable(other.to_string()),
    }
}

fn is_busy_migration(error: &MigrateError) -> bool {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => is_busy(error),
        _ => false,
    }
}

/// Lets another process go first: 20 ms after the first attempt, then longer.
pub(super) async fn pause(attempt: u32) {
    tokio::time::sleep(Duration::from_millis(20) * attempt).await;
}
