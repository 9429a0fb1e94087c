//! What stands between a request and its handler: its client's rate, the door, its deadline.
//!
//! A request's deadline begins when it comes, so the wait at the door is part of it. Neighbours: `resilience/rate_limiting.rs`
//! and `door.rs` decide, here is who is asked for which route.
//!
//! Invariant: a request that is refused has cost no dependency, no database and no body that was read.

use super::{App, Shared, answer::Answer};
use crate::{
    door::Refused,
    error::RequestError,
    resilience::{adaptive_concurrency, chaos, load_shedding::Priority, timeout_budget::Deadline},
    server::Peer,
};
use axum::{
    extract::{MatchedPath, Request, State},
    http::HeaderMap,
    middleware::Next,
    response::{IntoResponse, Response},
};
use std::time::Duration;

/// A caller may say that its request can wait; not that it is important.
const PRIORITY: &str = "x-priority";

/// What a request asks for, by the name that chaos has for it.
fn operation(request: &Request) -> Option<&'static str> {
    let route = request.extensions().get::<MatchedPath>()?;
    chaos::operation(request.method(), route.as_str())
}

fn priority(operation: Option<&'static str>, headers: &HeaderMap) -> Priority {
    let asked = headers.get(PRIORITY).and_then(|priority| priority.to_str().ok());
    match (operation, asked) {
        (_, Some("low")) | (Some("events" | "report"), _) => Priority::Low,
        (Some("place_order" | "find_order" | "webhook"), None) => Priority::High,
        (_, _) => Priority::Normal,
    }
}

impl App {
    fn budget_of(&self, operation: Option<&'static str>) -> Duration {
        match operation {
            Some("place_order") => self.order_budget,
            Some("report") => self.report_budget,
            Some("events" | "webhook") => self.event_budget,
            _ => self.page_budget,
        }
    }
}

/// Sends away who is over its rate.
pub(super) async fn limit(State(app): Shared, request: Request, next: Next) -> Response {
    let Some(limits) = &app.limits else { return next.run(request).await };
    let peer = request.extensions().get::<Peer>().map(|peer| peer.0.ip());
    let mut limited = limits.client(request.headers(), peer);
    if limited.is_ok() && operation(&request) == Some("place_order") {
        limited = limits.order().await;
    }
    match limited {
        Ok(()) => next.run(request).await,
        Err(limited) => {
            app.metrics.front.limited(limited.limiter);
            let (limiter, retry_after) = (limited.limiter, limited.retry_after);
            RequestError::Limited { limiter, retry_after }.into_response()
        }
    }
}

/// Gives a request its deadline and a slot, or sends it away before any work.
pub(super) async fn enter(State(app): Shared, mut request: Request, next: Next) -> Response {
    let operation = operation(&request);
    let priority = priority(operation, request.headers());
    let deadline = app.budget.deadline(app.budget_of(operation), request.headers());
    match app.door.enter(priority, deadline).await {
        Ok(slot) => {
            request.extensions_mut().insert(deadline);
            let (response, own) = adaptive_concurrency::timed(within(deadline, next.run(request))).await;
            slot.done(own);
            response
        }
        Err(Refused::Shed(_)) => Answer::from(RequestError::Shed).into_response(),
        Err(Refused::Late) => Answer::from(RequestError::Late).into_response(),
    }
}

/// Each step keeps to its share; this is for what no step has measured.
async fn within(deadline: Deadline, work: impl Future<Output = Response>) -> Response {
    deadline.run(work).await.unwrap_or_else(|_| Answer::from(RequestError::Late).into_response())
}

#[cfg(test)]
mod tests {
    use super::priority;
    use crate::resilience::load_shedding::Priority;
    use axum::http::HeaderMap;

    #[test]
    fn a_caller_may_lower_its_priority_and_not_raise_it() {
        let asking = |text: &str| [(super::PRIORITY.parse().unwrap(), text.parse().unwrap())].into_iter().collect();
        let nothing = HeaderMap::new();
        assert_eq!(priority(Some("place_order"), &nothing), Priority::High);
        assert_eq!(priority(Some("place_order"), &asking("low")), Priority::Low);
        assert_eq!(priority(Some("product"), &nothing), Priority::Normal);
        assert_eq!(priority(Some("product"), &asking("high")), Priority::Normal);
        assert_eq!(priority(Some("report"), &nothing), Priority::Low);
    }
}
