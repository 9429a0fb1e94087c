//! What an agent is told at its start, checked as a whole: every mistake is told at once.
//!
//! Neighbours: `config_file` reads it from YAML, the binary's `cli` lays the command line over it, `agent` binds by it.
//! Invariant: a configuration without `mistakes` can fail only at what the machine refuses: an address, a file.

use crate::{
    access::{Access, Role, TlsFiles, is_loopback},
    address::{OWN_UPSTREAM, Purpose, host_of, is_localhost, leads_to, mistake},
    config_file::{ConfigError, Lines},
    intercept::InterceptConfig,
    policy::Policy,
    registry::{MAX_FAULTS, made_up},
    state,
    tls::{Tls, TlsMistake},
    toxiproxy::{ProxyInput, prepared},
};
use squall_wire::{FaultSpec, ProxyName, ProxySpec, Span, nearest::nearest};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

/// The port that the API listens on by default.
pub const DEFAULT_PORT: u16 = 8474;

/// No limit is longer, so that adding one to a moment never overflows.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// A longer one would keep a processor busy and make nothing more exact.
const LONGEST_BUSY_POLL: Duration = Duration::from_millis(100);

/// Everything that an agent is told at its start.
#[derive(Debug, Clone)]
pub struct AgentConfig {
    /// What it calls itself; the host's name by default.
    pub name: String,
    /// Where the API listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Whether it may listen on another address than the loopback without asking anybody who they are.
    pub insecure: bool,
    /// Who has which token and which role; nobody is asked for one when absent.
    pub tokens: Option<PathBuf>,
    /// Certificates and keys; the API speaks plain HTTP when absent.
    pub tls: Option<TlsFiles>,
    /// The roles of client certificates by the name in them, `*` for all others; `inject` for whom it does not name.
    pub client_roles: BTreeMap<String, Role>,
    /// What this agent will never do, whoever asks.
    pub policy: Policy,
    /// The proxies to start with.
    pub proxies: Vec<ProxySpec>,
    /// The faults that those of them have from the start, until they are removed or have lived for long enough.
    pub faults: BTreeMap<ProxyName, Vec<FaultSpec>>,
    /// Proxies, and toxics on them, in Toxiproxy's words: made after the others.
    pub populate: Vec<ProxyInput>,
    /// Whether Toxiproxy's own paths are answered.
    pub toxiproxy: bool,
    /// What is to be intercepted, beside the proxies; nothing when absent.
    pub intercept: Option<InterceptConfig>,
    /// Labels by which an experiment can choose this agent.
    pub labels: BTreeMap<String, String>,
    /// Where the proxies are kept over a restart; nowhere when absent.
    pub state: Option<PathBuf>,
    /// The longest that a fault may live.
    pub max_fault_duration: Duration,
    /// The longest that a lease may live without renewal.
    pub max_lease: Duration,
    /// How long open connections may take to finish at shutdown.
    pub drain: Duration,
    /// How long an upstream may take to accept a connection.
    pub dial_timeout: Duration,
    /// Proxied connections at once, over all proxies.
    pub max_connections: usize,
    /// A session of datagrams ends when nothing came or went for so long.
    pub udp_idle: Duration,
    /// So long before a delayed byte is due one processor is kept busy, so that it does not fall asleep; never when
    /// zero. The agent then has one worker.
    pub busy_poll: Duration,
    /// Connections to the API at once.
    pub max_api_connections: usize,
    /// How long a client of the API may take to send a head, to send a body, or to take an answer.
    pub api_timeout: Duration,
    /// The largest body of a request, in bytes.
    pub max_body: usize,
    /// What could not be read of its file. An agent does not start by what is left of it.
    pub unread: Vec<String>,
    /// Where in its file each field stands.
    pub lines: Lines,
}

