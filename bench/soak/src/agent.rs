//! The agent's process: started, asked over REST, looked at in `/proc`, and ended.
//!
//! Neighbours: `serve` is what runs in it, but for a program given by path; `site` makes its proxies, `chaos` hurts through it,
//! `checkpoint` looks at what it holds.
//! Invariant: when this value is dropped, the process is gone.

use crate::error::SoakError;
use reqwest::Method;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::{
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::Mutex,
    time::{sleep, timeout},
};

/// How long it may take to start.
const START: Duration = Duration::from_secs(10);
/// A call that takes longer than this hangs, which is a finding.
const CALL: Duration = Duration::from_secs(10);

/// Descriptors are counted again so many times, so far apart: the least counts.
const RECOUNTS: usize = 5;
const RECOUNT: Duration = Duration::from_millis(50);
/// Ends of the 16 pipes that an agent keeps for the next streams, and of the few that are not for streams.
const SPARE_PIPES: u64 = 2 * 16 + 8;

/// How long what was open is waited for at the end.
const DRAIN: &str = "2s";

/// A running agent.
pub(crate) struct Agent {
    child: Child,
    pid: u32,
    /// Where one that we are ourselves tells its heap.
    tells: Option<Mutex<Tells>>,
    http: reqwest::Client,
    url: String,
    _home: tempfile::TempDir,
}

struct Tells {
    ask: ChildStdin,
    told: BufReader<ChildStdout>,
}

/// What an answer was.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

/// What it has allocated.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub(crate) struct Heap {
    /// Now.
    pub(crate) kib: u64,
    /// At the moment since its start at which it was most.
    pub(crate) most_kib: u64,
}

/// What the agent holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Held {
    /// Connections, sessions included, over all proxies.
    pub(crate) connections: u64,
    /// Faults that are set.
    pub(crate) faults: u64,
    /// Tasks that live.
    pub(crate) tasks: u64,
    /// Bytes in delay lines.
    pub(crate) bytes: u64,
    /// Open descriptors, but for pipes.
    pub(crate) descriptors: u64,
    /// Whether more ends of pipes are open than an agent may keep for the next streams.
    pub(crate) too_many_pipes: bool,
}

impl Agent {
    /// Starts one on any free port: that program, or this one, which counts its heap.
    pub(crate) async fn start(program: Option<&Path>) -> Result<Self, SoakError> {
        let home = tempfile::tempdir().map_err(|e| SoakError::new("make a directory", e))?;
        let ready = home.path().join("ready.json");
        let (mut command, what) = match program {
            Some(path) => {
                let mut command = Command::new(path);
                command.args(["--listen", "127.0.0.1:0"]).stdin(Stdio::null()).stdout(Stdio::null());
                (command, path.display().to_string())
            }
            None => {
                let us = std::env::current_exe().map_err(|e| SoakError::new("find our own program", e))?;
                let mut command = Command::new(us);
                command.arg("serve-agent").stdin(Stdio::piped()).stdout(Stdio::piped());
                (command, "ourselves as the agent".to_owned())
            }
        };
        command.args(["--drain", DRAIN, "--ready-file"]).arg(&ready).env("RUST_LOG", "error").kill_on_drop(true);
        let mut child = command.spawn().map_err(|e| SoakError::new(format!("start {what}"), e))?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let tells = pipes.map(|(ask, told)| Mutex::new(Tells { ask, told: BufReader::new(told) }));
        // Each call comes on a connection of its own, so that those that the agent has are the same at every look.
        let http = reqwest::Client::builder()
            .timeout(CALL)
            .pool_max_idle_per_host(0)
            .no_proxy()
            .build()
            .map_err(|e| SoakError::new("make a client", e))?;
        let pid = child.id().ok_or_else(|| SoakError::new(format!("start {what}"), "it ended at once"))?;
        let mut agent = Self { child, pid, tells, http, url: String::new(), _home: home };
        let until = Instant::now() + START;
        let told = loop {
            // Written in one piece, by renaming.
            if let Ok(text) = std::fs::read_to_string(&ready) {
                break text;
            }
            if Instant::now() > until {
                return Err(SoakError::new("start the agent", format!("it was not ready within {START:?}")));
            }
            sleep(Duration::from_millis(10)).await;
        };
        let told: Value = serde_json::from_str(&told).map_err(|e| SoakError::new("read the ready file", e))?;
        agent.url = format!("http://{}", told["api"].as_str().unwrap_or_default());
        Ok(agent)
    }

