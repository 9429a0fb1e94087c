//! A proxy: a listener between clients and one upstream.
//!
//! Neighbours: `squall-agent` binds and runs them, environments in `squall-engine` name the ones to create.
//! `fault` says which kinds run on which protocol.

use crate::{FaultInfo, LeaseId, ProxyName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `HOST:PORT`, for the JSON Schema; the agent says more exactly what is wrong with one.
const ADDRESS: &str = r"^([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}$";

/// What a proxy speaks. Decides what one unit of `percent` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// A byte stream; a unit is a connection.
    #[default]
    Tcp,
    /// HTTP/1.0 and 1.1; a unit is a request.
    Http,
    /// Datagrams; a unit is a datagram.
    Udp,
}

impl Protocol {
    /// The name in files and requests.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Http => "http",
            Self::Udp => "udp",
        }
    }

    /// Whether it runs over TCP, so that there are connections, and TLS can be ended and started.
    #[must_use]
    pub const fn has_connections(self) -> bool {
        matches!(self, Self::Tcp | Self::Http)
    }
}

impl std::str::FromStr for Protocol {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Tcp, Self::Http, Self::Udp]
            .into_iter()
            .find(|protocol| protocol.name() == text)
            .ok_or_else(|| format!("`{text}` is not a protocol: tcp, http or udp"))
    }
}

impl std::fmt::Display for Protocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// TLS that ends at the proxy: clients speak it, faults see what is inside. Paths are of files on the agent's machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListenTls {
    /// The certificate chain that clients are shown, a PEM file.
    pub cert: String,
    /// Its private key, a PEM file.
    pub key: String,
}

/// TLS that starts at the proxy, towards the upstream. Paths are of files on the agent's machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpstreamTls {
    /// The authorities that are trusted, a PEM file; the machine's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// The client certificate chain that the upstream is shown, a PEM file; goes with `key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert: Option<String>,
    /// The client certificate's private key, a PEM file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The name that the upstream's certificate must have; the upstream's host when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
}

/// What becomes of the `Host` header on its way through an `http` proxy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HostHeader {
    /// As the client wrote it.
    #[default]
    Keep,
    /// The upstream's `HOST:PORT`, for a virtual host that answers to its own name only.
    Upstream,
}

impl HostHeader {
    /// Whether it stays as it is.
    #[must_use]
    pub const fn is_kept(&self) -> bool {
        matches!(self, Self::Keep)
    }
}

/// A proxy as it is asked for: the body of `POST /v1/proxies` and `PUT /v1/proxies/{proxy}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProxySpec {
    /// Unique on its agent.
    pub name: ProxyName,
    /// Where clients connect, `HOST:PORT`; port 0 takes a free one, which the answer names. On `udp`, name the address
    /// that clients send to and not a wildcard, for answers come from it.
    #[serde(default = "any_loopback_port")]
    #[schemars(regex(pattern = ADDRESS))]
    pub listen: String,
    /// Where the traffic goes, `HOST:PORT`. Names are resolved for each connection.
    #[schemars(regex(pattern = ADDRESS))]
    pub upstream: String,
    /// What is spoken.
    #[serde(default)]
    pub protocol: Protocol,
    /// A proxy that is not enabled refuses connections and keeps its name and faults.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// TLS that clients speak and that ends here; plain when absent. Not on `udp`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listen_tls: Option<ListenTls>,
    /// TLS that starts here, towards the upstream; plain when absent. Not on `udp`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream_tls: Option<UpstreamTls>,
    /// What becomes of the `Host` header; on `http` only.
    #[serde(default, skip_serializing_if = "HostHeader::is_kept")]
    pub host: HostHeader,
}

impl ProxySpec {
    /// A proxy of this name on any free loopback port, plain TCP.
    #[must_use]
    pub fn tcp(name: ProxyName, upstream: String) -> Self {
        Self {
            name,
            listen: any_loopback_port(),
            upstream,
            protocol: Protocol::Tcp,
            enabled: true,
            listen_tls: None,
            upstream_tls: None,
            host: HostHeader::Keep,
        }
    }

