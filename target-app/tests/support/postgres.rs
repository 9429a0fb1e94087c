//! PostgreSQL for tests: one server for each test binary, one database for each test.
//!
//! The server is Debian's, run as user `postgres` where the tests are root, in a temporary directory, on a free loopback
//! port. A shell holds it and waits for its own standard input to end, which it does with the test process however that
//! ends; then it stops the server and removes the directory.
//!
//! Neighbours: tests of the store and of the shop ask for databases. Invariant: where there is no PostgreSQL, a test
//! says by its name that it was skipped, and why.

use sqlx::{Connection as _, PgConnection};
use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

const SCRIPT: &str = include_str!("postgres.sh");

/// The server's port, and the shell that holds it: its input is open for as long as this process lives.
struct Server(u16, #[expect(dead_code, reason = "held, not used")] Child);

static SERVER: OnceLock<Result<Server, String>> = OnceLock::new();
static DATABASES: AtomicU32 = AtomicU32::new(0);

/// The address of a new database, or the reason why there is none.
async fn database() -> Result<String, String> {
    let port = tokio::task::spawn_blocking(|| {
        SERVER.get_or_init(start).as_ref().map(|Server(port, _)| *port).map_err(String::clone)
    })
    .await
    .unwrap()?;
    let name = format!("t{}", DATABASES.fetch_add(1, Ordering::Relaxed));
    let mut admin = PgConnection::connect(&format!("postgres://shop@127.0.0.1:{port}/postgres")).await.unwrap();
    let create = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"));
    sqlx::query(create).execute(&mut admin).await.unwrap();
    admin.close().await.unwrap();
    Ok(format!("postgres://shop@127.0.0.1:{port}/{name}"))
}

/// A new database for this test, or the words that it was skipped.
pub(crate) async fn database_for(test: &str) -> Option<String> {
    database().await.inspect_err(|reason| skipped(test, reason)).ok()
}

/// Past the capture of the test runner, so that it is in the summary of a run that passes.
fn skipped(test: &str, reason: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED {test} on PostgreSQL: {reason}");
}

fn start() -> Result<Server, String> {
    let mut reason = String::new();
    // Somebody may take the port between our look and the server's start.
    for _ in 0..3 {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut shell = Command::new("sh");
        let shell =
            shell.args(["-c", SCRIPT, "postgres", &port.to_string(), "-c", "fsync=off", "-c", "shared_buffers=32MB"]);
        let mut holder = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut said = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut said).unwrap();
        if said.trim() == "ready" {
            return Ok(Server(port, holder));
        }
        reason = said.trim().to_owned();
        let _ = holder.wait();
    }
    Err(reason)
}
