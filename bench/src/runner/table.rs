//! The figures of the runner as Markdown for docs, and as JSON with every value.
//!
//! Invariant: a row without a value is an error, and a promise is shown with what was measured.

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
        format!("{}{quick}\n\n{table}\n{left_out}", self.machine)
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
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory).tried(&format!("make {}", directory.display()))?;
        }
        std::fs::write(path, format!("{value:#}\n")).tried(&format!("write {}", path.display()))
    }
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
