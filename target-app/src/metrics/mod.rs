//! What the shop counts, under the names in the documentation, one registry a shop.
//!
//! Neighbours: the patterns and `upstream.rs` count through the methods here, `api/observe.rs` does RED per route and
//! serves the text. What changes by itself (pools, caches) is read when the text is asked for.
//!
//! Invariant: no global state, so several shops live in one process; label values come from fixed lists, so the
//! number of series is bounded.

mod front;

use crate::storage_metrics::StorageMetrics;
pub(crate) use front::FrontMetrics;
use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};
use std::{sync::Arc, time::Duration};

/// The content type of the text.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Operation {
    service: &'static str,
    operation: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Transition {
    service: &'static str,
    operation: &'static str,
    to: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Service {
    service: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Retried {
    service: &'static str,
    operation: &'static str,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    service: &'static str,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    service: &'static str,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Part {
    part: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Pool {
    pool: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Undo {
    what: &'static str,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    method: &'static str,
    route: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answer {
    method: &'static str,
    route: String,
    status: u16,
}

fn latency() -> Histogram {
    // 1 ms to 16 s, each bucket twice the last.
    Histogram::new(exponential_buckets(0.001, 2.0, 15))
}

type Latencies<L> = Family<L, Histogram, fn() -> Histogram>;

/// All counters of one shop.
pub(crate) struct Metrics {
    registry: Registry,
    breaker_state: Family<Operation, Gauge>,
    breaker_changes: Family<Transition, Counter>,
    retries: Family<Retried, Counter>,
    shed: Family<Reason, Counter>,
    degraded: Family<Part, Counter>,
    cache: Family<Outcome, Counter>,
    cache_entries: Family<Part, Gauge>,
    pool_in_use: Family<Pool, Gauge>,
    pool_size: Family<Pool, Gauge>,
    calls: Family<Outcome, Counter>,
    call_time: Latencies<Service>,
    requests: Family<Answer, Counter>,
    request_time: Latencies<Route>,
    compensations: Family<Undo, Counter>,
    idempotent: Family<Outcome, Counter>,
    pub(crate) front: FrontMetrics,
    pub(crate) storage: StorageMetrics,
}

impl Metrics {
    pub(crate) fn new() -> Arc<Self> {
        let mut registry = Registry::default();
        let storage = StorageMetrics::new(&mut registry);
        let mut metrics = Self {
            registry,
            storage,
            breaker_state: Family::default(),
            breaker_changes: Family::default(),
            retries: Family::default(),
            shed: Family::default(),
            degraded: Family::default(),
            cache: Family::default(),
            cache_entries: Family::default(),
            pool_in_use: Family::default(),
            pool_size: Family::default(),
            calls: Family::default(),
            call_time: Family::new_with_constructor(latency),
            requests: Family::default(),
            request_time: Family::new_with_constructor(latency),
            compensations: Family::default(),
            idempotent: Family::default(),
            front: FrontMetrics::new(),
        };
        metrics.register();
        metrics.zero();
        Arc::new(metrics)
    }

    fn register(&mut self) {
        let r = &mut self.registry;
        r.register("circuit_breaker_state", "0 closed, 1 half-open, 2 open", self.breaker_state.clone());
        r.register("circuit_breaker_transitions", "Changes of a breaker's state", self.breaker_changes.clone());
        r.register("retry_attempts", "Retries, and those that the budget refused", self.retries.clone());
        r.register("load_shed", "Requests and calls refused to protect the rest", self.shed.clone());
        r.register("degradation_events", "Answers without an optional part", self.degraded.clone());
        r.register("failover_cache", "Values served fresh or stale, or not at all", self.cache.clone());
        r.register("failover_cache_entries", "Last known values held", self.cache_entries.clone());
        r.register("pool_in_use", "Permits of a pool that are taken", self.pool_in_use.clone());
        r.register("pool_size", "Permits of a pool", self.pool_size.clone());
        r.register("dependency_calls", "Tries of calls to dependencies", self.calls.clone());
        r.register("dependency_call_duration_seconds", "Time of a try", self.call_time.clone());
        r.register("http_requests", "Requests answered", self.requests.clone());
        r.register("http_request_duration_seconds", "Time to the answer", self.request_time.clone());
        r.register("compensations", "Steps of failed orders that were undone", self.compensations.clone());
        r.register("idempotency", "Orders by what their key was", self.idempotent.clone());
        self.front.register(r);
    }

    /// Series that a probe asks for before their first event begin at zero.
    fn zero(&self) {
        for part in ["recommendations", "reviews", "facets"] {
            self.degraded.get_or_create_owned(&Part { part });
        }
        for reason in crate::door::REASONS {
            self.shed.get_or_create_owned(&Reason { service: "shop", reason });
        }
        self.front.zero();
    }

    pub(crate) fn breaker(&self, service: &'static str, operation: &'static str, to: &'static str, value: i64) {
        let changes = self.breaker_changes.get_or_create_owned(&Transition { service, operation, to });
        if self.breaker_state.get_or_create(&Operation { service, operation }).set(value) != value {
            changes.inc();
        }
    }

    pub(crate) fn retry(&self, service: &'static str, operation: &'static str, result: &'static str) {
        self.retries.get_or_create(&Retried { service, operation, result }).inc();
    }

    pub(crate) fn shed(&self, service: &'static str, reason: &'static str) {
        self.shed.get_or_create(&Reason { service, reason }).inc();
    }

    pub(crate) fn degraded(&self, part: &'static str) {
        self.degraded.get_or_create(&Part { part }).inc();
    }

    pub(crate) fn cache(&self, service: &'static str, result: &'static str) {
        self.cache.get_or_create(&Outcome { service, result }).inc();
    }

    pub(crate) fn cache_entries(&self, part: &'static str, entries: u64) {
        self.cache_entries.get_or_create(&Part { part }).set(entries.cast_signed());
    }

    pub(crate) fn pool(&self, pool: &'static str, in_use: usize, size: usize) {
        // Pools are far smaller than i64.
        self.pool_in_use.get_or_create(&Pool { pool }).set(in_use as i64);
        self.pool_size.get_or_create(&Pool { pool }).set(size as i64);
    }

    pub(crate) fn call(&self, service: &'static str, result: &'static str, took: Duration) {
        self.calls.get_or_create(&Outcome { service, result }).inc();
        self.call_time.get_or_create(&Service { service }).observe(took.as_secs_f64());
    }

    pub(crate) fn request(&self, method: &'static str, route: &str, status: u16, took: Duration) {
        self.requests.get_or_create(&Answer { method, route: route.to_owned(), status }).inc();
        self.request_time.get_or_create(&Route { method, route: route.to_owned() }).observe(took.as_secs_f64());
    }

    pub(crate) fn compensation(&self, what: &'static str, result: &'static str) {
        self.compensations.get_or_create(&Undo { what, result }).inc();
    }

    pub(crate) fn idempotency(&self, result: &'static str) {
        self.idempotent.get_or_create(&Outcome { service: "shop", result }).inc();
    }

    /// The text that a scraper reads.
    pub(crate) fn encode(&self) -> String {
        let mut text = String::with_capacity(8 * 1024);
        match text::encode(&mut text, &self.registry) {
            Ok(()) => text,
            // Writing to a String does not fail; if a label ever refused to be written, a scraper should see it.
            Err(error) => format!("# failed to encode the metrics: {error}\n"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Metrics;

    #[test]
    fn names_are_those_of_the_documentation() {
        let metrics = Metrics::new();
        metrics.breaker("payment", "charges", "open", 2);
        metrics.retry("inventory", "reservations", "success");
        metrics.cache("reviews", "stale");
        let text = metrics.encode();
        for line in [
            r#"circuit_breaker_state{service="payment",operation="charges"} 2"#,
            r#"retry_attempts_total{service="inventory",operation="reservations",result="success"} 1"#,
            r#"load_shed_total{service="shop",reason="slots"} 0"#,
            r#"degradation_events_total{part="reviews"} 0"#,
            r#"failover_cache_total{service="reviews",result="stale"} 1"#,
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
