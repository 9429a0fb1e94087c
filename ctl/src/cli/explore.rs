//! Commands that ask a question of many runs: matrices, limits, comparisons.

use super::{JournalChoice, RunChoice};
use clap::Args;
use squall_engine::search::scale::Vary;
use squall_wire::Span;
use std::{num::NonZeroUsize, path::PathBuf};

/// `squall matrix`
#[derive(Debug, Args)]
#[command(after_help = MATRIX_CODES)]
pub struct Matrix {
    /// The experiment whose steady state must hold; with --without-each any number of them
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Where and how.
    #[command(flatten)]
    pub choice: RunChoice,
    /// A fault of the set, as in a file: '{latency: {delay: 1s}}' or '{fault: {reset: {}}, percent: 30}'; repeated. A set of
    /// well-chosen ones when absent
    #[arg(long, value_name = "FAULT", conflicts_with = "without_each")]
    pub fault: Vec<String>,
    /// Only these proxies
    #[arg(long, value_name = "PROXY", value_delimiter = ',', conflicts_with = "without_each")]
    pub proxy: Vec<String>,
    /// How long each fault stays
    #[arg(long = "for", value_name = "TIME", default_value = "10s", conflicts_with = "without_each")]
    pub lasting: Span,
    /// In the sandbox: run every file with everything on, and with each pattern of the shop switched off
    #[arg(long)]
    pub without_each: bool,
    /// Only these patterns
    #[arg(long, value_name = "PATTERN", value_delimiter = ',', requires = "without_each")]
    pub pattern: Vec<String>,
    /// Each file only with everything on and without its own patterns: those that its tags name
    #[arg(long, requires = "without_each")]
    pub own: bool,
    /// Sandboxes side by side, elsewhere than in the sandbox one run at a time; more than the machine carries gives runs without a steady state
    #[arg(long, value_name = "N", default_value = "1")]
    pub jobs: NonZeroUsize,
    /// Keep the results here as JSON, and take up from there: what has an answer already is not run again
    #[arg(long, value_name = "FILE", requires = "without_each")]
    pub resume: Option<PathBuf>,
    /// How often a run is tried again whose steady state did not hold before the first fault
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub retries: u32,
    /// Exit with 1 unless every file holds with everything on, and falls without its own pattern
    #[arg(long, requires = "without_each")]
    pub check: bool,
    /// Write the table as Markdown here; where the file has the marks of an earlier table, only what is between them
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
    /// Write the results as JSON here
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write the heat map here; matrix.html in the directory for reports when absent
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

const MATRIX_CODES: &str = "Exit codes: the heaviest of all cells as in `gate`, 0 when all held. With --without-each:
  0 the table is whole (with --check: and every experiment proves its pattern)   1 --check found something
  8 a fault could not be confirmed gone   7 something failed   2 wrong usage   3 invalid file   129/130/143 stopped
  What the single runs came to is in the table then, and without --check no reason to fail.";

/// `squall limit`
#[derive(Debug, Args)]
#[command(after_help = LIMIT_CODES)]
pub struct Limit {
    /// The experiment
    pub file: PathBuf,
    /// The variable of the file, and between which values: delay=50ms..5s, percent=1%..100%, rate=10KB/s..1MB/s
    #[arg(long, value_name = "NAME=LOW..HIGH")]
    pub vary: Vary,
    /// Where and how.
    #[command(flatten)]
    pub choice: RunChoice,
    /// Halvings at most, after both edges
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub steps: usize,
    /// Exact enough when the first value that breaks is at most so much above the last that holds
    #[arg(long, value_name = "SHARE", default_value = "5%", value_parser = super::margin)]
    pub precision: f64,
    /// Values tried at even distances before halving: a fuller curve, and a limit that is not the only one is noticed
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub scan: usize,
    /// Do not try the last value that holds a second time
    #[arg(long)]
    pub no_confirm: bool,
    /// Exit with 1 when it does not hold up to this value
    #[arg(long, value_name = "VALUE")]
    pub at_least: Option<String>,
    /// How often a run is tried again whose steady state did not hold before the first fault
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub retries: u32,
    /// Write the result as JSON here
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write the page with the curve here; limit-NAME-VARIABLE.html in the directory for reports when absent
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

const LIMIT_CODES: &str = "Exit codes:
  0 a limit was found, or the whole range holds   1 none of it holds, or less than --at-least
  4 9 a value gave no steady state, or no conclusion: the search ended there   7 error   8 not healed
  2 wrong usage   3 invalid file   10 refused   129/130/143 stopped";

/// `squall compare`
#[derive(Debug, Args)]
pub struct Compare {
    /// The earlier run: its id, a beginning of it, or `last`
    pub first: String,
    /// The later run
    #[arg(default_value = "last")]
    pub second: String,
    /// Write a page here, with the charts of both runs laid over each other
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Exit with 1 when something is worse by more than noise
    #[arg(long)]
    pub check: bool,
    /// Which journal.
    #[command(flatten)]
    pub journal: JournalChoice,
}

/// `squall man`
#[derive(Debug, Args)]
pub struct Man {
    /// The command: `fault set`; `squall` itself when absent
    pub command: Vec<String>,
    /// Write the pages of all commands into this directory
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    pub directory: Option<PathBuf>,
}
