//! `squall-bench`: what Squall costs and how exact it is, beside direct loopback and other proxies in the same run.
//!
//! ```text
//! arguments → Lab (contestants, scale) → measure/* in turn, A B A B → Figures → report (table, JSON)
//! ```
//! The agent runs in a process of its own: this same executable, started with `serve-agent` (`contestant`). So the
//! figures need no other binary, and the agent's processor time and memory are its own.
//!
//! Invariant: every figure that was promised is there and finite, or the run fails; nothing runs without a bound.

mod agent_mode;
mod api;
mod contestant;
mod encrypted;
mod error;
mod figures;
mod framing;
mod lab;
mod machine;
mod measure;
mod pairs;
mod peers;
mod pinned;
mod process;
mod report;
mod runner;
mod scale;
mod shop;
mod stamped;
mod stats;
mod transfer;

use clap::{Parser, Subcommand};
use error::BenchError;
use figures::Figures;
use lab::Lab;
use machine::Machine;
use measure::Measurement;
use scale::Scale;
use std::{io::Write, path::PathBuf, process::ExitCode, time::Instant};

// The allocator of `squall-agent`, for the agent in our child process is to be the same one.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures Squall's agent beside direct loopback, HAProxy and nginx (where they are installed), and prints one table.
#[derive(Debug, Parser)]
#[command(name = "squall-bench", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    mode: Option<Mode>,
    /// Tiny sizes: shows that everything works, not how fast it is
    #[arg(long, global = true)]
    quick: bool,
    /// Take this measurement only; repeatable
    #[arg(long, value_name = "NAME", value_parser = clap::builder::PossibleValuesParser::new(measure::NAMES))]
    only: Vec<String>,
    /// Let contestants take turns so often, in place of 5 times
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: Option<u16>,
    /// Hold so many connections at once, or as many as the limit of open files allows, in place of 50,000
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    connections: Option<u32>,
    /// An earlier build of this program, whose agent takes turns with ours: says whether a change was worth it
    #[arg(long, value_name = "PATH")]
    earlier: Option<PathBuf>,
    /// A program with Toxiproxy's API, to be measured beside ours
    #[arg(long, value_name = "PATH")]
    toxiproxy: Option<PathBuf>,
    /// Where all figures go as JSON
    #[arg(long, value_name = "FILE", default_value = "target/bench.json")]
    json: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Mode {
    /// Be the agent that is measured, until standard input ends
    #[command(hide = true)]
    ServeAgent {
        /// Proxies to begin with
        #[arg(long, default_value_t = 0)]
        proxies: usize,
        /// Milliseconds before a deadline from which on it is polled busily
        #[arg(long, default_value_t = 0)]
        busy_poll: u64,
    },
    /// HTTP requests a second by our framing and by hyper, in memory, on one thread
    Framing,
    /// How quickly squall starts, aborts and is healed after its death, and its load generator beside wrk and oha
    Runner(runner::Choice),
    /// Be the server that freezes once, until standard input ends
    #[command(hide = true)]
    ServeFreezing {
        /// Milliseconds that each answer takes
        #[arg(long, default_value_t = 0)]
        delay: u64,
        /// Milliseconds from the first request until it freezes
        #[arg(long)]
        freeze_at: u64,
        /// Milliseconds for which it does
        #[arg(long)]
        freeze_for: u64,
    },
    /// What the shop's patterns gain and cost, beside what their sources claim
    Shop(shop::ShopArgs),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    machine::raise_file_limit();
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        tell("a TLS provider is installed already");
    }
    let outcome = match &cli.mode {
        Some(Mode::ServeAgent { proxies, busy_poll }) => {
            agent_mode::serve(*proxies, std::time::Duration::from_millis(*busy_poll))
        }
        Some(Mode::Framing) => framing::run(cli.quick),
        Some(Mode::Runner(choice)) => runner::run(choice, cli.quick),
        Some(Mode::ServeFreezing { delay, freeze_at, freeze_for }) => {
            let [delay, freeze_at, freeze_for] =
                [*delay, *freeze_at, *freeze_for].map(std::time::Duration::from_millis);
            runner::serve(delay, freeze_at, freeze_for)
        }
        Some(Mode::Shop(args)) => shop::run(args, cli.quick),
        None => bench(&cli),
    };
    let Err(failure) = outcome else { return ExitCode::SUCCESS };
    // Nobody may be reading any more; the exit code says it as well.
    let _ = writeln!(std::io::stderr(), "squall-bench: {failure}");
    ExitCode::FAILURE
}

fn bench(cli: &Cli) -> Result<(), BenchError> {
    let machine = Machine::look()?;
    tell(&format!("{machine}"));
    let mut scale = if cli.quick { Scale::quick() } else { Scale::full() };
    scale.rounds = cli.rounds.map_or(scale.rounds, usize::from);
    scale.crowd = cli.connections.map_or(scale.crowd, |wanted| wanted as usize);
    let mut lab = Lab::open(scale, cli.earlier.as_deref(), cli.toxiproxy.as_deref())?;
    lab.left_out.extend(scale::shortfall(lab.scale.crowd));
    lab.left_out.iter().for_each(|who| tell(&format!("left out: {who}")));
    let mut figures = Figures::default();
    let start = Instant::now();
    let wanted = |one: &&Measurement| cli.only.is_empty() || cli.only.iter().any(|name| name == one.name);
    for Measurement { name, run } in measure::ALL.iter().filter(wanted) {
        tell(&format!("{:>6.1} s  {name}", start.elapsed().as_secs_f64()));
        run(&lab, &mut figures)?;
    }
    tell(&format!("{:>6.1} s  done", start.elapsed().as_secs_f64()));
    figures.check()?;
    let report = report::Report::new(machine, cli.quick, lab.contestant_names(), lab.left_out, figures);
    report.write_json(&cli.json)?;
    let _ = writeln!(std::io::stdout(), "{}", report.table());
    tell(&format!("all rounds are in {}", cli.json.display()));
    Ok(())
}

/// Progress goes to standard error, so that the table can be redirected.
fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
