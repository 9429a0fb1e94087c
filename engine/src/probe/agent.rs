//! Reads what a proxy itself saw, from its agent's REST API.
//!
//! What all connections did comes from the proxy's counters; rates are their growth between two readings, restarts of
//! the agent included. What a group of them did, and how long things took, comes from the agent's traffic since the
//! mark of the reading before; where a row compares those hit with those spared, so do all times of both.
//! Neighbours: `squall-agent` answers, `growth` compares, `judge::control` gets the groups.

use super::{AgentAddress, Seen, Unread, growth::Growth};
use crate::{
    experiment::{AgentGroup, AgentRead},
    fetch,
    groups::Group,
};
use reqwest::{Client, StatusCode};
use serde::{Deserialize, de::DeserializeOwned};
use squall_wire::{ErrorBody, Mark, ProxyCounters, ProxyName, ProxyTraffic, Span, TimingInfo, Traffic, TrafficGroup};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::time::Instant;

/// A proxy's description with its faults is a few KiB, its traffic two.
const LONGEST: usize = 1024 * 1024;
const FIRST: &str = "the first reading, from which growth is counted";

pub(super) struct AgentProbe {
    client: Client,
    url: String,
    token: Option<Arc<str>>,
    proxy: ProxyName,
    group: Option<AgentGroup>,
    read: AgentRead,
    /// Whether both groups are wanted with each reading.
    control: bool,
    groups: Option<Groups>,
    growth: Growth<()>,
    /// Where the next reading of the traffic counts from, and when that was.
    mark: Option<(Mark, Instant)>,
}

/// Both groups since the reading before.
pub(super) struct Groups {
    pub(super) since: Instant,
    pub(super) until: Instant,
    pub(super) hit: Group,
    pub(super) spared: Group,
}

/// All that is needed of a proxy's description, so that an agent of another version can be read.
#[derive(Deserialize)]
struct Proxy {
    counters: ProxyCounters,
}

/// What an agent answered, if it answered.
enum Answer<T> {
    Value(u16, T),
    /// It does not remember the mark.
    Forgotten(u16),
}

impl AgentProbe {
    pub(super) fn new(
        client: Client,
        agent: &AgentAddress,
        proxy: &ProxyName,
        group: Option<AgentGroup>,
        read: AgentRead,
        control: bool,
    ) -> Self {
        let url = agent.url.trim_end_matches('/').to_owned();
        let (proxy, token) = (proxy.clone(), agent.token.clone());
        let growth = Growth::default();
        Self { client, url, token, proxy, group, read, control, groups: None, growth, mark: None }
    }

    pub(super) async fn read(&mut self) -> Result<Seen, Unread> {
        self.groups = None;
        let counter = self.group.is_none() && self.read.is_counter();
        if !counter {
            return self.traffic().await;
        }
        if self.control {
            self.traffic().await?;
        }
        self.counters().await
    }

    /// What the last reading saw of both groups, once.
    pub(super) fn take_groups(&mut self) -> Option<Groups> {
        self.groups.take()
    }

    async fn counters(&mut self) -> Result<Seen, Unread> {
        let path = format!("/v1/proxies/{}", self.proxy);
        let Answer::Value(status, Proxy { counters }) = self.get(&path).await? else { return Ok(Seen::default()) };
        let value = self.counter(&counters, Instant::now());
        let text = value.is_none().then(|| FIRST.to_owned());
        Ok(Seen { status: Some(status), value, text, failed: None })
    }

    fn counter(&mut self, counters: &ProxyCounters, now: Instant) -> Option<f64> {
        let counter = match self.read {
            AgentRead::OpenConnections => return Some(counters.open_connections as f64),
            AgentRead::ConnectionsHit => return Some(counters.connections_hit as f64),
            AgentRead::RequestsHit => return Some(counters.requests_hit as f64),
            AgentRead::ConnectionRate => counters.connections,
            AgentRead::ErrorRate => counters.connection_errors,
            AgentRead::RequestRate => counters.requests,
            AgentRead::RequestErrorRate => counters.request_errors,
            AgentRead::UpstreamRate => counters.bytes_upstream,
            AgentRead::DownstreamRate => counters.bytes_downstream,
            AgentRead::UpstreamDatagramRate => counters.datagrams_upstream,
            AgentRead::DownstreamDatagramRate => counters.datagrams_downstream,
            AgentRead::DroppedDatagramRate => counters.datagrams_dropped,
            // No counter has it; see `AgentRead::is_counter`.
            _ => return None,
        };
        self.growth.since_before(now, BTreeMap::from([((), counter as f64)]))?.rate()
    }

