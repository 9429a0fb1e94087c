//! `/v1/proxies`. Neighbours: `registry::proxies` does it, `wire::proxy` has the shapes.
//!
//! PUT is idempotent: 201 for a new proxy, 200 for one that was there; one that is so already is not disturbed.
//! Invariant: a handler only translates; every rule is the registry's.

use super::{Api, ApiError, Named, body::Json, created};
use crate::registry::{Caller, Refusal};
use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use squall_wire::{ProxyInfo, ProxyList, ProxyName, ProxyPatch, ProxySpec};
use std::sync::Arc;

pub(super) async fn list(State(api): State<Arc<Api>>) -> axum::Json<ProxyList> {
    axum::Json(ProxyList { proxies: api.registry.proxies().await })
}

pub(super) async fn create(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Json(spec): Json<ProxySpec>,
) -> Result<Response, ApiError> {
    let info = api.change(|registry| async move { registry.create_proxy(spec, &caller).await }).await?;
    Ok(created(format!("/v1/proxies/{}", info.name), info))
}

pub(super) async fn show(
    State(api): State<Arc<Api>>,
    Named(name): Named<ProxyName>,
) -> Result<axum::Json<ProxyInfo>, ApiError> {
    Ok(axum::Json(api.registry.proxy(&name).await?))
}

pub(super) async fn put(
    State(api): State<Arc<Api>>,
    Named(name): Named<ProxyName>,
    caller: Caller,
    Json(spec): Json<ProxySpec>,
) -> Result<Response, ApiError> {
    if spec.name != name {
        let message = format!("the path names `{name}` and the body `{}`: a proxy keeps its name", spec.name);
        return Err(Refusal::invalid("name", message).into());
    }
    let (info, new) = api.change(|registry| async move { registry.put_proxy(spec, &caller).await }).await?;
    if new { Ok(created(format!("/v1/proxies/{name}"), info)) } else { Ok(axum::Json(info).into_response()) }
}

pub(super) async fn patch(
    State(api): State<Arc<Api>>,
    Named(name): Named<ProxyName>,
    caller: Caller,
    Json(patch): Json<ProxyPatch>,
) -> Result<axum::Json<ProxyInfo>, ApiError> {
    let info = api.change(|registry| async move { registry.patch_proxy(&name, patch, &caller).await }).await?;
    Ok(axum::Json(info))
}

pub(super) async fn delete(
    State(api): State<Arc<Api>>,
    Named(name): Named<ProxyName>,
    caller: Caller,
) -> Result<StatusCode, ApiError> {
    api.change(|registry| async move { registry.delete_proxy(&name, &caller).await }).await?;
    Ok(StatusCode::NO_CONTENT)
}
