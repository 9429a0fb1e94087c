//! Messages of the payment provider, each of which may come more than once.
//!
//! Invariant: that a message was processed and what it did are written in one transaction.

use super::{Store, StoreError, in_transaction, now_ms};

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Processed {
    /// It did what it says.
    Now,
    /// It had done so before.
    Before,
    /// There is no such order.
    NoOrder,
}

impl Store {
    /// Adds to what was settled of an order, unless this message has done so; `id` is absent where nobody asks.
    pub(crate) async fn settle_payment(
        &self,
        id: Option<&str>,
        order: &str,
        cents: i64,
    ) -> Result<Processed, StoreError> {
        const SEEN: &str = "INSERT INTO messages (id, received_at_ms) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING";
        const SETTLE: &str = "UPDATE orders SET settled_cents = settled_cents + $2 WHERE id = $1";
        in_transaction!(self, |transaction| {
            if let Some(id) = id {
                let seen = sqlx::query(SEEN).bind(id).bind(now_ms()).execute(&mut *transaction).await?;
                if seen.rows_affected() == 0 {
                    return Ok(Processed::Before);
                }
            }
            let settled = sqlx::query(SETTLE).bind(order).bind(cents).execute(&mut *transaction).await?;
            if settled.rows_affected() == 0 {
                // Rolled back with the id: the order may yet come, and the message with it.
                return Ok(Processed::NoOrder);
            }
        });
        Ok(Processed::Now)
    }
}
