//! Requests and readings that have started and are not samples yet.
//!
//! A window whose requests have not all come back must not be judged: those that hang are the bad ones, and they would be
//! missing. So whoever starts something says so here, and whoever judges waits until its window is `settled`.
//! Neighbours: `traffic` and `probe` start, `run` asks. Invariant: everything that starts ends, at the latest by its time-out.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// When each was due, with a number that tells those of the same time apart.
type Keys = parking_lot::Mutex<BTreeSet<(Duration, u64)>>;

/// What is under way, by when it was due.
#[derive(Debug, Default)]
pub struct UnderWay {
    started: Arc<Keys>,
    numbers: AtomicU64,
}

/// One thing that is under way, until this is dropped.
#[must_use = "it is under way only while this is kept"]
#[derive(Debug)]
pub struct Started {
    all: Arc<Keys>,
    key: (Duration, u64),
}

impl UnderWay {
    /// Something that is due then has started, or will: what lies ahead does not hold back what is settled.
    pub fn start(&self, at: Duration) -> Started {
        let key = (at, self.numbers.fetch_add(1, Ordering::Relaxed));
        self.started.lock().insert(key);
        Started { all: Arc::clone(&self.started), key }
    }

    /// Everything that was due before this time has come back; `now` when nothing is under way.
    #[must_use]
    pub fn settled(&self, now: Duration) -> Duration {
        self.started.lock().first().map_or(now, |(at, _)| (*at).min(now))
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        self.all.lock().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::UnderWay;
    use std::time::Duration;

    #[test]
    fn time_is_settled_up_to_the_oldest_that_is_under_way() {
        let (all, second) = (UnderWay::default(), Duration::from_secs);
        assert_eq!(all.settled(second(9)), second(9));
        let slow = all.start(second(3));
        let quick = all.start(second(3));
        let later = all.start(second(5));
        drop(quick);
        assert_eq!(all.settled(second(9)), second(3));
        drop(slow);
        assert_eq!(all.settled(second(9)), second(5));
        drop(later);
        assert_eq!(all.settled(second(9)), second(9));
    }
}
