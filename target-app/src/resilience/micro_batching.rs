//! Micro-batching: many small writes become few larger ones, by size or by time, whichever comes first.
//!
//! ```text
//! request ─▶ [queue] ─▶ collect until full or late ─▶ one write ─▶ every request of the batch is answered
//! ```
//! A request is answered when its batch is written and not before, so nothing that was acknowledged can be lost, however
//! the process ends; the price is the wait. Own: tower's `buffer` and the crates around it batch calls, not the answer.
//!
//! Neighbours: `events.rs` puts in, `store/events.rs` writes. Invariant: what was accepted before `close` is written.
//! Switched off, each request writes by itself.

use std::time::Duration;
use tokio::{
    sync::{Mutex, mpsc, oneshot},
    time::Instant,
};

/// When a batch is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchConfig {
    /// As soon as it has so many items.
    pub size: usize,
    /// And at the latest so long after its first.
    pub wait: Duration,
    /// Items that wait to be taken into a batch; more have to wait for a place.
    pub capacity: usize,
    /// For a place, an item waits so long; then it is refused.
    pub patience: Duration,
}

impl Default for BatchConfig {
    fn default() -> Self {
        Self { size: 100, wait: Duration::from_millis(10), capacity: 1000, patience: Duration::from_millis(100) }
    }
}

/// Why an item was not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotWritten {
    /// No place in the queue in time.
    Full,
    /// The write failed.
    Failed,
    /// The process is ending.
    Closed,
}

type Entry<T> = (T, oneshot::Sender<Result<(), NotWritten>>);

/// Where items are put in.
pub(crate) struct Batcher<T> {
    queue: mpsc::Sender<Entry<T>>,
    patience: Duration,
}

/// Where batches come out.
pub(crate) struct Batches<T> {
    /// Held by whoever writes; a writer that crashed lets go of it, and the next goes on.
    queue: Mutex<mpsc::Receiver<Entry<T>>>,
    config: BatchConfig,
}

pub(crate) fn batching<T>(config: BatchConfig) -> (Batcher<T>, Batches<T>) {
    let (sender, queue) = mpsc::channel(config.capacity.max(1));
    (Batcher { queue: sender, patience: config.patience }, Batches { queue: Mutex::new(queue), config })
}

impl<T> Batcher<T> {
    /// Puts an item in, and waits until it is written.
    pub(crate) async fn write(&self, item: T) -> Result<(), NotWritten> {
        let (done, written) = oneshot::channel();
        self.queue.send_timeout((item, done), self.patience).await.map_err(|error| match error {
            mpsc::error::SendTimeoutError::Timeout(_) => NotWritten::Full,
            mpsc::error::SendTimeoutError::Closed(_) => NotWritten::Closed,
        })?;
        written.await.unwrap_or(Err(NotWritten::Failed))
    }
}

impl<T> Batches<T> {
    /// Writes batch after batch until `close` is done; what is in the queue by then is written too. What a writer that is
    /// dropped had in its hands is acknowledged to nobody.
    pub(crate) async fn run<W>(&self, write: impl Fn(Vec<T>) -> W, close: impl Future<Output = ()>)
    where
        W: Future<Output = Result<(), NotWritten>>,
    {
        let mut close = std::pin::pin!(close);
        let mut closed = false;
        let mut queue = self.queue.lock().await;
        loop {
            let first = tokio::select! {
                first = queue.recv() => first,
                () = &mut close, if !closed => {
                    queue.close();
                    closed = true;
                    continue;
                }
            };
            let Some(first) = first else { return };
            let batch = self.collect(&mut queue, first).await;
            let (items, waiting): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
            let result = write(items).await;
            for done in waiting {
                // Whoever went away meanwhile is not told.
                let _ = done.send(result);
            }
        }
    }

