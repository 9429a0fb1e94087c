//! What can be typed to speak with agents by hand: `agents`, `proxy`, `fault`, `heal` and `halt`.
//!
//! Part of `cli`, which has all other commands; one file each in `commands` carries them out.
//! Invariant: every command that reaches an agent takes the same words to say which one, and how to be let in.

use clap::{Args, Subcommand};
use squall_wire::{FaultName, Protocol, ProxyName, Span};
use std::path::PathBuf;

/// `squall agents`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Agents {
    /// Which agents.
    #[command(flatten)]
    pub choice: AgentChoice,
    /// What else.
    #[command(subcommand)]
    pub command: Option<AgentsCommand>,
}

/// `squall agents watch`
#[derive(Debug, Subcommand)]
pub enum AgentsCommand {
    /// Follow what happens on the agents until Ctrl-C: a line for each event, and now and then what their proxies saw
    Watch {
        /// Which agents.
        #[command(flatten)]
        choice: AgentChoice,
        /// How often to tell what the proxies saw
        #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = at_least_a_second)]
        every: Span,
    },
}

fn at_least_a_second(text: &str) -> Result<Span, String> {
    let span: Span = text.parse().map_err(|error| format!("{error}"))?;
    if span < Span::from_secs(1) { Err("at least `1s`".to_owned()) } else { Ok(span) }
}

/// Which agent is meant, in commands by hand.
#[derive(Debug, Clone, Args)]
pub struct AgentChoice {
    /// The agent: its address (http://HOST:PORT), or its name in the environment
    #[arg(long, env = "SQUALL_AGENT")]
    pub agent: Option<String>,
    /// The environment that names agents
    #[arg(long, env = "SQUALL_ENV")]
    pub env: Option<String>,
    /// The file with the agent's token; by default the variable SQUALL_TOKEN, or what the environment says
    #[arg(long, env = "SQUALL_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// The authority that signed the agent's certificate (PEM)
    #[arg(long, env = "SQUALL_CA", value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// The certificate to show the agent (PEM)
    #[arg(long, env = "SQUALL_CERT", value_name = "FILE", requires = "key")]
    pub cert: Option<PathBuf>,
    /// The key of --cert (PEM)
    #[arg(long, env = "SQUALL_KEY", value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,
}

/// `squall proxy`
#[derive(Debug, Subcommand)]
pub enum ProxyCommand {
    /// List the proxies
    List(AgentChoice),
    /// Make a proxy, or bring it into this shape
    Set {
        /// Its name
        name: ProxyName,
        /// Where clients connect; port 0 takes a free one
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: String,
        /// Where the traffic goes
        #[arg(long)]
        upstream: String,
        /// What is spoken: tcp, http or udp
        #[arg(long, default_value = "tcp")]
        protocol: Protocol,
        /// How it is encrypted.
        #[command(flatten)]
        tls: Box<TlsChoice>,
        /// Which agent.
        #[command(flatten)]
        agent: AgentChoice,
    },
    /// Let a proxy take connections again
    Enable {
        /// Its name
        name: ProxyName,
        /// Which agent.
        #[command(flatten)]
        agent: AgentChoice,
    },
    /// Let a proxy refuse connections; open ones are closed
    Disable {
        /// Its name
        name: ProxyName,
        /// Which agent.
        #[command(flatten)]
        agent: AgentChoice,
    },
    /// Remove a proxy
    Remove {
        /// Its name
        name: ProxyName,
        /// Which agent.
        #[command(flatten)]
        agent: AgentChoice,
    },
}

/// TLS of a proxy. Files are on the agent's machine.
#[derive(Debug, Args)]
#[command(next_help_heading = "TLS (files are on the agent's machine)")]
pub struct TlsChoice {
    /// End TLS here: the certificate chain that clients are shown, a PEM file
    #[arg(long, value_name = "FILE", requires = "listen_key")]
    pub listen_cert: Option<String>,
    /// Its private key, a PEM file
    #[arg(long, value_name = "FILE", requires = "listen_cert")]
    pub listen_key: Option<String>,
    /// Start TLS towards the upstream, and verify its certificate; the options below imply it
    #[arg(long)]
    pub upstream_tls: bool,
    /// Trust these authorities, a PEM file [default: the machine's own]
    #[arg(long, value_name = "FILE")]
    pub upstream_ca: Option<String>,
    /// Show the upstream this client certificate, a PEM file
    #[arg(long, value_name = "FILE", requires = "upstream_key")]
    pub upstream_cert: Option<String>,
    /// Its private key, a PEM file
    #[arg(long, value_name = "FILE", requires = "upstream_cert")]
    pub upstream_key: Option<String>,
    /// The name that the upstream's certificate must have [default: the upstream's host]
    #[arg(long, value_name = "NAME")]
    pub upstream_name: Option<String>,
}

/// `squall fault`
#[derive(Debug, Subcommand)]
pub enum FaultCommand {
    /// List the faults of all proxies
    List(AgentChoice),
    /// Set a fault under a lease of its own, hold it until Ctrl-C or the end of `--for`, then take it away
    Set {
        /// The proxy
        proxy: ProxyName,
        /// The fault as in an experiment: '{latency: {delay: 800ms}}', or a whole one with percent, direction, …
        fault: String,
        /// How long
        #[arg(long = "for", value_name = "DURATION")]
        lasting: Option<Span>,
        /// Why, for whoever meets the lease
        #[arg(long, default_value = "by hand")]
        reason: String,
        /// Which agent.
        #[command(flatten)]
        agent: AgentChoice,
    },
    /// Change the parameters or the share of a fault
    Change {
        /// The proxy
        proxy: ProxyName,
        /// The fault's name
        name: FaultName,
        /// New parameters, of the same kind
        #[arg(long)]
        fault: Option<String>,
        /// A new share
        #[arg(long)]
        percent: Option<squall_wire::Percent>,
        /// The lease that it lives under, if any
        #[arg(long)]
        lease: Option<squall_wire::LeaseId>,
        /// Which agent.
        #[command(flatten)]
        agent: AgentChoice,
    },
}

/// `squall heal`
#[derive(Debug, Args)]
pub struct Heal {
    /// Only this fault, as PROXY/FAULT
    pub fault: Option<String>,
    /// Which agent.
    #[command(flatten)]
    pub agent: AgentChoice,
}

/// `squall halt`
#[derive(Debug, Args)]
pub struct Halt {
    /// Why, for those whose faults are refused
    #[arg(long, default_value = "by hand")]
    pub reason: String,
    /// Take faults again
    #[arg(long, conflicts_with = "reason")]
    pub lift: bool,
    /// Which agents.
    #[command(flatten)]
    pub agent: AgentChoice,
}
