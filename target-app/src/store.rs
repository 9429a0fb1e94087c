//! The database: products, orders, and the answers to idempotency keys.
//!
//! SQLite in WAL mode behind a bounded pool. The SQL is plain enough for PostgreSQL to be a second pool of the same
//! statements. Neighbours: `orders.rs` writes, `pages.rs` reads; deadlines are theirs to set, by `Deadline::run`.
//!
//! Invariant: an order and the answer to its key are written in one transaction; the key is unique underneath.

use serde::Serialize;
use sqlx::{
    FromRow, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use std::{
    path::Path,
    time::{Duration, SystemTime},
};
use tempfile::TempDir;

/// The database refused, or could not be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// Somebody else has stored an order under this key.
    #[error("the idempotency key was used by another request at the same time")]
    KeyTaken,
    /// No connection in time, or the file stayed locked.
    #[error("the database is busy")]
    Busy,
    /// Anything else.
    #[error("failed to use the database")]
    Failed(#[source] sqlx::Error),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::PoolTimedOut => Self::Busy,
            sqlx::Error::Database(cause) if cause.is_unique_violation() => Self::KeyTaken,
            // SQLITE_BUSY and its extended codes.
            sqlx::Error::Database(cause) if cause.code().is_some_and(|code| is_busy(&code)) => Self::Busy,
            _ => Self::Failed(error),
        }
    }
}

fn is_busy(code: &str) -> bool {
    code.parse::<u32>().is_ok_and(|code| code & 0xff == 5)
}

/// A product of the catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, FromRow)]
pub(crate) struct Product {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) category: i64,
    pub(crate) price_cents: i64,
}

/// An order that was placed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, FromRow)]
pub(crate) struct Order {
    pub(crate) id: String,
    pub(crate) product: i64,
    pub(crate) quantity: i64,
    pub(crate) total_cents: i64,
    pub(crate) charge: String,
    pub(crate) created_at_ms: i64,
}

/// The final answer to a key.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub(crate) struct KeyedAnswer {
    pub(crate) key: String,
    pub(crate) fingerprint: String,
    pub(crate) status: i64,
    pub(crate) body: String,
}

/// The database of one shop.
pub(crate) struct Store {
    pool: SqlitePool,
    size: u32,
    /// Kept so that a temporary file lives as long as the store.
    _directory: Option<TempDir>,
}

impl Store {
    /// Opens the file, or a temporary one, and brings its tables up to date.
    pub(crate) async fn open(path: Option<&Path>, size: u32) -> Result<Self, sqlx::Error> {
        let (path, directory) = match path {
            Some(path) => (path.to_owned(), None),
            None => {
                let directory = tempfile::Builder::new().prefix("squall-shop-").tempdir()?;
                (directory.path().join("shop.sqlite"), Some(directory))
            }
        };
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(2));
        let pool = SqlitePoolOptions::new()
            .max_connections(size)
            .acquire_timeout(Duration::from_secs(2))
            // A local file does not go away; asking before each use would double the work.
            .test_before_acquire(false)
            .connect_with(options)
            .await?;
        sqlx::migrate!("./migrations").run(&pool).await?;
        Ok(Self { pool, size, _directory: directory })
    }

    pub(crate) async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("SELECT 1").execute(&self.pool).await?;
        Ok(())
    }

    pub(crate) async fn product(&self, id: i64) -> Result<Option<Product>, StoreError> {
        let query = sqlx::query_as("SELECT id, name, category, price_cents FROM products WHERE id = $1");
        Ok(query.bind(id).fetch_optional(&self.pool).await?)
    }

    /// At most twenty products whose name contains the words.
    pub(crate) async fn search(&self, words: &str) -> Result<Vec<Product>, StoreError> {
        let escaped = words.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
        let query = sqlx::query_as(
            "SELECT id, name, category, price_cents FROM products WHERE name LIKE $1 ESCAPE '\\' ORDER BY id LIMIT 20",
        );
        Ok(query.bind(format!("%{escaped}%")).fetch_all(&self.pool).await?)
    }

    pub(crate) async fn order(&self, id: &str) -> Result<Option<Order>, StoreError> {
        let query = sqlx::query_as(
            "SELECT id, product, quantity, total_cents, charge, created_at_ms FROM orders WHERE id = $1",
        );
        Ok(query.bind(id).fetch_optional(&self.pool).await?)
    }

    /// Stores an order, and the answer to its key if it has one, or neither.
    pub(crate) async fn insert_order(&self, order: &Order, answer: Option<&KeyedAnswer>) -> Result<(), StoreError> {
        // Taking the write lock at once avoids the deadlock of two readers who both want to write.
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::query(
            "INSERT INTO orders (id, product, quantity, total_cents, charge, idempotency_key, created_at_ms)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(&order.id)
        .bind(order.product)
        .bind(order.quantity)
        .bind(order.total_cents)
        .bind(&order.charge)
        .bind(answer.map(|answer| &answer.key))
        .bind(order.created_at_ms)
        .execute(&mut *transaction)
        .await?;
        if let Some(answer) = answer {
            insert_answer(answer, Some(&order.id)).execute(&mut *transaction).await?;
        }
        Ok(transaction.commit().await?)
    }

    /// Stores a final answer that made no order.
    pub(crate) async fn insert_answer(&self, answer: &KeyedAnswer) -> Result<(), StoreError> {
        insert_answer(answer, None).execute(&self.pool).await?;
        Ok(())
    }

    pub(crate) async fn answer(&self, key: &str) -> Result<Option<KeyedAnswer>, StoreError> {
        let query = sqlx::query_as("SELECT key, fingerprint, status, body FROM idempotency_keys WHERE key = $1");
        Ok(query.bind(key).fetch_optional(&self.pool).await?)
    }

    /// Takes back an order of which it is not known whether it was stored.
    pub(crate) async fn remove_order(&self, id: &str) -> Result<(), StoreError> {
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::query("DELETE FROM idempotency_keys WHERE order_id = $1").bind(id).execute(&mut *transaction).await?;
        sqlx::query("DELETE FROM orders WHERE id = $1").bind(id).execute(&mut *transaction).await?;
        Ok(transaction.commit().await?)
    }

    /// Connections in use, and how many there can be.
    pub(crate) fn usage(&self) -> (usize, usize) {
        let open = self.pool.size() as usize;
        (open.saturating_sub(self.pool.num_idle()), self.size as usize)
    }

    pub(crate) async fn close(&self) {
        self.pool.close().await;
    }
}

