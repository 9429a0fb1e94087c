//! The figures of the runner: how quickly `squall` starts, aborts and is healed after its death, and how true the load
//! generator is, beside Python's tools, wrk and oha.
//!
//! ```text
//! squall-bench runner ─▶ startup ─▶ abort (50 agents) ─▶ killed ─▶ load (nginx, and a server that freezes) ─▶ table, JSON
//! ```
//! Stands by itself beside `measure/*`, which compares ways through proxies. Agents and the freezing server are this
//! executable in processes of their own. Invariant: whoever is not here is named; a promise is judged, not assumed.

mod abort;
mod killed;
mod load;
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
    path::{Path, PathBuf},
    process::{Command, Stdio},
};
use table::Table;

/// What can be said of the run.
#[derive(Debug, clap::Args)]
pub(crate) struct Choice {
    /// How often each program is started, and how many runs are aborted: 200 and 100, or these
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(3..=1000))]
    repeat: Option<u16>,
    /// oha, where it is not in the PATH (`cargo install oha`)
    #[arg(long, value_name = "PATH")]
    oha: Option<PathBuf>,
    /// Chaos Toolkit's `chaos`; installed from PyPI into a directory that goes again where this is not said
    #[arg(long, value_name = "PATH")]
    chaos: Option<PathBuf>,
    /// Where the figures go as JSON
    #[arg(long, value_name = "FILE", default_value = "target/bench-runner.json")]
    to: PathBuf,
}

/// Sizes of a run.
pub(crate) struct Sizes {
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
    /// How often each load is driven.
    rounds: usize,
}

/// Measures everything and prints it as Markdown.
pub(crate) fn run(choice: &Choice, quick: bool) -> Result<(), BenchError> {
    let machine = Machine::look()?;
    tell(&format!("{machine}"));
    let repeat = choice.repeat.map(usize::from);
    let sizes = if quick {
        Sizes { starts: repeat.unwrap_or(5), aborts: repeat.unwrap_or(3), agents: 50, kills: 1, seconds: 3, rounds: 1 }
    } else {
        Sizes {
            starts: repeat.unwrap_or(200),
            aborts: repeat.unwrap_or(100),
            agents: 50,
            kills: 5,
            seconds: 10,
            rounds: 3,
        }
    };
    let squall = built("squall")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().tried("start the runtime")?;
    let mut table = Table::new(machine, quick);
    tell("how quickly programs start");
    startup::measure(&squall, choice.chaos.as_deref(), &sizes, &mut table)?;
    tell("from the breaching sample to the last agent's confirmation");
    abort::measure(&runtime, &sizes, &mut table)?;
    tell("healing after kill -9");
    killed::measure(&runtime, &squall, &sizes, &mut table)?;
    tell("load generators");
    load::measure(&runtime, choice.oha.clone().or_else(|| peers::find("oha")).as_deref(), &sizes, &mut table)?;
    table.write_json(&choice.to)?;
    let _ = writeln!(std::io::stdout(), "{}", table.markdown());
    tell(&format!("all values are in {}", choice.to.display()));
    Ok(())
}

/// Progress goes to standard error, so that the table can be redirected.
fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// The program of this workspace with this name, built now and as we are: beside us.
fn built(name: &str) -> Result<PathBuf, BenchError> {
    let us = std::env::current_exe().tried("find our own executable")?;
    let directory = us.parent().unwrap_or(Path::new("."));
    let profile = match directory.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(profile) => profile,
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--profile", profile, "-p", name]).stdin(Stdio::null());
    let status = command.status().tried(&format!("build {name}"))?;
    let program = directory.join(name);
    if !status.success() || !program.is_file() {
        return Err(BenchError::Missing(format!("{name}: cargo build --profile {profile} -p {name}")));
    }
    Ok(program)
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
