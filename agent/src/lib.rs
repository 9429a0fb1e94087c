//! Stands between clients and an upstream, and hurts the traffic on command.
//!
//! The data plane, read downwards: `proxy` (an address and its faults) → `listener` → `connection` → `link` (one
//! direction) → `pipeline` (the faults that hit it) → `fault` (one file a kind). A fault decides, a link acts:
//! from `pipeline` on everything is pure over values and `now`. `plane` is what all proxies share.
//!
//! `udp` is the same for datagrams: a door, sessions, lines.
//!
//! The control plane, read downwards: `agent` (bind, run, drain) → `api` (REST) → `registry` (the one writer of
//! proxies, faults and leases) → `lease`, `state`, `events`. `access` says who may, `policy` what nobody may.
//! `config` is what all of it is told at the start.
//!
//! Invariant: no call on a proxy waits for a peer, however stalled.

pub mod access;
mod address;
mod agent;
mod api;
mod arrival;
mod budget;
pub mod config;
pub mod config_file;
mod connection;
pub mod events;
pub mod fault;
mod http;
#[doc(hidden)]
pub mod inside;
pub mod intercept;
mod lease;
mod link;
mod listener;
mod metrics;
mod pipeline;
pub mod plane;
pub mod policy;
pub mod proxy;
mod reach;
mod registry;
mod sampler;
mod sieve;
mod slots;
mod socket;
mod splice;
pub mod state;
mod stream;
mod throttle;
mod timer;
mod tls;
mod toxiproxy;
mod traffic;
mod udp;

pub use agent::{Agent, AgentError, Reloader};
pub use config::AgentConfig;
pub use fault::ActiveFault;
pub use plane::{DataPlane, PlaneLimits};
pub use proxy::{Proxy, ProxyError, RemovedHits};
pub use tls::TlsMistake;
pub use toxiproxy::{ProxyInput, ToxicInput};
