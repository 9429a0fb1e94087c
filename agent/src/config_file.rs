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

mod lines;
mod rest;
mod sections;

pub use lines::Lines;

use crate::{
    access::{Role, TlsFiles},
    config::{AgentConfig, Mistake},
    policy::Policy,
    toxiproxy::ProxyInput,
};
use serde::Deserialize;
use serde_saphyr::{MessageFormatter, UserMessageFormatter};
use squall_wire::{FaultSpec, ProxyName, ProxySpec, Span, nearest::nearest};
use std::{
    borrow::Cow,
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
    /// It is not YAML, not of the right shape, or makes no sense.
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
    // One that shows the line has several of its own.
    found.iter().map(|mistake| format!("\n  {}", mistake.to_string().replace('\n', "\n    "))).collect()
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
    #[serde(skip)]
    unread: Vec<String>,
    #[serde(skip)]
    lines: Lines,
}

impl ConfigFile {
    /// Reads a file. What is no YAML in it, and each key or value that is not known, becomes a mistake of the
    /// configuration that it is applied to, beside that one's others.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.into(), source })?;
        let mut file = Self::parse(&text);
        for mistake in &mut file.unread {
            // The library knows a text and not where it came from.
            *mistake = mistake.replace("--> <input>:", &format!("--> {}:", path.display()));
        }
        Ok(file)
    }

    fn parse(text: &str) -> Self {
        let wrong = |message: String| Self { unread: vec![message], ..Self::default() };
        if text.len() > LARGEST {
            return wrong(format!("the file is larger than {LARGEST} bytes"));
        }
        if text.trim().is_empty() {
            return Self::default();
        }
        if text.trim_start().starts_with('[') {
            return match serde_json::from_str(text) {
                Ok(populate) => Self { populate, ..Self::default() },
                Err(error) => wrong(format!("not a list of proxies as Toxiproxy has it: {error}")),
            };
        }
        let lines = Lines::read(text);
        match serde_saphyr::from_str_with_options::<Self>(text, options()) {
            Ok(file) => Self { lines, ..file },
            Err(first) => {
                let all = sections::mistakes(text, &lines);
                let unread = if all.len() > 1 { all } else { vec![told(&first)] };
                Self { lines, unread, ..rest::rest(text) }
            }
        }
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
        config.unread.extend(self.unread);
        config.lines = self.lines;
    }
}

fn options() -> serde_saphyr::Options {
    serde_saphyr::options! { strict_booleans: true }
}

/// A mistake with its place, and the word that was meant.
fn told(error: &serde_saphyr::Error) -> String {
    let message = error.render_with_formatter(&Words);
    let message = message.strip_prefix("error: ").unwrap_or(&message);
    match suggestion(message) {
        Some(word) => format!("{message}\ndid you mean `{word}`?"),
        None => message.to_owned(),
    }
}

/// The words of the YAML library, but for those that are for programmers.
struct Words;

impl MessageFormatter for Words {
    fn format_message<'a>(&self, error: &'a serde_saphyr::Error) -> Cow<'a, str> {
        match error {
            serde_saphyr::Error::DuplicateMappingKey { key: Some(key), .. } => {
                format!("`{key}` stands there twice: leave one of them out").into()
            }
            serde_saphyr::Error::DuplicateMappingKey { key: None, .. } => {
                "a key stands there twice: leave one of them out".into()
            }
            serde_saphyr::Error::MultipleDocuments { .. } => {
                "a second document begins here: leave it out, a configuration is one".into()
            }
            error => UserMessageFormatter.format_message(error),
        }
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
        ConfigFile::parse(text).apply(&mut config);
        config
    }

    fn told(text: &str) -> String {
        parsed(text).check().unwrap_err().to_string()
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
    fn what_cannot_be_read_and_what_makes_no_sense_is_told_together_each_with_its_line() {
        let told = told(
            "drian: 5s\nmax_lease: 0s\nproxies:\n- {name: a, upstream: b}\n- {name: b, upstrem: 'b:1',\n   listen: c}\n",
        );
        assert!(told.starts_with("the configuration has 5 mistakes:\n  line 1: there is no `drian`"), "{told}");
        for part in [
            "\n  line 5 column 13: unknown field `upstrem`",
            "\n  line 2: max_lease: must be longer",
            "\n  line 4: proxies[0].upstream: `b` is not an address",
            "\n  line 6: proxies[1].listen: `c` is not an address",
        ] {
            assert!(told.contains(part), "{part} is not in: {told}");
        }
    }

    #[test]
    fn a_fault_of_which_nothing_is_said_is_a_mistake() {
        let told = told("proxies: [{name: a, upstream: 'b:1'}]\nfaults:\n  a:\n  - fault:\n      blackhole:\n");
        assert!(told.contains("line 5") && told.contains("write `{}`"), "{told}");
    }

    #[test]
    fn no_words_of_the_library_s_are_told() {
        for (text, part) in [
            ("name: a\nname: b\n", "line 2 column 1: `name` stands there twice"),
            ("name: a\n---\nname: b\n", "line 3 column 1: a second document begins here"),
            ("name: [a\n", "line "),
        ] {
            let told = told(text);
            assert!(told.contains(part), "{told}");
            for word in ["Policy", "Options", "from_str", "error:"] {
                assert!(!told.contains(word), "{told}");
            }
        }
    }

    #[test]
    fn a_misspelt_key_is_a_mistake_with_its_line_and_the_nearest_word() {
        let message = told("name: a\nproxis: []\n");
        assert!(message.contains("line 2") && message.contains("did you mean `proxies`?"), "{message}");
        let message = told("proxies:\n- {name: a, upstrem: 'b:1'}\n");
        assert!(message.contains("line 2") && message.contains("did you mean `upstream`?"), "{message}");
    }

    #[test]
    fn a_duration_without_a_unit_is_a_mistake() {
        let message = told("max_lease: 300\n");
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
