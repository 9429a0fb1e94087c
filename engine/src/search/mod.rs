//! Questions that take many runs to answer: what they ask next, and what the answers amount to. Pure.
//!
//! ```text
//! question ─▶ next trial? ─▶ (the command runs it) ─▶ CellEnd ─▶ question ─▶ … ─▶ table, limit, comparison
//! ```
//! `cell` is how one run came out among others; `ablation` is experiments × patterns that are switched off; `limit` looks
//! for the value at which a hypothesis falls, on a `scale`, and `course` is how that went; `matrix` is proxies × faults; `rewrite` makes the files that a matrix runs; `surge` looks for the rate at
//! which a service breaks; `compare` lays two runs over each other.
//!
//! Neighbours: the commands `matrix`, `limit` and `compare` run what is asked for here, `report` shows the answers.
//! Invariant: nothing here runs, waits or measures, and what was not learnt is never taken for an answer.

pub mod ablation;
pub mod cell;
pub mod compare;
pub mod course;
pub mod limit;
pub mod matrix;
pub mod rewrite;
pub mod scale;
pub mod surge;
