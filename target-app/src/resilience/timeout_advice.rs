//! Timeout advice: what a time-out should be, from what calls have really taken.
//!
//! One chooses how many good calls may be given up wrongly (0.01 %) and takes the quantile that leaves just these. As
//! long as there are too few calls for that quantile to mean anything the p99.9 stands in for it. Where the median is
//! close to the quantile, everything takes about the same and a small shift would time everything out: then it is
//! padded to twice the median. After "Timeouts, retries and backoff with jitter" in the Amazon Builders' Library.
//!
//! hdrhistogram counts, two of them by turns, so that what was long ago is forgotten. A call that timed out counts
//! with the time it was given: the advice can then only be too low, and `timed_out` says so.
//!
//! Invariant: no advice from fewer than a hundred calls; it never is under the p99.9, nor under twice the median.

use hdrhistogram::Histogram;
use parking_lot::Mutex;
use serde::Serialize;
use std::time::Duration;
use tokio::time::Instant;

/// How the advice is made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdviceConfig {
    /// The share of good calls that may time out, 0 to 1.
    pub false_timeouts: f64,
    /// Calls count for so long, up to twice that.
    pub memory: Duration,
}

impl Default for AdviceConfig {
    fn default() -> Self {
        Self { false_timeouts: 0.0001, memory: Duration::from_secs(300) }
    }
}

/// Fewer calls give no advice.
const FEWEST: u64 = 100;
/// Microseconds up to a minute, to three digits: about 100 KB.
const LONGEST_US: u64 = 60_000_000;

/// What is advised, and from what.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Advice {
    pub(crate) timeout_ms: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_9_ms: f64,
    /// The quantile that the advice begins with: 0.9999, or 0.999 while there are too few calls.
    pub(crate) quantile: f64,
    /// Whether the median was so close that the advice was padded.
    pub(crate) padded: bool,
    pub(crate) calls: u64,
    /// Of these, so many were given up; if that is more than the chosen share, the true time-out is longer.
    pub(crate) timed_out: u64,
}

#[derive(Debug)]
struct Half {
    times: Histogram<u64>,
    timed_out: u64,
}

impl Half {
    fn new() -> Self {
        #[expect(clippy::expect_used, reason = "the bounds and the precision are constants that the crate accepts")]
        let times = Histogram::new_with_bounds(1, LONGEST_US, 3).expect("the bounds are valid");
        Self { times, timed_out: 0 }
    }

    fn clear(&mut self) {
        self.times.reset();
        self.timed_out = 0;
    }
}

#[derive(Debug)]
struct Times {
    now: Half,
    before: Half,
    turned: Instant,
}

/// The times of the calls to one endpoint.
#[derive(Debug)]
pub(crate) struct TimeoutAdvice {
    config: AdviceConfig,
    times: Mutex<Times>,
}

impl TimeoutAdvice {
    pub(crate) fn new(config: AdviceConfig) -> Self {
        let times = Times { now: Half::new(), before: Half::new(), turned: Instant::now() };
        Self { config, times: Mutex::new(times) }
    }

    /// A call took so long, or was given up after so long.
    pub(crate) fn note(&self, took: Duration, timed_out: bool) {
        let mut times = self.times.lock();
        if times.turned.elapsed() >= self.config.memory {
            let Times { now, before, turned } = &mut *times;
            std::mem::swap(now, before);
            now.clear();
            *turned = Instant::now();
        }
        times.now.times.saturating_record(u64::try_from(took.as_micros()).unwrap_or(LONGEST_US));
        times.now.timed_out += u64::from(timed_out);
    }

    /// The advice, once there are calls enough.
    pub(crate) fn advice(&self) -> Option<Advice> {
        let times = self.times.lock();
        let mut all = times.now.times.clone();
        // Both have the same bounds, so that nothing is out of range.
        let _ = all.add(&times.before.times);
        let timed_out = times.now.timed_out + times.before.timed_out;
        drop(times);
        advised(&all, timed_out, self.config.false_timeouts.clamp(0.0, 1.0))
    }
}

