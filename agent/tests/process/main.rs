//! The binary: what it says, how it ends, what it refuses to start with.
//!
//! One binary for all of it, for each costs a link; each file says what it is about. What must be alone in its process has
//! a binary of its own beside this directory.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod cli;
mod guard_cli;
mod shortage;

#[path = "../support/process_support.rs"]
mod process_support;
