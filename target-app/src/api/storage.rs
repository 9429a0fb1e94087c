//! What comes in bulk or from machines: events, messages of the payment provider, reports.
//!
//! Neighbours: `events.rs`, `reports.rs` and `store/messages.rs` do the work.

use super::{Shared, answer::Answer};
use crate::{
    error::RequestError,
    events::EventRequest,
    resilience::{idempotency::is_valid_key, timeout_budget::Deadline},
    store::messages::Processed,
};
use axum::{
    Extension, Json,
    extract::{State, rejection::JsonRejection},
    http::StatusCode,
};
use serde::Deserialize;
use serde_json::json;

/// Nobody settles more at once; sums stay far from overflowing.
const MOST_CENTS: i64 = 1_000_000_000_000;

pub(super) async fn event(
    State(app): Shared,
    Extension(deadline): Extension<Deadline>,
    request: Result<Json<EventRequest>, JsonRejection>,
) -> Result<Answer, RequestError> {
    let Json(request) = request.map_err(|rejection| RequestError::Invalid(rejection.body_text()))?;
    let id = deadline.run(app.events.accept(request)).await.map_err(|_| RequestError::Late)??;
    Ok(Answer::with(StatusCode::ACCEPTED, &json!({"id": id, "status": "stored"})))
}

/// What the payment provider tells.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Message {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    order: String,
    amount_cents: i64,
}

impl Message {
    fn check(&self) -> Result<(), RequestError> {
        let invalid = |message: String| Err(RequestError::Invalid(message));
        if !is_valid_key(&self.id) {
            return invalid("`id` is 1 to 128 visible characters".to_owned());
        }
        if self.kind != "charge.settled" {
            return invalid(format!("`type` is `{}`: only `charge.settled` is known", self.kind));
        }
        if !(1..=MOST_CENTS).contains(&self.amount_cents) {
            return invalid(format!("`amount_cents` is {}: settle 1 to {MOST_CENTS}", self.amount_cents));
        }
        Ok(())
    }
}

pub(super) async fn payment(
    State(app): Shared,
    Extension(deadline): Extension<Deadline>,
    message: Result<Json<Message>, JsonRejection>,
) -> Result<Answer, RequestError> {
    let Json(message) = message.map_err(|rejection| RequestError::Invalid(rejection.body_text()))?;
    message.check()?;
    let id = app.dedupe.remembered(&message.id);
    let processed = app.store.settle_payment(id, &message.order, message.amount_cents);
    let (result, status) = match deadline.run(processed).await.map_err(|_| RequestError::Late)?? {
        Processed::Now => ("processed", "processed"),
        Processed::Before => ("repeated", "processed before"),
        Processed::NoOrder => {
            app.metrics.storage.message("unknown_order");
            // The provider sends it again, by when the order may be stored.
            return Err(RequestError::NotFound(format!("there is no order {}", message.order)));
        }
    };
    app.metrics.storage.message(result);
    Ok(Answer::ok(&json!({"status": status})))
}

pub(super) async fn sales(
    State(app): Shared,
    Extension(deadline): Extension<Deadline>,
) -> Result<Answer, RequestError> {
    // Nothing that a customer waits for, and the heaviest of all requests.
    if app.flags.as_ref().is_some_and(|flags| flags.is_degraded()) {
        app.metrics.storage.report("withheld");
        return Err(RequestError::Degraded);
    }
    let report = app.reports.sales(deadline).await?;
    Ok(Answer::ok(&report))
}
