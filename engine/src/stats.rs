//! What a window of samples amounts to, as one number: ratios, rates, percentiles. Pure: no clock, no tolerance.
//!
//! Percentiles come from an HDR histogram over the samples themselves, never from other percentiles. Failed samples
//! count with the time they took: a service that fails late is slow as well.
//! Neighbours: `recorder` gives the samples, `judge` holds the number against a tolerance.
//! Invariant: no samples give no number, except for `rate` and `goodput`, which are then 0.

use crate::sample::{Metric, Sample};
use hdrhistogram::Histogram;
use std::time::Duration;

/// Times above an hour count as an hour in percentiles; no reading is allowed to take that long.
const LONGEST_MICROS: u64 = 3_600_000_000;
/// Significant decimal digits of percentiles: off by at most one in a thousand.
const DIGITS: u8 = 3;

/// The metric over the samples, in its base unit: a share of 1, seconds, samples a second.
///
/// `status` and `value`, which are judged for each sample, give their median over the samples that have one: that is
/// the typical reading that `within N% of baseline` compares with. `body` gives none.
#[must_use]
pub fn measure(metric: Metric, samples: &[Sample], window: Duration) -> Option<f64> {
    let of = |share: usize| (!samples.is_empty()).then(|| share as f64 / samples.len() as f64);
    let ok = || samples.iter().filter(|sample| sample.ok).count();
    match metric {
        Metric::SuccessRatio => of(ok()),
        Metric::ErrorRatio => of(samples.len() - ok()),
        Metric::Rate => (!window.is_zero()).then(|| samples.len() as f64 / window.as_secs_f64()),
        Metric::Goodput => (!window.is_zero()).then(|| ok() as f64 / window.as_secs_f64()),
        Metric::P50 => percentile(samples, 0.5),
        Metric::P90 => percentile(samples, 0.9),
        Metric::P95 => percentile(samples, 0.95),
        Metric::P99 => percentile(samples, 0.99),
        Metric::P999 => percentile(samples, 0.999),
        Metric::AcceptedP99 => percentile_of(samples.iter().filter(|sample| metric.counts(sample.status)), 0.99),
        Metric::Max => samples.iter().map(|sample| sample.took).max().map(|took| took.as_secs_f64()),
        Metric::Mean => {
            let total: f64 = samples.iter().map(|sample| sample.took.as_secs_f64()).sum();
            (!samples.is_empty()).then(|| total / samples.len() as f64)
        }
        Metric::Status => median(samples.iter().filter_map(|sample| sample.status.map(f64::from))),
        Metric::Value => median(samples.iter().filter(|sample| sample.ok).filter_map(|sample| sample.value)),
        // Neither is one number over these samples: see `judge::burn`.
        Metric::Body | Metric::BurnRate => None,
    }
}

/// The time that the given share of the samples did not exceed, in seconds.
fn percentile(samples: &[Sample], share: f64) -> Option<f64> {
    percentile_of(samples.iter(), share)
}

