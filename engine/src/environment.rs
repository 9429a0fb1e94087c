//! Where an experiment runs: `environments/NAME.yaml`, with agents, variables, proxies to create, and the shop.
//!
//! ```yaml
//! agents:    {eu: {url: "http://10.0.0.5:8474", token: "${env:SQUALL_TOKEN}", labels: {region: eu}}}
//! variables: {shop: "https://shop.example"}
//! proxies:   [{agent: eu, name: payment, upstream: "payment:443"}]
//! ```
//!
//! `sandbox: true` stands for agents and a shop that squall starts itself; `shop.without` switches patterns of it off,
//! `shop.database` says what its database is.
//! Read like an experiment: every mistake at once, each with its place. Neighbours: `load` takes the variables,
//! the runner the agents. Invariant: secrets are known as such, and every proxy's agent is among the agents.

mod shop;

pub use shop::{NoDatabase, OwnDatabase, SandboxDoc, ShopDatabase, ShopEntry};

use crate::{
    agent_tls::AgentTls,
    diagnostic::{Diagnostics, Reporter},
    document::{Text, WindowDoc},
    experiment::Secrets,
    load::is_map,
    validate::{check_url, windows},
    variables::{self, Sources},
    window::Windows,
    yaml::{self, Mark, Spot},
};
use schemars::JsonSchema;
use serde::Deserialize;
use squall_wire::{
    Protocol, ProxyName, ProxySpec,
    proxy::{HostHeader, ListenTls, UpstreamTls},
};
use std::{collections::BTreeMap, path::Path, sync::Arc};

/// The token of agents for which the environment names none.
pub const TOKEN_VARIABLE: &str = "SQUALL_TOKEN";

/// An environment, ready to use.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// Its name: as written, or its file's.
    pub name: String,
    /// The agents by name.
    pub agents: BTreeMap<String, AgentEntry>,
    /// Values for `${name}` in experiments, those that hold secrets included: give `secrets` along with them.
    pub variables: BTreeMap<String, String>,
    /// Every secret in it: must never be shown.
    pub secrets: Secrets,
    /// Proxies to create before a run.
    pub proxies: Vec<ProxyEntry>,
    /// What is special about the shop.
    pub shop: ShopEntry,
    /// Squall starts an agent, the shop and its dependencies itself.
    pub sandbox: bool,
    /// When experiments may run there; always when absent.
    pub windows: Option<Windows>,
    /// Where runs there are told.
    pub telemetry: TelemetryEntry,
}

/// Where runs in an environment are told, unless the command line says otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TelemetryEntry {
    /// The address of a collector of OpenTelemetry's.
    pub otlp: Option<String>,
    /// The address of a Grafana.
    pub grafana: Option<String>,
    /// What Grafana asks for.
    pub grafana_token: Option<Secret>,
    /// The dashboard that is annotated, by its UID.
    pub grafana_dashboard: Option<String>,
    /// Whether requests of a run ask to be traced.
    pub trace_requests: bool,
}

/// Where an agent is.
#[derive(Debug, Clone)]
pub struct AgentEntry {
    /// Its address.
    pub url: String,
    /// What it asks for, if it does.
    pub token: Option<Secret>,
    /// Whom to believe that it is the agent, and what to show it.
    pub tls: AgentTls,
    /// For choosing it.
    pub labels: BTreeMap<String, String>,
}

/// A proxy to create, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyEntry {
    /// The agent; the only one when absent.
    pub agent: Option<String>,
    /// The proxy.
    pub spec: ProxySpec,
}

/// A value that is shown only on purpose.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

impl Secret {
    /// A value that is not to be shown.
    #[must_use]
    pub fn new(value: impl Into<Arc<str>>) -> Self {
        Self(value.into())
    }

    /// The value itself, for sending it where it belongs.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(***)")
    }
}

