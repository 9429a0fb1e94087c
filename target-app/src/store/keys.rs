//! The final answers to idempotency keys.
//!
//! Neighbours: `orders.rs` here writes an answer with its order, `retention.rs` forgets old ones.
//!
//! Invariant: a key has one answer, whoever comes first; it is never changed.

use super::{Store, StoreError, on_pool};
use sqlx::FromRow;

/// The final answer to a key.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub(crate) struct KeyedAnswer {
    pub(crate) key: String,
    pub(crate) fingerprint: String,
    pub(crate) status: i64,
    pub(crate) body: String,
}

pub(super) const INSERT: &str = "INSERT INTO idempotency_keys (key, fingerprint, status, body, order_id, created_at_ms)
     VALUES ($1, $2, $3, $4, $5, $6)";

/// Binds an answer and its order, if any, to `INSERT`.
macro_rules! insert_answer {
    ($answer:expr, $order:expr, $executor:expr) => {{
        let answer: &$crate::store::KeyedAnswer = $answer;
        let order: Option<&str> = $order;
        sqlx::query($crate::store::keys::INSERT)
            .bind(&answer.key)
            .bind(&answer.fingerprint)
            .bind(answer.status)
            .bind(&answer.body)
            .bind(order)
            .bind($crate::store::now_ms())
            .execute($executor)
            .await?
    }};
}
pub(super) use insert_answer;

impl Store {
    /// Stores a final answer that made no order.
    pub(crate) async fn insert_answer(&self, answer: &KeyedAnswer) -> Result<(), StoreError> {
        on_pool!(self, |pool| {
            insert_answer!(answer, None, pool);
        });
        Ok(())
    }

    pub(crate) async fn answer(&self, key: &str) -> Result<Option<KeyedAnswer>, StoreError> {
        const SQL: &str = "SELECT key, fingerprint, status, body FROM idempotency_keys WHERE key = $1";
        Ok(on_pool!(self, |pool| sqlx::query_as(SQL).bind(key).fetch_optional(pool).await?))
    }
}
