//! From a refusal to an answer as Toxiproxy gives it: status, and `{"error", "status"}` as plain text.
//!
//! What Toxiproxy has no words for (a lease, a limit) is told in ours, with the status that `/v1` has for it.
//! Neighbours: `registry::Refusal` says what went wrong; every handler here returns this.
//! Invariant: one refusal has one status, wherever it comes up.

use super::ApiError;
use crate::{proxy::ProxyError, registry::Refusal, toxiproxy::ToxiproxyMistake};
use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use std::io;

/// An answer that is an error.
#[derive(Debug, Clone, Serialize)]
pub(super) struct ToxiproxyError {
    error: String,
    status: u16,
}

impl ToxiproxyError {
    pub(super) fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self { error: error.into(), status: status.as_u16() }
    }

    pub(super) fn no_proxy() -> Self {
        Self::new(StatusCode::NOT_FOUND, "proxy not found")
    }

    pub(super) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl From<Refusal> for ToxiproxyError {
    fn from(refusal: Refusal) -> Self {
        let message = refusal.to_string();
        let (status, message) = match refusal {
            Refusal::Invalid { field, .. } => {
                (StatusCode::BAD_REQUEST, format!("bad request body: {field}: {message}"))
            }
            Refusal::Toxiproxy(_) => (StatusCode::BAD_REQUEST, message),
            // The only thing but toxics that these paths name.
            Refusal::NotFound { .. } | Refusal::Proxy(ProxyError::Stopped) => return Self::no_proxy(),
            Refusal::Taken { .. } => (StatusCode::CONFLICT, "proxy already exists".to_owned()),
            Refusal::NoToxic => (StatusCode::NOT_FOUND, message),
            Refusal::InUse { .. }
            | Refusal::ToxicExists
            | Refusal::Leased { .. }
            | Refusal::Hurt { .. }
            | Refusal::NotBack { .. }
            | Refusal::Halted { .. } => (StatusCode::CONFLICT, message),
            Refusal::Limit { .. } | Refusal::Role { .. } | Refusal::Policy { .. } => (StatusCode::FORBIDDEN, message),
            Refusal::Proxy(error) => (StatusCode::INTERNAL_SERVER_ERROR, of_proxy(&error)),
            Refusal::Unhealed { .. } | Refusal::NotSaved(_) | Refusal::Stuck { .. } => {
                (StatusCode::INTERNAL_SERVER_ERROR, message)
            }
            Refusal::Unavailable { .. } => (StatusCode::NOT_IMPLEMENTED, message),
            Refusal::Closed => (StatusCode::SERVICE_UNAVAILABLE, message),
        };
        Self::new(status, message)
    }
}

/// As Go's library tells what the system said, which is what clients look for.
fn of_proxy(error: &ProxyError) -> String {
    match error {
        ProxyError::Bind { addr, source } | ProxyError::Listen { addr, source } => {
            let why = match source.kind() {
                io::ErrorKind::AddrInUse => "address already in use".to_owned(),
                io::ErrorKind::AddrNotAvailable => "cannot assign requested address".to_owned(),
                io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
                _ => source.to_string(),
            };
            format!("listen tcp {addr}: bind: {why}")
        }
        other => other.to_string(),
    }
}

impl From<ToxiproxyMistake> for ToxiproxyError {
    fn from(mistake: ToxiproxyMistake) -> Self {
        Refusal::from(mistake).into()
    }
}

impl From<ApiError> for ToxiproxyError {
    fn from(error: ApiError) -> Self {
        let (status, message) = error.told();
        Self::new(status, message)
    }
}

impl IntoResponse for ToxiproxyError {
    fn into_response(self) -> Response {
        let body = match serde_json::to_string(&self) {
            Ok(json) => format!("{json}\n"),
            Err(_) => format!("{}\n", self.error),
        };
        let kind = (header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        let plain = (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        (self.status(), [kind, plain], body).into_response()
    }
}