type Insert<'q> = sqlx::query::Query<'q, sqlx::Sqlite, sqlx::sqlite::SqliteArguments>;

fn insert_answer<'q>(answer: &'q KeyedAnswer, order: Option<&'q str>) -> Insert<'q> {
    sqlx::query(
        "INSERT INTO idempotency_keys (key, fingerprint, status, body, order_id, created_at_ms)
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(&answer.key)
    .bind(&answer.fingerprint)
    .bind(answer.status)
    .bind(&answer.body)
    .bind(order)
    .bind(now_ms())
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::{KeyedAnswer, Order, Store, StoreError};

    fn order(id: &str) -> Order {
        let created_at_ms = super::now_ms();
        Order { id: id.into(), product: 7, quantity: 1, total_cents: 500, charge: "c".into(), created_at_ms }
    }

    fn answer(key: &str) -> KeyedAnswer {
        KeyedAnswer { key: key.into(), fingerprint: "7x1".into(), status: 201, body: "{}".into() }
    }

    async fn store() -> Store {
        Store::open(None, 4).await.unwrap()
    }

    #[tokio::test]
    async fn the_catalogue_has_five_hundred_products_in_twenty_categories() {
        let store = store().await;
        for id in [1, 500] {
            let product = store.product(id).await.unwrap().unwrap();
            assert!((1..=20).contains(&product.category) && product.price_cents >= 500);
        }
        assert_eq!(store.product(0).await.unwrap(), None);
        assert_eq!(store.product(501).await.unwrap(), None);
        assert_eq!(store.search("kettle").await.unwrap().len(), 20);
        assert!(store.search("%").await.unwrap().is_empty(), "a wildcard is a letter like any other");
    }

    #[tokio::test]
    async fn one_key_makes_one_order_even_when_two_requests_race_past_everything_else() {
        let store = store().await;
        let key = answer("k");
        let (a, b) = (order("a"), order("b"));
        let (first, second) = tokio::join!(store.insert_order(&a, Some(&key)), store.insert_order(&b, Some(&key)));
        let taken = |result: &Result<(), StoreError>| matches!(result, Err(StoreError::KeyTaken));
        assert!(first.is_ok() && taken(&second) || second.is_ok() && taken(&first), "{first:?} {second:?}");
        assert_eq!(store.order("a").await.unwrap().is_some(), first.is_ok());
        assert_eq!(store.order("b").await.unwrap().is_some(), second.is_ok());
    }

    #[tokio::test]
    async fn taking_an_order_back_frees_its_key() {
        let store = store().await;
        store.insert_order(&order("a"), Some(&answer("k"))).await.unwrap();
        assert_eq!(store.answer("k").await.unwrap(), Some(answer("k")));
        store.remove_order("a").await.unwrap();
        assert_eq!((store.answer("k").await.unwrap(), store.order("a").await.unwrap()), (None, None));
    }

    #[tokio::test]
    async fn a_file_that_was_used_before_opens_again_with_its_orders() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("shop.sqlite");
        let store = Store::open(Some(&path), 4).await.unwrap();
        store.insert_order(&order("a"), None).await.unwrap();
        store.close().await;
        assert!(Store::open(Some(&path), 4).await.unwrap().order("a").await.unwrap().is_some());
    }
}
