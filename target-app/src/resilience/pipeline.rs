//! Pipeline: stages that work at the same time, with bounded channels between them.
//!
//! ```text
//! source ─▶ [capacity] ─▶ transform (fan-out) ─▶ [capacity] ─▶ fold, in the caller
//! ```
//! A slow stage holds up those before it; memory is bounded by the channels. An error is an item: it travels to the end
//! and ends the whole. The stages are tasks of a `JoinSet` that the caller's future owns: when the caller goes away, they
//! are aborted at once. Own, on tokio's channels: the crates for this are actor frameworks.
//!
//! Invariant: no stage outlives the call. Switched off, a stage begins when the one before it has ended, and everything is
//! held in between.

use super::fan_out::FanOut;
use futures::{Stream, StreamExt as _, stream};
use std::pin::pin;
use tokio::{sync::mpsc, task::JoinSet};

/// How stages are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pipeline {
    /// Together; each channel holds so many items.
    On {
        capacity: usize,
    },
    Off,
}

impl Pipeline {
    /// Takes each item through the stages and folds what comes out; the first error ends it.
    pub(crate) async fn run<I, O, E, A, R>(
        self,
        source: impl Stream<Item = Result<I, E>> + Send + 'static,
        fan_out: FanOut,
        transform: impl Fn(I) -> R + Send + Sync + 'static,
        mut fold: impl FnMut(&mut A, O),
        mut folded: A,
    ) -> Result<A, E>
    where
        I: Send + 'static,
        O: Send + 'static,
        E: Send + 'static,
        R: Future<Output = O> + Send + 'static,
    {
        let step = move |item: Result<I, E>| {
            let work = item.map(&transform);
            async move {
                match work {
                    Ok(work) => Ok(work.await),
                    Err(error) => Err(error),
                }
            }
        };
        match self {
            Self::Off => {
                let items: Vec<_> = source.collect().await;
                let results: Vec<_> = fan_out.each(stream::iter(items), step).collect().await;
                for result in results {
                    fold(&mut folded, result?);
                }
            }
            Self::On { capacity } => {
                let mut stages = JoinSet::new();
                let (to_transform, transformed) = mpsc::channel(capacity.max(1));
                stages.spawn(feed(source, to_transform));
                let (to_fold, mut results) = mpsc::channel(capacity.max(1));
                stages.spawn(async move { feed(fan_out.each(received(transformed), step), to_fold).await });
                while let Some(result) = results.recv().await {
                    fold(&mut folded, result?);
                }
                // A stage that panicked is not taken for one that had no more items.
                while let Some(ended) = stages.join_next().await {
                    if let Err(error) = ended
                        && let Ok(panic) = error.try_into_panic()
                    {
                        std::panic::resume_unwind(panic);
                    }
                }
            }
        }
        Ok(folded)
    }
}

/// Passes everything on, until nobody wants it any more.
async fn feed<T>(items: impl Stream<Item = T>, to: mpsc::Sender<T>) {
    let mut items = pin!(items);
    while let Some(item) = items.next().await {
        if to.send(item).await.is_err() {
            return;
        }
    }
}

fn received<T>(from: mpsc::Receiver<T>) -> impl Stream<Item = T> {
    stream::unfold(from, async |mut from| from.recv().await.map(|item| (item, from)))
}

#[cfg(test)]
mod tests {
    use super::Pipeline;
    use crate::resilience::fan_out::FanOut;
    use futures::{StreamExt as _, stream};
    use std::{
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        time::Duration,
    };
    use tokio::time::Instant;

    const ON: Pipeline = Pipeline::On { capacity: 4 };
    const THREE: FanOut = FanOut::On { workers: 3 };
    const MS: Duration = Duration::from_millis(1);

    /// Reads an item every 10 ms.
    fn slow(count: u64) -> impl futures::Stream<Item = Result<u64, String>> + Send + 'static {
        stream::iter(0..count).then(async |n| {
            tokio::time::sleep(10 * MS).await;
            Ok(n)
        })
    }

    async fn sum(pipeline: Pipeline, fan_out: FanOut) -> (Result<u64, String>, Duration) {
        let begun = Instant::now();
        let transform = async |n| {
            tokio::time::sleep(30 * MS).await;
            n * 2
        };
        let sum = pipeline.run(slow(10), fan_out, move |n| Box::pin(transform(n)), |sum, n| *sum += n, 0).await;
        (sum, begun.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn stages_overlap_and_give_what_the_sequence_gives() {
        // Together: the last of ten items is read after 100 ms and transformed 30 ms later.
        assert_eq!(sum(ON, THREE).await, (Ok(90), 130 * MS));
        // One after the other: 100 ms and ten times 30 ms.
        assert_eq!(sum(Pipeline::Off, FanOut::Off).await, (Ok(90), 400 * MS));
    }

    #[tokio::test]
    async fn an_error_travels_to_the_end_and_ends_the_whole() {
        for pipeline in [ON, Pipeline::Off] {
            let items = stream::iter([Ok(1), Err("unreadable".to_owned()), Ok(2)]);
            let sum = pipeline.run(items, FanOut::Off, async |n| n, |sum, n: u64| *sum += n, 0).await;
            assert_eq!(sum, Err("unreadable".to_owned()));
        }
    }

    #[tokio::test]
    async fn a_slow_end_holds_up_the_beginning() {
        let read = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&read);
        let source = stream::iter(0..1000_u64).map(move |n| {
            counted.fetch_add(1, Ordering::SeqCst);
            Ok::<_, String>(n)
        });
        let stuck = ON.run(source, THREE, async |_| std::future::pending::<()>().await, |(), ()| (), ());
        assert!(tokio::time::timeout(50 * MS, stuck).await.is_err());
        // Four in the channel, three being transformed, one at each end of the channel.
        assert!(read.load(Ordering::SeqCst) <= 9, "{}", read.load(Ordering::SeqCst));
    }

    #[tokio::test]
    async fn when_the_caller_goes_away_every_stage_ends() {
        let alive = Arc::new(());
        let held = Arc::clone(&alive);
        let stuck = ON.run(
            slow(10),
            THREE,
            move |_| {
                let held = Arc::clone(&held);
                async move {
                    std::future::pending::<()>().await;
                    drop(held);
                }
            },
            |(), ()| (),
            (),
        );
        assert!(tokio::time::timeout(50 * MS, stuck).await.is_err());
        while Arc::strong_count(&alive) > 1 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    #[should_panic(expected = "a bug in a stage")]
    async fn a_panic_in_a_stage_is_not_taken_for_the_end() {
        let source = stream::iter([Ok::<_, String>(1)]);
        let _ = ON.run(source, THREE, async |_| panic!("a bug in a stage"), |(), ()| (), ()).await;
    }
}
