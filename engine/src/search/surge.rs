//! At which rate a service breaks: the next rate to try, doubled until something breaks and halved from there; and what
//! one rate came to. Pure.
//!
//! Neighbours: `traffic` sends the load, `squall load --find-limit` tries; `scale` halves.
//! Invariant: a rate that squall itself could not keep says nothing about the service.

use super::{cell::Sense, limit::Try, scale::Scale};
use crate::{
    amount::Unit,
    sample::{Metric, Sample},
    stats::measure,
    traffic::Punctuality,
};
use serde::Serialize;
use std::{collections::BTreeMap, time::Duration};

/// Requests late by more than this at the 99th percentile were not sent on schedule: that is squall's doing.
const LATE: Duration = Duration::from_millis(25);
/// So much of a response time limit may be squall's own lateness.
const LATE_SHARE: f64 = 0.2;
/// A first rate that breaks is halved so often.
const HALVINGS_BELOW: f64 = 64.0;
/// Reasons for failing that are kept apart, at most.
const MOST_REASONS: usize = 8;
/// What of the breaking point is safe to run at.
pub const SAFE_SHARE: f64 = 0.7;

/// Which rates are tried.
#[derive(Debug, Clone, Copy)]
pub struct Surge {
    /// First.
    pub start: f64,
    /// Never more.
    pub most: f64,
    /// It is exact enough when the first rate that breaks is at most this share above the last that holds.
    pub precision: f64,
}

impl Surge {
    /// The rate to try next; none when the breaking point is known, or cannot be found.
    #[must_use]
    pub fn next(&self, tries: &[Try]) -> Option<f64> {
        if tries.last().is_some_and(|last| last.sense == Sense::Unknown) {
            return None;
        }
        match self.around(tries) {
            (None, None) => Some(self.start.min(self.most)),
            (Some(held), None) => (held < self.most).then(|| (held * 2.0).min(self.most)),
            (None, Some(broken)) => Some(broken / 2.0).filter(|rate| *rate >= self.start / HALVINGS_BELOW),
            (Some(held), Some(broken)) => {
                let scale = Scale::new(Unit::Rate, held, broken);
                if scale.is_close(held, broken, self.precision) { None } else { scale.middle(held, broken) }
            }
        }
    }

    /// The last rate that held below all that broke, and the first that broke.
    #[must_use]
    pub fn around(&self, tries: &[Try]) -> (Option<f64>, Option<f64>) {
        let of = |sense: Sense| tries.iter().filter(move |one| one.sense == sense).map(|one| one.value);
        let broken = of(Sense::Broke).reduce(f64::min);
        let held = of(Sense::Held).filter(|rate| broken.is_none_or(|broken| *rate < broken)).reduce(f64::max);
        (held, broken)
    }
}

/// What a rate must stand.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    /// Failed requests at most, as a share of all.
    pub errors: f64,
    /// 99 in 100 requests are not slower.
    pub p99: Option<Duration>,
}

/// What a rate came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Level {
    /// Requests a second that were asked for.
    pub rate: f64,
    /// For so long.
    pub seconds: f64,
    /// Requests that were due.
    pub requests: usize,
    /// Those that succeeded.
    pub ok: usize,
    /// Successes a second, while it lasted.
    pub goodput: f64,
    /// The share that failed.
    pub error_ratio: f64,
    /// Why they failed, and how many each.
    pub errors: BTreeMap<String, usize>,
    /// Response times in seconds, counted from when each request was due.
    pub times: BTreeMap<&'static str, f64>,
    /// How late requests were sent for which a client was free, in seconds: squall's own part of the times.
    pub late_p99: f64,
    /// Requests that had to wait for a free client.
    pub waited: u64,
}

/// Percentiles that are told.
const TIMES: [Metric; 7] =
    [Metric::P50, Metric::P90, Metric::P95, Metric::P99, Metric::P999, Metric::Max, Metric::Mean];

