//! Circuit breaker: a dependency that fails is left alone for a while, then tried with care.
//!
//! ```text
//!            ratio of failures over the window ≥ limit, with enough calls
//!   closed ───────────────────────────────────────────────▶ open
//!     ▲                                                      │ open_for passed
//!     │ all trials succeeded                                 ▼
//!     └────────────────────── half-open ◀────────────────────┘
//!                                 │ one trial failed: open again
//! ```
//!
//! `Core` is pure: it is handed the time. `CircuitBreaker` locks it and reports changes; a call holds an `Admitted`
//! that gives its trial back when the call is dropped. Invariant: an outcome counts only in the state that admitted
//! its call, so stragglers from before an outage cannot close or open anything after it.

use crate::failure::FailureKind;
use parking_lot::Mutex;
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// When a breaker opens, for how long, and how it closes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BreakerConfig {
    /// Outcomes count for so long.
    pub window: Duration,
    /// Fewer calls than this in the window open nothing.
    pub minimum: u32,
    /// The share of failures that opens it, 0 to 1.
    pub ratio: f64,
    /// A call that takes longer than this share of its allotted time counts as a failure, 0 to 1.
    pub slow: f64,
    /// It stays open for so long.
    pub open_for: Duration,
    /// So many trials at a time when half-open; as many successes close it.
    pub trials: u32,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(2),
            minimum: 20,
            ratio: 0.5,
            slow: 0.8,
            open_for: Duration::from_secs(2),
            trials: 3,
        }
    }
}

/// The state as others see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Closed,
    HalfOpen,
    Open,
}

impl State {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half-open",
            Self::Open => "open",
        }
    }

    /// The value of `circuit_breaker_state`.
    pub(crate) const fn gauge(self) -> i64 {
        match self {
            Self::Closed => 0,
            Self::HalfOpen => 1,
            Self::Open => 2,
        }
    }
}

/// How an admitted call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Success,
    Failure(FailureKind),
    /// It says nothing: it was given up, or never reached the dependency.
    Unknown,
}

/// The call may not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rejected {
    pub(crate) retry_after: Duration,
    pub(crate) because: FailureKind,
}

const BUCKETS: usize = 10;

#[derive(Debug, Clone, Copy, Default)]
struct Bucket {
    calls: u32,
    failures: u32,
}

/// Counts over a sliding time window, a tenth of it at a time.
#[derive(Debug)]
struct Window {
    buckets: [Bucket; BUCKETS],
    width: Duration,
    newest: usize,
    newest_since: Instant,
}

impl Window {
    fn new(length: Duration, now: Instant) -> Self {
        let width = (length / BUCKETS as u32).max(Duration::from_millis(1));
        Self { buckets: [Bucket::default(); BUCKETS], width, newest: 0, newest_since: now }
    }

    fn slide(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.newest_since).as_nanos() / self.width.as_nanos();
        for _ in 0..passed.min(BUCKETS as u128) {
            self.newest = (self.newest + 1) % BUCKETS;
            self.buckets[self.newest] = Bucket::default();
        }
        if passed >= BUCKETS as u128 {
            self.newest_since = now;
        } else {
            self.newest_since += self.width * u32::try_from(passed).unwrap_or(0);
        }
    }

    fn record(&mut self, now: Instant, failed: bool) {
        self.slide(now);
        let bucket = &mut self.buckets[self.newest];
        bucket.calls += 1;
        bucket.failures += u32::from(failed);
    }

    fn totals(&self) -> (u32, u32) {
        self.buckets.iter().fold((0, 0), |(calls, failures), b| (calls + b.calls, failures + b.failures))
    }
}

#[derive(Debug)]
enum Phase {
    Closed(Window),
    Open { until: Instant, because: FailureKind },
    HalfOpen { running: u32, succeeded: u32, because: FailureKind },
}

/// The breaker as a pure value.
#[derive(Debug)]
pub(crate) struct Core {
    config: BreakerConfig,
    phase: Phase,
    generation: u64,
}

impl Core {
    pub(crate) fn new(config: BreakerConfig, now: Instant) -> Self {
        Self { config, phase: Phase::Closed(Window::new(config.window, now)), generation: 0 }
    }

    pub(crate) fn state(&self) -> State {
        match self.phase {
            Phase::Closed(_) => State::Closed,
            Phase::Open { .. } => State::Open,
            Phase::HalfOpen { .. } => State::HalfOpen,
        }
    }

    fn enter(&mut self, phase: Phase) {
        self.generation += 1;
        self.phase = phase;
    }

