//! Fan-out: a bounded number of calls at a time, in place of one after the other.
//!
//! A thin use of `futures` (`buffer_unordered`), which is the field's own: the calls live in the caller's future, so they
//! end with it, and no more than the limit have begun. Neighbour: `pipeline.rs` has it as its middle stage.
//!
//! Invariant: never more under way than workers. Switched off, one after the other.

use futures::{Stream, StreamExt as _};

/// How many calls are under way at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FanOut {
    On { workers: usize },
    Off,
}

impl FanOut {
    /// Calls for each item; results come as they are ready.
    pub(crate) fn each<S, F, R>(self, items: S, call: F) -> impl Stream<Item = R::Output>
    where
        S: Stream,
        F: FnMut(S::Item) -> R,
        R: Future,
    {
        items.map(call).buffer_unordered(self.workers())
    }

    fn workers(self) -> usize {
        match self {
            Self::On { workers } => workers.max(1),
            Self::Off => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::FanOut;
    use futures::{StreamExt as _, stream};
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };
    use tokio::time::Instant;

    /// The most calls at a time, and the time for sixteen calls of 10 ms.
    async fn sixteen(fan_out: FanOut) -> (usize, Duration) {
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let begun = Instant::now();
        let call = async |_| {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(10)).await;
            now.fetch_sub(1, Ordering::SeqCst);
        };
        assert_eq!(fan_out.each(stream::iter(0..16), call).count().await, 16);
        (most.into_inner(), begun.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn as_many_calls_as_workers_and_no_more_are_under_way() {
        let ms = Duration::from_millis;
        assert_eq!(sixteen(FanOut::On { workers: 4 }).await, (4, ms(40)));
        assert_eq!(sixteen(FanOut::On { workers: 16 }).await, (16, ms(10)));
        assert_eq!(sixteen(FanOut::Off).await, (1, ms(160)));
    }
}
