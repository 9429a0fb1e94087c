//! A search for a limit: a table for the terminal, and a page with the curve of each metric over the varied value. Pure.
//!
//! Neighbours: `search::course` is what is shown, `chart::curve` the charts, `shell` the page around them.
//! Invariant: a try that taught nothing is shown as such, and is no point of the limit.

use super::{
    ReportError,
    chart::{Frame, SeriesCharts, curve},
    grid::Slot,
    shell::{self, Call, Tile, Tone},
};
use crate::search::{
    course::{Course, Tried},
    limit::Bad,
};
use serde::Serialize;

/// Heights of a bar in the terminal.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Metrics beside each other in the terminal, at most.
const MOST_COLUMNS: usize = 4;

/// The tries by their value, each with its verdict and what was measured, with a small bar: the curve in the terminal.
/// Header first.
#[must_use]
pub fn table(course: &Course) -> Vec<Vec<String>> {
    let columns: Vec<_> = course.columns().into_iter().take(MOST_COLUMNS).collect();
    let mut head = vec![course.variable.clone(), "verdict".to_owned()];
    head.extend(columns.iter().map(|column| format!("{} {}", column.probe, column.metric)));
    let highest: Vec<f64> = columns
        .iter()
        .map(|column| course.tries.iter().filter_map(|tried| tried.row(column)?.measured).fold(0.0, f64::max))
        .collect();
    let line = |tried: &&Tried| {
        let mut cells = vec![tried.shown.clone(), Slot::of(&tried.end, false).shown()];
        cells.extend(columns.iter().zip(&highest).map(|(column, highest)| {
            tried.row(column).map_or_else(
                || "–".to_owned(),
                |row| format!("{} {}", bar(row.measured.unwrap_or(0.0), *highest), row.shown),
            )
        }));
        cells
    };
    std::iter::once(head).chain(course.by_value().iter().map(line)).collect()
}

fn bar(value: f64, highest: f64) -> char {
    let share = if highest > 0.0 { (value / highest).clamp(0.0, 1.0) } else { 0.0 };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of 0 to 1 of seven")]
    let height = (share * 7.0).round() as usize;
    BARS[height.min(7)]
}

#[derive(Serialize)]
struct Body {
    frame: Frame,
    series: Vec<SeriesCharts>,
    variable: String,
    tries: Vec<Line>,
}

#[derive(Serialize)]
struct Line {
    value: String,
    slot: Slot,
}

/// The page.
///
/// # Errors
/// Only by a bug in the page's template.
pub fn html(course: &Course, exit_code: u8) -> Result<String, ReportError> {
    let answer = course.answer();
    let shown = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| course.question.scale.shown(value));
    let tone = match (course.stopped(), answer.last_safe) {
        (Some(_), _) => Tone::Unsure,
        (None, Some(_)) if answer.oddities.is_empty() => Tone::Good,
        (None, Some(_)) => Tone::Unsure,
        (None, None) => Tone::Bad,
    };
    let word = match (course.stopped(), answer.last_safe) {
        (Some(_), _) => "No answer".to_owned(),
        (None, None) => "Holds nowhere".to_owned(),
        (None, Some(safe)) => course.setting(safe),
    };
    let tile = |figure: String, label: &'static str, note: String| Tile { figure, label, note };
    let order = if answer.bad == Bad::Large { "the larger, the worse" } else { "the smaller, the worse" };
    let range = format!("{} to {}", shown(Some(course.question.scale.low)), shown(Some(course.question.scale.high)));
    let call = Call {
        name: format!("{}: limit of {}", course.experiment, course.variable),
        word,
        meaning: course.sentence(),
        tone,
        exit_code: Some(exit_code),
        about: "Hypothesis",
        text: course.hypothesis.clone(),
        reasons: answer.oddities.clone(),
        tiles: vec![
            tile(shown(answer.last_safe), "last safe", "the hypothesis stood".to_owned()),
            tile(shown(answer.first_broken), "first broken", "it fell".to_owned()),
            tile(range, "searched", order.to_owned()),
            tile(course.tries.len().to_string(), "runs", "each a whole run, in the journal".to_owned()),
        ],
        place: course.environment.clone(),
    };
    let tries = course.tries.iter().map(|tried| Line { value: tried.shown.clone(), slot: Slot::of(&tried.end, false) });
    let body = Body {
        frame: curve::frame(course),
        series: curve::charts(course),
        variable: course.variable.clone(),
        tries: tries.collect(),
    };
    shell::sheet("limit.html", &call, body)
}

#[cfg(test)]
mod tests {
    use super::{html, table};
    use crate::search::course::example;

    #[test]
    fn the_terminal_shows_the_curve_by_value() {
        let lines: Vec<String> = table(&example()).iter().map(|line| line.join(" | ")).collect();
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn the_page_has_a_chart_for_each_metric_with_its_tolerance_and_a_mark_for_each_try() {
        let page = html(&example(), 0).unwrap();
        for part in [
            "<p class=\"word\">delay=890ms</p>",
            "holds up to delay=890ms, and breaks from delay=1.2s",
            "promised: p99 &lt; 2s",
            "title=\"1.2s – deviated: it was deviated\"",
            "title=\"breaks from delay=1.2s\"",
        ] {
            assert!(page.contains(part), "{part}");
        }
        assert_eq!(page.matches("<figure class=\"chart line\">").count(), 2);
    }
}
