//! Probes: what is read from the system beside the traffic, each on its own clock.
//!
//! ```text
//! every `every`: http | tcp | metrics | promql | sql | command | agent ─▶ Seen or Unread ─▶ Sample ─▶ recorder
//! ```
//!
//! One reading at a time: turns that fall due while one is under way are left out, and the next is on the clock
//! again. A reading that fails, or is not there after `timeout`, is a sample that failed. The first reading of a
//! rate or a quantile is one that succeeded and has no value yet. Every reading makes a new connection, as load
//! balancers do, so that one that can no longer be made is noticed; `sql` alone keeps one, as services do. Redirects are an answer and not followed.
//! Neighbours: `run` spawns one `watch` a probe, the `recorder` takes the samples.
//! Invariant: no secret is in a sample's text.

mod agent;
mod command;
mod growth;
mod http;
mod metrics;
pub(crate) mod prom;
mod promql;
mod sql;
mod tcp;

pub(crate) use command::CommandProbe;
pub(crate) use sql::check_url as sql_url;

use crate::{
    agent_tls::AgentTls,
    experiment::{ProbeKind, ProbePlan, Secrets},
    fetch::{FetchError, shortened},
    groups::GroupReading,
    recorder::{Recorder, SeriesId},
    sample::Sample,
};
use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Where an agent is, for probes that read what it saw.
#[derive(Clone)]
pub struct AgentAddress {
    /// Its address, `http://HOST:PORT`.
    pub url: String,
    /// A bearer token, if it wants one.
    pub token: Option<Arc<str>>,
    /// How to speak TLS with it.
    pub tls: AgentTls,
}

impl fmt::Debug for AgentAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentAddress").field("url", &self.url).finish_non_exhaustive()
    }
}

/// What a reading gave.
#[derive(Debug, Clone, Default, PartialEq)]
struct Seen {
    status: Option<u16>,
    value: Option<f64>,
    text: Option<String>,
    /// Why it counts as failed, although it was read.
    failed: Option<String>,
}

/// Why a reading gave nothing.
#[derive(Debug, Clone, PartialEq)]
struct Unread {
    status: Option<u16>,
    why: String,
}

impl Unread {
    fn new(why: impl Into<String>) -> Self {
        Self { status: None, why: why.into() }
    }
}

impl From<FetchError> for Unread {
    fn from(error: FetchError) -> Self {
        Self::new(error.to_string())
    }
}

/// Reads the probe on its clock until `stop`, and pushes each reading to the series of its name, its text without
/// these secrets. A reading under way at the stop is dropped without a sample.
///
/// # Panics
/// Without a TLS provider installed for the process, which `main` does first.
pub async fn watch(
    name: String,
    plan: ProbePlan,
    agents: Arc<BTreeMap<String, AgentAddress>>,
    secrets: Secrets,
    recorder: Arc<Recorder>,
    stop: CancellationToken,
) {
    let Some(series) = recorder.series(&name) else {
        tracing::error!(probe = name, "the recorder has no series for this probe, so it is not read");
        return;
    };
    let mut source = Source::new(&plan, &agents);
    let start = Instant::now();
    let mut due = start;
    loop {
        let turn = async {
            tokio::time::sleep_until(due).await;
            read(&mut source, plan.timeout, &secrets, series, &recorder).await
        };
        let sample = tokio::select! {
            () = stop.cancelled() => return,
            sample = turn => sample,
        };
        recorder.push(series, sample);
        due = next_due(start, plan.every, due, Instant::now());
    }
}

/// One reading. Its time counts from when it really began: a probe is no load, whose lateness would matter.
async fn read(
    source: &mut Source,
    timeout: Duration,
    secrets: &Secrets,
    series: SeriesId,
    recorder: &Recorder,
) -> Sample {
    let at = recorder.now();
    let _started = recorder.under_way().start(at);
    let reading = tokio::time::timeout(timeout, source.read()).await;
    let took = recorder.now().saturating_sub(at);
    if let Some(agent::Groups { since, until, hit, spared }) = source.groups() {
        let time = |instant: Instant| instant.saturating_duration_since(recorder.started());
        recorder.push_groups(series, GroupReading { from: time(since), to: time(until), hit, spared });
    }
    // Before it is shortened: half a secret would not be found any more.
    let text = |text: String| Arc::from(shortened(&secrets.redact(&text)));
    match reading.unwrap_or_else(|_| Err(FetchError::TimedOut(timeout).into())) {
        Ok(Seen { status, value, text: seen, failed }) => {
            Sample { at, took, ok: failed.is_none(), status, value, text: failed.or(seen).map(text) }
        }
        Err(Unread { status, why }) => Sample { at, took, ok: false, status, value: None, text: Some(text(why)) },
    }
}

