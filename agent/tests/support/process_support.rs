//! What the tests of the program share: an agent as a process of its own, ended with its test.
//!
//! Ports are always 0 and told by the ready file. Neighbours: `cli.rs`, `guard_cli.rs`.
//! Invariant: whatever waits here has a limit, and only processes that a test started are stopped.

#![allow(dead_code, reason = "each test binary uses some of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use serde_json::Value;
use std::{
    io::{BufRead, BufReader, Read},
    net::TcpStream,
    path::Path,
    process::{Child, ChildStderr, Command, ExitStatus, Output, Stdio},
    time::{Duration, Instant},
};

pub(crate) const LONG: Duration = Duration::from_secs(20);

pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_squall-agent"));
    command.env_remove("RUST_LOG").stdin(Stdio::null());
    command
}

pub(crate) fn output(arguments: &[&str]) -> Output {
    program().args(arguments).output().unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A running agent, ended with the test.
pub(crate) struct Process {
    pub(crate) child: Child,
    pub(crate) ready: Value,
    log: Option<BufReader<ChildStderr>>,
    read: String,
}

impl Process {
    pub(crate) fn start(directory: &Path, configure: impl FnOnce(&mut Command)) -> Self {
        Self::start_as(program(), directory, configure)
    }

    /// The same with a limit of open files.
    pub(crate) fn with_files(files: u64, directory: &Path, configure: impl FnOnce(&mut Command)) -> Self {
        let mut command = Command::new("sh");
        command.env_remove("RUST_LOG").stdin(Stdio::null()).args(["-c", r#"ulimit -n "$1"; shift; exec "$@""#, "sh"]);
        command.arg(files.to_string()).arg(env!("CARGO_BIN_EXE_squall-agent"));
        Self::start_as(command, directory, configure)
    }

    fn start_as(mut command: Command, directory: &Path, configure: impl FnOnce(&mut Command)) -> Self {
        let ready_file = directory.join("ready.json");
        command.env("SQUALL_AGENT_LISTEN", "127.0.0.1:0").arg("--ready-file").arg(&ready_file).stderr(Stdio::piped());
        configure(&mut command);
        let mut child = command.spawn().unwrap();
        let start = Instant::now();
        // The file comes as a whole, or not yet.
        while !ready_file.exists() {
            assert!(child.try_wait().unwrap().is_none(), "it ended: {}", log(&mut child));
            assert!(start.elapsed() < LONG, "it is not ready");
            std::thread::sleep(Duration::from_millis(10));
        }
        let ready = serde_json::from_str(&std::fs::read_to_string(&ready_file).unwrap()).unwrap();
        Self { child, ready, log: None, read: String::new() }
    }

    pub(crate) fn api(&self) -> &str {
        self.ready["api"].as_str().unwrap()
    }

    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap().success());
    }

    /// Reads the log up to the line that has this in it, and answers that line.
    pub(crate) fn log_until(&mut self, part: &str) -> String {
        let log = self.log.get_or_insert_with(|| BufReader::new(self.child.stderr.take().unwrap()));
        loop {
            let mut line = String::new();
            assert!(log.read_line(&mut line).unwrap() > 0, "{part} is not in the log:\n{}", self.read);
            self.read += &line;
            if line.contains(part) {
                return line;
            }
        }
    }

    /// The whole log of an agent that has ended, after [`Self::log_until`].
    pub(crate) fn log_read(&mut self) -> &str {
        if let Some(log) = &mut self.log {
            log.read_to_string(&mut self.read).unwrap();
        }
        &self.read
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(start.elapsed() < LONG, "it does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn log(child: &mut Child) -> String {
    let mut log = String::new();
    child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    log
}

/// A request by hand, so that no client is needed here; answers the whole answer.
pub(crate) fn get(addr: &str, path: &str) -> String {
    use std::io::Write;
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
