//! Toxiproxy's API, on the same port: its paths, statuses, shapes and words, over the same registry.
//!
//! ```text
//! guard ─▶ face (no browser, request id) ─▶ proxies | toxics ─▶ registry::toxics, registry::proxies
//! ```
//! Its clients know no leases: what they set lives under `max_fault_duration`, and a proxy that a lease holds is
//! refused to them with 409. Neighbours: `crate::toxiproxy` has the values, `super` merges these paths with `/v1`.
//! Invariant: a handler only translates; every rule is the registry's.

mod error;
mod proxies;
mod toxics;

use super::{Api, ApiError, body};
use crate::registry::{Caller, Refusal, Registry};
use axum::{
    Router,
    extract::{FromRequest, FromRequestParts, Request, State},
    http::{HeaderName, HeaderValue, Method, StatusCode, header, request::Parts},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use error::ToxiproxyError;
use serde::de::DeserializeOwned;
use squall_wire::ProxyName;
use std::{convert::Infallible, sync::Arc};

/// The version of Toxiproxy that this is compatible with; clients look at it before they use what is newer.
const VERSION: &str = "2.12.0";
const REQUEST_ID: HeaderName = HeaderName::from_static("x-toxiproxy-request-id");

/// All paths.
pub(super) fn router(api: &Arc<Api>) -> Router<Arc<Api>> {
    Router::new()
        .route("/version", get(version))
        .route("/reset", post(proxies::reset))
        .route("/populate", post(proxies::populate))
        .route("/proxies", get(proxies::list).post(proxies::create))
        .route(
            "/proxies/{proxy}",
            get(proxies::show).post(proxies::change).patch(proxies::change).delete(proxies::delete),
        )
        .route("/proxies/{proxy}/toxics", get(toxics::list).post(toxics::create))
        .route(
            "/proxies/{proxy}/toxics/{toxic}",
            get(toxics::show).post(toxics::change).patch(toxics::change).delete(toxics::delete),
        )
        .method_not_allowed_fallback(async || ToxiproxyError::new(StatusCode::METHOD_NOT_ALLOWED, "method not allowed"))
        .layer(from_fn_with_state(Arc::clone(api), face))
}

/// Whether a path is one of Toxiproxy's.
pub(super) fn has(path: &str) -> bool {
    let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    ["version", "reset", "populate", "proxies"].contains(&first)
}

/// An error of ours as Toxiproxy tells it.
pub(super) fn told(error: ApiError) -> Response {
    ToxiproxyError::from(error).into_response()
}

/// What every answer has, and what a browser gets: nothing. With leases required, nothing is changed here.
async fn face(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let agent = request.headers().get(header::USER_AGENT).map(HeaderValue::as_bytes);
    let mut response = if agent.is_some_and(|agent| agent.starts_with(b"Mozilla/")) {
        ToxiproxyError::new(StatusCode::FORBIDDEN, "User agent not allowed").into_response()
    } else if api.config.policy.require_lease && !matches!(*request.method(), Method::GET | Method::HEAD) {
        let message =
            "policy.require_lease: this agent is changed under leases only, which Toxiproxy's paths do not know";
        ToxiproxyError::new(StatusCode::FORBIDDEN, message).into_response()
    } else {
        next.run(request).await
    };
    if let Ok(id) = HeaderValue::from_str(&uuid::Uuid::new_v4().simple().to_string()) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

async fn version() -> Response {
    let body = format!("{{\"version\": \"{VERSION}\"}}\n");
    ([(header::CONTENT_TYPE, "application/json;charset=utf-8")], body).into_response()
}

impl Api {
    /// Runs a change to its end, whether or not the client waits for the answer.
    async fn toxiproxy<T, F>(&self, change: impl FnOnce(Arc<Registry>) -> F) -> Result<T, ToxiproxyError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Refusal>> + Send + 'static,
    {
        Ok(self.registry.to_the_end(change(Arc::clone(&self.registry))).await?)
    }
}

/// Who asks. A lease cannot be named here, so the header that names one is not looked at.
struct Asker(Caller);

impl<S: Send + Sync> FromRequestParts<S> for Asker {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(super::caller(parts, None)))
    }
}

/// The first JSON value of a body, whatever its content type says; what comes after it is not looked at.
struct Body<T>(T);

impl<T: DeserializeOwned> FromRequest<Arc<Api>> for Body<T> {
    type Rejection = ToxiproxyError;

    async fn from_request(request: Request, api: &Arc<Api>) -> Result<Self, ToxiproxyError> {
        let bytes = body::collect(request, api).await?;
        let wrong = |why: String| ToxiproxyError::new(StatusCode::BAD_REQUEST, format!("bad request body: {why}"));
        match serde_json::Deserializer::from_slice(&bytes).into_iter().next() {
            Some(Ok(value)) => Ok(Self(value)),
            Some(Err(error)) => Err(wrong(error.to_string())),
            None => Err(wrong("EOF".to_owned())),
        }
    }
}

/// A proxy that may be there. A name that no proxy can have is one that is not there.
fn proxy_named(name: &str) -> Result<ProxyName, ToxiproxyError> {
    name.parse().map_err(|_| ToxiproxyError::no_proxy())
}
