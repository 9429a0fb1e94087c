//! The door: who is worked on now, who waits, and who is sent away at once.
//!
//! ```text
//! request ─▶ load shedding ─▶ free slot? ─▶ worked on ─▶ slot goes to who waits: highest first, then longest
//!                 │ refused        └─▶ queue (bounded, 100 ms) ──┘
//!                 ▼                      │ full: lower work gives up its place, or refused
//!                503 ◀───────────────────┘
//! ```
//!
//! Three patterns meet here and do not know each other: load shedding says who is refused, adaptive concurrency how
//! many slots there are, back pressure how long one waits. Neighbour: `api/door.rs` asks, for each request.
//!
//! Invariant: at most as many slots are out as the limit was when they were given; a slot that is dropped goes to the
//! next who waits, and one that was given to somebody who has left is not lost.

use crate::{
    metrics::Metrics,
    resilience::{
        adaptive_concurrency::Limit,
        back_pressure::BackPressure,
        load_shedding::{Priority, Reason, Seen, SheddingConfig},
        timeout_budget::Deadline,
    },
};
use parking_lot::Mutex;
use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{sync::oneshot, time::Instant};

/// Every `reason` of `load_shed_total{service="shop"}`.
pub(crate) const REASONS: [&str; 7] = ["slots", "queue", "early", "priority", "latency", "cpu", "connections"];
/// Means follow what happens over about so many requests.
const MEMORY: f64 = 32.0;

type Tell = oneshot::Sender<Result<Slot, Refused>>;

/// Why somebody was sent away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// There is too much to do.
    Shed(Reason),
    /// The request's deadline passed in the queue.
    Late,
}

struct Waiter {
    number: u64,
    tell: Tell,
}

struct Line {
    running: usize,
    /// By priority, lowest first; in each, who came first is first.
    waiting: [VecDeque<Waiter>; 3],
    numbers: u64,
    limit: Limit,
    mean_waiting: f64,
    /// Seconds that a slot is held, on the mean.
    mean_service: f64,
}

impl Line {
    fn waiting(&self) -> usize {
        self.waiting.iter().map(VecDeque::len).sum()
    }

    fn ahead(&self, priority: Priority) -> usize {
        self.waiting[priority as usize..].iter().map(VecDeque::len).sum()
    }

    /// The next to be served.
    fn next(&mut self) -> Option<Waiter> {
        self.waiting.iter_mut().rev().find_map(VecDeque::pop_front)
    }

    /// The lowest and newest below this priority gives up its place.
    fn yields(&mut self, to: Priority) -> Option<Waiter> {
        self.waiting[..to as usize].iter_mut().find_map(VecDeque::pop_back)
    }

    fn push(&mut self, priority: Priority, tell: Tell) -> u64 {
        self.numbers += 1;
        self.waiting[priority as usize].push_back(Waiter { number: self.numbers, tell });
        self.numbers
    }

    fn seen(&self, priority: Priority, cpu: f64) -> Seen {
        Seen {
            running: self.running,
            limit: self.limit.now(),
            ahead: self.ahead(priority),
            waiting: self.waiting(),
            mean_waiting: self.mean_waiting,
            service: Duration::from_secs_f64(self.mean_service),
            cpu,
        }
    }
}

/// The door of one shop.
pub(crate) struct Door {
    line: Mutex<Line>,
    /// Absent when load shedding is switched off.
    shedding: Option<SheddingConfig>,
    pressure: BackPressure,
    /// CPU use as the bits of an `f64`.
    cpu: AtomicU64,
    metrics: Arc<Metrics>,
}

impl Door {
    pub(crate) fn new(
        limit: Limit,
        shedding: Option<SheddingConfig>,
        pressure: BackPressure,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        let waiting = Default::default();
        let line = Line { running: 0, waiting, numbers: 0, limit, mean_waiting: 0.0, mean_service: 0.0 };
        Arc::new(Self { line: Mutex::new(line), shedding, pressure, cpu: AtomicU64::new(0), metrics })
    }

    /// Told by who measures it.
    pub(crate) fn cpu_is(&self, share: f64) {
        self.cpu.store(share.to_bits(), Ordering::Relaxed);
        self.metrics.front.cpu(share);
    }

    /// Slots taken, slots there are, and requests that wait.
    pub(crate) fn usage(&self) -> (usize, usize, usize) {
        let line = self.line.lock();
        (line.running, line.limit.now(), line.waiting())
    }

