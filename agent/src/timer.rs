//! Timers finer than the runtime's one-millisecond wheel, without burning a core.
//!
//! One thread with 1 ns timer slack sleeps until the earliest deadline and wakes the tasks that are due. A deadline
//! that is far away waits here as well, for a wait on the runtime's timer first would wake its task twice; the thread
//! is told only of one that it would oversleep. `link.rs` is the user.
//!
//! Invariant: a future that is dropped leaves nothing behind in the queue.

use parking_lot::{Condvar, Mutex};
use std::{
    collections::BTreeMap,
    future::Future,
    num::NonZeroU64,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    thread::JoinHandle,
    time::Instant,
};

/// Deadlines by time, then by the order in which they came.
type Key = (Instant, u64);

#[derive(Default)]
struct Queue {
    // As many as there are sleeping links at most, for each link sleeps once.
    entries: BTreeMap<Key, Waker>,
    next: u64,
    stopping: bool,
    rest: Rest,
}

/// Until when the thread sleeps. It may be earlier than the earliest deadline, for one that is taken out wakes nobody.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Rest {
    /// It is about to look at the queue.
    #[default]
    Awake,
    Until(Instant),
    /// Until it is told.
    Long,
}

impl Rest {
    /// Whether the thread would oversleep this deadline.
    fn is_past(self, deadline: Instant) -> bool {
        match self {
            Self::Awake => false,
            Self::Until(end) => deadline < end,
            Self::Long => true,
        }
    }
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

/// The timer of one agent. Its thread ends when it is dropped.
pub(crate) struct Timer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Timer {
    /// Starts the thread; without one the runtime's own timers do, which are a millisecond less exact.
    pub(crate) fn start() -> Self {
        let shared = Arc::new(Shared::default());
        let ours = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("squall-timer".into()).spawn(move || run(&ours));
        if let Err(error) = &thread {
            tracing::warn!(%error, "no thread for precise timers: delays are up to 4 ms late");
        }
        Self { shared, thread: thread.ok() }
    }

    /// Returns at `deadline` or up to a fraction of a millisecond later.
    pub(crate) async fn sleep_until(&self, deadline: Instant) {
        if self.thread.is_none() {
            return Box::pin(tokio::time::sleep_until(deadline.into())).await;
        }
        Precise { shared: &self.shared, deadline, queued: None }.await;
    }

    #[cfg(test)]
    fn waiting(&self) -> usize {
        self.shared.queue.lock().entries.len()
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.shared.queue.lock().stopping = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the timer thread panicked");
        }
    }
}

fn run(shared: &Shared) {
    // Without it the kernel may round each wake-up by 50 us; a machine that refuses it is that much less exact.
    if let Err(error) = rustix::thread::set_current_timer_slack(NonZeroU64::new(1)) {
        tracing::debug!(%error, "timer slack stays as it is");
    }
    let mut due = Vec::new();
    let mut queue = shared.queue.lock();
    while !queue.stopping {
        let now = Instant::now();
        while let Some(entry) = queue.entries.first_entry().filter(|entry| entry.key().0 <= now) {
            due.push(entry.remove());
        }
        if !due.is_empty() {
            // Waking may take the runtime's locks, so it is not done under ours.
            drop(queue);
            due.drain(..).for_each(Waker::wake);
            queue = shared.queue.lock();
            continue;
        }
        match queue.entries.first_key_value().map(|(key, _)| key.0) {
            Some(earliest) => {
                queue.rest = Rest::Until(earliest);
                shared.changed.wait_until(&mut queue, earliest);
            }
            None => {
                queue.rest = Rest::Long;
                shared.changed.wait(&mut queue);
            }
        }
        queue.rest = Rest::Awake;
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
        if Instant::now() >= self.deadline {
            return Poll::Ready(());
        }
        // A connection is polled for many reasons; most of them change nothing here.
        if self.queued.as_ref().is_some_and(|(_, waker)| waker.will_wake(context.waker())) {
            return Poll::Pending;
        }
        let mut queue = self.shared.queue.lock();
        let key = self.queued.as_ref().map_or_else(|| queue.key(self.deadline), |(key, _)| *key);
        let oversleeps = queue.rest.is_past(self.deadline);
        if oversleeps {
            // One call tells; those that come until it wakes need not.
            queue.rest = Rest::Awake;
        }
        queue.entries.insert(key, context.waker().clone());
        drop(queue);
        self.queued = Some((key, context.waker().clone()));
        if oversleeps {
            self.shared.changed.notify_one();
        }
        Poll::Pending
    }
}

impl Queue {
    fn key(&mut self, deadline: Instant) -> Key {
        self.next += 1;
        (deadline, self.next)
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
    use super::Timer;
    use futures::{StreamExt, stream::FuturesUnordered};
    use std::time::{Duration, Instant};

    #[tokio::test]
    async fn a_deadline_is_never_met_early_and_met_more_finely_than_the_runtime_would() {
        let timer = Timer::start();
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
    async fn a_sleep_that_is_given_up_leaves_the_queue() {
        let timer = Timer::start();
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
        let timer = Timer::start();
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
