//! `agent.yaml`: the configuration as people write it.
//!
//! ```yaml
//! listen: 127.0.0.1:8474
//! max_lease: 2m
//! proxies:
//!   - {name: payment, listen: 127.0.0.1:7001, upstream: payment.internal:443}
//! faults:
//!   payment: [{fault: {latency: {delay: 800ms}}, percent: 30}]
//! ```
//!
//! A file that is a JSON array is one of Toxiproxy's own: `[{"name", "listen", "upstream", "enabled", "toxics"}]`.
//!
//! Neighbours: `config` has the values and their defaults; the binary's `cli` lays the command line over both.
//! Invariant: a key that is not known is a mistake, never ignored, and the message points at its line.

mod sections;

use crate::{
    access::{Role, TlsFiles},
    config::{AgentConfig, Mistake},
    policy::Policy,
    toxiproxy::ProxyInput,
};
use serde::Deserialize;
use squall_wire::{FaultSpec, ProxyName, ProxySpec, Span, nearest::nearest};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
};

/// The largest file that is read, in bytes.
const LARGEST: usize = 4 << 20;

/// Why a configuration is not one.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("failed to read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not YAML, or not of the right shape.
    #[error("{}: {message}", path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// What is wrong, with line and column.
        message: String,
    },
    /// It has the right shape and makes no sense.
    #[error("the configuration has {}:{}", count(found), list(found))]
    Mistakes {
        /// Each of them.
        found: Vec<Mistake>,
    },
}

fn count(found: &[Mistake]) -> String {
    if found.len() == 1 { "a mistake".into() } else { format!("{} mistakes", found.len()) }
}

fn list(found: &[Mistake]) -> String {
    found.iter().map(|mistake| format!("\n  {mistake}")).collect()
}

/// The file as written; what is absent keeps its default.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigFile {
    listen: Option<SocketAddr>,
    name: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    state: Option<PathBuf>,
    max_fault_duration: Option<Span>,
    max_lease: Option<Span>,
    drain: Option<Span>,
    dial_timeout: Option<Span>,
    max_connections: Option<usize>,
    udp_idle: Option<Span>,
    busy_poll: Option<Span>,
    tokens: Option<PathBuf>,
    tls: Option<TlsFiles>,
    #[serde(default)]
    client_roles: BTreeMap<String, Role>,
    #[serde(default)]
    policy: Policy,
    toxiproxy: Option<bool>,
    #[serde(default)]
    proxies: Vec<ProxySpec>,
    #[serde(default)]
    faults: BTreeMap<ProxyName, Vec<FaultSpec>>,
    #[serde(skip)]
    populate: Vec<ProxyInput>,
}

impl ConfigFile {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read, is not YAML, or has a key or a value that is not known.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.into(), source })?;
        Self::parse(&text).map_err(|message| ConfigError::Shape { path: path.into(), message })
    }

    fn parse(text: &str) -> Result<Self, String> {
        if text.len() > LARGEST {
            return Err(format!("the file is larger than {LARGEST} bytes"));
        }
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        if text.trim_start().starts_with('[') {
            let populate = serde_json::from_str(text)
                .map_err(|error| format!("not a list of proxies as Toxiproxy has it: {error}"))?;
            return Ok(Self { populate, ..Self::default() });
        }
        serde_saphyr::from_str_with_options(text, options()).map_err(|first| {
            let all = sections::mistakes(text);
            if all.len() > 1 { format!("{} mistakes\n{}", all.len(), all.join("\n")) } else { told(&first) }
        })
    }

    /// Lays what the file says over a configuration.
    pub fn apply(self, config: &mut AgentConfig) {
        let set = |target: &mut std::time::Duration, span: Option<Span>| {
            if let Some(span) = span {
                *target = span.get();
            }
        };
        set(&mut config.max_fault_duration, self.max_fault_duration);
        set(&mut config.max_lease, self.max_lease);
        set(&mut config.drain, self.drain);
        set(&mut config.dial_timeout, self.dial_timeout);
        set(&mut config.udp_idle, self.udp_idle);
        set(&mut config.busy_poll, self.busy_poll);
        config.listen = self.listen.unwrap_or(config.listen);
        config.name = self.name.unwrap_or_else(|| std::mem::take(&mut config.name));
        config.state = self.state.or_else(|| config.state.take());
        config.max_connections = self.max_connections.unwrap_or(config.max_connections);
        config.tokens = self.tokens.or_else(|| config.tokens.take());
        config.tls = self.tls.or_else(|| config.tls.take());
        config.client_roles.extend(self.client_roles);
        config.policy = self.policy;
        config.labels.extend(self.labels);
        config.toxiproxy = self.toxiproxy.unwrap_or(config.toxiproxy);
        config.proxies.extend(self.proxies);
        config.faults.extend(self.faults);
        config.populate.extend(self.populate);
    }
}

