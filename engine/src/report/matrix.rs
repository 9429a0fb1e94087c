//! Proxies against faults, as a grid and as a page. Pure.
//!
//! Neighbours: `search::matrix` is the table, `grid` draws it. Invariant: what was not run says why.

use super::{
    ReportError,
    grid::{self, Grid, Row, Slot},
    page::{Headline, Page, Tone},
};
use crate::search::{
    cell::Sense,
    matrix::{Fate, Matrix},
};
use squall_wire::Span;
use std::time::Duration;

/// The grid: a row for each proxy, a column for each fault.
#[must_use]
pub fn grid(matrix: &Matrix) -> Grid {
    let row = |target: usize| {
        let cells = matrix.cells.iter().filter(|cell| cell.target == target);
        let slots = cells.map(|cell| match &cell.fate {
            Fate::Open => Slot::empty("not run"),
            Fate::OutOfReach => Slot::empty("out of reach"),
            Fate::OtherProtocol => Slot::empty("other protocol"),
            Fate::Ended(end) => Slot::of(end, false),
        });
        Row { name: matrix.row(target), note: String::new(), slots: slots.collect() }
    };
    Grid {
        corner: "proxy".to_owned(),
        columns: matrix.faults.iter().map(|fault| fault.name.clone()).collect(),
        rows: (0..matrix.targets.len()).map(row).collect(),
    }
}

/// The page.
///
/// # Errors
/// Only by a bug in the page's template.
pub fn html(matrix: &Matrix, exit_code: u8) -> Result<String, ReportError> {
    let count = |sense: Sense| matrix.ends().filter(|(_, end)| end.sense() == sense).count();
    let (held, broke, unknown) = (count(Sense::Held), count(Sense::Broke), count(Sense::Unknown));
    let ran = held + broke + unknown;
    let (tone, meaning) = match (broke, unknown, ran) {
        (_, _, 0) => (Tone::Unsure, "nothing was run"),
        (0, 0, _) => (Tone::Good, "the steady state stood every fault"),
        (0, _, _) => (Tone::Unsure, "no fault broke it, but some runs taught nothing"),
        _ => (Tone::Bad, "some faults break the steady state"),
    };
    let length = Span::from(Duration::from_secs_f64(matrix.seconds));
    let shown: Vec<_> = matrix.faults.iter().map(crate::search::matrix::Fault::shown).collect();
    let caption = format!(
        "Each fault for {length}: {}. An empty place is out of the file's blast radius, or of another protocol. Behind \
         each word is the run's own page.",
        shown.join(" · ")
    );
    let headline = Headline::new(&format!("{held} of {ran} held"), meaning, tone).exit_code(exit_code);
    let mut page = Page::new(format!("{}: every proxy × every fault", matrix.experiment), headline)
        .place(matrix.environment.clone())
        .hypothesis(matrix.hypothesis.clone())
        .tile(ran.to_string(), "runs", format!("{length} of fault each"))
        .tile(held.to_string(), "held", "")
        .tile(broke.to_string(), "fell", "deviated, aborted or not recovered")
        .tile(unknown.to_string(), "taught nothing", "not steady, inconclusive or failed")
        .section("Proxy × fault", vec![grid(matrix).heat(caption).into()]);
    if let Some(reasons) = grid::reasons(matrix.ends().map(|(cell, end)| (matrix.title(cell), end))) {
        page = page.section("What did not hold, and why", vec![reasons.into()]);
    }
    page.render()
}
