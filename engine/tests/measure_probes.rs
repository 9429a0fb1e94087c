//! Probes over real sockets: their clock, what they read, and what a failed reading is.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use axum::{
    Json, Router,
    http::{HeaderMap, StatusCode, header},
    response::IntoResponse,
    routing::any,
};
use serde_json::json;
use squall_engine::{
    agent_tls::AgentTls,
    experiment::{AgentGroup, AgentRead, MetricsRead, ProbeKind, ProbePlan, Secrets, Selector},
    probe::{self, AgentAddress},
    recorder::Recorder,
    sample::Sample,
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

async fn serve(tasks: &mut JoinSet<()>, router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tasks.spawn(async move { axum::serve(listener, router).await.unwrap() });
    url
}

fn http(url: &str, path: Option<&str>) -> ProbeKind {
    let body = path.map(|path| serde_json_path::JsonPath::parse(path).unwrap());
    ProbeKind::Http { url: url.into(), method: "GET".into(), headers: vec![("x-key".into(), "k1".into())], body }
}

fn metrics(url: &str, name: &str, read: MetricsRead) -> ProbeKind {
    ProbeKind::Metrics { url: url.into(), select: Selector { name: name.into(), labels: vec![] }, read }
}

/// Reads so many samples and stops; half a minute is the limit.
async fn watch(plan: ProbePlan, agents: BTreeMap<String, AgentAddress>, count: u64) -> Vec<Sample> {
    watch_with(plan, agents, Secrets::default(), count).await
}

async fn watch_with(
    plan: ProbePlan,
    agents: BTreeMap<String, AgentAddress>,
    secrets: Secrets,
    count: u64,
) -> Vec<Sample> {
    let _installed_before = rustls::crypto::ring::default_provider().install_default();
    let recorder = Recorder::new(["p".to_owned()]);
    let stop = CancellationToken::new();
    let mut tasks = JoinSet::new();
    tasks.spawn(probe::watch("p".into(), plan, Arc::new(agents), secrets, Arc::clone(&recorder), stop.clone()));
    let mut changes = recorder.changes();
    let enough = changes.wait_for(|pushed| *pushed >= count);
    tokio::time::timeout(ms(30_000), enough).await.expect("samples in time").unwrap();
    stop.cancel();
    tokio::time::timeout(ms(5000), tasks.join_next()).await.expect("it stops when told to").unwrap().unwrap();
    recorder.window_by_done("p", &(Duration::ZERO..ms(1_000_000)))
}

async fn read(kind: ProbeKind, count: u64) -> Vec<Sample> {
    watch(ProbePlan { every: ms(20), timeout: ms(5000), kind }, BTreeMap::new(), count).await
}

#[tokio::test]
async fn a_hung_server_gives_failed_samples_at_the_time_out_on_an_unshifted_clock() {
    let mut tasks = JoinSet::new();
    let url = serve(&mut tasks, Router::new().route("/", any(std::future::pending::<()>))).await;
    let plan = ProbePlan { every: ms(100), timeout: ms(150), kind: http(&url, None) };
    let samples = watch(plan, BTreeMap::new(), 3).await;
    for sample in &samples {
        assert!(!sample.ok && sample.status.is_none(), "{sample:?}");
        assert!(sample.took >= ms(150) && sample.took < ms(1500), "{sample:?}");
        assert_eq!(sample.text.as_deref(), Some("timed out after 150ms"));
    }
    // Each takes one and a half turns, so every second turn is left out: three are four turns apart, where readings
    // one after the other would be three. Half a turn of room, for the first that started late.
    let apart = samples[2].at - samples[0].at;
    assert!(apart > ms(350), "{apart:?}");
}

#[tokio::test]
async fn a_server_that_never_ends_its_answer_is_cut_off_too() {
    let mut tasks = JoinSet::new();
    let endless = || async {
        let chunks = futures::stream::unfold((), |()| async {
            tokio::time::sleep(ms(5)).await;
            Some((Ok::<_, std::io::Error>("x"), ()))
        });
        axum::body::Body::from_stream(chunks)
    };
    let url = serve(&mut tasks, Router::new().route("/", any(endless))).await;
    let samples =
        watch(ProbePlan { every: ms(50), timeout: ms(100), kind: http(&url, None) }, BTreeMap::new(), 1).await;
    assert_eq!(samples[0].text.as_deref(), Some("timed out after 100ms"));
}

#[tokio::test]
async fn a_longer_body_than_is_read_is_a_failed_reading() {
    let mut tasks = JoinSet::new();
    let url = serve(&mut tasks, Router::new().route("/", any(|| async { "x".repeat(1024 * 1024 + 1) }))).await;
    let samples = read(http(&url, None), 1).await;
    assert_eq!((samples[0].ok, samples[0].text.as_deref()), (false, Some("the answer is longer than 1024 KiB")));
}

async fn ready(headers: HeaderMap) -> impl IntoResponse {
    let known = headers.get("x-key").is_some_and(|key| key == "k1");
    (
        if known { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::UNAUTHORIZED },
        Json(json!({"queue": {"length": 12}})),
    )
}

#[tokio::test]
async fn any_answer_is_a_reading_and_a_path_gives_its_value() {
    let mut tasks = JoinSet::new();
    let router = Router::new()
        .route("/ready", any(ready))
        .route("/moved", any(|| async { (StatusCode::MOVED_PERMANENTLY, [(header::LOCATION, "/ready")]) }));
    let url = serve(&mut tasks, router).await;
    let sample = read(http(&format!("{url}/ready"), Some("$.queue.length")), 1).await.remove(0);
    assert_eq!(
        (sample.ok, sample.status, sample.value, sample.text.as_deref()),
        (true, Some(503), Some(12.0), Some("12"))
    );
    let sample = read(http(&format!("{url}/ready"), Some("$.queue.age")), 1).await.remove(0);
    assert_eq!((sample.ok, sample.status, sample.value), (false, Some(503), None));
    let sample = read(http(&format!("{url}/moved"), None), 1).await.remove(0);
    assert_eq!((sample.ok, sample.status, sample.text), (true, Some(301), None));
}

#[tokio::test]
async fn a_secret_in_an_answer_is_in_no_sample_however_it_is_cut() {
    let mut tasks = JoinSet::new();
    let body = format!(r#"{{"a":"{}hunter2-hunter2"}}"#, "x".repeat(193));
    let url = serve(&mut tasks, Router::new().route("/", any(|| async { body }))).await;
    let mut secrets = Secrets::default();
    secrets.add("hunter2-hunter2");
    let plan = ProbePlan { every: ms(20), timeout: ms(5000), kind: http(&url, Some("$.a")) };
    let sample = watch_with(plan, BTreeMap::new(), secrets, 1).await.remove(0);
    assert_eq!(sample.text.unwrap().to_string(), format!("{}***", "x".repeat(193)));
}

#[tokio::test]
async fn a_port_that_takes_connections_is_a_success_and_sends_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let sample = read(ProbeKind::Tcp { address: address.clone() }, 1).await.remove(0);
    assert_eq!((sample.ok, sample.value, sample.status, sample.text), (true, None, None, None));
    assert!(sample.took < ms(5000), "{:?}", sample.took);
    let (mut connection, _) = listener.accept().await.unwrap();
    let mut bytes = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut connection, &mut bytes).await.unwrap();
    assert!(bytes.is_empty(), "{bytes:?}");
    drop((connection, listener));
    let sample = read(ProbeKind::Tcp { address }, 1).await.remove(0);
    assert_eq!((sample.ok, sample.text.as_deref()), (false, Some("failed to connect: Connection refused")));
}

