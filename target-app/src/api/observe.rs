//! Counts each request by its route (rate, errors, duration), and serves the metrics.
//!
//! Invariant: labels are routes and known methods, never what a client made up, so the series are bounded.

use super::{App, Shared};
use crate::{error::RequestError, metrics::CONTENT_TYPE, pattern::Pattern, resilience::timeout_advice::TimeoutAdvice};
use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderValue, Method, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use std::time::Duration;
use tokio::time::Instant;

pub(super) async fn count(State(app): Shared, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let method = method_label(request.method());
    let mut response = next.run(request).await;
    if app.life.is_leaving() {
        // Kept connections go elsewhere before this process refuses them.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if app.without.has(Pattern::Metrics) {
        let route = route.as_ref().map_or("none", MatchedPath::as_str);
        app.metrics.request(method, route, response.status().as_u16(), begun.elapsed());
    }
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
    if !app.without.has(Pattern::Metrics) {
        return RequestError::NotFound("metrics are switched off".to_owned()).into_response();
    }
    app.measure();
    for (pool, (in_use, size)) in app.pools() {
        app.metrics.pool(pool, in_use, size);
    }
    app.metrics.cache_entries("recommendations", app.pages.known_recommendations.entries());
    app.metrics.cache_entries("reviews", app.pages.known_reviews.entries());
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], app.metrics.encode()).into_response()
}

impl App {
    /// What changes by itself is read when it is asked for.
    fn measure(&self) {
        let (_, limit, waiting) = self.door.usage();
        let front = &self.metrics.front;
        front.door(limit, waiting);
        front.read_memory();
        if let Some(flags) = &self.flags {
            flags.measure();
        }
        for upstream in self.upstreams.values() {
            for endpoint in upstream.endpoints() {
                if let Some(advice) = endpoint.advice.as_ref().and_then(TimeoutAdvice::advice) {
                    let timeout = Duration::from_secs_f64(advice.timeout_ms / 1e3);
                    front.advice(upstream.service, endpoint.operation, timeout);
                }
            }
        }
    }

    /// Each pool's permits in use, and its size. Without bulkheads, each dependency shows the common pool.
    pub(super) fn pools(&self) -> Vec<(&'static str, (usize, usize))> {
        let upstreams = self.upstreams.values().map(|u| (u.service, (u.bulkhead.in_use(), u.bulkhead.size())));
        let (running, limit, _) = self.door.usage();
        let own = [("database", self.store.usage()), ("requests", (running, limit))];
        upstreams.chain(own).collect()
    }
}