    async fn traffic(&mut self) -> Result<Seen, Unread> {
        let since = self.mark.as_ref().map(|(mark, _)| format!("&since={mark}")).unwrap_or_default();
        let times = if self.control { "&times=true" } else { "" };
        let path = format!("/v1/traffic?proxy={}{since}{times}", self.proxy);
        let (status, Traffic { mark, proxies }) = match self.get(&path).await? {
            Answer::Value(status, traffic) => (status, traffic),
            Answer::Forgotten(status) => {
                self.mark = None;
                let text = Some("the agent was restarted or has forgotten the reading before".to_owned());
                return Ok(Seen { status: Some(status), value: None, text, failed: None });
            }
        };
        let now = Instant::now();
        let before = self.mark.replace((mark, now)).map(|(_, at)| at);
        let seen = proxies.iter().find(|seen| seen.proxy == self.proxy);
        let seen = seen.ok_or_else(|| Unread::new(format!("the agent says nothing of proxy `{}`", self.proxy)))?;
        if self.control
            && let Some(since) = before
        {
            let (hit, spared) = (told(&seen.hit, self.read)?, told(&seen.spared, self.read)?);
            self.groups = Some(Groups { since, until: now, hit, spared });
        }
        let seen = group(seen, self.group);
        let value = figure(self.read, seen, before.map(|before| before.elapsed()));
        let why = if before.is_none() { FIRST } else { "nothing of it since the reading before" };
        Ok(Seen { status: Some(status), value, text: value.is_none().then(|| why.to_owned()), failed: None })
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<Answer<T>, Unread> {
        let mut request = self.client.get(format!("{}{path}", self.url));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let response = request.send().await.map_err(fetch::FetchError::from)?;
        let status = response.status();
        let unread = |why: String| Unread { status: Some(status.as_u16()), why };
        let body = fetch::body(response, LONGEST).await.map_err(|error| unread(error.to_string()))?;
        if status == StatusCode::GONE {
            return Ok(Answer::Forgotten(status.as_u16()));
        }
        if !status.is_success() {
            let said = serde_json::from_slice::<ErrorBody>(&body).map(|body| format!(": {}", body.error.message));
            return Err(unread(format!("the agent answered {status}{}", said.unwrap_or_default())));
        }
        let value = serde_json::from_slice(&body).map_err(|error| unread(format!("not an agent's answer: {error}")))?;
        Ok(Answer::Value(status.as_u16(), value))
    }
}

fn group(seen: &ProxyTraffic, group: Option<AgentGroup>) -> &TrafficGroup {
    match group {
        None => &seen.all,
        Some(AgentGroup::Hit) => &seen.hit,
        Some(AgentGroup::Spared) => &seen.spared,
    }
}

/// What a group did, with the times that the reading is about; where it is not about times, those to the first byte.
fn told(group: &TrafficGroup, read: AgentRead) -> Result<Group, Unread> {
    let (ended, errors) = match &group.requests {
        Some(requests) => (requests.ended, requests.errors),
        None => (group.ended, group.errors),
    };
    let timing = match read {
        AgentRead::ConnectP50 | AgentRead::ConnectP90 | AgentRead::ConnectP99 => &group.connect,
        AgentRead::DurationP50 | AgentRead::DurationP90 | AgentRead::DurationP99 => duration(group),
        _ => first_byte(group),
    };
    let times = match &timing.times {
        Some(times) => times.iter().copied().collect(),
        None if timing.count == 0 => BTreeMap::new(),
        None => return Err(Unread::new("the agent does not tell single times: it is older than this squall")),
    };
    Ok(Group { ended, errors, times })
}

/// On an `http` proxy a request's, of which a connection may carry many; else a connection's.
fn first_byte(group: &TrafficGroup) -> &TimingInfo {
    group.requests.as_ref().map_or(&group.first_byte, |requests| &requests.first_byte)
}

/// The same.
fn duration(group: &TrafficGroup) -> &TimingInfo {
    group.requests.as_ref().map_or(&group.duration, |requests| &requests.duration)
}

/// The value that is read: connections, so many a second, a share of 1, or seconds. What is counted since a reading
/// has none at the first.
fn figure(read: AgentRead, seen: &TrafficGroup, over: Option<Duration>) -> Option<f64> {
    let over = match (read, over) {
        (AgentRead::OpenConnections, _) => return Some(seen.open as f64),
        (_, over) => over?.as_secs_f64(),
    };
    let rate = |count: u64| (over > 0.0).then(|| count as f64 / over);
    let seconds = |span: Option<Span>| span.map(|span| span.get().as_secs_f64());
    match read {
        AgentRead::ConnectionRate => rate(seen.ended),
        AgentRead::ErrorRate => rate(seen.errors),
        AgentRead::RequestRate => rate(seen.requests.as_ref()?.ended),
        AgentRead::RequestErrorRate => rate(seen.requests.as_ref()?.errors),
        AgentRead::UpstreamRate => rate(seen.bytes_upstream),
        AgentRead::DownstreamRate => rate(seen.bytes_downstream),
        AgentRead::ErrorRatio => {
            let of_connections = (seen.ended, seen.errors);
            let (ended, errors) = seen.requests.as_ref().map_or(of_connections, |seen| (seen.ended, seen.errors));
            (ended > 0).then(|| errors as f64 / ended as f64)
        }
        AgentRead::ConnectP50 => seconds(seen.connect.p50),
        AgentRead::ConnectP90 => seconds(seen.connect.p90),
        AgentRead::ConnectP99 => seconds(seen.connect.p99),
        AgentRead::FirstByteP50 => seconds(first_byte(seen).p50),
        AgentRead::FirstByteP90 => seconds(first_byte(seen).p90),
        AgentRead::FirstByteP99 => seconds(first_byte(seen).p99),
        AgentRead::DurationP50 => seconds(duration(seen).p50),
        AgentRead::DurationP90 => seconds(duration(seen).p90),
        AgentRead::DurationP99 => seconds(duration(seen).p99),
        // Counters have them; see `AgentRead::is_counter`.
        _ => None,
    }
}