    /// A slot for a request, until it is dropped.
    pub(crate) async fn enter(self: &Arc<Self>, priority: Priority, deadline: Deadline) -> Result<Slot, Refused> {
        let result = match self.ask(priority, deadline) {
            Asked::Now(slot) => Ok(slot),
            Asked::Refused(reason) => Err(Refused::Shed(reason)),
            Asked::Wait(number, told) => self.wait(priority, number, told, deadline).await,
        };
        if let Err(Refused::Shed(reason)) = result {
            self.metrics.shed("shop", reason.name());
        }
        result
    }

    fn ask(self: &Arc<Self>, priority: Priority, deadline: Deadline) -> Asked {
        let mut line = self.line.lock();
        let waiting = line.waiting();
        line.mean_waiting += (waiting as f64 - line.mean_waiting) / MEMORY;
        let mut pushed_out = None;
        if let Some(config) = &self.shedding {
            let seen = line.seen(priority, f64::from_bits(self.cpu.load(Ordering::Relaxed)));
            let refused = config.refuses(&seen, priority, self.pressure.patience(deadline), rand::random());
            if let Some(reason) = refused {
                return Asked::Refused(reason);
            }
            let must_wait = seen.running >= seen.limit || seen.ahead > 0;
            if must_wait && waiting >= config.queue {
                pushed_out = line.yields(priority);
                if pushed_out.is_none() {
                    return Asked::Refused(Reason::Queue);
                }
            }
        }
        let asked = if line.running < line.limit.now() && line.ahead(priority) == 0 {
            line.running += 1;
            Asked::Now(self.slot())
        } else {
            let (tell, told) = oneshot::channel();
            Asked::Wait(line.push(priority, tell), told)
        };
        drop(line);
        if let Some(waiter) = pushed_out {
            // Who has left in the meantime need not be told.
            let _ = waiter.tell.send(Err(Refused::Shed(Reason::Priority)));
        }
        asked
    }

    async fn wait(
        self: &Arc<Self>,
        priority: Priority,
        number: u64,
        told: oneshot::Receiver<Result<Slot, Refused>>,
        deadline: Deadline,
    ) -> Result<Slot, Refused> {
        let _place = Place { door: self, priority, number };
        match self.pressure.wait(deadline, told).await {
            Ok(Ok(result)) => result,
            // Nobody drops a sender without a word; if it were so, there is no slot.
            Ok(Err(_)) => Err(Refused::Shed(Reason::Slots)),
            Err(_) if deadline.left().is_some_and(|left| left.is_zero()) => Err(Refused::Late),
            Err(_) => Err(Refused::Shed(Reason::Slots)),
        }
    }

    fn slot(self: &Arc<Self>) -> Slot {
        Slot { door: Arc::clone(self), since: Instant::now(), own: None, held: true }
    }

    /// Gives free slots to those who wait.
    fn serve(self: &Arc<Self>) {
        loop {
            let mut line = self.line.lock();
            if line.running >= line.limit.now() {
                return;
            }
            let Some(waiter) = line.next() else { return };
            line.running += 1;
            drop(line);
            if let Err(Ok(mut slot)) = waiter.tell.send(Ok(self.slot())) {
                slot.held = false;
                self.line.lock().running -= 1;
            }
        }
    }
}

enum Asked {
    Now(Slot),
    Wait(u64, oneshot::Receiver<Result<Slot, Refused>>),
    Refused(Reason),
}

/// A place in the queue, given up when dropped.
struct Place<'a> {
    door: &'a Door,
    priority: Priority,
    number: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut line = self.door.line.lock();
        let waiting = &mut line.waiting[self.priority as usize];
        // Numbers rise along the queue.
        if let Ok(at) = waiting.binary_search_by_key(&self.number, |waiter| waiter.number) {
            waiting.remove(at);
        }
    }
}

/// The right to be worked on.
#[must_use]
pub(crate) struct Slot {
    door: Arc<Door>,
    since: Instant,
    own: Option<Duration>,
    held: bool,
}

impl Slot {
    /// The work is done; of its time so much was the shop's own.
    pub(crate) fn done(mut self, own: Duration) {
        self.own = Some(own);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if !self.held {
            return;
        }
        let now = Instant::now();
        let mut line = self.door.line.lock();
        let under_way = line.running;
        line.running -= 1;
        let held = now.saturating_duration_since(self.since).as_secs_f64();
        line.mean_service += (held - line.mean_service) / MEMORY;
        // A client that left tells nothing about the time that its request would have taken.
        if let Some(own) = self.own {
            line.limit.observe(own, under_way, now);
        }
        drop(line);
        self.door.serve();
    }
}

#[cfg(test)]
#[path = "door_tests.rs"]
mod tests;
