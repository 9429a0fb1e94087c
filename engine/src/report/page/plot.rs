//! Charts that are not of one run: two runs over each other, or what a metric does as a fault grows.
//!
//! Made of values, drawn by the same template as the charts of a run. Neighbours: `chart` has the axes and the run's own
//! charts, `block` puts plots on a page. Invariant: a curve with many points keeps its lowest and its highest.

use super::Tone;
use crate::{
    report::{
        chart::{
            Chart, Frame, Mark, Window, for_script, lanes, limit,
            line::{Dot, Line, LineChart, bucketed_values},
            scale::{Scale, round_step},
            time::{Tick, TimeAxis, round},
        },
        moment, story,
    },
    sample::{Metric, Sample},
};
use serde::Serialize;
use serde_json::json;
use std::time::Duration;

/// Points of a curve that are drawn, at most; beyond that, the lowest and the highest of each stretch.
const MOST_POINTS: usize = 480;

/// What lies along the bottom of a plot.
#[derive(Debug, Clone)]
pub enum Axis {
    /// Seconds since a run started.
    Time,
    /// Any number, in equal steps.
    Linear {
        /// What it is.
        title: String,
        /// A value as people read it.
        shown: fn(f64) -> String,
    },
    /// Numbers above 0, each step a multiple of the one before.
    Log {
        /// What it is.
        title: String,
        /// A value as people read it.
        shown: fn(f64) -> String,
    },
}

/// One point of a curve.
#[derive(Debug, Clone)]
pub struct Point {
    /// Where along the bottom.
    pub x: f64,
    /// What was measured there, in the metric's base unit; none is a gap.
    pub y: Option<f64>,
    /// Draws it as a sign of this tone.
    pub tone: Option<Tone>,
    /// What is said of it under the pointer, after its value.
    pub note: String,
}

/// One curve.
#[derive(Debug, Clone)]
pub struct Curve {
    name: String,
    points: Vec<Point>,
}

/// A stretch along the bottom: when a fault was set, or how far something held.
#[derive(Debug, Clone)]
pub struct Band {
    /// From here …
    pub from: f64,
    /// … to here.
    pub to: f64,
    /// What it says.
    pub label: String,
    /// How it is coloured; none: as the window of a fault.
    pub tone: Option<Tone>,
}

/// A line across a plot.
#[derive(Debug, Clone)]
pub struct Limit {
    /// In the metric's base unit.
    pub value: f64,
    /// The condition as written.
    pub text: String,
    /// Whether it would abort; else it was promised.
    pub aborts: bool,
}

/// A chart of one metric.
#[derive(Debug, Clone)]
pub struct Plot {
    title: String,
    note: String,
    metric: Metric,
    axis: Axis,
    curves: Vec<Curve>,
    limits: Vec<Limit>,
    bands: Vec<Band>,
    marks: Vec<(f64, String)>,
}

/// A plot as geometry, for the template.
#[derive(Debug, Clone, Serialize)]
pub struct Drawn {
    frame: Frame,
    chart: Chart,
}

impl Curve {
    /// A curve through these points, from left to right.
    #[must_use]
    pub fn new(name: impl Into<String>, mut points: Vec<Point>) -> Self {
        points.sort_by(|one, other| one.x.total_cmp(&other.x));
        Self { name: name.into(), points }
    }

    /// The metric of these samples over the time since their run started, a point for each stretch this long.
    #[must_use]
    pub fn over_time(name: impl Into<String>, metric: Metric, samples: &[Sample], stretch: Duration) -> Self {
        let points = bucketed_values(metric, samples, stretch).into_iter();
        let point =
            |(at, y): (Duration, Option<f64>)| Point { x: at.as_secs_f64(), y, tone: None, note: String::new() };
        Self::new(name, points.map(point).collect())
    }
}

impl Plot {
    /// A chart of this metric, with a short note on what a point is.
    #[must_use]
    pub fn new(title: impl Into<String>, note: impl Into<String>, metric: Metric, axis: Axis) -> Self {
        let (title, note) = (title.into(), note.into());
        Self { title, note, metric, axis, curves: vec![], limits: vec![], bands: vec![], marks: vec![] }
    }

    /// With one more curve; the first is the one to look at.
    #[must_use]
    pub fn curve(mut self, curve: Curve) -> Self {
        self.curves.push(curve);
        self
    }