impl Default for AgentConfig {
    fn default() -> Self {
        Self {
            name: host_name(),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, DEFAULT_PORT)),
            insecure: false,
            tokens: None,
            tls: None,
            client_roles: BTreeMap::new(),
            policy: Policy::default(),
            proxies: Vec::new(),
            faults: BTreeMap::new(),
            populate: Vec::new(),
            toxiproxy: true,
            intercept: None,
            labels: BTreeMap::new(),
            state: None,
            max_fault_duration: Duration::from_secs(3600),
            max_lease: Duration::from_secs(300),
            drain: Duration::from_secs(10),
            dial_timeout: Duration::from_secs(10),
            max_connections: 50_000,
            udp_idle: Duration::from_secs(60),
            busy_poll: Duration::ZERO,
            max_api_connections: 256,
            api_timeout: Duration::from_secs(10),
            max_body: 1 << 20,
            unread: Vec::new(),
            lines: Lines::default(),
        }
    }
}

/// One thing that is wrong in a configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{}{message}", line.map(|line| format!("line {line}: ")).unwrap_or_default(), place(field))]
pub struct Mistake {
    /// Where: `proxies[1].listen`; empty when the message says it.
    pub field: String,
    /// What is wrong and what would be right.
    pub message: String,
    /// Where that is in the file, if it comes from there.
    pub line: Option<u64>,
}

fn place(field: &str) -> String {
    if field.is_empty() { String::new() } else { format!("{field}: ") }
}

impl Mistake {
    /// One whose line is not known.
    #[must_use]
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into(), line: None }
    }
}

impl AgentConfig {
    /// Every mistake in it; empty when it is sound.
    #[must_use]
    pub fn mistakes(&self) -> Vec<Mistake> {
        let mut found: Vec<_> = self.unread.iter().map(|message| Mistake::new("", message)).collect();
        let mut wrong = |field: &str, message: String| found.push(Mistake::new(field, message));
        if self.name.trim().is_empty() {
            wrong("name", "an agent needs a name".into());
        }
        if !self.insecure && !is_loopback(self.listen) && self.tokens.is_none() && !self.asks_certificates() {
            wrong(
                "listen",
                format!(
                    "{} is not a loopback address, and whoever reaches it could inject faults: ask for tokens \
                     (--tokens) or client certificates (--client-ca), listen on 127.0.0.1:{DEFAULT_PORT}, or type \
                     --insecure to allow it",
                    self.listen
                ),
            );
        }
        for (field, limit) in [
            ("max_fault_duration", self.max_fault_duration),
            ("max_lease", self.max_lease),
            ("dial_timeout", self.dial_timeout),
            ("udp_idle", self.udp_idle),
            ("api_timeout", self.api_timeout),
        ] {
            if limit.is_zero() {
                wrong(field, "must be longer than `0s`: write a duration such as `30s`".into());
            }
            if limit > LONGEST {
                wrong(field, "must be at most a year (`8784h`)".into());
            }
        }
        if self.busy_poll > LONGEST_BUSY_POLL {
            let message = format!(
                "must be at most `{}`: a processor is kept busy all that time, so write a duration such as `10ms`",
                Span::from(LONGEST_BUSY_POLL)
            );
            wrong("busy_poll", message);
        }
        for (field, limit) in [
            ("max_connections", self.max_connections),
            ("max_api_connections", self.max_api_connections),
            ("max_body", self.max_body),
        ] {
            if limit == 0 {
                wrong(field, "must be at least 1".into());
            }
        }
        if !self.client_roles.is_empty() && !self.asks_certificates() {
            wrong("client_roles", "there are no client certificates without `tls.client_ca`".into());
        }
        found.extend(self.policy.mistakes());
        found.extend(proxy_mistakes(&self.proxies));
        found.extend(self.first_faults());
        found.extend(self.forbidden_addresses());
        found.extend(self.toxiproxys_list());
        self.placed(found)
    }

    /// The same mistakes, with their lines.
    fn placed(&self, mut found: Vec<Mistake>) -> Vec<Mistake> {
        found.iter_mut().for_each(|mistake| mistake.line = mistake.line.or_else(|| self.lines.of(&mistake.field)));
        found
    }

