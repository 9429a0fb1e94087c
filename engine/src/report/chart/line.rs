//! Charts with lines: response times, success, rates and values over time, with what was promised and what aborts.
//!
//! Times and ratios are one point a bucket, computed over its samples as for judging; values are as they were read.
//! Neighbours: `time`, `scale`; `mod` chooses what to draw; the page's template writes the markup.

use super::{
    limit::{Limit, Limits},
    scale::Scale,
    time::{Tick, TimeAxis, round},
};
use crate::{
    report::{length, moment, page::Tone},
    sample::{Metric, MetricKind, Sample},
    stats::measure,
};
use serde::Serialize;
use serde_json::json;
use std::time::Duration;

/// Values drawn as they were read, at most; beyond that the lowest and the highest of each bucket are.
const MOST_READINGS: usize = 480;

/// A limit more than so many times as far out as the data would press the data flat: it is named instead of drawn.
const FARTHEST_LIMIT: f64 = 2.5;

/// A success ratio is shown down to here at least.
const LEAST_DIP: f64 = 0.0025;

/// A chart, in percent of its width and height, ready for the template.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct LineChart {
    pub(crate) title: String,
    pub(crate) note: String,
    pub(crate) summary: String,
    /// What lies along the bottom; empty: time since the run started, as everywhere on the page.
    pub(crate) x_title: String,
    pub(crate) y_ticks: Vec<Tick>,
    pub(crate) lines: Vec<Line>,
    pub(crate) dots: Vec<Dot>,
    pub(crate) limits: Vec<Limit>,
    /// For the values under the pointer, as JSON that can stand in a script element.
    pub(crate) data: String,
}

/// One line of a chart.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Line {
    /// Which colour, weight and dashes: `0` is the one to look at.
    pub(crate) style: usize,
    pub(crate) name: String,
    pub(crate) path: String,
}

/// A point that says how it turned out.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Dot {
    pub(crate) left: f64,
    pub(crate) top: f64,
    pub(crate) tone: Tone,
    pub(crate) sign: &'static str,
    pub(crate) title: String,
}

/// The points of one metric: when, and what; nothing where nothing could be measured.
pub(super) struct Points {
    pub(super) metric: Metric,
    pub(super) name: String,
    pub(super) points: Vec<(Duration, Option<f64>)>,
}

/// The metrics over buckets of time.
pub(crate) fn bucketed(
    title: &str,
    metrics: &[Metric],
    samples: &[Sample],
    limits: &Limits<'_>,
    axis: TimeAxis,
) -> Option<LineChart> {
    let first = *metrics.first()?;
    let width = axis.bucket();
    let buckets = buckets(samples, width);
    let lines = metrics
        .iter()
        .map(|metric| Points {
            metric: *metric,
            name: metric.word().replace('_', " "),
            points: buckets.iter().map(|(middle, samples)| (*middle, measure(*metric, samples, width))).collect(),
        })
        .collect();
    let note = format!("each point is {} of samples", length(width));
    Some(chart(title, note, first, lines, limits, axis, false))
}

/// The values as they were read.
pub(crate) fn readings(title: &str, samples: &[Sample], limits: &Limits<'_>, axis: TimeAxis) -> Option<LineChart> {
    let mut points: Vec<(Duration, Option<f64>)> =
        samples.iter().map(|sample| (sample.at, sample.value.filter(|_| sample.ok))).collect();
    if points.iter().all(|(_, value)| value.is_none()) {
        return None;
    }
    points.sort_by_key(|(at, _)| *at);
    let note = if points.len() > MOST_READINGS {
        points = extremes(&points, axis.bucket());
        "the lowest and the highest reading of each moment".to_owned()
    } else {
        "each reading; a gap is a reading that failed".to_owned()
    };
    let points = Points { metric: Metric::Value, name: "value".to_owned(), points };
    Some(chart(title, note, Metric::Value, vec![points], limits, axis, true))
}

