//! Adaptive concurrency: how many requests are worked on at a time follows the time that they take.
//!
//! AIMD, as in TCP: when too many of the recent requests took longer than the target, the limit shrinks by a factor;
//! when they did not and the limit was being used, it grows by a step. Always between bounds. What is measured is the
//! shop's own time, without the waiting for dependencies (`Stopwatch`): a slow payment provider is no sign that the
//! shop has too much to do, and its bulkhead and its breaker deal with that.
//!
//! No crate: tower has a fixed limit only, and of the crates that adapt, AIMD grew without load. `Aimd` is pure, it
//! is handed the time. Switched off, the limit is the upper bound.
//!
//! Invariant: the limit never leaves its bounds, and does not grow while nobody uses it.

use std::{cell::Cell, time::Duration};
use tokio::time::Instant;

/// Bounds and pace of the limit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdaptiveConfig {
    /// The limit never falls below; the upper bound is the number of request slots.
    pub min: usize,
    /// The own time of a request should not be longer.
    pub target: Duration,
    /// More than this share over the target is too many, 0 to 1.
    pub tolerated: f64,
    /// What the limit shrinks to, as a share of what it was.
    pub shrink: f64,
    /// The limit is looked at so often.
    pub window: Duration,
}

impl Default for AdaptiveConfig {
    fn default() -> Self {
        let window = Duration::from_millis(200);
        Self { min: 48, target: Duration::from_millis(400), tolerated: 0.1, shrink: 0.8, window }
    }
}

/// Fewer requests than this say nothing.
const ENOUGH: u32 = 10;
/// From the lower to the upper bound the limit takes so many windows.
const STEPS: usize = 20;

/// The limit as a pure value.
#[derive(Debug)]
pub(crate) struct Aimd {
    config: AdaptiveConfig,
    max: usize,
    limit: usize,
    since: Instant,
    finished: u32,
    over: u32,
    /// The most that were under way at once in this window.
    peak: usize,
}

impl Aimd {
    /// Begins at the upper bound.
    pub(crate) fn new(config: AdaptiveConfig, max: usize, now: Instant) -> Self {
        let max = max.max(1);
        let config = AdaptiveConfig { min: config.min.clamp(1, max), ..config };
        Self { config, max, limit: max, since: now, finished: 0, over: 0, peak: 0 }
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// Takes the own time of a request that ended while `under_way` were worked on, itself included.
    pub(crate) fn observe(&mut self, own: Duration, under_way: usize, now: Instant) {
        self.finished += 1;
        self.over += u32::from(own > self.config.target);
        self.peak = self.peak.max(under_way);
        if self.finished < ENOUGH || now.saturating_duration_since(self.since) < self.config.window {
            return;
        }
        self.limit = self.next();
        (self.since, self.finished, self.over, self.peak) = (now, 0, 0, 0);
    }

    fn next(&self) -> usize {
        let AdaptiveConfig { min, tolerated, shrink, .. } = self.config;
        if f64::from(self.over) > tolerated * f64::from(self.finished) {
            // What is used counts, not a limit far above it.
            let used = self.limit.min(self.peak.max(min));
            ((used as f64 * shrink.clamp(0.0, 1.0)) as usize).clamp(min, self.max)
        } else if self.peak * 2 >= self.limit {
            (self.limit + (self.max / STEPS).max(1)).min(self.max)
        } else {
            self.limit
        }
    }
}

/// A fixed limit, or one that adapts.
#[derive(Debug)]
pub(crate) enum Limit {
    Fixed(usize),
    Adaptive(Aimd),
}

impl Limit {
    pub(crate) fn now(&self) -> usize {
        match self {
            Self::Fixed(limit) => *limit,
            Self::Adaptive(aimd) => aimd.limit(),
        }
    }