impl Level {
    /// What these samples of a load at this rate amount to. Requests without a sample had no answer when the load ended:
    /// they failed, and took at least `patience`.
    #[must_use]
    pub fn of(
        rate: f64,
        lasting: Duration,
        mut samples: Vec<Sample>,
        punctuality: &Punctuality,
        patience: Duration,
    ) -> Self {
        let due = usize::try_from(punctuality.due()).unwrap_or(usize::MAX);
        // What is answered after the end is no rate that the service kept.
        let end = samples.iter().map(|sample| sample.at).min().unwrap_or_default() + lasting;
        let in_time = samples.iter().filter(|sample| sample.ok && sample.done() <= end).count();
        let unanswered = Sample {
            at: Duration::ZERO,
            took: patience,
            ok: false,
            status: None,
            value: None,
            text: Some("no answer before the load ended".into()),
        };
        samples.extend(std::iter::repeat_n(unanswered, due.saturating_sub(samples.len())));
        let ok = samples.iter().filter(|sample| sample.ok).count();
        let time = |metric: &Metric| Some((metric.word(), measure(*metric, &samples, lasting)?));
        Self {
            rate,
            seconds: lasting.as_secs_f64(),
            requests: samples.len(),
            ok,
            goodput: in_time as f64 / lasting.as_secs_f64(),
            error_ratio: (samples.len() - ok) as f64 / samples.len().max(1) as f64,
            errors: errors(&samples),
            times: TIMES.iter().filter_map(time).collect(),
            late_p99: punctuality.late(0.99).as_secs_f64(),
            waited: punctuality.waited(),
        }
    }

    /// A response time.
    #[must_use]
    pub fn time(&self, metric: Metric) -> Option<f64> {
        self.times.get(metric.word()).copied()
    }

    /// Why squall itself did not keep the schedule, if it did not.
    #[must_use]
    pub fn own_limit(&self, bounds: &Bounds) -> Option<String> {
        let share = bounds.p99.map_or(Duration::ZERO, |p99| p99.mul_f64(LATE_SHARE));
        let late = Duration::from_secs_f64(self.late_p99);
        (late > LATE.max(share)).then(|| {
            format!(
                "squall could not keep its own schedule: 1 in 100 requests was sent more than {} late although a client was \
                 free, so this says nothing about the service; use a larger or a quieter machine",
                Metric::P99.shown(self.late_p99)
            )
        })
    }

    /// Whether it stood, and why not.
    #[must_use]
    pub fn judged(&self, bounds: &Bounds) -> (Sense, String) {
        if let Some(why) = self.own_limit(bounds) {
            return (Sense::Unknown, why);
        }
        if self.requests == 0 {
            return (Sense::Unknown, "no request was sent".to_owned());
        }
        if self.error_ratio > bounds.errors {
            let most = self.errors.iter().max_by_key(|(_, count)| **count).map_or("", |(why, _)| why.as_str());
            let [measured, limit] = [self.error_ratio, bounds.errors].map(|ratio| Metric::ErrorRatio.shown(ratio));
            return (Sense::Broke, format!("{measured} failed, more than {limit}; most often: {most}"));
        }
        match (self.time(Metric::P99), bounds.p99) {
            (Some(p99), Some(limit)) if p99 > limit.as_secs_f64() => {
                let [measured, limit] = [p99, limit.as_secs_f64()].map(|time| Metric::P99.shown(time));
                (Sense::Broke, format!("p99 was {measured}, more than {limit}"))
            }
            _ => (Sense::Held, String::new()),
        }
    }
}

fn errors(samples: &[Sample]) -> BTreeMap<String, usize> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for sample in samples.iter().filter(|sample| !sample.ok) {
        *counts.entry(sample.text.as_deref().unwrap_or("failed")).or_default() += 1;
    }
    let mut counts: Vec<(&str, usize)> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let others: usize = counts.iter().skip(MOST_REASONS).map(|(_, count)| count).sum();
    let kept = counts.into_iter().take(MOST_REASONS).map(|(why, count)| (why.to_owned(), count));
    kept.chain((others > 0).then(|| ("other reasons".to_owned(), others))).collect()
}

#[cfg(test)]
mod tests {
    use super::{Bounds, Level, Surge};
    use crate::{
        sample::{Metric, Sample},
        search::{cell::Sense, limit::Try},
        traffic::Punctuality,
    };
    use proptest::prelude::{prop_assert, proptest};
    use std::time::Duration;

