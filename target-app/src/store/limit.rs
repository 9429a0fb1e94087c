//! A connection for a statement that may run long: when nobody waits for it any more, or its time is over, the database
//! stops too.
//!
//! A future that is dropped does not stop SQLite's thread or PostgreSQL's process. So the connection of a dropped
//! statement is closed instead of being given back: PostgreSQL notices within a moment, SQLite is told by its progress
//! handler. Statements that read one row by its key do without.
//!
//! Invariant: a connection that goes back to the pool has no progress handler.

use sqlx::{Database, PgPool, Postgres, Sqlite, SqlitePool, pool::PoolConnection};
use std::{
    ops::{Deref, DerefMut},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// SQLite looks up so often: every few dozen microseconds.
const INSTRUCTIONS: i32 = 2_000;

/// A connection that is closed when it is dropped before `finish`.
pub(super) struct Limited<DB: Database> {
    connection: Option<PoolConnection<DB>>,
    given_up: Arc<AtomicBool>,
}

impl Limited<Sqlite> {
    pub(super) async fn sqlite(pool: &SqlitePool, limit: Option<Duration>) -> Result<Self, sqlx::Error> {
        let mut connection = pool.acquire().await?;
        let given_up = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&given_up);
        let end = limit.map(|limit| Instant::now() + limit);
        let go_on = move || !seen.load(Ordering::Relaxed) && end.is_none_or(|end| Instant::now() < end);
        connection.lock_handle().await?.set_progress_handler(INSTRUCTIONS, go_on);
        Ok(Self { connection: Some(connection), given_up })
    }

    pub(super) async fn finish(mut self) -> Result<(), sqlx::Error> {
        if let Some(connection) = self.connection.as_mut() {
            connection.lock_handle().await?.remove_progress_handler();
        }
        drop(self.connection.take());
        Ok(())
    }
}

impl Limited<Postgres> {
    /// The limit is the server's own.
    pub(super) async fn postgres(pool: &PgPool) -> Result<Self, sqlx::Error> {
        Ok(Self { connection: Some(pool.acquire().await?), given_up: Arc::default() })
    }

    #[expect(clippy::unused_async, reason = "the same as for SQLite")]
    pub(super) async fn finish(mut self) -> Result<(), sqlx::Error> {
        drop(self.connection.take());
        Ok(())
    }
}

impl<DB: Database> Deref for Limited<DB> {
    type Target = DB::Connection;

    #[expect(clippy::expect_used, reason = "only `finish` and `drop` take it, and both end this value")]
    fn deref(&self) -> &DB::Connection {
        self.connection.as_ref().expect("a connection is here until it is given back")
    }
}

impl<DB: Database> DerefMut for Limited<DB> {
    #[expect(clippy::expect_used, reason = "only `finish` and `drop` take it, and both end this value")]
    fn deref_mut(&mut self) -> &mut DB::Connection {
        self.connection.as_mut().expect("a connection is here until it is given back")
    }
}

impl<DB: Database> Drop for Limited<DB> {
    fn drop(&mut self) {
        if let Some(mut connection) = self.connection.take() {
            self.given_up.store(true, Ordering::Relaxed);
            connection.close_on_drop();
        }
    }
}
