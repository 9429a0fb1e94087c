//! The catalogue: products by id and by words. Nothing here writes.

use super::{Store, StoreError, limited, on_pool};
use serde::Serialize;
use sqlx::FromRow;

/// A product of the catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, FromRow)]
pub(crate) struct Product {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) category: i64,
    pub(crate) price_cents: i64,
}

impl Store {
    pub(crate) async fn product(&self, id: i64) -> Result<Option<Product>, StoreError> {
        const SQL: &str = "SELECT id, name, category, price_cents FROM products WHERE id = $1";
        Ok(on_pool!(self, |pool| sqlx::query_as(SQL).bind(id).fetch_optional(pool).await?))
    }

    /// At most twenty products whose name contains the words, in any case of letters.
    pub(crate) async fn search(&self, words: &str) -> Result<Vec<Product>, StoreError> {
        const SQL: &str = "SELECT id, name, category, price_cents FROM products
             WHERE LOWER(name) LIKE $1 ESCAPE '\\' ORDER BY id LIMIT 20";
        let escaped = words.to_lowercase().replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
        let words = format!("%{escaped}%");
        Ok(limited!(self, |connection| sqlx::query_as(SQL).bind(words).fetch_all(&mut *connection).await?))
    }
}
