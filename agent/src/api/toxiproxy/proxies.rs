//! `/proxies`, `/proxies/{proxy}`, `/populate` and `/reset`, as Toxiproxy answers them.
//!
//! Neighbours: `crate::toxiproxy` has the shapes, `registry` does it.
//! Invariant: a handler only translates; every rule is the registry's.

use super::{Api, Asker, Body, ToxiproxyError, proxy_named};
use crate::toxiproxy::{Logger, ProxyChange, ProxyInput, ProxyView, listen_or, prepared};
use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use squall_wire::ProxyPatch;
use std::{collections::BTreeMap, sync::Arc};

/// What `populate` answers: an error is told beside what was done before it.
#[derive(Serialize)]
struct Populated {
    #[serde(flatten)]
    error: Option<ToxiproxyError>,
    /// `null` when there is none, as Toxiproxy has it.
    proxies: Option<Vec<ProxyView>>,
}

pub(super) async fn list(State(api): State<Arc<Api>>) -> Json<BTreeMap<String, ProxyView>> {
    let views = api.registry.proxy_views().await;
    Json(views.into_iter().map(|view| (view.name.to_string(), view)).collect())
}

pub(super) async fn create(
    State(api): State<Arc<Api>>,
    Asker(caller): Asker,
    Body(input): Body<ProxyInput>,
) -> Result<(StatusCode, Json<ProxyView>), ToxiproxyError> {
    let spec = input.spec(api.bound.ip(), "")?;
    let info = api.toxiproxy(|registry| async move { registry.create_proxy(spec, &caller).await }).await?;
    let view = ProxyView {
        name: info.name,
        listen: info.listen,
        upstream: info.upstream,
        enabled: info.enabled,
        logger: Logger {},
        toxics: Vec::new(),
    };
    Ok((StatusCode::CREATED, Json(view)))
}

pub(super) async fn show(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
) -> Result<Json<ProxyView>, ToxiproxyError> {
    Ok(Json(api.registry.proxy_view(&proxy_named(&name)?).await?))
}

pub(super) async fn change(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
    Asker(caller): Asker,
    Body(change): Body<ProxyChange>,
) -> Result<Json<ProxyView>, ToxiproxyError> {
    let name = proxy_named(&name)?;
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    let patch = ProxyPatch {
        listen: given(change.listen).map(|text| listen_or(Some(&text), api.bound.ip())),
        upstream: given(change.upstream),
        enabled: change.enabled,
    };
    let view = api.toxiproxy(|registry| async move { registry.change_proxy(&name, patch, &caller).await }).await?;
    Ok(Json(view))
}

pub(super) async fn delete(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
    Asker(caller): Asker,
) -> Result<StatusCode, ToxiproxyError> {
    let name = proxy_named(&name)?;
    api.toxiproxy(|registry| async move { registry.delete_proxy(&name, &caller).await }).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn populate(
    State(api): State<Arc<Api>>,
    Asker(caller): Asker,
    body: Result<Body<Option<Vec<ProxyInput>>>, ToxiproxyError>,
) -> Response {
    let outcome = async {
        let Body(list) = body?;
        let planned = prepared(&list.unwrap_or_default(), api.bound.ip())?;
        api.toxiproxy(|registry| async move { Ok(registry.populate(planned, &caller).await) }).await
    };
    let (done, error) = match outcome.await {
        Ok((done, refusal)) => (done, refusal.map(ToxiproxyError::from)),
        Err(error) => (Vec::new(), Some(error)),
    };
    let status = error.as_ref().map_or(StatusCode::CREATED, ToxiproxyError::status);
    (status, Json(Populated { error, proxies: Some(done).filter(|done| !done.is_empty()) })).into_response()
}

pub(super) async fn reset(State(api): State<Arc<Api>>, Asker(caller): Asker) -> Result<StatusCode, ToxiproxyError> {
    api.toxiproxy(|registry| async move { registry.reset(&caller).await }).await?;
    Ok(StatusCode::NO_CONTENT)
}
