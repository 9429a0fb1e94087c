//! In-process chaos: latency, an error or a panic in a share of a named operation.
//!
//! For what no proxy can do: hurt the shop's own work. Operations are the customers' routes (`product`, `search`,
//! `place_order`, `find_order`, …). Off until a rule is set, by configuration or by `PUT /admin/chaos/{operation}`; a rule
//! ends by itself. With `lanes`, only so many are at the latency at a time: a bottleneck with a capacity of
//! `lanes / latency` a second, whatever the machine can do, and what a load surge is measured against.
//!
//! No crate: tower has no such layer. Switched off, rules are refused.
//!
//! Invariant: without a rule it costs one look at an atomic; a rule never outlives its `for`.

use crate::metrics::Metrics;
use axum::{
    body::Body,
    extract::{MatchedPath, Request},
    http::{Method, StatusCode},
    response::{IntoResponse, Response},
};
use futures::future::BoxFuture;
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::{sync::Semaphore, time::Instant};
use tower::{Layer, Service};

/// The operations that can be hurt.
pub(crate) const OPERATIONS: [&str; 7] =
    ["product", "search", "place_order", "find_order", "events", "webhook", "report"];

/// The operation that a route is.
pub(crate) fn operation(method: &Method, route: &str) -> Option<&'static str> {
    Some(match (method.as_str(), route) {
        ("GET" | "HEAD", "/products/{id}") => "product",
        ("GET" | "HEAD", "/search") => "search",
        ("POST", "/orders") => "place_order",
        ("GET" | "HEAD", "/orders/{id}") => "find_order",
        ("POST", "/events") => "events",
        ("POST", "/webhooks/payment") => "webhook",
        ("GET" | "HEAD", "/reports/sales") => "report",
        _ => return None,
    })
}

/// What is done to a share of an operation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChaosRule {
    /// How many of the requests are hit, in percent.
    #[serde(default = "all")]
    pub percent: f64,
    /// They take so much longer.
    #[serde(default)]
    pub latency_ms: u64,
    /// So many are at the latency at a time; others wait for their turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lanes: Option<usize>,
    /// They are answered with this status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<u16>,
    /// They panic.
    #[serde(default)]
    pub panic: bool,
    /// The rule ends after so many seconds.
    #[serde(default = "ten_minutes")]
    pub for_s: u64,
}

fn all() -> f64 {
    100.0
}

fn ten_minutes() -> u64 {
    600
}

/// The longest that a rule can say.
const LONGEST_S: u64 = 24 * 3600;

impl ChaosRule {
    /// What is wrong with it, if anything.
    fn check(&self) -> Result<(), String> {
        if !(self.percent > 0.0 && self.percent <= 100.0) {
            return Err(format!("`percent` is {}: write more than 0 and at most 100", self.percent));
        }
        if self.latency_ms == 0 && self.error.is_none() && !self.panic {
            return Err("the rule does nothing: give `latency_ms`, `error` or `panic`".to_owned());
        }
        if self.lanes.is_some_and(|lanes| lanes == 0 || lanes > Semaphore::MAX_PERMITS)
            || (self.lanes.is_some() && self.latency_ms == 0)
        {
            return Err("`lanes` is 1 or more, and needs `latency_ms`".to_owned());
        }
        if self.error.is_some_and(|status| !(400..=599).contains(&status)) {
            return Err("`error` is a status from 400 to 599".to_owned());
        }
        if self.latency_ms > LONGEST_S * 1000 || !(1..=LONGEST_S).contains(&self.for_s) {
            return Err(format!("`for_s` is 1 to {LONGEST_S}, and no latency is longer"));
        }
        Ok(())
    }
}

/// A rule on the command line: `OPERATION:latency_ms=40,lanes=8,percent=10`.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedRule {
    /// What is hurt.
    pub operation: &'static str,
    /// How.
    pub rule: ChaosRule,
}

/// A text that is not a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a rule: {reason}; write `product:latency_ms=40,lanes=8` or `place_order:error=503,percent=10`"
)]
pub struct InvalidRule {
    text: String,
    reason: String,
}

impl FromStr for NamedRule {
    type Err = InvalidRule;

