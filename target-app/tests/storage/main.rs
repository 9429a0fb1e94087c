//! The patterns around the database, each switched on and off, on SQLite and on PostgreSQL; and the shop killed at any moment.
//!
//! `patterns.rs` asks shops in this process, `crash.rs` kills real ones.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a helper of a test fails the test")]

mod books;
mod crash;
mod kinds;
mod patterns;
#[path = "../support/postgres.rs"]
mod postgres;
mod reports;
#[path = "../support/mod.rs"]
mod support;
