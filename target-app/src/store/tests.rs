//! The same tests of the store on both databases.

use super::{
    DatabaseConfig, KeyedAnswer, NewOrder, Order, Schema, Store, StoreError, events::Event, limited,
    messages::Processed, now_ms, on_pool, retention::Kept,
};
use std::{future::Future, time::Duration};

#[path = "../../tests/support/postgres.rs"]
mod postgres;

/// Runs a test on a new database of each kind.
async fn on_both<F: Future<Output = ()>>(name: &str, test: impl Fn(DatabaseConfig) -> F) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("shop.sqlite");
    test(DatabaseConfig { url: Some(file.into()), ..DatabaseConfig::default() }).await;
    if let Some(url) = postgres::database_for(name).await {
        let url = Some(url.parse().unwrap());
        test(DatabaseConfig { url, ..DatabaseConfig::default() }).await;
    }
}

async fn count_events(store: &Store) -> i64 {
    const SQL: &str = "SELECT COUNT(*) FROM events";
    on_pool!(store, |pool| sqlx::query_scalar(SQL).fetch_one(pool).await.unwrap())
}

async fn open(config: &DatabaseConfig, schema: Schema) -> Store {
    Store::open(&DatabaseConfig { schema, ..config.clone() }).await.unwrap()
}

fn order(id: &str) -> Order {
    Order {
        id: id.into(),
        product: 7,
        quantity: 2,
        unit_cents: 250,
        total_cents: 500,
        currency: "EUR".into(),
        charge: "c".into(),
        settled_cents: 0,
        created_at_ms: now_ms(),
        migrated: true,
    }
}

fn answer(key: &str) -> KeyedAnswer {
    KeyedAnswer { key: key.into(), fingerprint: "7x1".into(), status: 201, body: "{}".into() }
}

async fn insert(store: &Store, order: &Order, answer: Option<&KeyedAnswer>) -> Result<(), StoreError> {
    store.insert_order(NewOrder { order, answer, intended: false }).await
}

#[tokio::test]
async fn the_catalogue_has_five_hundred_products_in_twenty_categories() {
    on_both("catalogue", async |config| {
        let store = Store::open(&config).await.unwrap();
        for id in [1, 500] {
            let product = store.product(id).await.unwrap().unwrap();
            assert!((1..=20).contains(&product.category) && product.price_cents >= 500);
        }
        assert_eq!(store.product(0).await.unwrap(), None);
        assert_eq!(store.product(501).await.unwrap(), None);
        assert_eq!(store.search("Kettle").await.unwrap().len(), 20);
        assert!(store.search("%").await.unwrap().is_empty(), "a wildcard is a letter like any other");
    })
    .await;
}

#[tokio::test]
async fn one_key_makes_one_order_even_when_two_requests_race_past_everything_else() {
    on_both("one key", async |config| {
        let store = Store::open(&config).await.unwrap();
        let key = answer("k");
        let (a, b) = (order("a"), order("b"));
        let (first, second) = tokio::join!(insert(&store, &a, Some(&key)), insert(&store, &b, Some(&key)));
        let taken = |result: &Result<(), StoreError>| matches!(result, Err(StoreError::KeyTaken));
        assert!(first.is_ok() && taken(&second) || second.is_ok() && taken(&first), "{first:?} {second:?}");
        assert_eq!(store.order("a").await.unwrap().is_some(), first.is_ok());
        assert_eq!(store.order("b").await.unwrap().is_some(), second.is_ok());
        assert_eq!(store.answer("k").await.unwrap(), Some(key));
    })
    .await;
}

#[tokio::test]
async fn a_database_that_was_used_before_opens_again_with_its_orders() {
    on_both("opens again", async |config| {
        let store = Store::open(&config).await.unwrap();
        let placed = order("a");
        insert(&store, &placed, None).await.unwrap();
        store.close().await;
        assert_eq!(Store::open(&config).await.unwrap().order("a").await.unwrap(), Some(placed));
    })
    .await;
}

