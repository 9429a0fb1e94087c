//! Stands between clients and an upstream, and hurts the traffic on command.
//!
//! The data plane, read downwards: `proxy` (an address and its faults) → `listener` → `connection` → `link` (one
//! direction) → `pipeline` (the faults that hit it) → `fault` (one file a kind). A fault decides, a link acts:
//! from `pipeline` on everything is pure over values and `now`. `plane` is what all proxies share.
//!
//! Invariant: no call on a proxy waits for a peer, however stalled.

mod budget;
mod connection;
pub mod fault;
mod link;
mod listener;
mod pipeline;
pub mod plane;
pub mod proxy;
mod socket;
mod timer;

pub use fault::ActiveFault;
pub use plane::{DataPlane, PlaneLimits};
pub use proxy::{Proxy, ProxyError, RemovedHits};