    /// Asks, and takes any answer.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        lease: Option<&str>,
        body: Option<&Value>,
    ) -> Result<Answer, String> {
        let mut request = self.http.request(method.clone(), format!("{}{path}", self.url));
        if let Some(lease) = lease {
            request = request.header("x-squall-lease", lease);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let told = |e: reqwest::Error| format!("{method} {path}: {e}");
        let answer = request.send().await.map_err(told)?;
        let status = answer.status().as_u16();
        let text = answer.text().await.map_err(told)?;
        Ok(Answer { status, body: serde_json::from_str(&text).unwrap_or(Value::String(text)) })
    }

    /// Asks for what must be answered with success.
    pub(crate) async fn must(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, SoakError> {
        let answer = self.ask(method, path, None, body).await.map_err(|e| SoakError::new("ask the agent", e))?;
        match answer.status {
            200..300 => Ok(answer.body),
            status => Err(SoakError::new(format!("have the agent do {path}"), format!("{status}: {}", answer.body))),
        }
    }

    /// What it holds now.
    pub(crate) async fn held(&self) -> Result<Held, SoakError> {
        let text = self.must(Method::GET, "/metrics", None).await?;
        let text = text.as_str().unwrap_or_default();
        let one = |name: &str| {
            sum(text, name).ok_or_else(|| SoakError::new("read the agent's metrics", format!("there is no {name}")))
        };
        let (mut descriptors, mut pipes) = self.descriptors()?;
        for _ in 0..RECOUNTS {
            // The connection of the call above may be closing still.
            sleep(RECOUNT).await;
            let (fewer, now) = self.descriptors()?;
            (descriptors, pipes) = (descriptors.min(fewer), pipes.min(now));
        }
        Ok(Held {
            too_many_pipes: pipes > SPARE_PIPES,
            connections: one("squall_proxy_open_connections")?,
            faults: one("squall_proxy_faults")?,
            tasks: one("squall_tasks")?,
            bytes: one("squall_held_bytes")?,
            descriptors,
        })
    }

    /// Its open descriptors: those that are no pipes, and the ends of pipes.
    fn descriptors(&self) -> Result<(u64, u64), SoakError> {
        let cannot = |e| SoakError::new("count the agent's descriptors", e);
        let directory = std::fs::read_dir(format!("/proc/{}/fd", self.pid)).map_err(cannot)?;
        // One that is closed meanwhile is none.
        let opened: Vec<_> = directory.flatten().filter_map(|entry| std::fs::read_link(entry.path()).ok()).collect();
        let pipes = opened.iter().filter(|to| to.to_string_lossy().starts_with("pipe:")).count();
        Ok(((opened.len() - pipes) as u64, pipes as u64))
    }

    /// Memory that it holds, in KiB.
    pub(crate) fn resident_kib(&self) -> Result<u64, SoakError> {
        let path = format!("/proc/{}/status", self.pid);
        let status = std::fs::read_to_string(&path).map_err(|e| SoakError::new(format!("read {path}"), e))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse().ok())
            .ok_or_else(|| SoakError::new(format!("read {path}"), "there is no VmRSS in it"))
    }

    /// What it has allocated, where it tells.
    pub(crate) async fn heap(&self) -> Result<Option<Heap>, SoakError> {
        let Some(tells) = &self.tells else { return Ok(None) };
        let asked = async {
            let mut tells = tells.lock().await;
            tells.ask.write_all(b"\n").await?;
            let mut line = String::new();
            tells.told.read_line(&mut line).await.map(|_| line)
        };
        let cannot = |why: String| SoakError::new("have the agent tell its heap", why);
        let line = timeout(CALL, asked).await.map_err(|e| cannot(e.to_string()))?.map_err(|e| cannot(e.to_string()))?;
        let kib =
            |text: &str| text.parse::<u64>().map(|bytes| bytes / 1024).map_err(|e| cannot(format!("{e}: {line}")));
        let (now, most) = line.trim().split_once(' ').ok_or_else(|| cannot(format!("it said `{line}`")))?;
        Ok(Some(Heap { kib: kib(now)?, most_kib: kib(most)? }))
    }

    /// Asks it to end, and waits for that; answers its exit code.
    pub(crate) async fn end(mut self, limit: Duration) -> Result<Option<i32>, SoakError> {
        if let Some(pid) = Pid::from_raw(self.pid.cast_signed()) {
            kill_process(pid, Signal::TERM).map_err(|e| SoakError::new("end the agent", e))?;
        }
        match timeout(limit, self.child.wait()).await {
            Ok(ended) => Ok(ended.map_err(|e| SoakError::new("wait for the agent's end", e))?.code()),
            Err(_) => Err(SoakError::new("end the agent", format!("it goes on {limit:?} after SIGTERM"))),
        }
    }
}

/// The sum over all series of a gauge.
fn sum(text: &str, name: &str) -> Option<u64> {
    let values: Vec<u64> = text
        .lines()
        .filter_map(|line| line.strip_prefix(name))
        .filter(|rest| rest.starts_with(['{', ' ']))
        .filter_map(|rest| rest.rsplit_once(' ')?.1.parse().ok())
        .collect();
    (!values.is_empty()).then(|| values.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::sum;

    #[test]
    fn a_gauge_is_summed_over_its_series_and_no_other() {
        let text = "squall_x{proxy=\"a\"} 3\nsquall_x{proxy=\"b\"} 4\nsquall_xy 9\nsquall_y 1\n";
        assert_eq!((sum(text, "squall_x"), sum(text, "squall_y"), sum(text, "squall_z")), (Some(7), Some(1), None));
    }
}
