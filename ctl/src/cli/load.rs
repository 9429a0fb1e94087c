//! `squall load` and `squall init`: what is typed to send a load alone, and to get a first experiment.

use super::EnvironmentChoice;
use clap::Args;
use squall_engine::document::RequestRate;
use squall_wire::Span;
use std::path::PathBuf;

/// `squall load`
#[derive(Debug, Args)]
#[command(after_help = LOAD_CODES)]
pub struct Load {
    /// An experiment whose `traffic` is sent; nothing else of it is done
    #[arg(required_unless_present = "url", conflicts_with = "url")]
    pub file: Option<PathBuf>,
    /// Send GET requests here instead; repeated, each in turn by chance. `{{ random(1, 500) }}` and its like as in a file
    #[arg(long, value_name = "URL")]
    pub url: Vec<String>,
    /// The method for --url
    #[arg(long, default_value = "get", value_parser = ["get", "post", "put", "patch", "delete", "head"], requires = "url")]
    pub method: String,
    /// A header for --url, 'Name: value'; repeated
    #[arg(long, value_name = "HEADER", requires = "url")]
    pub header: Vec<String>,
    /// A body for --url
    #[arg(long, value_name = "TEXT", requires = "url")]
    pub body: Option<String>,
    /// The status that counts as success, for --url; below 400 when absent
    #[arg(long, value_name = "STATUS", requires = "url")]
    pub expect: Option<u16>,
    /// Requests a second: the file's when absent, 50/s for --url. With --find-limit the first rate that is tried
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub rate: Option<f64>,
    /// How long; with --find-limit how long at each rate
    #[arg(long = "for", value_name = "TIME")]
    pub lasting: Option<Span>,
    /// Connections at most: the file's when absent, 64 for --url
    #[arg(long, value_name = "N")]
    pub clients: Option<u64>,
    /// A request that takes longer has failed: the file's when absent, 5s for --url
    #[arg(long, value_name = "TIME")]
    pub timeout: Option<Span>,
    /// Raise the rate until errors or p99 break: doubled until something breaks, then halved
    #[arg(long)]
    pub find_limit: bool,
    /// Failed requests at most; 1% with --find-limit
    #[arg(long, value_name = "SHARE", value_parser = super::margin)]
    pub max_errors: Option<f64>,
    /// 99 in 100 requests may take so long at most; 500ms with --find-limit
    #[arg(long, value_name = "TIME")]
    pub p99: Option<Span>,
    /// Never more than this rate
    #[arg(long, value_name = "RATE", default_value = "10000/s", value_parser = rate)]
    pub max_rate: f64,
    /// With --find-limit: exact enough when the rate that breaks is at most so much above the one that holds
    #[arg(long, value_name = "SHARE", default_value = "5%", value_parser = super::margin)]
    pub precision: f64,
    /// Seed for the choices of the load; made up when absent
    #[arg(long)]
    pub seed: Option<u64>,
    /// Write the result as JSON here
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Where the file's load goes.
    #[command(flatten)]
    pub environment: EnvironmentChoice,
}

const LOAD_CODES: &str = "Exit codes:
  0 sent; within --max-errors and --p99 where they are given; with --find-limit: a rate holds
  1 over --max-errors or --p99; with --find-limit: no rate holds   9 squall itself could not keep the schedule
  2 wrong usage   3 invalid file   7 error   129/130/143 stopped";

/// `squall init`
#[derive(Debug, Args)]
pub struct Init {
    /// The service's address; the built-in sandbox and its shop when absent
    #[arg(long, value_name = "URL", requires = "agent")]
    pub service: Option<String>,
    /// The agent in front of what the service depends on
    #[arg(long, value_name = "URL", requires = "service")]
    pub agent: Option<String>,
    /// A path of the service that customers ask for; repeated. The service's own address when absent
    #[arg(long, value_name = "PATH")]
    pub get: Vec<String>,
    /// Where the service's metrics are; /metrics is tried when absent
    #[arg(long, value_name = "PATH")]
    pub metrics: Option<String>,
    /// Where its health is; /health/ready, /healthz, /ready and their like are tried when absent
    #[arg(long, value_name = "PATH")]
    pub health: Option<String>,
    /// Requests a second while the baseline is measured, and in the experiment
    #[arg(long, value_name = "RATE", default_value = "20/s", value_parser = rate)]
    pub rate: f64,
    /// How long the baseline is measured
    #[arg(long = "for", value_name = "TIME", default_value = "10s")]
    pub lasting: Span,
    /// The experiment's name
    #[arg(long, default_value = "first")]
    pub name: String,
    /// Where to write; NAME.yaml when absent. An environment goes to environments/NAME.yaml beside it
    #[arg(long, short = 'o', value_name = "FILE")]
    pub to: Option<PathBuf>,
    /// Overwrite what is there
    #[arg(long)]
    pub force: bool,
}

/// Requests a second: `200/s` or `200`.
fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse::<RequestRate>().map(RequestRate::per_second).or_else(|_| text.trim().parse::<f64>());
    let rate = rate.ok().filter(|rate| *rate > 0.0 && *rate <= 100_000.0);
    rate.ok_or_else(|| format!("`{text}` is no rate: write one such as 200/s, above 0/s and at most 100000/s"))
}
