//! An agent in a process of its own, so that its processor time and its memory are its own.
//!
//! It is this executable again (`agent_mode`). `contestant` routes through it; `throughput` and `memory` ask what it
//! costs. Figures come from `/proc`.
//!
//! Invariant: when this value is dropped, the process is gone.

use crate::error::{BenchError, Tried};
use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

/// How long it may take to start.
const START: Duration = Duration::from_secs(10);

/// How long it may take to end in order, before it is killed.
const END: Duration = Duration::from_secs(5);

/// A running agent.
pub(crate) struct AgentProcess {
    child: Child,
    api: SocketAddr,
}

impl AgentProcess {
    /// Starts one and waits until it is bound.
    pub(crate) fn start() -> Result<Self, BenchError> {
        let ourselves = std::env::current_exe().tried("find our own executable")?;
        let mut child = Command::new(ourselves)
            .arg("serve-agent")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .tried("start the agent's process")?;
        let stdout = child.stdout.take();
        // Not listening anywhere yet: whatever fails from here on, dropping this ends the process.
        let mut process = Self { child, api: SocketAddr::from(([127, 0, 0, 1], 0)) };
        let (said, hears) = mpsc::sync_channel(1);
        let reader = std::thread::spawn(move || {
            let mut line = String::new();
            let read = stdout.map(|stdout| BufReader::new(stdout).read_line(&mut line));
            // Nobody listens when the start took too long.
            let _ = said.send(read.and_then(Result::ok).and_then(|_| line.trim().parse().ok()));
        });
        let address = hears
            .recv_timeout(START)
            .map_err(|_| BenchError::Late { what: "the agent's address".into(), limit: START })?;
        reader.join().map_err(|_| BenchError::Panicked("read the agent's address"))?;
        process.api = address.ok_or_else(|| BenchError::Agent {
            what: "start".into(),
            why: "it did not say where it listens; its log is above".into(),
        })?;
        Ok(process)
    }

    /// Where its API is.
    pub(crate) fn api(&self) -> SocketAddr {
        self.api
    }

    /// Processor time that it has used, in user and kernel, in seconds; to the kernel's tick, mostly 10 ms.
    pub(crate) fn cpu_seconds(&self) -> Result<f64, BenchError> {
        let stat = self.proc_file("stat")?;
        let ticks = cpu_ticks(&stat).ok_or_else(|| unreadable("stat"))?;
        Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
    }

    /// Memory that it holds, in bytes.
    pub(crate) fn resident_bytes(&self) -> Result<f64, BenchError> {
        let status = self.proc_file("status")?;
        resident_kib(&status).map(|kib| kib as f64 * 1024.0).ok_or_else(|| unreadable("status"))
    }

    fn proc_file(&self, name: &str) -> Result<String, BenchError> {
        let path = format!("/proc/{}/{name}", self.child.id());
        std::fs::read_to_string(&path).tried(&format!("read {path}"))
    }
}

impl Drop for AgentProcess {
    fn drop(&mut self) {
        // It ends in order when its standard input does.
        drop(self.child.stdin.take());
        let until = Instant::now() + END;
        while Instant::now() < until {
            if matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) {
                return;
            }
            // Polling a child: the standard library has no wait with a limit.
            std::thread::sleep(Duration::from_millis(5));
        }
        // It may have ended between the two calls, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn unreadable(file: &str) -> BenchError {
    BenchError::Agent { what: format!("be read in /proc/…/{file}"), why: "the file is not as proc(5) says".into() }
}

/// `utime` + `stime`, fields 14 and 15 of proc_pid_stat(5). The name in field 2 may hold anything.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

fn resident_kib(status: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix("kB")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::{cpu_ticks, resident_kib};

    #[test]
    fn processor_time_is_found_behind_any_name() {
        let stat = "42 (a (b) c) S 1 2 3 4 5 6 7 8 9 10 700 30 0 0 20 0 4 0 100";
        assert_eq!(cpu_ticks(stat), Some(730));
        assert_eq!(cpu_ticks("42 (a) S 1"), None);
    }

    #[test]
    fn resident_memory_is_read_from_its_line() {
        assert_eq!(resident_kib("Name:\ta\nVmHWM:\t 99 kB\nVmRSS:\t    1234 kB\n"), Some(1234));
        assert_eq!(resident_kib("Name:\ta\n"), None);
    }
}
