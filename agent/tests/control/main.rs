//! The control plane over real HTTP: the API, who may use it for what, and Toxiproxy's words for it.
//!
//! One binary for all of it, for each costs a link; each file says what it is about. What must be alone in its process has
//! a binary of its own beside this directory.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod api_errors;
mod api_events;
mod api_faults;
mod api_leases;
mod api_metrics;
mod api_overload;
mod api_property;
mod api_proxies;
mod api_shutdown;
mod api_traffic;
mod first_faults;
mod guard_access;
mod guard_events;
mod guard_halt;
mod guard_limits;
mod guard_policy;
mod guard_tls;
mod peer_cases;
mod toxiproxy_populate;
mod toxiproxy_proxies;
mod toxiproxy_toxics;

#[path = "../support/api_support.rs"]
mod api_support;
#[path = "../support/described.rs"]
mod described;
