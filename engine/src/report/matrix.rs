//! Proxies against faults, as a grid and as a page. Pure.
//!
//! Neighbours: `search::matrix` is the table, `grid` draws it. Invariant: what was not run says why.

use super::{
    ReportError,
    grid::{self, Grid, Note, Row, Section, Slot},
    shell::{Call, Tile, Tone},
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
    let tile = |figure: usize, label: &'static str, note: &str| Tile {
        figure: figure.to_string(),
        label,
        note: note.to_owned(),
    };
    let call = Call {
        name: format!("{}: every proxy × every fault", matrix.experiment),
        word: format!("{held} of {ran} held"),
        meaning: meaning.to_owned(),
        tone,
        exit_code: Some(exit_code),
        about: "Hypothesis of the file",
        text: matrix.hypothesis.clone(),
        reasons: Vec::new(),
        tiles: vec![
            tile(ran, "runs", &format!("{length} of fault each")),
            tile(held, "held", ""),
            tile(broke, "fell", "deviated, aborted or not recovered"),
            tile(unknown, "taught nothing", "not steady, inconclusive or failed"),
        ],
        place: matrix.environment.clone(),
    };
    let shown: Vec<_> = matrix.faults.iter().map(crate::search::matrix::Fault::shown).collect();
    let caption = format!(
        "Each fault for {length}: {}. Out of reach is what the file's blast radius does not name. Each run has a page of \
         its own behind its word.",
        shown.join(" · ")
    );
    let sections = vec![Section { title: "Proxy × fault".to_owned(), caption, grid: grid(matrix) }];
    let notes = matrix.ends().filter_map(|(cell, end)| Note::of(matrix.title(cell), end)).collect();
    grid::page(&call, sections, notes)
}
