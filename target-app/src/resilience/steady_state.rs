//! Steady state: what grows is forgotten, so that a shop may run for years without anybody's hand.
//!
//! Answers to keys, ids of messages, events and intents that are done go when they are old, a small batch at a time with a
//! pause after each, so that nobody waits for the database because of it. Caches are bounded where they are
//! (`failover_cache.rs`). Own: a loop around four statements.
//!
//! Neighbour: `store/retention.rs` forgets. Invariant: nothing younger than its age is forgotten; orders never are.
//! Switched off, everything is kept.

use crate::{
    metrics::Metrics,
    store::{Store, StoreError, in_ms, now_ms, retention::Kept},
};
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// What is kept for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetentionConfig {
    /// Answers to idempotency keys: longer than anybody repeats an order.
    pub keys: Duration,
    /// Ids of messages: longer than the sender tries.
    pub messages: Duration,
    /// Events.
    pub events: Duration,
    /// Intents that are done, for people who look into what happened.
    pub intents: Duration,
    /// How often is looked for what is old.
    pub every: Duration,
    /// At most so many rows in one transaction.
    pub batch: u32,
    /// After each.
    pub pause: Duration,
}

impl Default for RetentionConfig {
    fn default() -> Self {
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        Self {
            keys: hours(24),
            messages: hours(7 * 24),
            events: hours(30 * 24),
            intents: hours(1),
            every: Duration::from_secs(60),
            batch: 200,
            pause: Duration::from_millis(20),
        }
    }
}

impl RetentionConfig {
    fn age(&self, kept: Kept) -> Duration {
        match kept {
            Kept::Keys => self.keys,
            Kept::Messages => self.messages,
            Kept::Events => self.events,
            Kept::Intents => self.intents,
        }
    }
}

/// Forgets what is old, again and again, until stopped.
pub(crate) async fn run(config: RetentionConfig, store: Arc<Store>, metrics: Arc<Metrics>, stop: CancellationToken) {
    let purging = async {
        loop {
            for kept in Kept::ALL {
                // A database that is busy has its rows a little longer.
                if let Err(error) = purge(&config, kept, &store, &metrics).await {
                    tracing::warn!(what = kept.name(), %error, "failed to forget what is old");
                }
            }
            tokio::time::sleep(config.every).await;
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = purging => {}
    }
}

/// Forgets everything of a kind that is old now.
async fn purge(config: &RetentionConfig, kept: Kept, store: &Store, metrics: &Metrics) -> Result<(), StoreError> {
    let before = now_ms() - in_ms(config.age(kept));
    let most = config.batch.max(1);
    loop {
        let gone = store.purge(kept, before, i64::from(most)).await?;
        metrics.storage.purged(kept.name(), gone);
        if gone < u64::from(most) {
            return Ok(());
        }
        tokio::time::sleep(config.pause).await;
    }
}
