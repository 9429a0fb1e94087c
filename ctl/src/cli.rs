//! The command line as types: what can be typed, and what each word means.

mod by_hand;
mod explore;
mod load;
mod remember;

pub use by_hand::{AgentChoice, Agents, AgentsCommand, FaultCommand, Halt, Heal, ProxyCommand, TlsChoice};
pub use explore::{Compare, Limit, Man, Matrix};
pub use load::{Init, Load};
pub use remember::{History, HistoryCommand, Prune, TelemetryChoice};

use clap::{Args, Parser, Subcommand, ValueEnum};
use squall_engine::{environment::ShopDatabase, journal::JournalPlace};
use std::path::PathBuf;

/// Runs chaos experiments and says honestly whether the system held.
#[derive(Debug, Parser)]
#[command(name = "squall", version, max_term_width = 100, after_help = EXIT_CODES)]
pub struct Cli {
    /// What every command understands.
    #[command(flatten)]
    pub common: Common,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "Exit codes of `run` and `gate`, a promise to scripts:
  0 held   1 deviated   4 not steady   5 aborted   6 not recovered   7 error   8 not healed   9 inconclusive
  2 wrong usage   3 invalid file   10 refused (lease, limit, blast radius, window)   129/130/143 stopped by SIGHUP/SIGINT/SIGTERM";

/// What every command understands.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// Print results for people or for programs.
    #[arg(long, global = true, value_enum, default_value_t = Format::Text)]
    pub output: Format,
    /// When to use colour; `NO_COLOR` is respected.
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto)]
    pub color: Color,
    /// Say more on stderr; twice for everything.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// For whom results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// When colour is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Every command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run experiments; the exit code is the verdict
    Run(Run),
    /// Run experiments for CI: all of them, one line each, the worst exit code
    Gate(Gate),
    /// Every proxy against a set of faults, or experiments without each pattern of the shop: a table of what holds
    Matrix(Matrix),
    /// Find the largest value of a variable at which the hypothesis still holds
    Limit(Limit),
    /// Do everything but the injection, and show what would be touched, when and for how long
    Plan(Plan),
    /// Check files and report every mistake
    Validate(Validate),
    /// Print the JSON Schema of the experiment language, for editors
    Schema,
    /// List the kinds of fault, or explain one
    Faults {
        /// The kind to explain
        kind: Option<String>,
        /// The agents that are asked which of them they can set; nobody is asked when none is named.
        #[command(flatten)]
        agent: AgentChoice,
    },
    /// Show the agents of an environment, their proxies and faults; or follow what happens on them
    Agents(Agents),
    /// List, make, change and remove proxies
    #[command(subcommand)]
    Proxy(ProxyCommand),
    /// List, set, change and remove faults by hand, always under a lease
    #[command(subcommand)]
    Fault(FaultCommand),
    /// Take faults away: all on an agent, or one
    Heal(Heal),
    /// The big red switch: heal agents, and make them refuse new faults until that is lifted
    Halt(Halt),
    /// List the runs in the journal, or remove old ones
    History(History),
    /// Show one run of the journal
    Show(Show),
    /// Two runs of the journal over each other: what changed, and whether it is more than noise
    Compare(Compare),
    /// Render a run of the journal again
    Report(Report),
    /// Look at an agent and a service, measure a baseline, and write a first experiment
    Init(Init),
    /// The load generator alone; with --find-limit the rate at which a service breaks
    Load(Load),
    /// Start the sandbox (an agent, the shop, its dependencies) and leave it running
    Sandbox(Sandbox),
    /// After a crash: heal what dead runs may have left, and close them
    Recover(Recover),
    /// Print a manual page, or write all of them into a directory
    Man(Man),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Where the journal is.
#[derive(Debug, Clone, Args)]
pub struct JournalChoice {
    /// The journal: an SQLite file, made when it is not there, or postgres://USER@HOST/DATABASE
    #[arg(
        long,
        env = "SQUALL_JOURNAL",
        hide_env_values = true,
        value_name = "FILE|URL",
        default_value = "squall-runs/journal.db"
    )]
    pub journal: JournalPlace,
}

/// Where an experiment runs, and with which variables.
#[derive(Debug, Clone, Args)]
pub struct EnvironmentChoice {
    /// The environment: a name (environments/NAME.yaml beside the file or here) or a path; the sandbox when absent
    #[arg(long, env = "SQUALL_ENV")]
    pub env: Option<String>,
    /// Set a variable of the experiment
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = assignment)]
    pub set: Vec<(String, String)>,
    /// In the sandbox: take a resilience pattern away from the shop, to see what it is good for
    #[arg(long, value_name = "PATTERN", value_delimiter = ',', conflicts_with = "env")]
    pub without: Vec<String>,
}

/// Where experiments run, and what is written down of them.
#[derive(Debug, Clone, Args)]
pub struct RunChoice {
    /// Where it runs.
    #[command(flatten)]
    pub environment: EnvironmentChoice,
    /// Where it is written down.
    #[command(flatten)]
    pub journal: JournalChoice,
    /// The directory for reports
    #[arg(long, value_name = "DIR", default_value = "squall-runs")]
    pub report: PathBuf,
    /// Seed for the choices of the traffic and among agents; made up, and reported, when absent
    #[arg(long)]
    pub seed: Option<u64>,
    /// Who hears of it.
    #[command(flatten)]
    pub telemetry: TelemetryChoice,
    /// Do not ask: neither before an environment other than the sandbox is touched, nor at a `pause`, which takes its
    /// default
    #[arg(long)]
    pub yes: bool,
    /// When a screen is drawn while it runs, with keys to abort, pause and note; else a line is printed for each event
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = crate::live::When::Auto)]
    pub live: crate::live::When,
}