#[tokio::test]
async fn an_order_and_the_undoing_of_it_exclude_each_other() {
    on_both("fence", async |config| {
        let store = Store::open(&config).await.unwrap();
        let (a, b) = (order("a"), order("b"));
        let intended = |order| NewOrder { order, answer: None, intended: true };
        // Stored in time: nothing is left to undo.
        store.intend("a", "me", now_ms() + 60_000).await.unwrap();
        store.insert_order(intended(&a)).await.unwrap();
        assert_eq!(store.outbox_size("me").await.unwrap(), (0, 0));
        store.intend_now("a", true, true).await.unwrap();
        assert!(store.claim("me", now_ms(), 10).await.unwrap().is_empty(), "a stored order is not undone");
        // Taken over by the worker: too late to store.
        store.intend("b", "me", now_ms()).await.unwrap();
        assert!(store.is_due().await.unwrap());
        let claimed = store.claim("worker", now_ms() + 60_000, 10).await.unwrap();
        assert_eq!(claimed.iter().map(|intent| intent.order_id.as_str()).collect::<Vec<_>>(), ["b"]);
        assert!(matches!(store.insert_order(intended(&b)).await, Err(StoreError::Undone)));
        assert_eq!(store.order("b").await.unwrap(), None);
        assert!(store.claim("another", now_ms(), 10).await.unwrap().is_empty(), "it is under way");
        // One step acknowledged, then the other.
        let mut intent = claimed[0].clone();
        intent.undo_charge = 0;
        store.settle(&intent, now_ms()).await.unwrap();
        let again = store.claim("worker", now_ms() + 60_000, 10).await.unwrap();
        assert_eq!((again[0].undo_stock, again[0].undo_charge, again[0].attempts), (1, 0, 2));
        intent.undo_stock = 0;
        store.settle(&intent, now_ms()).await.unwrap();
        assert_eq!(store.outbox_size("worker").await.unwrap(), (0, 0));
    })
    .await;
}

#[tokio::test]
async fn two_workers_never_carry_out_the_same_intent_at_once() {
    on_both("two workers", async |config| {
        let (one, other) = (Store::open(&config).await.unwrap(), Store::open(&config).await.unwrap());
        for n in 0..100 {
            one.intend(&format!("o{n}"), "me", now_ms()).await.unwrap();
        }
        let later = now_ms() + 60_000;
        let claim = async |store: &Store, who: &str| {
            let mut all = Vec::new();
            loop {
                let some = store.claim(who, later, 7).await.unwrap();
                if some.is_empty() && !store.is_due().await.unwrap() {
                    return all;
                }
                all.extend(some.into_iter().map(|intent| intent.order_id));
            }
        };
        let (mut mine, theirs) = tokio::join!(claim(&one, "one"), claim(&other, "other"));
        mine.extend(theirs);
        mine.sort();
        mine.dedup();
        assert_eq!(mine.len(), 100);
    })
    .await;
}

#[tokio::test]
async fn a_message_settles_once_and_one_that_finds_no_order_may_come_again() {
    on_both("messages", async |config| {
        let store = Store::open(&config).await.unwrap();
        assert_eq!(store.settle_payment(Some("m"), "a", 500).await.unwrap(), Processed::NoOrder);
        insert(&store, &order("a"), None).await.unwrap();
        assert_eq!(store.settle_payment(Some("m"), "a", 500).await.unwrap(), Processed::Now);
        assert_eq!(store.settle_payment(Some("m"), "a", 500).await.unwrap(), Processed::Before);
        assert_eq!(store.order("a").await.unwrap().unwrap().settled_cents, 500);
        assert_eq!(store.settle_payment(None, "a", 500).await.unwrap(), Processed::Now);
        assert_eq!(store.order("a").await.unwrap().unwrap().settled_cents, 1000, "nobody asked");
    })
    .await;
}

fn event(id: usize, received_at_ms: i64) -> Event {
    Event { id: format!("e{id}"), kind: "view".into(), product: Some(7), received_at_ms }
}

#[tokio::test]
async fn an_event_is_stored_once_and_old_ones_go_batch_by_batch() {
    on_both("events", async |config| {
        let store = Store::open(&config).await.unwrap();
        let old: Vec<_> = (0..25).map(|n| event(n, 1000)).collect();
        store.insert_events(&old).await.unwrap();
        store.insert_events(&old).await.unwrap();
        store.insert_events(&[event(25, now_ms())]).await.unwrap();
        assert_eq!(count_events(&store).await, 26);
        let purge = async || store.purge(Kept::Events, 2000, 10).await.unwrap();
        assert_eq!([purge().await, purge().await, purge().await, purge().await], [10, 10, 5, 0]);
        assert_eq!(count_events(&store).await, 1);
    })
    .await;
}