/// These lines with the limits of their metric.
pub(super) fn chart(
    title: &str,
    note: String,
    metric: Metric,
    lines: Vec<Points>,
    limits: &Limits<'_>,
    axis: TimeAxis,
    steps: bool,
) -> LineChart {
    let values = || lines.iter().flat_map(|line| line.points.iter().filter_map(|(_, value)| *value));
    let reach = reach(metric, values(), limits);
    let near = |value: f64, limit: &Limit| distance(metric, value) <= reach || (is_ratio(metric) && limit.is_promise());
    let drawn = limits.of(metric).filter(|(value, limit)| near(*value, limit)).map(|(value, _)| value);
    let scale = Scale::around(metric, values().chain(drawn));
    LineChart {
        title: title.to_owned(),
        summary: summary(&lines),
        x_title: String::new(),
        dots: vec![],
        y_ticks: scale.ticks(metric),
        limits: limits.placed(metric, |value, limit| near(value, limit).then(|| scale.at(value))),
        data: data(&lines, axis),
        lines: lines
            .iter()
            .enumerate()
            .map(|(style, line)| Line { style, name: line.name.clone(), path: path(line, axis, scale, steps) })
            .collect(),
        note,
    }
}

/// How far out a limit may lie to be drawn.
fn reach(metric: Metric, values: impl Iterator<Item = f64>, limits: &Limits<'_>) -> f64 {
    let data = values.map(|value| distance(metric, value)).fold(0.0, f64::max);
    if !is_ratio(metric) {
        return if data == 0.0 { f64::INFINITY } else { data * FARTHEST_LIMIT };
    }
    let promises = limits.of(metric).filter(|(_, limit)| limit.is_promise());
    promises.map(|(value, _)| distance(metric, value)).fold(data.max(LEAST_DIP), f64::max) * FARTHEST_LIMIT
}

/// How far a value is from where its axis begins: 0, and for ratios 100 %.
fn distance(metric: Metric, value: f64) -> f64 {
    if is_ratio(metric) { 1.0 - value } else { value.abs() }
}

fn is_ratio(metric: Metric) -> bool {
    metric.kind() == MetricKind::Ratio
}

/// Samples by the moment at which they were due, each bucket with its middle; empty ones too, so that gaps are seen.
fn buckets(samples: &[Sample], width: Duration) -> Vec<(Duration, Vec<Sample>)> {
    let number = |at: Duration| (at.as_secs_f64() / width.as_secs_f64()) as usize;
    let count = samples.iter().map(|sample| number(sample.at) + 1).max().unwrap_or_default();
    let mut buckets: Vec<(Duration, Vec<Sample>)> =
        (0..count).map(|bucket| (width.mul_f64(bucket as f64 + 0.5), vec![])).collect();
    for sample in samples {
        buckets[number(sample.at)].1.push(sample.clone());
    }
    buckets
}

/// A metric over buckets of time.
pub(crate) fn bucketed_values(metric: Metric, samples: &[Sample], width: Duration) -> Vec<(Duration, Option<f64>)> {
    buckets(samples, width).into_iter().map(|(middle, samples)| (middle, measure(metric, &samples, width))).collect()
}

/// The lowest and the highest value of each bucket, in their order.
fn extremes(points: &[(Duration, Option<f64>)], width: Duration) -> Vec<(Duration, Option<f64>)> {
    let bucket = |at: Duration| (at.as_secs_f64() / width.as_secs_f64()) as u64;
    points
        .chunk_by(|one, other| bucket(one.0) == bucket(other.0))
        .flat_map(|chunk| {
            let values = || chunk.iter().filter(|(_, value)| value.is_some());
            let lowest = values().min_by(|one, other| one.1.unwrap_or(0.0).total_cmp(&other.1.unwrap_or(0.0)));
            let highest = values().max_by(|one, other| one.1.unwrap_or(0.0).total_cmp(&other.1.unwrap_or(0.0)));
            let mut both: Vec<_> = lowest.into_iter().chain(highest).copied().collect();
            both.sort_by_key(|(at, _)| *at);
            both.dedup();
            if both.is_empty() { chunk[..1].to_vec() } else { both }
        })
        .collect()
}

