//! Charts as geometry: what to draw for each series, in percent of width and height. The template writes the markup and
//! escapes every text; nothing here does.
//!
//! All charts of a page share the time axis, the fault windows and the marks of events.
//! Neighbours: `curve` has a varied value in place of time; `time` and `scale` are the axes, `line` and `strip` the two sorts of chart, `limit` what is promised.

pub(super) mod curve;
mod limit;
mod line;
mod scale;
mod strip;
mod time;

use super::{moment, story};
use crate::{
    record::{FaultRecord, RunRecord, SeriesRecord},
    sample::{Metric, MetricKind},
};
use limit::Limits;
use serde::Serialize;
use std::time::Duration;
use strip::Reading;
use time::{Tick, TimeAxis, round};

/// Faults side by side above a chart, at most; more are drawn over each other.
const MOST_LANES: usize = 4;

/// Percent of the width that a label needs on a small screen.
const ROOM: f64 = 45.0;

/// What every chart of a page has in common.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Frame {
    x_ticks: Vec<Tick>,
    windows: Vec<Window>,
    lanes: usize,
    phases: Vec<PhasePart>,
    marks: Vec<Mark>,
}

/// A stretch of time in which a fault was set.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Window {
    left: f64,
    width: f64,
    lane: usize,
    label: String,
    /// Where its label has room: to the next window of its lane, or from the one before.
    label_left: f64,
    label_width: f64,
    label_ends: bool,
    title: String,
}

#[derive(Debug, Clone, Serialize)]
struct PhasePart {
    left: f64,
    width: f64,
    label: String,
    title: String,
}

/// The moment of an event, or of several too close to be told apart.
#[derive(Debug, Clone, Serialize)]
struct Mark {
    at: f64,
    sort: story::Sort,
    sign: &'static str,
    title: String,
}

/// The charts of one series.
#[derive(Debug, Clone, Serialize)]
pub(super) struct SeriesCharts {
    name: String,
    count: usize,
    failed: usize,
    charts: Vec<Chart>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(tag = "sort", rename_all = "lowercase")]
enum Chart {
    Line(line::LineChart),
    Strip(strip::Strip),
}

/// What all charts share.
pub(super) fn frame(record: &RunRecord) -> Frame {
    let axis = TimeAxis::of(record);
    let faults = record.end.as_ref().map_or(&[][..], |end| &end.faults);
    let windows = windows(faults, axis);
    Frame {
        x_ticks: axis.ticks(),
        lanes: windows.iter().map(|window| window.lane + 1).max().unwrap_or_default(),
        windows,
        phases: phases(record, axis),
        marks: marks(record, axis),
    }
}

/// Every chart, series by series.
pub(super) fn charts(record: &RunRecord) -> Vec<SeriesCharts> {
    let axis = TimeAxis::of(record);
    record.series.iter().map(|series| series_charts(series, record, axis)).collect()
}

fn series_charts(series: &SeriesRecord, record: &RunRecord, axis: TimeAxis) -> SeriesCharts {
    let (rows, aborts) = record.end.as_ref().map_or((&[][..], &[][..]), |end| (&end.rows, &end.aborts));
    let limits = &Limits::of_series(&series.name, rows, aborts);
    let samples = &series.samples;
    let traffic = series.name.starts_with("traffic.");
    let asked = |kind: MetricKind| limits.metrics().any(|metric| metric.kind() == kind);
    let each = |wanted: Metric| limits.metrics().any(|metric| metric == wanted);
    let values = samples.iter().any(|sample| sample.value.is_some());

    let mut charts = vec![];
    if values && !traffic {
        charts.extend(line::readings("Value", samples, limits, axis).map(Chart::Line));
    }
    let texts = each(Metric::Body);
    if each(Metric::Status) || !(traffic || values || texts) {
        charts.extend(strip::strip(Reading::Status, samples, axis).map(Chart::Strip));
    }
    if texts {
        charts.extend(strip::strip(Reading::Text, samples, axis).map(Chart::Strip));
    }
    if traffic || asked(MetricKind::Time) || !values {
        let times = times(limits);
        charts.extend(line::bucketed("Response time", &times, samples, limits, axis).map(Chart::Line));
    }
    if traffic || asked(MetricKind::Ratio) {
        let ratio = [Metric::SuccessRatio];
        charts.extend(line::bucketed("Success ratio", &ratio, samples, limits, axis).map(Chart::Line));
    }
    if asked(MetricKind::Rate) {
        charts.extend(line::bucketed("Rate", &[Metric::Rate], samples, limits, axis).map(Chart::Line));
    }
    let failed = samples.iter().filter(|sample| !sample.ok).count();
    SeriesCharts { name: series.name.clone(), count: samples.len(), failed, charts }
}

