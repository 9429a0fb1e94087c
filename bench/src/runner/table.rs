//! The figures of the runner as Markdown for docs, and as JSON with every value.
//!
//! Invariant: a row without a value is an error, and a promise is shown with what was measured.

use super::load::CONNECTIONS;
use crate::{
    error::{BenchError, Tried},
    machine::Machine,
    stats,
};
use comfy_table::{CellAlignment, presets};
use serde_json::json;
use std::path::Path;

/// One figure of one program.
pub(crate) struct Row {
    /// What was measured.
    pub(crate) figure: String,
    /// Of whom.
    pub(crate) who: String,
    /// In what.
    pub(crate) unit: &'static str,
    /// Every value.
    pub(crate) values: Vec<f64>,
    /// Which quantile is the figure, and at most how much it may be.
    pub(crate) promise: Option<(f64, f64)>,
}

/// All of them, in their order.
pub(crate) struct Table {
    machine: Machine,
    quick: bool,
    rows: Vec<Row>,
    left_out: Vec<String>,
}

impl Table {
    pub(crate) const fn new(machine: Machine, quick: bool) -> Self {
        Self { machine, quick, rows: Vec::new(), left_out: Vec::new() }
    }

    pub(crate) fn add(&mut self, row: Row) -> Result<(), BenchError> {
        if row.values.is_empty() || row.values.iter().any(|value| !value.is_finite()) {
            return Err(BenchError::Missing(format!("{} of {}", row.figure, row.who)));
        }
        self.rows.push(row);
        Ok(())
    }

    /// Somebody is not here.
    pub(crate) fn leave_out(&mut self, why: String) {
        super::tell(&format!("left out: {why}"));
        self.left_out.push(why);
    }

    pub(crate) fn markdown(&self) -> String {
        let mut table = comfy_table::Table::new();
        table.load_style(presets::ASCII_MARKDOWN);
        table.set_header(["figure", "of", "unit", "p50", "p99", "lowest to highest", "values", "must be"]);
        for row in &self.rows {
            let mut values = row.values.clone();
            let at = |values: &mut [f64], q| stats::quantile(values, q).map_or_else(String::new, shown);
            let (low, high) = (at(&mut values, 0.0), at(&mut values, 1.0));
            table.add_row([
                row.figure.clone(),
                row.who.clone(),
                row.unit.to_owned(),
                at(&mut values, 0.5),
                if values.len() >= 20 { at(&mut values, 0.99) } else { String::new() },
                format!("{low} to {high}"),
                values.len().to_string(),
                promise(row),
            ]);
        }
        for column in table.column_iter_mut().skip(3).take(4) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        let quick =
            if self.quick { "\n\nA quick run: it shows that everything works, not how fast it is." } else { "" };
        let left_out: String = self.left_out.iter().map(|who| format!("\n- left out: {who}")).collect();
        format!("{}{quick}\n\n{table}\n{left_out}", self.machine).trim_end().to_owned()
    }

    /// A document that says how it came about.
    pub(crate) fn document(&self) -> String {
        format!(
            "# Figures of the runner\n\nHow quickly `squall` starts, aborts and is healed after its death, and how true its load is, \
             beside other programs on the same machine at the same time. All of it is one run of one command, which also wrote this \
             file:\n\n    cargo build --release --workspace && target/release/squall-bench runner \
             --markdown docs/runner-figures.md\n\n{}\n\n\
             - **start**: each program in turn, from its start to its end. Chaos Toolkit comes from PyPI.\n\
             - **abort**: from the end of the sample by which an abort condition has lasted as long as it must, to the last of the \
             agents' word that its fault is gone; each agent is a process of its own.\n\
             - **healed after kill -9**: from the kill to the first look at which the agent's API shows no fault.\n\
             - **the most of nginx**: wrk and oha send as fast as their {CONNECTIONS} connections allow. squall sends on a schedule, \
             so its most is the highest rate that it keeps (99.9 % answered, p99 at most 100 ms), found by doubling and halving. \
             nginx, one worker, shares the processors with each of them.\n\
             - **beyond it**: what squall still gets answered a second when it is told to send twice as much as it can.\n\
             - **a server frozen for 1 s**: of `T` seconds at an even rate, the requests due in that second wait for what is left of \
             it, so the quantiles can be calculated. Who sends the next request only after the last answer, and does not correct \
             for it, sends nothing meanwhile and shows how the server is when it is well (coordinated omission). wrk is not told a \
             rate; `oha -q` keeps one by its connections, with and without its own correction. How far off they are is what was \
             measured, whatever they are said to do.\n\n\
             `--to FILE` says where every value goes as JSON.\n",
            self.markdown()
        )
    }

    pub(crate) fn write_json(&self, path: &Path) -> Result<(), BenchError> {
        let rows = self.rows.iter().map(|row| {
            json!({
                "figure": row.figure, "of": row.who, "unit": row.unit, "values": row.values,
                "promise": row.promise.map(|(quantile, most)| json!({"quantile": quantile, "at_most": most})),
                "met": row.promise.map(|_| is_met(row)),
            })
        });
        let rows: Vec<_> = rows.collect();
        let value = json!({"machine": self.machine, "quick": self.quick, "left_out": self.left_out, "rows": rows});
        write(path, &format!("{value:#}\n"))
    }
}

/// A file, and the directories to it.
pub(super) fn write(path: &Path, text: &str) -> Result<(), BenchError> {
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        std::fs::create_dir_all(directory).tried(&format!("make {}", directory.display()))?;
    }
    std::fs::write(path, text).tried(&format!("write {}", path.display()))
}

fn is_met(row: &Row) -> bool {
    let measured = row.promise.and_then(|(q, most)| Some((stats::quantile(&mut row.values.clone(), q)?, most)));
    measured.is_some_and(|(value, most)| value <= most)
}

fn promise(row: &Row) -> String {
    let Some((quantile, most)) = row.promise else { return String::new() };
    let which = match quantile {
        q if q >= 1.0 => "highest".to_owned(),
        q => format!("p{}", q * 100.0),
    };
    let measured = stats::quantile(&mut row.values.clone(), quantile).map_or_else(String::new, shown);
    format!("{which} at most {}: {} ({measured})", shown(most), if is_met(row) { "met" } else { "NOT met" })
}

/// Three digits that say something.
fn shown(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{Row, promise, shown};

    #[test]
    fn a_promise_that_is_not_kept_says_so() {
        let row =
            |promise| Row { figure: "f".into(), who: "w".into(), unit: "ms", values: vec![1.0, 2.0, 30.0], promise };
        assert_eq!(promise(&row(Some((0.5, 20.0)))), "p50 at most 20.0: met (2.00)");
        assert_eq!(promise(&row(Some((1.0, 20.0)))), "highest at most 20.0: NOT met (30.0)");
        assert_eq!(promise(&row(None)), "");
        assert_eq!([shown(0.123), shown(12.34), shown(1234.5)], ["0.12", "12.3", "1234"]);
    }
}
