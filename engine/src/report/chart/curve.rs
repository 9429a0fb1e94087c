//! Charts over a varied value in place of time: each metric of the steady state at each value that was tried.
//!
//! Neighbours: `line` is the same chart over time, and its template draws both; `report::limit` is the page.
//! Invariant: every try is a mark on the axis, whether or not it measured anything.

use super::{
    Chart, Frame, Mark, SeriesCharts, Window, for_script,
    limit::Limits,
    line::{Line, LineChart},
    scale::Scale,
    time::{Tick, round},
};
use crate::{
    report::story::Sort,
    search::{
        cell::Sense,
        course::{Column, Course, Tried},
        limit::Bad,
    },
};
use serde_json::json;

/// Two labels of the axis closer than this, in percent, would cover each other.
const ROOM: f64 = 9.0;

fn at(course: &Course, value: f64) -> f64 {
    // Room at both ends, so that the edges' marks are whole.
    round(3.0 + course.question.scale.position(value) * 94.0)
}

/// The axis: ticks at the values that were tried, a mark for each try, and a window over what is broken.
pub(crate) fn frame(course: &Course) -> Frame {
    let answer = course.answer();
    let mut x_ticks: Vec<Tick> = Vec::new();
    let matter = |tried: &Tried| Some(tried.value) == answer.last_safe || Some(tried.value) == answer.first_broken;
    let scale = course.question.scale;
    let edge = |tried: &Tried| tried.value == scale.low || tried.value == scale.high;
    let mut tries = course.by_value();
    tries.sort_by_key(|tried| (!matter(tried), !edge(tried)));
    for tried in tries {
        let place = at(course, tried.value);
        if x_ticks.iter().all(|tick| (tick.at - place).abs() >= ROOM) {
            x_ticks.push(Tick { at: place, label: tried.shown.clone(), minor: !matter(tried) && !edge(tried) });
        }
    }
    let windows = answer.first_broken.map(|broken| {
        let place = at(course, broken);
        let (left, width) = if answer.bad == Bad::Large { (place, 100.0 - place) } else { (0.0, place) };
        let label = "breaks".to_owned();
        let title = format!("breaks from {}", course.setting(broken));
        let label_ends = answer.bad == Bad::Large && width < 10.0;
        let (label_left, label_width) = if label_ends { (0.0, 100.0) } else { (left, 100.0 - left) };
        Window { left, width: round(width), lane: 0, label, label_left, label_width, label_ends, title }
    });
    let windows: Vec<Window> = windows.into_iter().collect();
    let marks = course.by_value().into_iter().map(|tried| mark(course, tried)).collect();
    Frame { x_ticks, lanes: windows.len(), windows, phases: Vec::new(), marks }
}

fn mark(course: &Course, tried: &Tried) -> Mark {
    let (sort, sign) = match tried.end.sense() {
        Sense::Held => (Sort::Good, Sort::Good.sign()),
        Sense::Broke => (Sort::Bad, Sort::Bad.sign()),
        Sense::Unknown => (Sort::Quiet, "?"),
    };
    let reason = if tried.end.reason.is_empty() { String::new() } else { format!(": {}", tried.end.reason) };
    Mark { at: at(course, tried.value), sort, sign, title: format!("{} – {}{reason}", tried.shown, tried.end.word()) }
}

/// A chart for each metric, probe by probe.
pub(crate) fn charts(course: &Course) -> Vec<SeriesCharts> {
    let mut series: Vec<SeriesCharts> = Vec::new();
    for column in course.columns() {
        let Some(chart) = chart(course, &column) else { continue };
        let count = course.tries.len();
        match series.iter_mut().find(|known| known.name == column.probe) {
            Some(known) => known.charts.push(Chart::Line(chart)),
            None => {
                let (name, charts) = (column.probe.clone(), vec![Chart::Line(chart)]);
                series.push(SeriesCharts { name, count, failed: 0, charts });
            }
        }
    }
    series
}

fn chart(course: &Course, column: &Column) -> Option<LineChart> {
    let metric = column.metric;
    let points: Vec<(&Tried, f64)> =
        course.by_value().into_iter().filter_map(|tried| Some((tried, tried.row(column)?.measured?))).collect();
    let rows: Vec<_> = course.tries.iter().flat_map(|tried| tried.during.iter().cloned()).collect();
    let limits = Limits::of_series(&column.probe, &rows, &[]);
    let values = points.iter().map(|(_, value)| *value);
    points.first()?;
    let scale = Scale::around(metric, values.chain(limits.of(metric).map(|(limit, _)| limit)));
    let path = points.iter().enumerate().map(|(number, (tried, value))| {
        let (letter, end) = if number == 0 { ("M", "h0") } else { ("L", "") };
        format!("{letter}{} {}{end}", at(course, tried.value), scale.at(*value))
    });
    let name = metric.word().replace('_', " ");
    let told = points.iter().map(|(tried, value)| format!("{} at {}", metric.shown(*value), tried.shown));
    let data = json!({
        "x": points.iter().map(|(tried, _)| at(course, tried.value)).collect::<Vec<_>>(),
        "at": points.iter().map(|(tried, _)| course.setting(tried.value)).collect::<Vec<_>>(),
        "series": [{
            "name": name,
            "shown": points.iter().map(|(_, value)| metric.shown(*value)).collect::<Vec<_>>(),
        }],
    });
    Some(LineChart {
        title: name.clone(),
        note: format!("over {}, during the fault", course.variable),
        summary: format!("{name}: {}", told.collect::<Vec<_>>().join(", ")),
        y_ticks: scale.ticks(metric),
        limits: limits.placed(metric, |value, _| Some(scale.at(value))),
        lines: vec![Line { style: 0, name, path: path.collect() }],
        data: for_script(&data),
    })
}
