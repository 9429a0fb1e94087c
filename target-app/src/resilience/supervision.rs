//! Let it crash: background workers run under a supervisor that starts a crashed one again, within limits.
//!
//! A worker does not defend itself against its own bugs: it panics, is logged and counted, and starts anew from a
//! clean state. More crashes than the restart intensity allows are a fault that restarting does not mend: the worker is
//! given up, and if the shop cannot do without it the shop leaves in order, for its platform to start a new one.
//! After Erlang's supervisors. No crate is used: a loop around `catch_unwind`, and `Intensity`, which is pure.
//!
//! A panic in a request is a 500 and no more (tower-http's `CatchPanicLayer`, in `api/`). Switched off, a worker that
//! panics is gone, and a panic in a request breaks its connection.
//!
//! Invariant: `end` returns only when no worker is left, or its limit has passed.

use crate::metrics::Metrics;
use futures::FutureExt as _;
use parking_lot::Mutex;
use serde::Serialize;
use std::{
    any::Any,
    collections::{BTreeMap, VecDeque},
    panic::AssertUnwindSafe,
    sync::Arc,
    time::Duration,
};
use tokio::{sync::Notify, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How many crashes are normal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SupervisionConfig {
    /// Restarts of one worker within `period`, at most.
    pub restarts: usize,
    /// Restarts count for so long.
    pub period: Duration,
    /// Between a crash and the restart.
    pub pause: Duration,
}

impl Default for SupervisionConfig {
    fn default() -> Self {
        Self { restarts: 5, period: Duration::from_secs(10), pause: Duration::from_millis(50) }
    }
}

/// Workers have so long to notice that they are to end.
const END_LIMIT: Duration = Duration::from_secs(5);

/// Whether one more restart is within the limits.
#[derive(Debug)]
struct Intensity {
    config: SupervisionConfig,
    restarts: VecDeque<Instant>,
}

impl Intensity {
    fn new(config: SupervisionConfig) -> Self {
        Self { config, restarts: VecDeque::new() }
    }

    fn allows(&mut self, now: Instant) -> bool {
        while self.restarts.front().is_some_and(|at| now.saturating_duration_since(*at) >= self.config.period) {
            self.restarts.pop_front();
        }
        let allowed = self.restarts.len() < self.config.restarts;
        if allowed {
            self.restarts.push_back(now);
        }
        allowed
    }
}

/// What a worker is to the shop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Importance {
    /// Without it the shop must not go on.
    Vital,
    /// Without it the shop is poorer.
    Helpful,
}

/// What a worker is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum WorkerState {
    Running,
    /// Crashed more often than the restart intensity allows, or once without supervision.
    Down,
    /// It has done its work.
    Ended,
}

/// Runs the workers of one shop.
pub(crate) struct Supervisor {
    /// Absent when the pattern is switched off.
    config: Option<SupervisionConfig>,
    stop: CancellationToken,
    /// Asked to end the shop when a vital worker is given up.
    escalate: CancellationToken,
    tasks: TaskTracker,
    crash: Notify,
    workers: Mutex<BTreeMap<&'static str, WorkerState>>,
    metrics: Arc<Metrics>,
}

impl Supervisor {
    /// `escalate` is cancelled when a vital worker is given up.
    pub(crate) fn new(
        config: Option<SupervisionConfig>,
        escalate: CancellationToken,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        Arc::new(Self { config, stop, escalate, tasks, crash: Notify::new(), workers: Mutex::default(), metrics })
    }

    /// Starts a worker. `work` makes it anew after each crash; it ends when its token is cancelled, or by itself.
    pub(crate) fn start<W, F>(self: &Arc<Self>, name: &'static str, importance: Importance, work: W)
    where
        W: Fn(CancellationToken) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        self.note(name, WorkerState::Running);
        let supervisor = Arc::clone(self);
        self.tasks.spawn(async move {
            let state = supervisor.keep(name, work).await;
            supervisor.note(name, state);
            if state == WorkerState::Down && importance == Importance::Vital && supervisor.config.is_some() {
                tracing::error!(worker = name, "the shop cannot do without it and leaves");
                supervisor.escalate.cancel();
            }
        });
    }

