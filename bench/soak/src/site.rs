//! What is soaked: the agent, its proxies, and the servers behind them.
//!
//! `load` and `chaos` share it. A proxy may move to another port, or be remade, at any time; the address that clients
//! use is in [`Place`]. Invariant: a proxy keeps its name and protocol for the whole soak.

use crate::{Cli, agent::Agent, error::SoakError, upstreams::Upstream};
use parking_lot::Mutex;
use reqwest::Method;
use serde_json::{Value, json};
use squall_wire::Protocol;
use std::{net::SocketAddr, sync::Arc, time::Duration};

/// Proxies of each protocol: few enough that faults meet traffic, several so that leases and faults overlap.
const EACH: usize = 3;

/// One proxy.
pub(crate) struct Place {
    pub(crate) name: String,
    pub(crate) protocol: Protocol,
    pub(crate) upstream: SocketAddr,
    address: Mutex<SocketAddr>,
    /// No fault is set here that changes what passes, so all that comes back must be a beginning of what was sent.
    pub(crate) exact: bool,
}

impl Place {
    pub(crate) fn address(&self) -> SocketAddr {
        *self.address.lock()
    }

    /// Follows the proxy to where the agent says that it listens.
    pub(crate) fn follow(&self, info: &Value) {
        if let Some(address) = info["listen"].as_str().and_then(|text| text.parse().ok()) {
            *self.address.lock() = address;
        }
    }

    pub(crate) fn specification(&self) -> Value {
        json!({
            "name": self.name,
            "listen": "127.0.0.1:0",
            "upstream": self.upstream.to_string(),
            "protocol": self.protocol.name(),
        })
    }

    pub(crate) fn path(&self) -> String {
        format!("/v1/proxies/{}", self.name)
    }
}

/// The whole of it.
pub(crate) struct Site {
    pub(crate) agent: Agent,
    pub(crate) places: Vec<Arc<Place>>,
    _upstreams: Vec<Upstream>,
}

impl Site {
    /// Starts everything.
    pub(crate) async fn open(cli: &Cli) -> Result<Self, SoakError> {
        let agent = Agent::start(cli.agent.as_deref()).await?;
        let (mut places, mut upstreams) = (Vec::new(), Vec::new());
        for protocol in &cli.protocols {
            let upstream = Upstream::start(*protocol).await?;
            for number in 1..=EACH {
                let place = Place {
                    name: format!("{protocol}-{number}"),
                    protocol: *protocol,
                    upstream: upstream.address,
                    address: Mutex::new(upstream.address),
                    exact: number == 1,
                };
                place.follow(&agent.must(Method::POST, "/v1/proxies", Some(&place.specification())).await?);
                places.push(Arc::new(place));
            }
            upstreams.push(upstream);
        }
        Ok(Self { agent, places, _upstreams: upstreams })
    }

    pub(crate) fn size(&self) -> usize {
        self.places.len()
    }

    /// Ends the agent, which must end in order.
    pub(crate) async fn close(self, limit: Duration) -> Result<(), SoakError> {
        match self.agent.end(limit).await? {
            Some(0) => Ok(()),
            code => Err(SoakError::new("end the agent in order", format!("its exit code was {code:?}"))),
        }
    }
}
