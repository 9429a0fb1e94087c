//! The steady state as a table: a line for each promise, a column for each window. Pure.
//!
//! Neighbours: `text` and `html` draw it.
//! Invariant: every row of the run is in exactly one cell, or in a line of its own.

use crate::{
    experiment::When,
    record::{Outcome, RowResult},
    sample::Metric,
};

/// One promise, and how it turned out in each window in which it was judged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Line<'a> {
    pub(super) probe: &'a str,
    pub(super) metric: Metric,
    pub(super) tolerance: &'a str,
    /// Before, during and after; none: not asked for then.
    pub(super) cells: [Option<&'a RowResult>; 3],
}

impl Line<'_> {
    fn is_of(&self, row: &RowResult) -> bool {
        self.probe == row.probe && self.metric == row.metric && self.tolerance == row.tolerance
    }
}

const fn column(when: When) -> usize {
    match when {
        When::Before => 0,
        When::During => 1,
        When::After => 2,
    }
}

/// The lines, in the order in which they first appear.
pub(super) fn lines(rows: &[RowResult]) -> Vec<Line<'_>> {
    let mut lines: Vec<Line<'_>> = vec![];
    for row in rows {
        let free = lines.iter_mut().find(|line| line.is_of(row) && line.cells[column(row.when)].is_none());
        if let Some(line) = free {
            line.cells[column(row.when)] = Some(row);
            continue;
        }
        let mut line = Line { probe: &row.probe, metric: row.metric, tolerance: &row.tolerance, cells: [None; 3] };
        line.cells[column(row.when)] = Some(row);
        lines.push(line);
    }
    lines
}

/// The sign of an outcome; words stand beside it wherever there is room.
pub(super) const fn mark(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Held => "✓",
        Outcome::Broken => "✕",
        Outcome::Inconclusive => "?",
    }
}

/// The word of an outcome.
pub(super) const fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Held => "held",
        Outcome::Broken => "broken",
        Outcome::Inconclusive => "inconclusive",
    }
}