/// The first turn of the clock after both the one that was due last and now.
fn next_due(start: Instant, every: Duration, last: Instant, now: Instant) -> Instant {
    let next = last + every;
    if next > now || every.is_zero() {
        return next;
    }
    let into_turn = (now - start).as_nanos() % every.as_nanos();
    // Less than `every`, which came from a u64 of nanoseconds in all but centuries.
    now + every - Duration::from_nanos(u64::try_from(into_turn).unwrap_or(u64::MAX)).min(every)
}

enum Source {
    Http(http::HttpProbe),
    Tcp(tcp::TcpProbe),
    Command(command::CommandProbe),
    Metrics(metrics::MetricsProbe),
    Promql(promql::PromqlProbe),
    Sql(Box<sql::SqlProbe>),
    Agent(agent::AgentProbe),
    /// It can't be read at all, and says so each time.
    Unreadable(Unread),
}

impl Source {
    fn new(plan: &ProbePlan, agents: &BTreeMap<String, AgentAddress>) -> Self {
        Self::open(&plan.kind, plan.timeout, agents).unwrap_or_else(Self::Unreadable)
    }

    fn open(kind: &ProbeKind, timeout: Duration, agents: &BTreeMap<String, AgentAddress>) -> Result<Self, Unread> {
        let client = crate::fetch::client(0)?;
        Ok(match kind {
            ProbeKind::Http { url, method, headers, body } => {
                Self::Http(http::HttpProbe::new(client, url, method, headers, body.clone())?)
            }
            ProbeKind::Tcp { address } => Self::Tcp(tcp::TcpProbe::new(address)),
            ProbeKind::Command(plan) => Self::Command(command::CommandProbe::new(plan)),
            ProbeKind::Metrics { url, select, read } => {
                Self::Metrics(metrics::MetricsProbe::new(client, url, select.clone(), *read))
            }
            ProbeKind::Promql(plan) => Self::Promql(promql::PromqlProbe::new(client, plan, timeout)?),
            ProbeKind::Sql(plan) => Self::Sql(Box::new(sql::SqlProbe::new(plan, timeout)?)),
            ProbeKind::Agent { agent, proxy, group, read, control } => {
                let agent = address(agent.as_deref(), agents)?;
                let client = crate::fetch::agent_client(&agent.tls)?;
                Self::Agent(agent::AgentProbe::new(client, agent, proxy, *group, *read, *control))
            }
        })
    }

    async fn read(&mut self) -> Result<Seen, Unread> {
        match self {
            Self::Http(probe) => probe.read().await,
            Self::Tcp(probe) => probe.read().await,
            Self::Command(probe) => probe.read().await,
            Self::Metrics(probe) => probe.read().await,
            Self::Promql(probe) => probe.read().await,
            Self::Sql(probe) => probe.read().await,
            Self::Agent(probe) => probe.read().await,
            Self::Unreadable(why) => Err(why.clone()),
        }
    }

    /// What the last reading saw of those hit and those spared, if it looked for them.
    fn groups(&mut self) -> Option<agent::Groups> {
        if let Self::Agent(probe) = self { probe.take_groups() } else { None }
    }
}

fn address<'a>(name: Option<&str>, agents: &'a BTreeMap<String, AgentAddress>) -> Result<&'a AgentAddress, Unread> {
    match name {
        Some(name) => agents.get(name).ok_or_else(|| Unread::new(format!("there is no agent `{name}` in this run"))),
        None if agents.len() == 1 => agents.values().next().ok_or_else(|| Unread::new("there is no agent")),
        None => Err(Unread::new(format!("there are {} agents: name one with `agent:`", agents.len()))),
    }
}

#[cfg(test)]
mod tests {
    use super::next_due;
    use std::time::Duration;
    use tokio::time::Instant;

    #[test]
    fn a_slow_reading_neither_shifts_the_clock_nor_piles_up_turns() {
        let start = Instant::now();
        let at = |millis: u64| start + Duration::from_millis(millis);
        let every = Duration::from_millis(100);
        let next = |last, now| (next_due(start, every, at(last), at(now)) - start).as_millis();
        assert_eq!(next(0, 5), 100);
        assert_eq!(next(100, 199), 200);
        assert_eq!(next(100, 200), 300);
        assert_eq!(next(100, 1234), 1300);
    }
}