/// An environment as it is written.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Squall environment")]
pub struct EnvironmentDoc {
    /// Its name; the file's when absent.
    pub name: Option<String>,
    /// The agents by name.
    pub agents: Option<BTreeMap<String, AgentDoc>>,
    /// Values for `${name}` in experiments.
    pub variables: Option<BTreeMap<String, Text>>,
    /// Proxies to create before a run.
    pub proxies: Option<Vec<ProxyDoc>>,
    /// What is special about the sandbox's shop.
    pub shop: Option<ShopEntry>,
    /// Squall starts an agent, the shop and its dependencies itself.
    pub sandbox: Option<bool>,
    /// When experiments may run there; always when absent.
    pub windows: Option<Vec<WindowDoc>>,
    /// Where runs there are told, unless the command line says otherwise.
    pub telemetry: Option<TelemetryDoc>,
}

/// Where runs are told, as it is written.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TelemetryDoc {
    /// A collector of OpenTelemetry's: `http://127.0.0.1:4318`.
    pub otlp: Option<String>,
    /// A Grafana: `http://127.0.0.1:3000`.
    pub grafana: Option<String>,
    /// What Grafana asks for: `${env:NAME}` or `${file:PATH}`. The variable `GRAFANA_TOKEN` when absent.
    pub grafana_token: Option<String>,
    /// The UID of the dashboard that is annotated; annotations are the organisation's when absent.
    pub grafana_dashboard: Option<String>,
    /// Whether requests of a run ask to be traced; they only name the run's trace otherwise.
    pub trace_requests: bool,
}

/// An agent as it is written.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentDoc {
    /// Its address.
    pub url: String,
    /// What it asks for, if it does: `${env:NAME}` or `${file:PATH}`. The variable `SQUALL_TOKEN` when absent.
    #[serde(default)]
    pub token: Option<String>,
    /// The authority that signed its certificate, a PEM file; this machine's roots when absent.
    #[serde(default)]
    pub ca: Option<String>,
    /// The certificate to show it, a PEM file.
    #[serde(default)]
    pub cert: Option<String>,
    /// The key of `cert`, a PEM file.
    #[serde(default)]
    pub key: Option<String>,
    /// For choosing it.
    #[serde(default)]
    pub labels: Option<BTreeMap<String, Text>>,
}

/// A proxy as it is written.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProxyDoc {
    /// The agent; the only one when absent.
    #[serde(default)]
    pub agent: Option<String>,
    /// Unique on its agent.
    pub name: ProxyName,
    /// Where clients connect, `HOST:PORT`; a free port of loopback when absent.
    #[serde(default)]
    pub listen: Option<String>,
    /// Where the traffic goes, `HOST:PORT`.
    pub upstream: String,
    /// What is spoken.
    #[serde(default)]
    pub protocol: Protocol,
    /// TLS that clients speak and that ends at the proxy.
    #[serde(default)]
    pub listen_tls: Option<ListenTls>,
    /// TLS that starts at the proxy, towards the upstream.
    #[serde(default)]
    pub upstream_tls: Option<UpstreamTls>,
    /// What becomes of the `Host` header.
    #[serde(default)]
    pub host: HostHeader,
}

/// Reads an environment's text.
///
/// # Errors
/// Every mistake in it, with its place.
pub fn load(
    path: &str,
    text: &str,
    env_var: &dyn Fn(&str) -> Option<String>,
    base_dir: &Path,
) -> Result<Environment, Diagnostics> {
    let mut report = Reporter::new(text);
    let mut secrets = Secrets::default();
    let environment = read(path, env_var, base_dir, &mut report, &mut secrets);
    match (environment, report.finish(path, &secrets)) {
        (Some(environment), None) => Ok(Environment { secrets, ..environment }),
        (_, Some(diagnostics)) => Err(diagnostics),
        (None, None) => Err(Diagnostics::whole_file(path, "the file is not an environment", None)),
    }
}

