//! Leaky bucket: what comes in bursts leaves evenly, and what the bucket cannot hold is refused.
//!
//! It paces the calls to payment, whose provider counts by the second and has no patience for bursts. governor's cells
//! and the token bucket let a burst through; this lets none. `Leak` is pure, it is handed the time.
//!
//! Invariant: two calls that pass are at least an interval apart.

use crate::resilience::timeout_budget::Deadline;
use parking_lot::Mutex;
use std::time::Duration;
use tokio::time::Instant;

/// The bucket as a pure value.
#[derive(Debug)]
struct Leak {
    interval: Duration,
    next: Instant,
}

impl Leak {
    /// The wait of what comes now; or, if that is longer than `most`, how long to stay away.
    fn pour(&mut self, now: Instant, most: Duration) -> Result<Duration, Duration> {
        let leaves = self.next.max(now);
        let wait = leaves - now;
        if wait > most {
            return Err(wait - most);
        }
        self.next = leaves + self.interval;
        Ok(wait)
    }
}

/// A pace, or none.
#[derive(Debug)]
pub(crate) enum LeakyBucket {
    On { leak: Mutex<LeakState>, most: Duration },
    Off,
}

/// The state behind the lock.
#[derive(Debug)]
pub(crate) struct LeakState(Leak);

/// The bucket is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Overflow;

impl LeakyBucket {
    /// So many a second; what would wait longer than `most` is refused. No rate is no limit.
    pub(crate) fn new(rate: u32, most: Duration) -> Self {
        match Duration::from_secs(1).checked_div(rate) {
            Some(interval) => Self::On { leak: Mutex::new(LeakState(Leak { interval, next: Instant::now() })), most },
            None => Self::Off,
        }
    }

    /// Waits for its turn.
    pub(crate) async fn pass(&self, deadline: Deadline) -> Result<(), Overflow> {
        let Self::On { leak, most } = self else { return Ok(()) };
        let most = deadline.left().map_or(*most, |left| left.min(*most));
        let wait = leak.lock().0.pour(Instant::now(), most).map_err(|_| Overflow)?;
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Leak, LeakyBucket, Overflow};
    use crate::resilience::timeout_budget::Deadline;
    use futures::future::join_all;
    use proptest::prelude::*;
    use std::time::Duration;
    use tokio::time::Instant;

    const MS: Duration = Duration::from_millis(1);

    #[tokio::test(start_paused = true)]
    async fn a_burst_leaves_evenly_and_what_does_not_fit_is_refused() {
        let bucket = LeakyBucket::new(100, 50 * MS);
        let begun = Instant::now();
        let burst = (0..8).map(async |_| bucket.pass(Deadline::Never).await.map(|()| begun.elapsed().as_millis()));
        let left = join_all(burst).await;
        assert_eq!(left[..6], [Ok(0), Ok(10), Ok(20), Ok(30), Ok(40), Ok(50)]);
        assert_eq!(left[6..], [Err(Overflow), Err(Overflow)]);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_a_turn_beyond_the_deadline() {
        let bucket = LeakyBucket::new(10, Duration::from_secs(1));
        bucket.pass(Deadline::Never).await.unwrap();
        assert_eq!(bucket.pass(Deadline::At(Instant::now() + 50 * MS)).await, Err(Overflow));
    }

    #[tokio::test(start_paused = true)]
    async fn switched_off_nobody_waits() {
        let begun = Instant::now();
        for _ in 0..1000 {
            LeakyBucket::Off.pass(Deadline::Never).await.unwrap();
        }
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }

    proptest! {
        #[test]
        fn what_passes_is_an_interval_apart(
            interval in 1u64..50, pours in proptest::collection::vec((0u64..60, 0u64..200), 1..200),
        ) {
            let (interval, mut now) = (Duration::from_millis(interval), Instant::now());
            let (mut leak, mut last) = (Leak { interval, next: now }, None::<Instant>);
            for (later, most) in pours {
                now += Duration::from_millis(later);
                if let Ok(wait) = leak.pour(now, Duration::from_millis(most)) {
                    prop_assert!(last.is_none_or(|last| now + wait >= last + interval));
                    last = Some(now + wait);
                }
            }
        }
    }
}
