//! What fuzzers, the test of their seeds and benchmarks reach of this crate's inside; nothing else is to use it.
//!
//! Each function for a fuzzer takes any bytes at all, and panics when a promise about them is broken: `http_framing` for
//! the framing of HTTP (`http`), `fault_json` for what `/v1` reads (`squall_wire`), `toxic` for Toxiproxy's words
//! (`toxiproxy`). `fuzz/` has the targets, `agent/tests/fuzz_seeds.rs` runs every seed. `read_noted` is how links learn
//! when bytes came in, for what measures them.
//!
//! Invariant: the same bytes give the same outcome.

mod framing;
mod json;
mod toxic;
mod transcript;

pub use crate::arrival::{note_arrivals, read_noted};
pub use framing::{RequestCounter, http_framing, http_framing_once};
pub use json::fault_json;
pub use toxic::toxic;
pub(crate) use transcript::Transcript;