    /// With a line across.
    #[must_use]
    pub fn limit(mut self, limit: Limit) -> Self {
        self.limits.push(limit);
        self
    }

    /// With a stretch along the bottom.
    #[must_use]
    pub fn band(mut self, band: Band) -> Self {
        self.bands.push(band);
        self
    }

    /// With an upright line, and what is said of it.
    #[must_use]
    pub fn mark(mut self, x: f64, label: impl Into<String>) -> Self {
        self.marks.push((x, label.into()));
        self
    }

    /// As geometry; none when nothing was measured.
    pub(super) fn drawn(&self) -> Option<Drawn> {
        let values = || self.curves.iter().flat_map(|curve| curve.points.iter().filter_map(|point| point.y));
        values().next()?;
        let across = &Across::of(self);
        let limits = self.limits.iter().map(|limit| limit.value);
        let scale = Scale::around(self.metric, values().chain(limits));
        let frame = self.frame(across);
        let curves: Vec<Curve> = self.curves.iter().map(|curve| thinned(curve, MOST_POINTS)).collect();
        let place = &|point: &Point| point.y.map(|y| (across.at(point.x), scale.at(y)));
        let dots = self.curves.iter().flat_map(|curve| {
            curve.points.iter().filter_map(move |point| {
                let ((left, top), tone) = (place(point)?, point.tone?);
                let title = format!("{} at {}{}", self.shown(point), across.shown(point.x), noted(&point.note));
                Some(Dot { left, top, tone, sign: tone.sign(), title })
            })
        });
        let chart = LineChart {
            title: self.title.clone(),
            note: self.note.clone(),
            summary: self.summary(across),
            x_title: across.title(),
            y_ticks: scale.ticks(self.metric),
            limits: self.placed(scale),
            data: self.data(across, &curves),
            dots: dots.collect(),
            lines: curves
                .iter()
                .enumerate()
                .map(|(style, curve)| Line { style, name: curve.name.clone(), path: path(curve, place) })
                .collect(),
        };
        Some(Drawn { frame, chart: Chart::Line(chart) })
    }

    fn frame(&self, across: &Across<'_>) -> Frame {
        let windows = self.bands.iter().map(|band| {
            let (left, right) = (across.at(band.from), across.at(band.to));
            let title = format!("{}: {} to {}", band.label, across.shown(band.from), across.shown(band.to));
            Window::of_band(left, round(right - left).max(0.3), band.label.clone(), title, band.tone)
        });
        let marks = self.marks.iter().map(|(x, label)| {
            let sort = story::Sort::Phase;
            Mark { at: across.at(*x), sort, sign: sort.sign(), title: format!("{}: {label}", across.shown(*x)) }
        });
        let (windows, lanes) = lanes(windows.collect());
        Frame { x_ticks: across.ticks(), windows, lanes, phases: vec![], marks: marks.collect() }
    }

    fn placed(&self, scale: Scale) -> Vec<limit::Limit> {
        let mut placed: Vec<limit::Limit> = vec![];
        for Limit { value, text, aborts } in &self.limits {
            let kind = if *aborts { "abort" } else { "tolerance" };
            let limit = limit::Limit::new(kind, Some(scale.at(*value)), self.metric.shown(*value), text.clone());
            if !placed.iter().any(|known| known.is_same(&limit)) {
                let limit = limit.unless_named(&placed);
                placed.push(limit);
            }
        }
        placed
    }

    fn shown(&self, point: &Point) -> String {
        point.y.map_or_else(|| "–".to_owned(), |y| self.metric.shown(y))
    }

    fn summary(&self, across: &Across<'_>) -> String {
        let curve = |curve: &Curve| {
            let values = || curve.points.iter().filter(|point| point.y.is_some());
            let by = |one: &&Point, other: &&Point| one.y.unwrap_or(0.0).total_cmp(&other.y.unwrap_or(0.0));
            match (values().min_by(by), values().max_by(by)) {
                (Some(low), Some(high)) => format!(
                    "{} between {} (at {}) and {} (at {})",
                    curve.name,
                    self.shown(low),
                    across.shown(low.x),
                    self.shown(high),
                    across.shown(high.x)
                ),
                _ => format!("{}: nothing measured", curve.name),
            }
        };
        self.curves.iter().map(curve).collect::<Vec<_>>().join("; ")
    }