    fn search(surge: Surge, capacity: f64) -> (Vec<f64>, (Option<f64>, Option<f64>)) {
        let mut tries: Vec<Try> = Vec::new();
        while let Some(value) = surge.next(&tries) {
            assert!(tries.len() < 50, "it does not end: {tries:?}");
            let sense = if value <= capacity { Sense::Held } else { Sense::Broke };
            tries.push(Try { value, sense });
        }
        (tries.iter().map(|one| one.value).collect(), surge.around(&tries))
    }

    const SURGE: Surge = Surge { start: 10.0, most: 10_000.0, precision: 0.05 };

    #[test]
    fn the_rate_is_doubled_until_something_breaks_and_halved_from_there() {
        let (tried, around) = search(SURGE, 150.0);
        assert_eq!(tried, [10.0, 20.0, 40.0, 80.0, 160.0, 120.0, 140.0, 150.0, 155.0]);
        assert_eq!(around, (Some(150.0), Some(155.0)));
    }

    #[test]
    fn the_most_is_never_exceeded_and_a_first_rate_that_breaks_is_halved() {
        assert_eq!(search(Surge { most: 50.0, ..SURGE }, 1e9), (vec![10.0, 20.0, 40.0, 50.0], (Some(50.0), None)));
        let (tried, around) = search(SURGE, 3.0);
        assert_eq!(tried[..3], [10.0, 5.0, 2.5]);
        assert!(around.0.unwrap() <= 3.0 && around.1.unwrap() > 3.0);
        assert_eq!(search(SURGE, 0.0).1.0, None);
    }

    proptest! {
        #[test]
        fn the_breaking_point_is_found_as_exactly_as_asked(capacity in 1_u32..9_000) {
            let (_, (held, broken)) = search(SURGE, f64::from(capacity));
            let (held, broken) = (held.unwrap(), broken.unwrap());
            prop_assert!(held <= f64::from(capacity) && broken > f64::from(capacity));
            prop_assert!(broken - held <= broken * 0.05, "{held} {broken}");
        }
    }

    fn level(answered: usize, failed: usize, millis: u64, late: u64) -> Level {
        let sample = |number: usize| Sample {
            at: Duration::from_millis(number as u64),
            took: Duration::from_millis(millis),
            ok: number >= failed,
            status: None,
            value: None,
            text: (number < failed).then(|| "answered 503".into()),
        };
        let punctuality = Punctuality::default();
        (0..100).for_each(|_| punctuality.has_come_due());
        punctuality.sent(Duration::from_millis(late));
        let (second, patience) = (Duration::from_secs(1), Duration::from_secs(5));
        Level::of(100.0, second, (0..answered).map(sample).collect(), &punctuality, patience)
    }

    const BOUNDS: Bounds = Bounds { errors: 0.01, p99: Some(Duration::from_millis(500)) };

    #[test]
    fn a_rate_stands_by_its_errors_and_its_slowest_hundredth() {
        assert_eq!(level(100, 1, 20, 0).judged(&BOUNDS), (Sense::Held, String::new()));
        let (sense, why) = level(100, 2, 20, 0).judged(&BOUNDS);
        assert_eq!((sense, why.as_str()), (Sense::Broke, "2 % failed, more than 1 %; most often: answered 503"));
        let (sense, why) = level(100, 0, 600, 0).judged(&BOUNDS);
        assert_eq!((sense, why.as_str()), (Sense::Broke, "p99 was 600 ms, more than 500 ms"));
    }

    #[test]
    fn requests_without_an_answer_have_failed_and_were_slow() {
        let level = level(90, 0, 20, 0);
        assert_eq!((level.requests, level.ok), (100, 90));
        assert_eq!(level.time(Metric::P99), Some(5.0));
        assert_eq!(level.errors["no answer before the load ended"], 10);
    }

    #[test]
    fn a_schedule_that_squall_did_not_keep_is_no_verdict_on_the_service() {
        let (sense, why) = level(100, 50, 900, 300).judged(&BOUNDS);
        assert_eq!(sense, Sense::Unknown);
        assert!(why.starts_with("squall could not keep its own schedule"), "{why}");
    }
}
