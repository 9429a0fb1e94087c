//! When each request is due, and which: decided by plan and seed alone. Pure.
//!
//! Neighbours: the pacer in `traffic` waits for what this says.
//! Invariant: request n is due n / rate after the start, or after the last change of the rate, computed from n, so that
//! nothing adds up over a long load.

use crate::experiment::RequestPlan;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// The rate of a load, which can be changed while it goes on; clones share it.
#[derive(Debug, Clone)]
pub struct Rate {
    /// The bits of an `f64`.
    now: Arc<AtomicU64>,
    most: f64,
}

impl Rate {
    /// Requests a second, and how many it will ever be.
    #[must_use]
    pub fn new(rate: f64, most: f64) -> Self {
        Self { now: Arc::new(AtomicU64::new(rate.to_bits())), most: most.max(rate) }
    }

    /// From now on so many a second, at most what was said at the beginning.
    pub fn set(&self, rate: f64) {
        self.now.store(rate.min(self.most).to_bits(), Ordering::Relaxed);
    }

    /// Requests a second.
    #[must_use]
    pub fn get(&self) -> f64 {
        f64::from_bits(self.now.load(Ordering::Relaxed))
    }

    /// The most that it will ever be.
    #[must_use]
    pub const fn most(&self) -> f64 {
        self.most
    }
}

/// A rate that is constant until it is changed, and a weighted choice for each request.
#[derive(Debug, Clone)]
pub(super) struct Schedule {
    switch: Rate,
    /// The rate since `from`.
    rate: f64,
    /// When it last changed.
    from: Duration,
    /// Running sums of the weights.
    sums: Vec<u64>,
    rng: ChaCha8Rng,
    next: u64,
}

/// One request of the schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Due {
    /// Since the start.
    pub(super) after: Duration,
    /// Which of the plan's requests.
    pub(super) kind: usize,
}

impl Schedule {
    /// None: there is nothing to send, because the rate or all weights are zero.
    pub(super) fn new(switch: Rate, requests: &[RequestPlan], seed: u64) -> Option<Self> {
        let rate = switch.get();
        let weights = requests.iter().map(|request| u64::from(request.weight));
        let sums: Vec<u64> = weights
            .scan(0, |sum, weight| {
                Some({
                    *sum += weight;
                    *sum
                })
            })
            .collect();
        let sends = rate.is_finite() && rate > 0.0 && sums.last().is_some_and(|sum| *sum > 0);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        // Templates draw from stream 0 of the same seed: which request is sent must say nothing about what is in it.
        rng.set_stream(1);
        sends.then_some(Self { switch, rate, from: Duration::ZERO, sums, rng, next: 0 })
    }

    /// The request that was drawn last, when the rate has grown since and it is due sooner therefore.
    pub(super) fn sooner(&mut self, due: Due, now: Duration) -> Option<Due> {
        let rate = self.switch.get();
        let grown = rate > self.rate && rate.is_finite();
        let after = now.saturating_add(Duration::from_secs_f64(if grown { rate.recip() } else { 0.0 }));
        if !grown || after >= due.after {
            return None;
        }
        // What comes next counts from this one.
        (self.from, self.rate, self.next) = (after, rate, 1);
        Some(Due { after, ..due })
    }

    fn choose(&mut self) -> usize {
        let sum = self.sums.last().copied().unwrap_or(1);
        let drawn = self.rng.random_range(0..sum);
        self.sums.partition_point(|sum| *sum <= drawn)
    }
}

/// Never ends by itself.
impl Iterator for Schedule {
    type Item = Due;

    fn next(&mut self) -> Option<Due> {
        let rate = self.switch.get();
        let changed = rate != self.rate && rate.is_finite() && rate > 0.0;
        let into = |turns: u64, rate: f64| Duration::try_from_secs_f64(turns as f64 / rate).unwrap_or(Duration::MAX);
        if changed {
            // From the request before on.
            self.from = self.from.saturating_add(into(self.next.saturating_sub(1), self.rate));
            (self.rate, self.next) = (rate, self.next.min(1));
        }
        let after = self.from.saturating_add(into(self.next, self.rate));
        self.next += 1;
        Some(Due { after, kind: self.choose() })
    }
}