    /// Every place at which any curve has a point, and what each says there.
    fn data(&self, across: &Across<'_>, curves: &[Curve]) -> String {
        let mut places: Vec<f64> = curves.iter().flat_map(|curve| curve.points.iter().map(|point| point.x)).collect();
        places.sort_by(f64::total_cmp);
        places.dedup();
        let series = curves.iter().map(|curve| {
            let mut points = curve.points.iter().peekable();
            let at = |x: &f64| {
                while points.next_if(|point| point.x < *x).is_some() {}
                let point = points.peek().filter(|point| point.x == *x)?;
                Some(format!("{}{}", self.shown(point), noted(&point.note)))
            };
            json!({ "name": curve.name, "shown": places.iter().map(at).collect::<Vec<_>>() })
        });
        let series: Vec<_> = series.collect();
        for_script(&json!({
            "x": places.iter().map(|x| across.at(*x)).collect::<Vec<_>>(),
            "at": places.iter().map(|x| across.shown(*x)).collect::<Vec<_>>(),
            "series": series,
        }))
    }
}

fn noted(note: &str) -> String {
    if note.is_empty() { String::new() } else { format!(" · {note}") }
}

/// An SVG path in percent; a point between two gaps is a line of no length, which round ends make a dot.
fn path(curve: &Curve, place: impl Fn(&Point) -> Option<(f64, f64)>) -> String {
    let mut drawing = false;
    curve.points.iter().fold(String::new(), |mut path, point| {
        match place(point) {
            Some((x, y)) if drawing => path.push_str(&format!("L{x} {y}")),
            Some((x, y)) => path.push_str(&format!("M{x} {y}h0")),
            None => {}
        }
        drawing = point.y.is_some();
        path
    })
}

/// The lowest and the highest of each stretch, where there are more points than this.
fn thinned(curve: &Curve, most: usize) -> Curve {
    if curve.points.len() <= most {
        return curve.clone();
    }
    let stretch = curve.points.len().div_ceil(most / 2);
    let ends = |points: &[Point]| {
        let measured = || points.iter().enumerate().filter_map(|(index, point)| Some((index, point.y?)));
        let low = measured().min_by(|one, other| one.1.total_cmp(&other.1));
        let high = measured().max_by(|one, other| one.1.total_cmp(&other.1));
        let mut kept: Vec<usize> = low.into_iter().chain(high).map(|(index, _)| index).collect();
        kept.sort_unstable();
        kept.dedup();
        if kept.is_empty() { vec![points[0].clone()] } else { kept.iter().map(|i| points[*i].clone()).collect() }
    };
    Curve { name: curve.name.clone(), points: curve.points.chunks(stretch).flat_map(ends).collect() }
}

/// The bottom of a plot: from values to percent of the width.
struct Across<'a> {
    axis: &'a Axis,
    low: f64,
    high: f64,
}