#[tokio::test]
async fn a_forgotten_key_is_free_again_and_its_order_stays() {
    on_both("keys", async |config| {
        let store = Store::open(&config).await.unwrap();
        insert(&store, &order("a"), Some(&answer("k"))).await.unwrap();
        assert_eq!(store.purge(Kept::Keys, now_ms() + 1, 10).await.unwrap(), 1);
        insert(&store, &order("b"), Some(&answer("k"))).await.unwrap();
        assert!(store.order("a").await.unwrap().is_some());
        for kept in Kept::ALL {
            store.purge(kept, now_ms() + 1, 10).await.unwrap();
        }
        assert_eq!(store.answer("k").await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn sales_are_summed_by_product_and_read_page_by_page_whoever_wrote_them() {
    on_both("sales", async |config| {
        let old = open(&config, Schema::Old).await;
        insert(&old, &order("a"), None).await.unwrap();
        let store = Store::open(&config).await.unwrap();
        insert(&store, &order("b"), None).await.unwrap();
        insert(&store, &Order { product: 9, ..order("c") }, None).await.unwrap();
        let first = store.sold(0, 1).await.unwrap();
        assert_eq!((first[0].product, first[0].orders, first[0].pieces, first[0].cents), (7, 2, 4, 1000));
        let second = store.sold(7, 1).await.unwrap();
        assert_eq!((second[0].product, second[0].cents), (9, 500));
        assert!(store.sold(9, 1).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn old_and_new_shops_share_the_orders_table_until_it_is_contracted() {
    on_both("schema", async |config| {
        let old = open(&config, Schema::Old).await;
        insert(&old, &order("a"), None).await.unwrap();
        let both = open(&config, Schema::Both).await;
        insert(&old, &order("b"), None).await.unwrap();
        insert(&both, &order("c"), None).await.unwrap();
        for store in [&old, &both] {
            for id in ["a", "b", "c"] {
                let seen = store.order(id).await.unwrap().unwrap();
                assert_eq!((seen.total_cents, seen.unit_cents, seen.currency.as_str()), (500, 250, "EUR"));
            }
        }
        let new = open(&config, Schema::New).await;
        assert!(matches!(new.order("a").await, Err(StoreError::NotMigrated(id)) if id == "a"));
        assert_eq!(both.contract().await.unwrap(), Err(2), "nothing is dropped that is needed");
        assert_eq!((both.migrate_order("a").await.unwrap(), both.migrate_order("a").await.unwrap()), (1, 0));
        assert_eq!((both.migrate_batch(10).await.unwrap(), both.unmigrated().await.unwrap()), (1, 0));
        assert!(!both.is_contracted().await);
        for store in [&old, &both] {
            store.close().await;
        }
        assert_eq!(new.contract().await.unwrap(), Ok(()));
        assert!(new.is_contracted().await);
        insert(&new, &order("d"), None).await.unwrap();
        for id in ["a", "b", "c", "d"] {
            assert_eq!(new.order(id).await.unwrap().unwrap().total_cents, 500);
        }
    })
    .await;
}

/// Counts for many seconds, in the database.
async fn long(store: &Store) -> Result<i64, StoreError> {
    const SQL: &str =
        "WITH RECURSIVE n (i) AS (SELECT CAST(1 AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i < 1000000000)
         SELECT COUNT(*) FROM n";
    Ok(limited!(store, |connection| sqlx::query_scalar(SQL).fetch_one(&mut *connection).await?))
}

#[tokio::test]
async fn a_statement_over_its_limit_is_ended_by_the_database_itself() {
    on_both("statement limit", async |config| {
        let statement_limit = Some(Duration::from_millis(200));
        let store = Store::open(&DatabaseConfig { connections: 1, statement_limit, ..config }).await.unwrap();
        let ended = long(&store).await;
        assert!(matches!(ended, Err(StoreError::Busy(_))), "{ended:?}");
        assert!(store.product(7).await.unwrap().is_some(), "the only connection is free again");
    })
    .await;
}

#[tokio::test]
async fn a_statement_that_nobody_waits_for_is_ended_in_the_database_too() {
    on_both("abandoned", async |config| {
        // No limit, and one connection: only if the work really stops does the next one get its turn.
        let acquire_limit = Duration::from_secs(5);
        let config = DatabaseConfig { connections: 1, statement_limit: None, acquire_limit, ..config };
        let store = Store::open(&config).await.unwrap();
        assert!(tokio::time::timeout(Duration::from_millis(200), long(&store)).await.is_err());
        assert!(store.product(7).await.unwrap().is_some());
        if let super::Pool::Postgres(pool) = &store.pool {
            const BUSY: &str = "SELECT COUNT(*) FROM pg_stat_activity
                 WHERE state = 'active' AND datname = current_database() AND pid <> pg_backend_pid()";
            for _ in 0..100 {
                let busy: i64 = sqlx::query_scalar(BUSY).fetch_one(pool).await.unwrap();
                if busy == 0 {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            panic!("the server still works for nobody");
        }
    })
    .await;
}

#[tokio::test]
async fn a_pool_that_is_used_up_turns_away_after_its_limit() {
    on_both("pool", async |config| {
        let acquire_limit = Duration::from_millis(100);
        let store = Store::open(&DatabaseConfig { connections: 1, acquire_limit, ..config }).await.unwrap();
        let (busy, turned_away) = tokio::join!(tokio::time::timeout(Duration::from_millis(500), long(&store)), async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            store.product(7).await
        });
        assert!(busy.is_err() || matches!(busy, Ok(Err(_))));
        assert!(matches!(turned_away, Err(StoreError::Busy(_))), "{turned_away:?}");
    })
    .await;
}
