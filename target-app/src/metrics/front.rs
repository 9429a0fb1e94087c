//! What the shop counts about requests at its door, its workers, and what was switched by hand.
//!
//! Neighbours: `mod.rs` registers it beside the rest; label values come from fixed lists here too.

use super::Operation;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};
use std::{sync::atomic::AtomicU64, time::Duration};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Worker {
    worker: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Limiter {
    limiter: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Flag {
    flag: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Injection {
    operation: &'static str,
    kind: &'static str,
}

fn recovery() -> Histogram {
    // 0.1 s to 7 min, each bucket twice the last: an outage is longer than a request.
    Histogram::new(exponential_buckets(0.1, 2.0, 13))
}

type Ratio = Gauge<f64, AtomicU64>;

/// A part of `Metrics`.
pub(crate) struct FrontMetrics {
    recovery: Family<Operation, Histogram, fn() -> Histogram>,
    restarts: Family<Worker, Counter>,
    workers: Family<Worker, Gauge>,
    limited: Family<Limiter, Counter>,
    clients: Gauge,
    concurrency_limit: Gauge,
    queue_depth: Gauge,
    cpu: Ratio,
    advice: Family<Operation, Ratio>,
    chaos: Family<Injection, Counter>,
    degraded: Gauge,
    flags: Family<Flag, Gauge>,
    memory: Gauge,
}

impl FrontMetrics {
    pub(super) fn new() -> Self {
        Self {
            recovery: Family::new_with_constructor(recovery),
            restarts: Family::default(),
            workers: Family::default(),
            limited: Family::default(),
            clients: Gauge::default(),
            concurrency_limit: Gauge::default(),
            queue_depth: Gauge::default(),
            cpu: Gauge::default(),
            advice: Family::default(),
            chaos: Family::default(),
            degraded: Gauge::default(),
            flags: Family::default(),
            memory: Gauge::default(),
        }
    }

    pub(super) fn register(&self, r: &mut Registry) {
        r.register("recovery_time_seconds", "From a breaker's opening to its closing", self.recovery.clone());
        r.register("worker_restarts", "Crashed workers that were started again", self.restarts.clone());
        r.register("worker_up", "Whether a worker runs", self.workers.clone());
        r.register("rate_limited", "Requests and calls refused or held up by a rate limit", self.limited.clone());
        r.register("rate_limit_clients", "Clients that a limit is kept for", self.clients.clone());
        r.register("concurrency_limit", "Requests that may be worked on at a time", self.concurrency_limit.clone());
        r.register("request_queue_depth", "Requests waiting for a slot", self.queue_depth.clone());
        r.register("cpu_use_ratio", "CPU that the process uses, as a share of all", self.cpu.clone());
        r.register("timeout_advice_seconds", "The time-out that measured latencies suggest", self.advice.clone());
        r.register("chaos_injections", "What in-process chaos did", self.chaos.clone());
        r.register("degraded_mode", "1 when optional parts are left out by order", self.degraded.clone());
        r.register("feature_flag", "1 when the feature is shown, 0 when its fallback is", self.flags.clone());
        r.register("process_resident_memory_bytes", "Memory of the process", self.memory.clone());
    }

    /// Series that a probe asks for before their first event begin at zero.
    pub(super) fn zero(&self) {
        for limiter in ["client", "orders", "payment", "admin"] {
            self.limited.get_or_create_owned(&Limiter { limiter });
        }
    }

    pub(crate) fn recovered(&self, service: &'static str, operation: &'static str, took: Duration) {
        self.recovery.get_or_create(&Operation { service, operation }).observe(took.as_secs_f64());
    }

    pub(crate) fn restarted(&self, worker: &'static str) {
        self.restarts.get_or_create(&Worker { worker }).inc();
    }

    pub(crate) fn worker(&self, worker: &'static str, up: bool) {
        self.restarts.get_or_create_owned(&Worker { worker });
        self.workers.get_or_create(&Worker { worker }).set(i64::from(up));
    }

    pub(crate) fn limited(&self, limiter: &'static str) {
        self.limited.get_or_create(&Limiter { limiter }).inc();
    }

    pub(crate) fn clients(&self, count: usize) {
        self.clients.set(count as i64);
    }

    pub(crate) fn door(&self, limit: usize, waiting: usize) {
        self.concurrency_limit.set(limit as i64);
        self.queue_depth.set(waiting as i64);
    }

    pub(crate) fn cpu(&self, share: f64) {
        self.cpu.set(share);
    }

    pub(crate) fn advice(&self, service: &'static str, operation: &'static str, timeout: Duration) {
        self.advice.get_or_create(&Operation { service, operation }).set(timeout.as_secs_f64());
    }

    pub(crate) fn chaos(&self, operation: &'static str, kind: &'static str) {
        self.chaos.get_or_create(&Injection { operation, kind }).inc();
    }

    pub(crate) fn degraded(&self, on: bool) {
        self.degraded.set(i64::from(on));
    }

    pub(crate) fn flag(&self, flag: &'static str, on: bool) {
        self.flags.get_or_create(&Flag { flag }).set(i64::from(on));
    }

    /// Reads how much memory the process has; 0 where the system does not tell.
    pub(crate) fn read_memory(&self) {
        let pages = std::fs::read_to_string("/proc/self/statm").ok();
        let resident = pages.and_then(|text| text.split_whitespace().nth(1)?.parse::<i64>().ok());
        self.memory.set(resident.unwrap_or(0) * rustix::param::page_size() as i64);
    }
}
