//! The resilience patterns, one file each.
//!
//! A pattern's decisions are pure values (a window and a time give a state, an error and a try count give a pause);
//! what waits or counts is a thin shell around them in the same file. Neighbours: `upstream.rs` strings them
//! together for calls to dependencies, `api/` for requests.
//!
//! Invariant: no pattern knows another, and each has a form in which it is switched off.

pub(crate) mod adaptive_concurrency;
pub(crate) mod back_pressure;
pub(crate) mod bulkhead;
pub(crate) mod chaos;
pub(crate) mod circuit_breaker;
pub(crate) mod compensation;
pub(crate) mod cpu_use;
pub(crate) mod degradation;
pub(crate) mod failover_cache;
pub(crate) mod fan_out;
pub(crate) mod feature_flags;
pub(crate) mod graceful_shutdown;
pub(crate) mod health_checks;
pub(crate) mod idempotency;
pub(crate) mod leaky_bucket;
pub(crate) mod load_shedding;
pub(crate) mod message_dedupe;
pub(crate) mod micro_batching;
pub(crate) mod migrations;
pub(crate) mod pipeline;
pub(crate) mod rate_limiting;
pub(crate) mod retry;
pub(crate) mod retry_budget;
pub(crate) mod sliding_window;
pub(crate) mod steady_state;
pub(crate) mod supervision;
pub(crate) mod timeout_advice;
pub(crate) mod timeout_budget;
pub(crate) mod token_bucket;
