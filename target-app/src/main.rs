//! `squall-shop`: the shop, one of its dependencies, or the whole, until a signal.
//!
//! Arguments → bind → say what was bound → serve → drain → exit code. `cli.rs` has the words.

mod cli;
mod run;
mod storage_args;

use clap::Parser as _;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    cli.log();
    match run::run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{}", run::with_causes(&error));
            ExitCode::FAILURE
        }
    }
}
