//! The orders table changes under running shops: expand, migrate, contract.
//!
//! ```text
//!  total_cents ──expand──▶ total_cents + unit_cents + currency ──migrate──▶ all rows have both ──contract──▶ unit_cents + currency
//!       old                            both                                                                        new
//! ```
//! Old shops know `total_cents` alone, and go on while the columns are added. Shops of today write both, read the new
//! columns, and what has none yet is filled on access and by a batch job. When no old shop is left, `contract` drops
//! `total_cents`, after which only shops that are `new` can run. Neighbours: `orders.rs` here reads and writes by it,
//! `background/backfill.rs` runs the batch job.
//!
//! Invariant: a step never breaks a shop of the step before; `contract` refuses while a row is not migrated.

use super::{Store, StoreError, in_transaction, on_pool};
use std::{fmt, str::FromStr};

/// Which columns of the orders a shop reads and writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schema {
    /// Only what was there before the change.
    Old,
    /// The new columns, and the old one for shops that know no other.
    Both,
    /// Only the new columns.
    New,
}

/// A word that is no schema.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a schema: use old, both or new")]
pub struct UnknownSchema(String);

impl FromStr for Schema {
    type Err = UnknownSchema;

    fn from_str(text: &str) -> Result<Self, UnknownSchema> {
        match text.trim() {
            "old" => Ok(Self::Old),
            "both" => Ok(Self::Both),
            "new" => Ok(Self::New),
            other => Err(UnknownSchema(other.to_owned())),
        }
    }
}

impl fmt::Display for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Old => "old",
            Self::Both => "both",
            Self::New => "new",
        })
    }
}

impl Schema {
    /// A shop brings along the migrations up to this one.
    pub(super) const fn last_migration(self) -> i64 {
        match self {
            Self::Old => 3,
            Self::Both | Self::New => 4,
        }
    }
}

/// What an order costs in the new columns, computed from the old one. Everything was sold in euros then.
pub(super) const CURRENCY: &str = "EUR";

impl Store {
    /// Fills the new columns of one row, unless somebody else has.
    pub(crate) async fn migrate_order(&self, id: &str) -> Result<u64, StoreError> {
        const SQL: &str = "UPDATE orders SET unit_cents = total_cents / quantity, currency = $2
             WHERE id = $1 AND unit_cents IS NULL AND total_cents IS NOT NULL";
        Ok(on_pool!(self, |pool| sqlx::query(SQL).bind(id).bind(CURRENCY).execute(pool).await?.rows_affected()))
    }

    /// Fills the new columns of at most so many rows, and says of how many.
    pub(crate) async fn migrate_batch(&self, rows: i64) -> Result<u64, StoreError> {
        const SQL: &str = "UPDATE orders SET unit_cents = total_cents / quantity, currency = $2 WHERE id IN (
                 SELECT id FROM orders WHERE unit_cents IS NULL AND total_cents IS NOT NULL ORDER BY id LIMIT $1)";
        Ok(on_pool!(self, |pool| sqlx::query(SQL).bind(rows).bind(CURRENCY).execute(pool).await?.rows_affected()))
    }

    /// Rows that have not been migrated.
    pub(crate) async fn unmigrated(&self) -> Result<i64, StoreError> {
        const SQL: &str = "SELECT COUNT(*) FROM orders WHERE unit_cents IS NULL";
        Ok(on_pool!(self, |pool| sqlx::query_scalar(SQL).fetch_one(pool).await?))
    }

    /// Drops the old column; refused, with their number, while there are rows that only have it.
    pub(crate) async fn contract(&self) -> Result<Result<(), i64>, StoreError> {
        const COUNT: &str = "SELECT COUNT(*) FROM orders WHERE unit_cents IS NULL";
        in_transaction!(self, |transaction| {
            let left: i64 = sqlx::query_scalar(COUNT).fetch_one(&mut *transaction).await?;
            if left > 0 {
                return Ok(Err(left));
            }
            sqlx::query("ALTER TABLE orders DROP COLUMN total_cents").execute(&mut *transaction).await?;
        });
        Ok(Ok(()))
    }

    /// Whether the old column is still there.
    pub(crate) async fn is_contracted(&self) -> bool {
        on_pool!(self, |pool| sqlx::query("SELECT total_cents FROM orders LIMIT 1").execute(pool).await.is_err())
    }
}
