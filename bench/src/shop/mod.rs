//! Figures of the shop, beside what the sources of its patterns claim: `squall-bench shop`.
//!
//! ```text
//! Site (dependencies, databases) ─▶ measurements in turn, each shop as its patterns say ─▶ table, JSON, Markdown
//! ```
//! Shop, dependencies and customers are in this process, so they share its processors: absolute figures are low, and
//! what is compared is one against another in the same run. Stands by itself beside `measure/*`, which is about the agent.
//!
//! Invariant: every claim has its figure, or the run fails; nothing is left out because it came out badly.

mod customers;
mod measure;
mod outcome;
mod postgres;
mod site;

use crate::{
    error::{BenchError, Tried},
    machine::Machine,
};
use clap::Args;
use site::Site;
use std::{
    io::Write,
    path::{Path, PathBuf},
};

/// How large the measurements are.
#[derive(Debug, Clone, Copy)]
struct Scale {
    rounds: usize,
    seconds: f64,
    orders: usize,
}

/// The words of `squall-bench shop`.
#[derive(Debug, Args)]
pub(crate) struct ShopArgs {
    /// Where every round goes as JSON
    #[arg(long, value_name = "FILE", default_value = "target/shop-bench.json")]
    json: PathBuf,
    /// Write the figures as a document, as docs/shop-figures.md is
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
}

/// Takes all figures and prints them.
pub(crate) fn run(args: &ShopArgs, quick: bool) -> Result<(), BenchError> {
    let machine = Machine::look()?;
    let scale = if quick {
        Scale { rounds: 1, seconds: 0.3, orders: 60 }
    } else {
        Scale { rounds: 5, seconds: 3.0, orders: 500 }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().tried("start the runtime")?;
    let outcomes = runtime.block_on(async {
        let site = Site::open()?;
        measure::all(&site, scale).await
    })?;
    outcomes.check()?;
    write(&args.json, &format!("{:#}\n", outcomes.json(&machine, quick)))?;
    if let Some(file) = &args.markdown {
        write(file, &outcomes.document(&machine, quick))?;
    }
    // Nobody may be reading.
    let _ = writeln!(std::io::stdout(), "{}", outcomes.table());
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<(), BenchError> {
    let tried = format!("write the figures to {}", path.display());
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        std::fs::create_dir_all(directory).tried(&tried)?;
    }
    std::fs::write(path, text).tried(&tried)
}
