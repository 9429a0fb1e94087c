//! `squall`: runs chaos experiments and says honestly whether the system held.

#![allow(unreachable_pub, reason = "a binary exports nothing; `pub` marks what its modules share")]

mod ask;
mod cli;
mod commands;
mod connect;
mod exit;
mod live;
mod output;
mod results;
mod sandbox;
mod signals;
mod telling;
mod trial;
mod tries;

use clap::Parser;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    output::init(&cli.common);
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        tracing::debug!("a TLS provider is installed already");
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            return exit::report(&exit::Failure::failed(format!("failed to start the runtime: {error}")), &cli.common);
        }
    };
    let outcome = runtime.block_on(commands::carry_out(&cli));
    // Whatever still blocks a thread (a name look-up, say) must not hold up the exit.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    match outcome {
        Ok(code) => code.into(),
        Err(failure) => exit::report(&failure, &cli.common),
    }
}
