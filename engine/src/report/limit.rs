//! A search for a limit: a table for the terminal, and a page with the curve of each metric over the varied value. Pure.
//!
//! Neighbours: `search::course` is what is shown, `page` has the charts.
//! Invariant: a try that taught nothing is shown as such, and is no point of the limit.

use super::{
    ReportError,
    grid::Slot,
    page::{Axis, Band, Block, Cell, Curve, Headline, Limit, Page, Plot, Point, Table, Tone},
};
use crate::search::{
    course::{Column, Course, Tried},
    limit::{Answer, Bad},
    scale,
};

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

/// The page.
///
/// # Errors
/// Only by a bug in the page's template.
pub fn html(course: &Course, exit_code: u8) -> Result<String, ReportError> {
    let answer = course.answer();
    let scale = course.question.scale;
    let shown = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| scale.shown(value));
    let order = if answer.bad == Bad::Large { "the larger, the worse" } else { "the smaller, the worse" };
    let range = format!("{} to {}", scale.shown(scale.low), scale.shown(scale.high));
    let mut page = Page::new(
        format!("{}: limit of {}", course.experiment, course.variable),
        headline(course, &answer).exit_code(exit_code),
    )
    .place(course.environment.clone())
    .hypothesis(course.hypothesis.clone())
    .tile(shown(answer.last_safe), "last safe", "the hypothesis stood")
    .tile(shown(answer.first_broken), "first broken", "it fell")
    .tile(range, "searched", order)
    .tile(course.tries.len().to_string(), "runs", "each a whole run, in the journal");
    for oddity in &answer.oddities {
        page = page.reason(oddity);
    }
    page.section("What was measured at each value", charts(course, &answer))
        .section("Every try, in its order", vec![tries(course).into()])
        .render()
}

fn headline(course: &Course, answer: &Answer) -> Headline {
    let (word, tone) = match (course.stopped(), answer.last_safe) {
        (Some(_), _) => ("no answer".to_owned(), Tone::Unsure),
        (None, None) => ("holds nowhere".to_owned(), Tone::Bad),
        (None, Some(safe)) if answer.oddities.is_empty() => (course.setting(safe), Tone::Good),
        (None, Some(safe)) => (course.setting(safe), Tone::Unsure),
    };
    Headline::new(&word, course.sentence(), tone)
}

/// A card for each probe, a plot for each metric.
fn charts(course: &Course, answer: &Answer) -> Vec<Block> {
    let columns = course.columns();
    let mut probes: Vec<&str> = Vec::new();
    columns.iter().for_each(|column| {
        if !probes.contains(&column.probe.as_str()) {
            probes.push(&column.probe);
        }
    });
    let plots = |probe: &str| {
        let of_probe = columns.iter().filter(|column| column.probe == probe);
        of_probe.map(|column| plot(course, answer, column)).collect::<Vec<_>>()
    };
    probes.into_iter().map(|probe| Block::charts(probe, &plots(probe))).collect()
}

fn plot(course: &Course, answer: &Answer, column: &Column) -> Plot {
    let scale = course.question.scale;
    let (title, shown) = (course.variable.clone(), scale::shown(scale.unit));
    let across = if scale.by_ratio { Axis::Log { title, shown } } else { Axis::Linear { title, shown } };
    let points = course.tries.iter().filter_map(|tried| {
        let measured = tried.row(column)?.measured?;
        let (tone, note) = (Some(tried.end.sense().into()), tried.end.word().replace('_', " "));
        Some(Point { x: tried.value, y: Some(measured), tone, note })
    });
    let curve = Curve::new(column.metric.word().replace('_', " "), points.collect());
    let mut plot = Plot::new(column.metric.word().replace('_', " "), "each point is a run", column.metric, across);
    plot = plot.curve(curve);
    for row in course.tries.iter().filter_map(|tried| tried.row(column)).take(1) {
        for limit in &row.limits {
            let text = format!("{} {}", row.metric.word().replace('_', " "), row.tolerance);
            plot = plot.limit(Limit { value: *limit, text, aborts: false });
        }
    }
    let (good, bad) = if answer.bad == Bad::Large { (scale.low, scale.high) } else { (scale.high, scale.low) };
    let band = |one: f64, other: f64, label: &str, tone: Tone| Band {
        from: one.min(other),
        to: one.max(other),
        label: label.to_owned(),
        tone: Some(tone),
    };
    if let Some(safe) = answer.last_safe {
        plot = plot.band(band(good, safe, "held", Tone::Good));
    }
    if let Some(broken) = answer.first_broken {
        plot = plot.band(band(broken, bad, "broke", Tone::Bad));
    }
    plot
}

fn tries(course: &Course) -> Table {
    let table = Table::new("Each try is a whole run with its own page.", &[&course.variable, "Verdict", "Why"]);
    course.tries.iter().fold(table, |table, tried| {
        let slot = Slot::of(&tried.end, false);
        let verdict = Cell::new(slot.word.clone()).tone(tried.end.sense().into());
        let verdict = match &slot.href {
            Some(path) => verdict.link(path),
            None => verdict,
        };
        table.row(vec![Cell::new(tried.shown.clone()).code(), verdict, Cell::new(slot.title)])
    })
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
        for part in ["Delay=890ms", "holds up to delay=890ms, and breaks from delay=1.2s", "p99 &lt; 2s", "deviated"] {
            assert!(page.contains(part), "{part}");
        }
        assert_eq!(page.matches("<figure class=\"chart line\">").count(), 2);
    }
}
