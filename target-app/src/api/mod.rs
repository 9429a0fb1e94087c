//! The shop over HTTP: routes, and what stands around them.
//!
//! ```text
//! request ─▶ counted ─▶ panics contained ─▶ rate or 429 ─▶ slot or 503 ─▶ chaos, if any ─▶ handler   (customers)
//!                                        ├▶ handler                                               (health, metrics)
//!                                        └▶ guard ─▶ handler                                      (admin)
//! ```
//!
//! Neighbours: handlers turn requests into calls of `pages.rs` and `orders.rs`; `answer.rs` turns results into answers.
//!
//! Invariant: what watches the shop needs no slot, so it is answered when customers are not.

pub(crate) mod admin;
pub(crate) mod answer;
mod door;
mod health;
mod observe;
mod shop;
mod storage;

use crate::{
    dependency::DependencyKind,
    door::Door,
    error::RequestError,
    events::Events,
    metrics::Metrics,
    orders::Orders,
    pages::Pages,
    pattern::{Pattern, Without},
    reports::Reports,
    resilience::{
        chaos::{Chaos, ChaosLayer},
        feature_flags::FeatureFlags,
        graceful_shutdown::Lifecycle,
        health_checks::Health,
        message_dedupe::MessageDedupe,
        rate_limiting::RateLimits,
        supervision::Supervisor,
        timeout_budget::TimeoutBudget,
    },
    store::Store,
    upstream::Upstream,
};
use answer::Answer;
use axum::{
    Router,
    extract::{DefaultBodyLimit, State},
    middleware,
    routing::{get, post},
};
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};
use tower::util::option_layer;
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
    pub(crate) door: Arc<Door>,
    /// Absent when the pattern is switched off.
    pub(crate) limits: Option<RateLimits>,
    /// Absent when the pattern is switched off.
    pub(crate) chaos: Option<Arc<Chaos>>,
    /// Absent when graceful degradation is switched off.
    pub(crate) flags: Option<Arc<FeatureFlags>>,
    pub(crate) guard: admin::Guard,
    pub(crate) supervisor: Arc<Supervisor>,
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
        .layer(option_layer(app.chaos.clone().map(ChaosLayer)))
        .layer(middleware::from_fn_with_state(Arc::clone(&app), door::enter))
        .layer(middleware::from_fn_with_state(Arc::clone(&app), door::limit));
    let watching = Router::new()
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .route("/health", get(health::deep))
        .route("/metrics", get(observe::metrics))
        .merge(admin::routes(&app));
    let routes = customers
        .merge(watching)
        .fallback(async || Answer::from(RequestError::NotFound("there is nothing at this path".to_owned())));
    let contained = app.without.has(Pattern::LetItCrash);
    let routes = if contained { routes.layer(CatchPanicLayer::custom(answer::panicked)) } else { routes };
    routes.layer(middleware::from_fn_with_state(Arc::clone(&app), observe::count)).with_state(app)
}
