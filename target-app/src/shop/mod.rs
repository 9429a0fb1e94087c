//! The shop: bound from a configuration, served until it is told to leave.
//!
//! Here the patterns are put together, each in its form for on or off: `calls.rs` for the dependencies, `front.rs` for
//! requests, `storage.rs` for the database, `background.rs` for what works beside the requests, `watching.rs` for health.
//! Neighbours: `config/` above, `api/` and everything that it shares below.
//!
//! Invariant: when `serve` returns, no task, connection or file of this shop is left.

mod background;
mod calls;
mod front;
mod storage;
mod watching;

use crate::{
    api::{self, App, admin::Guard},
    config::ShopConfig,
    error::ShopError,
    metrics::Metrics,
    pattern::{Pattern, Without},
    resilience::{
        chaos::Chaos,
        graceful_shutdown::{Lifecycle, ShutdownConfig},
        message_dedupe::MessageDedupe,
        rate_limiting::RateLimits,
        timeout_budget::TimeoutBudget,
    },
    server::{self, End, Limits},
    store::Store,
};
use background::Background;
use calls::Upstreams;
use std::{
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
    background: Background,
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
        let upstreams = calls::upstreams(&config, &without, &metrics)?;
        let store = storage::open(&config, &without).await?;
        let cannot = |source| ShopError::Bind { address: config.listen, source };
        let listener = TcpListener::bind(config.listen).await.map_err(cannot)?;
        let address = listener.local_addr().map_err(cannot)?;
        let shutdown = without.has(Pattern::GracefulShutdown).then_some(config.shutdown);
        let limits = front::limits(&config, &without, &metrics);
        let life = Lifecycle::new(CancellationToken::new());
        let mut background = Background::default();
        let app = app(&config, without, metrics, upstreams, store, life, &mut background);
        Ok(Self { listener, address, app: Arc::new(app), background, limits, shutdown })
    }

    /// The address that is bound.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves until cancelled, or until `POST /admin/shutdown`; then drains.
    pub async fn serve(self, shutdown: CancellationToken) {
        let Self { listener, app, background, limits, shutdown: grace, .. } = self;
        let life = app.life.clone();
        let end = End { drain: life.drain.clone(), abort: life.abort.clone() };
        front::start_workers(&app);
        let background = background.start(&app.supervisor, &life.abort);
        let serving = async {
            server::serve(listener, api::router(Arc::clone(&app)), limits, end).await;
            // What is left after that is on disk, for whoever opens the database next.
            tokio::select! {
                () = background.finish() => {}
                () = life.abort.cancelled() => tracing::warn!("shut down before everything was undone"),
            }
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
        app.supervisor.end().await;
        app.store.close().await;
    }
}

fn app(
    config: &ShopConfig,
    without: Without,
    metrics: Arc<Metrics>,
    upstreams: Upstreams,
    store: Arc<Store>,
    life: Lifecycle,
    background: &mut Background,
) -> App {
    let has = |pattern| without.has(pattern);
    let flags = has(Pattern::Degradation).then(|| front::flags(&upstreams, &metrics));
    App {
        pages: storage::pages(config, &without, &metrics, &upstreams, &store, flags.as_ref()),
        orders: storage::orders(config, &without, &metrics, &upstreams, &store, background),
        events: storage::events(config, &without, &metrics, &store, background),
        dedupe: if has(Pattern::MessageDedupe) { MessageDedupe::On } else { MessageDedupe::Off },
        reports: storage::reports(config, &without, &metrics, &upstreams, &store),
        health: has(Pattern::HealthChecks).then(|| watching::health(config, &store)),
        door: front::door(config, &without, &metrics),
        limits: has(Pattern::RateLimiting).then(|| RateLimits::new(config.front.rate)),
        chaos: has(Pattern::Chaos).then(|| Chaos::new(&config.front.chaos, Arc::clone(&metrics))),
        flags,
        guard: Guard::new(config.front.admin_token.clone(), has(Pattern::RateLimiting)),
        supervisor: front::supervisor(config, &without, &life, &metrics),
        budget: if has(Pattern::TimeoutBudget) { TimeoutBudget::On } else { TimeoutBudget::Off },
        order_budget: config.order_budget,
        page_budget: config.front.page_budget,
        event_budget: config.front.page_budget,
        report_budget: config.storage.report.budget,
        started: Instant::now(),
        store,
        upstreams,
        metrics,
        life,
        without,
    }
}
