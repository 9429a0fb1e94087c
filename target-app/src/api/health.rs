//! What watches the shop asks: live, ready, deep health, and the request to leave.
//!
//! Live: the process answers. Ready: it can serve customers, so its database answers and it is not leaving; a
//! dependency that is down does not take the whole shop out of service. Deep: everything, for people.
//!
//! Switched off, the answers are the usual thoughtless `ok`.

use super::{App, Shared, answer::Answer};
use crate::resilience::health_checks::{Finding, Overall, Report};
use axum::{extract::State, http::StatusCode};
use serde_json::{Value, json};

pub(super) async fn live(State(_): Shared) -> Answer {
    Answer::ok(&json!({"status": "up"}))
}

pub(super) async fn ready(State(app): Shared) -> Answer {
    let Some(health) = &app.health else { return Answer::ok(&json!({"status": "up"})) };
    if app.life.is_leaving() {
        return unready("shutting down");
    }
    let report = health.ready.report().await;
    match report.checks.iter().find(|finding| !finding.up) {
        Some(Finding { name, error, .. }) => unready(&format!("{name}: {}", error.as_deref().unwrap_or("down"))),
        None => Answer::ok(&json!({"status": "up"})),
    }
}

fn unready(reason: &str) -> Answer {
    Answer::with(StatusCode::SERVICE_UNAVAILABLE, &json!({"status": "down", "reason": reason}))
}

pub(super) async fn deep(State(app): Shared) -> Answer {
    let Some(health) = &app.health else { return Answer::ok(&json!({"status": "up"})) };
    let report = health.deep.report().await;
    let status = match report.status {
        Overall::Up | Overall::Degraded => StatusCode::OK,
        Overall::Down => StatusCode::SERVICE_UNAVAILABLE,
    };
    Answer::with(status, &described(&app, &report))
}

fn described(app: &App, report: &Report) -> Value {
    let breakers: Value = app
        .upstreams
        .values()
        .flat_map(|upstream| upstream.endpoints().map(|endpoint| (upstream.service, endpoint)))
        .map(|(service, endpoint)| (format!("{service}/{}", endpoint.operation), json!(endpoint.state().name())))
        .collect();
    let mut pools = serde_json::Map::new();
    for (pool, (in_use, size)) in app.pools() {
        pools.insert(pool.to_owned(), json!({"in_use": in_use, "size": size}));
    }
    let (running, limit, waiting) = app.door.usage();
    json!({
        "status": report.status,
        "version": env!("CARGO_PKG_VERSION"),
        // Whoever builds what is shipped says it: `SQUALL_COMMIT=$(git rev-parse HEAD) cargo build …`.
        "commit": option_env!("SQUALL_COMMIT").unwrap_or("unknown"),
        "host": rustix::system::uname().nodename().to_string_lossy(),
        "uptime_s": app.started.elapsed().as_secs(),
        "without": app.without.names(),
        "checks": report.checks,
        "breakers": breakers,
        "pools": pools,
        "requests": {"running": running, "limit": limit, "waiting": waiting},
        "degraded": app.flags.as_ref().is_some_and(|flags| flags.is_degraded()),
        "flags": app.flags.as_ref().map(|flags| flags.report()),
        "workers": app.supervisor.workers(),
        "timeout_advice": app.timeouts(),
        "caches": {
            "recommendations": app.pages.known_recommendations.entries(),
            "reviews": app.pages.known_reviews.entries(),
        },
    })
}

/// The preStop hook: the same as a signal.
pub(super) async fn shutdown(State(app): Shared) -> Answer {
    app.life.request();
    Answer::with(StatusCode::ACCEPTED, &json!({"status": "shutting down"}))
}