    fn from_str(text: &str) -> Result<Self, InvalidRule> {
        let invalid = |reason: String| InvalidRule { text: text.to_owned(), reason };
        let (operation, settings) = text.split_once(':').ok_or_else(|| invalid("there is no `:`".to_owned()))?;
        let operation = known(operation).map_err(invalid)?;
        let mut fields = serde_json::Map::new();
        for setting in settings.split(',') {
            let (key, value) = setting.split_once('=').unwrap_or((setting, "true"));
            let value = serde_json::from_str(value).map_err(|_| invalid(format!("`{value}` is not a number")))?;
            fields.insert(key.trim().to_owned(), value);
        }
        let rule: ChaosRule = serde_json::from_value(fields.into()).map_err(|error| invalid(error.to_string()))?;
        rule.check().map_err(invalid)?;
        Ok(Self { operation, rule })
    }
}

/// The operation of this name, or what the names are.
pub(crate) fn known(name: &str) -> Result<&'static str, String> {
    let name = name.trim();
    OPERATIONS.into_iter().find(|operation| *operation == name).ok_or_else(|| {
        let near = squall_wire::nearest::nearest(name, OPERATIONS);
        let near = near.map_or_else(String::new, |near| format!(", did you mean `{near}`?"));
        format!("`{name}` is not an operation{near}: use one of {}", OPERATIONS.join(", "))
    })
}

struct Active {
    rule: ChaosRule,
    until: Instant,
    lanes: Option<Arc<Semaphore>>,
}

/// What is to be done to one request.
#[derive(Debug, Clone)]
struct Strike {
    latency: Duration,
    lanes: Option<Arc<Semaphore>>,
    error: Option<StatusCode>,
    panic: bool,
}

/// The rules of one shop.
pub(crate) struct Chaos {
    any: AtomicBool,
    rules: RwLock<BTreeMap<&'static str, Active>>,
    metrics: Arc<Metrics>,
}

impl Chaos {
    /// With the rules of a configuration.
    pub(crate) fn new(rules: &[NamedRule], metrics: Arc<Metrics>) -> Arc<Self> {
        let chaos = Arc::new(Self { any: AtomicBool::new(false), rules: RwLock::default(), metrics });
        for NamedRule { operation, rule } in rules {
            // They were checked when they were read.
            let _ = chaos.set(operation, rule.clone());
        }
        chaos
    }

    /// Sets the rule of an operation, in place of an older one.
    pub(crate) fn set(&self, operation: &'static str, rule: ChaosRule) -> Result<(), String> {
        rule.check()?;
        tracing::warn!(operation, ?rule, "chaos");
        let lanes = rule.lanes.map(|lanes| Arc::new(Semaphore::new(lanes)));
        let until = Instant::now() + Duration::from_secs(rule.for_s);
        let mut rules = self.rules.write();
        rules.insert(operation, Active { rule, until, lanes });
        self.any.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Takes the rule of an operation away; whether there was one.
    pub(crate) fn remove(&self, operation: &str) -> bool {
        let mut rules = self.rules.write();
        let was = rules.remove(operation).is_some_and(|active| Instant::now() < active.until);
        self.any.store(!rules.is_empty(), Ordering::Relaxed);
        was
    }

    /// The rules that are in force.
    pub(crate) fn rules(&self) -> BTreeMap<&'static str, ChaosRule> {
        let (now, rules) = (Instant::now(), self.rules.read());
        rules
            .iter()
            .filter(|(_, active)| now < active.until)
            .map(|(name, active)| (*name, active.rule.clone()))
            .collect()
    }

    fn strike(&self, operation: &str, random: f64) -> Option<Strike> {
        if !self.any.load(Ordering::Relaxed) {
            return None;
        }
        let rules = self.rules.read();
        let Active { rule, until, lanes } = rules.get(operation)?;
        let hit = Instant::now() < *until && random * 100.0 < rule.percent;
        hit.then(|| Strike {
            latency: Duration::from_millis(rule.latency_ms),
            lanes: lanes.clone(),
            error: rule.error.and_then(|status| StatusCode::from_u16(status).ok()),
            panic: rule.panic,
        })
    }

    /// Does what the rules say to one request of the operation; the answer, if that is an error.
    async fn hurt(&self, operation: &'static str) -> Option<Response> {
        let strike = self.strike(operation, rand::random())?;
        if !strike.latency.is_zero() {
            self.metrics.front.chaos(operation, "latency");
            // The semaphore is never closed; if it were, there would be no line.
            let _lane = match &strike.lanes {
                Some(lanes) => lanes.acquire().await.ok(),
                None => None,
            };
            tokio::time::sleep(strike.latency).await;
        }
        if strike.panic {
            self.metrics.front.chaos(operation, "panic");
            panic!("chaos in {operation}");
        }
        let status = strike.error?;
        self.metrics.front.chaos(operation, "error");
        Some(
            (status, [("content-type", "application/json")], r#"{"error":{"code":"chaos","message":"chaos"}}"#)
                .into_response(),
        )
    }
}

/// The layer around the customers' routes.
#[derive(Clone)]
pub(crate) struct ChaosLayer(pub(crate) Arc<Chaos>);

impl<S> Layer<S> for ChaosLayer {
    type Service = ChaosService<S>;

