//! The command line: what `squall-agent` takes, and how it lies over the configuration file.
//!
//! Each option is also a variable, `SQUALL_AGENT_…`. Neighbours: `main` runs what is asked; the library's `config`
//! has the defaults and finds the mistakes. Invariant: the command line wins over the file, and the file over defaults.

use clap::{Args, Parser, Subcommand, ValueEnum};
use squall_agent::access::TlsFiles;
use squall_agent::config::{AgentConfig, Mistake};
use squall_agent::config_file::{ConfigError, ConfigFile};
use squall_agent::intercept::{InterceptConfig, InterceptTarget};
use squall_wire::{Protocol, ProxySpec, Span};
use std::{
    ffi::OsString,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    path::PathBuf,
};

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

impl Cli {
    /// What the program was called with. Toxiproxy's server takes its flags with one dash as well as with two.
    pub(crate) fn from_arguments() -> Self {
        Self::parse_from(std::env::args_os().map(with_two_dashes))
    }
}

fn with_two_dashes(argument: OsString) -> OsString {
    let theirs = |text: &str| {
        let flag = text.split_once('=').map_or(text, |(flag, _)| flag);
        ["-host", "-port", "-config"].contains(&flag).then(|| OsString::from(format!("-{text}")))
    };
    argument.to_str().and_then(theirs).unwrap_or(argument)
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Tell every mistake in a configuration file, and exit.
    Check {
        /// The file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Take connections that programs here open to a target through the agent, their configuration unchanged (Linux,
    /// as root)
    ///
    /// Puts rules into a table of nftables of its own, and takes them away when it ends, when it is halted, and by a
    /// watchdog process when it is killed.
    Intercept(Box<Intercept>),
    /// What `intercept` starts to take the rules away when the agent dies
    #[command(hide = true)]
    InterceptWatchdog {
        /// The table that goes.
        table: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Intercept {
    /// Where the connections go that shall come through the agent; names are resolved once; repeatable
    #[arg(long = "to", value_name = "[NAME=]HOST:PORT", required = true)]
    targets: Vec<InterceptTarget>,
    /// Leave the connections of this user alone; repeatable
    #[arg(long = "exclude-uid", value_name = "UID")]
    exclude_uids: Vec<u32>,
    /// Take as well what others send through this machine; the proxies listen on every address then
    #[arg(long)]
    forwarded: bool,
    #[command(flatten)]
    pub(crate) serve: Serve,
}

impl Intercept {
    /// What is intercepted, by `program` as the watchdog; and how the agent serves.
    pub(crate) fn split(self, program: PathBuf) -> (InterceptConfig, Serve) {
        let Self { targets, exclude_uids, forwarded, serve } = self;
        (InterceptConfig { targets, exclude_uids, forwarded, program }, serve)
    }
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Where the API listens; port 0 takes a free one [default: 127.0.0.1:8474]
    #[arg(long, env = "SQUALL_AGENT_LISTEN", value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// The host of --listen by itself, as Toxiproxy's server takes it
    #[arg(long, value_name = "HOST", conflicts_with = "listen")]
    host: Option<String>,
    /// The port of --listen by itself, as Toxiproxy's server takes it
    #[arg(long, value_name = "PORT", conflicts_with = "listen")]
    port: Option<u16>,
    /// Whether Toxiproxy's own paths are answered, so that its clients work unchanged [default: on]
    #[arg(long, env = "SQUALL_AGENT_TOXIPROXY", value_enum, value_name = "WHETHER")]
    toxiproxy: Option<Switch>,
    /// Allow an address that is not the loopback without tokens or client certificates: whoever reaches it may
    /// inject faults
    #[arg(long, env = "SQUALL_AGENT_INSECURE")]
    insecure: bool,
    /// Read this configuration first: YAML, or the JSON list of Toxiproxy's server
    #[arg(long, env = "SQUALL_AGENT_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Ask for a bearer token: a YAML list of `{name, role, token}` or `{name, role, sha256}`; roles are read, inject
    /// and admin
    #[arg(long, env = "SQUALL_AGENT_TOKENS", value_name = "FILE")]
    tokens: Option<PathBuf>,
    /// Serve the API by TLS with this certificate chain (PEM)
    #[arg(long, env = "SQUALL_AGENT_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The key of --tls-cert (PEM)
    #[arg(long, env = "SQUALL_AGENT_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Know clients by certificates that this authority signed (PEM); they have the role inject unless `client_roles`
    /// of the configuration says otherwise
    #[arg(long, env = "SQUALL_AGENT_CLIENT_CA", value_name = "FILE")]
    client_ca: Option<PathBuf>,
    /// Keep the proxies, and a halt, here over a restart (never faults)
    #[arg(long, env = "SQUALL_AGENT_STATE", value_name = "FILE")]
    state: Option<PathBuf>,
    /// A proxy to start with, such as `payment=127.0.0.1:7001->payment.internal:443`, or
    /// `dns=udp://127.0.0.1:5300->127.0.0.1:53` for another protocol than tcp; repeatable
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
    /// Keep a processor busy for so long before anything delayed is due, 10ms say, where a host gives sleeping
    /// processors back late; the agent has one worker then [default: 0s, never]
    #[arg(long, env = "SQUALL_AGENT_BUSY_POLL", value_name = "TIME")]
    busy_poll: Option<Span>,
    /// Once everything is bound, write the addresses here as JSON
    #[arg(long, env = "SQUALL_AGENT_READY_FILE", value_name = "FILE")]
    pub(crate) ready_file: Option<PathBuf>,
    /// How the log is written, to standard error
    #[arg(long, env = "SQUALL_AGENT_LOG", value_enum, default_value_t = LogFormat::Text)]
    pub(crate) log: LogFormat,
}

/// Whether something is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Switch {
    /// It is.
    On,
    /// It is not.
    Off,
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
        self.said().for_each(|key| config.lines.forget(key));
        config.listen = self.listen.unwrap_or(config.listen);
        if let Some(host) = &self.host {
            config.listen.set_ip(address_of(host)?);
        }
        config.listen.set_port(self.port.unwrap_or(config.listen.port()));
        config.toxiproxy = self.toxiproxy.map_or(config.toxiproxy, |switch| switch == Switch::On);
        config.insecure = self.insecure;
        config.tokens = self.tokens.or(config.tokens);
        if let (Some(cert), Some(key)) = (self.tls_cert, self.tls_key) {
            let client_ca = config.tls.and_then(|files| files.client_ca);
            config.tls = Some(TlsFiles { cert, key, client_ca });
        }
        if let Some(authority) = self.client_ca {
            let files = config.tls.as_mut().ok_or_else(no_certificate)?;
            files.client_ca = Some(authority);
        }
        config.state = self.state.or(config.state);
        config.name = self.name.unwrap_or(config.name);
        config.drain = self.drain.map_or(config.drain, Span::get);
        config.max_fault_duration = self.max_fault_duration.map_or(config.max_fault_duration, Span::get);
        config.max_lease = self.max_lease.map_or(config.max_lease, Span::get);
        config.busy_poll = self.busy_poll.map_or(config.busy_poll, Span::get);
        config.labels.extend(self.labels);
        // One named on the command line takes the place of the file's.
        let stays = |spec: &ProxySpec| self.proxies.iter().all(|other| other.name != spec.name);
        config.lines.retain("proxies", config.proxies.iter().map(stays));
        config.proxies.retain(stays);
        config.proxies.extend(self.proxies);
        Ok(config)
    }

    /// The keys of the file that the command line says otherwise.
    fn said(&self) -> impl Iterator<Item = &'static str> {
        let said = [
            ("listen", self.listen.is_some() || self.host.is_some() || self.port.is_some()),
            ("tokens", self.tokens.is_some()),
            ("tls", self.tls_cert.is_some() || self.client_ca.is_some()),
            ("state", self.state.is_some()),
            ("name", self.name.is_some()),
            ("max_fault_duration", self.max_fault_duration.is_some()),
            ("max_lease", self.max_lease.is_some()),
            ("busy_poll", self.busy_poll.is_some()),
        ];
        said.into_iter().filter_map(|(key, said)| said.then_some(key))
    }
}

