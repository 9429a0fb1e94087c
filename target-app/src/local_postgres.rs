//! A PostgreSQL server of one's own, from the installed programs, for as long as a value of this type lives.
//!
//! A shell holds the server and waits for its own standard input to end, which it does with this process however that
//! ends, `kill -9` included; then it stops the server and removes its directory. What is typed to end this process does
//! not reach either: they are a process group of their own, and end after whoever uses the server.
//!
//! Neighbours: squall's sandbox, the tests and the benchmarks start one. Invariant: it listens on 127.0.0.1 only, wants a
//! password that nobody else knows, and is not started as root.

use std::{
    io::{BufRead as _, BufReader},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
};

const SCRIPT: &str = include_str!("local_postgres.sh");
/// Somebody may take the port between our look and the server's start.
const TRIES: usize = 3;

/// Why there is no server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoPostgres(String);

/// The server. Dropped, it is stopped, which is waited for.
#[derive(Debug)]
pub struct LocalPostgres {
    address: SocketAddr,
    password: String,
    holder: Child,
    input: Option<ChildStdin>,
}

impl LocalPostgres {
    /// Starts one in a directory with this beginning, with these options of `postgres` besides. Takes seconds, and at most
    /// some 80: for a thread that may wait.
    ///
    /// # Errors
    /// Why there is none, in words: PostgreSQL is not installed, or did not start.
    pub fn start(prefix: &Path, options: &[&str]) -> Result<Self, NoPostgres> {
        let mut reason = NoPostgres(String::new());
        for _ in 0..TRIES {
            match Self::start_once(prefix, options) {
                Ok(server) => return Ok(server),
                Err(error) => reason = error,
            }
            if !reason.0.starts_with("postgres:") {
                break;
            }
        }
        Err(reason)
    }

    fn start_once(prefix: &Path, options: &[&str]) -> Result<Self, NoPostgres> {
        let cannot = |error: std::io::Error| NoPostgres(format!("failed to start it: {error}"));
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.local_addr());
        let address = address.map_err(cannot)?;
        let password = uuid::Uuid::new_v4().simple().to_string();
        let mut shell = Command::new("sh");
        let shell = shell.args(["-c", SCRIPT, "local_postgres"]).arg(prefix).arg(address.port().to_string());
        let shell = shell.args(options).env("PASSWORD", &password).process_group(0);
        let shell = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut holder = shell.spawn().map_err(cannot)?;
        let (input, output) = (holder.stdin.take(), holder.stdout.take());
        let server = Self { address, password, holder, input };
        let mut said = String::new();
        if let Some(output) = output {
            BufReader::new(output).read_line(&mut said).map_err(cannot)?;
        }
        match said.trim() {
            "ready" => Ok(server),
            "" => Err(NoPostgres("failed to start it: the shell that holds it ended".to_owned())),
            why => Err(NoPostgres(why.to_owned())),
        }
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of one of its databases, of which `postgres` is always there.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!("postgres://shop:{}@{}/{database}", self.password, self.address)
    }
}

impl Drop for LocalPostgres {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.holder.wait();
    }
}