    /// Every field that does not go with another: its name, and what would be right.
    #[must_use]
    pub fn mistakes(&self) -> Vec<(&'static str, String)> {
        let mut found = Vec::new();
        if !self.protocol.has_connections() {
            for (field, given) in
                [("listen_tls", self.listen_tls.is_some()), ("upstream_tls", self.upstream_tls.is_some())]
            {
                if given {
                    found.push((
                        field,
                        format!("TLS runs over connections, and `{}` has none: leave it out", self.protocol),
                    ));
                }
            }
        }
        if self.protocol != Protocol::Http && !self.host.is_kept() {
            found.push((
                "host",
                "only a proxy with `protocol: http` sees the Host header: leave it out, or set the protocol".into(),
            ));
        }
        if let Some(tls) = &self.upstream_tls
            && tls.cert.is_some() != tls.key.is_some()
        {
            found.push((
                "upstream_tls",
                "a client certificate is `cert` and `key` together: give both or neither".into(),
            ));
        }
        found
    }
}

fn any_loopback_port() -> String {
    "127.0.0.1:0".to_owned()
}

fn yes() -> bool {
    true
}

/// The body of `PATCH /v1/proxies/{proxy}`: what is absent stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProxyPatch {
    /// A new address to listen on; open connections go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = ADDRESS))]
    pub listen: Option<String>,
    /// A new target for connections from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = ADDRESS))]
    pub upstream: Option<String>,
    /// Whether it takes connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
}

/// A proxy as it is: the answer of `GET /v1/proxies/{proxy}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProxyInfo {
    /// Unique on its agent.
    pub name: ProxyName,
    /// The address that is bound.
    pub listen: String,
    /// Where the traffic goes.
    pub upstream: String,
    /// What is spoken.
    pub protocol: Protocol,
    /// Whether it takes connections.
    pub enabled: bool,
    /// TLS that clients speak and that ends here; plain when absent. Not on `udp`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listen_tls: Option<ListenTls>,
    /// TLS that starts here, towards the upstream; plain when absent. Not on `udp`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream_tls: Option<UpstreamTls>,
    /// What becomes of the `Host` header; on `http` only.
    #[serde(default, skip_serializing_if = "HostHeader::is_kept")]
    pub host: HostHeader,
    /// Its faults, in the order in which they apply.
    pub faults: Vec<FaultInfo>,
    /// The lease that holds it, if any.
    pub lease: Option<LeaseId>,
    /// The lease under which it was changed, until it is as it was before; such a lease may have ended.
    #[serde(default)]
    pub changed_under: Option<LeaseId>,
    /// What it has seen since it was made.
    pub counters: ProxyCounters,
}

/// The answer of `GET /v1/proxies`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProxyList {
    /// By name.
    pub proxies: Vec<ProxyInfo>,
}

/// What a proxy has seen since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ProxyCounters {
    /// Connections that are open now. On `udp` a session, one client address, counts as a connection throughout.
    pub open_connections: u64,
    /// Connections accepted.
    pub connections: u64,
    /// Connections on which at least one fault acted.
    pub connections_hit: u64,
    /// Connections that ended with an error: upstream not reached, reset by either side. On `udp` each datagram that
    /// could not be sent or was refused, for a session goes on.
    pub connection_errors: u64,
    /// Requests that came; on `http` only.
    pub requests: u64,
    /// Requests on which at least one fault acted.
    pub requests_hit: u64,
    /// Requests that failed: answered 5xx, whoever said so, refused as no HTTP, or never answered whole.
    pub request_errors: u64,
    /// Bytes delivered from client to server.
    pub bytes_upstream: u64,
    /// Bytes delivered from server to client.
    pub bytes_downstream: u64,
    /// Datagrams sent on from client to server; 0 where there are connections.
    pub datagrams_upstream: u64,
    /// Datagrams sent on from server to client.
    pub datagrams_downstream: u64,
    /// Datagrams for which there was no room, or nobody to take them. Those that a fault throws away are its hits.
    pub datagrams_dropped: u64,
}