impl<'a> Across<'a> {
    fn of(plot: &'a Plot) -> Self {
        let points = plot.curves.iter().flat_map(|curve| curve.points.iter().map(|point| point.x));
        let bands = plot.bands.iter().flat_map(|band| [band.from, band.to]);
        let all = points.chain(bands).chain(plot.marks.iter().map(|(x, _)| *x)).filter(|x| x.is_finite());
        let (mut low, mut high) =
            all.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)));
        match plot.axis {
            Axis::Time => (low, high) = (0.0, high.max(0.1)),
            Axis::Log { .. } => (low, high) = (low.max(f64::MIN_POSITIVE) * 0.9, high.max(f64::MIN_POSITIVE) * 1.1),
            Axis::Linear { .. } => {
                let room = ((high - low) * 0.04).max(high.abs() * 1e-3).max(1e-9);
                (low, high) = (if low >= 0.0 { (low - room).max(0.0) } else { low - room }, high + room);
            }
        }
        Self { axis: &plot.axis, low, high }
    }

    fn at(&self, x: f64) -> f64 {
        let share = match self.axis {
            Axis::Log { .. } => {
                (x.max(f64::MIN_POSITIVE).ln() - self.low.ln()) / (self.high.ln() - self.low.ln()).max(1e-12)
            }
            _ => (x - self.low) / (self.high - self.low),
        };
        round(share.clamp(0.0, 1.0) * 100.0)
    }

    fn shown(&self, x: f64) -> String {
        match self.axis {
            Axis::Time => moment(Duration::try_from_secs_f64(x).unwrap_or_default()),
            Axis::Linear { shown, .. } | Axis::Log { shown, .. } => shown(x),
        }
    }

    fn title(&self) -> String {
        match self.axis {
            Axis::Time => "time since the start".to_owned(),
            Axis::Linear { title, .. } | Axis::Log { title, .. } => title.clone(),
        }
    }

    fn ticks(&self) -> Vec<Tick> {
        let ticks: Vec<f64> = match self.axis {
            Axis::Time => return TimeAxis::lasting(Duration::try_from_secs_f64(self.high).unwrap_or_default()).ticks(),
            Axis::Linear { .. } => {
                let step = round_step((self.high - self.low) / 8.0);
                let first = (self.low / step).ceil();
                (0..=10).map(|number| (first + f64::from(number)) * step).take_while(|x| *x <= self.high).collect()
            }
            Axis::Log { .. } => self.decades(),
        };
        ticks
            .iter()
            .enumerate()
            .map(|(number, x)| Tick { at: self.at(*x), label: self.shown(*x), minor: number % 2 == 1 })
            .collect()
    }

    /// 1, 2 and 5 times each power of ten; powers alone where those would be too many.
    fn decades(&self) -> Vec<f64> {
        let (from, to) = (self.low.log10().floor() as i32, self.high.log10().ceil() as i32);
        let factors: &[f64] = if to - from > 4 { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let all = (from..=to).flat_map(|power| factors.iter().map(move |factor| factor * 10f64.powi(power)));
        all.filter(|x| (self.low..=self.high).contains(x)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Axis, Curve, Plot, Point, thinned};
    use crate::sample::Metric;

    fn point(x: f64, y: Option<f64>) -> Point {
        Point { x, y, tone: None, note: String::new() }
    }

    fn line(drawn: &super::Drawn) -> String {
        let drawn = serde_json::to_value(drawn).unwrap();
        drawn["chart"]["lines"][0]["path"].as_str().unwrap().to_owned()
    }

    #[test]
    fn a_peak_survives_when_points_are_thinned_out() {
        let mut points: Vec<Point> = (0..5000u32).map(|x| point(f64::from(x), Some(1.0))).collect();
        points[3777].y = Some(99.0);
        let thinned = thinned(&Curve::new("a", points), 480);
        assert!(thinned.points.len() <= 480, "{}", thinned.points.len());
        assert!(thinned.points.iter().any(|point| point.x == 3777.0 && point.y == Some(99.0)));
    }

    #[test]
    fn a_logarithmic_axis_gives_each_decade_the_same_room() {
        let shown = |x: f64| format!("{x}");
        let plot = Plot::new("t", "", Metric::P99, Axis::Log { title: "delay".into(), shown })
            .curve(Curve::new("a", [1.0, 10.0, 100.0].map(|x| point(x, Some(x / 100.0))).to_vec()));
        let drawn = plot.drawn().unwrap();
        let ticks: Vec<(String, f64)> = drawn.frame.x_ticks.iter().map(|tick| (tick.label.clone(), tick.at)).collect();
        let at = |label: &str| ticks.iter().find(|tick| tick.0 == label).unwrap().1;
        assert!((at("10") - at("1") - (at("100") - at("10"))).abs() < 0.1, "{ticks:?}");
        assert!(Plot::new("t", "", Metric::P99, Axis::Time).drawn().is_none(), "nothing was measured");
    }

    #[test]
    fn one_point_alone_or_at_nothing_still_has_a_place() {
        let shown = |x: f64| format!("{x}");
        for axis in
            [Axis::Time, Axis::Linear { title: String::new(), shown }, Axis::Log { title: String::new(), shown }]
        {
            for x in [0.0, 5.0] {
                let plot =
                    Plot::new("t", "", Metric::P99, axis.clone()).curve(Curve::new("a", vec![point(x, Some(0.1))]));
                let drawn = plot.drawn().unwrap();
                let text = serde_json::to_string(&drawn.frame.x_ticks).unwrap();
                assert!(!text.contains("null") && line(&drawn).starts_with('M'), "{text}");
                assert!(!line(&drawn).contains("NaN"));
            }
        }
    }
}
