//! Inventory: reserves stock under a key, and releases it.
//!
//! `PUT /reservations/{key}` · `DELETE /reservations/{key}` · `GET /stock/{product}`.
//!
//! Invariant: a key takes stock at most once, and gives it back at most once; a key that was released before its
//! reservation arrived takes none.

use super::{ledger::Ledger, refusal};
use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, put},
};
use parking_lot::Mutex;
use prometheus_client::{metrics::counter::Counter, registry::Registry};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::{collections::BTreeMap, sync::Arc};

/// What is to be set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reservation {
    pub(crate) product: i64,
    pub(crate) quantity: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entry {
    Reserved(Reservation),
    Released,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reserved {
    Now,
    Before,
    SoldOut,
    OtherContent,
    AlreadyReleased,
}

#[derive(Debug)]
struct Stock {
    initial: i64,
    /// Only products of which something is reserved.
    taken: BTreeMap<i64, i64>,
    keys: Ledger<Entry>,
}

impl Stock {
    fn left(&self, product: i64) -> i64 {
        self.initial - self.taken.get(&product).copied().unwrap_or(0)
    }

    fn reserve(&mut self, key: &str, wanted: Reservation) -> Reserved {
        match self.keys.get(key) {
            Some(Entry::Reserved(before)) if *before == wanted => Reserved::Before,
            Some(Entry::Reserved(_)) => Reserved::OtherContent,
            Some(Entry::Released) => Reserved::AlreadyReleased,
            None if wanted.quantity < 1 || self.left(wanted.product) < wanted.quantity => Reserved::SoldOut,
            None => {
                *self.taken.entry(wanted.product).or_default() += wanted.quantity;
                self.keys.set(key, Entry::Reserved(wanted));
                Reserved::Now
            }
        }
    }

    /// How many pieces came back.
    fn release(&mut self, key: &str) -> i64 {
        match self.keys.set(key, Entry::Released) {
            Some(Entry::Reserved(Reservation { product, quantity })) => {
                *self.taken.entry(product).or_default() -= quantity;
                quantity
            }
            Some(Entry::Released) | None => 0,
        }
    }
}

struct Inventory {
    stock: Mutex<Stock>,
    reservations: Counter,
    releases: Counter,
}

pub(super) fn routes(stock: u32, registry: &mut Registry) -> Router {
    let (reservations, releases) = (Counter::default(), Counter::default());
    registry.register("reservations", "Reservations that took stock", reservations.clone());
    registry.register("releases", "Reservations that were given back", releases.clone());
    let stock = Stock { initial: i64::from(stock), taken: BTreeMap::new(), keys: Ledger::default() };
    Router::new()
        .route("/reservations/{key}", put(reserve).delete(release))
        .route("/stock/{product}", get(left))
        .with_state(Arc::new(Inventory { stock: Mutex::new(stock), reservations, releases }))
}

async fn reserve(
    State(inventory): State<Arc<Inventory>>,
    Path(key): Path<String>,
    Json(wanted): Json<Reservation>,
) -> Response {
    let reserved = inventory.stock.lock().reserve(&key, wanted);
    match reserved {
        Reserved::Now => {
            inventory.reservations.inc();
            (StatusCode::CREATED, Json(wanted)).into_response()
        }
        Reserved::Before => Json(wanted).into_response(),
        Reserved::SoldOut => refusal(StatusCode::CONFLICT, "sold_out", "not enough pieces in stock"),
        Reserved::OtherContent => {
            refusal(StatusCode::UNPROCESSABLE_ENTITY, "key_reused", "the key reserved something else")
        }
        Reserved::AlreadyReleased => refusal(StatusCode::GONE, "released", "the reservation was released"),
    }
}

async fn release(State(inventory): State<Arc<Inventory>>, Path(key): Path<String>) -> Response {
    let released = inventory.stock.lock().release(&key);
    if released > 0 {
        inventory.releases.inc();
    }
    Json(json!({"released": released})).into_response()
}

async fn left(State(inventory): State<Arc<Inventory>>, Path(product): Path<i64>) -> Response {
    let left = inventory.stock.lock().left(product);
    Json(json!({"product": product, "left": left})).into_response()
}

#[cfg(test)]
mod tests {
    use super::{Ledger, Reservation, Reserved, Stock};
    use std::collections::BTreeMap;

    const TWO: Reservation = Reservation { product: 7, quantity: 2 };

    fn stock(initial: i64) -> Stock {
        Stock { initial, taken: BTreeMap::new(), keys: Ledger::default() }
    }

    #[test]
    fn a_key_takes_stock_once_and_gives_it_back_once() {
        let mut stock = stock(10);
        assert_eq!(stock.reserve("k", TWO), Reserved::Now);
        assert_eq!(stock.reserve("k", TWO), Reserved::Before);
        assert_eq!(stock.left(7), 8);
        assert_eq!((stock.release("k"), stock.release("k")), (2, 0));
        assert_eq!(stock.left(7), 10);
    }

    #[test]
    fn what_is_not_there_cannot_be_reserved() {
        let mut stock = stock(3);
        assert_eq!(stock.reserve("a", TWO), Reserved::Now);
        assert_eq!(stock.reserve("b", TWO), Reserved::SoldOut);
        assert_eq!(stock.reserve("c", Reservation { product: 1, quantity: -5 }), Reserved::SoldOut);
    }

    #[test]
    fn a_reservation_that_arrives_after_its_release_takes_nothing() {
        let mut stock = stock(10);
        assert_eq!(stock.release("k"), 0);
        assert_eq!(stock.reserve("k", TWO), Reserved::AlreadyReleased);
        assert_eq!(stock.left(7), 10);
    }

    #[test]
    fn a_key_is_for_one_content() {
        let mut stock = stock(10);
        stock.reserve("k", TWO);
        assert_eq!(stock.reserve("k", Reservation { product: 8, quantity: 2 }), Reserved::OtherContent);
    }
}