/// `squall run`
#[derive(Debug, Args)]
pub struct Run {
    /// Experiment files, run one after the other
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// Where and how.
    #[command(flatten)]
    pub choice: RunChoice,
}

/// `squall gate`
#[derive(Debug, Args)]
#[command(after_help = GATE_WEIGHT)]
pub struct Gate {
    /// Experiment files, run one after the other, whatever becomes of the others
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// Where and how.
    #[command(flatten)]
    pub choice: RunChoice,
    /// Write JUnit XML here: a test case a file
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Append a summary in Markdown here, as $GITHUB_STEP_SUMMARY expects
    #[arg(long, value_name = "FILE")]
    pub summary: Option<PathBuf>,
    /// Write everything but the samples here, as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write the page of the gate here, which leads to the report of each run; gate.html among the reports when absent
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Mark the lines of the files that are at fault, in the words of this CI system
    #[arg(long, value_enum, value_name = "SYSTEM")]
    pub annotations: Option<Annotations>,
    /// Fail as well when a time or a share of success got worse by more than the margin, although it held
    #[arg(long, value_enum, value_name = "RUN")]
    pub against: Option<Against>,
    /// How much worse it may be, in percent of what it was
    #[arg(long, requires = "against", default_value = "20%", value_parser = margin)]
    pub margin: f64,
}

/// What a run is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Against {
    /// The last run of the same experiment in the same environment that held, in the same journal.
    LastHeld,
}

/// CI systems that can mark lines of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Annotations {
    /// Workflow commands of GitHub Actions.
    Github,
}

const GATE_WEIGHT: &str = "The exit code is the heaviest of all files, in this order:
  8 not healed   7 error   130/143/129 stopped   2 wrong usage   3 invalid file   10 refused
  5 aborted   4 not steady   1 deviated   6 not recovered   9 inconclusive   0 held";

/// `squall plan`
#[derive(Debug, Args)]
pub struct Plan {
    /// The experiment file
    pub file: PathBuf,
    /// Where it would run.
    #[command(flatten)]
    pub environment: EnvironmentChoice,
    /// Seed for the choice of agents, as `run` takes it; made up, and shown, when absent
    #[arg(long)]
    pub seed: Option<u64>,
}

/// `squall validate`
#[derive(Debug, Args)]
pub struct Validate {
    /// Experiment files
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// Where they would run.
    #[command(flatten)]
    pub environment: EnvironmentChoice,
}

/// `squall show`
#[derive(Debug, Args)]
pub struct Show {
    /// The run: its id, a beginning of it, or `last`
    #[arg(default_value = "last")]
    pub run: String,
    /// Which journal.
    #[command(flatten)]
    pub journal: JournalChoice,
}

/// `squall report`
#[derive(Debug, Args)]
pub struct Report {
    /// The run: its id, a beginning of it, or `last`
    #[arg(default_value = "last")]
    pub run: String,
    /// In which form
    #[arg(long, value_enum, default_value_t = ReportFormat::Html)]
    pub format: ReportFormat,
    /// Where to; stdout when it is `-`
    #[arg(long, short = 'o', value_name = "FILE", default_value = "-")]
    pub to: PathBuf,
    /// Which journal.
    #[command(flatten)]
    pub journal: JournalChoice,
}

/// The forms of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// One self-contained file.
    Html,
    /// Everything, samples included.
    Json,
    /// A summary for people, as in CI.
    Md,
    /// JUnit XML with one test case.
    Junit,
}

/// `squall sandbox`
#[derive(Debug, Args)]
pub struct Sandbox {
    /// Take a resilience pattern away from the shop
    #[arg(long, value_name = "PATTERN", value_delimiter = ',')]
    pub without: Vec<String>,
    /// Give the shop a PostgreSQL server of its own, behind the agent's proxy `database`; the same as --database postgres
    #[arg(long, conflicts_with = "database")]
    pub postgres: bool,
    /// The shop's database: `sqlite`, `postgres`, or the address of a PostgreSQL server, behind the proxy `database`
    #[arg(long, value_name = "DATABASE", env = "SQUALL_SANDBOX_DATABASE", hide_env_values = true)]
    pub database: Option<ShopDatabase>,
    /// Write an environment file for `--env` here; removed when the sandbox ends
    #[arg(long, value_name = "FILE")]
    pub write_env: Option<PathBuf>,
}

/// `squall recover`
#[derive(Debug, Args)]
pub struct Recover {
    /// Which journal.
    #[command(flatten)]
    pub journal: JournalChoice,
    /// The directory for reports, beside which entries wait for a journal that was away
    #[arg(long, value_name = "DIR", default_value = "squall-runs")]
    pub report: PathBuf,
    /// Tokens and certificates for agents that want them, from this environment
    #[arg(long, env = "SQUALL_ENV")]
    pub env: Option<String>,
}

/// A share of 1, written in percent.
fn margin(text: &str) -> Result<f64, String> {
    let percent = text.trim().trim_end_matches('%').trim_end().parse::<f64>().ok();
    let percent = percent.filter(|percent| percent.is_finite() && *percent >= 0.0);
    percent.map(|percent| percent / 100.0).ok_or_else(|| format!("`{text}` is no margin: write one such as 20%"))
}

fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(format!("`{text}` is not NAME=VALUE, such as delay=1s")),
    }
}
