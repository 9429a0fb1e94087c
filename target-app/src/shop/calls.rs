//! How a shop calls its dependencies: one `Upstream` each, with the patterns that are on.

use crate::{
    config::{Origin, ShopConfig},
    dependency::DependencyKind::{self, Facets, Inventory, Payment, Recommendations, Reviews},
    error::ShopError,
    http_client::HttpClient,
    metrics::Metrics,
    pattern::{Pattern, Without},
    resilience::{
        bulkhead::Bulkhead,
        circuit_breaker::{CircuitBreaker, State},
        leaky_bucket::LeakyBucket,
        retry::Retry,
        retry_budget::{RetryBudget, RetryBudgetConfig},
        timeout_advice::TimeoutAdvice,
        timeout_budget::OrderShares,
    },
    upstream::{Endpoint, Upstream},
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

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
    let (does, undoes, share) = match kind {
        Inventory => ("reservations", Some("releases"), shares.inventory),
        Payment => ("charges", Some("voids"), shares.payment),
        Recommendations | Reviews | Facets => ("get", None, config.front.optional_share),
    };
    let service = kind.name();
    let endpoint = |operation| Endpoint {
        operation,
        breaker: without.has(Pattern::CircuitBreaker).then(|| breaker(service, operation, config, metrics)),
        advice: without.has(Pattern::TimeoutAdvice).then(|| TimeoutAdvice::new(config.advice)),
    };
    let paced = kind == Payment && without.has(Pattern::RateLimiting);
    Upstream {
        service,
        does: endpoint(does),
        undoes: undoes.map(endpoint),
        client: HttpClient::new(service, origin, bulkhead.size()),
        retry: if without.has(Pattern::Retry) { Retry::On(config.retry) } else { Retry::Off },
        retry_budget: if without.has(Pattern::RetryBudget) {
            let RetryBudgetConfig { share, reserve, optional_reserve } = config.retry_budget;
            RetryBudget::new(share, if kind.is_critical() { reserve } else { optional_reserve })
        } else {
            RetryBudget::Off
        },
        pace: LeakyBucket::new(if paced { config.front.rate.payment } else { 0 }, config.bulkhead.wait),
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
    let told = move |state: State, recovered: Option<Duration>| {
        tracing::info!(service, operation, state = state.name(), ?recovered, "circuit breaker");
        metrics.breaker(service, operation, state.name(), state.gauge());
        if let Some(took) = recovered {
            metrics.front.recovered(service, operation, took);
        }
    };
    CircuitBreaker::new(config.breaker, Box::new(told))
}
