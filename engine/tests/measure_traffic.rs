//! The load over real sockets: its pace, what it counts, and that a stall cannot hide from it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use axum::{Router, extract::State, http::StatusCode, response::IntoResponse, routing::any};
use squall_engine::{
    experiment::{Expect, RequestPlan, TrafficPlan},
    recorder::Recorder,
    sample::{Metric, Sample},
    stats::measure,
    template::Template,
    traffic,
};
use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn text(text: &str) -> Template {
    Template::parse(text).unwrap()
}

fn request(name: &str, url: &str) -> RequestPlan {
    RequestPlan {
        name: name.into(),
        weight: 1,
        method: "GET".into(),
        url: text(url),
        headers: vec![],
        body: None,
        expect: Expect { status: vec![], body_contains: None },
    }
}

fn plan(rate: f64, clients: usize, timeout: Duration, requests: Vec<RequestPlan>) -> TrafficPlan {
    TrafficPlan { rate, clients, timeout, requests }
}

/// Serves the router on a free loopback port, as long as the tasks live.
async fn serve(tasks: &mut JoinSet<()>, router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tasks.spawn(async move { axum::serve(listener, router).await.unwrap() });
    url
}

/// Runs the load until it has this many samples, then lets it end; a minute is the limit.
async fn load(plan: TrafficPlan, samples: u64) -> Arc<Recorder> {
    let _installed_before = rustls::crypto::ring::default_provider().install_default();
    let names: BTreeSet<_> = plan.requests.iter().map(|request| format!("traffic.{}", request.name)).collect();
    let recorder = Recorder::new(names);
    let stop = CancellationToken::new();
    let mut tasks = JoinSet::new();
    tasks.spawn(traffic::run(plan, 7, Arc::clone(&recorder), stop.clone()));
    let mut changes = recorder.changes();
    let enough = changes.wait_for(|count| *count >= samples);
    tokio::time::timeout(ms(60_000), enough).await.expect("samples in time").unwrap();
    stop.cancel();
    let ended = tokio::time::timeout(ms(20_000), tasks.join_next()).await.expect("the load ends when told to");
    ended.unwrap().unwrap();
    recorder
}

fn all(recorder: &Recorder, name: &str) -> Vec<Sample> {
    recorder.window_by_done(name, &(Duration::ZERO..ms(1_000_000)))
}

