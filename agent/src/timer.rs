//! Timers finer than the runtime's one-millisecond wheel, without burning a core.
//!
//! ```text
//!  sleep_until ──▶ queue ──earliest──▶ timerfd in the runtime's own epoll ──▶ one task wakes who is due
//! ```
//! A worker that waits for sockets waits for the earliest deadline with them, so no other thread has to be woken first.
//! The kernel wakes a worker some tens of microseconds late; `lead.rs` learns how late, the descriptor is set so much
//! earlier, and the rest is spun away, for a share of the time that is bounded. `link.rs` is the user.
//!
//! Where a host gives a virtual processor that has gone to sleep back milliseconds late, no timer is in time. For that
//! there is `busy_poll`: so long before each deadline the task stops resting, and looks again and again, the runtime
//! looking at its sockets in between.
//!
//! Invariant: a future that is dropped leaves nothing behind in the queue, and none returns before its deadline.

mod lead;

use lead::Lead;
use parking_lot::Mutex;
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime, timerfd_create,
    timerfd_settime,
};
use std::{
    collections::BTreeMap,
    future::Future,
    hint,
    io::{self, ErrorKind},
    os::fd::OwnedFd,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    runtime::Handle,
    task::yield_now,
};
use tokio_util::task::AbortOnDropHandle;

/// Deadlines by time, then by the order in which they came.
type Key = (Instant, u64);

#[derive(Default)]
struct Queue {
    // As many as there are sleeping links at most, for each link sleeps once.
    entries: BTreeMap<Key, Waker>,
    next: u64,
    rest: Rest,
    lead: Lead,
    /// When somebody was woken last, while it is polled busily.
    woke: Option<Instant>,
}

/// Until when the task rests. It may be earlier than the earliest deadline, for one that is taken out wakes nobody.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Rest {
    /// It is about to look at the queue.
    #[default]
    Awake,
    /// Until the descriptor wakes it, which is set to this time, for a deadline that comes soon after it.
    Until { aim: Instant, deadline: Instant },
    /// Until a deadline comes.
    Long,
}

impl Rest {
    /// Whether the task would oversleep this deadline.
    fn is_past(self, deadline: Instant) -> bool {
        match self {
            Self::Awake => false,
            Self::Until { deadline: end, .. } => deadline < end,
            Self::Long => true,
        }
    }
}

/// What the task does until it looks again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// It waits for the descriptor.
    Rest,
    /// It lets others have their turn.
    LookAgain,
}

/// Whoever was woken says within this time when it is next to be woken, so there is no sleep in between.
const ANSWER: Duration = Duration::from_micros(200);

/// A descriptor that becomes readable at a time.
#[derive(Debug)]
struct Clock {
    fd: AsyncFd<OwnedFd>,
    /// One moment on both clocks, which are the same one: the standard library only does not say so.
    origin: (Instant, Duration),
}

impl Clock {
    fn new() -> io::Result<Self> {
        if Handle::try_current().is_err() {
            return Err(io::Error::new(ErrorKind::Unsupported, "there is no runtime here"));
        }
        let fd = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        let now = clock_gettime(ClockId::Monotonic);
        let since_boot = Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0));
        #[expect(
            deprecated,
            reason = "its successor is unsafe, for a type may lie about its descriptor: OwnedFd does not"
        )]
        let fd = AsyncFd::with_interest(fd, Interest::READABLE)?;
        Ok(Self { fd, origin: (Instant::now(), since_boot) })
    }

    /// Becomes readable then, and at no time that was set before. A time that is past is now.
    fn set(&self, at: Instant) {
        let (origin, since_boot) = self.origin;
        // Never 0, which would mean never.
        let at = (since_boot + at.saturating_duration_since(origin)).max(Duration::from_nanos(1));
        let tv_sec = i64::try_from(at.as_secs()).unwrap_or(i64::MAX);
        let value = Timespec { tv_sec, tv_nsec: i64::from(at.subsec_nanos()) };
        let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
        let spec = Itimerspec { it_interval, it_value: value };
        if let Err(error) = timerfd_settime(self.fd.get_ref(), TimerfdTimerFlags::ABSTIME, &spec) {
            // The descriptor is ours and the time is a time, so the kernel has no reason to.
            tracing::error!(%error, "failed to set the timer of delays");
        }
    }

    /// Returns when the time that was set is there, or was there already.
    async fn strike(&self) -> io::Result<()> {
        // It is never read: setting it anew takes back that it is readable.
        self.fd.readable().await.map(|mut guard| guard.clear_ready())
    }
}

struct Shared {
    queue: Mutex<Queue>,
    clock: Clock,
    /// So long before a deadline there is no rest; none when zero.
    busy_poll: Duration,
}

/// The timer of one agent. Its task ends when it is dropped.
pub(crate) struct Timer {
    running: Option<(Arc<Shared>, AbortOnDropHandle<()>)>,
}

