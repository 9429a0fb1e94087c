//! What `http`, `udp` and TLS add: what passes, and the faults that they have or have differently.
//!
//! One binary for all of it, for each costs a link; each file says what it is about. What must be alone in its process has
//! a binary of its own beside this directory.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod http_answer;
mod http_api;
mod http_change;
mod http_pass;
mod http_time;
mod http_tls;
mod http_units;
mod tls_api;
mod tls_faults;
mod tls_handshake;
mod tls_http;
mod tls_stream;
mod udp_api;
mod udp_faults;
mod udp_pass;

#[path = "../support/api_support.rs"]
mod api_support;
#[path = "../support/common.rs"]
mod common;
#[path = "../support/http_support.rs"]
mod http_support;
#[path = "../support/hurt.rs"]
mod hurt;
#[path = "../support/tls_support.rs"]
mod tls_support;
#[path = "../support/udp_support.rs"]
mod udp_support;