/// The times that are judged, the highest first, and the median to compare with.
fn times(limits: &Limits<'_>) -> Vec<Metric> {
    let mut times: Vec<Metric> = limits.metrics().filter(|metric| metric.kind() == MetricKind::Time).collect();
    if times.is_empty() {
        times.push(Metric::P99);
    }
    times.push(Metric::P50);
    times.sort_unstable_by(|one, other| other.cmp(one));
    times.dedup();
    times
}

/// One window for the faults of a step on a proxy, however many agents have it; overlapping ones in lanes.
fn windows(faults: &[FaultRecord], axis: TimeAxis) -> Vec<Window> {
    let mut merged: Vec<(&FaultRecord, Duration, Duration, usize)> = vec![];
    for fault in faults {
        let to = fault.to.unwrap_or_else(|| axis.total());
        let same =
            |other: &FaultRecord| (&other.step, &other.proxy, &other.kind) == (&fault.step, &fault.proxy, &fault.kind);
        match merged.iter_mut().find(|(other, from, until, _)| same(other) && fault.from <= *until && *from <= to) {
            Some((_, from, until, count)) => {
                (*from, *until, *count) = ((*from).min(fault.from), (*until).max(to), *count + 1);
            }
            None => merged.push((fault, fault.from, to, 1)),
        }
    }
    merged.sort_by_key(|(_, from, _, _)| *from);
    let mut ends: Vec<Duration> = vec![];
    let lane = |ends: &mut Vec<Duration>, from: Duration, to: Duration| {
        let free = ends.iter().position(|end| *end <= from).unwrap_or(ends.len()).min(MOST_LANES - 1);
        if free == ends.len() {
            ends.push(to);
        }
        ends[free] = ends[free].max(to);
        free
    };
    let mut windows: Vec<Window> = merged
        .into_iter()
        .map(|(fault, from, to, count)| {
            let many = if count > 1 { format!(" ×{count}") } else { String::new() };
            let gone = if fault.to.is_some() { "" } else { ", not confirmed gone" };
            Window {
                left: axis.at(from),
                width: round(axis.at(to) - axis.at(from)).max(0.3),
                lane: lane(&mut ends, from, to),
                label: format!("{} · {}{many}", fault.kind, fault.proxy),
                label_left: 0.0,
                label_width: 100.0,
                label_ends: false,
                title: format!(
                    "{}: {} on {}, {} to {}{gone}",
                    fault.step,
                    fault.shown,
                    fault.proxy,
                    moment(from),
                    moment(to)
                ),
            }
        })
        .collect();
    make_room(&mut windows);
    windows
}

/// Lets a label reach beyond its window where its lane is free: to the right, or to the left if there is more room.
fn make_room(windows: &mut [Window]) {
    for lane in 0..MOST_LANES {
        let mut taken = 0.0;
        let of_lane: Vec<usize> = (0..windows.len()).filter(|index| windows[*index].lane == lane).collect();
        for (place, index) in of_lane.iter().enumerate() {
            let next = of_lane.get(place + 1).map_or(100.0, |next| windows[*next].left);
            let window = &mut windows[*index];
            let end = window.left + window.width;
            let (right, left) = (next.max(end) - window.left, end - taken);
            window.label_ends = right < ROOM && left > right;
            window.label_left = if window.label_ends { round(taken) } else { window.left };
            window.label_width = round(right.max(if window.label_ends { left } else { right }));
            taken = end;
        }
    }
}

fn phases(record: &RunRecord, axis: TimeAxis) -> Vec<PhasePart> {
    let starts: Vec<(Duration, &str)> = record
        .events
        .iter()
        .filter_map(|event| match &event.what {
            crate::event::What::Phase { phase, .. } => Some((event.at, phase.word())),
            _ => None,
        })
        .collect();
    let ends = starts.iter().skip(1).map(|(at, _)| *at).chain([axis.total()]);
    starts
        .iter()
        .zip(ends)
        .map(|((from, word), to)| PhasePart {
            left: axis.at(*from),
            width: round(axis.at(to) - axis.at(*from)),
            label: (*word).to_owned(),
            title: format!("{word}: {} to {}", moment(*from), moment(to)),
        })
        .collect()
}