    async fn collect(&self, queue: &mut mpsc::Receiver<Entry<T>>, first: Entry<T>) -> Vec<Entry<T>> {
        let end = Instant::now() + self.config.wait;
        let mut batch = vec![first];
        while batch.len() < self.config.size {
            match tokio::time::timeout_at(end, queue.recv()).await {
                Ok(Some(entry)) => batch.push(entry),
                Ok(None) | Err(_) => break,
            }
        }
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::{BatchConfig, NotWritten, batching};
    use parking_lot::Mutex;
    use std::{future::pending, sync::Arc, time::Duration};
    use tokio::time::Instant;

    const MS: Duration = Duration::from_millis(1);

    fn config() -> BatchConfig {
        BatchConfig { size: 3, wait: 10 * MS, capacity: 4, patience: 100 * MS }
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_is_written_when_it_is_full_or_late_and_only_then_acknowledged() {
        let (batcher, batches) = batching(config());
        let written = Mutex::new(Vec::new());
        let begun = Instant::now();
        let write = async |batch: Vec<u32>| {
            tokio::time::sleep(5 * MS).await;
            written.lock().push((batch, begun.elapsed()));
            Ok(())
        };
        let asked = async {
            let acknowledged = async |n| {
                batcher.write(n).await.unwrap();
                begun.elapsed()
            };
            tokio::join!(acknowledged(1), acknowledged(2), acknowledged(3), acknowledged(4))
        };
        let times = tokio::select! {
            times = asked => times,
            () = batches.run(write, pending()) => panic!("it ends when it is closed"),
        };
        // Three are full at once; the fourth is alone and waits for company.
        assert_eq!(written.into_inner(), [(vec![1, 2, 3], 5 * MS), (vec![4], 20 * MS)]);
        assert_eq!(times, (5 * MS, 5 * MS, 5 * MS, 20 * MS));
    }

    #[tokio::test]
    async fn what_was_accepted_before_the_end_is_written_and_what_comes_after_is_refused() {
        let (batcher, batches) = batching(config());
        let batcher = Arc::new(batcher);
        let written = Mutex::new(Vec::new());
        let write = async |batch: Vec<u32>| {
            written.lock().extend(batch);
            Ok(())
        };
        let early = async { tokio::join!(batcher.write(1), batcher.write(2), batcher.write(3), batcher.write(4)) };
        let close = async { tokio::task::yield_now().await };
        let (acknowledged, ()) = tokio::join!(early, batches.run(write, close));
        assert_eq!(acknowledged, (Ok(()), Ok(()), Ok(()), Ok(())));
        assert_eq!(written.into_inner(), [1, 2, 3, 4]);
        assert_eq!(batcher.write(5).await, Err(NotWritten::Closed));
    }

    #[tokio::test]
    async fn a_batch_that_could_not_be_written_is_acknowledged_to_nobody() {
        let (batcher, batches) = batching(config());
        let asked = async { tokio::join!(batcher.write(1), batcher.write(2)) };
        let answers = tokio::select! {
            answers = asked => answers,
            () = batches.run(async |_| Err(NotWritten::Failed), pending()) => panic!("it ends when it is closed"),
        };
        assert_eq!(answers, (Err(NotWritten::Failed), Err(NotWritten::Failed)));
    }

    #[tokio::test]
    async fn when_a_writer_crashes_the_next_goes_on_and_what_the_first_held_is_acknowledged_to_nobody() {
        let (batcher, batches) = batching(config());
        let written = Mutex::new(Vec::new());
        let crashing = async {
            tokio::select! {
                answer = batcher.write(1) => panic!("{answer:?} before it was written"),
                () = batches.run(async |_| pending().await, pending()) => panic!("it never ends"),
                () = async { for _ in 0..10 { tokio::task::yield_now().await } } => {}
            }
        };
        let held = batcher.write(0);
        let (held, ()) = tokio::join!(held, crashing);
        assert_eq!(held, Err(NotWritten::Failed));
        let next = batches.run(
            async |batch: Vec<u32>| {
                written.lock().extend(batch);
                Ok(())
            },
            pending(),
        );
        tokio::select! {
            answer = batcher.write(2) => assert_eq!(answer, Ok(())),
            () = next => panic!("it ends when it is closed"),
        }
        assert_eq!(written.into_inner().last(), Some(&2));
    }

    #[tokio::test(start_paused = true)]
    async fn when_the_queue_stays_full_an_item_is_refused_after_its_patience() {
        let (batcher, _nobody_writes) = batching(BatchConfig { capacity: 1, ..config() });
        let begun = Instant::now();
        let asked = tokio::time::timeout(1000 * MS, batcher.write(1));
        let (first, second) = tokio::join!(asked, batcher.write(2));
        assert!(first.is_err(), "it waits to be written");
        assert_eq!(second, Err(NotWritten::Full));
        assert_eq!(begun.elapsed(), 1000 * MS);
    }
}
