//! Setting, changing and healing faults on a proxy, and waiting for its counters: what every rig can.
//!
//! Neighbours: `common`, `tls_support` and `udp_support` have the rigs, each of which is one of these.
//! Invariant: whatever waits here has a limit.

// Each test binary uses some of it.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use squall_agent::{ActiveFault, Proxy};
use squall_wire::{FaultKind, FaultSpec, Protocol, ProxyCounters};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// Far above what anything in these tests takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A proxy that is hurt.
pub(crate) struct Hurt {
    pub(crate) proxy: Proxy,
    /// Whether it is one for datagrams.
    pub(crate) datagrams: bool,
}

impl Hurt {
    /// Sets a fault, given as JSON.
    pub(crate) async fn fault(&self, json: &str) -> Arc<ActiveFault> {
        let fault = fault(json, self.datagrams);
        self.proxy.add_fault(Arc::clone(&fault)).await.unwrap();
        fault
    }

    /// Changes the parameters of a fault, given as JSON.
    pub(crate) async fn change(&self, fault: &ActiveFault, kind: &str) {
        let kind: FaultKind = serde_json::from_str(kind).unwrap();
        self.proxy.change_fault(fault.name(), Some(kind), None).await.unwrap();
    }

    /// Removes a fault and answers what it had hit.
    pub(crate) async fn heal(&self, fault: &ActiveFault) -> Option<u64> {
        let removed = self.proxy.remove_faults(std::slice::from_ref(fault.name())).await.unwrap();
        assert_eq!(removed.len(), 1);
        removed[0].hits
    }

    /// Waits until the counters say so.
    pub(crate) async fn until(&self, holds: impl Fn(ProxyCounters) -> bool) {
        until(|| holds(self.proxy.counters()), || format!("{:?}", self.proxy.counters())).await;
    }
}

const HTTP_ONLY: [&str; 5] = ["http_status", "http_latency", "http_headers", "http_body", "http_unauthorized"];

/// A sound fault from JSON, its name made up.
pub(crate) fn fault(json: &str, datagrams: bool) -> Arc<ActiveFault> {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let spec: FaultSpec = serde_json::from_str(json).unwrap();
    let of_requests = HTTP_ONLY.contains(&spec.fault.name()) || spec.only.names_requests();
    let protocol = match (datagrams, of_requests) {
        (true, _) => Protocol::Udp,
        (false, true) => Protocol::Http,
        (false, false) => Protocol::Tcp,
    };
    assert_eq!(spec.mistakes_on(protocol), [], "{json}");
    let number = NEXT.fetch_add(1, Relaxed);
    let name = spec.name.clone().unwrap_or_else(|| format!("f-{number}").parse().unwrap());
    ActiveFault::new(name, &spec, spec.seed.unwrap_or(1))
}

/// Waits until something holds that nobody tells of.
pub(crate) async fn until(holds: impl Fn() -> bool, told: impl Fn() -> String) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "{}", told());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Keeps the one thread of a test, on which the agent runs as well, from everything else: a worker that is late, made to order.
pub(crate) fn nobody_reads_for(span: Duration) {
    std::thread::sleep(span);
}
