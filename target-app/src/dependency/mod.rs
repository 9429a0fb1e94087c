//! The shop's five dependencies: small servers with a little latency, and state where it matters.
//!
//! Each kind has a file with its routes. All share the layer here: it counts, takes its time, and stops working for
//! a caller whose deadline (`X-Request-Deadline`) has passed. Neighbours: `server.rs` serves them; the shop knows
//! them only by address and by the types of their answers.
//!
//! Invariant: whatever is done under a key is done once, and undoing it twice undoes it once.

pub(crate) mod facets;
pub(crate) mod inventory;
mod ledger;
pub(crate) mod payment;
pub(crate) mod recommendations;
pub(crate) mod reviews;

use crate::{
    ShopError,
    metrics::CONTENT_TYPE,
    resilience::timeout_budget,
    server::{self, End, Limits, Over},
};
use axum::{
    Json, Router,
    extract::{Request, State},
    http::{StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};
use serde_json::json;
use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
    str::FromStr,
    sync::Arc,
    time::Duration,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Answers that have begun may finish within this, when a dependency is told to end.
const DRAIN: Duration = Duration::from_secs(1);
/// Open connections, at most; the shop opens far fewer.
const CONNECTIONS: usize = 1024;

/// What the shop depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DependencyKind {
    /// Keeps stock. Critical.
    Inventory,
    /// Takes money. Critical, external, slow.
    Payment,
    /// Says what else may please. Optional.
    Recommendations,
    /// Says what others think. Optional.
    Reviews,
    /// Sorts search results. Optional.
    Facets,
}

impl DependencyKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Inventory, Self::Payment, Self::Recommendations, Self::Reviews, Self::Facets];

    /// The name on the command line, in metrics and of its proxy.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Inventory => "inventory",
            Self::Payment => "payment",
            Self::Recommendations => "recommendations",
            Self::Reviews => "reviews",
            Self::Facets => "facets",
        }
    }

    /// Whether orders need it.
    #[must_use]
    pub const fn is_critical(self) -> bool {
        matches!(self, Self::Inventory | Self::Payment)
    }

    const fn default_latency(self) -> Duration {
        Duration::from_millis(match self {
            Self::Payment => 8,
            Self::Inventory | Self::Recommendations | Self::Reviews | Self::Facets => 2,
        })
    }

    /// Some are old servers that close the connection after each answer.
    const fn default_requests_per_connection(self) -> u64 {
        match self {
            Self::Inventory | Self::Recommendations | Self::Facets => 1,
            Self::Payment | Self::Reviews => 0,
        }
    }
}

impl fmt::Display for DependencyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A word that is not the name of a dependency.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a dependency: use inventory, payment, recommendations, reviews or facets")]
pub struct UnknownDependency(String);

impl FromStr for DependencyKind {
    type Err = UnknownDependency;

    fn from_str(text: &str) -> Result<Self, UnknownDependency> {
        let known = Self::ALL.into_iter().find(|kind| kind.name() == text.trim());
        known.ok_or_else(|| UnknownDependency(text.to_owned()))
    }
}

/// A dependency to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DependencyConfig {
    /// Which one.
    pub kind: DependencyKind,
    /// Where the shop, or a proxy, connects; port 0 takes a free one.
    pub listen: SocketAddr,
    /// It takes so long to answer, up to a half more.
    pub latency: Duration,
    /// After so many answers a connection is closed; 0 keeps it.
    pub requests_per_connection: u64,
    /// Pieces of each product in stock at the start.
    pub stock: u32,
    /// A charge over this is declined.
    pub payment_limit_cents: i64,
}

impl DependencyConfig {
    /// The usual configuration of a kind, on a free loopback port.
    #[must_use]
    pub const fn new(kind: DependencyKind) -> Self {
        Self {
            kind,
            listen: SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
            latency: kind.default_latency(),
            requests_per_connection: kind.default_requests_per_connection(),
            stock: 1_000_000,
            payment_limit_cents: 10_000_000,
        }
    }
}

/// A dependency that is bound and not yet serving.
pub struct Dependency {
    listener: TcpListener,
    address: SocketAddr,
    app: Router,
    requests_per_connection: u64,
}