    /// What is wrong in Toxiproxy's list.
    fn toxiproxys_list(&self) -> Vec<Mistake> {
        let planned = match prepared(&self.populate, self.listen.ip()) {
            Ok(planned) => planned,
            Err(mistake) => return vec![Mistake::new("populate", mistake.to_string())],
        };
        let wrong = planned.iter().enumerate().flat_map(|(index, planned)| {
            let told = spec_mistakes(&planned.spec).into_iter();
            told.map(move |(field, message)| Mistake::new(format!("populate[{index}].{field}"), message))
        });
        wrong.collect()
    }

    /// Every mistake in it, and in the files of tokens, certificates and state that it names.
    ///
    /// # Errors
    /// When there is any.
    pub fn check(&self) -> Result<(), ConfigError> {
        let state = self.state.as_deref().and_then(|path| state::check(path).err());
        let state = state.map(|error| Mistake::new("state", error.to_string()));
        let found = match self.sound() {
            Ok(_) if state.is_none() => return Ok(()),
            Ok(_) => Vec::new(),
            Err(ConfigError::Mistakes { found }) => found,
            Err(error) => return Err(error),
        };
        Err(ConfigError::Mistakes { found: self.placed(found.into_iter().chain(state).collect()) })
    }

    /// What the files of tokens and certificates say, when nothing is wrong in all of it.
    pub(crate) fn sound(&self) -> Result<Access, ConfigError> {
        let mut found = self.mistakes();
        found.extend(self.proxies.iter().enumerate().filter_map(|(index, spec)| {
            let TlsMistake { field, message } = Tls::read(spec).err()?;
            Some(Mistake::new(format!("proxies[{index}].{field}"), message))
        }));
        match Access::open(self) {
            Ok(access) if found.is_empty() => return Ok(access),
            Ok(_) => {}
            Err(in_files) => found.extend(in_files),
        }
        Err(ConfigError::Mistakes { found: self.placed(found) })
    }

    /// Whether clients are known by certificates.
    pub(crate) fn asks_certificates(&self) -> bool {
        self.tls.as_ref().is_some_and(|files| files.client_ca.is_some())
    }

    /// Proxies of the configuration that its own policy forbids, as far as that can be said without looking names up.
    fn forbidden_addresses(&self) -> impl Iterator<Item = Mistake> {
        self.proxies.iter().enumerate().flat_map(|(index, spec)| {
            let listen = listen_of(spec).and_then(|bind| self.policy.listen.check(bind).err());
            let listen = listen.map(|forbidden| ("listen", forbidden.to_string()));
            let upstream = self.policy.upstreams.check_written(host_of(&spec.upstream)).and_then(Result::err);
            let upstream = upstream.map(|forbidden| ("upstream", format!("{}: {forbidden}", forbidden.rule())));
            let both = listen.into_iter().chain(upstream);
            both.map(move |(field, message)| Mistake::new(format!("proxies[{index}].{field}"), message))
        })
    }

    /// What is wrong with the faults to start with, as far as it can be said before they are set.
    fn first_faults(&self) -> Vec<Mistake> {
        let mut found = Vec::new();
        for (name, faults) in &self.faults {
            let place = format!("faults.{name}");
            let Some(proxy) = self.proxies.iter().find(|proxy| proxy.name == *name) else {
                let names = self.proxies.iter().map(|proxy| proxy.name.as_str());
                let meant = nearest(name.as_str(), names).map(|meant| format!(": did you mean `{meant}`?"));
                let message = format!("this configuration has no proxy `{name}`{}", meant.unwrap_or_default());
                found.push(Mistake::new(place, message));
                continue;
            };
            for (index, fault) in faults.iter().enumerate() {
                let wrong = self.first_fault(proxy, fault).into_iter();
                found.extend(wrong.map(|(field, message)| Mistake::new(format!("{place}[{index}].{field}"), message)));
            }
            found.extend(faults_together(&place, faults));
        }
        found
    }