#[tokio::test]
async fn an_unreachable_server_says_why() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    for kind in [http(&url, None), metrics(&url, "m", MetricsRead::Value)] {
        let sample = read(kind, 1).await.remove(0);
        assert_eq!((sample.ok, sample.text.as_deref()), (false, Some("failed to connect: Connection refused")));
    }
}

fn counting_page() -> Router {
    let reading = Arc::new(AtomicU64::new(0));
    Router::new().route(
        "/metrics",
        any(move || {
            let n = reading.fetch_add(1, Ordering::SeqCst);
            async move { format!("# TYPE n counter\nn{{a=\"}}\"}} {}\nn{{a=\",\"}} 1\ng 4.5\n", n * 1000) }
        }),
    )
}

#[tokio::test]
async fn metrics_give_values_and_rates() {
    let mut tasks = JoinSet::new();
    let url = format!("{}/metrics", serve(&mut tasks, counting_page()).await);
    let samples = read(metrics(&url, "g", MetricsRead::Value), 2).await;
    assert!(samples.iter().all(|s| s.ok && s.value == Some(4.5) && s.status == Some(200)), "{samples:?}");
    let samples = read(metrics(&url, "n", MetricsRead::Rate), 3).await;
    assert_eq!((samples[0].ok, samples[0].value), (true, None));
    for (before, sample) in samples.iter().zip(&samples[1..]) {
        // A thousand a reading, over the time between two readings.
        let between = sample.value.unwrap() * (sample.done() - before.done()).as_secs_f64();
        assert!((700.0..1300.0).contains(&between), "{between}");
    }
}

