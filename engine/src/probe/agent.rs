//! Reads what a proxy itself saw, from its agent's REST API.
//!
//! Counts are as the agent has them; rates are their growth between two readings, restarts of the agent included.
//! Neighbours: `squall-agent` answers, `growth` compares.

use super::{AgentAddress, Seen, Unread, growth::Growth};
use crate::{experiment::AgentRead, fetch};
use reqwest::Client;
use serde::Deserialize;
use squall_wire::{ErrorBody, ProxyCounters, ProxyName};
use std::{collections::BTreeMap, sync::Arc};
use tokio::time::Instant;

/// A proxy's description with its faults is a few KiB.
const LONGEST: usize = 1024 * 1024;

pub(super) struct AgentProbe {
    client: Client,
    url: String,
    token: Option<Arc<str>>,
    read: AgentRead,
    growth: Growth<()>,
}

/// All that is needed of a proxy's description, so that an agent of another version can be read.
#[derive(Deserialize)]
struct Proxy {
    counters: ProxyCounters,
}

impl AgentProbe {
    pub(super) fn new(client: Client, agent: &AgentAddress, proxy: &ProxyName, read: AgentRead) -> Self {
        let url = format!("{}/v1/proxies/{proxy}", agent.url.trim_end_matches('/'));
        Self { client, url, token: agent.token.clone(), read, growth: Growth::default() }
    }

    pub(super) async fn read(&mut self) -> Result<Seen, Unread> {
        let mut request = self.client.get(&self.url);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let response = request.send().await.map_err(fetch::FetchError::from)?;
        let status = response.status();
        let unread = |why: String| Unread { status: Some(status.as_u16()), why };
        let body = fetch::body(response, LONGEST).await.map_err(|error| unread(error.to_string()))?;
        if !status.is_success() {
            let said = serde_json::from_slice::<ErrorBody>(&body).map(|body| format!(": {}", body.error.message));
            return Err(unread(format!("the agent answered {status}{}", said.unwrap_or_default())));
        }
        let proxy: Proxy =
            serde_json::from_slice(&body).map_err(|error| unread(format!("not an agent's answer: {error}")))?;
        let value = self.figure(&proxy.counters, Instant::now());
        let text = value.is_none().then(|| "the first reading, from which growth is counted".to_owned());
        Ok(Seen { status: Some(status.as_u16()), value, text, failed: None })
    }

    fn figure(&mut self, counters: &ProxyCounters, now: Instant) -> Option<f64> {
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
        };
        self.growth.since_before(now, BTreeMap::from([((), counter as f64)]))?.rate()
    }
}
