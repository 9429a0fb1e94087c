//! The valid experiment: what a document becomes when nothing in it is wrong. Runners take this and nothing else.
//!
//! Every name in it refers to something in it, every variable is resolved, every tolerance is parsed.
//! Neighbours: `document` is what was written, `validate` makes this of it, `run` carries it out.

mod late;
mod step;
mod traffic;

pub use late::{Inside, Late, LatePiece};
pub use step::{
    Action, AgentsChoice, Answer, CheckStep, Inject, Level, OnFailure, Pause, Ramp, RampExpect, Repeat, Rounds,
    RunExpect, RunStep, Step, Surge, Undo,
};
pub use traffic::{Expect, RequestPlan, TrafficPlan};

use crate::{sample::Metric, tolerance::Tolerance, window::Windows};
use serde::Serialize;
use squall_wire::{Percent, ProxyName};
use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

/// A whole experiment, ready to run.
#[derive(Debug, Clone)]
pub struct Experiment {
    /// Its name: a word for file names and lists.
    pub name: String,
    /// What is believed about the system, in a sentence or two.
    pub hypothesis: String,
    /// Who answers for it.
    pub owner: Option<String>,
    /// For choosing and listing.
    pub tags: Vec<String>,
    /// The file as written, for the journal and the report. Secrets stand in it by reference only.
    pub source: Source,
    /// Resolved variables, secrets left out.
    pub variables: BTreeMap<String, String>,
    /// Resolved secrets: must never be shown.
    pub secrets: Secrets,
    /// Squall's own load.
    pub traffic: Option<TrafficPlan>,
    /// Everything else that is measured, by name.
    pub probes: BTreeMap<String, ProbePlan>,
    /// What must hold.
    pub steady_state: Vec<SteadyRow>,
    /// What is done before the baseline, and taken back after recovery: `run` and `wait` steps.
    pub setup: Vec<Step>,
    /// What is done to the system, in order.
    pub method: Vec<Step>,
    /// What may be touched.
    pub blast_radius: BlastRadius,
    /// When to stop at once.
    pub abort_when: Vec<AbortRow>,
    /// How long the steady state is watched before the first fault.
    pub baseline: Duration,
    /// How the return to normal is judged.
    pub recovery: Recovery,
    /// The agents heal themselves so long after they last heard from the run.
    pub lease: Duration,
    /// When it may run: in every one of these; always when there are none.
    pub windows: Vec<Windows>,
}

/// A file as written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Source {
    /// Its path as given.
    pub path: String,
    /// Its text.
    pub text: String,
}

/// Values that must not reach the journal, a log, a report or the screen. `Debug` shows only how many there are.
#[derive(Clone, Default)]
pub struct Secrets(Vec<Arc<str>>);

impl Secrets {
    /// Adds one; values under four characters are kept secret as well, but never replaced in texts, where they would
    /// blank out ordinary words.
    pub fn add(&mut self, value: &str) {
        if value.len() >= 4 && !self.0.iter().any(|known| &**known == value) {
            // The longest first, or the rest of one that begins with another would be left standing.
            let at = self.0.partition_point(|known| known.len() >= value.len());
            self.0.insert(at, value.into());
        }
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether one of them is in this text.
    #[must_use]
    pub fn is_in(&self, text: &str) -> bool {
        self.0.iter().any(|secret| text.contains(&**secret))
    }

    /// Every one of them in `other`, too.
    pub fn extend(&mut self, other: &Self) {
        other.0.iter().for_each(|secret| self.add(secret));
    }

    /// The text with every secret replaced by `***`.
    #[must_use]
    pub fn redact(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, secret| text.replace(&**secret, "***"))
    }
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secrets({})", self.0.len())
    }
}

/// A probe: what is read, how often, and how long a reading may take.
#[derive(Debug, Clone)]
pub struct ProbePlan {
    /// One reading each so long.
    pub every: Duration,
    /// A reading that takes longer has failed.
    pub timeout: Duration,
    /// What is read.
    pub kind: ProbeKind,
}

