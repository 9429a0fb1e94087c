//! The soak: an agent under load for a long time, faults coming and going at random from a seed, and a look at what
//! it left behind each minute.
//!
//! ```text
//!  clients (load/*) ──▶ agent ──▶ upstreams        every byte that comes back is compared with what was sent
//!                        ▲
//!  chaos (from a seed) ──┘        sets, changes and removes faults, takes leases, switches, moves and remakes proxies
//!  checkpoint: stop, heal, wait ──▶ no connection, task, descriptor or held byte more than before; memory as it was
//! ```
//!
//! `cargo run --release -p squall-soak -- --for 1h`. The agent is a process of its own: this program once more, as `squall-agent` is
//! but for a count of its heap (`serve`), or the program that `--agent` names. It ends with 1 when anything leaked or went wrong. Invariant: nothing but loopback is used, and the agent is ended whatever happens.

mod agent;
mod chaos;
mod checkpoint;
mod error;
mod faults;
mod ledger;
mod load;
mod report;
mod serve;
mod site;
mod upstreams;

use cap::Cap;
use clap::{Parser, Subcommand};
use error::SoakError;
use mimalloc::MiMalloc;
use squall_wire::{Protocol, Span};
use std::{path::PathBuf, process::ExitCode, time::Duration};

/// The agent's allocator, counted.
#[global_allocator]
static ALLOCATOR: Cap<MiMalloc> = Cap::new(MiMalloc, usize::MAX);

/// An agent under load for a long time, with faults coming and going at random.
#[derive(Debug, Parser)]
#[command(name = "squall-soak", version)]
pub(crate) struct Cli {
    /// How long
    #[arg(long = "for", value_name = "DURATION", default_value = "1h")]
    pub(crate) lasting: Span,
    /// What chance is drawn from; made up, and told, when absent
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Clients at work
    #[arg(long, default_value_t = 48)]
    pub(crate) clients: u32,
    /// Pause of each client between two exchanges, so that the machine is not the bottleneck
    #[arg(long, default_value = "20ms")]
    pub(crate) pause: Span,
    /// Time between two looks at what is left behind
    #[arg(long, default_value = "1m")]
    pub(crate) every: Span,
    /// Protocols of the proxies
    #[arg(long, value_delimiter = ',', default_value = "tcp,http,udp")]
    pub(crate) protocols: Vec<Protocol>,
    /// The agent's program; when absent this one is the agent, too, and counts its heap
    #[arg(long)]
    pub(crate) agent: Option<PathBuf>,
    /// Where the whole result goes
    #[arg(long, default_value = "target/soak.json")]
    pub(crate) json: PathBuf,
    #[command(subcommand)]
    mode: Option<Mode>,
}

/// What else this program is.
#[derive(Debug, Subcommand)]
enum Mode {
    /// Be the agent (the harness starts this)
    #[command(hide = true)]
    ServeAgent {
        #[arg(long)]
        drain: Span,
        #[arg(long)]
        ready_file: PathBuf,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    // Installed once, before any client is made: that it was there already would be a bug of nobody's.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let outcome = match &cli.mode {
        Some(Mode::ServeAgent { drain, ready_file }) => serve::serve(ready_file, drain.get()).map(|()| true),
        None => soak(cli),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            report::tell(&format!("squall-soak: {error}"));
            ExitCode::from(2)
        }
    }
}

fn soak(cli: Cli) -> Result<bool, SoakError> {
    let seed = cli.seed.unwrap_or_else(|| rand::random_range(0..1 << 53));
    let runtime = tokio::runtime::Runtime::new().map_err(|e| SoakError::new("start the runtime", e))?;
    runtime.block_on(async {
        let mut site = site::Site::open(&cli).await?;
        report::tell(&format!("seed {seed}, for {}, {} clients on {} proxies", cli.lasting, cli.clients, site.size()));
        let outcome = checkpoint::run(&cli, seed, &mut site).await?;
        site.close(Duration::from_secs(10)).await?;
        let sound = outcome.is_sound();
        report::write(&cli, seed, &outcome)?;
        Ok(sound)
    })
}
