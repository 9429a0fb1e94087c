//! The axis that all charts of a page share: the time since the run started, as a share of the width. Pure.
//!
//! Neighbours: `mod` puts fault windows and marks on it, `line` and `strip` the samples.

use crate::record::RunRecord;
use serde::Serialize;
use std::time::Duration;

/// Distances between ticks that people can count in, in seconds.
const STEPS: [f64; 16] =
    [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 14_400.0];

/// From the start of the run to its end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TimeAxis {
    seconds: f64,
}

/// A mark on an axis: where, in percent, and what it says.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Tick {
    pub(crate) at: f64,
    pub(crate) label: String,
    /// Left out where there is little room.
    pub(crate) minor: bool,
}

impl TimeAxis {
    /// As long as anything in the record.
    pub(crate) fn of(record: &RunRecord) -> Self {
        let events = record.events.iter().map(|event| event.at);
        let samples = record.series.iter().flat_map(|series| series.samples.iter().map(|sample| sample.at));
        let end = record.end.iter().map(|end| end.took);
        let longest = events.chain(samples).chain(end).max().unwrap_or_default();
        Self::lasting(longest)
    }

    /// So long, and never nothing.
    pub(crate) fn lasting(longest: Duration) -> Self {
        Self { seconds: longest.as_secs_f64().max(0.1) }
    }

    /// Its length.
    pub(crate) fn total(self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }

    /// Where a moment lies, in percent of the width.
    pub(crate) fn at(self, moment: Duration) -> f64 {
        round((moment.as_secs_f64() / self.seconds).min(1.0) * 100.0)
    }

    /// About ten ticks, every second of which is minor.
    pub(crate) fn ticks(self) -> Vec<Tick> {
        let step = STEPS.into_iter().find(|step| self.seconds / step <= 11.0).unwrap_or(self.seconds / 10.0);
        let count = (self.seconds / step) as u32;
        (0..=count)
            .map(|number| {
                let seconds = f64::from(number) * step;
                Tick { at: round(seconds / self.seconds * 100.0), label: label(seconds), minor: number % 2 == 1 }
            })
            .collect()
    }

    /// The width of a bucket: a point a second, and never more than 240 points.
    pub(crate) fn bucket(self) -> Duration {
        let least = if self.seconds < 15.0 { 0.5 } else { 1.0 };
        let step = STEPS.into_iter().find(|step| *step >= least && self.seconds / step <= 240.0);
        Duration::from_secs_f64(step.unwrap_or(self.seconds / 240.0))
    }
}

fn label(seconds: f64) -> String {
    if seconds < 120.0 {
        return format!("{} s", (seconds * 10.0).round() / 10.0);
    }
    let whole = seconds as u64;
    format!("{}:{:02}", whole / 60, whole % 60)
}

/// Two decimals of a percent are a tenth of a pixel: more would only make the page larger.
pub(crate) fn round(percent: f64) -> f64 {
    (percent * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::TimeAxis;

    #[test]
    fn runs_of_any_length_have_a_readable_number_of_ticks_and_points() {
        for seconds in [0.4, 3.0, 33.1, 60.0, 100.0, 600.0, 7_200.0, 90_000.0, 1e6] {
            let axis = TimeAxis { seconds };
            let ticks = axis.ticks();
            assert!((3..=12).contains(&ticks.len()), "{seconds} s: {} ticks", ticks.len());
            assert!(ticks.iter().all(|tick| tick.at <= 100.0));
            assert!(axis.total().div_duration_f64(axis.bucket()) <= 240.1, "{seconds}");
        }
    }
}
