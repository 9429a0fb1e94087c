//! `/v1/proxies/{proxy}/faults`, and `DELETE /v1/faults`, which heals everything.
//!
//! Neighbours: `registry::faults` does it, `wire::fault` has the shapes and the rules between fields.
//! Invariant: a handler only translates; every rule is the registry's.

use super::{Api, ApiError, Named, body::Json, created};
use crate::registry::Caller;
use axum::{
    extract::{RawQuery, State},
    response::Response,
};
use squall_wire::{FaultInfo, FaultList, FaultName, FaultPatch, FaultSpec, Healed, ProxyName};
use std::sync::Arc;

pub(super) async fn list(
    State(api): State<Arc<Api>>,
    Named(proxy): Named<ProxyName>,
) -> Result<axum::Json<FaultList>, ApiError> {
    Ok(axum::Json(FaultList { faults: api.registry.faults(&proxy).await? }))
}

pub(super) async fn create(
    State(api): State<Arc<Api>>,
    Named(proxy): Named<ProxyName>,
    caller: Caller,
    Json(spec): Json<FaultSpec>,
) -> Result<Response, ApiError> {
    let name = proxy.clone();
    let info = api.change(|registry| async move { registry.set_fault(&name, spec, &caller).await }).await?;
    Ok(created(format!("/v1/proxies/{proxy}/faults/{}", info.name), info))
}

pub(super) async fn show(
    State(api): State<Arc<Api>>,
    Named((proxy, fault)): Named<(ProxyName, FaultName)>,
) -> Result<axum::Json<FaultInfo>, ApiError> {
    Ok(axum::Json(api.registry.fault(&proxy, &fault).await?))
}

pub(super) async fn patch(
    State(api): State<Arc<Api>>,
    Named((proxy, fault)): Named<(ProxyName, FaultName)>,
    caller: Caller,
    Json(patch): Json<FaultPatch>,
) -> Result<axum::Json<FaultInfo>, ApiError> {
    let change = |registry: Arc<crate::registry::Registry>| async move {
        registry.patch_fault(&proxy, &fault, patch, &caller).await
    };
    Ok(axum::Json(api.change(change).await?))
}

pub(super) async fn delete(
    State(api): State<Arc<Api>>,
    Named((proxy, fault)): Named<(ProxyName, FaultName)>,
    caller: Caller,
) -> Result<axum::Json<Healed>, ApiError> {
    let change =
        |registry: Arc<crate::registry::Registry>| async move { registry.remove_fault(&proxy, &fault, &caller).await };
    Ok(axum::Json(api.change(change).await?))
}

pub(super) async fn heal_all(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
    caller: Caller,
) -> Result<axum::Json<Healed>, ApiError> {
    // Whoever narrows it down would not expect that everything goes.
    if let Some(query) = query.filter(|query| !query.is_empty()) {
        let message = format!("this heals every proxy, and takes no `?{query}`");
        let hint = "DELETE /v1/proxies/{proxy}/faults/{fault} removes one fault".to_owned();
        return Err(ApiError::bad_body(message, None, Some(hint)));
    }
    Ok(axum::Json(api.change(|registry| async move { registry.heal_all(&caller).await }).await?))
}