fn read(
    path: &str,
    env_var: &dyn Fn(&str) -> Option<String>,
    base_dir: &Path,
    report: &mut Reporter<'_>,
    secrets: &mut Secrets,
) -> Option<Environment> {
    let mut tree = yaml::parse(report.text(), "an environment", report)?;
    if !is_map(&tree, report) {
        return None;
    }
    let nothing = BTreeMap::new();
    let none = Secrets::default();
    let sources = Sources { set: &nothing, environment: &nothing, secrets: &none, env_var, base_dir };
    let resolved = variables::resolve(&mut tree, sources, true, report);
    secrets.extend(&resolved.secrets);
    let doc: EnvironmentDoc = yaml::read(&mut tree, report)?;
    let root = Spot::root(&tree);
    let places = Places { env_var, base_dir };
    let agents = agents(&doc, root.key("agents"), &places, report, secrets);
    let proxies = proxies(&doc, root, report);
    if let Some(ShopEntry { database: Some(ShopDatabase::At(url)), .. }) = &doc.shop {
        secrets.add_url(url);
    }
    if doc.sandbox == Some(true) && !agents.is_empty() {
        let told = report.error(root.key("sandbox").mark(), "the sandbox brings its own agent");
        told.related(root.key("agents").key_mark(), "these would not be used").help("leave `agents` or `sandbox` out");
    }
    let stem =
        || Path::new(path).file_stem().map_or_else(|| path.to_owned(), |stem| stem.to_string_lossy().into_owned());
    let name = doc.name.clone().unwrap_or_else(stem);
    let windows = windows(doc.windows.as_deref(), root.key("windows"), &format!("environment `{name}`"), report);
    Some(Environment {
        name,
        windows,
        agents,
        variables: resolved.all,
        secrets: Secrets::default(),
        proxies,
        shop: doc.shop.clone().unwrap_or_default(),
        sandbox: doc.sandbox.unwrap_or(false),
        telemetry: telemetry(doc.telemetry.unwrap_or_default(), root.key("telemetry"), report, secrets),
    })
}

fn telemetry(doc: TelemetryDoc, at: Spot<'_>, report: &mut Reporter<'_>, secrets: &mut Secrets) -> TelemetryEntry {
    for (key, url) in [("otlp", &doc.otlp), ("grafana", &doc.grafana)] {
        if let Some(Err(message)) = url.as_deref().map(check_url) {
            report.error(at.key(key).mark(), message);
        }
    }
    TelemetryEntry {
        otlp: doc.otlp,
        grafana: doc.grafana,
        grafana_token: doc.grafana_token.map(|token| {
            // It is a secret even where it stands in the file as it is.
            secrets.add(&token);
            Secret::new(token)
        }),
        grafana_dashboard: doc.grafana_dashboard,
        trace_requests: doc.trace_requests,
    }
}

/// Where tokens and files come from.
struct Places<'a> {
    env_var: &'a dyn Fn(&str) -> Option<String>,
    base_dir: &'a Path,
}

fn agents(
    doc: &EnvironmentDoc,
    at: Spot<'_>,
    places: &Places<'_>,
    report: &mut Reporter<'_>,
    secrets: &mut Secrets,
) -> BTreeMap<String, AgentEntry> {
    let mut found = BTreeMap::new();
    for (name, agent) in doc.agents.iter().flatten() {
        let spot = at.key(name);
        if let Err(message) = check_url(&agent.url) {
            report.error(spot.key("url").mark(), message);
        }
        let token = agent.token.clone().or_else(|| (places.env_var)(TOKEN_VARIABLE).filter(|token| !token.is_empty()));
        let token = token.map(|token| {
            // A token is a secret even where it stands in the file as it is.
            secrets.add(&token);
            if token.trim().is_empty() || token.contains(|c: char| !c.is_ascii_graphic()) {
                let mark = Mark { secret: false, ..spot.key("token").mark() };
                report.error(mark, "the token is empty, or holds spaces or characters that no header may");
            }
            Secret(token.into())
        });
        let labels = agent.labels.iter().flatten().map(|(label, value)| (label.clone(), value.to_string())).collect();
        let tls = tls(agent, spot, places, report);
        found.insert(name.clone(), AgentEntry { url: agent.url.clone(), token, tls, labels });
    }
    found
}

