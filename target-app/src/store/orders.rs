//! Orders: stored once, with the answer to their key and the end of their intent to undo, or not at all.
//!
//! Which columns hold the price is `schema.rs`'s to say. Invariant: an order of which the intent was taken over
//! for undoing is not stored.

use super::{
    KeyedAnswer, Store, StoreError, in_transaction,
    keys::insert_answer,
    now_ms, on_pool,
    schema::{CURRENCY, Schema},
};
use serde::Serialize;
use sqlx::FromRow;

/// An order that was placed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Order {
    pub(crate) id: String,
    pub(crate) product: i64,
    pub(crate) quantity: i64,
    pub(crate) unit_cents: i64,
    pub(crate) total_cents: i64,
    pub(crate) currency: String,
    pub(crate) charge: String,
    /// What the payment provider has told to be settled.
    pub(crate) settled_cents: i64,
    pub(crate) created_at_ms: i64,
    #[serde(skip)]
    pub(crate) migrated: bool,
}

/// What a new order is stored with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewOrder<'a> {
    pub(crate) order: &'a Order,
    pub(crate) answer: Option<&'a KeyedAnswer>,
    /// Whether an intent to undo it was written before.
    pub(crate) intended: bool,
}

#[derive(FromRow)]
struct Row {
    id: String,
    product: i64,
    quantity: i64,
    total_cents: Option<i64>,
    unit_cents: Option<i64>,
    currency: Option<String>,
    charge: String,
    settled_cents: i64,
    created_at_ms: i64,
}

impl Row {
    fn order(self, schema: Schema) -> Result<Order, StoreError> {
        let new = self.unit_cents.zip(self.currency);
        let migrated = new.is_some() || schema == Schema::Old;
        let old = self.total_cents.filter(|_| schema != Schema::New);
        let (unit_cents, currency) = match (new, old) {
            (Some(new), _) => new,
            (None, Some(total)) => (total / self.quantity.max(1), CURRENCY.to_owned()),
            (None, None) => return Err(StoreError::NotMigrated(self.id)),
        };
        Ok(Order {
            total_cents: unit_cents * self.quantity,
            id: self.id,
            product: self.product,
            quantity: self.quantity,
            unit_cents,
            currency,
            charge: self.charge,
            settled_cents: self.settled_cents,
            created_at_ms: self.created_at_ms,
            migrated,
        })
    }
}

const SELECT_OLD: &str = "SELECT id, product, quantity, total_cents, CAST(NULL AS BIGINT) AS unit_cents,
     CAST(NULL AS TEXT) AS currency, charge, settled_cents, created_at_ms FROM orders WHERE id = $1";
const SELECT_BOTH: &str = "SELECT id, product, quantity, total_cents, unit_cents, currency, charge, settled_cents,
     created_at_ms FROM orders WHERE id = $1";
const SELECT_NEW: &str =
    "SELECT id, product, quantity, CAST(NULL AS BIGINT) AS total_cents, unit_cents, currency, charge,
     settled_cents, created_at_ms FROM orders WHERE id = $1";

// The same nine values are bound for each; a step uses those that it knows.
const INSERT_OLD: &str =
    "INSERT INTO orders (id, product, quantity, charge, idempotency_key, created_at_ms, total_cents)
     VALUES ($1, $2, $3, $4, $5, $6, $7)";
const INSERT_BOTH: &str = "INSERT INTO orders
     (id, product, quantity, charge, idempotency_key, created_at_ms, total_cents, unit_cents, currency)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
const INSERT_NEW: &str = "INSERT INTO orders
     (id, product, quantity, charge, idempotency_key, created_at_ms, unit_cents, currency)
     VALUES ($1, $2, $3, $4, $5, $6, $8, $9)";

/// The order is complete: nothing is to be undone any more, unless that has begun.
const CONFIRM: &str = "UPDATE outbox SET state = 'done', updated_at_ms = $2 WHERE order_id = $1 AND state = 'open'";

impl Store {
    pub(crate) async fn order(&self, id: &str) -> Result<Option<Order>, StoreError> {
        let sql = match self.schema {
            Schema::Old => SELECT_OLD,
            Schema::Both => SELECT_BOTH,
            Schema::New => SELECT_NEW,
        };
        let row: Option<Row> = on_pool!(self, |pool| sqlx::query_as(sql).bind(id).fetch_optional(pool).await?);
        row.map(|row| row.order(self.schema)).transpose()
    }

    /// Stores an order, the answer to its key if it has one, and the end of its intent; or nothing.
    pub(crate) async fn insert_order(&self, new: NewOrder<'_>) -> Result<(), StoreError> {
        let NewOrder { order, answer, intended } = new;
        let sql = match self.schema {
            Schema::Old => INSERT_OLD,
            Schema::Both => INSERT_BOTH,
            Schema::New => INSERT_NEW,
        };
        in_transaction!(self, |transaction| {
            if intended {
                let confirm = sqlx::query(CONFIRM).bind(&order.id).bind(now_ms());
                if confirm.execute(&mut *transaction).await?.rows_affected() == 0 {
                    return Err(StoreError::Undone);
                }
            }
            sqlx::query(sql)
                .bind(&order.id)
                .bind(order.product)
                .bind(order.quantity)
                .bind(&order.charge)
                .bind(answer.map(|answer| &answer.key))
                .bind(order.created_at_ms)
                .bind(order.total_cents)
                .bind(order.unit_cents)
                .bind(&order.currency)
                .execute(&mut *transaction)
                .await?;
            if let Some(answer) = answer {
                insert_answer!(answer, Some(&order.id), &mut *transaction);
            }
        });
        Ok(())
    }
}
