//! What is measured, as it is written: the load and the probes.

use super::{OneOrMore, RequestRate, Text};
use crate::experiment::{AgentGroup, AgentRead};
use schemars::JsonSchema;
use serde::Deserialize;
use squall_wire::{ProxyName, Span};
use std::collections::BTreeMap;

/// Squall's own load. Open-loop: requests start on schedule whether or not earlier ones have come back.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrafficDoc {
    /// Requests a second, all together.
    #[schemars(required)]
    pub rate: Option<RequestRate>,
    /// Connections at most; a request that finds none free waits, and the wait counts. 64 when absent.
    #[schemars(range(min = 1, max = 10000))]
    pub clients: Option<u64>,
    /// A request that takes longer has failed; 5s when absent.
    pub timeout: Option<Span>,
    /// What is sent, chosen by weight.
    #[schemars(required, length(min = 1))]
    pub requests: Option<Vec<RequestDoc>>,
}

/// One kind of request in the load, measured as `traffic.NAME`. Exactly one of `get`, `post`, `put`, `patch`, `delete`
/// and `head` is its URL. URL, headers and body may hold `{{ random(1, 500) }}`, `{{ uuid() }}`, `{{ now() }}` and
/// `{{ counter() }}`, evaluated for each request.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RequestDoc {
    /// Its name, unique in the load.
    #[schemars(required)]
    pub name: Option<String>,
    /// How often it is chosen, against the others; 1 when absent.
    #[schemars(range(min = 1))]
    pub weight: Option<u32>,
    /// The URL to GET.
    pub get: Option<String>,
    /// The URL to POST to.
    pub post: Option<String>,
    /// The URL to PUT to.
    pub put: Option<String>,
    /// The URL to PATCH.
    pub patch: Option<String>,
    /// The URL to DELETE.
    pub delete: Option<String>,
    /// The URL to ask for its HEAD.
    pub head: Option<String>,
    /// Headers by name.
    pub headers: Option<BTreeMap<String, Text>>,
    /// A body that is sent as JSON, with its content type unless `headers` give one.
    pub json: Option<serde_json::Value>,
    /// A body that is sent as it is.
    pub body: Option<Text>,
    /// What counts as success; every status below 400 when absent.
    pub expect: Option<ExpectDoc>,
}

impl RequestDoc {
    /// The URL keys: the method of each, its key and its value.
    #[must_use]
    pub fn targets(&self) -> [(&'static str, &'static str, Option<&str>); 6] {
        [
            ("GET", "get", self.get.as_deref()),
            ("POST", "post", self.post.as_deref()),
            ("PUT", "put", self.put.as_deref()),
            ("PATCH", "patch", self.patch.as_deref()),
            ("DELETE", "delete", self.delete.as_deref()),
            ("HEAD", "head", self.head.as_deref()),
        ]
    }
}

/// What counts as a successful answer.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExpectDoc {
    /// The status, or a list of them; every status below 400 when absent.
    pub status: Option<OneOrMore<u16>>,
    /// A text that the body must contain.
    pub body_contains: Option<Text>,
}

/// A probe: what is read, how often, and how long a reading may take. Exactly one of `http`, `tcp`,
/// `metrics`, `promql`, `sql`, `command` and `agent`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProbeDoc {
    /// An HTTP answer: its status, its time, a value or text of its body.
    pub http: Option<HttpProbeDoc>,
    /// Whether a port takes connections, and how long one takes to be made.
    pub tcp: Option<TcpProbeDoc>,
    /// A value of a Prometheus text endpoint.
    pub metrics: Option<MetricsProbeDoc>,
    /// What a Prometheus server answers to a query.
    pub promql: Option<PromqlProbeDoc>,
    /// One value of a database.
    pub sql: Option<SqlProbeDoc>,
    /// What a program says: its exit code, or a number that it prints.
    pub command: Option<CommandProbeDoc>,
    /// What a proxy itself saw.
    pub agent: Option<AgentProbeDoc>,
    /// One reading each so long; 1s when absent, 10ms at least.
    pub every: Option<Span>,
    /// A reading that takes longer has failed; `every`, but at most 1s, when absent.
    pub timeout: Option<Span>,
}

