//! What the agent says of itself: `/v1/agent`, `/metrics`, `/health/*`.
//!
//! Neighbours: `metrics` has the series, `agent` says when it is ready.
//! Invariant: health is answered without the registry's lock, so it answers when nothing else does.

use super::Api;
use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use serde_json::json;
use squall_wire::{AgentInfo, FaultKind};
use std::sync::{Arc, atomic::Ordering};

pub(super) async fn agent(State(api): State<Arc<Api>>) -> axum::Json<AgentInfo> {
    let (max_fault_duration, max_lease) = api.config.limits();
    let unavailable = crate::fault::unavailable_kinds();
    axum::Json(AgentInfo {
        name: api.config.name.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        commit: option_env!("SQUALL_COMMIT").map(str::to_owned),
        instance: api.instance.clone(),
        labels: api.config.labels.clone(),
        uptime: crate::registry::to_the_milli(api.started.elapsed()),
        max_fault_duration,
        max_lease,
        faults: FaultKind::CATALOGUE
            .iter()
            .map(|kind| kind.name.to_owned())
            .filter(|kind| !unavailable.contains_key(kind))
            .collect(),
        unavailable,
        policy: api.config.policy.info(),
        halt: api.registry.halt_info().await.halt,
    })
}

pub(super) async fn metrics(State(api): State<Arc<Api>>) -> Response {
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let overview = api.registry.overview().await;
    match api.metrics.scrape(&api.config.name, api.started.elapsed(), overview, api.config.toxiproxy) {
        Ok(text) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "failed to encode the metrics");
            super::ApiError::bug().into_response()
        }
    }
}

pub(super) async fn live() -> axum::Json<serde_json::Value> {
    axum::Json(json!({ "status": "live" }))
}

pub(super) async fn ready(State(api): State<Arc<Api>>) -> Response {
    if api.ready.load(Ordering::Relaxed) {
        axum::Json(json!({ "status": "ready" })).into_response()
    } else {
        super::ApiError::from(crate::registry::Refusal::Closed).into_response()
    }
}