fn percentile_of<'a>(samples: impl Iterator<Item = &'a Sample> + Clone, share: f64) -> Option<f64> {
    let longest = samples.clone().map(|sample| sample.took).max()?;
    #[expect(clippy::expect_used, reason = "the bounds are constants and valid: 1 < 2 * 1 <= longest, digits below 6")]
    let mut histogram = Histogram::<u64>::new_with_bounds(1, LONGEST_MICROS, DIGITS).expect("constant bounds");
    for sample in samples {
        histogram.saturating_record(u64::try_from(sample.took.as_micros()).unwrap_or(LONGEST_MICROS));
    }
    // A bucket answers with its upper end, which may lie above every sample.
    Some((histogram.value_at_quantile(share) as f64 / 1e6).min(longest.as_secs_f64()))
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

#[cfg(test)]
mod tests {
    use super::measure;
    use crate::sample::{Metric, Sample};
    use proptest::prelude::{prop, prop_assert, proptest};
    use std::time::Duration;

    fn took(micros: u64) -> Sample {
        let took = Duration::from_micros(micros);
        Sample { at: Duration::ZERO, took, ok: true, status: None, value: None, text: None }
    }

    const SECOND: Duration = Duration::from_secs(1);

    fn near(metric: Metric, samples: &[Sample], expected: f64) {
        let measured = measure(metric, samples, SECOND).unwrap();
        assert!((measured - expected).abs() <= expected * 0.001, "{metric}: {measured}, not {expected}");
    }

    #[test]
    fn percentiles_of_one_to_a_thousand_milliseconds_are_known() {
        let samples: Vec<_> = (1..=1000).rev().map(|millis| took(millis * 1000)).collect();
        near(Metric::P50, &samples, 0.5);
        near(Metric::P90, &samples, 0.9);
        near(Metric::P95, &samples, 0.95);
        near(Metric::P99, &samples, 0.99);
        near(Metric::P999, &samples, 0.999);
        near(Metric::Mean, &samples, 0.5005);
        assert_eq!(measure(Metric::Max, &samples, SECOND), Some(1.0));
    }

    #[test]
    fn microseconds_and_hours_are_both_measured() {
        near(Metric::P50, &[took(3)], 0.000_003);
        near(Metric::P50, &[took(3_599_000_000)], 3599.0);
        near(Metric::P50, &[took(9_000_000_000)], 3600.0);
    }

    #[test]
    fn failed_samples_count_with_the_time_they_took() {
        let samples = [took(1000), Sample { ok: false, ..took(5_000_000) }];
        near(Metric::P99, &samples, 5.0);
    }

    #[test]
    fn ratios_are_shares_and_no_samples_are_no_ratio() {
        let mut samples: Vec<_> = (0..99).map(|_| took(1)).collect();
        samples.push(Sample { ok: false, ..took(1) });
        assert_eq!(measure(Metric::SuccessRatio, &samples, SECOND), Some(0.99));
        assert_eq!(measure(Metric::ErrorRatio, &samples, SECOND), Some(0.01));
        for metric in Metric::ALL.into_iter().filter(|metric| !matches!(metric, Metric::Rate | Metric::Goodput)) {
            assert_eq!(measure(metric, &[], SECOND), None, "{metric}");
        }
    }

    #[test]
    fn the_rate_is_over_the_window_and_nothing_at_all_is_zero() {
        let samples = vec![took(1); 50];
        assert_eq!(measure(Metric::Rate, &samples, Duration::from_secs(4)), Some(12.5));
        assert_eq!(measure(Metric::Rate, &[], SECOND), Some(0.0));
        assert_eq!(measure(Metric::Goodput, &[], SECOND), Some(0.0));
        assert_eq!(measure(Metric::Rate, &samples, Duration::ZERO), None);
    }

    #[test]
    fn goodput_counts_successes_and_what_was_turned_away_was_not_accepted() {
        let turned_away = |status| Sample { ok: false, status: Some(status), ..took(1_000) };
        let accepted = |micros| Sample { status: Some(200), ..took(micros) };
        let mut samples: Vec<_> = (0..100).map(|n| turned_away(if n % 2 == 0 { 429 } else { 503 })).collect();
        assert_eq!(measure(Metric::AcceptedP99, &samples, SECOND), None, "nothing was accepted");
        samples.extend((1..=100).map(|millis| accepted(millis * 1_000)));
        assert_eq!(measure(Metric::Goodput, &samples, Duration::from_secs(2)), Some(50.0));
        near(Metric::AcceptedP99, &samples, 0.099);
        near(Metric::P50, &samples, 0.001);
        // One that hangs until its time-out has no status, and was accepted for all that the client knows.
        samples.extend(vec![Sample { ok: false, ..took(1_000_000) }; 5]);
        near(Metric::AcceptedP99, &samples, 1.0);
    }

    #[test]
    fn a_value_over_a_window_is_its_median_without_failed_readings() {
        let value = |value| Sample { value: Some(value), ..took(1) };
        let failed = Sample { ok: false, ..value(1e9) };
        assert_eq!(measure(Metric::Value, &[value(4.0), failed, value(1.0), value(2.0)], SECOND), Some(2.0));
        assert_eq!(measure(Metric::Value, &[value(4.0), value(1.0)], SECOND), Some(2.5));
    }

    proptest! {
        #[test]
        fn percentiles_are_ordered_and_never_above_the_longest(micros in prop::collection::vec(0_u64..10_000_000, 1..200)) {
            let samples: Vec<_> = micros.into_iter().map(took).collect();
            let values = [Metric::P50, Metric::P90, Metric::P95, Metric::P99, Metric::P999, Metric::Max]
                .map(|metric| measure(metric, &samples, SECOND).unwrap());
            prop_assert!(values.is_sorted(), "{values:?}");
        }
    }
}
