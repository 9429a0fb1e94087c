//! A contestant's process: owned, waited for at its start, asked what it costs, and stopped.
//!
//! `contestant` starts one a line, so that its processor time and memory are those of that line alone; figures come
//! from `/proc`, over the process and its children (nginx works in children).
//!
//! Invariant: when this value is dropped, the process and its children are gone.

use crate::error::{BenchError, Tried};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

/// How long it may take to start.
const START: Duration = Duration::from_secs(10);

/// How long it may take to end in order, before it is killed.
const END: Duration = Duration::from_secs(5);

/// How it is asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// By the end of its standard input.
    Input,
    /// By SIGTERM.
    Signal,
}

/// A process that runs.
pub(crate) struct Process {
    child: Child,
    stop: Stop,
}

impl Process {
    /// Starts a command, whose own log goes nowhere unless it fails to start.
    pub(crate) fn start(command: &mut Command, stop: Stop) -> Result<Self, BenchError> {
        let input = if stop == Stop::Input { Stdio::piped() } else { Stdio::null() };
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command.stdin(input).spawn().tried(&format!("start {name}"))?;
        Ok(Self { child, stop })
    }

    /// The first line of its standard output, which must have been piped.
    pub(crate) fn first_line(&mut self) -> Result<String, BenchError> {
        let stdout = self.child.stdout.take();
        let (said, hears) = mpsc::sync_channel(1);
        let reader = std::thread::spawn(move || {
            let mut line = String::new();
            let read = stdout.map(|stdout| BufReader::new(stdout).read_line(&mut line));
            // Nobody listens when the start took too long.
            let _ = said.send(read.and_then(Result::ok).map(|_| line));
        });
        let line = hears
            .recv_timeout(START)
            .map_err(|_| BenchError::Late { what: "the first line of a process".into(), limit: START })?;
        reader.join().map_err(|_| BenchError::Panicked("read what a process says"))?;
        line.ok_or_else(|| BenchError::Missing("the first line of a process".into()))
    }

    /// Asks again and again whether it is ready, for as long as a start may take; fails when it ended instead.
    pub(crate) fn until(&mut self, who: &'static str, mut ready: impl FnMut() -> bool) -> Result<(), BenchError> {
        let until = Instant::now() + START;
        while !ready() {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(BenchError::Peer { who, what: "start".into(), why: format!("it ended: {status}") });
            }
            if Instant::now() > until {
                return Err(BenchError::Late { what: format!("{who} to start"), limit: START });
            }
            // Polling: another program tells nobody when it is ready.
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// Processor time that it has used, in user and kernel, in seconds; to the kernel's tick, mostly 10 ms.
    pub(crate) fn cpu_seconds(&self) -> Result<f64, BenchError> {
        let mut ticks = 0;
        for pid in self.family() {
            let path = format!("/proc/{pid}/stat");
            let stat = std::fs::read_to_string(&path).tried(&format!("read {path}"))?;
            ticks += cpu_ticks(&stat).ok_or(BenchError::Unreadable(path))?;
        }
        Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
    }

    /// Processor time that its threads have used so far, to the nanosecond, as the scheduler counts it.
    pub(crate) fn scheduled_nanos(&self) -> Result<f64, BenchError> {
        let mut sum = 0;
        for pid in self.family() {
            let tasks = format!("/proc/{pid}/task");
            for task in std::fs::read_dir(&tasks).tried(&format!("read {tasks}"))? {
                let path = task.tried(&format!("read {tasks}"))?.path().join("schedstat");
                // A thread that ended in between takes its time with it; agents have as many to the end.
                let Ok(stat) = std::fs::read_to_string(&path) else { continue };
                let nanos = stat.split_whitespace().next().and_then(|word| word.parse::<u64>().ok());
                sum += nanos.ok_or_else(|| BenchError::Unreadable(path.display().to_string()))?;
            }
        }
        Ok(sum as f64)
    }

    /// Memory that it holds, in bytes.
    pub(crate) fn resident_bytes(&self) -> Result<f64, BenchError> {
        self.memory("VmRSS:")
    }

    /// The most memory that it ever held, in bytes.
    pub(crate) fn most_resident_bytes(&self) -> Result<f64, BenchError> {
        self.memory("VmHWM:")
    }

    fn memory(&self, field: &str) -> Result<f64, BenchError> {
        let mut sum = 0;
        for pid in self.family() {
            let path = format!("/proc/{pid}/status");
            let status = std::fs::read_to_string(&path).tried(&format!("read {path}"))?;
            sum += kib(&status, field).ok_or(BenchError::Unreadable(path))?;
        }
        Ok(sum as f64 * 1024.0)
    }

    /// The process and its children.
    fn family(&self) -> Vec<u32> {
        let pid = self.child.id();
        // Only a kernel without this file has no children to tell of.
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        std::iter::once(pid).chain(children.split_whitespace().filter_map(|word| word.parse().ok())).collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        if self.stop == Stop::Signal {
            // It is our child and was not waited for, so the number is still its own.
            let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
            let _ = pid.map(|pid| kill_process(pid, Signal::TERM));
        }
        let until = Instant::now() + END;
        while Instant::now() < until {
            if matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) {
                return;
            }
            // Polling a child: the standard library has no wait with a limit.
            std::thread::sleep(Duration::from_millis(2));
        }
        // It may have ended between the two calls, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `utime` + `stime`, fields 14 and 15 of proc_pid_stat(5). The name in field 2 may hold anything.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

fn kib(status: &str, field: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix(field)?.trim().strip_suffix("kB")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::{Process, Stop, cpu_ticks, kib};
    use std::process::{Command, Stdio};

    #[test]
    fn processor_time_is_found_behind_any_name() {
        let stat = "42 (a (b) c) S 1 2 3 4 5 6 7 8 9 10 700 30 0 0 20 0 4 0 100";
        assert_eq!(cpu_ticks(stat), Some(730));
        assert_eq!(cpu_ticks("42 (a) S 1"), None);
    }

    #[test]
    fn memory_is_read_from_its_line() {
        let status = "Name:\ta\nVmHWM:\t 99 kB\nVmRSS:\t    1234 kB\n";
        assert_eq!((kib(status, "VmRSS:"), kib(status, "VmHWM:")), (Some(1234), Some(99)));
        assert_eq!(kib("Name:\ta\n", "VmRSS:"), None);
    }

    #[test]
    fn a_process_is_asked_what_it_costs_and_is_gone_when_dropped() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo here; read line"]).stdout(Stdio::piped());
        let mut process = Process::start(&mut command, Stop::Input).unwrap();
        assert_eq!(process.first_line().unwrap(), "here\n");
        assert!(process.resident_bytes().unwrap() > 0.0 && process.most_resident_bytes().unwrap() > 0.0);
        assert!(process.cpu_seconds().unwrap() >= 0.0 && process.scheduled_nanos().unwrap() > 0.0);
        let path = format!("/proc/{}/status", process.child.id());
        drop(process);
        assert!(!std::path::Path::new(&path).exists());
    }

    #[test]
    fn one_that_ends_instead_of_starting_is_told_of() {
        let mut process = Process::start(Command::new("sh").args(["-c", "exit 3"]), Stop::Signal).unwrap();
        let error = process.until("sh", || false).unwrap_err().to_string();
        assert!(error.contains("sh failed to start") && error.contains('3'), "{error}");
    }
}
