//! Who is measured: the ways from a client to a server, each with the same client and the same server.
//!
//! `lab` has the list and lays the lines. Another proxy (HAProxy, nginx, Toxiproxy) is one more variant here, with how
//! to lead a way to an upstream in [`Contestant::lead`]; the measurements stay as they are.
//!
//! Invariant: the first contestant is direct, and everything is compared with it.

use crate::{agent_process::AgentProcess, api::Api, error::BenchError};
use squall_wire::{FaultKind, FaultSpec, ProxyName, ProxySpec, fault::Direction};
use std::net::SocketAddr;
use tokio::runtime::Runtime;

/// One way from client to server.
pub(crate) enum Contestant {
    /// No proxy: the client connects to the server.
    Direct,
    /// Through a Squall agent.
    Squall(AgentProcess),
}

/// Where clients connect to reach an upstream.
pub(crate) struct Way {
    /// The address for clients.
    pub(crate) address: SocketAddr,
    /// The proxy in between, where there is one of ours.
    pub(crate) proxy: Option<ProxyName>,
}

impl Contestant {
    /// The name in table and JSON.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Squall(_) => "squall",
        }
    }

    /// The agent, where faults can be set.
    pub(crate) fn agent(&self) -> Option<&AgentProcess> {
        match self {
            Self::Direct => None,
            Self::Squall(agent) => Some(agent),
        }
    }

    /// The API of the agent, where there is one.
    pub(crate) fn api<'a>(&self, runtime: &'a Runtime) -> Option<Api<'a>> {
        self.agent().map(|agent| Api { runtime, address: agent.api() })
    }

    /// Leads a way to this upstream.
    pub(crate) fn lead(&self, runtime: &Runtime, upstream: SocketAddr) -> Result<Way, BenchError> {
        let Some(api) = self.api(runtime) else { return Ok(Way { address: upstream, proxy: None }) };
        // One way at a time is open on each agent, so the name is free.
        let name: ProxyName = parsed("bench")?;
        let spec = ProxySpec::tcp(name.clone(), upstream.to_string());
        let address = parsed(&api.create_proxy(&spec)?.listen)?;
        Ok(Way { address, proxy: Some(name) })
    }

    /// Sets a fault in both directions, where faults can be set.
    pub(crate) fn hurt(&self, runtime: &Runtime, way: &Way, fault: FaultKind) -> Result<(), BenchError> {
        if let (Some(api), Some(proxy)) = (self.api(runtime), &way.proxy) {
            api.set_fault(proxy, &FaultSpec { direction: Some(Direction::Both), ..FaultSpec::of(fault) })?;
        }
        Ok(())
    }

    /// Takes the way up again.
    pub(crate) fn close(&self, runtime: &Runtime, way: &Way) -> Result<(), BenchError> {
        match (self.api(runtime), &way.proxy) {
            (Some(api), Some(proxy)) => api.delete_proxy(proxy),
            _ => Ok(()),
        }
    }
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, BenchError> {
    text.parse()
        .map_err(|error: T::Err| BenchError::Agent { what: format!("give us `{text}`"), why: error.to_string() })
}
