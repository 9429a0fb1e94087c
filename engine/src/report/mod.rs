//! Reports: a run as a page, as JSON, as plain text; several as JUnit, as Markdown, as annotations. Every one is made
//! from a [`RunRecord`] and nothing else, so it can be made again from the journal at any time.
//!
//! ```text
//! RunRecord ─▶ table, story, chart/* ─▶ html ─▶ one file that needs no network
//!          ├─▶ table ─▶ text ─▶ the terminal
//!          ├─▶ json ─▶ programs
//!          └─▶ case ─▶ junit, markdown, github ─▶ CI
//! search ─▶ grid, ablation, matrix, limit ─▶ page ─▶ the page of many runs
//! ```
//!
//! Neighbours: `journal` gives the record, the commands write what is made here.
//! Invariant: a report says what was recorded, never more: what was not measured or not confirmed is shown as such.
//!
//! [`RunRecord`]: crate::record::RunRecord

pub mod ablation;
pub mod case;
mod chart;
pub mod compare;
pub mod gate;
pub mod github;
pub mod grid;
pub mod html;
pub mod json;
pub mod junit;
pub mod limit;
pub mod markdown;
pub mod matrix;
pub mod page;
mod ramp;
mod story;
mod table;
pub mod text;

use std::time::Duration;

/// Why a report could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A bug in the page's template.
    #[error("failed to fill in the report's page: {0}; please report this with the run's id")]
    Page(#[from] minijinja::Error),
    /// What was measured cannot be said in XML.
    #[error("failed to write the JUnit report: {0}; please report this with the run's id")]
    Junit(#[from] quick_junit::SerializeError),
}

/// A time since the run started, as people read it: `0.05 s`, `8.07 s`, `12.4 s`, `3:07 min`.
fn moment(at: Duration) -> String {
    let seconds = at.as_secs_f64();
    match seconds {
        s if s < 10.0 => format!("{s:.2} s"),
        s if s < 120.0 => format!("{s:.1} s"),
        _ => {
            let whole = at.as_secs();
            format!("{}:{:02} min", whole / 60, whole % 60)
        }
    }
}

/// A length of time as it stands in a file: `10s`, `800ms`.
fn length(length: Duration) -> String {
    squall_wire::Span::from(length).to_string()
}

/// How often a fault hit, in words.
fn hits(hits: Option<u64>) -> String {
    match hits {
        None => "hits not counted".to_owned(),
        Some(0) => "hit nothing".to_owned(),
        Some(1) => "1 hit".to_owned(),
        Some(many) => format!("{many} hits"),
    }
}

#[cfg(test)]
mod tests {
    use super::{hits, moment};
    use std::time::Duration;

    #[test]
    fn moments_read_well_at_any_length() {
        let shown = [51, 8_067, 12_400, 187_000].map(|ms| moment(Duration::from_millis(ms)));
        assert_eq!(shown, ["0.05 s", "8.07 s", "12.4 s", "3:07 min"]);
    }

    #[test]
    fn a_fault_that_hit_nothing_says_so() {
        assert_eq!([None, Some(0), Some(1), Some(7)].map(hits), ["hits not counted", "hit nothing", "1 hit", "7 hits"]);
    }
}
