//! A call to a dependency, through the patterns.
//!
//! ```text
//! call ─▶ retry ┬▶ breaker ─▶ pace ─▶ bulkhead ─▶ time share ─▶ HTTP exchange
//!               └◀── transient error, budget left ◀──┘
//! ```
//!
//! The breaker comes before the bulkhead, so that calls to a dead dependency need no permit, and a full pool says
//! nothing about the dependency. Neighbours: `pages.rs` and `orders.rs` call, `http_client.rs` does.
//!
//! Invariant: each try that the breaker admitted gives it an outcome, also when the call is dropped.

use crate::{
    failure::{CallError, FailureKind},
    http_client::{Exchange, HttpClient},
    metrics::Metrics,
    resilience::{
        adaptive_concurrency::Stopwatch,
        bulkhead::{Bulkhead, Priority},
        circuit_breaker::{Admitted, CircuitBreaker, Outcome, State},
        leaky_bucket::LeakyBucket,
        retry::{Decision, Retry},
        retry_budget::RetryBudget,
        timeout_advice::TimeoutAdvice,
        timeout_budget::{self, Deadline},
    },
};
use axum::http::{HeaderMap, HeaderValue, Method};
use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// What a call wants.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    exchange: Exchange,
    priority: Priority,
    repeatable: bool,
}

impl Call {
    /// Reads something optional.
    pub(crate) fn get(path: String) -> Self {
        Self::new(Method::GET, path, Bytes::new(), Priority::Optional)
    }

    /// Does something critical under a key that stands in the path, so that doing it twice is doing it once.
    pub(crate) fn put<B: Serialize>(path: String, body: &B) -> Result<Self, serde_json::Error> {
        Ok(Self::new(Method::PUT, path, serde_json::to_vec(body)?.into(), Priority::Critical))
    }

    /// Undoes what was done under the key in the path.
    pub(crate) fn delete(path: String) -> Self {
        Self::new(Method::DELETE, path, Bytes::new(), Priority::Critical)
    }

    fn new(method: Method, path: String, body: Bytes, priority: Priority) -> Self {
        let repeatable = method.is_idempotent();
        Self { exchange: Exchange { method, path, headers: HeaderMap::new(), body }, priority, repeatable }
    }
}

/// One thing that a dependency does. Each has a breaker of its own: undoing may work where doing does not.
pub(crate) struct Endpoint {
    pub(crate) operation: &'static str,
    /// Absent when the pattern is switched off.
    pub(crate) breaker: Option<Arc<CircuitBreaker>>,
    /// Absent when the pattern is switched off.
    pub(crate) advice: Option<TimeoutAdvice>,
}

impl Endpoint {
    /// The breaker's state; without one, as if it never opened.
    pub(crate) fn state(&self) -> State {
        self.breaker.as_ref().map_or(State::Closed, |breaker| breaker.state())
    }
}

/// A dependency as the shop sees it.
pub(crate) struct Upstream {
    pub(crate) service: &'static str,
    pub(crate) does: Endpoint,
    /// Takes back what was done.
    pub(crate) undoes: Option<Endpoint>,
    pub(crate) client: HttpClient,
    pub(crate) retry: Retry,
    pub(crate) retry_budget: RetryBudget,
    /// An answer that takes longer counts against the dependency.
    pub(crate) slow: Duration,
    pub(crate) pace: LeakyBucket,
    pub(crate) bulkhead: Bulkhead,
    pub(crate) metrics: Arc<Metrics>,
}

impl Upstream {
    /// Makes the call, with retries, until the deadline.
    pub(crate) async fn call<T: DeserializeOwned>(&self, call: Call, deadline: Deadline) -> Result<T, CallError> {
        let _away = Stopwatch::start();
        let operation = self.endpoint(&call).operation;
        self.retry_budget.earn();
        let mut attempt = 1;
        let mut doubtful = None;
        loop {
            let result = self.attempt(&call, deadline).await;
            if attempt > 1 {
                self.metrics.retry(self.service, operation, if result.is_ok() { "success" } else { "failure" });
            }
            let error = match result {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            match self.retry.decide(attempt, &error, call.repeatable, deadline.left(), rand::random()) {
                Decision::GiveUp => return Err(telling(error, doubtful)),
                Decision::After(_) if !self.retry_budget.spend() => {
                    self.metrics.retry(self.service, operation, "refused");
                    return Err(telling(error, doubtful));
                }
                Decision::After(pause) => tokio::time::sleep(pause).await,
            }
            attempt += 1;
            doubtful = Some(error).filter(CallError::may_have_happened).or(doubtful);
        }
    }

    /// One try, without retries.
    pub(crate) async fn attempt<T: DeserializeOwned>(&self, call: &Call, deadline: Deadline) -> Result<T, CallError> {
        let service = self.service;
        let endpoint = self.endpoint(call);
        let admitted = self.admit(endpoint)?;
        if std::ptr::eq(endpoint, &self.does) && self.pace.pass(deadline).await.is_err() {
            self.metrics.front.limited(service);
            self.metrics.shed(service, "pace");
            return Err(CallError::PoolFull { service });
        }
        let Ok(_permit) = self.bulkhead.enter(call.priority, deadline).await else {
            self.metrics.shed(service, "pool");
            return Err(CallError::PoolFull { service });
        };
        let allotted = deadline.left();
        let begun = Instant::now();
        let exchange = Exchange { headers: passed_down(allotted), ..call.exchange.clone() };
        let result = deadline.run(self.client.json(&exchange)).await.unwrap_or(Err(CallError::Timeout { service }));
        let took = begun.elapsed();
        self.metrics.call(service, result_name(&result), took);
        let timed_out = matches!(result, Err(CallError::Timeout { .. }));
        if let Some(advice) = endpoint.advice.as_ref().filter(|_| result.is_ok() || timed_out) {
            advice.note(took, timed_out);
        }
        if let Some(admitted) = admitted {
            admitted.settle(outcome(result.as_ref().err(), took, self.slow));
        }
        result
    }

    fn endpoint(&self, call: &Call) -> &Endpoint {
        match &self.undoes {
            Some(undoes) if call.exchange.method == Method::DELETE => undoes,
            Some(_) | None => &self.does,
        }
    }

    /// All that the dependency does.
    pub(crate) fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        std::iter::once(&self.does).chain(&self.undoes)
    }

