//! `/v1/halt`, the big red switch. Neighbours: `registry::halt` does it, `wire::halt` has the shapes.
//!
//! Invariant: a handler only translates; every rule is the registry's.

use super::{Api, ApiError, body::Json};
use crate::registry::Caller;
use axum::extract::State;
use squall_wire::{HaltInfo, HaltRequest};
use std::sync::Arc;

pub(super) async fn show(State(api): State<Arc<Api>>) -> axum::Json<HaltInfo> {
    axum::Json(api.registry.halt_info().await)
}

pub(super) async fn halt(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Json(request): Json<HaltRequest>,
) -> Result<axum::Json<HaltInfo>, ApiError> {
    Ok(axum::Json(api.change(|registry| async move { registry.halt(request, &caller).await }).await?))
}

pub(super) async fn resume(State(api): State<Arc<Api>>, caller: Caller) -> Result<axum::Json<HaltInfo>, ApiError> {
    Ok(axum::Json(api.change(|registry| async move { registry.resume(&caller).await }).await?))
}
