//! Counts each request by its route (rate, errors, duration), and serves the metrics.
//!
//! Invariant: labels are routes and known methods, never what a client made up, so the series are bounded.

use super::{App, Shared};
use crate::metrics::CONTENT_TYPE;
use axum::{
    extract::{MatchedPath, Request, State},
    http::{Method, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use tokio::time::Instant;

pub(super) async fn count(State(app): Shared, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let method = method_label(request.method());
    let response = next.run(request).await;
    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    app.metrics.request(method, route, response.status().as_u16(), begun.elapsed());
    response
}

fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::HEAD => "HEAD",
        _ => "other",
    }
}

pub(super) async fn metrics(State(app): Shared) -> Response {
    for (pool, (in_use, size)) in app.pools() {
        app.metrics.pool(pool, in_use, size);
    }
    app.metrics.cache_entries("recommendations", app.pages.known_recommendations.entries());
    app.metrics.cache_entries("reviews", app.pages.known_reviews.entries());
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], app.metrics.encode()).into_response()
}

impl App {
    /// Each pool's permits in use, and its size. Without bulkheads, each dependency shows the common pool.
    pub(super) fn pools(&self) -> Vec<(&'static str, (usize, usize))> {
        let upstreams = self.upstreams.values().map(|u| (u.service, (u.bulkhead.in_use(), u.bulkhead.size())));
        let own = [("database", self.store.usage()), ("requests", (self.shedder.in_use(), self.shedder.size()))];
        upstreams.chain(own).collect()
    }
}