fn no_certificate() -> ConfigError {
    let message = "clients show certificates by TLS only: give --tls-cert and --tls-key as well".to_owned();
    ConfigError::Mistakes { found: vec![Mistake::new("client-ca", message)] }
}

/// An address by itself or by name, an IPv4 address before an IPv6 one.
fn address_of(host: &str) -> Result<IpAddr, ConfigError> {
    let found: Vec<_> = match (host, 0).to_socket_addrs() {
        Ok(found) => found.map(|address| address.ip()).collect(),
        Err(_) => Vec::new(),
    };
    let first = found.iter().find(|address| address.is_ipv4()).or(found.first()).copied();
    let mistake = || Mistake::new("host", format!("`{host}` is no address, and no name of one"));
    first.ok_or_else(|| ConfigError::Mistakes { found: vec![mistake()] })
}

fn proxy(text: &str) -> Result<ProxySpec, String> {
    let wrong = "write NAME=LISTEN->UPSTREAM, such as `db=127.0.0.1:0->db.internal:5432`";
    let (name, addresses) = text.split_once('=').ok_or(wrong)?;
    let (listen, upstream) = addresses.split_once("->").ok_or(wrong)?;
    let name = name.trim().parse().map_err(|error| format!("{error}"))?;
    let (protocol, listen) = match listen.split_once("://") {
        Some((protocol, listen)) => (protocol.trim().parse()?, listen),
        None => (Protocol::Tcp, listen),
    };
    let listen = listen.trim().to_owned();
    Ok(ProxySpec { listen, protocol, ..ProxySpec::tcp(name, upstream.trim().to_owned()) })
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write KEY=VALUE, such as `zone=a`".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Cli, with_two_dashes};
    use clap::{CommandFactory, Parser};

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_option_is_in_the_docs() {
        let docs = include_str!("../../docs/agent.md");
        let command = Cli::command();
        let missing: Vec<_> = command
            .get_arguments()
            .filter_map(|argument| argument.get_long())
            .filter(|option| !["help", "version"].contains(option) && !docs.contains(&format!("`--{option}")))
            .collect();
        assert!(missing.is_empty(), "docs/agent.md does not know {missing:?}");
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
    fn what_the_command_line_says_is_told_without_a_line_of_the_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let yaml = "max_lease: 1m\nproxies:\n- {name: a, upstream: b}\n- {name: c, upstream: d}\n";
        std::fs::write(file.path(), yaml).unwrap();
        let path = file.path().to_str().unwrap();
        let arguments = ["squall-agent", "--config", path, "--max-lease", "0s", "--proxy", "a=127.0.0.1:0->e"];
        let config = Cli::try_parse_from(arguments).unwrap().serve.into_config().unwrap();
        let lines: Vec<_> = config.mistakes().into_iter().map(|mistake| (mistake.field, mistake.line)).collect();
        let wanted = [("max_lease", None), ("proxies[0].upstream", Some(4)), ("proxies[1].upstream", None)];
        assert_eq!(lines, wanted.map(|(field, line)| (field.to_owned(), line)));
    }

    #[test]
    fn toxiproxys_flags_mean_the_same_here() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), r#"[{"name": "a", "upstream": "b:1", "more": 1}]"#).unwrap();
        let path = file.path().to_str().unwrap();
        let arguments = ["squall-agent", "-host", "localhost", "-port=9000", "-config", path];
        let arguments = arguments.into_iter().map(|argument| with_two_dashes(argument.into()));
        let config = Cli::try_parse_from(arguments).unwrap().serve.into_config().unwrap();
        assert_eq!((config.listen.to_string().as_str(), config.populate.len()), ("127.0.0.1:9000", 1));
        assert!(config.mistakes().is_empty() && config.toxiproxy);

        std::fs::write(file.path(), r#"[{"name": "a"}]"#).unwrap();
        let arguments = ["squall-agent", "--config", path, "--toxiproxy", "off"];
        let config = Cli::try_parse_from(arguments).unwrap().serve.into_config().unwrap();
        let told: Vec<_> = config.mistakes().into_iter().map(|mistake| mistake.to_string()).collect();
        assert_eq!(told, ["populate: missing required field: upstream at proxy 1"]);
        assert!(!config.toxiproxy);
    }

    #[test]
    fn a_proxy_speaks_tcp_unless_told_otherwise() {
        let arguments = ["squall-agent", "--proxy", "a=127.0.0.1:0->b:1", "--proxy", "d=udp://127.0.0.1:0->b:53"];
        let config = Cli::try_parse_from(arguments).unwrap().serve.into_config().unwrap();
        let proxies: Vec<_> = config.proxies.iter().map(|spec| (spec.protocol.name(), spec.listen.as_str())).collect();
        assert_eq!(proxies, [("tcp", "127.0.0.1:0"), ("udp", "127.0.0.1:0")]);
        let error = Cli::try_parse_from(["squall-agent", "--proxy", "a=sctp://127.0.0.1:0->b:1"]).unwrap_err();
        assert!(error.to_string().contains("`sctp` is not a protocol"), "{error}");
    }

    #[test]
    fn a_proxy_that_is_none_is_refused_with_the_right_form() {
        for text in ["a", "a=b", "a b=127.0.0.1:0->c:1", "=127.0.0.1:0->c:1"] {
            let error = Cli::try_parse_from(["squall-agent", "--proxy", text]).unwrap_err().to_string();
            assert!(error.contains("write NAME=LISTEN->UPSTREAM") || error.contains("not a proxy name"), "{error}");
        }
    }
}