    fn admit(&self, endpoint: &Endpoint) -> Result<Option<Admitted>, CallError> {
        let Some(breaker) = &endpoint.breaker else { return Ok(None) };
        match breaker.admit() {
            Ok(admitted) => Ok(Some(admitted)),
            Err(rejected) => {
                self.metrics.shed(self.service, "breaker");
                Err(self.open(rejected.retry_after, rejected.because))
            }
        }
    }

    /// The error that a call would meet at once, if any: work that needs it need not begin.
    pub(crate) fn refuses(&self) -> Option<CallError> {
        let rejected = self.does.breaker.as_ref()?.refuses()?;
        Some(self.open(rejected.retry_after, rejected.because))
    }

    fn open(&self, retry_after: Duration, because: FailureKind) -> CallError {
        CallError::Open { service: self.service, retry_after, because }
    }
}

/// The error of a call with several tries. A last try that was never sent does not undo that an earlier one may have
/// done the work.
fn telling(last: CallError, doubtful: Option<CallError>) -> CallError {
    match (last, doubtful) {
        (last @ CallError::Status { .. }, _) | (last, None) => last,
        (last, Some(_)) if last.may_have_happened() => last,
        (_, Some(doubtful)) => doubtful,
    }
}

fn passed_down(left: Option<Duration>) -> HeaderMap {
    let value = left.and_then(|left| HeaderValue::from_str(&left.as_millis().to_string()).ok());
    value.into_iter().map(|value| (timeout_budget::HEADER, value)).collect()
}

/// What a try tells the breaker. A time-out of a call that had hardly any time left tells nothing.
fn outcome(error: Option<&CallError>, took: Duration, slow: Duration) -> Outcome {
    match error {
        None if took > slow => Outcome::Failure(FailureKind::Slow),
        None => Outcome::Success,
        Some(CallError::Timeout { .. }) if took < slow / 2 => Outcome::Unknown,
        // An orderly refusal is an answer: the dependency is well.
        Some(error) => error.kind().map_or(Outcome::Success, Outcome::Failure),
    }
}

fn result_name<T>(result: &Result<T, CallError>) -> &'static str {
    match result {
        Ok(_) => "success",
        Err(CallError::Timeout { .. }) => "timeout",
        Err(CallError::Unreachable { .. } | CallError::Broken { .. } | CallError::BrokenOff { .. }) => "connection",
        Err(CallError::Malformed { .. }) => "malformed",
        Err(CallError::Status { status, .. }) if status.is_client_error() => "refused",
        Err(
            CallError::Status { .. } | CallError::Open { .. } | CallError::PoolFull { .. } | CallError::Withheld { .. },
        ) => "error",
    }
}

#[cfg(test)]
mod tests {
    use super::{Call, outcome, telling};
    use crate::{
        failure::{CallError, FailureKind},
        resilience::circuit_breaker::Outcome,
    };
    use axum::http::StatusCode;
    use std::time::Duration;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_slow_success_counts_against_the_dependency() {
        assert_eq!(outcome(None, 100 * MS, 100 * MS), Outcome::Success);
        assert_eq!(outcome(None, 101 * MS, 100 * MS), Outcome::Failure(FailureKind::Slow));
    }

    #[test]
    fn a_timeout_counts_only_when_the_call_had_time() {
        let timeout = CallError::Timeout { service: "reviews" };
        assert_eq!(outcome(Some(&timeout), 100 * MS, 120 * MS), Outcome::Failure(FailureKind::Absent));
        assert_eq!(outcome(Some(&timeout), 5 * MS, 120 * MS), Outcome::Unknown);
    }

    #[test]
    fn an_orderly_refusal_is_the_sign_of_a_healthy_dependency() {
        let status = StatusCode::CONFLICT;
        let refusal = CallError::Status { service: "inventory", status, retry_after: None, message: String::new() };
        assert_eq!(outcome(Some(&refusal), MS, 120 * MS), Outcome::Success);
    }

    #[test]
    fn a_try_that_was_never_sent_does_not_hide_one_that_may_have_done_the_work() {
        let broken = CallError::Broken { service: "payment", cause: String::new() };
        let full = CallError::PoolFull { service: "payment" };
        assert_eq!(telling(full.clone(), Some(broken.clone())), broken);
        assert_eq!(telling(full.clone(), None), full);
    }

    #[test]
    fn reads_and_keyed_writes_may_be_repeated() {
        assert!(Call::get("/a".into()).repeatable);
        assert!(Call::put("/a/key".into(), &1).unwrap().repeatable);
    }
}
