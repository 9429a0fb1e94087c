//! What customers ask for: products, searches, orders.
//!
//! The door has given each request its deadline; the handlers hand it on. Neighbours: `pages.rs` and `orders.rs` do the work.

use super::{Shared, answer::Answer};
use crate::{error::RequestError, orders::OrderRequest, resilience::timeout_budget::Deadline};
use axum::{
    Extension, Json,
    extract::{
        Path, Query, State,
        rejection::{JsonRejection, PathRejection, QueryRejection},
    },
    http::HeaderMap,
};
use serde::Deserialize;

/// Longer words find nothing anyway.
const LONGEST_WORDS: usize = 100;

pub(super) async fn product(
    State(app): Shared,
    Extension(deadline): Extension<Deadline>,
    id: Result<Path<i64>, PathRejection>,
) -> Result<Answer, RequestError> {
    let Path(id) = id.map_err(|rejection| RequestError::Invalid(rejection.body_text()))?;
    let page = app.pages.product(id, deadline).await?;
    Ok(Answer::ok(&page))
}

#[derive(Debug, Deserialize)]
pub(super) struct Words {
    q: String,
}

pub(super) async fn search(
    State(app): Shared,
    Extension(deadline): Extension<Deadline>,
    words: Result<Query<Words>, QueryRejection>,
) -> Result<Answer, RequestError> {
    let Query(Words { q }) = words.map_err(|rejection| RequestError::Invalid(rejection.body_text()))?;
    if q.len() > LONGEST_WORDS {
        return Err(RequestError::Invalid(format!("`q` is too long: at most {LONGEST_WORDS} bytes")));
    }
    let page = app.pages.search(&q, deadline).await?;
    Ok(Answer::ok(&page))
}

pub(super) async fn place(
    State(app): Shared,
    Extension(deadline): Extension<Deadline>,
    headers: HeaderMap,
    request: Result<Json<OrderRequest>, JsonRejection>,
) -> Result<Answer, RequestError> {
    let Json(request) = request.map_err(|rejection| RequestError::Invalid(rejection.body_text()))?;
    // A key that is not text is as invalid as an empty one.
    let key = headers.get("idempotency-key").map(|key| key.to_str().unwrap_or_default());
    Ok(app.orders.place(key, request, deadline).await)
}

pub(super) async fn order(
    State(app): Shared,
    Extension(deadline): Extension<Deadline>,
    Path(id): Path<String>,
) -> Result<Answer, RequestError> {
    let order = app.orders.find(&id, deadline).await?;
    Ok(Answer::ok(&order))
}
