//! Each fault of a `tcp` proxy, by what a client on a socket sees of it.
//!
//! One binary for all of it, for each costs a link; each file says what it is about. What must be alone in its process has
//! a binary of its own beside this directory.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod fault_accept;
mod fault_ends;
mod fault_garbage;
mod fault_isolation;
mod fault_left;
mod fault_more;
mod fault_none;
mod fault_packets;
mod fault_rate;
mod fault_selection;
mod fault_stream;
mod fault_time;
mod peer_cases;

#[path = "../support/common.rs"]
mod common;
#[path = "../support/hurt.rs"]
mod hurt;