fn advised(times: &Histogram<u64>, timed_out: u64, false_timeouts: f64) -> Option<Advice> {
    let calls = times.len();
    if calls < FEWEST {
        return None;
    }
    let enough = calls as f64 * false_timeouts >= 1.0;
    let quantile = if enough { (1.0 - false_timeouts).max(0.999) } else { 0.999 };
    let ms = |quantile| times.value_at_quantile(quantile) as f64 / 1e3;
    let (p50_ms, p99_9_ms, at_quantile) = (ms(0.5), ms(0.999), ms(quantile));
    let padded = at_quantile < 2.0 * p50_ms;
    let timeout_ms = at_quantile.max(2.0 * p50_ms);
    Some(Advice { timeout_ms, p50_ms, p99_9_ms, quantile, padded, calls, timed_out })
}

#[cfg(test)]
mod tests {
    use super::{AdviceConfig, TimeoutAdvice};
    use proptest::prelude::*;
    use std::time::Duration;

    const MS: Duration = Duration::from_millis(1);

    fn near(value: f64, wanted: f64) -> bool {
        (value - wanted).abs() <= 0.01 * wanted
    }

    fn advice(times: impl IntoIterator<Item = Duration>) -> Option<super::Advice> {
        let advice = TimeoutAdvice::new(AdviceConfig::default());
        for took in times {
            advice.note(took, false);
        }
        advice.advice()
    }

    #[test]
    fn one_good_call_in_ten_thousand_may_time_out() {
        // 20,000 calls: 10 ms, but one in a thousand 100 ms and one in ten thousand (with its neighbour) 900 ms.
        let times = (0..20_000).map(|n| match n {
            n if n % 5000 == 1 => 900 * MS,
            n if n % 500 == 2 => 100 * MS,
            _ => 10 * MS,
        });
        let advice = advice(times).unwrap();
        assert!(near(advice.timeout_ms, 900.0) && near(advice.p50_ms, 10.0), "{advice:?}");
        assert!(near(advice.p99_9_ms, 100.0) && !advice.padded && advice.quantile == 0.9999, "{advice:?}");
    }

    #[test]
    fn with_few_calls_it_is_the_p99_9_and_with_hardly_any_nothing() {
        assert_eq!(advice(vec![MS; 99]), None);
        let advice = advice((1..=2000).map(|n| MS * n)).unwrap();
        assert!(advice.quantile == 0.999 && near(advice.timeout_ms, 1998.0), "{advice:?}");
    }

    #[test]
    fn where_all_calls_take_the_same_it_is_padded() {
        let advice = advice(vec![100 * MS; 1000]).unwrap();
        assert!(advice.padded && near(advice.timeout_ms, 200.0), "{advice:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_long_ago_is_forgotten_and_time_outs_are_told() {
        let advice = TimeoutAdvice::new(AdviceConfig::default());
        let note = |took, timed_out| (0..1000).for_each(|_| advice.note(took, timed_out));
        note(900 * MS, true);
        assert_eq!(advice.advice().unwrap().timed_out, 1000);
        for _ in 0..3 {
            tokio::time::advance(Duration::from_secs(300)).await;
            note(10 * MS, false);
        }
        let last = advice.advice().unwrap();
        assert!(near(last.timeout_ms, 20.0) && last.timed_out == 0, "{last:?}");
    }

    proptest! {
        #[test]
        fn it_is_never_under_twice_the_median_nor_under_the_p99_9(
            times in proptest::collection::vec(1u64..5000, 100..400),
        ) {
            let advice = advice(times.into_iter().map(Duration::from_millis)).unwrap();
            prop_assert!(advice.timeout_ms >= 2.0 * advice.p50_ms && advice.timeout_ms >= advice.p99_9_ms);
        }
    }
}
