//! What the agent measures of what it passes: for each proxy, the connections that faults hit and those they spared.
//!
//! ```text
//! link ──bytes──▶ Meter (one connection) ──settled──▶ Tally (one proxy: spared, hit) ──snapshot──▶ Marks ──▶ /v1/traffic
//! ```
//! A connection belongs to those spared until a fault first acts on it, and to those hit from then on: what it did
//! before is not the fault's doing. So counts only go up, and two snapshots can be subtracted. On an `http` proxy requests
//! are counted in the same way beside the connections: `http/count` ──▶ `requests`.
//! Neighbours: `proxy` has a meter for each connection and a tally for itself; `api::traffic` answers.
//!
//! Invariant: a connection's links count into their own meter and share nothing with other connections.

mod marks;
mod meter;
mod requests;
mod tally;
mod timed;

pub(crate) use marks::{MarkError, Marks, Since};
pub(crate) use meter::Meter;
pub(crate) use requests::{Ended, RequestSnapshot, RequestTally};
pub(crate) use tally::{Snapshot, Tally};

/// The two groups of a proxy's connections, and of its requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Spared,
    Hit,
}

/// What is timed. One more here is one more histogram in each group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Timing {
    /// Reaching the upstream.
    Connect,
    /// From the client's first byte, or from the beginning where the server speaks first, to the first byte that the
    /// client gets.
    FirstByte,
    /// The whole connection.
    Duration,
}

const TIMINGS: usize = 3;
