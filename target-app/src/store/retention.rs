//! Forgetting: what is older than it needs to be goes, a small batch at a time.
//!
//! Neighbour: `resilience/steady_state.rs` says what and when. Invariant: a batch is one short transaction, so nobody waits
//! for a purge; an order never goes, only the key that it was placed with.

use super::{Store, StoreError, in_transaction, on_pool};

/// What grows and is forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    /// Answers to idempotency keys.
    Keys,
    /// Ids of messages that were processed.
    Messages,
    /// Events.
    Events,
    /// Intents that are done.
    Intents,
}

impl Kept {
    pub(crate) const ALL: [Self; 4] = [Self::Keys, Self::Messages, Self::Events, Self::Intents];

    /// The name in metrics.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Keys => "keys",
            Self::Messages => "messages",
            Self::Events => "events",
            Self::Intents => "intents",
        }
    }
}

impl Store {
    /// Forgets at most so many that are older, and says how many it was.
    pub(crate) async fn purge(&self, kept: Kept, before_ms: i64, most: i64) -> Result<u64, StoreError> {
        const MESSAGES: &str = "DELETE FROM messages WHERE id IN (
             SELECT id FROM messages WHERE received_at_ms < $1 ORDER BY received_at_ms LIMIT $2)";
        const EVENTS: &str = "DELETE FROM events WHERE id IN (
             SELECT id FROM events WHERE received_at_ms < $1 ORDER BY received_at_ms LIMIT $2)";
        const INTENTS: &str = "DELETE FROM outbox WHERE order_id IN (
             SELECT order_id FROM outbox WHERE state = 'done' AND updated_at_ms < $1 ORDER BY updated_at_ms LIMIT $2)";
        let sql = match kept {
            Kept::Keys => return self.purge_keys(before_ms, most).await,
            Kept::Messages => MESSAGES,
            Kept::Events => EVENTS,
            Kept::Intents => INTENTS,
        };
        Ok(on_pool!(self, |pool| sqlx::query(sql).bind(before_ms).bind(most).execute(pool).await?.rows_affected()))
    }

    /// A key that is forgotten is free again, so its order gives it up as well.
    async fn purge_keys(&self, before_ms: i64, most: i64) -> Result<u64, StoreError> {
        const OLD: &str = "SELECT key FROM idempotency_keys WHERE created_at_ms < $1 ORDER BY created_at_ms LIMIT $2";
        const FREE: &str = "UPDATE orders SET idempotency_key = NULL WHERE idempotency_key = $1";
        const FORGET: &str = "DELETE FROM idempotency_keys WHERE key = $1";
        let forgotten = in_transaction!(self, |transaction| {
            let old: Vec<String> =
                sqlx::query_scalar(OLD).bind(before_ms).bind(most).fetch_all(&mut *transaction).await?;
            for key in &old {
                sqlx::query(FREE).bind(key).execute(&mut *transaction).await?;
                sqlx::query(FORGET).bind(key).execute(&mut *transaction).await?;
            }
            old.len() as u64
        });
        Ok(forgotten)
    }
}
