//! Ramps as charts: what each metric of the steady state was at each level, how the level was judged, and how far it held. Pure.
//!
//! Computed from the samples that were due while a level was set, up to when it was judged. Neighbours: `html` shows them, `limit`
//! draws the same of many runs. Invariant: a level that was never judged is not on the chart.

use super::{
    page::{Axis, Band, Block, Curve, Limit, Plot, Point, Tone},
    table::word,
};
use crate::{
    amount::Unit,
    event::{Event, What},
    experiment::When,
    record::{Outcome, RowResult, RunRecord},
    sample::{Metric, MetricKind, Sample},
    search::{
        compare::samples,
        scale::{self, value},
    },
    stats::measure,
};
use std::{ops::Range, time::Duration};

/// A level that was judged.
struct Level {
    /// In the unit's base.
    value: f64,
    window: Range<Duration>,
    outcome: Outcome,
}

/// A ramp with its levels.
struct Ramp<'a> {
    step: &'a str,
    vary: &'a str,
    unit: Unit,
    levels: Vec<Level>,
}

/// A card for each ramp, with a chart for each metric of the steady state that is a number.
pub(super) fn cards(record: &RunRecord) -> Vec<Block> {
    let rows = record.end.as_ref().map_or(&[][..], |end| &end.rows);
    let ramps = record.events.iter().filter_map(|event| match &event.what {
        What::Ramped { step, vary, .. } => ramp(step, vary, &record.events),
        _ => None,
    });
    let card = |ramp: Ramp<'_>| {
        let plots: Vec<Plot> = columns(rows).into_iter().filter_map(|row| plot(record, &ramp, row)).collect();
        Block::charts(format!("{}: {}", ramp.step, ramp.vary), &plots)
    };
    ramps.map(card).collect()
}

/// None: a level is written in a way that is no number.
fn ramp<'a>(name: &'a str, vary: &'a str, events: &[Event]) -> Option<Ramp<'a>> {
    let (mut levels, mut set, mut unit) = (Vec::new(), None, None);
    for event in events {
        match &event.what {
            What::Level { step, .. } if step == name => set = Some(event.at),
            What::Judged { step, level: Some(level), outcome, .. } if step == name => {
                let (found, value) = value(level.strip_prefix(vary)?).ok()?;
                unit = Some(found);
                levels.push(Level { value, window: set?..event.at, outcome: *outcome });
            }
            _ => {}
        }
    }
    Some(Ramp { step: name, vary, unit: unit?, levels })
}

/// What is judged of a level, each metric of a series once.
fn columns(rows: &[RowResult]) -> Vec<&RowResult> {
    let mut columns: Vec<&RowResult> = Vec::new();
    let number = |row: &&RowResult| !matches!(row.metric.kind(), MetricKind::EachText | MetricKind::Multiple);
    for row in rows.iter().filter(|row| row.when == When::During && row.control.is_none()).filter(number) {
        if !columns.iter().any(|known| known.probe == row.probe && known.metric == row.metric) {
            columns.push(row);
        }
    }
    columns
}

fn plot(record: &RunRecord, ramp: &Ramp<'_>, row: &RowResult) -> Option<Plot> {
    let all = samples(record, &row.probe);
    let point = |level: &Level| {
        let inside: Vec<Sample> = all.iter().filter(|sample| level.window.contains(&sample.at)).cloned().collect();
        let y = measured(row.metric, &inside, level.window.end.saturating_sub(level.window.start));
        let tone = match level.outcome {
            Outcome::Held => Tone::Good,
            Outcome::Broken => Tone::Bad,
            Outcome::Inconclusive => Tone::Unsure,
        };
        Point { x: level.value, y, tone: Some(tone), note: format!("the level {}", word(level.outcome)) }
    };
    let points: Vec<Point> = ramp.levels.iter().map(point).collect();
    points.iter().any(|point| point.y.is_some()).then_some(())?;
    let values = || ramp.levels.iter().map(|level| level.value);
    let (low, high) = (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
    let (title, shown) = (ramp.vary.to_owned(), scale::shown(ramp.unit));
    let across =
        if low > 0.0 && high / low > 10.0 { Axis::Log { title, shown } } else { Axis::Linear { title, shown } };
    let name = row.metric.word().replace('_', " ");
    let mut plot = Plot::new(format!("{} {name}", row.probe), "each point is a level", row.metric, across);
    for limit in &row.limits {
        plot = plot.limit(Limit { value: *limit, text: format!("{name} {}", row.tolerance), aborts: false });
    }
    let held = ramp.levels.iter().rev().find(|level| level.outcome == Outcome::Held);
    if let (Some(first), Some(last)) = (ramp.levels.first(), held) {
        let (from, to) = (first.value.min(last.value), first.value.max(last.value));
        plot = plot.band(Band { from, to, label: "held".to_owned(), tone: Some(Tone::Good) });
    }
    Some(plot.curve(Curve::new(name, points)))
}

/// Of readings, the one furthest out is what a level is judged by.
fn measured(metric: Metric, samples: &[Sample], over: Duration) -> Option<f64> {
    match metric {
        Metric::Status => samples.iter().filter_map(|sample| sample.status).max().map(f64::from),
        Metric::Value => samples.iter().filter_map(|sample| sample.value).reduce(f64::max),
        _ => measure(metric, samples, over),
    }
}

#[cfg(test)]
mod tests {
    use super::{Outcome, ramp};
    use crate::event::{Event, What};
    use std::time::Duration;

    fn at(seconds: u64, what: What) -> Event {
        Event { at: Duration::from_secs(seconds), what }
    }

    fn level(seconds: u64, level: &str) -> Event {
        at(seconds, What::Level { step: "how slow".into(), number: 1, of: 2, level: level.into() })
    }

    fn judged(seconds: u64, level: &str, outcome: Outcome) -> Event {
        let level = Some(level.to_owned());
        at(seconds, What::Judged { step: "how slow".into(), level, outcome, reasons: vec![] })
    }

    #[test]
    fn each_level_that_was_judged_has_its_value_its_time_and_its_outcome() {
        let events = [
            level(1, "delay 50ms"),
            judged(6, "delay 50ms", Outcome::Held),
            level(6, "delay 1s"),
            judged(11, "delay 1s", Outcome::Broken),
            level(11, "delay 2s"),
        ];
        let ramp = ramp("how slow", "delay", &events).unwrap();
        let found: Vec<_> = ramp.levels.iter().map(|level| (level.value / 1e6, level.outcome)).collect();
        assert_eq!(found, [(50.0, Outcome::Held), (1000.0, Outcome::Broken)]);
        assert_eq!(ramp.levels[1].window, Duration::from_secs(6)..Duration::from_secs(11));
        assert!(super::ramp("another", "delay", &events).is_none());
    }

    #[test]
    fn shares_and_rates_are_levels_too() {
        for (vary, shown, value) in
            [("percent", "12.5 %", 12.5), ("traffic.rate", "40/s", 40.0), ("rate", "1MB/s", 1e6)]
        {
            let events = [level(0, shown), judged(1, &format!("{vary} {shown}"), Outcome::Held)];
            assert_eq!(ramp("how slow", vary, &events).unwrap().levels[0].value, value, "{vary}");
        }
    }
}
