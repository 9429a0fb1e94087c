//! The shop: bound from a configuration, served until it is told to leave.
//!
//! Here the patterns are put together, each in its form for on or off. Neighbours: `config.rs` above, `api/` and
//! everything that it shares below.
//!
//! Invariant: when `serve` returns, no task, connection or file of this shop is left.

use crate::{
    api::{self, App},
    compensation::Compensator,
    config::{Origin, ShopConfig},
    dependency::DependencyKind::{self, Facets, Inventory, Payment, Recommendations, Reviews},
    error::ShopError,
    http_client::{Exchange, HttpClient},
    metrics::Metrics,
    orders::Orders,
    pages::Pages,
    pattern::{Pattern, Without},
    resilience::{
        bulkhead::Bulkhead,
        circuit_breaker::CircuitBreaker,
        degradation::Degradation,
        failover_cache::FailoverCache,
        graceful_shutdown::{Lifecycle, ShutdownConfig},
        health_checks::{Check, Health, HealthChecks, HealthConfig},
        idempotency::InFlight,
        load_shedding::Shedder,
        retry::Retry,
        retry_budget::RetryBudget,
        timeout_budget::{OrderShares, TimeoutBudget},
    },
    server::{self, End, Limits},
    store::Store,
    upstream::Upstream,
};
use axum::http::{HeaderMap, Method};
use bytes::Bytes;
use futures::FutureExt as _;
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// A shop that is bound and not yet serving.
pub struct Shop {
    listener: TcpListener,
    address: SocketAddr,
    app: Arc<App>,
    compensator: Arc<Compensator>,
    limits: Limits,
    shutdown: Option<ShutdownConfig>,
}

impl Shop {
    /// Opens the database and binds the port. Dependencies are not asked yet: a shop starts without them.
    ///
    /// # Errors
    /// When an address of a dependency is missing, the database cannot be opened or the port cannot be bound.
    pub async fn bind(config: ShopConfig) -> Result<Self, ShopError> {
        let without = Without::from(config.without.clone());
        let metrics = Metrics::new();
        let upstreams = upstreams(&config, &without, &metrics)?;
        let store = Store::open(config.database.as_deref(), config.database_connections);
        let store = Arc::new(store.await.map_err(ShopError::Database)?);
        let cannot = |source| ShopError::Bind { address: config.listen, source };
        let listener = TcpListener::bind(config.listen).await.map_err(cannot)?;
        let address = listener.local_addr().map_err(cannot)?;
        let shutdown = without.has(Pattern::GracefulShutdown).then_some(config.shutdown);
        let limits = Limits { connections: config.connections, requests_per_connection: 0 };
        let life = Lifecycle::new(CancellationToken::new());
        let compensator = Compensator::new(
            Arc::clone(&upstreams[&Inventory]),
            Arc::clone(&upstreams[&Payment]),
            Arc::clone(&store),
            Arc::clone(&metrics),
            life.abort.clone(),
        );
        let app = app(&config, without, metrics, upstreams, store, life, &compensator);
        Ok(Self { listener, address, app: Arc::new(app), compensator, limits, shutdown })
    }

    /// The address that is bound.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves until cancelled, or until `POST /admin/shutdown`; then drains.
    pub async fn serve(self, shutdown: CancellationToken) {
        let Self { listener, app, compensator, limits, shutdown: grace, .. } = self;
        let life = app.life.clone();
        let end = End { drain: life.drain.clone(), abort: life.abort.clone() };
        let serving = async {
            server::serve(listener, api::router(Arc::clone(&app)), limits, end).await;
            compensator.finish().await;
        };
        let ending = async {
            tokio::select! {
                () = shutdown.cancelled() => life.request(),
                () = life.requested() => {}
            }
            tracing::info!("shutting down");
            life.until_drain(grace).await;
            tokio::time::sleep(grace.map_or(Duration::ZERO, |grace| grace.drain)).await;
            life.abort.cancel();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = serving => {}
            () = ending => {}
        }
        app.store.close().await;
    }
}

fn app(
    config: &ShopConfig,
    without: Without,
    metrics: Arc<Metrics>,
    upstreams: BTreeMap<DependencyKind, Arc<Upstream>>,
    store: Arc<Store>,
    life: Lifecycle,
    compensator: &Arc<Compensator>,
) -> App {
    let has = |pattern| without.has(pattern);
    let upstream = |kind: DependencyKind| Arc::clone(&upstreams[&kind]);
    let degradation = if has(Pattern::Degradation) { Degradation::On(Arc::clone(&metrics)) } else { Degradation::Off };
    let pages = Pages {
        store: Arc::clone(&store),
        recommendations: upstream(Recommendations),
        reviews: upstream(Reviews),
        facets: upstream(Facets),
        known_recommendations: cache("recommendations", config, &without, &metrics),
        known_reviews: cache("reviews", config, &without, &metrics),
        degradation,
        optional_share: config.optional_share,
    };
    let orders = Orders {
        store: Arc::clone(&store),
        inventory: upstream(Inventory),
        payment: upstream(Payment),
        compensator: Arc::clone(compensator),
        shares: OrderShares::of(config.order_budget),
        in_flight: has(Pattern::Idempotency).then(InFlight::new),
        metrics: Arc::clone(&metrics),
    };
    let slots = config.request_slots;
    App {
        pages,
        orders,
        health: has(Pattern::HealthChecks).then(|| health(config, &store)),
        shedder: if has(Pattern::LoadShedding) { Shedder::on(slots) } else { Shedder::off(slots) },
        budget: if has(Pattern::TimeoutBudget) { TimeoutBudget::On } else { TimeoutBudget::Off },
        order_budget: config.order_budget,
        page_budget: config.page_budget,
        started: Instant::now(),
        store,
        upstreams,
        metrics,
        life,
        without,
    }
}

