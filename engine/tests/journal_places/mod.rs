//! Where the journal's tests write: an SQLite file, or a database of a PostgreSQL server that the test binary starts from
//! Debian's packages. One server a binary, a database a test. Where there is none, a test says by name that it was skipped.
//!
//! A shell holds the server and a pipe to this process: when that is gone, however it ended, the server and its directory go.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]
#![allow(dead_code, reason = "each test file uses a part")]
#![allow(missing_docs, reason = "test helper")]

use squall_engine::journal::JournalPlace;
use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

/// Reads commands, answers each with one line.
const SCRIPT: &str = r#"
dir=$(mktemp -d /tmp/squall-postgres.XXXXXX) || exit 1
trap 'kill -QUIT $server 2>/dev/null; wait; rm -rf "$dir"' EXIT
cd "$dir"
"$BIN/initdb" -D data -A trust -U squall -E UTF8 --no-sync >initdb.log 2>&1 || { cat initdb.log >&2; exit 1; }
if [ -n "$CERT" ]; then
    # Nobody gets in without TLS.
    echo "hostssl all all 127.0.0.1/32 trust" > data/pg_hba.conf
    printf %s "$CERT" > data/server.crt
    (umask 077; printf %s "$KEY" > data/server.key)
    echo "ssl = on" >> data/postgresql.conf
fi
start() {
    "$BIN/postgres" -D data -p "$PORT" -k "$dir" -c listen_addresses=127.0.0.1 -c fsync=off \
        -c max_connections=60 >>server.log 2>&1 &
    server=$!
    for attempt in $(seq 200); do
        "$BIN/pg_isready" -q -h 127.0.0.1 -p "$PORT" && { echo up; return; }
        kill -0 $server 2>/dev/null || { sleep 0.2; start; return; }
        sleep 0.05
    done
    cat server.log >&2; echo failed
}
start
while read -r what; do
    case $what in
        stop) kill -QUIT $server; wait $server; echo down ;;
        freeze) kill -STOP $server $(cat /proc/$server/task/$server/children); echo frozen ;;
        thaw) kill -CONT $server $(cat /proc/$server/task/$server/children); echo thawed ;;
        start) start ;;
    esac
done
"#;

/// A server of a test's own, which it may stop and start.
pub(crate) struct Postgres {
    shell: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    port: u16,
}

impl Postgres {
    /// Starts one, or says why not.
    pub(crate) fn start() -> Result<Self, String> {
        Self::start_with("", "")
    }

    /// Starts one with this certificate and its key, which lets nobody in without TLS.
    pub(crate) fn start_with(certificate: &str, key: &str) -> Result<Self, String> {
        let bin = bin().ok_or("PostgreSQL's `initdb` is not installed")?;
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let is_root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout.starts_with(b"0\n"));
        let mut command = if is_root {
            // PostgreSQL does not run as root.
            let mut command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "sh", "-c", SCRIPT]);
            command
        } else {
            let mut command = Command::new("sh");
            command.args(["-c", SCRIPT]);
            command
        };
        command.env("BIN", bin).env("PORT", port.to_string()).env("CERT", certificate).env("KEY", key);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut shell = command.spawn().map_err(|error| error.to_string())?;
        let (commands, answers) = (shell.stdin.take(), BufReader::new(shell.stdout.take().unwrap()));
        let mut server = Self { shell, commands, answers, port };
        match &*server.answer() {
            "up" => Ok(server),
            other => Err(format!("PostgreSQL did not start: {other:?}")),
        }
    }

    /// `stop` (as a crash does), `start`, `freeze`, `thaw`; returns when it is done.
    pub(crate) fn tell(&mut self, what: &str) {
        writeln!(self.commands.as_mut().unwrap(), "{what}").unwrap();
        let answer = self.answer();
        assert!(matches!(&*answer, "up" | "down" | "frozen" | "thawed"), "{what}: {answer}");
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    /// A new database.
    pub(crate) fn database(&self) -> JournalPlace {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("journal_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        JournalPlace::from(&*self.url(&name))
    }

    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://squall@127.0.0.1:{}/{database}", self.port)
    }

    /// What `psql` prints.
    pub(crate) fn sql(&self, database: &str, sql: &str) -> String {
        let done = Command::new(bin().unwrap().join("psql"))
            .args(["-X", "-q", "-t", "-A", "-v", "ON_ERROR_STOP=1", "-d", &self.url(database), "-c", sql])
            .output()
            .unwrap();
        assert!(done.status.success(), "{sql}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap().trim().to_owned()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        drop(self.commands.take());
        let _ = self.shell.wait();
    }
}

fn bin() -> Option<PathBuf> {
    let mut versions: Vec<_> = std::fs::read_dir("/usr/lib/postgresql").ok()?.flatten().map(|one| one.path()).collect();
    versions.sort();
    versions.into_iter().map(|version| version.join("bin")).rfind(|bin| bin.join("initdb").exists())
}

/// The binary's server; its shell ends when the binary does.
fn shared() -> &'static Result<Postgres, String> {
    static SERVER: OnceLock<Result<Postgres, String>> = OnceLock::new();
    SERVER.get_or_init(Postgres::start)
}

/// A database for the test with this name.
pub(crate) fn database(test: &str) -> Option<JournalPlace> {
    match shared() {
        Ok(server) => Some(server.database()),
        Err(why) => {
            eprintln!("SKIPPED {test} on PostgreSQL: {why}");
            None
        }
    }
}

/// A file in a directory that is not there yet.
pub(crate) fn file() -> (tempfile::TempDir, JournalPlace) {
    let directory = tempfile::tempdir().unwrap();
    let place = JournalPlace::from(&directory.path().join("deep/er/squall.db"));
    (directory, place)
}

/// Each of these as a test on either database.
#[allow(unused_macros, reason = "each test file uses a part")]
macro_rules! on_both {
    ($($test:ident),+ $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                let (_directory, place) = crate::journal_places::file();
                super::$test(place).await;
            })+
        }
        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                if let Some(place) = crate::journal_places::database(stringify!($test)) {
                    super::$test(place).await;
                }
            })+
        }
    };
}
#[allow(unused_imports, reason = "each test file uses a part")]
pub(crate) use on_both;
