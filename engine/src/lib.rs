//! The experiment: a document becomes a valid value, is run phase by phase, judged, written down and reported.
//!
//! ```text
//! YAML ─▶ document ─▶ validate ─▶ Experiment ─▶ run/* ─▶ verdict ─▶ journal ─▶ report
//!                                                │
//!                            probe/* traffic/* ──┴─▶ recorder ─▶ stats, significance, tolerance
//! ```
//!
//! Runners act, verdicts decide: what judges (`tolerance`, `stats`, `significance`, `verdict`) is pure, what acts is in `run`.
//! Neighbours: `squall-wire` for what agents speak, the `squall` command for people.

pub mod agent_client;
pub mod agent_events;
pub mod agent_tls;
pub mod amount;
pub mod decide;
pub mod diagnostic;
pub mod document;
pub mod environment;
pub mod event;
pub mod experiment;
mod fetch;
pub mod first;
pub mod groups;
pub mod inline;
pub mod journal;
pub mod judge;
mod level;
pub mod load;
pub mod probe;
pub mod record;
pub mod recorder;
pub mod regression;
pub mod report;
pub mod run;
pub mod sample;
pub mod schema;
pub mod search;
pub mod significance;
pub mod stats;
pub mod telemetry;
pub mod template;
pub mod tolerance;
pub mod traffic;
pub mod under_way;
mod validate;
mod variables;
mod veil;
pub mod verdict;
pub mod window;
mod yaml;