/// Paths count from the environment's file.
fn tls(agent: &AgentDoc, spot: Spot<'_>, places: &Places<'_>, report: &mut Reporter<'_>) -> AgentTls {
    let mut tls = AgentTls::default();
    let at = |path: &str| places.base_dir.join(path);
    if let Some(Err(error)) = agent.ca.as_deref().map(|ca| tls.trust(&at(ca))) {
        report.error(spot.key("ca").mark(), error.to_string());
    }
    match (&agent.cert, &agent.key) {
        (Some(cert), Some(key)) => {
            if let Err(error) = tls.show(&at(cert), &at(key)) {
                report.error(spot.key("cert").mark(), error.to_string());
            }
        }
        (Some(_), None) => drop(report.error(spot.key("cert").mark(), "a certificate needs its key: write `key:` too")),
        (None, Some(_)) => drop(report.error(spot.key("key").mark(), "a key needs its certificate: write `cert:` too")),
        (None, None) => {}
    }
    if (agent.ca.is_some() || agent.cert.is_some()) && agent.url.starts_with("http://") {
        report.error(spot.key("url").mark(), "certificates are of use with `https://` only");
    }
    tls
}

fn proxies(doc: &EnvironmentDoc, root: Spot<'_>, report: &mut Reporter<'_>) -> Vec<ProxyEntry> {
    let list = root.key("proxies");
    let agents: Vec<&str> = root.node().get("agents").map_or_else(Vec::new, |agents| agents.written_keys());
    let mut seen: BTreeMap<(Option<&str>, &ProxyName), Mark> = BTreeMap::new();
    let mut found = Vec::new();
    for (index, proxy) in doc.proxies.iter().flatten().enumerate() {
        let spot = list.item(index);
        let mark = spot.key("name").mark();
        if let Some(first) = seen.insert((proxy.agent.as_deref(), &proxy.name), mark) {
            report.error(mark, format!("two proxies are named `{}`", proxy.name)).related(first, "the first is here");
        }
        match &proxy.agent {
            Some(agent) if !agents.contains(&agent.as_str()) => {
                let told = report.error(spot.key("agent").mark(), format!("there is no agent `{agent}`"));
                told.nearest(agent, agents.iter().copied());
            }
            None if agents.len() > 1 => {
                let told = report.error(spot.mark(), "there are several agents: say which one has this proxy");
                told.expected(format!("`agent:` with {}", crate::diagnostic::one_of(&agents)));
            }
            _ => {}
        }
        for (key, address) in [("listen", proxy.listen.as_deref()), ("upstream", Some(proxy.upstream.as_str()))] {
            if address.is_some_and(|address| !is_host_and_port(address)) {
                let message = format!("`{}` is not an address", address.unwrap_or_default());
                report.error(spot.key(key).mark(), message).expected("`HOST:PORT`, such as `127.0.0.1:8080`");
            }
        }
        let listen = proxy.listen.clone().unwrap_or_else(|| "127.0.0.1:0".to_owned());
        let spec = ProxySpec {
            name: proxy.name.clone(),
            listen,
            upstream: proxy.upstream.clone(),
            protocol: proxy.protocol,
            enabled: true,
            listen_tls: proxy.listen_tls.clone(),
            upstream_tls: proxy.upstream_tls.clone(),
            host: proxy.host,
        };
        for (field, message) in spec.mistakes() {
            report.error(spot.key(field).mark(), message);
        }
        found.push(ProxyEntry { agent: proxy.agent.clone(), spec });
    }
    found
}

fn is_host_and_port(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host_is_right = match bare {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => !host.is_empty() && !host.contains(|c: char| c == ':' || c == '/' || c.is_whitespace()),
        };
        host_is_right && port.parse::<u16>().is_ok()
    })
}