#[tokio::test]
async fn a_page_without_the_metric_is_a_failed_reading_that_names_the_nearest() {
    let mut tasks = JoinSet::new();
    let router = Router::new()
        .route("/metrics", any(|| async { "requests_total 1\n" }))
        .route("/broken", any(|| async { "requests_total one\n" }))
        .route("/error", any(|| async { StatusCode::INTERNAL_SERVER_ERROR }));
    let url = serve(&mut tasks, router).await;
    let mut failures = Vec::new();
    for page in ["metrics", "broken", "error"] {
        let sample = read(metrics(&format!("{url}/{page}"), "request_total", MetricsRead::Value), 1).await.remove(0);
        assert!(!sample.ok);
        failures.push(sample.text.unwrap().to_string());
    }
    assert_eq!(
        failures,
        [
            "there is no metric `request_total` on the page; did you mean `requests_total`?",
            "line 1 of the metrics page cannot be read: its value is not a number",
            "the metrics page answered 500 Internal Server Error",
        ]
    );
}

async fn proxy(headers: HeaderMap) -> impl IntoResponse {
    if headers.get("authorization").is_none_or(|token| token != "Bearer t0ken") {
        let error = json!({"error": {"code": "forbidden", "message": "a token is needed"}});
        return (StatusCode::FORBIDDEN, Json(error));
    }
    let counters = json!({"open_connections": 3, "connections": 10, "connections_hit": 7});
    (StatusCode::OK, Json(json!({"name": "payment", "counters": counters, "of a later version": true})))
}

#[tokio::test]
async fn an_agent_tells_what_a_proxy_saw() {
    let mut tasks = JoinSet::new();
    let url = serve(&mut tasks, Router::new().route("/v1/proxies/payment", any(proxy))).await;
    let agents = |token: &str| {
        BTreeMap::from([(
            "a1".to_owned(),
            AgentAddress { url: format!("{url}/"), token: Some(token.into()), tls: AgentTls::default() },
        )])
    };
    let plan = |agent: Option<&str>, read| ProbePlan {
        every: ms(20),
        timeout: ms(5000),
        kind: ProbeKind::Agent {
            agent: agent.map(str::to_owned),
            proxy: "payment".parse().unwrap(),
            group: None,
            read,
            control: false,
        },
    };
    let first = |plan, agents| async move { watch(plan, agents, 1).await.remove(0) };
    let hit = first(plan(None, AgentRead::ConnectionsHit), agents("t0ken")).await;
    assert_eq!((hit.ok, hit.value), (true, Some(7.0)));
    let rates = watch(plan(Some("a1"), AgentRead::ConnectionRate), agents("t0ken"), 2).await;
    assert_eq!((rates[0].value, rates[1].value), (None, Some(0.0)));
    let refused = first(plan(None, AgentRead::ConnectionsHit), agents("wrong")).await;
    let why = refused.text.unwrap();
    assert_eq!((refused.ok, &*why), (false, "the agent answered 403 Forbidden: a token is needed"));
    let unknown = first(plan(Some("a2"), AgentRead::ConnectionsHit), agents("t0ken")).await;
    assert_eq!(unknown.text.as_deref(), Some("there is no agent `a2` in this run"));
    assert!(!format!("{:?}", agents("t0ken")).contains("t0ken"));
}