impl Timer {
    /// Starts the task, on the runtime that this is called in. Where that fails the runtime's own timers do, which
    /// are a millisecond less exact.
    pub(crate) fn start(busy_poll: Duration) -> Self {
        match Clock::new() {
            Ok(clock) => {
                let shared = Arc::new(Shared { queue: Mutex::default(), clock, busy_poll });
                let task = tokio::spawn(run(Arc::clone(&shared)));
                Self { running: Some((shared, AbortOnDropHandle::new(task))) }
            }
            Err(error) => {
                tracing::warn!(%error, "no precise timers: delays are up to 4 ms late");
                Self { running: None }
            }
        }
    }

    /// Returns at `deadline` or up to a fraction of a millisecond later.
    pub(crate) async fn sleep_until(&self, deadline: Instant) {
        let Some((shared, _)) = &self.running else {
            return Box::pin(tokio::time::sleep_until(deadline.into())).await;
        };
        Precise { shared, deadline, queued: None }.await;
    }

    /// Returns some time after `deadline`; for what is not a fault's, and not worth a busy processor.
    pub(crate) async fn sleep_roughly_until(&self, deadline: Instant) {
        match &self.running {
            Some((shared, _)) if shared.busy_poll.is_zero() => self.sleep_until(deadline).await,
            _ => Box::pin(tokio::time::sleep_until(deadline.into())).await,
        }
    }

    #[cfg(test)]
    fn waiting(&self) -> usize {
        self.running.as_ref().map_or(0, |(shared, _)| shared.queue.lock().entries.len())
    }
}

async fn run(shared: Arc<Shared>) {
    let mut due = Vec::new();
    loop {
        // Waking puts tasks into the queue of this worker, which gets to them while we wait.
        if shared.wake_who_is_due(&mut due) == Next::LookAgain {
            yield_now().await;
            continue;
        }
        if let Err(error) = shared.clock.strike().await {
            // Only of a runtime that ends, and all sleepers with it.
            return tracing::debug!(%error, "the timer of delays ends");
        }
    }
}

impl Shared {
    /// `due` is room for them, empty before and after.
    fn wake_who_is_due(&self, due: &mut Vec<Waker>) -> Next {
        if self.busy_poll.is_zero() {
            self.spin_to_the_deadline();
        }
        let mut queue = self.queue.lock();
        let now = Instant::now();
        while let Some(entry) = queue.entries.first_entry().filter(|entry| entry.key().0 <= now) {
            due.push(entry.remove());
        }
        if !due.is_empty() {
            queue.woke = Some(now);
        }
        let next = queue.next(&self.clock, self.busy_poll, now);
        // Waking may take the runtime's locks, so it is not done under ours.
        drop(queue);
        due.drain(..).for_each(Waker::wake);
        next
    }

    /// Waits for the earliest deadline, if it is so near that the descriptor was set for it.
    fn spin_to_the_deadline(&self) {
        let mut queue = self.queue.lock();
        let woke = Instant::now();
        if let Rest::Until { aim, .. } = std::mem::take(&mut queue.rest) {
            queue.lead.learn(woke.saturating_duration_since(aim));
        }
        let Some(deadline) = queue.earliest().filter(|deadline| queue.lead.before(*deadline, woke) <= woke) else {
            return;
        };
        drop(queue);
        let mut now = woke;
        while now < deadline {
            hint::spin_loop();
            now = Instant::now();
        }
        self.queue.lock().lead.has_spun(now - woke, now);
    }
}

impl Queue {
    fn key(&mut self, deadline: Instant) -> Key {
        self.next += 1;
        (deadline, self.next)
    }

    fn earliest(&self) -> Option<Instant> {
        self.entries.first_key_value().map(|(key, _)| key.0)
    }

    /// Whether the task may rest; if so, it is woken in time.
    fn next(&mut self, clock: &Clock, busy_poll: Duration, now: Instant) -> Next {
        let near = || self.earliest().is_some_and(|deadline| deadline <= now + busy_poll);
        let answering = || self.woke.is_some_and(|woke| now < woke + ANSWER);
        if !busy_poll.is_zero() && (near() || answering()) {
            self.rest = Rest::Awake;
            return Next::LookAgain;
        }
        self.rest(clock, busy_poll, now);
        Next::Rest
    }

    /// Lets the task rest until the earliest deadline is near.
    fn rest(&mut self, clock: &Clock, busy_poll: Duration, now: Instant) {
        self.rest = self.earliest().map_or(Rest::Long, |deadline| {
            let aim = if busy_poll.is_zero() {
                self.lead.before(deadline, now)
            } else {
                deadline.checked_sub(busy_poll).unwrap_or(deadline)
            };
            clock.set(aim);
            // A time that was past when it was set says nothing on how late the kernel is.
            Rest::Until { aim: aim.max(now), deadline }
        });
    }
}

