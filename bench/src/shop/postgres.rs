//! Debian's PostgreSQL as it comes, for as long as this process lives; the tests' script runs it.

use std::{
    io::{BufRead as _, BufReader},
    net::TcpListener,
    process::{Child, ChildStdin, Command, Stdio},
};

const SCRIPT: &str = include_str!("../../../target-app/tests/support/postgres.sh");

/// The server. Dropped, it ends: the shell that holds it reads to the end of its input.
pub(super) struct Postgres {
    pub(super) url: String,
    holder: Child,
    input: Option<ChildStdin>,
}

impl Postgres {
    /// Starts one, or says why there is none.
    pub(super) fn start() -> Result<Self, String> {
        let cannot = |error: std::io::Error| error.to_string();
        let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).map_err(cannot)?.port();
        let mut shell = Command::new("sh");
        let shell = shell.args(["-c", SCRIPT, "postgres", &port.to_string()]);
        let shell = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut holder = shell.spawn().map_err(cannot)?;
        let mut said = String::new();
        if let Some(output) = holder.stdout.take() {
            BufReader::new(output).read_line(&mut said).map_err(cannot)?;
        }
        let (url, input) = (format!("postgres://shop@127.0.0.1:{port}/postgres"), holder.stdin.take());
        let server = Self { url, holder, input };
        if said.trim() == "ready" { Ok(server) } else { Err(said.trim().to_owned()) }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.holder.wait();
    }
}
