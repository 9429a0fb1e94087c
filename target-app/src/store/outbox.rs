//! The outbox: what is to be undone, on disk before it can be necessary.
//!
//! ```text
//! open ──order stored──▶ done          open ──due──▶ undoing ──acknowledged──▶ done
//!   └──failed: due at once──┘                          └──no answer: due later──┘
//! ```
//! Neighbours: `compensation.rs` writes and carries out, `orders.rs` here confirms, `retention.rs` forgets what is done.
//!
//! Invariant: of an order that is stored and an intent that is carried out, only one happens.

use super::{Store, StoreError, now_ms, on_pool};
use sqlx::FromRow;

/// Steps that may have happened and are to be undone, of one order.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub(crate) struct Intent {
    pub(crate) order_id: String,
    pub(crate) undo_stock: i64,
    pub(crate) undo_charge: i64,
    pub(crate) attempts: i64,
}

impl Store {
    /// Writes the intent to undo an order, should it not be stored by `due_at_ms`.
    pub(crate) async fn intend(&self, order: &str, owner: &str, due_at_ms: i64) -> Result<(), StoreError> {
        const SQL: &str =
            "INSERT INTO outbox (order_id, state, undo_stock, undo_charge, attempts, owner, due_at_ms, updated_at_ms)
             VALUES ($1, 'open', 1, 1, 0, $2, $3, $4)";
        let now = now_ms();
        on_pool!(self, |pool| {
            sqlx::query(SQL).bind(order).bind(owner).bind(due_at_ms).bind(now).execute(pool).await?;
        });
        Ok(())
    }

    /// The order failed: what may have happened is undone at once; nothing is, where nothing may have.
    pub(crate) async fn intend_now(&self, order: &str, stock: bool, charge: bool) -> Result<(), StoreError> {
        const SQL: &str = "UPDATE outbox SET undo_stock = $2, undo_charge = $3, due_at_ms = $4, updated_at_ms = $4,
                 state = CASE WHEN $2 + $3 > 0 THEN 'open' ELSE 'done' END
             WHERE order_id = $1 AND state = 'open'";
        let (stock, charge, now) = (i64::from(stock), i64::from(charge), now_ms());
        on_pool!(self, |pool| {
            sqlx::query(SQL).bind(order).bind(stock).bind(charge).bind(now).execute(pool).await?;
        });
        Ok(())
    }

    /// Whether something is due, without a lock.
    pub(crate) async fn is_due(&self) -> Result<bool, StoreError> {
        const SQL: &str = "SELECT COUNT(*) FROM (SELECT 1 AS one FROM outbox WHERE state <> 'done' AND due_at_ms <= $1 LIMIT 1) AS due";
        let due: i64 = on_pool!(self, |pool| sqlx::query_scalar(SQL).bind(now_ms()).fetch_one(pool).await?);
        Ok(due > 0)
    }

    /// Takes over what is due, at most so much. Nobody else gets it before `again_at_ms`.
    pub(crate) async fn claim(&self, owner: &str, again_at_ms: i64, most: i64) -> Result<Vec<Intent>, StoreError> {
        // Due is asked twice: in PostgreSQL the outer one is asked again when somebody else was quicker.
        const SQL: &str = "UPDATE outbox SET state = 'undoing', owner = $1, due_at_ms = $2, updated_at_ms = $3, attempts = attempts + 1
             WHERE state <> 'done' AND due_at_ms <= $3 AND order_id IN (
                 SELECT order_id FROM outbox WHERE state <> 'done' AND due_at_ms <= $3 ORDER BY due_at_ms LIMIT $4)
             RETURNING order_id, undo_stock, undo_charge, attempts";
        let now = now_ms();
        let claimed = on_pool!(self, |pool| {
            sqlx::query_as(SQL).bind(owner).bind(again_at_ms).bind(now).bind(most).fetch_all(pool).await?
        });
        Ok(claimed)
    }

    /// What was not acknowledged is due again then; where all was, the intent is done.
    pub(crate) async fn settle(&self, intent: &Intent, again_at_ms: i64) -> Result<(), StoreError> {
        const SQL: &str = "UPDATE outbox SET undo_stock = $2, undo_charge = $3, due_at_ms = $4, updated_at_ms = $5,
                 state = CASE WHEN $2 + $3 > 0 THEN 'undoing' ELSE 'done' END
             WHERE order_id = $1 AND state = 'undoing'";
        let Intent { order_id, undo_stock, undo_charge, .. } = intent;
        on_pool!(self, |pool| {
            sqlx::query(SQL)
                .bind(order_id)
                .bind(undo_stock)
                .bind(undo_charge)
                .bind(again_at_ms)
                .bind(now_ms())
                .execute(pool)
                .await?;
        });
        Ok(())
    }

    /// Intents that are not done: all of them, and those of this owner that are due or under way.
    pub(crate) async fn outbox_size(&self, owner: &str) -> Result<(i64, i64), StoreError> {
        const SQL: &str =
            "SELECT COUNT(*), CAST(COALESCE(SUM(CASE WHEN owner = $1 AND (state = 'undoing' OR due_at_ms <= $2)
                 THEN 1 ELSE 0 END), 0) AS BIGINT) FROM outbox WHERE state <> 'done'";
        Ok(on_pool!(self, |pool| sqlx::query_as(SQL).bind(owner).bind(now_ms()).fetch_one(pool).await?))
    }
}
