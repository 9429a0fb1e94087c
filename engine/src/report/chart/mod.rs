//! Charts as geometry: what to draw for each series, in percent of width and height. The template writes the markup and
//! escapes every text; nothing here does.
//!
//! All charts of a page share the time axis, the fault windows and the marks of events.
//! Neighbours: `time` and `scale` are the axes, `line` and `strip` the two sorts of chart, `window` when faults were set,
//! `limit` what is promised; `page::plot` draws charts that are not of one run with the same parts.

pub(super) mod limit;
pub(super) mod line;
pub(super) mod scale;
mod strip;
pub(super) mod time;
mod window;

pub(super) use window::{Window, lanes};

use super::{moment, story};
use crate::{
    record::{RunRecord, SeriesRecord},
    sample::{Metric, MetricKind},
};
use limit::Limits;
use serde::Serialize;
use std::time::Duration;
use strip::Reading;
use time::{Tick, TimeAxis, round};

/// What every chart of a page has in common.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Frame {
    pub(super) x_ticks: Vec<Tick>,
    pub(super) windows: Vec<Window>,
    pub(super) lanes: usize,
    pub(super) phases: Vec<PhasePart>,
    pub(super) marks: Vec<Mark>,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct PhasePart {
    left: f64,
    width: f64,
    label: String,
    title: String,
}

/// The moment of an event, or of several too close to be told apart.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Mark {
    pub(super) at: f64,
    pub(super) sort: story::Sort,
    pub(super) sign: &'static str,
    pub(super) title: String,
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
pub(super) enum Chart {
    Line(line::LineChart),
    Strip(strip::Strip),
}

/// What all charts share.
pub(super) fn frame(record: &RunRecord) -> Frame {
    let axis = TimeAxis::of(record);
    let faults = record.end.as_ref().map_or(&[][..], |end| &end.faults);
    let surges = window::of_surges(&record.events, axis);
    let (windows, lanes) = lanes(window::of_faults(faults, axis).into_iter().chain(surges).collect());
    Frame { x_ticks: axis.ticks(), lanes, windows, phases: phases(record, axis), marks: marks(record, axis) }
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
        // What came is the measure of what came through.
        let rates: &[Metric] = if each(Metric::Goodput) { &[Metric::Rate, Metric::Goodput] } else { &[Metric::Rate] };
        charts.extend(line::bucketed("Rate", rates, samples, limits, axis).map(Chart::Line));
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
        story::Sort::Good | story::Sort::Note => 2,
        story::Sort::Phase => 1,
        story::Sort::Step | story::Sort::Quiet => 0,
    }
}

/// JSON that can stand in a script element: no text in it can end the element.
pub(super) fn for_script(value: &serde_json::Value) -> String {
    value.to_string().replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}