#[cfg(test)]
mod tests {
    use super::{Due, Rate, Schedule};
    use crate::{
        experiment::{Expect, RequestPlan},
        template::Template,
    };
    use std::time::Duration;

    fn request(weight: u32) -> RequestPlan {
        let expect = Expect { status: vec![], body_contains: None };
        let url = Template::parse("http://localhost/").unwrap();
        RequestPlan { name: "a".into(), weight, method: "GET".into(), url, headers: vec![], body: None, expect }
    }

    #[test]
    fn requests_are_due_evenly_and_do_not_drift() {
        let schedule = Schedule::new(Rate::new(3.0, 3.0), &[request(1)], 1).unwrap();
        let at = |n| schedule.clone().nth(n).unwrap().after;
        assert_eq!(at(0), Duration::ZERO);
        assert_eq!(at(3), Duration::from_secs(1));
        assert_eq!(at(30_000), Duration::from_secs(10_000));
    }

    #[test]
    fn a_changed_rate_counts_from_the_request_before() {
        let rate = Rate::new(10.0, 100.0);
        let mut schedule = Schedule::new(rate.clone(), &[request(1)], 1).unwrap();
        let mut due = || schedule.next().unwrap().after.as_millis();
        assert_eq!([due(), due(), due()], [0, 100, 200]);
        rate.set(50.0);
        assert_eq!([due(), due(), due()], [220, 240, 260]);
        rate.set(1000.0);
        assert_eq!([due(), due()], [270, 280], "never more than was said");
        rate.set(10.0);
        assert_eq!([due(), due()], [380, 480]);
    }

    #[test]
    fn a_rate_that_grows_counts_also_for_the_request_that_is_waited_for() {
        let rate = Rate::new(0.1, 100.0);
        let mut schedule = Schedule::new(rate.clone(), &[request(1)], 1).unwrap();
        schedule.next();
        let slow = schedule.next().unwrap();
        let seconds = Duration::from_secs;
        assert_eq!((slow.after, schedule.sooner(slow, seconds(3))), (seconds(10), None));
        rate.set(10.0);
        let sooner = schedule.sooner(slow, seconds(4)).unwrap();
        assert_eq!(sooner, Due { after: Duration::from_millis(4_100), ..slow });
        assert_eq!(schedule.sooner(sooner, seconds(4)), None, "only once");
        assert_eq!(schedule.next().unwrap().after, Duration::from_millis(4_200));
        rate.set(1.0);
        assert_eq!(schedule.sooner(sooner, seconds(4)), None, "a rate that falls lets it be");
    }

    #[test]
    fn kinds_come_by_their_weights_and_the_same_way_with_the_same_seed() {
        let draw = |seed| -> Vec<Due> {
            Schedule::new(Rate::new(10.0, 10.0), &[request(8), request(0), request(2)], seed)
                .unwrap()
                .take(10_000)
                .collect()
        };
        let count = |kind| draw(5).iter().filter(|due| due.kind == kind).count();
        assert!((7800..8200).contains(&count(0)), "{}", count(0));
        assert_eq!(count(1), 0);
        assert_eq!(count(0) + count(2), 10_000);
        assert_eq!(draw(5), draw(5));
        assert_ne!(draw(5), draw(6));
    }

    #[test]
    fn nothing_to_send_is_no_schedule() {
        for (rate, weight) in [(0.0, 1), (-1.0, 1), (f64::NAN, 1), (f64::INFINITY, 1), (1.0, 0)] {
            assert!(Schedule::new(Rate::new(rate, rate), &[request(weight)], 1).is_none(), "{rate} {weight}");
        }
        assert!(Schedule::new(Rate::new(1.0, 1.0), &[], 1).is_none());
    }
}
