//! The REST API: paths to handlers, and what every request passes on its way.
//!
//! ```text
//! server ─▶ count ─▶ catch a panic ─▶ guard (Host, Origin) ─▶ access (who, role) ─▶ table ─▶ proxies | faults | leases | …
//!                                                                               └▶ toxiproxy       └──▶ registry
//! ```
//!
//! A caller that acts under a lease names it in the header `X-Squall-Lease`; `POST …/faults` takes it in the body
//! as well. Neighbours: `server` feeds it connections, `registry` does what is asked, `wire` has the shapes.
//! Invariant: every answer that is an error has the one shape of `wire::ErrorBody` (Toxiproxy's on its own paths), and
//! changed nothing.

mod about;
pub(crate) mod access;
mod body;
mod call;
pub(crate) mod docs;
mod error;
mod events;
mod faults;
mod guard;
mod hall;
mod halt;
mod leases;
mod openapi;
mod proxies;
mod query;
pub(crate) mod server;
mod strict;
mod table;
mod toxiproxy;
mod traffic;

pub(crate) use error::ApiError;

use crate::{
    access::{Access, Identity},
    config::AgentConfig,
    metrics::ApiMetrics,
    registry::{Caller, Refusal, Registry},
    throttle::Throttle,
    traffic::Marks,
};
use axum::{
    Router,
    extract::{FromRequestParts, Path, Request, State},
    http::{HeaderMap, HeaderName, StatusCode, header, request::Parts},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
};
use serde::{Serialize, de::DeserializeOwned};
use squall_wire::{LeaseId, nearest::nearest};
use std::{
    net::SocketAddr,
    sync::{Arc, atomic::AtomicBool},
    time::Instant,
};
use tower_http::catch_panic::CatchPanicLayer;

/// The header in which a caller names the lease under which it acts.
pub(crate) const LEASE_HEADER: HeaderName = HeaderName::from_static("x-squall-lease");

/// What the handlers share.
#[derive(Debug)]
pub(crate) struct Api {
    pub(crate) registry: Arc<Registry>,
    pub(crate) config: AgentConfig,
    pub(crate) access: Access,
    /// How many refusals of access the log takes.
    pub(crate) refused: Throttle,
    pub(crate) bound: SocketAddr,
    pub(crate) instance: String,
    pub(crate) started: Instant,
    pub(crate) ready: AtomicBool,
    pub(crate) metrics: ApiMetrics,
    pub(crate) docs: docs::Docs,
    pub(crate) marks: Marks,
}

/// The address of the client, set by `server` on each request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// All paths.
pub(crate) fn router(api: Arc<Api>) -> Router {
    let toxiproxy = if api.config.toxiproxy { toxiproxy::router(&api) } else { Router::new() };
    let ours = table::calls().into_iter().fold(Router::new(), |all, call| all.route(call.path, call.route));
    ours.fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .merge(toxiproxy)
        .layer(from_fn_with_state(Arc::clone(&api), access::ask))
        .layer(from_fn_with_state(Arc::clone(&api), guard::guard))
        .layer(CatchPanicLayer::custom(|_| ApiError::bug().into_response()))
        .layer(from_fn_with_state(Arc::clone(&api), count))
        .with_state(api)
}

impl Api {
    /// Runs a change to its end, whether or not the client waits for the answer.
    async fn change<T, F>(&self, change: impl FnOnce(Arc<Registry>) -> F) -> Result<T, ApiError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Refusal>> + Send + 'static,
    {
        Ok(self.registry.to_the_end(change(Arc::clone(&self.registry))).await?)
    }
}

async fn count(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let response = next.run(request).await;
    api.metrics.answered(&method, response.status());
    response
}

async fn unknown_path(request: Request) -> ApiError {
    let path = request.uri().path();
    let calls = table::calls();
    let hint = nearest(path, calls.iter().map(|call| call.path)).map(|near| format!("did you mean `{near}`?"));
    ApiError::not_found(format!("there is no `{path}` here"), hint)
}

async fn wrong_method(request: Request) -> ApiError {
    ApiError::wrong_method(request.method(), request.uri().path())
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        Ok(caller(parts, named_lease(&parts.headers)?))
    }
}

/// Who asks, for the audit trail and for what depends on whose lease it is.
fn caller(parts: &Parts, lease: Option<LeaseId>) -> Caller {
    let from = parts.extensions.get::<Peer>().map_or_else(|| "unknown".to_owned(), |Peer(peer)| peer.to_string());
    let Identity { who, role } = Identity::of(&parts.extensions);
    Caller { who, role, from, lease }
}

fn named_lease(headers: &HeaderMap) -> Result<Option<LeaseId>, ApiError> {
    let Some(value) = headers.get(LEASE_HEADER) else { return Ok(None) };
    let text = String::from_utf8_lossy(value.as_bytes());
    let id = text.parse().map_err(|error| Refusal::invalid("X-Squall-Lease", format!("{error}")))?;
    Ok(Some(id))
}

/// The names in a path.
struct Named<T>(T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Named<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match Path::<T>::from_request_parts(parts, state).await {
            Ok(Path(names)) => Ok(Self(names)),
            Err(rejection) => Err(ApiError::bad_path(rejection.body_text())),
        }
    }
}

/// 201, with the path of what was made.
fn created(path: String, value: impl Serialize) -> Response {
    (StatusCode::CREATED, [(header::LOCATION, path)], axum::Json(value)).into_response()
}