fn cache<V: Send + Sync + 'static>(
    part: &'static str,
    config: &ShopConfig,
    without: &Without,
    metrics: &Arc<Metrics>,
) -> FailoverCache<V> {
    if without.has(Pattern::FailoverCache) {
        FailoverCache::on(part, config.cache, Arc::clone(metrics))
    } else {
        FailoverCache::Off
    }
}

fn upstreams(
    config: &ShopConfig,
    without: &Without,
    metrics: &Arc<Metrics>,
) -> Result<BTreeMap<DependencyKind, Arc<Upstream>>, ShopError> {
    let common = Bulkhead::common(config.bulkhead);
    let made = DependencyKind::ALL.into_iter().map(|kind| {
        let origin = config.dependencies.get(&kind).ok_or(ShopError::NoAddress(kind))?.clone();
        let bulkhead = if without.has(Pattern::Bulkhead) { Bulkhead::own(config.bulkhead) } else { common.clone() };
        Ok((kind, Arc::new(upstream(kind, origin, bulkhead, config, without, metrics))))
    });
    made.collect()
}

fn upstream(
    kind: DependencyKind,
    origin: Origin,
    bulkhead: Bulkhead,
    config: &ShopConfig,
    without: &Without,
    metrics: &Arc<Metrics>,
) -> Upstream {
    let shares = OrderShares::of(config.order_budget);
    let (operation, share) = match kind {
        Inventory => ("reservations", shares.inventory),
        Payment => ("charges", shares.payment),
        Recommendations | Reviews | Facets => ("get", config.optional_share),
    };
    let service = kind.name();
    let breaker = without.has(Pattern::CircuitBreaker).then(|| breaker(service, operation, config, metrics));
    Upstream {
        service,
        operation,
        client: HttpClient::new(service, origin, bulkhead.size()),
        retry: if without.has(Pattern::Retry) { Retry::On(config.retry) } else { Retry::Off },
        retry_budget: if without.has(Pattern::RetryBudget) {
            RetryBudget::new(config.retry_budget)
        } else {
            RetryBudget::Off
        },
        breaker,
        slow: share.mul_f64(config.breaker.slow.clamp(0.0, 1.0)),
        bulkhead,
        metrics: Arc::clone(metrics),
    }
}

fn breaker(
    service: &'static str,
    operation: &'static str,
    config: &ShopConfig,
    metrics: &Arc<Metrics>,
) -> Arc<CircuitBreaker> {
    let metrics = Arc::clone(metrics);
    let told = move |state: crate::resilience::circuit_breaker::State| {
        tracing::info!(service, operation, state = state.name(), "circuit breaker");
        metrics.breaker(service, operation, state.name(), state.gauge());
    };
    CircuitBreaker::new(config.breaker, Box::new(told))
}

fn health(config: &ShopConfig, store: &Arc<Store>) -> Health {
    let HealthConfig { limit, ready_limit, cache_for } = config.health;
    Health {
        ready: HealthChecks::new(vec![database_check(store)], ready_limit, cache_for),
        deep: HealthChecks::new(deep_checks(config, store), limit, cache_for),
    }
}

fn database_check(store: &Arc<Store>) -> Check {
    let store = Arc::clone(store);
    let probe = move || {
        let store = Arc::clone(&store);
        async move { store.ping().await.map_err(|error| error.to_string()) }.boxed()
    };
    Check { name: "database", critical: true, probe: Box::new(probe) }
}

/// The database, and each dependency by its own `/health`, over connections that no customer waits for.
fn deep_checks(config: &ShopConfig, store: &Arc<Store>) -> Vec<Check> {
    let mut checks = vec![database_check(store)];
    checks.extend(config.dependencies.iter().map(|(kind, origin)| {
        let client = HttpClient::new(kind.name(), origin.clone(), 1);
        let probe = move || {
            let client = client.clone();
            async move {
                let exchange = Exchange {
                    method: Method::GET,
                    path: "/health".into(),
                    headers: HeaderMap::new(),
                    body: Bytes::new(),
                };
                client.send(&exchange).await.map(|_| ()).map_err(|error| error.to_string())
            }
            .boxed()
        };
        Check { name: kind.name(), critical: kind.is_critical(), probe: Box::new(probe) }
    }));
    checks
}
