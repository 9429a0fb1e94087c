//! The figures for people (one Markdown table) and for programs (JSON with every round).
//!
//! `main` prints what is made here. Invariant: table and JSON show the same figures, in the same order.

use crate::{
    contestant::BUSY,
    error::{BenchError, Tried},
    figures::{Figure, Figures, Judged, Promise, Versus},
    machine::Machine,
};
use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Map, Value, json};
use std::path::Path;

/// A finished run.
pub(crate) struct Report {
    machine: Machine,
    quick: bool,
    contestants: Vec<&'static str>,
    left_out: Vec<String>,
    figures: Figures,
}

/// The contestant of whom something is promised.
const OURS: &str = "squall";

impl Report {
    /// Of these figures, of these contestants, the first of which the others are set against, and of those who are
    /// not here.
    pub(crate) fn new(
        machine: Machine,
        quick: bool,
        contestants: Vec<&'static str>,
        left_out: Vec<String>,
        figures: Figures,
    ) -> Self {
        Self { machine, quick, contestants, left_out, figures }
    }

    fn base(&self) -> &'static str {
        self.contestants.first().copied().unwrap_or_default()
    }

    /// One row a figure: median and (lowest to highest round) of each contestant, ours against direct, the promise.
    pub(crate) fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::ASCII_MARKDOWN);
        let mut header = vec!["figure".to_owned(), "unit".to_owned()];
        header.extend(self.contestants.iter().map(|contestant| (*contestant).to_owned()));
        header.extend([format!("{OURS} against {}", self.base()), "must be".to_owned()]);
        table.set_header(header);
        for figure in self.figures.iter() {
            table.add_row(self.row(figure));
        }
        for column in table.column_iter_mut().skip(2) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table.to_string()
    }

    fn row(&self, figure: &Figure) -> Vec<String> {
        let shown = |contestant: &&str| {
            figure.summary(contestant).map_or_else(String::new, |all| {
                format!("{} ({} to {})", short(all.median), short(all.min), short(all.max))
            })
        };
        let mut row = vec![figure.name.clone(), figure.unit.to_owned()];
        row.extend(self.contestants.iter().map(shown));
        row.push(figure.against(OURS, self.base()).map_or_else(String::new, |value| match figure.versus {
            Versus::Added => format!("{}{}", if value < 0.0 { "" } else { "+" }, short(value)),
            _ => format!("x {}", short(value)),
        }));
        row.push(self.verdict(figure));
        row
    }

    /// What is promised of our median, and whether it was kept; and whether with busy polling, where that took part.
    fn verdict(&self, figure: &Figure) -> String {
        let Some(promise) = promised(figure) else { return String::new() };
        let told = |Judged { value, limit, kept }| {
            let outcome = if kept { "met" } else { "NOT met" };
            format!("{outcome} ({} of {})", short(value), short(limit))
        };
        let Some(judged) = figure.judge(OURS, self.base()) else {
            return format!("{promise}: not judged, none of them is here");
        };
        let busy = figure.judge(BUSY, self.base()).map(|judged| format!("; {BUSY}: {}", told(judged)));
        format!("{promise}: {}{}", told(judged), busy.unwrap_or_default())
    }

    /// Writes everything, every round included.
    pub(crate) fn write_json(&self, path: &Path) -> Result<(), BenchError> {
        let tried = format!("write the figures to {}", path.display());
        if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
            std::fs::create_dir_all(directory).tried(&tried)?;
        }
        std::fs::write(path, format!("{:#}\n", self.json())).tried(&tried)
    }

    fn json(&self) -> Value {
        let figures: Vec<Value> = self.figures.iter().map(|figure| self.figure_json(figure)).collect();
        json!({
            "machine": self.machine,
            "quick": self.quick,
            "agent": "a process of its own: the library of squall-agent, its allocator, its defaults",
            "contestants": self.contestants,
            "left_out": self.left_out,
            "figures": figures,
        })
    }

    fn figure_json(&self, figure: &Figure) -> Value {
        let mut results = Map::new();
        for contestant in &self.contestants {
            if let Some(all) = figure.summary(contestant) {
                let against = figure.against(contestant, self.base()).filter(|_| *contestant != self.base());
                let judged = [OURS, BUSY].contains(contestant).then(|| figure.judge(contestant, self.base())).flatten();
                let value = json!({
                    "median": all.median, "min": all.min, "max": all.max,
                    "against_direct": against, "rounds": figure.rounds(contestant),
                    "kept": judged.map(|judged| judged.kept),
                });
                results.insert((*contestant).to_owned(), value);
            }
        }
        let against = match figure.versus {
            Versus::Ratio => Some("ratio"),
            Versus::Added => Some("added"),
            Versus::Nothing => None,
        };
        let judged = figure.judge(OURS, self.base());
        json!({
            "id": figure.id, "name": figure.name, "unit": figure.unit, "against": against,
            "must_be": promised(figure), "limit": judged.map(|judged| judged.limit),
            "kept": judged.map(|judged| judged.kept), "results": results,
        })
    }
}

/// A promise in words; none where nothing is promised.
fn promised(figure: &Figure) -> Option<String> {
    let times = |factor: f64, best: &str, names: &[&str]| {
        let of = if names.len() == 1 { names.concat() } else { format!("the {best} of {}", names.join(", ")) };
        if factor == 1.0 { of } else { format!("{factor} x {of}") }
    };
    match figure.promise {
        Promise::None => None,
        Promise::AtMost(limit) => Some(format!("at most {limit}")),
        Promise::AtLeastBest(factor, names) => Some(format!("at least {}", times(factor, "highest", names))),
        Promise::AtMostBest(factor, names) => Some(format!("at most {}", times(factor, "lowest", names))),
    }
}

/// Three significant digits, without an exponent.
fn short(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 3,
    };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::short;

    #[test]
    fn numbers_are_as_long_as_they_are_worth() {
        let shown: Vec<String> = [1234.6, 99.44, 9.876, 0.12345, -1.5, 0.0].map(short).to_vec();
        assert_eq!(shown, ["1235", "99.4", "9.88", "0.123", "-1.50", "0.000"]);
    }
}