    /// What is wrong with one of them, as field and message.
    fn first_fault(&self, proxy: &ProxySpec, fault: &FaultSpec) -> Vec<(String, String)> {
        let mut found: Vec<_> =
            fault.mistakes_on(proxy.protocol).into_iter().map(|wrong| (wrong.field, wrong.message)).collect();
        if fault.lease.is_some() {
            found.push(("lease".into(), "no lease lives yet when an agent starts: leave it out".into()));
        }
        let (longest, _) = self.limits();
        if fault.expires_in.is_some_and(|asked| asked.get() > longest.get()) {
            found.push(("expires_in".into(), format!("this agent lets a fault live for `{longest}` at most")));
        }
        let refusals = self.policy.refusals(&proxy.name, &fault.fault, fault.percent, None);
        found.extend(refusals.map(|refusal| ("fault".into(), format!("the policy forbids it: {refusal}"))));
        found
    }

    /// The limits as the API tells them: longest fault, longest lease.
    pub(crate) fn limits(&self) -> (Span, Span) {
        let of_policy = self.policy.max_fault_duration.map(Span::get);
        let longest = of_policy.map_or(self.max_fault_duration, |most| most.min(self.max_fault_duration));
        (longest.into(), self.max_lease.into())
    }
}

/// What is wrong with the first faults of one proxy taken together: their number, and names that two have, made-up ones included.
fn faults_together(place: &str, faults: &[FaultSpec]) -> Vec<Mistake> {
    let mut found = Vec::new();
    if faults.len() > MAX_FAULTS {
        let message = format!("{} faults, and a proxy has at most {MAX_FAULTS}: leave some out", faults.len());
        found.push(Mistake::new(place, message));
    }
    let mut names = BTreeMap::new();
    for (index, fault) in faults.iter().enumerate() {
        let made_up = || made_up(&fault.fault, index, |name| names.contains_key(name));
        let Some(name) = fault.name.clone().or_else(made_up) else { continue };
        if let Some(earlier) = names.get(&name) {
            let message = format!("{place}[{earlier}] is called `{name}` already: give each a name of its own");
            found.push(Mistake::new(format!("{place}[{index}].name"), message));
        } else {
            names.insert(name, index);
        }
    }
    found
}

fn proxy_mistakes(proxies: &[ProxySpec]) -> Vec<Mistake> {
    let mut found = Vec::new();
    // A port for connections and one for datagrams may have the same number, as name servers do.
    let (mut names, mut addresses) = (BTreeSet::<&ProxyName>::new(), BTreeSet::<(bool, &str)>::new());
    for (index, spec) in proxies.iter().enumerate() {
        let mut wrong =
            |field: &str, message: String| found.push(Mistake::new(format!("proxies[{index}].{field}"), message));
        if !names.insert(&spec.name) {
            wrong("name", format!("there are two proxies `{}`: give each a name of its own", spec.name));
        }
        for (field, message) in spec_mistakes(spec) {
            wrong(field, message);
        }
        if !spec.listen.ends_with(":0") && !addresses.insert((spec.protocol.has_connections(), &spec.listen)) {
            wrong("listen", format!("two proxies listen on {}: give each an address of its own", spec.listen));
        }
    }
    found
}

/// What is wrong in one proxy, as field and message.
pub(crate) fn spec_mistakes(spec: &ProxySpec) -> Vec<(&'static str, String)> {
    let listen = mistake(&spec.listen, Purpose::Listen).map(|message| ("listen", message));
    let upstream = mistake(&spec.upstream, Purpose::Upstream).map(|message| ("upstream", message));
    let looped = leads_to_itself(spec).then(|| ("upstream", OWN_UPSTREAM.to_owned()));
    listen.into_iter().chain(upstream).chain(looped).chain(spec.mistakes()).collect()
}

/// As far as that can be said before the address is bound, and without looking names up.
fn leads_to_itself(spec: &ProxySpec) -> bool {
    spec.listen == spec.upstream || listen_of(spec).is_some_and(|listen| leads_to(listen, &spec.upstream))
}

/// Where a proxy is to listen, if that is an address, or the name that every machine has for itself.
fn listen_of(spec: &ProxySpec) -> Option<SocketAddr> {
    match host_of(&spec.listen) {
        host if is_localhost(host) => spec.listen.replacen(host, "127.0.0.1", 1).parse().ok(),
        _ => spec.listen.parse().ok(),
    }
}

