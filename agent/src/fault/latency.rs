//! `latency`: a delay line. Each chunk leaves `delay` ± `jitter` after it arrived, in order; so does the end.
//!
//! Throughput is not lowered until `buffer` bytes are on the line, or the agent's budget is short; then no more is
//! read, and from then on, until the line is empty, as much as it holds is taken in evenly over each delay: otherwise
//! a fast sender would fill it in an instant, again and again, and a second of latency would pass a second's bytes in
//! one burst. When the delay changes, what is on the line is timed anew from its arrival.
//!
//! On `http` each exchange has a line of its own, and all lines of one direction of a connection count as one
//! ([`Lines`]). Where others hold all of it, the line of the exchange that everything waits for takes a little more, or
//! a jitter that lets a later one come first would hold up both for ever.
//!
//! Acts (and counts a hit) when a chunk or an end is put on the line.
//!
//! Invariant: nothing overtakes, whatever the jitter; a delay is never negative.

use super::{Asked, Item, Stage, StageContext};
use crate::budget::{Budget, FLOOR, Share};
use parking_lot::Mutex;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, Exp1, StandardNormal};
use squall_wire::{
    FaultKind,
    fault::{Distribution, Latency},
};
use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

/// What a chunk costs beyond its bytes, so that a flood of tiny ones is bounded as well.
const OVERHEAD: u64 = 96;

/// Four sizes between one power of two and the next are what the allocator gives.
const SIZES: usize = 4;

/// The heavy tail's exponent: its mean exists and so does its variance, barely.
const PARETO_SHAPE: f64 = 2.5;

/// A random delay is at most this many times its jitter above `delay`, for the tails have no end.
const TAIL_LIMIT: f64 = 1000.0;

struct OnTheLine {
    arrived: Instant,
    ready: Instant,
    item: Item,
}

/// What all lines of one direction of one connection hold.
#[derive(Debug)]
pub(crate) struct Lines {
    share: Share,
    /// Set while the lines are what limits the stream.
    intake: Option<Intake>,
}

/// The same, for each of the lines.
pub(crate) type SharedLines = Arc<Mutex<Lines>>;

impl Lines {
    /// Of a connection that holds nothing.
    pub(super) fn new(budget: &Arc<Budget>) -> SharedLines {
        Arc::new(Mutex::new(Self { share: budget.share(), intake: None }))
    }

    fn give(&mut self, bytes: u64) {
        self.share.give(bytes);
        if self.share.held() == 0 {
            self.intake = None;
        }
    }
}

/// The delay line of one direction, or of one message of an exchange.
pub(crate) struct DelayLine {
    latency: Latency,
    random: ChaCha8Rng,
    // Bounded in bytes by `lines`, overhead included.
    line: VecDeque<OnTheLine>,
    lines: SharedLines,
    /// What this line holds of it.
    held: u64,
    asked: Option<Arc<Asked>>,
    upstream: bool,
    last_ready: Option<Instant>,
    /// The latest time that the line was told.
    now: Instant,
}

/// How fast a line that was full once takes in more.
#[derive(Debug, Clone, Copy)]
struct Intake {
    /// When it takes the next chunk.
    next: Instant,
    /// What the line held when it was full.
    full: u64,
}

/// How far behind its pace an intake may catch up at once: what a wake-up may be late.
const CATCH_UP: Duration = Duration::from_millis(5);

impl Intake {
    /// Books a chunk of this cost.
    fn book(&mut self, cost: u64, delay: Duration, now: Instant) {
        let pace = delay.mul_f64(cost as f64 / self.full.max(1) as f64);
        let earliest = now.checked_sub(CATCH_UP).unwrap_or(now);
        self.next = self.next.max(earliest) + pace;
    }
}

impl DelayLine {
    pub(crate) fn new(latency: Latency, context: &StageContext<'_>) -> Self {
        Self {
            latency,
            random: context.random(),
            line: VecDeque::new(),
            lines: context.lines(),
            held: 0,
            asked: context.asked.cloned(),
            upstream: context.upstream,
            last_ready: None,
            now: context.now,
        }
    }

    fn has_room(&self, lines: &Lines) -> bool {
        let is_first = || self.asked.as_ref().is_some_and(|asked| asked.is_first(self.upstream));
        lines.share.has_room(self.latency.buffer.get()) || (self.held < FLOOR && is_first())
    }

    fn give(&mut self, bytes: u64) {
        self.held -= bytes;
        self.lines.lock().give(bytes);
    }

    /// When something that arrived then leaves.
    fn ready(&mut self, arrived: Instant) -> Instant {
        let ready = arrived + delay(&self.latency, &mut self.random);
        let ready = self.last_ready.map_or(ready, |last| ready.max(last));
        self.last_ready = Some(ready);
        ready
    }
}

/// One random delay, clipped at 0.
pub(super) fn delay(latency: &Latency, random: &mut ChaCha8Rng) -> Duration {
    let (delay, jitter) = (latency.delay.get(), latency.jitter.get().as_secs_f64());
    if jitter == 0.0 {
        return delay;
    }
    let spread = match latency.distribution {
        Distribution::Uniform => random.random_range(-1.0..=1.0),
        Distribution::Normal => StandardNormal.sample(random),
        Distribution::Exponential => Exp1.sample(random),
        // Lomax, the Pareto that starts at 0, scaled to a mean of 1.
        Distribution::Pareto => {
            let share: f64 = random.random();
            (PARETO_SHAPE - 1.0) * ((1.0 - share).powf(-1.0 / PARETO_SHAPE) - 1.0)
        }
    };
    let seconds = delay.as_secs_f64() + jitter * f64::min(spread, TAIL_LIMIT);
    Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(delay)
}

