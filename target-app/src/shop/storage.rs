//! What a shop is made of on the database's side: pages, orders, compensation, and the caches beside the pages.

use crate::{
    compensation::Compensator,
    config::ShopConfig,
    dependency::DependencyKind::{self, Facets, Inventory, Payment, Recommendations, Reviews},
    metrics::Metrics,
    orders::Orders,
    pages::Pages,
    pattern::{Pattern, Without},
    resilience::{
        degradation::Degradation, failover_cache::FailoverCache, feature_flags::FeatureFlags, idempotency::InFlight,
        timeout_budget::OrderShares,
    },
    shop::calls::Upstreams,
    store::Store,
};
use std::sync::Arc;

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
    compensator: &Arc<Compensator>,
) -> Orders {
    Orders {
        store: Arc::clone(store),
        inventory: Arc::clone(&upstreams[&Inventory]),
        payment: Arc::clone(&upstreams[&Payment]),
        compensator: Arc::clone(compensator),
        shares: OrderShares::of(config.order_budget),
        in_flight: without.has(Pattern::Idempotency).then(InFlight::new),
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