    pub(crate) fn observe(&mut self, own: Duration, under_way: usize, now: Instant) {
        if let Self::Adaptive(aimd) = self {
            aimd.observe(own, under_way, now);
        }
    }
}

tokio::task_local! {
    /// The time that the request of this task has spent with dependencies.
    static AWAY: Away;
}

#[derive(Debug, Default)]
struct Away {
    total: Cell<Duration>,
    /// Calls under way at the same time count once.
    calls: Cell<u32>,
    since: Cell<Option<Instant>>,
}

/// Runs the work of a request; its output, and the time that it took without calls to dependencies.
pub(crate) async fn timed<F: Future>(work: F) -> (F::Output, Duration) {
    AWAY.scope(Away::default(), async {
        let begun = Instant::now();
        let output = work.await;
        let away = AWAY.with(|away| away.total.get());
        (output, begun.elapsed().saturating_sub(away))
    })
    .await
}

/// Held while a request waits for a dependency.
#[must_use]
#[derive(Debug)]
pub(crate) struct Stopwatch(());

impl Stopwatch {
    /// From now until it is dropped the request is away. Outside of a request it does nothing.
    pub(crate) fn start() -> Self {
        let _ = AWAY.try_with(|away| {
            if away.calls.get() == 0 {
                away.since.set(Some(Instant::now()));
            }
            away.calls.set(away.calls.get() + 1);
        });
        Self(())
    }
}

impl Drop for Stopwatch {
    fn drop(&mut self) {
        let _ = AWAY.try_with(|away| {
            away.calls.set(away.calls.get().saturating_sub(1));
            if away.calls.get() == 0
                && let Some(since) = away.since.take()
            {
                away.total.set(away.total.get() + since.elapsed());
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::{AdaptiveConfig, Aimd, Limit, Stopwatch, timed};
    use proptest::prelude::*;
    use std::time::Duration;
    use tokio::time::Instant;

    const MS: Duration = Duration::from_millis(1);

    /// Feeds windows of twenty requests each.
    fn windows(aimd: &mut Aimd, count: usize, own: Duration, under_way: usize) {
        let mut now = aimd.since;
        for _ in 0..count * 20 {
            now += 10 * MS;
            aimd.observe(own, under_way, now);
        }
    }

    fn aimd() -> Aimd {
        Aimd::new(AdaptiveConfig { min: 16, target: 200 * MS, ..AdaptiveConfig::default() }, 128, Instant::now())
    }

    #[test]
    fn slow_requests_shrink_the_limit_to_its_lower_bound_and_quick_ones_bring_it_back() {
        let mut aimd = aimd();
        windows(&mut aimd, 1, 300 * MS, 128);
        assert_eq!(aimd.limit(), 102);
        windows(&mut aimd, 30, 300 * MS, 128);
        assert_eq!(aimd.limit(), 16);
        windows(&mut aimd, 20, 10 * MS, 128);
        assert_eq!(aimd.limit(), 128, "in twenty windows");
    }

    #[test]
    fn one_slow_request_in_twenty_is_tolerated() {
        let mut aimd = aimd();
        let mut now = aimd.since;
        for n in 0..200 {
            now += 10 * MS;
            aimd.observe(if n % 20 == 0 { 900 * MS } else { MS }, 128, now);
        }
        assert_eq!(aimd.limit(), 128);
    }

    #[test]
    fn a_limit_that_nobody_uses_does_not_grow() {
        let mut aimd = aimd();
        windows(&mut aimd, 30, 300 * MS, 128);
        windows(&mut aimd, 30, MS, 3);
        assert_eq!(aimd.limit(), 16);
    }

    #[test]
    fn switched_off_the_limit_is_fixed() {
        let mut limit = Limit::Fixed(7);
        for _ in 0..100 {
            limit.observe(Duration::from_secs(9), 7, Instant::now());
        }
        assert_eq!(limit.now(), 7);
    }

    #[tokio::test(start_paused = true)]
    async fn time_with_dependencies_is_not_the_requests_own_and_calls_at_once_count_once() {
        let call = async || {
            let _away = Stopwatch::start();
            tokio::time::sleep(100 * MS).await;
        };
        let ((), own) = timed(async {
            tokio::join!(call(), call(), call());
            tokio::time::sleep(20 * MS).await;
            call().await;
        })
        .await;
        assert_eq!(own, 20 * MS);
        call().await;
    }

    proptest! {
        #[test]
        fn the_limit_never_leaves_its_bounds(
            min in 0usize..300, max in 0usize..300,
            requests in proptest::collection::vec((0u64..1000, 0usize..400, 0u64..100), 0..600),
        ) {
            let mut now = Instant::now();
            let mut aimd = Aimd::new(AdaptiveConfig { min, ..AdaptiveConfig::default() }, max, now);
            for (own, under_way, later) in requests {
                now += Duration::from_millis(later);
                aimd.observe(Duration::from_millis(own), under_way, now);
                prop_assert!(aimd.limit() <= max.max(1) && aimd.limit() >= min.clamp(1, max.max(1)));
            }
        }
    }
}
