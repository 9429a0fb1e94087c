//! `/v1/leases`. Neighbours: `registry::leases` does it, `wire::lease` has the shapes.
//!
//! PUT renews, with or without a new time to live; DELETE answers which faults went with the lease.
//! Invariant: a handler only translates; every rule is the registry's.

use super::{
    Api, ApiError, Named,
    body::{Json, MaybeJson},
    created,
};
use crate::registry::Caller;
use axum::{extract::State, response::Response};
use squall_wire::{Healed, Lease, LeaseId, LeaseList, LeaseRenewal, LeaseRequest};
use std::sync::Arc;

pub(super) async fn list(State(api): State<Arc<Api>>) -> axum::Json<LeaseList> {
    axum::Json(LeaseList { leases: api.registry.leases().await })
}

pub(super) async fn create(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Json(request): Json<LeaseRequest>,
) -> Result<Response, ApiError> {
    let lease = api.change(|registry| async move { registry.take_lease(request, &caller).await }).await?;
    Ok(created(format!("/v1/leases/{}", lease.id), lease))
}

pub(super) async fn show(
    State(api): State<Arc<Api>>,
    Named(id): Named<LeaseId>,
) -> Result<axum::Json<Lease>, ApiError> {
    Ok(axum::Json(api.registry.lease(&id).await?))
}

pub(super) async fn renew(
    State(api): State<Arc<Api>>,
    Named(id): Named<LeaseId>,
    caller: Caller,
    MaybeJson(renewal): MaybeJson<LeaseRenewal>,
) -> Result<axum::Json<Lease>, ApiError> {
    let lease = api.change(|registry| async move { registry.renew_lease(&id, renewal, &caller).await }).await?;
    Ok(axum::Json(lease))
}

pub(super) async fn delete(
    State(api): State<Arc<Api>>,
    Named(id): Named<LeaseId>,
    caller: Caller,
) -> Result<axum::Json<Healed>, ApiError> {
    Ok(axum::Json(api.change(|registry| async move { registry.end_lease(&id, &caller).await }).await?))
}
