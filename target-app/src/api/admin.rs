//! What operators do: feature flags, the degraded mode, chaos, time-out advice, and the request to leave.
//!
//! Guarded: with a token configured, whoever has it; without, the loopback only, and no web page (a request with an
//! `Origin`). An address that sends many wrong tokens is told 429 for a while.
//!
//! Invariant: a wrong token is compared in constant time, and nothing here is answered before the guard.

use super::{App, Shared, answer::Answer};
use crate::{
    config::AdminToken,
    error::RequestError,
    resilience::{
        chaos::{self, ChaosRule},
        feature_flags::{FLAGS, FeatureFlags, FlagState},
        sliding_window::SlidingWindow,
    },
    server::Peer,
};
use axum::{
    Json, Router,
    extract::{Path, Request, State, rejection::JsonRejection},
    http::{HeaderMap, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use moka::future::Cache;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Value, json};
use std::{net::IpAddr, sync::Arc, time::Duration};
use tokio::time::Instant;

/// Wrong tokens from one address within a minute.
const MISTAKES: usize = 10;
const MISTAKES_WITHIN: Duration = Duration::from_secs(60);
/// Addresses that are remembered for their mistakes.
const ADDRESSES: u64 = 1024;

/// Who may come in.
pub(crate) struct Guard {
    token: Option<AdminToken>,
    mistakes: Cache<IpAddr, Arc<Mutex<SlidingWindow>>>,
    limited: bool,
}

impl Guard {
    /// With `limited`, wrong tokens are limited.
    pub(crate) fn new(token: Option<AdminToken>, limited: bool) -> Self {
        let mistakes = Cache::builder().max_capacity(ADDRESSES).time_to_idle(MISTAKES_WITHIN).build();
        Self { token, mistakes, limited }
    }

    async fn admits(&self, headers: &HeaderMap, peer: Option<IpAddr>) -> Result<(), Refusal> {
        let Some(token) = &self.token else {
            let local = peer.is_some_and(|peer| peer.is_loopback()) && !headers.contains_key(header::ORIGIN);
            return if local { Ok(()) } else { Err(Refusal::NotLocal) };
        };
        let address = peer.unwrap_or(IpAddr::from([0; 4]));
        let fresh = async { Arc::new(Mutex::new(SlidingWindow::new(MISTAKES, MISTAKES_WITHIN))) };
        let mistakes = self.mistakes.get_with(address, fresh).await;
        if self.limited
            && let Err(retry_after) = mistakes.lock().fits(Instant::now())
        {
            return Err(Refusal::TooMany(retry_after));
        }
        let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let shown = shown.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
        if token.is(shown) {
            return Ok(());
        }
        // Over the limit is the same refusal; that it is counted once more changes nothing.
        let _ = mistakes.lock().allow(Instant::now());
        Err(Refusal::WrongToken)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    NotLocal,
    WrongToken,
    TooMany(Duration),
}

async fn guarded(State(app): Shared, request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<Peer>().map(|peer| peer.0.ip());
    match app.guard.admits(request.headers(), peer).await {
        Ok(()) => next.run(request).await,
        Err(Refusal::NotLocal) => {
            let message = "only the loopback may do this: start the shop with --admin-token-file to let others";
            Answer::error(StatusCode::FORBIDDEN, "not_local", message).into_response()
        }
        Err(Refusal::WrongToken) => {
            let message = "send the admin token: `Authorization: Bearer …`";
            let answer = Answer::error(StatusCode::UNAUTHORIZED, "wrong_token", message).into_response();
            ([(header::WWW_AUTHENTICATE, "Bearer")], answer).into_response()
        }
        Err(Refusal::TooMany(retry_after)) => {
            app.metrics.front.limited("admin");
            RequestError::Limited { limiter: "admin", retry_after }.into_response()
        }
    }
}

/// The routes under `/admin`.
pub(super) fn routes(app: &Arc<App>) -> Router<Arc<App>> {
    Router::new()
        .route("/admin/flags", get(flags))
        .route("/admin/flags/{flag}", get(flag).put(set_flag))
        .route("/admin/degraded", get(degraded).post(degrade))
        .route("/admin/chaos", get(rules))
        .route("/admin/chaos/{operation}", axum::routing::put(set_rule).delete(remove_rule))
        .route("/admin/workers/crash", post(crash))
        .route("/admin/timeouts", get(timeouts))
        .route("/admin/shutdown", post(super::health::shutdown))
        .route_layer(middleware::from_fn_with_state(Arc::clone(app), guarded))
}

fn not_found(message: &str) -> RequestError {
    RequestError::NotFound(message.to_owned())
}

fn body<T>(body: Result<Json<T>, JsonRejection>) -> Result<T, RequestError> {
    body.map(|Json(value)| value).map_err(|rejection| RequestError::Invalid(rejection.body_text()))
}

fn flags_of(app: &App) -> Result<&Arc<FeatureFlags>, RequestError> {
    app.flags.as_ref().ok_or_else(|| not_found("graceful degradation is switched off, there are no flags"))
}

fn no_flag(name: &str) -> RequestError {
    let near = squall_wire::nearest::nearest(name, FLAGS);
    let near = near.map_or_else(String::new, |near| format!(", did you mean `{near}`?"));
    not_found(&format!("there is no flag `{name}`{near}: use one of {}", FLAGS.join(", ")))
}

async fn flags(State(app): Shared) -> Result<Answer, RequestError> {
    Ok(Answer::ok(&flags_of(&app)?.report()))
}

async fn flag(State(app): Shared, Path(name): Path<String>) -> Result<Answer, RequestError> {
    let report = flags_of(&app)?.report_of(&name).ok_or_else(|| no_flag(&name))?;
    Ok(Answer::ok(&report))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WantedState {
    state: FlagState,
}

async fn set_flag(
    State(app): Shared,
    Path(name): Path<String>,
    wanted: Result<Json<WantedState>, JsonRejection>,
) -> Result<Answer, RequestError> {
    let WantedState { state } = body(wanted)?;
    let report = flags_of(&app)?.set(&name, state).ok_or_else(|| no_flag(&name))?;
    Ok(Answer::ok(&report))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WantedMode {
    on: bool,
}

async fn degraded(State(app): Shared) -> Result<Answer, RequestError> {
    Ok(Answer::ok(&json!({"on": flags_of(&app)?.is_degraded()})))
}

async fn degrade(State(app): Shared, wanted: Result<Json<WantedMode>, JsonRejection>) -> Result<Answer, RequestError> {
    let WantedMode { on } = body(wanted)?;
    flags_of(&app)?.degrade(on);
    Ok(Answer::ok(&json!({"on": on})))
}

fn chaos_of(app: &App) -> Result<&Arc<chaos::Chaos>, RequestError> {
    app.chaos.as_ref().ok_or_else(|| not_found("in-process chaos is switched off"))
}

async fn rules(State(app): Shared) -> Result<Answer, RequestError> {
    Ok(Answer::ok(&chaos_of(&app)?.rules()))
}

async fn set_rule(
    State(app): Shared,
    Path(name): Path<String>,
    rule: Result<Json<ChaosRule>, JsonRejection>,
) -> Result<Answer, RequestError> {
    let chaos = chaos_of(&app)?;
    let operation = chaos::known(&name).map_err(RequestError::NotFound)?;
    let rule = body(rule)?;
    chaos.set(operation, rule.clone()).map_err(RequestError::Invalid)?;
    Ok(Answer::ok(&rule))
}

async fn remove_rule(State(app): Shared, Path(name): Path<String>) -> Result<Answer, RequestError> {
    let operation = chaos::known(&name).map_err(RequestError::NotFound)?;
    Ok(Answer::ok(&json!({"removed": chaos_of(&app)?.remove(operation)})))
}

/// Crashes every background worker once, to see that it comes back.
async fn crash(State(app): Shared) -> Result<Answer, RequestError> {
    chaos_of(&app)?;
    app.supervisor.crash_all();
    Ok(Answer::with(StatusCode::ACCEPTED, &json!({"workers": app.supervisor.workers()})))
}

async fn timeouts(State(app): Shared) -> Answer {
    Answer::ok(&app.timeouts())
}

impl App {
    /// What each endpoint's time-out should be, by what its calls have taken.
    pub(super) fn timeouts(&self) -> Value {
        let endpoints = self.upstreams.values().flat_map(|upstream| {
            upstream.endpoints().filter_map(|endpoint| {
                let advice = endpoint.advice.as_ref()?.advice();
                Some((format!("{}/{}", upstream.service, endpoint.operation), json!(advice)))
            })
        });
        endpoints.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Guard, MISTAKES, Refusal};
    use axum::http::{HeaderMap, header};
    use std::net::IpAddr;

    const HERE: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));
    const AWAY: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7)));

    fn bearer(token: &str) -> HeaderMap {
        [(header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap())].into_iter().collect()
    }

    #[tokio::test]
    async fn without_a_token_the_loopback_may_and_nobody_else_nor_a_web_page() {
        let guard = Guard::new(None, true);
        assert_eq!(guard.admits(&HeaderMap::new(), HERE).await, Ok(()));
        assert_eq!(guard.admits(&HeaderMap::new(), AWAY).await, Err(Refusal::NotLocal));
        assert_eq!(guard.admits(&HeaderMap::new(), None).await, Err(Refusal::NotLocal));
        let page = [(header::ORIGIN, "http://evil.example".parse().unwrap())].into_iter().collect();
        assert_eq!(guard.admits(&page, HERE).await, Err(Refusal::NotLocal));
    }

    #[tokio::test(start_paused = true)]
    async fn with_a_token_it_counts_for_everybody_and_guessing_is_limited_for_who_guesses() {
        let guard = Guard::new(Some("0123456789abcdef".parse().unwrap()), true);
        assert_eq!(guard.admits(&bearer("0123456789abcdef"), AWAY).await, Ok(()));
        assert_eq!(guard.admits(&HeaderMap::new(), HERE).await, Err(Refusal::WrongToken));
        for _ in 0..MISTAKES {
            assert_eq!(guard.admits(&bearer("guess"), AWAY).await, Err(Refusal::WrongToken));
        }
        assert!(matches!(guard.admits(&bearer("0123456789abcdef"), AWAY).await, Err(Refusal::TooMany(_))));
        assert_eq!(guard.admits(&bearer("0123456789abcdef"), HERE).await, Ok(()));
        tokio::time::advance(super::MISTAKES_WITHIN).await;
        assert_eq!(guard.admits(&bearer("0123456789abcdef"), AWAY).await, Ok(()));
    }

    #[tokio::test]
    async fn without_rate_limiting_one_may_guess_on() {
        let guard = Guard::new(Some("0123456789abcdef".parse().unwrap()), false);
        for _ in 0..3 * MISTAKES {
            assert_eq!(guard.admits(&bearer("guess"), AWAY).await, Err(Refusal::WrongToken));
        }
    }
}
