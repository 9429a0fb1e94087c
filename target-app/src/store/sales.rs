//! What was sold, product by product, a page at a time.
//!
//! Neighbour: `reports.rs` reads page after page, so that no statement is long and a report that nobody waits for ends soon.

use super::{Schema, Store, StoreError, limited};
use sqlx::FromRow;

/// What was sold of one product.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub(crate) struct Sold {
    pub(crate) product: i64,
    pub(crate) category: i64,
    pub(crate) orders: i64,
    pub(crate) pieces: i64,
    pub(crate) cents: i64,
}

macro_rules! select {
    ($total:literal) => {
        concat!(
            "SELECT orders.product AS product, products.category AS category, COUNT(*) AS orders,
                 CAST(SUM(orders.quantity) AS BIGINT) AS pieces, CAST(SUM(",
            $total,
            ") AS BIGINT) AS cents
             FROM orders JOIN products ON products.id = orders.product WHERE orders.product > $1
             GROUP BY orders.product, products.category ORDER BY orders.product LIMIT $2"
        )
    };
}

impl Store {
    /// The next so many products of which something was sold, after this one.
    pub(crate) async fn sold(&self, after: i64, most: i64) -> Result<Vec<Sold>, StoreError> {
        let sql = match self.schema {
            Schema::Old => select!("total_cents"),
            Schema::Both => select!("COALESCE(unit_cents * quantity, total_cents)"),
            Schema::New => select!("unit_cents * quantity"),
        };
        Ok(limited!(self, |connection| {
            sqlx::query_as(sql).bind(after).bind(most).fetch_all(&mut *connection).await?
        }))
    }
}
