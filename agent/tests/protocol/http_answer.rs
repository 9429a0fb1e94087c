//! `http_status` and `http_unauthorized`: answers without the upstream, request by request.

use crate::common::{PATIENCE, Rig, expect_silence};
use crate::http_support::{Client, echo_site, get, site};
use std::time::Duration;
use tokio::{io::AsyncWriteExt, time::timeout};

const UNAVAILABLE: &str =
    r#"{"fault": {"http_status": {"status": 503, "retry_after": "5s", "headers": {"X-From": "squall"}}}}"#;

#[tokio::test]
async fn a_request_is_answered_without_asking_and_the_connection_goes_on() {
    let rig = site(|_| panic!("the upstream is not asked")).await;
    let fault = rig.fault(UNAVAILABLE).await;
    let mut client = Client::of(&rig).await;
    for _ in 0..3 {
        let answer = client.get("/").await;
        assert_eq!(answer.line(), "HTTP/1.1 503 Service Unavailable");
        assert_eq!((answer.header("retry-after"), answer.header("x-from")), (Some("5"), Some("squall")));
        assert_eq!(answer.text(), "503 Service Unavailable, by a fault of squall\n");
    }
    assert_eq!((fault.hits(), fault.units()), (Some(3), 3));
    let counters = rig.proxy.counters();
    assert_eq!((counters.requests, counters.requests_hit, counters.request_errors), (3, 3, 3));
    assert_eq!((counters.connections_hit, counters.connection_errors), (1, 0));
}

#[tokio::test]
async fn no_upstream_is_needed_by_a_fault_that_answers() {
    let rig = Rig::http("", |_| async {}).await;
    rig.proxy.set_upstream(crate::common::free_address().to_string());
    let fault = rig.fault(UNAVAILABLE).await;
    let mut client = Client::of(&rig).await;
    assert_eq!(client.get("/").await.status(), 503);
    client.writer.shutdown().await.unwrap();
    assert!(client.ends().await);
    rig.until(|counters| counters.open_connections == 0).await;
    assert_eq!(rig.proxy.counters().connection_errors, 0);
    // Once it is gone, the missing upstream shows.
    let mut client = Client::of(&rig).await;
    assert_eq!(client.get("/").await.status(), 503);
    rig.heal(&fault).await;
    assert!(!client.ends().await, "a reset");
}

