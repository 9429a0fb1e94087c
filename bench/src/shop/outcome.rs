//! What was measured beside what is claimed, for people and for programs.
//!
//! Invariant: table, JSON and document show the same figures in the same order.

use crate::{error::BenchError, machine::Machine, stats};
use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Value, json};

/// How a figure is held against what is claimed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Claim {
    None,
    AtLeast(f64),
    AtMost(f64),
}

/// One figure, round by round.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) unit: &'static str,
    pub(super) claim: Claim,
    pub(super) rounds: Vec<f64>,
}

/// All of them, and what was left out.
#[derive(Debug, Default)]
pub(super) struct Outcomes {
    all: Vec<Outcome>,
    pub(super) left_out: Vec<String>,
}

impl Outcomes {
    pub(super) fn add(
        &mut self,
        id: impl Into<String>,
        name: impl Into<String>,
        unit: &'static str,
        claim: Claim,
        rounds: Vec<f64>,
    ) {
        self.all.push(Outcome { id: id.into(), name: name.into(), unit, claim, rounds });
    }

    /// Every figure has rounds, and they are numbers.
    pub(super) fn check(&self) -> Result<(), BenchError> {
        let broken =
            self.all.iter().find(|one| one.rounds.is_empty() || !one.rounds.iter().all(|round| round.is_finite()));
        broken.map_or(Ok(()), |one| Err(BenchError::Missing(one.id.clone())))
    }

    pub(super) fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::ASCII_MARKDOWN);
        table.set_header(["figure", "unit", "median", "lowest to highest", "claim"]);
        for one in &self.all {
            let (median, low, high) = one.summary();
            let range = format!("{} to {}", short(low), short(high));
            table.add_row([one.name.clone(), one.unit.to_owned(), short(median), range, one.verdict(median)]);
        }
        for column in table.column_iter_mut().skip(2).take(2) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        let left_out: String = self.left_out.iter().map(|what| format!("\n\nLeft out: {what}.")).collect();
        format!("{table}{left_out}")
    }

    pub(super) fn json(&self, machine: &Machine, quick: bool) -> Value {
        let figures: Vec<Value> = self
            .all
            .iter()
            .map(|one| {
                let (median, low, high) = one.summary();
                json!({
                    "id": one.id, "name": one.name, "unit": one.unit, "median": median, "min": low, "max": high,
                    "claim": one.claim.words(), "kept": one.claim.is_kept(median), "rounds": one.rounds,
                })
            })
            .collect();
        json!({"machine": machine, "quick": quick, "left_out": self.left_out, "figures": figures})
    }

    /// A document that says how it came about.
    pub(super) fn document(&self, machine: &Machine, quick: bool) -> String {
        let warning = if quick { "\n**A quick run: these figures mean nothing.**\n" } else { "" };
        format!(
            "# Figures of the shop\n\nWhat its patterns gain and cost, beside what their sources claim. All of it is one run of one \
             command, which also wrote this file:\n\n    cargo build --release --workspace && target/release/squall-bench shop \
             --markdown docs/shop-figures.md\n{warning}\n{}\n\nOn: {machine}\n\nShop, dependencies and customers are one process on the machine's \
             processors, so absolute figures are low; what is compared was measured in turns. Events are acknowledged when they \
             are in the database. SQLite is in WAL mode with `synchronous = NORMAL`, PostgreSQL as Debian sets it up, with \
             `fsync`. `--json FILE` says where every round goes.\n",
            self.table()
        )
    }
}

impl Outcome {
    fn summary(&self) -> (f64, f64, f64) {
        let least = self.rounds.iter().copied().fold(f64::INFINITY, f64::min);
        let most = self.rounds.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        (stats::median(&self.rounds).unwrap_or(f64::NAN), least, most)
    }

    fn verdict(&self, median: f64) -> String {
        let Some(claim) = self.claim.words() else { return String::new() };
        format!("{claim}: {}", if self.claim.is_kept(median) == Some(true) { "met" } else { "NOT met" })
    }
}

impl Claim {
    fn words(self) -> Option<String> {
        match self {
            Self::None => None,
            Self::AtLeast(limit) => Some(format!("at least {limit}")),
            Self::AtMost(limit) => Some(format!("at most {limit}")),
        }
    }

    fn is_kept(self, value: f64) -> Option<bool> {
        match self {
            Self::None => None,
            Self::AtLeast(limit) => Some(value >= limit),
            Self::AtMost(limit) => Some(value <= limit),
        }
    }
}

fn short(value: f64) -> String {
    if value.abs() >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}
