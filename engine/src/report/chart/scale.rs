//! The vertical axis of a chart: from values to percent of the height, with round ticks. Pure.
//!
//! Neighbour: `line` chooses its range from the data and the limits.

use super::time::{Tick, round};
use crate::sample::{Metric, MetricKind};

/// A range of values, the larger on top.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Scale {
    low: f64,
    high: f64,
    step: f64,
}

impl Scale {
    /// A range that holds all of these values, begins and ends on a tick, and suits the metric: times and rates begin
    /// at 0, ratios end at 100 %.
    pub(crate) fn around(metric: Metric, values: impl Iterator<Item = f64>) -> Self {
        let (mut low, mut high) = values
            .filter(|value| value.is_finite())
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        match metric.kind() {
            MetricKind::Ratio => {
                high = 1.0;
                low = low.min(0.99);
            }
            MetricKind::Time | MetricKind::Rate | MetricKind::Multiple => low = 0.0,
            MetricKind::EachNumber | MetricKind::EachText if low > 0.0 && low < high * 0.6 => low = 0.0,
            MetricKind::EachNumber | MetricKind::EachText => {}
        }
        if high - low < 1e-12 {
            high = low + low.abs().max(1.0);
        }
        let step = round_step((high - low) / 4.0);
        let floor = (low / step + 1e-9).floor() * step;
        let low = if metric.kind() == MetricKind::Ratio { floor.max(0.0) } else { floor };
        Self { low, high: (high / step - 1e-9).ceil() * step, step }
    }

    /// Where a value lies, in percent from the top.
    pub(crate) fn at(self, value: f64) -> f64 {
        round(((self.high - value) / (self.high - self.low) * 100.0).clamp(0.0, 100.0))
    }

    /// Round values from the lowest to the highest.
    pub(crate) fn ticks(self, metric: Metric) -> Vec<Tick> {
        let count = ((self.high - self.low) / self.step).round() as u32;
        (0..=count)
            .map(|number| {
                // Rounded to the step, so that 0.3 is not shown as 0.30000000000000004, nor 0 as -0.
                let value = ((self.low / self.step).round() + f64::from(number)) * self.step + 0.0;
                let label = match metric.kind() {
                    MetricKind::Time if value == 0.0 => "0 ms".to_owned(),
                    MetricKind::Rate if value == 0.0 => "0".to_owned(),
                    _ => metric.shown(value),
                };
                Tick { at: self.at(value), label, minor: number % 2 == 1 && count > 3 }
            })
            .collect()
    }
}

/// The round number next above: 1, 2, 2.5 or 5 times a power of ten.
pub(crate) fn round_step(least: f64) -> f64 {
    let power = 10f64.powf(least.log10().floor());
    let factor = [1.0, 2.0, 2.5, 5.0].into_iter().find(|factor| factor * power >= least * (1.0 - 1e-9));
    factor.unwrap_or(10.0) * power
}

#[cfg(test)]
mod tests {
    use super::Scale;
    use crate::sample::Metric;

    fn labels(metric: Metric, values: &[f64]) -> Vec<String> {
        let scale = Scale::around(metric, values.iter().copied());
        scale.ticks(metric).into_iter().map(|tick| tick.label).collect()
    }

    #[test]
    fn ticks_are_round_and_hold_the_values() {
        assert_eq!(labels(Metric::P99, &[0.02, 1.62]), ["0 ms", "500 ms", "1000 ms", "1500 ms", "2000 ms"]);
        assert_eq!(labels(Metric::SuccessRatio, &[1.0, 0.964]), ["96 %", "97 %", "98 %", "99 %", "100 %"]);
        assert_eq!(labels(Metric::SuccessRatio, &[1.0]).last().unwrap(), "100 %");
        assert_eq!(labels(Metric::Value, &[0.0, 2.0]), ["0", "0.5", "1", "1.5", "2"]);
    }

    #[test]
    fn odd_data_still_gives_a_scale() {
        for values in [&[][..], &[0.0], &[-3.0, -3.0], &[f64::NAN, 1.0], &[1e12], &[1e-9, 2e-9]] {
            for metric in Metric::ALL {
                let scale = Scale::around(metric, values.iter().copied());
                let ticks = scale.ticks(metric);
                assert!((2..=12).contains(&ticks.len()), "{metric} {values:?}: {ticks:?}");
                assert!(ticks.iter().all(|tick| (0.0..=100.0).contains(&tick.at)));
            }
        }
    }

    #[test]
    fn larger_values_are_higher_up() {
        let scale = Scale::around(Metric::P99, [0.0, 2.0].into_iter());
        assert_eq!([0.0, 1.0, 2.0].map(|value| scale.at(value)), [100.0, 50.0, 0.0]);
    }
}
