//! The figures of the runner: how quickly `squall` starts, aborts and is healed after its death, and how true the load
//! generator is, beside Python's tools, wrk and oha.
//!
//! ```text
//! squall-bench runner ─▶ startup ─▶ abort (50 agents) ─▶ killed ─▶ load (nginx, and a server that freezes) ─▶ table, JSON
//! ```
//! Stands by itself beside `measure/*`, which compares ways through proxies. Agents and the freezing server are this
//! executable in processes of their own. Invariant: whoever is not here is named; a promise is judged, not assumed; nothing runs
//! longer than its part of the quarter of an hour that all may take, and what was cut short shows how many values it has.

mod abort;
mod build;
mod killed;
mod load;
mod most;
mod peer;
mod server;
mod startup;
mod table;

pub(crate) use server::serve;
pub(crate) use table::Row;

use crate::{
    error::{BenchError, Tried},
    machine::Machine,
    peers,
};
use std::{
    io::Write as _,
    path::PathBuf,
    process::{Command, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};
use table::Table;

/// What can be said of the run.
#[derive(Debug, clap::Args)]
pub(crate) struct Choice {
    /// How often each program is started, and how many runs are aborted: 100, or these
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(3..=1000))]
    repeat: Option<u16>,
    /// The `squall` to measure, as it is; the one beside this program, built anew if it is old, when absent
    #[arg(long, value_name = "PATH")]
    squall: Option<PathBuf>,
    /// oha, where it is not in the PATH (`cargo install oha`)
    #[arg(long, value_name = "PATH")]
    oha: Option<PathBuf>,
    /// Chaos Toolkit's `chaos`; installed from PyPI into a directory that goes again where this is not said
    #[arg(long, value_name = "PATH")]
    chaos: Option<PathBuf>,
    /// Where the figures go as JSON
    #[arg(long, value_name = "FILE", default_value = "target/bench-runner.json")]
    to: PathBuf,
    /// Write the figures as a document, as docs/runner-figures.md is
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
}

/// Sizes of a run.
pub(crate) struct Sizes {
    /// Whether it only shows that everything works.
    quick: bool,
    /// Starts of each program.
    starts: usize,
    /// Runs that are aborted.
    aborts: usize,
    /// Agents that each of them heals.
    agents: usize,
    /// Runs whose squall is killed.
    kills: usize,
    /// How long a load lasts, in seconds.
    seconds: u32,
    /// How long each rate lasts of those by which the most is found.
    level: Duration,
    /// The highest rate that is tried.
    most: f64,
    /// How often each load is driven.
    rounds: usize,
}

impl Sizes {
    fn new(quick: bool, repeat: Option<usize>) -> Self {
        if quick {
            let (starts, aborts) = (repeat.unwrap_or(3), repeat.unwrap_or(3));
            let level = Duration::from_millis(500);
            return Self { quick, starts, aborts, agents: 50, kills: 1, seconds: 3, level, most: 2_000.0, rounds: 1 };
        }
        let (starts, aborts) = (repeat.unwrap_or(100), repeat.unwrap_or(100));
        let level = Duration::from_secs(2);
        Self { quick, starts, aborts, agents: 50, kills: 5, seconds: 10, level, most: 100_000.0, rounds: 3 }
    }
}

/// A time that is not exceeded: whoever repeats something asks before each time, and does with what there is by then.
pub(crate) struct Budget {
    what: &'static str,
    until: Instant,
}

impl Budget {
    fn new(what: &'static str, time: Duration) -> Self {
        tell(what);
        Self { what, until: Instant::now() + time }
    }

    /// Whether there is time for another one after `done` of `all`; tells of every tenth part.
    pub(crate) fn goes_on(&self, done: usize, all: usize) -> bool {
        let is_left = Instant::now() < self.until;
        if done > 0 && is_left && done.is_multiple_of(all.div_ceil(10)) {
            tell(&format!("  {done} of {all}"));
        }
        if !is_left {
            tell(&format!("  {}: the time for it is up after {done} of {all}", self.what));
        }
        is_left
    }
}

/// Measures everything and prints it as Markdown.
pub(crate) fn run(choice: &Choice, quick: bool) -> Result<(), BenchError> {
    let machine = Machine::look()?;
    tell(&format!("{machine}"));
    let sizes = Sizes::new(quick, choice.repeat.map(usize::from));
    let squall = build::squall(choice.squall.as_deref())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().tried("start the runtime")?;
    let mut table = Table::new(machine, quick);
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    let budget = Budget::new("how quickly programs start", minutes(3));
    startup::measure(&squall, choice.chaos.as_deref(), &sizes, &budget, &mut table)?;
    let budget = Budget::new("from the breaching sample to the last agent's confirmation", minutes(5));
    abort::measure(&runtime, &sizes, &budget, &mut table)?;
    let budget = Budget::new("healing after kill -9", minutes(1));
    killed::measure(&runtime, &squall, &sizes, &budget, &mut table)?;
    let oha = choice.oha.clone().or_else(|| peers::find("oha"));
    let budget = Budget::new("load generators", minutes(5));
    load::measure(&runtime, oha.as_deref(), &sizes, &budget, &mut table)?;
    table.write_json(&choice.to)?;
    if let Some(file) = &choice.markdown {
        table::write(file, &table.document())?;
    }
    let _ = writeln!(std::io::stdout(), "{}", table.markdown());
    tell(&format!("all values are in {}", choice.to.display()));
    Ok(())
}

/// Progress goes to standard error, so that the table can be redirected, with the time since the first line.
fn tell(line: &str) {
    static BEGAN: OnceLock<Instant> = OnceLock::new();
    let at = BEGAN.get_or_init(Instant::now).elapsed().as_secs_f64();
    let _ = writeln!(std::io::stderr(), "{at:>6.1} s  {line}");
}

/// An agent of ours in a process of its own, with one proxy.
fn agent() -> Result<(crate::process::Process, std::net::SocketAddr), BenchError> {
    let us = std::env::current_exe().tried("find our own executable")?;
    let mut command = Command::new(us);
    command.args(["serve-agent", "--proxies", "1"]).stdout(Stdio::piped());
    let mut process = crate::process::Process::start(&mut command, crate::process::Stop::Input)?;
    let line = process.first_line()?;
    let address = line.trim().parse().map_err(|_| BenchError::Agent { what: "say where it is".into(), why: line })?;
    Ok((process, address))
}
