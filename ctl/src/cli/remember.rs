//! What can be typed of what is kept and told of runs: the history, what is forgotten of it, and who else hears of a run.

use super::JournalChoice;
use clap::{Args, Subcommand};
use std::time::Duration;

/// `squall history`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct History {
    /// How many, newest first
    #[arg(long, short = 'n', default_value_t = 20)]
    pub limit: u32,
    /// Only of this experiment
    #[arg(long)]
    pub experiment: Option<String>,
    /// Which journal.
    #[command(flatten)]
    pub journal: JournalChoice,
    /// What else.
    #[command(subcommand)]
    pub command: Option<HistoryCommand>,
}

/// `squall history …`
#[derive(Debug, Subcommand)]
pub enum HistoryCommand {
    /// Remove old runs, and give the space back
    Prune(Prune),
}

/// `squall history prune`
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("rule").required(true).multiple(true))]
pub struct Prune {
    /// Keep the newest so many, of each experiment in each environment
    #[arg(long, value_name = "N", group = "rule")]
    pub keep: Option<u32>,
    /// Remove only what is older, such as 90d, 12w or 36h
    #[arg(long, value_name = "AGE", group = "rule", value_parser = age)]
    pub older_than: Option<Duration>,
    /// Only of this experiment
    #[arg(long)]
    pub experiment: Option<String>,
    /// Also dead runs without an end, and the last run of an experiment that held
    #[arg(long)]
    pub all: bool,
    /// Say what would be removed, and remove nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Which journal.
    #[command(flatten)]
    pub journal: JournalChoice,
}

/// Who hears of a run when it is over.
#[derive(Debug, Clone, Args)]
pub struct TelemetryChoice {
    /// Send each run as a trace and metrics to this OpenTelemetry collector (OTLP over HTTP)
    #[arg(long, value_name = "URL", env = "OTEL_EXPORTER_OTLP_ENDPOINT", hide_env_values = true)]
    pub otlp: Option<String>,
    /// Annotate this Grafana with each run and its faults; its token is in GRAFANA_TOKEN
    #[arg(long, value_name = "URL")]
    pub grafana: Option<String>,
    /// With --otlp: ask what is under test to trace the requests of the run
    #[arg(long)]
    pub trace_requests: bool,
}

/// A time in days or weeks, or as everywhere.
fn age(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let of_days = |count: &str, days: u64| {
        let count: u64 = count.trim().parse().map_err(|_| format!("`{text}` is not an age: write one such as 90d"))?;
        count.checked_mul(days * 86_400).map(Duration::from_secs).ok_or_else(|| format!("`{text}` is too long"))
    };
    match text.strip_suffix('d').map(|count| (count, 1)).or_else(|| text.strip_suffix('w').map(|count| (count, 7))) {
        Some((count, days)) => of_days(count, days),
        None => text.parse::<squall_wire::Span>().map(|span| span.get()).map_err(|error| error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::age;
    use std::time::Duration;

    #[test]
    fn ages_are_in_days_weeks_or_as_everywhere() {
        assert_eq!(age("90d"), Ok(Duration::from_secs(90 * 86_400)));
        assert_eq!(age("2w"), Ok(Duration::from_secs(14 * 86_400)));
        assert_eq!(age("36h"), Ok(Duration::from_secs(36 * 3600)));
        assert!(age("soon").is_err() && age("-1d").is_err() && age("99999999999999999d").is_err());
    }
}