/// Reads an HTTP answer.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpProbeDoc {
    /// Where.
    #[schemars(required)]
    pub url: Option<String>,
    /// GET when absent.
    #[schemars(extend("enum" = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]))]
    pub method: Option<String>,
    /// Headers by name.
    pub headers: Option<BTreeMap<String, Text>>,
    /// A JSON path (RFC 9535), `$.status`, whose first result is the probe's `body`, and its `value` if it is a number.
    pub body: Option<String>,
}

/// Reads whether a port takes connections: a sample is `ok` when one was made, and its time is the time that took.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TcpProbeDoc {
    /// Where, `HOST:PORT`.
    #[schemars(required)]
    pub address: Option<String>,
}

/// Runs a program, without a shell, in the directory of this file. At the probe's time-out it is killed, with all that it
/// has started.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CommandProbeDoc {
    /// The program and its arguments: `[pg_isready, -q]`. A program with a `/` is relative to this file.
    #[schemars(required, length(min = 1))]
    pub run: Option<Vec<Text>>,
    /// What is read; `exit_code` when absent.
    pub read: Option<CommandReadDoc>,
    /// Variables by name, besides `PATH`, `HOME`, `LANG` and `TMPDIR`: it finds no others. The place for secrets.
    pub env: Option<BTreeMap<String, Text>>,
}

/// What is made of a program's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CommandReadDoc {
    /// Its exit code as `value`; every other than 0 is a failed sample.
    ExitCode,
    /// The number that it prints to stdout as `value`; another exit code than 0 is a failed sample without one.
    Number,
}

/// Reads a Prometheus text endpoint. At most one of `rate` and `quantile`; the value as it is when both are absent.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MetricsProbeDoc {
    /// Where.
    #[schemars(required)]
    pub url: Option<String>,
    /// Which series: `name` or `name{label="value"}`. Several that match are added up.
    #[schemars(required)]
    pub select: Option<String>,
    /// Its growth a second since the reading before.
    pub rate: Option<bool>,
    /// This quantile, from 0 to 1, of a histogram's growth since the reading before.
    #[schemars(range(min = 0, max = 1))]
    pub quantile: Option<f64>,
}

/// Asks a Prometheus server, or one that speaks its API, by an instant query: a scalar, or a vector of one element. No element,
/// several of them and `NaN` are failed samples.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PromqlProbeDoc {
    /// The server, `http://prometheus:9090`, with what stands before `/api/v1` where there is more.
    #[schemars(required)]
    pub url: Option<String>,
    /// What is asked: `sum(rate(http_requests_total{code=~"5.."}[30s]))`.
    #[schemars(required)]
    pub query: Option<Text>,
    /// Headers by name.
    pub headers: Option<BTreeMap<String, Text>>,
    /// A bearer token: `"${env:PROMETHEUS_TOKEN}"`.
    pub token: Option<Text>,
}

/// Asks a database for one value, without changing anything: one row of one column, which is not null. A number is the
/// probe's `value`, and every value its `body`. At the probe's time-out the statement is cancelled.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SqlProbeDoc {
    /// `postgres://USER:PASSWORD@HOST/DATABASE`, or `sqlite:PATH`, relative to this file. What it holds is kept secret.
    #[schemars(required)]
    pub url: Option<Text>,
    /// One statement: `select count(*) from orders where state = 'stuck'`.
    #[schemars(required)]
    pub query: Option<Text>,
}

/// Reads what a proxy of an agent saw.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentProbeDoc {
    /// The agent; the only one when absent.
    #[serde(default)]
    pub agent: Option<String>,
    /// The proxy.
    pub proxy: ProxyName,
    /// Of which of its connections: those that a fault hit, or those that it spared, which are their control group.
    /// All when absent.
    #[serde(default)]
    pub group: Option<AgentGroup>,
    /// What of it: a number of connections, a rate a second, a share, or a time in seconds.
    pub read: AgentRead,
}