struct Precise<'a> {
    shared: &'a Shared,
    deadline: Instant,
    /// Its place in the queue, and whom the queue wakes.
    queued: Option<(Key, Waker)>,
}

impl Future for Precise<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let now = Instant::now();
        if now >= self.deadline {
            return Poll::Ready(());
        }
        // A connection is polled for many reasons; most of them change nothing here.
        if self.queued.as_ref().is_some_and(|(_, waker)| waker.will_wake(context.waker())) {
            return Poll::Pending;
        }
        let mut queue = self.shared.queue.lock();
        let key = self.queued.as_ref().map_or_else(|| queue.key(self.deadline), |(key, _)| *key);
        queue.entries.insert(key, context.waker().clone());
        if queue.rest.is_past(self.deadline) {
            queue.rest(&self.shared.clock, self.shared.busy_poll, now);
        }
        drop(queue);
        self.queued = Some((key, context.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Precise<'_> {
    fn drop(&mut self) {
        if let Some((key, _)) = self.queued {
            self.shared.queue.lock().entries.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Rest, Timer};
    use futures::{StreamExt, stream::FuturesUnordered};
    use std::time::{Duration, Instant};

    #[tokio::test]
    async fn a_deadline_is_never_met_early_and_met_more_finely_than_the_runtime_would() {
        let timer = Timer::start(Duration::ZERO);
        let mut late = Vec::new();
        for micros in [100, 900, 2_500, 7_300, 12_000] {
            for _ in 0..8 {
                let deadline = Instant::now() + Duration::from_micros(micros);
                timer.sleep_until(deadline).await;
                late.push(Instant::now().checked_duration_since(deadline).expect("not early"));
            }
        }
        late.sort();
        // 0.1 ms on an idle machine, where the runtime's own are always 1.1 ms late. On a busy one only those say
        // something that found a core free.
        assert!(late[late.len() / 4] < Duration::from_millis(1), "{late:?}");
    }

    #[tokio::test]
    async fn a_busily_polled_deadline_is_never_met_early_and_the_task_rests_when_none_is_near() {
        const REACH: Duration = Duration::from_millis(5);
        let timer = Timer::start(REACH);
        for micros in [100, 2_500, 7_300] {
            for _ in 0..8 {
                let deadline = Instant::now() + Duration::from_micros(micros);
                timer.sleep_until(deadline).await;
                assert!(Instant::now() >= deadline);
            }
        }
        comes_to(&timer, |rest| rest == Rest::Long).await;
        tokio::select! {
            () = timer.sleep_until(Instant::now() + Duration::from_secs(60)) => panic!("it was not due"),
            () = comes_to(&timer, |rest| matches!(rest, Rest::Until { aim, deadline } if aim + REACH == deadline)) => {}
        }
    }

    /// Waits until the task rests like that.
    async fn comes_to(timer: &Timer, like: impl Fn(Rest) -> bool) {
        let (shared, _) = timer.running.as_ref().expect("it runs");
        let start = Instant::now();
        loop {
            let rest = shared.queue.lock().rest;
            if like(rest) {
                return;
            }
            assert!(start.elapsed() < Duration::from_secs(20), "{rest:?}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test]
    async fn what_is_slept_roughly_is_left_to_the_runtime_where_deadlines_are_polled_busily() {
        for (busy_poll, queued) in [(Duration::ZERO, 1), (Duration::from_millis(5), 0)] {
            let timer = Timer::start(busy_poll);
            let deadline = Instant::now() + Duration::from_millis(3);
            tokio::select! {
                biased;
                () = timer.sleep_roughly_until(deadline) => panic!("it was not due"),
                () = async { assert_eq!(timer.waiting(), queued) } => {}
            }
            timer.sleep_roughly_until(deadline).await;
            assert!(Instant::now() >= deadline);
        }
    }

    #[tokio::test]
    async fn a_sleep_that_is_given_up_leaves_the_queue() {
        let timer = Timer::start(Duration::ZERO);
        let deadline = Instant::now() + Duration::from_millis(3);
        tokio::select! {
            biased;
            () = timer.sleep_until(deadline) => panic!("it was not due"),
            () = async { assert_eq!(timer.waiting(), 1) } => {}
        }
        assert_eq!(timer.waiting(), 0);
    }

    #[tokio::test]
    async fn many_sleepers_wake_in_the_order_of_their_deadlines() {
        let timer = Timer::start(Duration::ZERO);
        let start = Instant::now();
        // Polled in the order in which they are woken, however late that is.
        let sleeper = |n: u64| {
            let timer = &timer;
            async move {
                timer.sleep_until(start + Duration::from_millis(50 * n)).await;
                n
            }
        };
        let sleepers: FuturesUnordered<_> = [5, 1, 4, 2, 3].into_iter().map(sleeper).collect();
        assert_eq!(sleepers.collect::<Vec<_>>().await, [1, 2, 3, 4, 5]);
        assert_eq!(timer.waiting(), 0);
    }
}
