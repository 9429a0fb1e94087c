//! A first experiment for a service that was only looked at: what `squall init` writes.
//!
//! ```text
//! look ─▶ pages, health, metrics ─▶ (the command measures a baseline) ─▶ Seen ─▶ write ─▶ a file with comments
//! ```
//! `look` asks the service, `metrics` says which of its metrics are worth watching, `write` is pure and makes the text.
//! Neighbours: `squall init` measures and checks that what is written can be run.
//! Invariant: every limit that is written was measured, and its head-room is said beside it.

pub mod look;
pub mod metrics;
pub mod write;