impl Dependency {
    /// Binds its port.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn bind(config: DependencyConfig) -> Result<Self, ShopError> {
        let cannot = |source| ShopError::Bind { address: config.listen, source };
        let listener = TcpListener::bind(config.listen).await.map_err(cannot)?;
        let address = listener.local_addr().map_err(cannot)?;
        let app = app(&config);
        Ok(Self { listener, address, app, requests_per_connection: config.requests_per_connection })
    }

    /// The address that is bound.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves until cancelled; answers that have begun get a second to finish.
    pub async fn serve(self, shutdown: CancellationToken) {
        let end = End { drain: shutdown.clone(), abort: CancellationToken::new() };
        let requests_per_connection = self.requests_per_connection;
        let limits = Limits { connections: CONNECTIONS, over: Over::Waits, requests_per_connection };
        let abort = end.abort.clone();
        let serving = server::serve(self.listener, self.app, limits, end);
        let enough = async {
            shutdown.cancelled().await;
            tokio::time::sleep(DRAIN).await;
            abort.cancel();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = serving => {}
            () = enough => {}
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Status {
    status: u16,
}

struct Common {
    latency: Duration,
    requests: Family<Status, Counter>,
    registry: Registry,
}

fn app(config: &DependencyConfig) -> Router {
    let mut registry = Registry::default();
    let requests = Family::<Status, Counter>::default();
    registry.register("requests", "Requests answered", requests.clone());
    let routes = match config.kind {
        DependencyKind::Inventory => inventory::routes(config.stock, &mut registry),
        DependencyKind::Payment => payment::routes(config.payment_limit_cents, &mut registry),
        DependencyKind::Recommendations => recommendations::routes(),
        DependencyKind::Reviews => reviews::routes(),
        DependencyKind::Facets => facets::routes(),
    };
    let common = Arc::new(Common { latency: config.latency, requests, registry });
    let watching = Router::new()
        .route("/health", get(async || Json(json!({"status": "up"}))))
        .route("/metrics", get(metrics))
        .with_state(Arc::clone(&common));
    routes.layer(middleware::from_fn_with_state(common, work)).merge(watching)
}

async fn metrics(State(common): State<Arc<Common>>) -> Response {
    let mut body = String::new();
    match text::encode(&mut body, &common.registry) {
        Ok(()) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], body).into_response(),
        Err(error) => refusal(StatusCode::INTERNAL_SERVER_ERROR, "internal", &error.to_string()),
    }
}

/// Takes its time, and no more of it than the caller has.
async fn work(State(common): State<Arc<Common>>, request: Request, next: Next) -> Response {
    let asked = timeout_budget::asked(request.headers());
    let working = async {
        tokio::time::sleep(common.latency.mul_f64(1.0 + 0.5 * rand::random::<f64>())).await;
        next.run(request).await
    };
    let response = match asked {
        Some(left) => tokio::time::timeout(left, working)
            .await
            .unwrap_or_else(|_| refusal(StatusCode::GATEWAY_TIMEOUT, "deadline", "the caller's deadline has passed")),
        None => working.await,
    };
    common.requests.get_or_create(&Status { status: response.status().as_u16() }).inc();
    response
}

fn refusal(status: StatusCode, code: &str, message: &str) -> Response {
    (status, Json(json!({"error": {"code": code, "message": message}}))).into_response()
}

#[cfg(test)]
mod tests {
    use super::{DependencyConfig, DependencyKind, app};
    use axum::{body::Body, http::Request};
    use std::time::Duration;
    use tokio::time::Instant;
    use tower::ServiceExt as _;

    #[tokio::test(start_paused = true)]
    async fn nobody_works_on_for_a_caller_whose_deadline_has_passed() {
        let latency = Duration::from_secs(10);
        let app = app(&DependencyConfig { latency, ..DependencyConfig::new(DependencyKind::Reviews) });
        let request = Request::get("/reviews/7").header("x-request-deadline", "50").body(Body::empty()).unwrap();
        let begun = Instant::now();
        assert_eq!(app.oneshot(request).await.unwrap().status(), 504);
        assert_eq!(begun.elapsed(), Duration::from_millis(50));
    }
}
