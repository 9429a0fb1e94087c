//! The shop over HTTP: routes, and what stands around them.
//!
//! ```text
//! request ─▶ counted ─▶ panics contained ─▶ slot or 503 ─▶ handler       (customers)
//!                                        └▶ handler                      (health, metrics, admin)
//! ```
//!
//! Neighbours: handlers turn requests into calls of `pages.rs` and `orders.rs`; `answer.rs` turns results into answers.
//!
//! Invariant: what watches the shop needs no slot, so it is answered when customers are not.

pub(crate) mod answer;
mod health;
mod observe;
mod shop;
mod storage;

use crate::{
    dependency::DependencyKind,
    error::RequestError,
    events::Events,
    metrics::Metrics,
    orders::Orders,
    pages::Pages,
    pattern::Without,
    reports::Reports,
    resilience::{
        graceful_shutdown::Lifecycle, health_checks::Health, load_shedding::Shedder, message_dedupe::MessageDedupe,
        timeout_budget::TimeoutBudget,
    },
    store::Store,
    upstream::Upstream,
};
use answer::Answer;
use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};
use tower_http::{catch_panic::CatchPanicLayer, timeout::RequestBodyTimeoutLayer};

/// An order is a line of JSON.
const LARGEST_BODY: usize = 16 * 1024;
/// A client that sends nothing of its body for so long is given up.
const BODY_LIMIT: Duration = Duration::from_secs(5);

/// What the handlers share.
pub(crate) struct App {
    pub(crate) pages: Pages,
    pub(crate) orders: Orders,
    pub(crate) events: Events,
    pub(crate) dedupe: MessageDedupe,
    pub(crate) reports: Reports,
    pub(crate) store: Arc<Store>,
    pub(crate) upstreams: BTreeMap<DependencyKind, Arc<Upstream>>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) shedder: Shedder,
    pub(crate) budget: TimeoutBudget,
    pub(crate) order_budget: Duration,
    pub(crate) page_budget: Duration,
    pub(crate) event_budget: Duration,
    pub(crate) report_budget: Duration,
    /// Absent when the pattern is switched off.
    pub(crate) health: Option<Health>,
    pub(crate) life: Lifecycle,
    pub(crate) without: Without,
    pub(crate) started: Instant,
}

type Shared = State<Arc<App>>;

/// The shop's routes.
pub(crate) fn router(app: Arc<App>) -> Router {
    let customers = Router::new()
        .route("/products/{id}", get(shop::product))
        .route("/search", get(shop::search))
        .route("/orders", post(shop::place))
        .route("/orders/{id}", get(shop::order))
        .route("/events", post(storage::event))
        .route("/webhooks/payment", post(storage::payment))
        .route("/reports/sales", get(storage::sales))
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .layer(RequestBodyTimeoutLayer::new(BODY_LIMIT))
        .layer(middleware::from_fn_with_state(Arc::clone(&app), slot));
    let watching = Router::new()
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .route("/health", get(health::deep))
        .route("/metrics", get(observe::metrics))
        .route("/admin/shutdown", post(health::shutdown));
    customers
        .merge(watching)
        .fallback(async || Answer::from(RequestError::NotFound("there is nothing at this path".to_owned())))
        .layer(CatchPanicLayer::custom(answer::panicked))
        .layer(middleware::from_fn_with_state(Arc::clone(&app), observe::count))
        .with_state(app)
}

/// Gives a request a slot, or sends it away before any work.
async fn slot(State(app): Shared, request: Request, next: Next) -> Response {
    match app.shedder.enter().await {
        Ok(_slot) => next.run(request).await,
        Err(_) => {
            app.metrics.shed("shop", "slots");
            Answer::from(RequestError::Shed).into_response()
        }
    }
}
