//! The arithmetic of the figures: quantiles, and what a stream of arrivals says of a rate.
//!
//! Used by `figures` and `measure/*`. Everything here is a pure function over values.
//! Invariant: no function invents a value; where there is nothing to say, it says `None`.

use std::time::Duration;

/// The value that a share `q` of all are not above (nearest rank), none of nothing.
pub(crate) fn quantile(values: &mut [f64], q: f64) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let rank = (q * values.len() as f64).ceil() as usize;
    values.get(rank.max(1) - 1).copied()
}

/// The middle value, or the mean of the two in the middle.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    Some(if sorted.len() % 2 == 1 { upper } else { f64::midpoint(sorted[sorted.len() / 2 - 1], upper) })
}

/// Bytes that arrived at once, and when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    /// Since the start of the measurement; never before the one in front.
    pub(crate) at: Duration,
    /// How many.
    pub(crate) bytes: u64,
}

/// How far any window is off the rate, as a share of it: the worst of all windows that lie within the arrivals.
///
/// A window is half-open. The fullest begin with an arrival, the emptiest right behind one; no other can be worse.
pub(crate) fn worst_rate_error(arrivals: &[Arrival], window: Duration, bytes_per_second: f64) -> Option<f64> {
    let end = arrivals.last()?.at;
    let due = bytes_per_second * window.as_secs_f64();
    let mut worst: Option<f64> = None;
    let (mut full, mut full_end) = (0, 0);
    let (mut empty, mut empty_end) = (0, 0);
    for (index, first) in arrivals.iter().enumerate().take_while(|(_, first)| first.at + window <= end) {
        while full_end < arrivals.len() && arrivals[full_end].at < first.at + window {
            full += arrivals[full_end].bytes;
            full_end += 1;
        }
        while empty_end < arrivals.len() && arrivals[empty_end].at <= first.at + window {
            empty += arrivals[empty_end].bytes;
            empty_end += 1;
        }
        // Up to here `empty` counts from `first` on; it is not in the window that begins right behind it.
        empty -= first.bytes;
        for bytes in [full, empty] {
            let off = (bytes as f64 / due - 1.0).abs();
            worst = Some(worst.map_or(off, |worst| worst.max(off)));
        }
        full -= arrivals[index].bytes;
    }
    worst
}

/// The most bytes in any half-open window.
pub(crate) fn most_within(arrivals: &[Arrival], window: Duration) -> u64 {
    let (mut most, mut within, mut end) = (0, 0, 0);
    for first in arrivals {
        while end < arrivals.len() && arrivals[end].at < first.at + window {
            within += arrivals[end].bytes;
            end += 1;
        }
        most = most.max(within);
        within -= first.bytes;
    }
    most
}

/// The largest burst: the most bytes by which any span of time was ahead of the rate. A stream that a token bucket
/// let through has at most the bucket's depth here.
pub(crate) fn largest_burst(arrivals: &[Arrival], bytes_per_second: f64) -> f64 {
    let (mut level, mut most, mut before) = (0.0_f64, 0.0_f64, Duration::ZERO);
    for arrival in arrivals {
        let drained = (arrival.at.saturating_sub(before)).as_secs_f64() * bytes_per_second;
        level = (level - drained).max(0.0) + arrival.bytes as f64;
        most = most.max(level);
        before = arrival.at;
    }
    most
}

#[cfg(test)]
mod tests {
    use super::{Arrival, largest_burst, median, most_within, quantile, worst_rate_error};
    use std::time::Duration;

    const SECOND: Duration = Duration::from_secs(1);

    /// `bytes` each `millis`, so many times.
    fn even(bytes: u64, millis: u64, times: u64) -> Vec<Arrival> {
        (0..times).map(|n| Arrival { at: Duration::from_millis(n * millis), bytes }).collect()
    }

    #[test]
    fn a_quantile_is_a_value_that_was_there() {
        let mut values: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(quantile(&mut values, 0.5), Some(50.0));
        assert_eq!(quantile(&mut values, 0.99), Some(99.0));
        assert_eq!(quantile(&mut values, 1.0), Some(100.0));
        assert_eq!(quantile(&mut values, 0.0), Some(1.0));
        assert_eq!(quantile(&mut [7.0], 0.99), Some(7.0));
        assert_eq!(quantile(&mut [], 0.5), None);
    }

    #[test]
    fn the_median_is_in_the_middle_of_any_order() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn an_even_stream_is_exact_in_every_window() {
        assert_eq!(worst_rate_error(&even(10, 10, 301), SECOND, 1000.0), Some(0.0));
        assert_eq!(most_within(&even(10, 10, 301), Duration::from_millis(20)), 20);
        assert_eq!(largest_burst(&even(10, 10, 301), 1000.0), 10.0);
    }

    #[test]
    fn one_late_piece_is_seen_in_the_windows_around_it() {
        let mut arrivals = even(10, 10, 301);
        // The piece of 1.50 s comes with that of 1.60 s: ten in a row are missing before, and crowd there.
        for arrival in &mut arrivals[150..160] {
            arrival.at = Duration::from_millis(1600);
        }
        let worst = worst_rate_error(&arrivals, SECOND, 1000.0).unwrap();
        assert!((worst - 0.1).abs() < 1e-9, "{worst}");
        assert_eq!(most_within(&arrivals, Duration::from_millis(20)), 120);
        assert!((largest_burst(&arrivals, 1000.0) - 110.0).abs() < 1e-9);
    }

    #[test]
    fn a_hole_counts_as_much_as_a_crowd() {
        let mut arrivals = even(10, 10, 301);
        arrivals.drain(150..170);
        let worst = worst_rate_error(&arrivals, SECOND, 1000.0).unwrap();
        assert!((worst - 0.2).abs() < 1e-9, "{worst}");
    }

    #[test]
    fn a_slow_stream_is_off_by_its_share() {
        let worst = worst_rate_error(&even(9, 10, 301), SECOND, 1000.0).unwrap();
        assert!((worst - 0.1).abs() < 1e-9, "{worst}");
    }

    #[test]
    fn less_than_a_window_says_nothing() {
        assert_eq!(worst_rate_error(&even(10, 10, 50), SECOND, 1000.0), None);
        assert_eq!(worst_rate_error(&[], SECOND, 1000.0), None);
        assert_eq!(most_within(&[], SECOND), 0);
        assert_eq!(largest_burst(&[], 1000.0), 0.0);
    }

    #[test]
    fn an_idle_gap_leaves_no_credit_behind() {
        let arrivals = [(0, 100), (5000, 100)].map(|(ms, bytes)| Arrival { at: Duration::from_millis(ms), bytes });
        assert_eq!(largest_burst(&arrivals, 1000.0), 100.0);
    }
}
