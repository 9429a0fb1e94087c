//! The shop's front: rates, chaos, flags, the guard of `/admin`, panics and workers, each with its pattern on and off.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a helper of a test fails the test")]

mod support;

use bytes::Bytes;
use futures::future::join_all;
use http_body_util::Full;
use hyper::Request;
use serde_json::{Value, json};
use squall_shop::{
    DependencyKind::{Payment, Recommendations, Reviews},
    FrontConfig, Pattern, RateConfig, ShopConfig,
};
use std::time::Duration;
use support::{MS, Reply, World, config, eventually, series, tap::Mode};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

async fn send(world: &World, method: &str, path: &str, headers: &[(&str, &str)], body: Value) -> Reply {
    let mut request = Request::builder().method(method).uri(world.customer.url(path));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
    let request = request.header("content-type", "application/json").body(Full::from(body)).unwrap();
    world.customer.ask(request).await
}

fn front(front: FrontConfig, without: &[Pattern]) -> ShopConfig {
    ShopConfig { front, without: without.iter().copied().collect(), ..config() }
}

/// How many of twenty pages that a client with a burst of five asks for it gets, and another client's one.
async fn greedy(without: &[Pattern]) -> (usize, u16, Option<String>) {
    let rate = RateConfig { client: 1, client_burst: 5, ..RateConfig::default() };
    let world = World::with(front(FrontConfig { rate, ..FrontConfig::default() }, without)).await;
    let ask = async |client| send(&world, "GET", "/products/1", &[("x-client-id", client)], Value::Null).await;
    let replies = join_all((0..20).map(|_| ask("greedy"))).await;
    let limited = replies.iter().find(|reply| reply.status == 429);
    let retry_after = limited.map(|reply| reply.headers["retry-after"].to_str().unwrap().to_owned());
    let got = replies.iter().filter(|reply| reply.status == 200).count();
    let modest = ask("modest").await.status;
    world.gone().await;
    (got, modest, retry_after)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_greedy_client_is_limited_and_without_the_pattern_it_is_not() {
    let (got, modest, retry_after) = greedy(&[]).await;
    assert!((5..=6).contains(&got), "{got}");
    assert_eq!((modest, retry_after.as_deref()), (200, Some("1")));
    assert_eq!(greedy(&[Pattern::RateLimiting]).await, (20, 200, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn chaos_hurts_the_operation_that_it_names_until_its_rule_is_taken_away() {
    let world = World::without(&[]).await;
    let set = send(&world, "PUT", "/admin/chaos/product", &[], json!({"error": 503})).await;
    assert_eq!(set.status, 200, "{}", set.body);
    assert_eq!(world.customer.get("/products/1").await.body["error"]["code"], "chaos");
    assert_eq!(world.customer.get("/search?q=tea").await.status, 200);
    assert_eq!(world.tap(Reviews).connections(), 0, "an injected error does no work");
    assert_eq!(world.customer.get("/admin/chaos").await.body["product"]["error"], 503);
    let late = json!({"latency_ms": 300});
    assert_eq!(send(&world, "PUT", "/admin/chaos/product", &[], late).await.status, 200);
    let page = world.customer.get("/products/1").await;
    assert!(page.status == 200 && page.took >= 300 * MS, "{page:?}");
    assert_eq!(send(&world, "DELETE", "/admin/chaos/product", &[], Value::Null).await.body, json!({"removed": true}));
    for (path, rule, status, words) in [
        ("/admin/chaos/produkt", json!({"error": 503}), 404, "did you mean `product`?"),
        ("/admin/chaos/product", json!({}), 400, "the rule does nothing"),
        ("/admin/chaos/product", json!({"latency": 3}), 400, "unknown field"),
    ] {
        let refused = send(&world, "PUT", path, &[], rule).await;
        assert!(refused.body["error"]["message"].as_str().unwrap().contains(words), "{}", refused.body);
        assert_eq!(refused.status, status);
    }
    let metrics = world.customer.text("/metrics").await;
    assert_eq!(series(&metrics, r#"chaos_injections_total{operation="product",kind="error"}"#), 1.0);
    world.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_chaos_no_rule_is_taken() {
    let rules = vec!["product:error=503".parse().unwrap()];
    let world = World::with(front(FrontConfig { chaos: rules, ..FrontConfig::default() }, &[Pattern::Chaos])).await;
    assert_eq!(world.customer.get("/products/1").await.status, 200);
    assert_eq!(send(&world, "PUT", "/admin/chaos/product", &[], json!({"error": 503})).await.status, 404);
    world.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_a_request_is_a_500_and_without_the_pattern_it_breaks_the_connection() {
    for (without, status) in [(vec![], 500), (vec![Pattern::LetItCrash], 0)] {
        let world = World::without(&without).await;
        send(&world, "PUT", "/admin/chaos/product", &[], json!({"panic": true})).await;
        assert_eq!(world.customer.get("/products/1").await.status, status);
        assert_eq!(world.customer.get("/search?q=tea").await.status, 200, "and no more than that");
        eventually("its slot is free again", async || {
            series(&world.customer.text("/metrics").await, r#"pool_in_use{pool="requests"}"#) == 0.0
        })
        .await;
        world.gone().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crashed_worker_is_back_and_without_the_pattern_it_is_gone() {
    for (without, up) in [(vec![], 1.0), (vec![Pattern::LetItCrash], 0.0)] {
        let world = World::without(&without).await;
        let is =
            async |value: f64| series(&world.customer.text("/metrics").await, r#"worker_up{worker="cpu"}"#) == value;
        eventually("the worker runs", async || is(1.0).await).await;
        assert_eq!(send(&world, "POST", "/admin/workers/crash", &[], Value::Null).await.status, 202);
        let restarts = async || {
            let metrics = world.customer.text("/metrics").await;
            series(&metrics, r#"worker_restarts_total{worker="cpu"}"#)
        };
        if up == 1.0 {
            eventually("it was started again", async || restarts().await == 1.0).await;
        }
        eventually("it is as the pattern says", async || is(up).await).await;
        assert_eq!(
            world.customer.get("/health").await.body["workers"]["cpu"],
            if up == 1.0 { "running" } else { "down" }
        );
        // The writer of events crashed as well: a new one takes what comes, or nobody does.
        let event = async || world.customer.post("/events", &json!({"kind": "seen"})).await.status;
        eventually("events are taken, or refused", async || event().await == if up == 1.0 { 202 } else { 503 }).await;
        world.gone().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn flags_and_the_degraded_mode_leave_parts_out_and_ask_nobody() {
    let world = World::without(&[]).await;
    let flag = send(&world, "PUT", "/admin/flags/reviews", &[], json!({"state": "off"})).await;
    assert_eq!(flag.body["shown"], false, "{}", flag.body);
    let page = world.customer.get("/products/1").await;
    assert_eq!(page.body["warnings"], json!(["reviews left out: switched off"]));
    assert_eq!(world.tap(Reviews).connections(), 0);
    send(&world, "PUT", "/admin/flags/reviews", &[], json!({"state": "auto"})).await;
    assert_eq!(world.customer.get("/products/1").await.body["reviews"]["stale"], false);
    assert_eq!(send(&world, "POST", "/admin/degraded", &[], json!({"on": true})).await.status, 200);
    let (asked, page) = (world.tap(Recommendations).connections(), world.customer.get("/products/1").await);
    assert_eq!((page.status, &page.body["reviews"]["stale"]), (200, &json!(true)), "the last known: {}", page.body);
    let unknown = world.customer.get("/products/499").await;
    assert!(unknown.body["warnings"].to_string().contains("reviews left out: the shop is in degraded mode"));
    assert_eq!(world.tap(Recommendations).connections(), asked);
    let report = world.customer.get("/reports/sales").await;
    assert_eq!((report.status, &report.body["error"]["code"]), (503, &json!("withheld")), "{}", report.body);
    assert_eq!(world.customer.buy().await.status, 201, "orders go on");
    let nothing = send(&world, "PUT", "/admin/flags/revews", &[], json!({"state": "off"})).await;
    assert!(nothing.body.to_string().contains("did you mean `reviews`?"), "{}", nothing.body);
    assert_eq!(send(&world, "PUT", "/admin/flags/reviews", &[], json!({"state": "maybe"})).await.status, 400);
    world.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_degradation_there_are_no_flags() {
    let world = World::without(&[Pattern::Degradation]).await;
    assert_eq!(send(&world, "POST", "/admin/degraded", &[], json!({"on": true})).await.status, 404);
    assert!(world.customer.get("/products/1").await.body.get("reviews").is_some());
    world.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn admin_asks_for_its_token_and_without_one_for_the_loopback_and_no_web_page() {
    let token = Some("0123456789abcdef".parse().unwrap());
    let world = World::with(front(FrontConfig { admin_token: token, ..FrontConfig::default() }, &[])).await;
    assert_eq!(world.customer.get("/admin/flags").await.status, 401);
    assert_eq!(send(&world, "POST", "/admin/shutdown", &[], Value::Null).await.status, 401);
    let bearer = [("authorization", "Bearer 0123456789abcdef")];
    assert_eq!(send(&world, "GET", "/admin/flags", &bearer, Value::Null).await.status, 200);
    world.gone().await;
    let world = World::without(&[]).await;
    assert_eq!(world.customer.get("/admin/flags").await.status, 200);
    let page = [("origin", "http://evil.example")];
    assert_eq!(send(&world, "POST", "/admin/shutdown", &page, Value::Null).await.status, 403);
    world.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_over_the_number_is_told_so_and_without_shedding_it_waits() {
    for (without, answered) in [(vec![], true), (vec![Pattern::LoadShedding], false)] {
        let world = World::with(front(FrontConfig { connections: 1, ..FrontConfig::default() }, &without)).await;
        assert_eq!(world.customer.get("/products/1").await.status, 200);
        let address = world.customer.url("").trim_start_matches("http://").to_owned();
        let mut second = TcpStream::connect(address).await.unwrap();
        second.write_all(b"GET /products/1 HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        let read = tokio::time::timeout(500 * MS, second.read_to_string(&mut answer)).await;
        assert_eq!(read.is_ok(), answered, "{answer}");
        assert_eq!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("retry-after: 1"), answered, "{answer}");
        drop(second);
        world.gone().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn time_outs_are_advised_from_what_calls_took_and_without_the_pattern_they_are_not() {
    for (without, advised) in [(vec![], true), (vec![Pattern::TimeoutAdvice], false)] {
        let world = World::without(&without).await;
        for batch in 0..15 {
            let pages = (1..=10).map(|n| batch * 10 + n).map(|n| format!("/products/{n}"));
            join_all(pages.map(async |page| world.customer.get(&page).await.status)).await;
        }
        let advice = world.customer.get("/admin/timeouts").await.body;
        let timeout = advice["reviews/get"]["timeout_ms"].as_f64();
        assert_eq!(timeout.is_some_and(|timeout| timeout >= 4.0), advised, "{advice}");
        let metrics = world.customer.text("/metrics").await;
        let series = series(&metrics, r#"timeout_advice_seconds{service="reviews",operation="get"}"#);
        assert_eq!(series > 0.0, advised);
        world.gone().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_metrics_nothing_can_be_scraped() {
    let world = World::without(&[Pattern::Metrics]).await;
    assert_eq!(world.customer.get("/metrics").await.status, 404);
    world.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_endpoint_has_a_breaker_and_its_recovery_is_timed() {
    let world = World::without(&[]).await;
    let breakers = world.customer.get("/health").await.body["breakers"].clone();
    for endpoint in ["payment/charges", "payment/voids", "inventory/reservations", "inventory/releases", "reviews/get"]
    {
        assert_eq!(breakers[endpoint], "closed", "{breakers}");
    }
    world.tap(Payment).set(Mode::Reset);
    eventually("the breaker opens", async || {
        world.customer.buy().await;
        world.customer.get("/health").await.body["breakers"]["payment/charges"] == "open"
    })
    .await;
    world.tap(Payment).set(Mode::Pass);
    eventually("an order succeeds", async || world.customer.buy().await.status == 201).await;
    eventually("it has closed", async || {
        world.customer.buy().await;
        let metrics = world.customer.text("/metrics").await;
        series(&metrics, r#"recovery_time_seconds_count{service="payment",operation="charges"}"#) == 1.0
    })
    .await;
    world.gone().await;
}

/// A page within its budget although a bottleneck of the shop's own takes longer.
#[tokio::test(flavor = "multi_thread")]
async fn the_total_is_never_exceeded_whatever_takes_the_time() {
    for (without, status) in [(vec![], 504), (vec![Pattern::TimeoutBudget], 200)] {
        let world = World::without(&without).await;
        send(&world, "PUT", "/admin/chaos/product", &[], json!({"latency_ms": 1500})).await;
        let page = world.customer.get("/products/1").await;
        assert_eq!(page.status, status);
        assert_eq!(page.took < Duration::from_millis(1400), status == 504, "{:?}", page.took);
        world.gone().await;
    }
}
