//! `/v1/traffic`: what proxies saw since a mark, hit and spared apart, and a new mark.
//!
//! Neighbours: `crate::traffic` counts and remembers marks, `wire::traffic` has the shapes.
//! Invariant: a reading changes nothing but the marks, which are bounded.

use super::{Api, ApiError, query::Query};
use crate::{registry::Refusal, traffic::Since};
use axum::extract::State;
use serde::Deserialize;
use squall_wire::{Mark, ProxyName, Traffic, TrafficGroup};
use std::sync::Arc;

/// What may be asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    proxy: Option<String>,
    since: Option<Mark>,
    times: Option<bool>,
}

pub(super) async fn read(
    State(api): State<Arc<Api>>,
    Query(wanted): Query<Wanted>,
) -> Result<axum::Json<Traffic>, ApiError> {
    let proxies: Option<Vec<ProxyName>> = wanted.proxy.as_deref().map(named).transpose()?;
    let since = wanted.since.map_or(Since::Beginning, Since::Mark);
    let now = api.registry.traffic(proxies.as_deref()).await?;
    let mut traffic = api.marks.read(now, &since, proxies.is_none()).map_err(ApiError::from)?;
    for proxy in &mut traffic.proxies {
        // Those of both groups are all of them.
        without_times(&mut proxy.all);
        if !wanted.times.unwrap_or(false) {
            without_times(&mut proxy.hit);
            without_times(&mut proxy.spared);
        }
    }
    Ok(axum::Json(traffic))
}

fn without_times(group: &mut TrafficGroup) {
    let TrafficGroup { connect, first_byte, duration, requests, .. } = group;
    let of_requests = requests.iter_mut().flat_map(|requests| [&mut requests.first_byte, &mut requests.duration]);
    [connect, first_byte, duration].into_iter().chain(of_requests).for_each(|timing| timing.times = None);
}

/// Names with commas between them.
pub(super) fn named(list: &str) -> Result<Vec<ProxyName>, ApiError> {
    let name = |text: &str| text.parse().map_err(|error| Refusal::invalid("proxy", format!("{error}")).into());
    list.split(',').map(name).collect()
}
