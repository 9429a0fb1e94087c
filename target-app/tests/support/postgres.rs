//! PostgreSQL for tests: one server for each test binary, one database for each test.
//!
//! The server is `squall_shop::local_postgres`, which ends with the test process however that ends.
//!
//! Neighbours: tests of the store and of the shop ask for databases. Invariant: where there is no PostgreSQL, a test
//! says by its name that it was skipped, and why.

use sqlx::{Connection as _, PgConnection};
use squall_shop::local_postgres::LocalPostgres;
use std::{
    io::Write as _,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

static SERVER: OnceLock<Result<LocalPostgres, String>> = OnceLock::new();
static DATABASES: AtomicU32 = AtomicU32::new(0);

fn start() -> Result<LocalPostgres, String> {
    let prefix = std::env::temp_dir().join("squall-postgres");
    let options = ["-c", "fsync=off", "-c", "shared_buffers=32MB"];
    LocalPostgres::start(&prefix, &options).map_err(|error| error.to_string())
}

/// The address of a new database, or the reason why there is none.
async fn database() -> Result<String, String> {
    let server = tokio::task::spawn_blocking(|| SERVER.get_or_init(start).as_ref().map_err(String::clone));
    let server = server.await.unwrap()?;
    let name = format!("t{}", DATABASES.fetch_add(1, Ordering::Relaxed));
    let mut admin = PgConnection::connect(&server.url("postgres")).await.unwrap();
    let create = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"));
    sqlx::query(create).execute(&mut admin).await.unwrap();
    admin.close().await.unwrap();
    Ok(server.url(&name))
}

/// A new database for this test, or the words that it was skipped.
pub(crate) async fn database_for(test: &str) -> Option<String> {
    database().await.inspect_err(|reason| skipped(test, reason)).ok()
}

/// Past the capture of the test runner, so that it is in the summary of a run that passes.
fn skipped(test: &str, reason: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED {test} on PostgreSQL: {reason}");
}