/// Marks closer than a percent become one with all their titles; it shows the sort of the gravest.
fn marks(record: &RunRecord, axis: TimeAxis) -> Vec<Mark> {
    let mut marks: Vec<Mark> = vec![];
    for event in &record.events {
        let told = story::tell(event);
        if !told.marked {
            continue;
        }
        let (at, title) = (axis.at(event.at), format!("{} – {}", moment(event.at), told.title));
        match marks.last_mut() {
            Some(last) if at - last.at < 1.0 => {
                last.title = format!("{}\n{title}", last.title);
                if weight(told.sort) > weight(last.sort) {
                    (last.sort, last.sign) = (told.sort, told.sort.sign());
                }
            }
            _ => marks.push(Mark { at, sort: told.sort, sign: told.sort.sign(), title }),
        }
    }
    marks
}

const fn weight(sort: story::Sort) -> u8 {
    match sort {
        story::Sort::Bad => 5,
        story::Sort::Inject => 4,
        story::Sort::Remove => 3,
        story::Sort::Good => 2,
        story::Sort::Phase => 1,
        story::Sort::Step | story::Sort::Quiet => 0,
    }
}

/// JSON that can stand in a script element: no text in it can end the element.
fn for_script(value: &serde_json::Value) -> String {
    value.to_string().replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

#[cfg(test)]
mod tests {
    use super::{MOST_LANES, TimeAxis, Window, windows};
    use crate::record::FaultRecord;
    use std::time::Duration;

    fn fault(agent: &str, step: &str, from: u64, to: Option<u64>) -> FaultRecord {
        FaultRecord {
            step: step.into(),
            agent: agent.into(),
            proxy: "payment".into(),
            name: "latency-1".into(),
            kind: "latency".into(),
            shown: "{latency: {delay: 1s}}".into(),
            seed: None,
            from: Duration::from_secs(from),
            to: to.map(Duration::from_secs),
            hits: None,
        }
    }

    fn drawn(faults: &[FaultRecord]) -> Vec<Window> {
        // A second is a percent.
        windows(faults, TimeAxis::lasting(Duration::from_secs(100)))
    }

    #[test]
    fn the_same_fault_on_many_agents_is_one_window() {
        let windows = drawn(&[fault("a", "slow", 10, Some(20)), fault("b", "slow", 11, Some(22))]);
        assert_eq!(windows.len(), 1);
        assert_eq!((windows[0].left, windows[0].width), (10.0, 12.0));
        assert_eq!(windows[0].label, "latency · payment ×2");
    }

    #[test]
    fn overlapping_faults_lie_in_lanes_and_a_free_lane_is_used_again() {
        let windows = drawn(&[
            fault("a", "one", 10, Some(30)),
            fault("a", "two", 20, Some(40)),
            fault("a", "three", 30, Some(50)),
        ]);
        assert_eq!(windows.iter().map(|window| window.lane).collect::<Vec<_>>(), [0, 1, 0]);
        let many: Vec<_> = (0..9).map(|number| fault("a", &number.to_string(), number, Some(90))).collect();
        assert!(drawn(&many).iter().all(|window| window.lane < MOST_LANES));
    }

    #[test]
    fn a_fault_that_is_not_confirmed_gone_reaches_to_the_end() {
        let windows = drawn(&[fault("a", "slow", 40, None)]);
        assert_eq!(windows[0].width, 60.0);
        assert!(windows[0].title.ends_with("not confirmed gone"));
    }

    #[test]
    fn a_label_near_the_end_has_its_room_to_the_left() {
        let windows = drawn(&[fault("a", "early", 10, Some(20)), fault("a", "late", 90, Some(99))]);
        assert!(!windows[0].label_ends && windows[1].label_ends);
        assert_eq!((windows[0].label_left, windows[0].label_width), (10.0, 80.0));
        assert_eq!((windows[1].label_left, windows[1].label_width), (20.0, 79.0));
    }
}
