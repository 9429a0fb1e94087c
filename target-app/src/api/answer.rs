//! Answers: a status, a JSON body, and the one place that gives each error its status.
//!
//! Errors are `{"error": {"code", "message"}}`. An answer is a value, so that several requests with one idempotency
//! key can share it and the database can store it.

use crate::{error::RequestError, failure::CallError, resilience::supervision::text_of, store::StoreError};
use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::json;
use std::{any::Any, time::Duration};

/// Says that an answer was given before, to the same idempotency key.
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// What a request gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: String,
    retry_after: Option<Duration>,
    replayed: bool,
}

impl Answer {
    /// A body that is JSON already.
    pub(crate) fn json(status: StatusCode, body: String) -> Self {
        Self { status, body, retry_after: None, replayed: false }
    }

    /// A value as JSON, with 200.
    pub(crate) fn ok(value: &impl Serialize) -> Self {
        Self::with(StatusCode::OK, value)
    }

    /// A value as JSON.
    pub(crate) fn with(status: StatusCode, value: &impl Serialize) -> Self {
        match serde_json::to_string(value) {
            Ok(body) => Self::json(status, body),
            Err(error) => Self::error(StatusCode::INTERNAL_SERVER_ERROR, "internal", &error.to_string()),
        }
    }

    /// An error that is none of a request's.
    pub(super) fn error(status: StatusCode, code: &str, message: &str) -> Self {
        Self::json(status, json!({"error": {"code": code, "message": message}}).to_string())
    }

    /// The same, marked as given before.
    pub(crate) fn replayed(self) -> Self {
        Self { replayed: true, ..self }
    }
}

impl From<RequestError> for Answer {
    fn from(error: RequestError) -> Self {
        match &error {
            RequestError::Store(StoreError::Failed(cause)) => tracing::error!(%cause, "failed to use the database"),
            RequestError::Store(StoreError::Busy(cause)) => tracing::debug!(%cause, "the database is busy"),
            _ => {}
        }
        let (status, code) = status(&error);
        let retry_after = match &error {
            RequestError::Call(CallError::Open { retry_after, .. }) | RequestError::Limited { retry_after, .. } => {
                Some(*retry_after)
            }
            _ if status == StatusCode::SERVICE_UNAVAILABLE => Some(Duration::from_secs(1)),
            _ => None,
        };
        Self { retry_after, ..Self::error(status, code, &error.to_string()) }
    }
}

fn status(error: &RequestError) -> (StatusCode, &'static str) {
    match error {
        RequestError::Late
        | RequestError::Store(StoreError::Undone)
        | RequestError::Call(CallError::Timeout { .. }) => (StatusCode::GATEWAY_TIMEOUT, "deadline_exceeded"),
        RequestError::Call(CallError::Open { .. }) => (StatusCode::SERVICE_UNAVAILABLE, "circuit_open"),
        RequestError::Call(CallError::PoolFull { .. }) => (StatusCode::SERVICE_UNAVAILABLE, "pool_full"),
        RequestError::Call(CallError::Withheld { .. }) | RequestError::Degraded => {
            (StatusCode::SERVICE_UNAVAILABLE, "withheld")
        }
        RequestError::Call(
            CallError::Unreachable { .. }
            | CallError::Broken { .. }
            | CallError::BrokenOff { .. }
            | CallError::Malformed { .. }
            | CallError::Status { .. },
        ) => (StatusCode::BAD_GATEWAY, "dependency_failed"),
        RequestError::Store(StoreError::Busy(_)) | RequestError::NotStored => {
            (StatusCode::SERVICE_UNAVAILABLE, "database_busy")
        }
        RequestError::Store(StoreError::NotMigrated(_)) => (StatusCode::INTERNAL_SERVER_ERROR, "not_migrated"),
        RequestError::Store(StoreError::Failed(_)) => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        RequestError::Store(StoreError::KeyTaken) | RequestError::KeyBusy => (StatusCode::CONFLICT, "key_busy"),
        RequestError::NotFound(_) => (StatusCode::NOT_FOUND, "not_found"),
        RequestError::Invalid(_) => (StatusCode::BAD_REQUEST, "invalid_request"),
        RequestError::NoKey => (StatusCode::BAD_REQUEST, "key_missing"),
        RequestError::KeyReused => (StatusCode::UNPROCESSABLE_ENTITY, "key_reused"),
        RequestError::SoldOut => (StatusCode::CONFLICT, "sold_out"),
        RequestError::Declined => (StatusCode::PAYMENT_REQUIRED, "declined"),
        RequestError::Shed => (StatusCode::SERVICE_UNAVAILABLE, "overloaded"),
        RequestError::Limited { .. } => (StatusCode::TOO_MANY_REQUESTS, "rate_limited"),
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(after) = self.retry_after {
            // Whole seconds, rounded up: 0 would invite everybody back at once.
            headers.insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs_f64().ceil().max(1.0) as u64));
        }
        if self.replayed {
            headers.insert(REPLAYED, HeaderValue::from_static("true"));
        }
        response
    }
}

impl IntoResponse for RequestError {
    fn into_response(self) -> Response {
        Answer::from(self).into_response()
    }
}

/// A panic in a request is a 500 and no more.
pub(super) fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    tracing::error!(panic = text_of(&*panic), "a request panicked");
    Answer::error(StatusCode::INTERNAL_SERVER_ERROR, "internal", "a bug in the shop, which was logged").into_response()
}