    async fn keep<W, F>(&self, name: &'static str, work: W) -> WorkerState
    where
        W: Fn(CancellationToken) -> F + Send + Sync,
        F: Future<Output = ()> + Send,
    {
        let mut intensity = self.config.map(Intensity::new);
        loop {
            let run = AssertUnwindSafe(self.until_crashed(|| work(self.stop.clone()))).catch_unwind();
            let Err(panic) = run.await else { return WorkerState::Ended };
            tracing::error!(worker = name, panic = text_of(&*panic), "a worker crashed");
            let Some(intensity) = &mut intensity else { return WorkerState::Down };
            if !intensity.allows(Instant::now()) {
                tracing::error!(worker = name, "a worker crashes too often and is given up");
                return WorkerState::Down;
            }
            self.metrics.front.restarted(name);
            tokio::select! {
                () = self.stop.cancelled() => return WorkerState::Ended,
                () = tokio::time::sleep(intensity.config.pause) => {}
            }
        }
    }

    async fn until_crashed<F: Future<Output = ()>>(&self, work: impl FnOnce() -> F) {
        let crash = self.crash.notified();
        tokio::select! {
            () = async { work().await } => {}
            () = crash => panic!("crashed by chaos"),
        }
    }

    /// Makes every worker panic once.
    pub(crate) fn crash_all(&self) {
        tracing::warn!("chaos crashes every worker");
        self.crash.notify_waiters();
    }

    fn note(&self, name: &'static str, state: WorkerState) {
        self.workers.lock().insert(name, state);
        self.metrics.front.worker(name, state == WorkerState::Running);
    }

    /// What each worker is doing.
    pub(crate) fn workers(&self) -> BTreeMap<&'static str, WorkerState> {
        self.workers.lock().clone()
    }

    /// Tells all workers to end, and waits for them, up to a limit.
    pub(crate) async fn end(&self) {
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(END_LIMIT, self.tasks.wait()).await.is_err() {
            tracing::warn!("a worker did not end in time");
        }
    }
}

/// What a panic said.
pub(crate) fn text_of(panic: &(dyn Any + Send)) -> &str {
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    owned.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("of unknown type")
}

#[cfg(test)]
mod tests {
    use super::{Importance, Intensity, SupervisionConfig, Supervisor, WorkerState};
    use crate::metrics::Metrics;
    use std::{
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        time::Duration,
    };
    use tokio::time::Instant;
    use tokio_util::sync::CancellationToken;

    fn supervisor(config: Option<SupervisionConfig>) -> (Arc<Supervisor>, CancellationToken) {
        let escalate = CancellationToken::new();
        (Supervisor::new(config, escalate.clone(), Metrics::new()), escalate)
    }

    /// A worker that crashes so often before it works; the number of its starts.
    fn crashing(supervisor: &Arc<Supervisor>, crashes: usize, importance: Importance) -> Arc<AtomicUsize> {
        let starts = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&starts);
        supervisor.start("test", importance, move |stop| {
            let start = counted.fetch_add(1, Ordering::Relaxed);
            async move {
                assert!(start >= crashes, "crash {start}");
                stop.cancelled().await;
            }
        });
        starts
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_that_crashes_is_started_again_and_counted() {
        let (supervisor, escalate) = supervisor(Some(SupervisionConfig::default()));
        let starts = crashing(&supervisor, 3, Importance::Vital);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(starts.load(Ordering::Relaxed), 4);
        assert_eq!(supervisor.workers()["test"], WorkerState::Running);
        assert!(supervisor.metrics.encode().contains("worker_restarts_total{worker=\"test\"} 3"));
        supervisor.end().await;
        assert_eq!(supervisor.workers()["test"], WorkerState::Ended);
        assert!(!escalate.is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn a_vital_worker_that_crashes_too_often_ends_the_shop_and_a_helpful_one_does_not() {
        for (importance, escalates) in [(Importance::Vital, true), (Importance::Helpful, false)] {
            let (supervisor, escalate) = supervisor(Some(SupervisionConfig::default()));
            let starts = crashing(&supervisor, 1000, importance);
            tokio::time::sleep(Duration::from_secs(2)).await;
            assert_eq!(starts.load(Ordering::Relaxed), 6, "the first start and five restarts");
            assert_eq!(supervisor.workers()["test"], WorkerState::Down);
            assert_eq!(escalate.is_cancelled(), escalates);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn switched_off_a_worker_that_crashes_is_gone() {
        let (supervisor, escalate) = supervisor(None);
        let starts = crashing(&supervisor, 1, Importance::Vital);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!((starts.load(Ordering::Relaxed), escalate.is_cancelled()), (1, false));
        assert_eq!(supervisor.workers()["test"], WorkerState::Down);
    }

    #[tokio::test(start_paused = true)]
    async fn chaos_crashes_every_worker_once_and_with_supervision_they_are_back() {
        for (config, state) in [(Some(SupervisionConfig::default()), WorkerState::Running), (None, WorkerState::Down)] {
            let (supervisor, _) = supervisor(config);
            let starts = crashing(&supervisor, 0, Importance::Vital);
            tokio::time::sleep(Duration::from_secs(1)).await;
            supervisor.crash_all();
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert_eq!(starts.load(Ordering::Relaxed), if config.is_some() { 2 } else { 1 });
            assert_eq!(supervisor.workers()["test"], state);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn crashes_that_are_far_apart_are_always_forgiven() {
        let mut intensity = Intensity::new(SupervisionConfig::default());
        for _ in 0..100 {
            assert!(intensity.allows(Instant::now()));
            tokio::time::advance(Duration::from_millis(2001)).await;
        }
        for _ in 0..5 {
            intensity.allows(Instant::now());
        }
        assert!(!intensity.allows(Instant::now()));
    }
}