fn options() -> serde_saphyr::Options {
    serde_saphyr::options! { strict_booleans: true }
}

/// A mistake with its place, and the word that was meant.
fn told(error: &serde_saphyr::Error) -> String {
    let message = error.render();
    match suggestion(&message) {
        Some(word) => format!("{message}\ndid you mean `{word}`?"),
        None => message,
    }
}

/// The word that was meant, from a message such as ``unknown field `a`, expected one of `b`, `c` ``.
pub(crate) fn suggestion(message: &str) -> Option<String> {
    let start = ["unknown field", "unknown variant"].iter().find_map(|words| message.find(words))?;
    let line = message[start..].lines().next()?;
    let wrong = line.split('`').nth(1)?;
    let (_, known) = line.split_once("expected ")?;
    let known = known.split(" at line ").next()?.trim_start_matches("one of ");
    let known = known.split(", ").flat_map(|words| words.split(" or ")).map(|word| word.trim_matches('`'));
    nearest(wrong, known).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::{ConfigFile, suggestion};
    use crate::config::AgentConfig;

    fn parsed(text: &str) -> AgentConfig {
        let mut config = AgentConfig::default();
        ConfigFile::parse(text).unwrap().apply(&mut config);
        config
    }

    #[test]
    fn a_whole_file_is_understood() {
        let config = parsed(
            "listen: 127.0.0.1:9000\nname: edge\nlabels: {zone: a}\nstate: /var/lib/s.json\nmax_fault_duration: 10m\n\
             max_lease: 1m\ndrain: 3s\ndial_timeout: 2s\nmax_connections: 100\nudp_idle: 5s\nbusy_poll: 10ms\ntoxiproxy: false\nproxies:\n\
             - {name: db, listen: 127.0.0.1:0, upstream: 'localhost:5432', enabled: false}\n",
        );
        assert_eq!((config.name.as_str(), config.listen.port(), config.max_connections), ("edge", 9000, 100));
        assert_eq!((config.max_lease.as_secs(), config.udp_idle.as_secs()), (60, 5));
        assert_eq!(config.busy_poll.as_millis(), 10);
        assert!(!config.proxies[0].enabled && !config.toxiproxy && config.mistakes().is_empty());
    }

    #[test]
    fn an_empty_file_changes_nothing() {
        assert_eq!(format!("{:?}", parsed("\n")), format!("{:?}", AgentConfig::default()));
    }

    #[test]
    fn a_misspelt_key_is_a_mistake_with_its_line_and_the_nearest_word() {
        let message = ConfigFile::parse("name: a\nproxis: []\n").unwrap_err();
        assert!(message.contains("line 2") && message.contains("did you mean `proxies`?"), "{message}");
        let message = ConfigFile::parse("proxies:\n- {name: a, upstrem: 'b:1'}\n").unwrap_err();
        assert!(message.contains("line 2") && message.contains("did you mean `upstream`?"), "{message}");
    }

    #[test]
    fn a_duration_without_a_unit_is_a_mistake() {
        let message = ConfigFile::parse("max_lease: 300\n").unwrap_err();
        assert!(message.contains("`300s`"), "{message}");
    }

    #[test]
    fn suggestions_come_from_the_words_that_were_expected() {
        let message = "unknown field `jiter`, expected one of `delay`, `jitter`, `buffer` at line 1 column 40";
        assert_eq!(suggestion(message).as_deref(), Some("jitter"));
        let message = "unknown field `proxis`, expected one of listen, name, proxies";
        assert_eq!(suggestion(message).as_deref(), Some("proxies"));
        let message = "unknown variant `htpm`, expected `html` or `text` at line 1 column 4";
        assert_eq!(suggestion(message).as_deref(), Some("html"));
        assert_eq!(suggestion("missing field `delay`"), None);
    }
}
