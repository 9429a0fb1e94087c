//! Datagrams: the way in of a proxy with `protocol: udp`, and what it passes on.
//!
//! ```text
//!            door                       session, one a client address
//!  client ────────▶ inbox ──▶ line (upstream) ────────▶ connected socket ──▶ upstream
//!         ◀──────────────── line (downstream) ◀────────                 ◀──
//! ```
//! Read downwards: `door` (one bound socket) → `session` (a task and a socket of its own to the upstream) → `line`
//! (the faults of one direction, pure) → `fault/datagram/*`. `socket` has what is done to sockets.
//!
//! Invariant: a datagram is passed on whole or not at all, and no queue holds a sender up: a full one drops.

mod door;
mod inbox;
mod line;
mod plan;
mod session;
mod socket;

pub(crate) use door::Door;
pub(crate) use plan::Plan;
