//! `/proxies/{proxy}/toxics` and `/proxies/{proxy}/toxics/{toxic}`, as Toxiproxy answers them.
//!
//! Neighbours: `crate::toxiproxy` has the shapes, `registry::toxics` does it.
//! Invariant: a handler only translates; every rule is the registry's.

use super::{Api, Asker, Body, ToxiproxyError, proxy_named};
use crate::{
    registry::Refusal,
    toxiproxy::{ToxicInput, ToxicPatch, ToxicView},
};
use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use std::sync::Arc;

pub(super) async fn list(
    State(api): State<Arc<Api>>,
    Path(proxy): Path<String>,
) -> Result<Json<Vec<ToxicView>>, ToxiproxyError> {
    Ok(Json(api.registry.proxy_view(&proxy_named(&proxy)?).await?.toxics))
}

pub(super) async fn create(
    State(api): State<Arc<Api>>,
    Path(proxy): Path<String>,
    Asker(caller): Asker,
    body: Result<Body<ToxicInput>, ToxiproxyError>,
) -> Result<Json<ToxicView>, ToxiproxyError> {
    let proxy = proxy_named(&proxy)?;
    // A proxy that is not there is told before a body that is wrong, as in Toxiproxy.
    api.registry.proxy(&proxy).await?;
    let Body(input) = body?;
    let toxic = input.parsed()?;
    let view = api.toxiproxy(|registry| async move { registry.add_toxic(&proxy, toxic, &caller).await }).await?;
    Ok(Json(view))
}

pub(super) async fn show(
    State(api): State<Arc<Api>>,
    Path((proxy, toxic)): Path<(String, String)>,
) -> Result<Json<ToxicView>, ToxiproxyError> {
    let view = api.registry.proxy_view(&proxy_named(&proxy)?).await?;
    let found = view.toxics.into_iter().find(|view| view.name == toxic);
    Ok(Json(found.ok_or(Refusal::NoToxic)?))
}

pub(super) async fn change(
    State(api): State<Arc<Api>>,
    Path((proxy, toxic)): Path<(String, String)>,
    Asker(caller): Asker,
    Body(patch): Body<ToxicPatch>,
) -> Result<Json<ToxicView>, ToxiproxyError> {
    let proxy = proxy_named(&proxy)?;
    let change = |registry: Arc<crate::registry::Registry>| async move {
        registry.change_toxic(&proxy, &toxic, &patch, &caller).await
    };
    Ok(Json(api.toxiproxy(change).await?))
}

pub(super) async fn delete(
    State(api): State<Arc<Api>>,
    Path((proxy, toxic)): Path<(String, String)>,
    Asker(caller): Asker,
) -> Result<StatusCode, ToxiproxyError> {
    let proxy = proxy_named(&proxy)?;
    let change =
        |registry: Arc<crate::registry::Registry>| async move { registry.remove_toxic(&proxy, &toxic, &caller).await };
    api.toxiproxy(change).await?;
    Ok(StatusCode::NO_CONTENT)
}
