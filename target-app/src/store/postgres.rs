//! PostgreSQL: a bounded pool of connections, over the network and so perhaps through a proxy.
//!
//! The server itself ends what runs too long (`statement_timeout`), what waits too long for a lock, what was left in a
//! transaction, and what nobody waits for any more (`client_connection_check_interval`). Neighbour: `mod.rs` opens.

use super::{DatabaseConfig, Migrations, schema::Schema};
use sqlx::{
    Connection as _, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use std::time::Duration;

/// A connection that was not used for so long is tried before it is used: the network may have ended it.
const TRUSTED_FOR: Duration = Duration::from_secs(1);
/// How often the server looks whether the other end of a busy connection is still there.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Where statements have no limit, a transaction that is left open still has one.
const IDLE_LIMIT: Duration = Duration::from_secs(10);

/// A statement that was dropped ends within its limit; a connection that is not back so long after it never will be.
const RELEASE_GRACE: Duration = Duration::from_secs(1);

static MIGRATIONS: Migrations = Migrations(sqlx::migrate!("./migrations/postgres"));

pub(super) async fn connect(to: &PgConnectOptions, config: &DatabaseConfig) -> Result<PgPool, sqlx::Error> {
    // 0 is no limit.
    let statement = config.statement_limit.unwrap_or_default();
    let options = to.clone().options([
        ("statement_timeout", milliseconds(statement)),
        ("lock_timeout", milliseconds(statement)),
        ("idle_in_transaction_session_timeout", milliseconds(config.statement_limit.unwrap_or(IDLE_LIMIT))),
        ("client_connection_check_interval", milliseconds(LOOK_EVERY)),
    ]);
    let release_limit = config.statement_limit.unwrap_or(IDLE_LIMIT) + RELEASE_GRACE;
    PgPoolOptions::new()
        .max_connections(config.connections)
        .acquire_timeout(config.acquire_limit)
        .test_before_acquire(false)
        .before_acquire(|connection, about| {
            Box::pin(async move {
                if about.idle_for > TRUSTED_FOR {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .after_release(move |connection, _| {
            // Where the network has swallowed a statement there is no answer to it, ever. Without a limit the pool would lose
            // the place of each such connection for good.
            Box::pin(async move {
                tokio::time::timeout(release_limit, connection.ping())
                    .await
                    .map_err(|_| sqlx::Error::PoolTimedOut)??;
                Ok(true)
            })
        })
        .connect_with(options)
        .await
}

pub(super) async fn migrate(pool: &PgPool, schema: Schema) -> Result<(), sqlx::Error> {
    // One shop at a time: the migrator takes an advisory lock.
    Ok(MIGRATIONS.up_to(schema).run(pool).await?)
}

fn milliseconds(duration: Duration) -> String {
    format!("{}ms", duration.as_millis())
}
