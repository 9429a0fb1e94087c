//! The two databases behind one set of statements: a value of either kind, and what their errors mean.
//!
//! Every statement is written once, with `$1` parameters that both understand; `both!` compiles it for each.
//! Neighbours: `open` makes the pools, `entry`, `read` and `prune` use them.
//! Invariant: a connection on which something was cut off in the middle is never used again.

use super::entry::{Entry, Written};
use sqlx::{
    ConnectOptions, Connection as _, PgConnection, PgPool, Postgres, SqliteConnection, SqlitePool, pool::PoolConnection,
};
use std::{future::Future, time::Duration};

/// The same thing of either database.
#[derive(Debug, Clone)]
pub(super) enum Both<S, P> {
    Sqlite(S),
    Postgres(P),
}

/// Does the same with either. Within, `Db` is the database's type.
macro_rules! both {
    ($of:expr, $each:ident => $do:expr) => {
        match $of {
            $crate::journal::store::Both::Sqlite($each) => {
                #[allow(dead_code, reason = "not every statement names its database")]
                type Db = sqlx::Sqlite;
                $do
            }
            $crate::journal::store::Both::Postgres($each) => {
                #[allow(dead_code, reason = "not every statement names its database")]
                type Db = sqlx::Postgres;
                $do
            }
        }
    };
}
pub(super) use both;

/// The connections of a journal.
pub(super) type Pool = Both<SqlitePool, PgPool>;

/// One connection, within a transaction.
pub(super) type Conn<'a> = Both<&'a mut SqliteConnection, &'a mut PgConnection>;

/// One transaction takes so long at most: a server that has stopped answering is away.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a server that cannot be reached is asked why.
const ASK: Duration = Duration::from_secs(1);

/// SQLite waits for locks within its statements, and a disk may be slow.
const PATIENCE_FILE: Duration = Duration::from_secs(20);

/// Writes entries of a run in one transaction: all or none.
pub(super) async fn write(pool: &Pool, run: &str, entries: &[Entry]) -> Result<Written, sqlx::Error> {
    match pool {
        Pool::Sqlite(pool) => {
            let mut connection = pool.acquire().await?;
            let done = within(PATIENCE_FILE, async {
                // With the write lock from the start, so that it never fails half-way for want of it.
                let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
                let written = all(run, entries, &mut Both::Sqlite(&mut *transaction)).await?;
                transaction.commit().await.map(|()| written)
            });
            let done = done.await;
            if done.as_ref().is_err_and(is_cut_off) {
                connection.close_on_drop();
            }
            done
        }
        Pool::Postgres(pool) => {
            let mut connection = acquire(pool).await?;
            let done = within(PATIENCE, async {
                let mut transaction = connection.begin().await?;
                let written = all(run, entries, &mut Both::Postgres(&mut *transaction)).await?;
                transaction.commit().await.map(|()| written)
            });
            let done = done.await;
            if done.as_ref().is_err_and(is_cut_off) {
                connection.close_on_drop();
            }
            done
        }
    }
}

/// A connection of the pool. The pool tries until its time is up and then only knows that; so the server is asked once more
/// without it, for what it says.
async fn acquire(pool: &PgPool) -> Result<PoolConnection<Postgres>, sqlx::Error> {
    match pool.acquire().await {
        Err(sqlx::Error::PoolTimedOut) => {
            let options = pool.connect_options();
            within(ASK, ConnectOptions::connect(&*options)).await?.close().await?;
            Err(sqlx::Error::PoolTimedOut)
        }
        other => other,
    }
}

async fn all(run: &str, entries: &[Entry], conn: &mut Conn<'_>) -> Result<Written, sqlx::Error> {
    let mut written = Written::default();
    for entry in entries {
        written.add(&entry.write(run, conn).await?);
    }
    Ok(written)
}

pub(super) async fn within<T>(
    patience: Duration,
    work: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    tokio::time::timeout(patience, work).await.unwrap_or_else(|_| {
        let why = format!("no answer within {}", squall_wire::Span::from(patience));
        Err(sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, why)))
    })
}

/// Anything that the database itself has not said leaves its connection in an unknown state.
const fn is_cut_off(error: &sqlx::Error) -> bool {
    !matches!(error, sqlx::Error::Database(_))
}

/// Whether another connection holds what is needed, or was quicker, so that trying again can help.
pub(super) fn is_busy(error: &sqlx::Error) -> bool {
    match code(error) {
        // SQLITE_BUSY and SQLITE_LOCKED; the low byte is the primary code.
        Some(Code::Sqlite(code)) => matches!(code & 0xff, 5 | 6),
        // Serialization failure, deadlock, lock not available.
        Some(Code::Postgres(code)) => matches!(&*code, "40001" | "40P01" | "55P03"),
        None => false,
    }
}

/// Whether the database is away, for whatever reason: what was to be written is sound, and can be written later.
pub(super) fn is_away(error: &sqlx::Error) -> bool {
    match code(error) {
        // SQLITE_TOOBIG, SQLITE_CONSTRAINT, SQLITE_MISMATCH: the entry itself is at fault.
        Some(Code::Sqlite(code)) => !matches!(code & 0xff, 18..=20),
        // Data exceptions, integrity constraints.
        Some(Code::Postgres(code)) => !(code.starts_with("22") || code.starts_with("23")),
        None => !matches!(
            error,
            sqlx::Error::Encode(_)
                | sqlx::Error::Decode(_)
                | sqlx::Error::ColumnDecode { .. }
                | sqlx::Error::RowNotFound
        ),
    }
}

/// What a database said, in its own numbering.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Code {
    Sqlite(u32),
    Postgres(String),
}

pub(super) fn code(error: &sqlx::Error) -> Option<Code> {
    let sqlx::Error::Database(error) = error else { return None };
    let code = error.code()?;
    if error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>().is_some() {
        return Some(Code::Postgres(code.into_owned()));
    }
    code.parse().ok().map(Code::Sqlite)
}

/// The text of an error, without what surrounds it.
pub(super) fn cause(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => error.message().to_owned(),
        sqlx::Error::Io(error) => error.to_string(),
        sqlx::Error::PoolTimedOut => "no connection in time".to_owned(),
        other => other.to_string(),
    }
}