#[tokio::test]
async fn answers_keep_their_places_among_those_of_the_upstream() {
    let rig = echo_site().await;
    let fault = rig
        .fault(r#"{"fault": {"http_status": {"status": 429, "body": "slow down"}}, "where": {"path": "/hit*"}}"#)
        .await;
    let mut client = Client::of(&rig).await;
    let paths: Vec<String> = (0..60).map(|n| format!("/{}/{n}", if n % 3 == 1 { "hit" } else { "pass" })).collect();
    client.send(paths.iter().map(|path| get(path)).collect::<String>()).await;
    for path in &paths {
        let expected = if path.starts_with("/hit") { "slow down".to_owned() } else { format!("GET {path}") };
        assert_eq!(client.response().await.text(), expected);
    }
    assert_eq!((fault.hits(), fault.units()), (Some(20), 20));
    assert_eq!(rig.proxy.counters().request_errors, 0, "429 is no failure");
}

#[tokio::test]
async fn the_body_of_an_answered_request_is_thrown_away() {
    let rig = echo_site().await;
    rig.fault(r#"{"fault": {"http_status": {"status": 500}}, "where": {"method": ["POST"]}}"#).await;
    let mut client = Client::of(&rig).await;
    let long = "x".repeat(300_000);
    for request in [
        format!("POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n{long}", long.len()),
        format!("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{long}\r\n0\r\nT: t\r\n\r\n", long.len()),
    ] {
        client.send(request).await;
        assert_eq!(client.response().await.status(), 500);
        assert_eq!(client.get("/next").await.text(), "GET /next");
    }
}

#[tokio::test]
async fn what_is_left_of_an_answered_body_never_reaches_the_upstream_even_if_the_fault_goes_meanwhile() {
    let rig = echo_site().await;
    let fault = rig.fault(r#"{"fault": {"http_status": {"status": 500}}, "where": {"method": ["PUT"]}}"#).await;
    let mut client = Client::of(&rig).await;
    client.send("PUT / HTTP/1.1\r\nContent-Length: 30\r\n\r\n0123456789").await;
    assert_eq!(client.response().await.status(), 500);
    rig.heal(&fault).await;
    client.send(format!("01234567890123456789{}", get("/next"))).await;
    assert_eq!(client.response().await.text(), "GET /next");
    assert_eq!(rig.proxy.counters().bytes_upstream, get("/next").len() as u64);
}

#[tokio::test]
async fn heads_are_answered_without_a_body() {
    let rig = echo_site().await;
    rig.fault(r#"{"fault": {"http_status": {"status": 503, "body": "12345"}}, "count": 1}"#).await;
    let mut client = Client::of(&rig).await;
    client.send(format!("HEAD / HTTP/1.1\r\nHost: s\r\n\r\n{}", get("/b"))).await;
    let head = client.reader.message(true).await.unwrap();
    assert_eq!((head.status(), head.header("content-length")), (503, Some("5")));
    assert_eq!(client.response().await.text(), "GET /b");
}

#[tokio::test]
async fn a_client_that_waits_for_100_continue_or_asks_to_close_is_answered_and_closed() {
    let rig = echo_site().await;
    rig.fault(UNAVAILABLE).await;
    for request in [
        "PUT / HTTP/1.1\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n",
        "GET / HTTP/1.1\r\nConnection: close\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
    ] {
        let mut client = Client::of(&rig).await;
        client.send(request).await;
        let answer = client.response().await;
        assert_eq!((answer.status(), answer.header("connection")), (503, Some("close")), "{request}");
        assert!(client.ends().await, "{request}");
    }
    rig.until(|counters| counters.open_connections == 0).await;
    assert_eq!(rig.proxy.counters().request_errors, 3);
}

#[tokio::test]
async fn an_upgrade_that_a_fault_answers_leaves_the_connection_to_http() {
    let rig = echo_site().await;
    rig.fault(r#"{"fault": {"http_status": {"status": 503}}, "where": {"header": {"upgrade": "*"}}}"#).await;
    let mut client = Client::of(&rig).await;
    client.send("GET /a HTTP/1.1\r\nHost: s\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n").await;
    assert_eq!(client.response().await.status(), 503);
    assert_eq!(client.get("/b").await.text(), "GET /b");
}

#[tokio::test]
async fn credentials_are_refused_whatever_they_are_with_a_challenge_of_their_scheme() {
    let rig = echo_site().await;
    let fault = rig.fault(r#"{"fault": {"http_unauthorized": {}}}"#).await;
    let mut client = Client::of(&rig).await;
    for (credentials, challenge) in [
        ("", r#"Basic realm="squall""#),
        ("Authorization: Basic YTpi\r\n", r#"Basic realm="squall""#),
        ("authorization: BEARER abc\r\n", r#"Bearer realm="squall", error="invalid_token""#),
    ] {
        client.send(format!("GET / HTTP/1.1\r\n{credentials}\r\n")).await;
        let answer = client.response().await;
        assert_eq!((answer.status(), answer.header("www-authenticate")), (401, Some(challenge)));
    }
    rig.heal(&fault).await;
    assert_eq!(client.get("/in").await.text(), "GET /in");
}

#[tokio::test]
async fn a_request_under_way_is_the_upstreams_and_the_next_one_is_the_faults() {
    let rig = Rig::http("", |stream| async move {
        let (reader, mut writer) = stream.into_split();
        let mut reader = crate::http_support::Reader::new(reader);
        // It answers each request when the next one, or a line, comes.
        while let Some(request) = reader.message(false).await {
            let mut line = String::new();
            let _ = tokio::io::AsyncBufReadExt::read_line(&mut reader.stream, &mut line).await;
            let _ = writer.write_all(crate::http_support::ok(request.line()).as_bytes()).await;
        }
    })
    .await;
    let mut client = Client::of(&rig).await;
    let first = "POST /a HTTP/1.1\r\nContent-Length: 1\r\n\r\n1";
    client.send(first).await;
    rig.until(|counters| counters.bytes_upstream == first.len() as u64).await;
    let fault = rig.fault(UNAVAILABLE).await;
    client.send(get("/b")).await;
    let silent = timeout(Duration::from_millis(300), client.response()).await;
    assert!(silent.is_err(), "its answer waits for the one before: {silent:?}");
    assert_eq!((fault.units(), fault.hits()), (2, Some(1)));
}

#[tokio::test]
async fn a_real_client_and_a_real_server_get_on() {
    let app = axum::Router::new()
        .route("/upper", axum::routing::post(|body: String| async move { body.to_uppercase() }))
        .route(
            "/stream",
            axum::routing::get(|| async {
                let pieces = (0..50).map(|n| Ok::<_, std::convert::Infallible>(format!("piece {n};")));
                axum::body::Body::from_stream(futures::stream::iter(pieces))
            }),
        );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = listener.local_addr().unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move { axum::serve(listener, app).await.unwrap() });
    let rig = Rig::http("", |_| async {}).await;
    rig.proxy.set_upstream(upstream.to_string());
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::new();
    let url = |path: &str| format!("http://{}{path}", rig.proxy.listen_addr());
    let upper = |text: &'static str| {
        let request = client.post(url("/upper")).body(text);
        async move { request.send().await.unwrap() }
    };
    assert_eq!(upper("abc").await.text().await.unwrap(), "ABC");
    let streamed = client.get(url("/stream")).send().await.unwrap().text().await.unwrap();
    assert!(streamed.starts_with("piece 0;piece 1;") && streamed.ends_with("piece 49;"));
    let fault = rig.fault(r#"{"fault": {"http_status": {"status": 502}}, "skip": 1, "count": 1}"#).await;
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(upper("x").await.status().as_u16());
    }
    assert_eq!(statuses, [200, 502, 200, 200]);
    rig.heal(&fault).await;
    assert_eq!(rig.proxy.counters().connections, 1, "one connection, kept alive through all of it");
    assert_eq!(rig.proxy.counters().requests, 6);
}

#[tokio::test]
async fn an_answer_can_be_late_and_its_headers_changed_by_faults_after_it() {
    let rig = echo_site().await;
    rig.fault(UNAVAILABLE).await;
    rig.fault(r#"{"fault": {"http_headers": {"set": {"X-From": "a fault"}, "remove": ["Retry-After"]}}}"#).await;
    rig.fault(r#"{"fault": {"http_body": {"replace": "{}", "content_type": "application/json"}}}"#).await;
    let late = rig.fault(r#"{"fault": {"http_latency": {"delay": "200ms"}}}"#).await;
    let mut client = Client::of(&rig).await;
    let start = std::time::Instant::now();
    client.send(get("/")).await;
    expect_silence(&mut client.reader.stream, Duration::from_millis(100)).await;
    let answer = timeout(PATIENCE, client.response()).await.unwrap();
    assert!(start.elapsed() >= Duration::from_millis(200));
    assert_eq!((answer.status(), answer.text()), (503, "{}"));
    assert_eq!((answer.header("x-from"), answer.header("retry-after")), (Some("a fault"), None));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(late.hits(), Some(1));
}
