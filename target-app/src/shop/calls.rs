//! How a shop calls its dependencies: one `Upstream` each, with the patterns that are on.

use crate::{
    config::{Origin, ShopConfig},
    dependency::DependencyKind::{self, Facets, Inventory, Payment, Recommendations, Reviews},
    error::ShopError,
    http_client::HttpClient,
    metrics::Metrics,
    pattern::{Pattern, Without},
    resilience::{
        bulkhead::Bulkhead, circuit_breaker::CircuitBreaker, retry::Retry, retry_budget::RetryBudget,
        timeout_budget::OrderShares,
    },
    upstream::Upstream,
};
use std::{collections::BTreeMap, sync::Arc};

/// Every dependency.
pub(super) type Upstreams = BTreeMap<DependencyKind, Arc<Upstream>>;

pub(super) fn upstreams(
    config: &ShopConfig,
    without: &Without,
    metrics: &Arc<Metrics>,
) -> Result<Upstreams, ShopError> {
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
        Recommendations | Reviews | Facets => ("get", config.front.optional_share),
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
