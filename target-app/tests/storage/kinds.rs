//! A test on a new database of each kind.

use crate::{
    postgres,
    support::{World, config},
};
use sqlx::{Connection as _, PgConnection, SqliteConnection};
use squall_shop::{DatabaseConfig, Pattern, ShopConfig};
use std::future::Future;

/// A database, by the address that a shop is given.
#[derive(Clone)]
pub(crate) struct Database(pub(crate) String);

impl Database {
    /// What one statement that gives a number gives.
    pub(crate) async fn number(&self, sql: &'static str) -> i64 {
        if self.0.starts_with("postgres:") {
            let mut connection = PgConnection::connect(&self.0).await.unwrap();
            sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap()
        } else {
            let mut connection = SqliteConnection::connect(&self.0).await.unwrap();
            sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap()
        }
    }

    /// What one statement that gives two texts and a number a row gives.
    pub(crate) async fn rows(&self, sql: &'static str) -> Vec<(String, String, i64)> {
        if self.0.starts_with("postgres:") {
            let mut connection = PgConnection::connect(&self.0).await.unwrap();
            sqlx::query_as(sql).fetch_all(&mut connection).await.unwrap()
        } else {
            let mut connection = SqliteConnection::connect(&self.0).await.unwrap();
            sqlx::query_as(sql).fetch_all(&mut connection).await.unwrap()
        }
    }

    /// A shop's configuration with this database, without these patterns.
    pub(crate) fn shop(&self, without: &[Pattern]) -> ShopConfig {
        let mut config = ShopConfig { without: without.iter().copied().collect(), ..config() };
        config.storage.database = DatabaseConfig { url: Some(self.0.parse().unwrap()), ..DatabaseConfig::default() };
        config
    }

    pub(crate) async fn world(&self, without: &[Pattern]) -> World {
        World::with(self.shop(without)).await
    }
}

pub(crate) async fn on_both<F: Future<Output = ()>>(name: &str, test: impl Fn(Database) -> F) {
    let directory = tempfile::tempdir().unwrap();
    test(Database(format!("sqlite:{}", directory.path().join("shop.sqlite").display()))).await;
    if let Some(url) = postgres::database_for(name).await {
        test(Database(url)).await;
    }
}