    fn layer(&self, inner: S) -> ChaosService<S> {
        ChaosService { inner, chaos: Arc::clone(&self.0) }
    }
}

/// A service that may be hurt.
#[derive(Clone)]
pub(crate) struct ChaosService<S> {
    inner: S,
    chaos: Arc<Chaos>,
}

impl<S> Service<Request<Body>> for ChaosService<S>
where
    S: Service<Request<Body>, Response = Response> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let route = request.extensions().get::<MatchedPath>();
        let operation = route.and_then(|route| operation(request.method(), route.as_str()));
        let chaos = Arc::clone(&self.chaos);
        // The one that was polled ready is the one that is called.
        let ready = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, ready);
        Box::pin(async move {
            if let Some(operation) = operation
                && let Some(response) = chaos.hurt(operation).await
            {
                return Ok(response);
            }
            inner.call(request).await
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Chaos, ChaosLayer, ChaosRule, NamedRule};
    use crate::metrics::Metrics;
    use axum::{Router, body::Body, http::Request, routing::get};
    use futures::future::join_all;
    use std::{sync::Arc, time::Duration};
    use tokio::time::Instant;
    use tower::ServiceExt as _;

    fn rule(text: &str) -> ChaosRule {
        text.parse::<NamedRule>().unwrap().rule
    }

    fn shop(chaos: &Arc<Chaos>) -> Router {
        Router::new()
            .route("/products/{id}", get(async || "page"))
            .route("/search", get(async || "found"))
            .layer(ChaosLayer(Arc::clone(chaos)))
    }

    async fn status(app: &Router, path: &str) -> u16 {
        app.clone().oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap().status().as_u16()
    }

    #[tokio::test(start_paused = true)]
    async fn a_rule_hits_its_share_of_its_operation_only_and_ends_by_itself() {
        let chaos = Chaos::new(&[], Metrics::new());
        let app = shop(&chaos);
        assert_eq!(status(&app, "/products/1").await, 200);
        chaos.set("product", rule("product:error=503,percent=30,for_s=60")).unwrap();
        let answers = join_all((0..1000).map(|_| status(&app, "/products/1"))).await;
        let hit = answers.iter().filter(|status| **status == 503).count();
        assert!((240..360).contains(&hit), "{hit}");
        assert_eq!(join_all((0..100).map(|_| status(&app, "/search"))).await, vec![200; 100]);
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(join_all((0..100).map(|_| status(&app, "/products/1"))).await, vec![200; 100]);
        assert!(chaos.rules().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn latency_is_added_and_lanes_make_it_a_bottleneck() {
        let chaos = Chaos::new(&["product:latency_ms=40".parse().unwrap()], Metrics::new());
        let app = shop(&chaos);
        let took = async |count| {
            let begun = Instant::now();
            join_all((0..count).map(|_| status(&app, "/products/1"))).await;
            begun.elapsed().as_millis()
        };
        assert_eq!(took(80).await, 40);
        chaos.set("product", rule("product:latency_ms=40,lanes=8")).unwrap();
        assert_eq!(took(80).await, 400, "eight each forty milliseconds");
        assert!(chaos.remove("product") && !chaos.remove("product"));
        assert_eq!(took(80).await, 0);
    }

    #[test]
    fn what_is_no_rule_is_refused_with_the_reason() {
        for (text, reason) in [
            ("product", "there is no `:`"),
            ("produkt:error=500", "did you mean `product`?"),
            ("product:percent=10", "the rule does nothing"),
            ("product:error=200", "`error` is a status from 400 to 599"),
            ("product:latency_ms=5,percent=101", "`percent` is 101"),
            ("product:lanes=4,error=500", "needs `latency_ms`"),
            ("product:latency_ms=5,lanes=0", "`lanes` is 1 or more"),
            ("product:latency=5", "unknown field `latency`"),
            ("product:error=500,for_s=0", "`for_s` is 1 to 86400"),
        ] {
            let message = text.parse::<NamedRule>().unwrap_err().to_string();
            assert!(message.contains(reason), "{message}");
        }
    }
}
