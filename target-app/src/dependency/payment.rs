//! Payment: charges an amount under a key, and takes the charge back.
//!
//! `PUT /charges/{key}` · `DELETE /charges/{key}`.
//!
//! Invariant: a key is charged at most once; a key that was voided before its charge arrived is never charged.

use super::{ledger::Ledger, refusal};
use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::put,
};
use parking_lot::Mutex;
use prometheus_client::{metrics::counter::Counter, registry::Registry};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;

/// What is to be paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Charge {
    pub(crate) amount_cents: i64,
}

/// The answer to a charge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Charged {
    pub(crate) charge: String,
    pub(crate) amount_cents: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entry {
    Charged(Charge),
    Voided,
}

struct Payment {
    limit_cents: i64,
    keys: Mutex<Ledger<Entry>>,
    charges: Counter,
    voids: Counter,
}

pub(super) fn routes(limit_cents: i64, registry: &mut Registry) -> Router {
    let (charges, voids) = (Counter::default(), Counter::default());
    registry.register("charges", "Charges made", charges.clone());
    registry.register("voids", "Charges taken back", voids.clone());
    let payment = Payment { limit_cents, keys: Mutex::default(), charges, voids };
    Router::new().route("/charges/{key}", put(charge).delete(void)).with_state(Arc::new(payment))
}

async fn charge(State(payment): State<Arc<Payment>>, Path(key): Path<String>, Json(wanted): Json<Charge>) -> Response {
    let mut keys = payment.keys.lock();
    let before = keys.get(&key).copied();
    let charged = Charged { charge: format!("ch-{key}"), amount_cents: wanted.amount_cents };
    match before {
        Some(Entry::Charged(charge)) if charge == wanted => Json(charged).into_response(),
        Some(Entry::Charged(_)) => {
            refusal(StatusCode::UNPROCESSABLE_ENTITY, "key_reused", "the key charged another amount")
        }
        Some(Entry::Voided) => refusal(StatusCode::GONE, "voided", "the charge was taken back"),
        None if !(1..=payment.limit_cents).contains(&wanted.amount_cents) => {
            refusal(StatusCode::PAYMENT_REQUIRED, "declined", "the amount is over the limit")
        }
        None => {
            keys.set(&key, Entry::Charged(wanted));
            payment.charges.inc();
            (StatusCode::CREATED, Json(charged)).into_response()
        }
    }
}

async fn void(State(payment): State<Arc<Payment>>, Path(key): Path<String>) -> Response {
    let voided = matches!(payment.keys.lock().set(&key, Entry::Voided), Some(Entry::Charged(_)));
    if voided {
        payment.voids.inc();
    }
    Json(json!({"voided": voided})).into_response()
}

#[cfg(test)]
mod tests {
    use super::routes;
    use axum::{Router, body::Body, http::Request};
    use prometheus_client::{encoding::text, registry::Registry};
    use tower::ServiceExt as _;

    async fn status(app: &Router, method: &str, key: &str, amount: i64) -> u16 {
        let request = Request::builder()
            .method(method)
            .uri(format!("/charges/{key}"))
            .header("content-type", "application/json")
            .body(Body::from(format!("{{\"amount_cents\":{amount}}}")))
            .unwrap();
        app.clone().oneshot(request).await.unwrap().status().as_u16()
    }

    #[tokio::test]
    async fn a_key_is_charged_once_and_never_after_it_was_voided() {
        let mut registry = Registry::default();
        let app = routes(1000, &mut registry);
        assert_eq!(status(&app, "PUT", "a", 500).await, 201);
        assert_eq!(status(&app, "PUT", "a", 500).await, 200);
        assert_eq!(status(&app, "PUT", "a", 501).await, 422);
        assert_eq!(status(&app, "PUT", "b", 1001).await, 402);
        assert_eq!(status(&app, "DELETE", "a", 0).await, 200);
        assert_eq!(status(&app, "DELETE", "c", 0).await, 200);
        assert_eq!(status(&app, "PUT", "c", 500).await, 410);
        let mut metrics = String::new();
        text::encode(&mut metrics, &registry).unwrap();
        assert!(metrics.contains("charges_total 1\n") && metrics.contains("voids_total 1\n"), "{metrics}");
    }
}
