//! What the figures were taken on: processor, cores, kernel, load. And the limit of open files.
//!
//! `report` prints it above the figures, for a figure without its machine says nothing.
//! Invariant: nothing here is guessed; what the machine does not tell is said to be unknown.

use crate::error::{BenchError, Tried};
use rustix::process::{Resource, getrlimit, setrlimit};
use serde::Serialize;
use std::fmt;

/// Where and when.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Machine {
    /// The processor's own name.
    processor: String,
    /// Cores that we may use.
    cores: usize,
    /// Kernel and its release.
    kernel: String,
    /// Runnable tasks over the last minute, before the run: above 0 the machine was shared.
    load_before: f64,
    /// When the run began, RFC 3339.
    at: String,
    /// How we were built.
    build: &'static str,
}

impl Machine {
    /// Asks the machine.
    pub(crate) fn look() -> Result<Self, BenchError> {
        let cpu = std::fs::read_to_string("/proc/cpuinfo").tried("read /proc/cpuinfo")?;
        let load = std::fs::read_to_string("/proc/loadavg").tried("read /proc/loadavg")?;
        let uname = rustix::system::uname();
        Ok(Self {
            processor: model(&cpu).unwrap_or("unknown processor").to_owned(),
            cores: std::thread::available_parallelism().tried("count the cores")?.get(),
            kernel: format!("{} {}", uname.sysname().to_string_lossy(), uname.release().to_string_lossy()),
            load_before: load.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(f64::NAN),
            at: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            build: if cfg!(debug_assertions) { "debug: not for publishing" } else { "optimised" },
        })
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { processor, cores, kernel, load_before, at, build } = self;
        write!(f, "{processor}, {cores} cores, {kernel}, load {load_before} before the run; {at}; build: {build}")
    }
}

fn model(cpuinfo: &str) -> Option<&str> {
    cpuinfo.lines().find_map(|line| Some(line.strip_prefix("model name")?.trim_start().strip_prefix(':')?.trim()))
}

/// Descriptors for 50,000 connections and what is needed besides.
const FILES: u64 = 110_000;

/// As many descriptors as we may have; a machine that refuses leaves us with fewer connections to measure.
pub(crate) fn raise_file_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    let maximum = limit.maximum;
    // Who is privileged may have more than the limit says.
    limit.maximum = maximum.map(|maximum| maximum.max(FILES));
    limit.current = limit.maximum;
    if setrlimit(Resource::Nofile, limit).is_err() {
        (limit.current, limit.maximum) = (maximum, maximum);
        let _ = setrlimit(Resource::Nofile, limit);
    }
}

/// Descriptors that this process, and a child of it, may have.
pub(crate) fn file_limit() -> usize {
    getrlimit(Resource::Nofile).current.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::model;

    #[test]
    fn the_processor_is_named_as_it_names_itself() {
        assert_eq!(model("processor\t: 0\nmodel name\t: Fast One 3000\nmodel name\t: other"), Some("Fast One 3000"));
        assert_eq!(model("Hardware : none"), None);
    }
}
