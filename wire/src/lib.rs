//! What crosses between agent and control: proxies, faults, leases, events, quantities and errors.
//!
//! Everything here is a value. Nothing here does I/O, so the agent, the runner and the tests share one
//! definition of each thing, and its YAML form, its JSON form and its form in the journal are one and the same.
//! Neighbours: `squall-agent` serves these shapes over REST, `squall-engine` reads them from experiments.
//!
//! Invariant: a value of a type in this crate is valid on its own; what depends on other values
//! (does the proxy exist, is the lease alive) is the agent's to judge.

pub mod agent;
pub mod error;
pub mod event;
pub mod fault;
pub mod halt;
pub mod lease;
pub mod mark;
pub mod name;
pub mod nearest;
pub mod proxy;
pub mod quantity;
pub mod schema;
pub mod traffic;

pub use agent::{AgentInfo, Healed, Health, PolicyInfo, RemovedFault, UpstreamsInfo};
pub use error::{ErrorBody, ErrorCode, ErrorDetail};
pub use event::{Event, EventKind, EventsLost};
pub use fault::{Direction, FaultInfo, FaultKind, FaultList, FaultPatch, FaultSpec, Where};
pub use halt::{Halt, HaltInfo, HaltRequest};
pub use lease::{Lease, LeaseList, LeaseRenewal, LeaseRequest};
pub use mark::Mark;
pub use name::{FaultName, LeaseId, ProxyName};
pub use proxy::{Protocol, ProxyCounters, ProxyInfo, ProxyList, ProxyPatch, ProxySpec};
pub use quantity::{ByteRate, ByteSize, Percent, Span, SpanOrForever};
pub use traffic::{ProxyTraffic, RequestGroup, TimingInfo, Traffic, TrafficGroup};
