//! The command line: what `squall-agent` takes, and how it lies over the configuration file.
//!
//! Each option is also a variable, `SQUALL_AGENT_…`. Neighbours: `main` runs what is asked; the library's `config`
//! has the defaults and finds the mistakes. Invariant: the command line wins over the file, and the file over defaults.

use clap::{Args, Parser, Subcommand, ValueEnum};
use squall_agent::config::AgentConfig;
use squall_agent::config_file::{ConfigError, ConfigFile};
use squall_wire::{ProxySpec, Span};
use std::{net::SocketAddr, path::PathBuf};

/// A proxy that injects network faults, driven over REST and safe by itself.
///
/// It stands between clients and their upstreams. Faults are set over its API, each ends by itself, and none
/// survives a restart.
#[derive(Debug, Parser)]
#[command(name = "squall-agent", version, args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) serve: Serve,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Tell every mistake in a configuration file, and exit.
    Check {
        /// The file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Where the API listens; port 0 takes a free one [default: 127.0.0.1:8474]
    #[arg(long, env = "SQUALL_AGENT_LISTEN", value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Allow an address that is not the loopback: whoever reaches it may inject faults
    #[arg(long, env = "SQUALL_AGENT_INSECURE")]
    insecure: bool,
    /// Read this configuration (YAML) first
    #[arg(long, env = "SQUALL_AGENT_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Keep the proxies here over a restart (never faults)
    #[arg(long, env = "SQUALL_AGENT_STATE", value_name = "FILE")]
    state: Option<PathBuf>,
    /// A proxy to start with, such as `payment=127.0.0.1:7001->payment.internal:443`; repeatable
    #[arg(long = "proxy", env = "SQUALL_AGENT_PROXY", value_name = "NAME=LISTEN->UPSTREAM", value_delimiter = ',', value_parser = proxy)]
    proxies: Vec<ProxySpec>,
    /// What the agent calls itself [default: the host's name]
    #[arg(long, env = "SQUALL_AGENT_NAME")]
    name: Option<String>,
    /// A label by which an experiment can choose it; repeatable
    #[arg(long = "label", env = "SQUALL_AGENT_LABEL", value_name = "KEY=VALUE", value_delimiter = ',', value_parser = label)]
    labels: Vec<(String, String)>,
    /// How long open connections may take to finish at shutdown [default: 10s]
    #[arg(long, env = "SQUALL_AGENT_DRAIN", value_name = "TIME")]
    drain: Option<Span>,
    /// The longest that a fault may live [default: 1h]
    #[arg(long, env = "SQUALL_AGENT_MAX_FAULT_DURATION", value_name = "TIME")]
    max_fault_duration: Option<Span>,
    /// The longest that a lease may live without renewal [default: 5m]
    #[arg(long, env = "SQUALL_AGENT_MAX_LEASE", value_name = "TIME")]
    max_lease: Option<Span>,
    /// Once everything is bound, write the addresses here as JSON
    #[arg(long, env = "SQUALL_AGENT_READY_FILE", value_name = "FILE")]
    pub(crate) ready_file: Option<PathBuf>,
    /// How the log is written, to standard error
    #[arg(long, env = "SQUALL_AGENT_LOG", value_enum, default_value_t = LogFormat::Text)]
    pub(crate) log: LogFormat,
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Serve {
    /// Defaults, then the file, then the command line.
    pub(crate) fn into_config(self) -> Result<AgentConfig, ConfigError> {
        let mut config = AgentConfig::default();
        if let Some(path) = &self.config {
            ConfigFile::read(path)?.apply(&mut config);
        }
        config.listen = self.listen.unwrap_or(config.listen);
        config.insecure = self.insecure;
        config.state = self.state.or(config.state);
        config.name = self.name.unwrap_or(config.name);
        config.drain = self.drain.map_or(config.drain, Span::get);
        config.max_fault_duration = self.max_fault_duration.map_or(config.max_fault_duration, Span::get);
        config.max_lease = self.max_lease.map_or(config.max_lease, Span::get);
        config.labels.extend(self.labels);
        // One named on the command line takes the place of the file's.
        config.proxies.retain(|spec| self.proxies.iter().all(|other| other.name != spec.name));
        config.proxies.extend(self.proxies);
        Ok(config)
    }
}

fn proxy(text: &str) -> Result<ProxySpec, String> {
    let wrong = "write NAME=LISTEN->UPSTREAM, such as `db=127.0.0.1:0->db.internal:5432`";
    let (name, addresses) = text.split_once('=').ok_or(wrong)?;
    let (listen, upstream) = addresses.split_once("->").ok_or(wrong)?;
    Ok(ProxySpec {
        name: name.trim().parse().map_err(|error| format!("{error}"))?,
        listen: listen.trim().to_owned(),
        upstream: upstream.trim().to_owned(),
        protocol: squall_wire::Protocol::default(),
        enabled: true,
    })
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write KEY=VALUE, such as `zone=a`".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::Cli;
    use clap::{CommandFactory, Parser};

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_command_line_wins_over_the_file_and_the_file_over_defaults() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let yaml =
            "name: file\ndrain: 1s\nmax_lease: 2m\nproxies: [{name: a, upstream: 'f:1'}, {name: b, upstream: 'f:2'}]";
        std::fs::write(file.path(), yaml).unwrap();
        let path = file.path().to_str().unwrap();
        let arguments = ["squall-agent", "--config", path, "--drain", "5s", "--proxy", "a=127.0.0.1:0->c:3"];
        let config = Cli::try_parse_from(arguments).unwrap().serve.into_config().unwrap();
        assert_eq!((config.name.as_str(), config.drain.as_secs(), config.max_lease.as_secs()), ("file", 5, 120));
        assert_eq!(config.max_fault_duration.as_secs(), 3600);
        let proxies: Vec<_> = config.proxies.iter().map(|spec| (spec.name.as_str(), spec.upstream.as_str())).collect();
        assert_eq!(proxies, [("b", "f:2"), ("a", "c:3")]);
    }

    #[test]
    fn a_proxy_that_is_none_is_refused_with_the_right_form() {
        for text in ["a", "a=b", "a b=127.0.0.1:0->c:1", "=127.0.0.1:0->c:1"] {
            let error = Cli::try_parse_from(["squall-agent", "--proxy", text]).unwrap_err().to_string();
            assert!(error.contains("write NAME=LISTEN->UPSTREAM") || error.contains("not a proxy name"), "{error}");
        }
    }
}
