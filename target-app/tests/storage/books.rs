//! The books of a shop that is killed again and again: what customers were told, beside what the database, the inventory and
//! payment have.

use crate::{
    kinds::Database,
    support::{Customer, series},
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, Instant},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Few products, so that their stock is quick to look at.
pub(crate) const PRODUCTS: i64 = 5;
const FULL: i64 = 1_000_000;
/// Whoever gets no answer asks again, but not for good.
const PATIENCE: Duration = Duration::from_secs(40);

/// What one customer was told.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// By key: the order's id.
    pub(crate) orders: BTreeMap<String, String>,
    pub(crate) events: Vec<String>,
}

/// Buys until told to stop; each order is asked for until it is answered, every fifth twice at once.
pub(crate) async fn customer(
    shop: watch::Receiver<SocketAddr>,
    seed: i64,
    answered: watch::Sender<u64>,
    stop: CancellationToken,
) -> Told {
    let mut told = Told::default();
    let mut nth = seed;
    while !stop.is_cancelled() {
        nth += 1;
        let key = Uuid::new_v4().to_string();
        let body = json!({"product": nth % PRODUCTS + 1, "quantity": nth % 3 + 1});
        let order = if nth % 5 == 0 {
            tokio::join!(until_answered(&shop, "/orders", &key, &body), until_answered(&shop, "/orders", &key, &body)).0
        } else {
            until_answered(&shop, "/orders", &key, &body).await
        };
        answered.send_modify(|answered| *answered += 1);
        told.orders.insert(key.clone(), order["id"].as_str().expect("an order has an id").to_owned());
        until_answered(&shop, "/events", &key, &json!({"id": key, "kind": "bought"})).await;
        told.events.push(key);
    }
    told
}

async fn until_answered(shop: &watch::Receiver<SocketAddr>, path: &str, key: &str, body: &Value) -> Value {
    let begun = Instant::now();
    loop {
        let at = *shop.borrow();
        let customer = Customer::at(at);
        let reply = if path == "/orders" {
            customer.order(Some(key), body.clone()).await
        } else {
            customer.post(path, body).await
        };
        match reply.status {
            201 | 202 => return reply.body,
            // Nobody there, busy, not in time, or the same key is under way elsewhere.
            0 | 409 | 500.. => {}
            status => panic!("{path} was answered {status}: {}", reply.body),
        }
        assert!(begun.elapsed() < PATIENCE, "{path} got no answer: {} {}", reply.status, reply.body);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Everything that was counted when all was quiet.
#[derive(Debug)]
pub(crate) struct Books {
    /// Orders that customers were told of, and how many of these are not in the database.
    pub(crate) told: usize,
    pub(crate) missing: usize,
    pub(crate) orders: i64,
    pub(crate) pieces: i64,
    pub(crate) charges_kept: i64,
    pub(crate) pieces_reserved: i64,
    pub(crate) events_told: usize,
    pub(crate) events: i64,
    pub(crate) left_to_undo: i64,
}

impl Books {
    pub(crate) async fn look(database: &Database, told: &[Told], inventory: &Customer, payment: &Customer) -> Self {
        let rows = database.rows("SELECT id, COALESCE(idempotency_key, ''), quantity FROM orders").await;
        let ids: BTreeMap<&str, i64> = rows.iter().map(|(id, _, quantity)| (id.as_str(), *quantity)).collect();
        let orders = told.iter().flat_map(|told| told.orders.values());
        let mut pieces_reserved = 0;
        for product in 1..=PRODUCTS {
            let left = inventory.get(&format!("/stock/{product}")).await.body["left"].as_i64().unwrap();
            pieces_reserved += FULL - left;
        }
        let metrics = payment.text("/metrics").await;
        Self {
            told: orders.clone().count(),
            missing: orders.filter(|id| !ids.contains_key(id.as_str())).count(),
            orders: rows.len() as i64,
            pieces: ids.values().sum(),
            charges_kept: (series(&metrics, "charges_total") - series(&metrics, "voids_total")) as i64,
            pieces_reserved,
            events_told: told.iter().map(|told| told.events.len()).sum(),
            events: database.number("SELECT COUNT(*) FROM events").await,
            left_to_undo: database.number("SELECT COUNT(*) FROM outbox WHERE state <> 'done'").await,
        }
    }

    /// Everything that does not agree.
    pub(crate) fn wrong(&self) -> Vec<&'static str> {
        let checks = [
            ("an acknowledged order is lost", self.missing > 0),
            ("there are more orders than customers were told of", self.orders != self.told as i64),
            ("charges and orders differ", self.charges_kept != self.orders),
            ("reserved and ordered pieces differ", self.pieces_reserved != self.pieces),
            ("acknowledged events are lost", self.events < self.events_told as i64),
            ("something is left to undo", self.left_to_undo != 0),
        ];
        checks.into_iter().filter(|(_, wrong)| *wrong).map(|(what, _)| what).collect()
    }
}