/// An SVG path in percent. A point between two gaps becomes a line of no length, which round ends make a dot.
fn path(line: &Points, axis: TimeAxis, scale: Scale, steps: bool) -> String {
    let mut path = String::new();
    let mut drawing = false;
    for (at, value) in &line.points {
        let Some(value) = value else {
            drawing = false;
            continue;
        };
        let (x, y) = (axis.at(*at), scale.at(*value));
        match (drawing, steps) {
            (false, _) => path.push_str(&format!("M{x} {y}h0")),
            (true, false) => path.push_str(&format!("L{x} {y}")),
            (true, true) => path.push_str(&format!("H{x}V{y}")),
        }
        drawing = true;
    }
    path
}

/// What a chart shows, for those who do not see it.
fn summary(lines: &[Points]) -> String {
    let lines = lines.iter().map(|line| {
        let values = || line.points.iter().filter_map(|(at, value)| value.map(|value| (*at, value)));
        let lowest = values().min_by(|one, other| one.1.total_cmp(&other.1));
        let highest = values().max_by(|one, other| one.1.total_cmp(&other.1));
        match (lowest, highest) {
            (Some((low_at, low)), Some((high_at, high))) => format!(
                "{} between {} (at {}) and {} (at {})",
                line.name,
                line.metric.shown(low),
                moment(low_at),
                line.metric.shown(high),
                moment(high_at)
            ),
            _ => format!("{}: nothing measured", line.name),
        }
    });
    lines.collect::<Vec<_>>().join("; ")
}

fn data(lines: &[Points], axis: TimeAxis) -> String {
    let Some(first) = lines.first() else { return "null".to_owned() };
    let series = lines.iter().map(|line| {
        let shown = |value: &Option<f64>| value.map_or_else(|| "–".to_owned(), |value| line.metric.shown(value));
        json!({ "name": line.name, "shown": line.points.iter().map(|(_, value)| shown(value)).collect::<Vec<_>>() })
    });
    let data = json!({
        "x": first.points.iter().map(|(at, _)| round(axis.at(*at))).collect::<Vec<_>>(),
        "at": first.points.iter().map(|(at, _)| moment(*at)).collect::<Vec<_>>(),
        "series": series.collect::<Vec<_>>(),
    });
    super::for_script(&data)
}

#[cfg(test)]
mod tests {
    use super::{Points, Scale, TimeAxis, buckets, extremes, path};
    use crate::sample::{Metric, Sample};
    use std::time::Duration;

    fn at(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    fn sample(seconds: f64) -> Sample {
        Sample { at: at(seconds), took: Duration::ZERO, ok: true, status: None, value: None, text: None }
    }

    #[test]
    fn buckets_without_samples_are_kept_so_that_gaps_are_seen() {
        let buckets = buckets(&[sample(0.2), sample(3.1), sample(0.9)], at(1.0));
        let counts: Vec<_> = buckets.iter().map(|(middle, samples)| (middle.as_secs_f64(), samples.len())).collect();
        assert_eq!(counts, [(0.5, 2), (1.5, 0), (2.5, 0), (3.5, 1)]);
    }

    #[test]
    fn a_peak_survives_when_readings_are_thinned_out() {
        let mut points: Vec<_> = (0..1000u32).map(|number| (at(f64::from(number) / 100.0), Some(1.0))).collect();
        (points[537].1, points[777].1) = (Some(99.0), None);
        let thinned = extremes(&points, at(0.5));
        assert!(thinned.len() <= 40);
        assert!(thinned.contains(&points[537]));
        assert!(thinned.is_sorted_by_key(|(at, _)| *at));
    }

    #[test]
    fn a_line_breaks_where_nothing_was_measured() {
        let axis = TimeAxis::lasting(at(4.0));
        let scale = Scale::around(Metric::Value, [0.0, 4.0].into_iter());
        let points = [(0.0, Some(0.0)), (1.0, Some(4.0)), (2.0, None), (3.0, Some(2.0))];
        let line = |points: &[(f64, Option<f64>)]| Points {
            metric: Metric::Value,
            name: String::new(),
            points: points.iter().map(|(seconds, value)| (at(*seconds), *value)).collect(),
        };
        assert_eq!(path(&line(&points), axis, scale, false), "M0 100h0L25 0M75 50h0");
        assert_eq!(path(&line(&points), axis, scale, true), "M0 100h0H25V0M75 50h0");
    }
}