    /// Whether a call would be refused, without asking for one.
    fn refuses(&self, now: Instant) -> Option<Rejected> {
        match &self.phase {
            Phase::Open { until, because } if now < *until => {
                Some(Rejected { retry_after: *until - now, because: *because })
            }
            Phase::HalfOpen { running, succeeded, because } if running + succeeded >= self.config.trials.max(1) => {
                Some(Rejected { retry_after: self.config.open_for / 2, because: *because })
            }
            Phase::Open { .. } | Phase::HalfOpen { .. } | Phase::Closed(_) => None,
        }
    }

    /// Lets a call pass, or not. What is returned belongs to the call.
    pub(crate) fn admit(&mut self, now: Instant) -> Result<u64, Rejected> {
        if let Some(rejected) = self.refuses(now) {
            return Err(rejected);
        }
        if let Phase::Open { because, .. } = self.phase {
            self.enter(Phase::HalfOpen { running: 0, succeeded: 0, because });
        }
        if let Phase::HalfOpen { running, .. } = &mut self.phase {
            *running += 1;
        }
        Ok(self.generation)
    }

    /// Takes the outcome of a call that was let pass.
    pub(crate) fn settle(&mut self, generation: u64, outcome: Outcome, now: Instant) {
        if generation != self.generation {
            return;
        }
        let open = |because| Phase::Open { until: now + self.config.open_for, because };
        let next = match (&mut self.phase, outcome) {
            (Phase::Closed(_), Outcome::Unknown) | (Phase::Open { .. }, _) => None,
            (Phase::Closed(window), Outcome::Success) => {
                window.record(now, false);
                None
            }
            (Phase::Closed(window), Outcome::Failure(because)) => {
                window.record(now, true);
                let (calls, failures) = window.totals();
                let over = f64::from(failures) >= self.config.ratio * f64::from(calls);
                (calls >= self.config.minimum && over).then(|| open(because))
            }
            (Phase::HalfOpen { .. }, Outcome::Failure(because)) => Some(open(because)),
            (Phase::HalfOpen { running, .. }, Outcome::Unknown) => {
                *running = running.saturating_sub(1);
                None
            }
            (Phase::HalfOpen { running, succeeded, .. }, Outcome::Success) => {
                *running = running.saturating_sub(1);
                *succeeded += 1;
                let closes = *succeeded >= self.config.trials.max(1);
                closes.then(|| Phase::Closed(Window::new(self.config.window, now)))
            }
        };
        if let Some(phase) = next {
            self.enter(phase);
        }
    }
}

/// Told of each change of state; of a closing, with the time since the breaker opened.
pub(crate) type OnChange = Box<dyn Fn(State, Option<Duration>) + Send + Sync>;

/// One breaker, shared by the calls to one endpoint.
pub(crate) struct CircuitBreaker {
    core: Mutex<Core>,
    /// Since when there has been trouble.
    opened: Mutex<Option<Instant>>,
    on_change: OnChange,
}

impl CircuitBreaker {
    pub(crate) fn new(config: BreakerConfig, on_change: OnChange) -> Arc<Self> {
        on_change(State::Closed, None);
        let core = Mutex::new(Core::new(config, Instant::now()));
        Arc::new(Self { core, opened: Mutex::new(None), on_change })
    }

    pub(crate) fn state(&self) -> State {
        self.core.lock().state()
    }

    /// Why a call would be refused now, if it would.
    pub(crate) fn refuses(&self) -> Option<Rejected> {
        self.core.lock().refuses(Instant::now())
    }

    /// Asks to make a call.
    pub(crate) fn admit(self: &Arc<Self>) -> Result<Admitted, Rejected> {
        let generation = self.change(|core| core.admit(Instant::now()))?;
        Ok(Admitted { breaker: Arc::clone(self), generation, settled: false })
    }

    fn change<T>(&self, act: impl FnOnce(&mut Core) -> T) -> T {
        let mut core = self.core.lock();
        let before = core.state();
        let result = act(&mut core);
        let after = core.state();
        // Told under the lock, so that the changes are seen in their order.
        if before != after {
            let mut opened = self.opened.lock();
            let recovered = match after {
                State::Closed => opened.take().map(|at| at.elapsed()),
                State::Open | State::HalfOpen => {
                    opened.get_or_insert_with(Instant::now);
                    None
                }
            };
            (self.on_change)(after, recovered);
        }
        result
    }
}

/// A call that was let pass. Dropped without an outcome, it counts for nothing.
#[must_use]
pub(crate) struct Admitted {
    breaker: Arc<CircuitBreaker>,
    generation: u64,
    settled: bool,
}

impl Admitted {
    pub(crate) fn settle(mut self, outcome: Outcome) {
        self.finish(outcome);
    }

    fn finish(&mut self, outcome: Outcome) {
        if !std::mem::replace(&mut self.settled, true) {
            self.breaker.change(|core| core.settle(self.generation, outcome, Instant::now()));
        }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.finish(Outcome::Unknown);
    }
}

#[cfg(test)]
#[path = "circuit_breaker_tests.rs"]
mod tests;