/// An agent that forgets a mark once; each reading is of the same traffic of both groups.
async fn traffic(
    axum::extract::State(readings): axum::extract::State<Arc<AtomicU64>>,
    axum::extract::RawQuery(query): axum::extract::RawQuery,
) -> impl IntoResponse {
    let reading = readings.fetch_add(1, Ordering::Relaxed);
    let wanted = match reading {
        0 | 4 => "proxy=payment".to_owned(),
        _ => format!("proxy=payment&since=0123abcd-{}", reading - 1),
    };
    assert_eq!(query.as_deref(), Some(wanted.as_str()));
    if reading == 3 {
        let error = json!({"error": {"code": "gone", "message": "forgotten"}});
        return (StatusCode::GONE, Json(error));
    }
    let none = json!({"count": 0, "p50": null, "p90": null, "p99": null, "p999": null, "max": null});
    let group = |first_byte: &str, errors: u64| {
        let mut timing = none.clone();
        timing["p99"] = first_byte.into();
        json!({
            "open": 2, "ended": 20, "errors": errors, "bytes_upstream": 10, "bytes_downstream": 30,
            "connect": none, "first_byte": timing, "duration": none,
        })
    };
    let proxy = json!({
        "proxy": "payment", "all": group("900ms", 6), "hit": group("900ms", 5), "spared": group("4ms", 1),
        "of a later version": true,
    });
    (StatusCode::OK, Json(json!({"mark": format!("0123abcd-{reading}"), "proxies": [proxy]})))
}

#[tokio::test]
async fn an_agent_tells_the_hit_from_the_spared_and_a_forgotten_mark_only_begins_anew() {
    let mut tasks = JoinSet::new();
    let mut values = Vec::new();
    for (group, read) in [
        (Some(AgentGroup::Hit), AgentRead::FirstByteP99),
        (Some(AgentGroup::Spared), AgentRead::FirstByteP99),
        (Some(AgentGroup::Spared), AgentRead::ErrorRatio),
        (None, AgentRead::ErrorRatio),
        (Some(AgentGroup::Hit), AgentRead::OpenConnections),
        (Some(AgentGroup::Hit), AgentRead::DurationP50),
    ] {
        let router = Router::new().route("/v1/traffic", any(traffic)).with_state(Arc::new(AtomicU64::new(0)));
        let url = serve(&mut tasks, router).await;
        let kind = ProbeKind::Agent { agent: None, proxy: "payment".parse().unwrap(), group, read, control: false };
        let agents = BTreeMap::from([("a1".to_owned(), AgentAddress { url, token: None, tls: AgentTls::default() })]);
        let samples = watch(ProbePlan { every: ms(20), timeout: ms(5000), kind }, agents, 6).await;
        assert!(samples.iter().all(|sample| sample.ok), "{samples:?}");
        values.push(samples[..6].iter().map(|sample| sample.value).collect::<Vec<_>>());
    }
    let counted = |value| vec![None, Some(value), Some(value), None, None, Some(value)];
    let always = vec![Some(2.0), Some(2.0), Some(2.0), None, Some(2.0), Some(2.0)];
    assert_eq!(values, [counted(0.9), counted(0.004), counted(0.05), counted(0.3), always, vec![None; 6]]);
}