async fn quick() -> &'static str {
    "ok"
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rate_is_kept_and_the_schedule_is_even() {
    let mut tasks = JoinSet::new();
    let url = serve(&mut tasks, Router::new().route("/", any(quick))).await;
    let recorder = load(plan(200.0, 16, ms(5000), vec![request("a", &url)]), 400).await;
    let mut samples = all(&recorder, "traffic");
    assert!(samples.iter().all(|sample| sample.ok && sample.status == Some(200)), "{samples:?}");
    samples.sort_by_key(|sample| sample.at);
    let gaps: Vec<_> = samples.windows(2).map(|pair| pair[1].at - pair[0].at).collect();
    assert!(gaps.iter().all(|gap| gap.abs_diff(ms(5)) < Duration::from_micros(1)), "{gaps:?}");
    // Really sent at that pace as well: the middle of what was done spans the time that it should.
    let (early, late) = (samples[50].done(), samples[350].done());
    let rate = 300.0 / (late - early).as_secs_f64();
    assert!((180.0..220.0).contains(&rate), "{rate}/s");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quick_server_is_measured_as_quick() {
    let mut tasks = JoinSet::new();
    let url = serve(&mut tasks, Router::new().route("/", any(quick))).await;
    let recorder = load(plan(200.0, 16, ms(5000), vec![request("a", &url)]), 400).await;
    let median = measure(Metric::P50, &all(&recorder, "traffic"), ms(2000)).unwrap();
    // Half a millisecond when nothing else runs. A client with a timer of whole milliseconds shows up here.
    assert!(median < 0.010, "p50 is {median} s");
}

/// Answers at once, except that from the given request on everything waits for half a second, once.
#[derive(Clone)]
struct Stalling {
    seen: Arc<AtomicUsize>,
    gate: Arc<tokio::sync::RwLock<()>>,
}

async fn stalling(State(state): State<Stalling>) {
    if state.seen.fetch_add(1, Ordering::SeqCst) == 100 {
        let _closed = state.gate.write().await;
        tokio::time::sleep(ms(500)).await;
    }
    let _open = state.gate.read().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stall_of_half_a_second_shows_even_with_a_single_client() {
    let mut tasks = JoinSet::new();
    let state = Stalling { seen: Arc::default(), gate: Arc::default() };
    let url = serve(&mut tasks, Router::new().route("/", any(stalling)).with_state(state)).await;
    let recorder = load(plan(200.0, 1, ms(5000), vec![request("a", &url)]), 400).await;
    let samples = all(&recorder, "traffic");
    // At 200/s, 100 requests were due during the stall. A closed loop would show one slow request of 400: a p99 of
    // a millisecond.
    let slow = samples.iter().filter(|sample| sample.took > ms(100)).count();
    assert!(slow >= 70, "{slow} requests were slow");
    let p99 = measure(Metric::P99, &samples, ms(2000)).unwrap();
    assert!(p99 > 0.4, "p99 is {p99} s");
}

/// Counts how many requests are in it at once.
#[derive(Clone, Default)]
struct Gauge {
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

async fn crowded(State(gauge): State<Gauge>) {
    let now = gauge.now.fetch_add(1, Ordering::SeqCst) + 1;
    gauge.most.fetch_max(now, Ordering::SeqCst);
    tokio::time::sleep(ms(30)).await;
    gauge.now.fetch_sub(1, Ordering::SeqCst);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_requests_are_under_way_than_there_are_clients() {
    let (mut tasks, gauge) = (JoinSet::new(), Gauge::default());
    let url = serve(&mut tasks, Router::new().route("/", any(crowded)).with_state(gauge.clone())).await;
    let recorder = load(plan(300.0, 3, ms(10_000), vec![request("a", &url)]), 100).await;
    assert_eq!(gauge.most.load(Ordering::SeqCst), 3);
    // Three clients of 30 ms send 100/s of 300/s due: the wait of the others grows, in order.
    let samples = all(&recorder, "traffic");
    assert!(samples[90].took > samples[10].took + ms(150), "{:?} {:?}", samples[10], samples[90]);
    assert!(samples.iter().all(|sample| sample.ok));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_never_answers_gives_failed_samples_at_the_time_out() {
    let mut tasks = JoinSet::new();
    let url = serve(&mut tasks, Router::new().route("/", any(std::future::pending::<()>))).await;
    let recorder = load(plan(100.0, 2, ms(300), vec![request("a", &url)]), 60).await;
    let samples = all(&recorder, "traffic");
    assert!(samples.iter().all(|sample| !sample.ok && sample.status.is_none()), "{samples:?}");
    assert!(samples.iter().all(|sample| sample.took >= ms(300) && sample.took < ms(2000)), "{samples:?}");
    let causes: BTreeSet<_> = samples.iter().filter_map(|sample| sample.text.as_deref()).collect();
    assert!(causes.contains("timed out after 300ms"), "{causes:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_connection_is_a_failed_sample_with_its_cause() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let recorder = load(plan(100.0, 2, ms(1000), vec![request("a", &url)]), 10).await;
    for sample in all(&recorder, "traffic") {
        assert_eq!(sample.text.as_deref(), Some("failed to connect: Connection refused"));
        assert!(!sample.ok);
    }
}

async fn echo(method: axum::http::Method, headers: axum::http::HeaderMap, body: String) -> impl IntoResponse {
    let key = headers.get("idempotency-key").and_then(|key| key.to_str().ok()).unwrap_or_default().to_owned();
    let created = method == axum::http::Method::POST && body.starts_with("{\"n\":") && key.len() == 36;
    (if created { StatusCode::CREATED } else { StatusCode::BAD_REQUEST }, format!("{method} {body}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_rendered_sent_and_held_against_what_is_expected() {
    let mut tasks = JoinSet::new();
    let router = Router::new()
        .route("/echo", any(echo))
        .route("/old", any(|| async { (StatusCode::FOUND, [("location", "/echo")]) }));
    let url = serve(&mut tasks, router).await;
    let order = RequestPlan {
        method: "POST".into(),
        headers: vec![("Idempotency-Key".into(), text("{{ uuid() }}"))],
        body: Some(text("{\"n\":{{ counter() }}}")),
        expect: Expect { status: vec![201], body_contains: Some("POST {\"n\":".into()) },
        ..request("order", &format!("{url}/echo"))
    };
    let wrong = RequestPlan {
        expect: Expect { status: vec![201], body_contains: Some("never there".into()) },
        ..RequestPlan { name: "wrong".into(), ..order.clone() }
    };
    let moved = request("moved", &format!("{url}/old"));
    let missing = request("missing", &format!("{url}/nowhere"));
    let recorder = load(plan(200.0, 4, ms(5000), vec![order, wrong, moved, missing]), 60).await;
    let seen = |name| {
        let samples = all(&recorder, name);
        assert!(samples.len() > 3, "{name}: {}", samples.len());
        samples.iter().map(|s| (s.ok, s.status.unwrap(), s.text.as_deref().map(str::to_owned))).collect::<BTreeSet<_>>()
    };
    let only = |ok, status, text: Option<&str>| BTreeSet::from([(ok, status, text.map(str::to_owned))]);
    assert_eq!(seen("traffic.order"), only(true, 201, None));
    assert_eq!(seen("traffic.wrong"), only(false, 201, Some("the answer does not contain \"never there\"")));
    assert_eq!(seen("traffic.moved"), only(true, 302, None));
    assert_eq!(seen("traffic.missing"), only(false, 404, Some("answered 404")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_queue_cannot_hold_is_a_failed_sample_and_not_forgotten() {
    let mut tasks = JoinSet::new();
    let url = serve(&mut tasks, Router::new().route("/", any(std::future::pending::<()>))).await;
    // The one client never comes free before the time-out, and no queue holds what is due in it: 400,000 requests.
    let recorder = load(plan(400_000.0, 1, ms(1000), vec![request("a", &url)]), 2000).await;
    let samples = all(&recorder, "traffic");
    let away = samples.iter().filter(|s| s.text.as_deref().is_some_and(|t| t.starts_with("not sent: "))).count();
    assert!(away >= 1000, "{away} of {}", samples.len());
    assert!(samples.iter().all(|sample| !sample.ok));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_settled_while_a_request_that_was_due_waits_for_a_client() {
    let mut tasks = JoinSet::new();
    let url = serve(&mut tasks, Router::new().route("/", any(crowded)).with_state(Gauge::default())).await;
    let _installed_before = rustls::crypto::ring::default_provider().install_default();
    let recorder = Recorder::new(["traffic.a".to_owned()]);
    let stop = CancellationToken::new();
    let plan = plan(300.0, 1, ms(400), vec![request("a", &url)]);
    tasks.spawn(traffic::run(plan, 7, Arc::clone(&recorder), stop.clone()));
    let mut changes = recorder.changes();
    // One client of 30 ms for 300/s: most wait, and later ones are not sent at all. Whenever one comes back, as many
    // samples must be there as were due in what is said to be settled.
    for _ in 0..200 {
        tokio::time::timeout(ms(20_000), changes.changed()).await.unwrap().unwrap();
        let settled = recorder.settled();
        let samples = recorder.window_by_start("traffic", &(Duration::ZERO..settled));
        let first = all(&recorder, "traffic").iter().map(|sample| sample.at).min().unwrap();
        let due = (settled.saturating_sub(first).as_secs_f64() * 300.0).floor();
        assert!(samples.len() as f64 >= due, "{} samples of {due} that were due until {settled:?}", samples.len());
    }
    stop.cancel();
}
