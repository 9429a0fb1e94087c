//! What a shop is made of at the front: the door, the flags, the supervisor and its workers.

use super::calls::Upstreams;
use crate::{
    api::App,
    config::ShopConfig,
    dependency::DependencyKind,
    door::Door,
    metrics::Metrics,
    pattern::{Pattern, Without},
    resilience::{
        adaptive_concurrency::{Aimd, Limit},
        back_pressure::BackPressure,
        cpu_use::{self, CpuUse},
        feature_flags::{FeatureFlags, FlagCheck},
        graceful_shutdown::Lifecycle,
        supervision::{Importance, Supervisor},
    },
    server::{Limits, Over},
};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// Idle clients are looked for so often.
const EVICT_EVERY: Duration = Duration::from_secs(5);

pub(super) fn limits(config: &ShopConfig, without: &Without, metrics: &Arc<Metrics>) -> Limits {
    let metrics = Arc::clone(metrics);
    let over = if without.has(Pattern::LoadShedding) {
        Over::Refused(Arc::new(move || metrics.shed("shop", "connections")))
    } else {
        Over::Waits
    };
    Limits { connections: config.front.connections, over, requests_per_connection: 0 }
}

pub(super) fn door(config: &ShopConfig, without: &Without, metrics: &Arc<Metrics>) -> Arc<Door> {
    let front = &config.front;
    let limit = if without.has(Pattern::AdaptiveConcurrency) {
        Limit::Adaptive(Aimd::new(front.adaptive, front.request_slots, Instant::now()))
    } else {
        Limit::Fixed(front.request_slots)
    };
    let pressure =
        if without.has(Pattern::BackPressure) { BackPressure::On(front.back_pressure) } else { BackPressure::Off };
    let sheds = without.has(Pattern::LoadShedding);
    // Without shedding everybody stands in line: a short wait would be shedding by another name.
    let pressure = if sheds { pressure } else { BackPressure::Off };
    Door::new(limit, sheds.then_some(front.shedding), pressure, Arc::clone(metrics))
}

/// A flag for each optional part, which is well as long as its breaker lets calls pass.
pub(super) fn flags(upstreams: &Upstreams, metrics: &Arc<Metrics>) -> Arc<FeatureFlags> {
    let optional = [DependencyKind::Recommendations, DependencyKind::Reviews, DependencyKind::Facets];
    let checks = optional.map(|kind| {
        let upstream = Arc::clone(&upstreams[&kind]);
        let check: FlagCheck = Box::new(move || upstream.refuses().is_none());
        (kind.name(), check)
    });
    FeatureFlags::new(checks, Arc::clone(metrics))
}

pub(super) fn supervisor(
    config: &ShopConfig,
    without: &Without,
    life: &Lifecycle,
    metrics: &Arc<Metrics>,
) -> Arc<Supervisor> {
    let supervision = without.has(Pattern::LetItCrash).then_some(config.supervision);
    Supervisor::new(supervision, life.on_request(), Arc::clone(metrics))
}

/// Starts what runs beside the requests.
pub(super) fn start_workers(app: &Arc<App>) {
    if app.without.has(Pattern::LoadShedding) {
        let door = Arc::clone(&app.door);
        app.supervisor.start("cpu", Importance::Helpful, move |stop| {
            let door = Arc::clone(&door);
            async move {
                let mut cpu = CpuUse::new();
                while stop.run_until_cancelled(tokio::time::sleep(cpu_use::EVERY)).await.is_some() {
                    door.cpu_is(cpu.read());
                }
            }
        });
    }
    if app.limits.is_some() {
        let app_again = Arc::clone(app);
        app.supervisor.start("clients", Importance::Helpful, move |stop| {
            let app = Arc::clone(&app_again);
            async move {
                while stop.run_until_cancelled(tokio::time::sleep(EVICT_EVERY)).await.is_some() {
                    app.metrics.front.clients(app.limits.as_ref().map_or(0, |limits| limits.evict()));
                }
            }
        });
    }
}