/// What so many bytes take of the budget: the memory that they lie in, and not their number, is what is bounded.
pub(super) fn cost(bytes: usize) -> u64 {
    let step = (bytes.next_power_of_two() / 2 / SIZES).max(1);
    bytes.next_multiple_of(step) as u64 + OVERHEAD
}

impl Stage for DelayLine {
    fn has_own_budget(&self) -> bool {
        true
    }

    fn accepts(&self) -> bool {
        let lines = self.lines.lock();
        self.has_room(&lines) && lines.intake.is_none_or(|intake| intake.next <= self.now)
    }

    fn touches(&self, _: &Item, _: Instant) -> bool {
        true
    }

    fn push(&mut self, item: Item, came: Instant) {
        self.now = self.now.max(came);
        let now = self.now;
        let cost = cost(item.len());
        let mut lines = self.lines.lock();
        lines.share.take(cost);
        self.held += cost;
        if let Some(intake) = &mut lines.intake {
            intake.book(cost, self.latency.delay.get(), now);
        } else if !lines.share.has_room(self.latency.buffer.get()) {
            lines.intake = Some(Intake { next: now, full: lines.share.held() });
        }
        drop(lines);
        let ready = self.ready(came);
        self.line.push_back(OnTheLine { arrived: came, ready, item });
    }

    fn pull(&mut self, now: Instant) -> Option<Item> {
        self.now = now;
        let first = self.line.pop_front_if(|first| first.ready <= now)?;
        self.give(cost(first.item.len()));
        if self.line.is_empty() {
            // Memory is given back when there is nothing on the line.
            self.line = VecDeque::new();
        }
        Some(first.item)
    }

    fn due(&self, now: Instant) -> Option<Instant> {
        let leaves = self.line.front().map(|first| first.ready);
        // Where there is room, the next intake is a question of time as well.
        let lines = self.lines.lock();
        let intake = lines.intake.filter(|intake| intake.next > now && self.has_room(&lines)).map(|intake| intake.next);
        leaves.into_iter().chain(intake).min()
    }

    fn change(&mut self, kind: &FaultKind, _: Instant) {
        let FaultKind::Latency(latency) = kind else { return };
        self.latency = *latency;
        self.last_ready = None;
        self.lines.lock().intake = None;
        let mut line = std::mem::take(&mut self.line);
        for on_the_line in &mut line {
            on_the_line.ready = self.ready(on_the_line.arrived);
        }
        self.line = line;
    }

    fn release(&mut self) -> VecDeque<Item> {
        self.lines.lock().intake = None;
        let held: VecDeque<Item> = self.line.drain(..).map(|on_the_line| on_the_line.item).collect();
        self.give(self.held);
        held
    }
}

impl Drop for DelayLine {
    fn drop(&mut self) {
        self.give(self.held);
    }
}

#[cfg(test)]
mod tests {
    use super::{OVERHEAD, cost, delay};
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use squall_wire::fault::Latency;

    fn sample(json: &str) -> Vec<f64> {
        let latency: Latency = serde_json::from_str(json).unwrap();
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let mut delays: Vec<f64> = (0..20_000).map(|_| delay(&latency, &mut random).as_secs_f64() * 1e3).collect();
        delays.sort_by(f64::total_cmp);
        delays
    }

    fn mean(delays: &[f64]) -> f64 {
        delays.iter().sum::<f64>() / delays.len() as f64
    }

    #[test]
    fn a_chunk_costs_the_memory_that_it_lies_in() {
        const KIB: usize = 1024;
        let sizes = [(1, 1), (63, 64), (56 * KIB, 56 * KIB), (33 * KIB, 40 * KIB), (40 * KIB + 1, 48 * KIB)];
        for (bytes, taken) in sizes {
            assert_eq!(cost(bytes), taken as u64 + OVERHEAD, "{bytes}");
        }
    }

    #[test]
    fn uniform_spreads_evenly_within_its_bounds() {
        let delays = sample(r#"{"delay": "100ms", "jitter": "40ms"}"#);
        assert!(delays[0] >= 60.0 && delays[0] < 60.1 && delays[19_999] <= 140.0 && delays[19_999] > 139.9);
        assert!((mean(&delays) - 100.0).abs() < 1.0 && (delays[5_000] - 80.0).abs() < 1.5);
    }

    #[test]
    fn normal_has_its_jitter_as_deviation() {
        let delays = sample(r#"{"delay": "100ms", "jitter": "10ms", "distribution": "normal"}"#);
        let variance = delays.iter().map(|delay| (delay - 100.0).powi(2)).sum::<f64>() / 20_000.0;
        assert!((variance.sqrt() - 10.0).abs() < 0.3, "{}", variance.sqrt());
    }

    #[test]
    fn tails_start_at_the_delay_and_have_the_jitter_as_mean() {
        for tail in ["pareto", "exponential"] {
            let delays = sample(&format!(r#"{{"delay": "100ms", "jitter": "10ms", "distribution": "{tail}"}}"#));
            assert!(delays[0] >= 100.0 && (mean(&delays) - 110.0).abs() < 1.0, "{tail}: {}", mean(&delays));
        }
        let heavy = sample(r#"{"delay": "0s", "jitter": "10ms", "distribution": "pareto"}"#);
        let light = sample(r#"{"delay": "0s", "jitter": "10ms", "distribution": "exponential"}"#);
        assert!(heavy[19_990] > 1.5 * light[19_990], "the tail of pareto is heavy");
    }

    #[test]
    fn a_delay_is_clipped_at_zero() {
        let delays = sample(r#"{"delay": "1ms", "jitter": "10ms", "distribution": "normal"}"#);
        assert_eq!(delays[0], 0.0);
    }
}
