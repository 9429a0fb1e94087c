//! What a shop is made of on the database's side: pages, orders, compensation, and the caches beside the pages.

use crate::{
    config::ShopConfig,
    dependency::DependencyKind::{self, Facets, Inventory, Payment, Recommendations, Reviews},
    error::ShopError,
    events::Events,
    metrics::Metrics,
    orders::Orders,
    pages::Pages,
    pattern::{Pattern, Without},
    reports::Reports,
    resilience::{
        compensation::{Compensation, Compensator},
        degradation::Degradation,
        failover_cache::FailoverCache,
        fan_out::FanOut,
        feature_flags::FeatureFlags,
        idempotency::InFlight,
        migrations::Migrations,
        pipeline::Pipeline,
        timeout_budget::OrderShares,
    },
    shop::{background::Background, calls::Upstreams},
    store::{DatabaseConfig, Schema, Store},
};
use std::sync::Arc;

/// Opens the database, unless its orders table is in a step in which this shop cannot run.
pub(super) async fn open(config: &ShopConfig, without: &Without) -> Result<Arc<Store>, ShopError> {
    let mut database: DatabaseConfig = config.storage.database.clone();
    if !without.has(Pattern::TimeoutBudget) {
        database.statement_limit = None;
    }
    let migrates = without.has(Pattern::Migrations);
    if !migrates && database.schema == Schema::Both {
        database.schema = Schema::New;
    }
    let name = || database.url.as_ref().map_or_else(|| "in a temporary file".to_owned(), ToString::to_string);
    let store = Store::open(&database).await.map_err(|source| ShopError::Database { database: name(), source })?;
    let refused = match database.schema {
        Schema::Old | Schema::Both if store.is_contracted().await => Some(format!(
            "the orders in {} were contracted, so a shop with `--schema {}` cannot run: use `--schema new`",
            name(),
            database.schema
        )),
        Schema::New if migrates => store.unmigrated().await.ok().filter(|rows| *rows > 0).map(|rows| {
            format!("{rows} orders in {} are not migrated: run `squall-shop migrate backfill` on it first", name())
        }),
        Schema::Old | Schema::Both | Schema::New => None,
    };
    match refused {
        Some(reason) => Err(ShopError::Schema(reason)),
        None => Ok(Arc::new(store)),
    }
}

pub(super) fn pages(
    config: &ShopConfig,
    without: &Without,
    metrics: &Arc<Metrics>,
    upstreams: &Upstreams,
    store: &Arc<Store>,
    flags: Option<&Arc<FeatureFlags>>,
) -> Pages {
    let upstream = |kind: DependencyKind| Arc::clone(&upstreams[&kind]);
    let degrades = without.has(Pattern::Degradation);
    Pages {
        store: Arc::clone(store),
        recommendations: upstream(Recommendations),
        reviews: upstream(Reviews),
        facets: upstream(Facets),
        known_recommendations: cache("recommendations", config, without, metrics),
        known_reviews: cache("reviews", config, without, metrics),
        degradation: if degrades { Degradation::On(Arc::clone(metrics)) } else { Degradation::Off },
        flags: flags.cloned(),
        optional_share: config.front.optional_share,
    }
}

pub(super) fn orders(
    config: &ShopConfig,
    without: &Without,
    metrics: &Arc<Metrics>,
    upstreams: &Upstreams,
    store: &Arc<Store>,
    background: &mut Background,
) -> Orders {
    let clone = || (Arc::clone(store), Arc::clone(metrics));
    let ends = |kind: DependencyKind| Arc::clone(&upstreams[&kind]);
    let compensation = if without.has(Pattern::Compensation) {
        let (store, metrics) = clone();
        let compensator = Compensator::new(ends(Inventory), ends(Payment), store, metrics);
        background.compensator = Some(Arc::clone(&compensator));
        Compensation::On(compensator)
    } else {
        Compensation::Off
    };
    if without.has(Pattern::SteadyState) {
        let (store, metrics) = clone();
        background.retention = Some((config.storage.retention, store, metrics));
    }
    // Only a shop that knows both shapes can turn one into the other.
    let migrations = if without.has(Pattern::Migrations) && config.storage.database.schema == Schema::Both {
        let (store, metrics) = clone();
        Migrations::On { store, metrics }
    } else {
        Migrations::Off
    };
    background.migrations = Some((migrations.clone(), config.storage.migration));
    Orders {
        store: Arc::clone(store),
        inventory: Arc::clone(&upstreams[&Inventory]),
        payment: Arc::clone(&upstreams[&Payment]),
        compensation,
        migrations,
        shares: OrderShares::of(config.order_budget),
        in_flight: without.has(Pattern::Idempotency).then(InFlight::new),
        metrics: Arc::clone(metrics),
    }
}

pub(super) fn events(
    config: &ShopConfig,
    without: &Without,
    metrics: &Arc<Metrics>,
    store: &Arc<Store>,
    background: &mut Background,
) -> Events {
    let (store, metrics) = (Arc::clone(store), Arc::clone(metrics));
    if without.has(Pattern::MicroBatching) {
        let (events, writer) = Events::batched(config.storage.events, store, metrics);
        background.events = Some(writer);
        events
    } else {
        Events::Single { store, metrics }
    }
}

pub(super) fn reports(
    config: &ShopConfig,
    without: &Without,
    metrics: &Arc<Metrics>,
    upstreams: &Upstreams,
    store: &Arc<Store>,
) -> Reports {
    let report = config.storage.report;
    let has = |pattern| without.has(pattern);
    Reports {
        store: Arc::clone(store),
        reviews: Arc::clone(&upstreams[&Reviews]),
        pipeline: if has(Pattern::Pipeline) { Pipeline::On { capacity: report.capacity } } else { Pipeline::Off },
        fan_out: if has(Pattern::FanOut) { FanOut::On { workers: report.workers } } else { FanOut::Off },
        page: report.page,
        metrics: Arc::clone(metrics),
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