/// What a probe reads.
#[derive(Debug, Clone)]
pub enum ProbeKind {
    /// An HTTP answer: its status, its time, a value or text of its body.
    Http {
        /// Where.
        url: String,
        /// How; GET unless said otherwise.
        method: String,
        /// With which headers.
        headers: Vec<(String, String)>,
        /// A JSON path (RFC 9535) whose first result is the sample's text, and its value if it is a number.
        body: Option<serde_json_path::JsonPath>,
    },
    /// Whether a port takes connections; the sample's time is the time to connect.
    Tcp {
        /// Where, `HOST:PORT`.
        address: String,
    },
    /// What a program says.
    Command(CommandPlan),
    /// A value of a Prometheus text endpoint.
    Metrics {
        /// Where.
        url: String,
        /// Which series: `name{label="value",…}`. Several matching series are added up.
        select: Selector,
        /// What is made of it.
        read: MetricsRead,
    },
    /// What a proxy of an agent saw.
    Agent {
        /// The agent; the only one when absent.
        agent: Option<String>,
        /// The proxy.
        proxy: ProxyName,
        /// Of which of its connections; all when absent.
        group: Option<AgentGroup>,
        /// What of it.
        read: AgentRead,
        /// Whether a row compares those hit with those spared, so that each reading brings both groups.
        control: bool,
    },
    /// What a Prometheus server answers to a query.
    Promql(PromqlPlan),
    /// One value of a database.
    Sql(SqlPlan),
}

/// A query that a Prometheus server is asked.
#[derive(Clone, PartialEq, Eq)]
pub struct PromqlPlan {
    /// The server, as its API's clients name it: without `/api/v1`.
    pub url: String,
    /// What is asked: a scalar, or a vector of one element.
    pub query: String,
    /// Headers; `Authorization` where there is a token.
    pub headers: Vec<(String, String)>,
}

/// Headers may be secrets, and are not shown.
impl std::fmt::Debug for PromqlPlan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PromqlPlan").field("query", &self.query).finish_non_exhaustive()
    }
}

/// A value that a database is asked for.
#[derive(Clone, PartialEq, Eq)]
pub struct SqlPlan {
    /// Where, `sqlite:…` or `postgres://…`; it may hold a password.
    pub url: String,
    /// One statement that gives one row of one column.
    pub query: String,
    /// Where the experiment's file is: a relative path of SQLite's is from there.
    pub directory: PathBuf,
}

/// The URL may hold a password, and is not shown.
impl std::fmt::Debug for SqlPlan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqlPlan").field("query", &self.query).finish_non_exhaustive()
    }
}

/// A program that a probe runs.
#[derive(Clone, PartialEq, Eq)]
pub struct CommandPlan {
    /// The program: a path, relative to `directory`, or a name that is looked for along `PATH`.
    pub program: String,
    /// Its arguments, as they are: no shell reads them.
    pub arguments: Vec<String>,
    /// Variables that it is given besides `PATH`, `HOME`, `LANG` and `TMPDIR`.
    pub env: Vec<(String, String)>,
    /// Where it runs: the directory of the experiment's file.
    pub directory: PathBuf,
    /// What is made of it.
    pub read: CommandRead,
}

/// Arguments and variables may be secrets, and are not shown.
impl std::fmt::Debug for CommandPlan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CommandPlan").field("read", &self.read).finish_non_exhaustive()
    }
}

/// What is made of a program's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandRead {
    /// Its exit code; every other than 0 is a failed sample, which has a value all the same.
    ExitCode,
    /// The number that it prints.
    Number,
}

/// Which series of a Prometheus text page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector {
    /// The metric's name.
    pub name: String,
    /// Labels that must be equal, as (name, value).
    pub labels: Vec<(String, String)>,
}

/// What is made of a selected series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MetricsRead {
    /// Its value.
    Value,
    /// Its growth a second since the reading before.
    Rate,
    /// A quantile (0..=1) of a histogram's growth since the reading before, in the histogram's unit.
    Quantile(f64),
}

/// Which connections of a proxy. Both groups are of the same proxy and time, so the one is the other's control.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AgentGroup {
    /// Those on which a fault acted, from when it first did.
    Hit,
    /// Those on which no fault has acted.
    Spared,
}

/// What of a proxy is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AgentRead {
    /// Connections open now.
    OpenConnections,
    /// Connections accepted, a second since the reading before; of a group, those that ended.
    ConnectionRate,
    /// Connections on which a fault acted, since the proxy was made.
    ConnectionsHit,
    /// Connections that ended with an error, a second since the reading before.
    ErrorRate,
    /// Requests that came, a second since the reading before; of a group, those that ended. On `http` only.
    RequestRate,
    /// Requests on which a fault acted, since the proxy was made.
    RequestsHit,
    /// Requests that were answered 5xx, refused or never answered whole, a second since the reading before.
    RequestErrorRate,
    /// Bytes from client to server, a second since the reading before.
    UpstreamRate,
    /// Bytes from server to client, a second since the reading before.
    DownstreamRate,
    /// Datagrams from client to server, a second since the reading before.
    UpstreamDatagramRate,
    /// Datagrams from server to client, a second since the reading before.
    DownstreamDatagramRate,
    /// Datagrams for which a `udp` proxy had no room, a second since the reading before.
    DroppedDatagramRate,
    /// The share of the connections that ended since the reading before that ended with an error; on `http` of the requests.
    ErrorRatio,
    /// How long reaching the upstream took since the reading before, the median.
    ConnectP50,
    /// The same, 90 % of them.
    ConnectP90,
    /// The same, 99 % of them.
    ConnectP99,
    /// From the client's first byte to the first that it got, since the reading before, the median; on `http` from a
    /// request's head to the first byte of its response.
    FirstByteP50,
    /// The same, 90 % of them.
    FirstByteP90,
    /// The same, 99 % of them.
    FirstByteP99,
    /// How long connections lasted that ended since the reading before, the median; on `http` how long requests took.
    DurationP50,
    /// The same, 90 % of them.
    DurationP90,
    /// The same, 99 % of them.
    DurationP99,
}