fn host_name() -> String {
    let uname = rustix::system::uname();
    match uname.nodename().to_str() {
        Ok(name) if !name.is_empty() => name.to_owned(),
        _ => "squall-agent".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::AgentConfig;

    #[test]
    fn the_default_is_sound_and_listens_on_the_loopback() {
        let config = AgentConfig::default();
        assert!(config.mistakes().is_empty());
        assert_eq!(config.listen.to_string(), "127.0.0.1:8474");
    }

    #[test]
    fn another_address_needs_to_be_allowed() {
        let mut config = AgentConfig { listen: "0.0.0.0:8474".parse().unwrap(), ..AgentConfig::default() };
        assert!(config.mistakes()[0].message.contains("--insecure"));
        config.insecure = true;
        assert!(config.mistakes().is_empty());
    }

    #[test]
    fn a_processor_is_kept_busy_for_a_tenth_of_a_second_at_most() {
        let mistakes = |millis| {
            let busy_poll = std::time::Duration::from_millis(millis);
            AgentConfig { busy_poll, ..AgentConfig::default() }.mistakes()
        };
        assert!(mistakes(100).is_empty());
        let told = mistakes(101).pop().unwrap().to_string();
        assert!(told.starts_with("busy_poll: must be at most `100ms`"), "{told}");
    }

    #[test]
    fn connections_and_datagrams_may_share_a_port_number() {
        let spec = |name: &str, protocol: &str| {
            let spec =
                serde_json::json!({"name": name, "listen": "127.0.0.1:53", "upstream": "a:53", "protocol": protocol});
            serde_json::from_value(spec).unwrap()
        };
        let proxies = vec![spec("a", "tcp"), spec("b", "udp")];
        assert!(AgentConfig { proxies, ..AgentConfig::default() }.mistakes().is_empty());
        let proxies = vec![spec("a", "udp"), spec("b", "udp")];
        assert_eq!(AgentConfig { proxies, ..AgentConfig::default() }.mistakes().len(), 1);
    }

    #[test]
    fn a_proxy_that_leads_to_itself_is_a_mistake_in_either_list() {
        let own = serde_json::json!([
            {"name": "a", "listen": "localhost:7000", "upstream": "127.0.0.1:7000"},
            {"name": "b", "listen": "0.0.0.0:7001", "upstream": "localhost:7001"},
        ]);
        let proxies = serde_json::from_value(own.clone()).unwrap();
        let populate = serde_json::from_value(own).unwrap();
        let config = AgentConfig { proxies, populate, ..AgentConfig::default() };
        let told: Vec<_> = config.mistakes().into_iter().map(|mistake| mistake.field).collect();
        assert_eq!(
            told,
            ["proxies[0].upstream", "proxies[1].upstream", "populate[0].upstream", "populate[1].upstream"]
        );
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        let spec = |text: &str| serde_json::from_str(text).unwrap();
        let config = AgentConfig {
            max_lease: std::time::Duration::ZERO,
            proxies: vec![
                spec(r#"{"name": "a", "listen": "127.0.0.1:7000", "upstream": "nowhere"}"#),
                spec(r#"{"name": "a", "listen": "127.0.0.1:7000", "upstream": "127.0.0.1:7000"}"#),
            ],
            ..AgentConfig::default()
        };
        let told: Vec<_> = config.mistakes().into_iter().map(|m| m.to_string()).collect();
        insta::assert_snapshot!(told.join("\n"), @r"
        max_lease: must be longer than `0s`: write a duration such as `30s`
        proxies[0].upstream: `nowhere` is not an address: it has no port; write one such as `db.internal:5432`
        proxies[1].name: there are two proxies `a`: give each a name of its own
        proxies[1].upstream: a proxy cannot be its own upstream: each connection would open another
        proxies[1].listen: two proxies listen on 127.0.0.1:7000: give each an address of its own
        ");
    }
}