impl AgentRead {
    /// Whether the proxy's own counters have it.
    pub(crate) const fn is_counter(self) -> bool {
        self.is_whole()
            || matches!(
                self,
                Self::OpenConnections
                    | Self::ConnectionRate
                    | Self::ErrorRate
                    | Self::RequestRate
                    | Self::RequestErrorRate
                    | Self::UpstreamRate
                    | Self::DownstreamRate
            )
    }

    /// Whether it is of the whole proxy, and of no group of its connections.
    pub(crate) const fn is_whole(self) -> bool {
        matches!(
            self,
            Self::ConnectionsHit
                | Self::RequestsHit
                | Self::UpstreamDatagramRate
                | Self::DownstreamDatagramRate
                | Self::DroppedDatagramRate
        )
    }
}

/// A row of the steady state: a probe and what must hold of it, when.
#[derive(Debug, Clone)]
pub struct SteadyRow {
    /// The series: a probe's name, `traffic`, or `traffic.REQUEST`.
    pub probe: String,
    /// What must hold; at least one.
    pub checks: Vec<Check>,
    /// When; at least one.
    pub when: Vec<When>,
    /// Fewer samples than this are no conclusion.
    pub min_samples: Option<usize>,
    /// It is broken only when it is out of tolerance for so long without a break; none: at once.
    pub lasting: Option<Duration>,
}

/// One metric against one tolerance.
#[derive(Debug, Clone)]
pub struct Check {
    /// What is measured.
    pub metric: Metric,
    /// What it is held against.
    pub tolerance: Tolerance,
    /// Of a burn rate, over which windows; of every other metric none.
    pub burn: Option<Burn>,
}

impl Check {
    /// A metric against a tolerance; not for a burn rate, which has more to it.
    #[must_use]
    pub const fn new(metric: Metric, tolerance: Tolerance) -> Self {
        Self { metric, tolerance, burn: None }
    }
}

/// What a burn rate is of: an objective, and the two windows that must both burn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Burn {
    /// The share of samples that shall succeed, above 0 and below 1.
    pub objective: f64,
    /// The long window: enough has burnt to matter.
    pub long: Duration,
    /// The short one: it still burns.
    pub short: Duration,
}

impl Burn {
    /// `of 99.9% over 30s and 5s`.
    #[must_use]
    pub fn shown(&self) -> String {
        let Self { objective, long, short } = self;
        // Rounded where floating point would show more digits than were written.
        let percent = (objective * 1e10).round() / 1e8;
        format!("of {percent}% over {} and {}", squall_wire::Span::from(*long), squall_wire::Span::from(*short))
    }
}

/// When a row of the steady state must hold.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum When {
    /// Over the baseline.
    Before,
    /// From the first fault to the confirmation that the last is gone.
    During,
    /// At the end of recovery, over its `hold`.
    After,
}

/// A condition that ends the run at once.
#[derive(Debug, Clone)]
pub enum AbortRow {
    /// Every check is met over a sliding window of this length: ratios, rates and percentiles over the window, and
    /// `status`, `value`, `body` by each sample in it.
    Breach {
        /// The series.
        probe: String,
        /// What must all be met for the abort.
        checks: Vec<Check>,
        /// The window; zero where only burn rates are watched, which have their own.
        lasting: Duration,
    },
    /// Some series has given no sample for so long.
    Silent(Duration),
}

/// What may be touched; checked before anything is.
#[derive(Debug, Clone, PartialEq)]
pub struct BlastRadius {
    /// The only proxies that may be named.
    pub proxies: Vec<ProxyName>,
    /// The largest share of units that may be hit.
    pub percent: Percent,
    /// The largest share of the environment's agents that may be touched.
    pub agents_percent: Percent,
    /// The longest that the whole method may take.
    pub duration: Duration,
}

/// How the return to normal is judged, after the faults are confirmed gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Recovery {
    /// It must be back to normal within so long …
    pub within: Duration,
    /// … and stay so for this long, which is the window that is judged.
    pub hold: Duration,
}
