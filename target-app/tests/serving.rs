//! The shop as a server: pages, health, metrics, shedding, and its end.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a helper of a test fails the test")]

mod support;

use serde_json::json;
use squall_shop::{
    DependencyKind::{self, Facets, Payment, Recommendations, Reviews},
    FrontConfig, Origin, Pattern, Shop, ShopConfig, ShopError,
};
use std::{collections::BTreeSet, net::SocketAddr, time::Duration};
use support::{MEASURING, MS, World, config, eventually, series, tap::Mode};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_page_has_its_product_and_all_optional_parts() {
    let world = World::without(&[]).await;
    let page = world.customer.get("/products/42").await;
    assert_eq!(page.status, 200);
    assert_eq!(page.body["product"]["id"], 42);
    assert_eq!(page.body["recommendations"]["stale"], false);
    assert!(page.body["recommendations"]["items"].as_array().unwrap().len() >= 5);
    assert!(page.body["reviews"]["items"].as_array().unwrap().len() >= 2);
    assert_eq!(page.body["warnings"], json!([]));
    assert_eq!(world.customer.get("/products/501").await.status, 404);
    assert_eq!(world.customer.get("/products/x").await.status, 400);
    assert_eq!(world.customer.get("/nothing").await.body["error"]["code"], "not_found");
    world.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_without_facets_says_so() {
    let world = World::without(&[]).await;
    let search = world.customer.get("/search?q=amber%20teapot").await;
    assert_eq!(search.body["results"].as_array().unwrap().len(), 1);
    assert!(search.body["facets"]["price"].is_array(), "{}", search.body);
    world.tap(Facets).set(Mode::Reset);
    let search = world.customer.get("/search?q=teapot").await;
    assert_eq!((search.status, search.body["results"].as_array().unwrap().len()), (200, 20));
    assert!(search.body["warnings"][0].as_str().unwrap().starts_with("facets left out"), "{}", search.body);
    assert_eq!(world.customer.get("/search").await.status, 400);
    world.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_optional_part_that_was_never_seen_is_left_out_within_its_share() {
    let _alone = MEASURING.lock().await;
    let world = World::without(&[]).await;
    world.tap(Recommendations).set(Mode::Late(5000 * MS));
    let page = world.customer.get("/products/1").await;
    assert_eq!(page.status, 200);
    assert!((100 * MS..600 * MS).contains(&page.took), "{:?}", page.took);
    assert!(page.body["warnings"][0].as_str().unwrap().starts_with("recommendations left out"));
    world.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn old_servers_close_after_each_answer_and_others_keep_the_connection() {
    let world = World::without(&[]).await;
    for product in 1..=5 {
        world.customer.get(&format!("/products/{product}")).await;
    }
    assert_eq!(world.tap(Recommendations).connections(), 5);
    assert_eq!(world.tap(Reviews).connections(), 1);
    world.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_tells_what_is_down_and_stays_ready_without_a_dependency() {
    let world = World::without(&[]).await;
    let health = world.customer.get("/health").await;
    assert_eq!((health.status, &health.body["status"]), (200, &json!("up")), "{}", health.body);
    assert_eq!(health.body["breakers"]["payment/charges"], "closed");
    world.tap(Payment).set(Mode::Blackhole);
    world.tap(Reviews).set(Mode::Blackhole);
    eventually("the deep health sees it", async || world.customer.get("/health").await.status == 503).await;
    let health = world.customer.get("/health").await;
    let checks = health.body["checks"].as_array().unwrap().iter();
    let down: BTreeSet<_> = checks.filter(|check| check["up"] == false).map(|check| check["name"].as_str()).collect();
    assert_eq!(down, [Some("payment"), Some("reviews")].into(), "{}", health.body);
    assert_eq!(world.customer.get("/health/live").await.status, 200);
    let ready = world.customer.get("/health/ready").await;
    assert_eq!(ready.status, 200);
    assert!(ready.took < 1000 * MS, "ready does not wait for a dependency: {:?}", ready.took);
    world.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_health_checks_everything_is_always_well() {
    let world = World::without(&[Pattern::HealthChecks]).await;
    world.tap(Payment).set(Mode::Reset);
    assert_eq!(world.customer.get("/health").await.body, json!({"status": "up"}));
    world.gone().await;
}

/// A shop with two slots, both taken by orders that payment does not answer.
async fn full(without: &[Pattern]) -> (World, tokio::task::JoinSet<u16>) {
    let config = ShopConfig {
        front: FrontConfig { request_slots: 2, page_budget: 5000 * MS, ..FrontConfig::default() },
        without: without.iter().copied().collect(),
        ..config()
    };
    let world = World::with(config).await;
    world.tap(Payment).set(Mode::Blackhole);
    let mut orders = tokio::task::JoinSet::new();
    for _ in 0..2 {
        let customer = world.customer.clone();
        orders.spawn(async move { customer.buy().await.status });
    }
    eventually("both slots are taken", async || {
        series(&world.customer.text("/metrics").await, r#"pool_in_use{pool="requests"}"#) == 2.0
    })
    .await;
    (world, orders)
}

#[tokio::test(flavor = "multi_thread")]
async fn over_its_slots_the_shop_sheds_at_once_and_still_shows_its_health() {
    let (world, orders) = full(&[]).await;
    let shed = world.customer.get("/products/1").await;
    assert_eq!((shed.status, &shed.body["error"]["code"]), (503, &json!("overloaded")));
    assert!(shed.headers.contains_key("retry-after") && shed.took < 500 * MS);
    assert_eq!(world.tap(Reviews).connections(), 0, "no work was done for it");
    assert_eq!(world.customer.get("/health/ready").await.status, 200);
    let metrics = world.customer.text("/metrics").await;
    assert_eq!(series(&metrics, r#"load_shed_total{service="shop",reason="slots"}"#), 1.0);
    assert_eq!(orders.join_all().await, [504, 504]);
    world.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_load_shedding_a_request_waits_for_a_slot() {
    let (world, orders) = full(&[Pattern::LoadShedding]).await;
    let waited = world.customer.get("/products/1").await;
    assert_eq!(waited.status, 200);
    assert!(waited.took > 500 * MS, "as long as the orders took: {:?}", waited.took);
    assert_eq!(orders.join_all().await, [504, 504]);
    world.gone().await;
}

/// An order that payment answers late is under way when the shop is told to end.
async fn ended_during_an_order(without: &[Pattern]) -> u16 {
    let mut world = World::without(without).await;
    world.tap(Payment).set(Mode::Late(700 * MS));
    let customer = world.customer.clone();
    let order = tokio::spawn(async move { customer.buy().await.status });
    eventually("payment is asked", async || world.tap(Payment).connections() > 0).await;
    world.begin_shutdown();
    let status = order.await.unwrap();
    world.shop_gone().await;
    assert_eq!(world.customer.get("/health/live").await.status, 0, "nobody listens any more");
    world.gone().await;
    status
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_under_way_is_finished_before_the_end() {
    assert_eq!(ended_during_an_order(&[]).await, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_graceful_shutdown_it_is_lost() {
    assert_eq!(ended_during_an_order(&[Pattern::GracefulShutdown]).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn asked_to_leave_it_is_unready_but_serves_until_the_pause_is_over() {
    let mut config = config();
    config.shutdown.pause = Duration::from_millis(1500);
    let mut world = World::with(config).await;
    assert_eq!(world.customer.get("/health/ready").await.status, 200);
    let request = hyper::Request::post(world.customer.url("/admin/shutdown"));
    assert_eq!(world.customer.ask(request.body(Default::default()).unwrap()).await.status, 202);
    assert_eq!(world.customer.get("/health/ready").await.status, 503);
    assert_eq!(world.customer.get("/products/1").await.status, 200);
    world.shop_gone().await;
    assert_eq!(world.customer.get("/products/1").await.status, 0);
    world.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_shops_in_one_process_count_apart() {
    let (one, two) = (World::without(&[]).await, World::without(&[]).await);
    one.customer.get("/products/1").await;
    let count = |text: &str| series(text, r#"http_requests_total{method="GET",route="/products/{id}",status="200"}"#);
    assert_eq!(count(&one.customer.text("/metrics").await), 1.0);
    assert_eq!(count(&two.customer.text("/metrics").await), 0.0);
    one.gone().await;
    two.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_sent_request_does_not_keep_the_shop_from_ending() {
    let mut world = World::without(&[]).await;
    let address = world.customer.url("").trim_start_matches("http://").to_owned();
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /products/1 HTTP/1.1\r\nhost: a\r\n").await.unwrap();
    assert_eq!(world.customer.get("/products/1").await.status, 200);
    tokio::time::timeout(Duration::from_secs(9), world.shop_gone()).await.expect("the drain has a limit");
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    world.gone().await;
}

#[tokio::test]
async fn a_shop_that_lacks_an_address_or_a_port_says_which() {
    let message = |result: Result<Shop, ShopError>| result.map(|_| ()).unwrap_err().to_string();
    let nothing = Shop::bind(ShopConfig::default()).await;
    assert_eq!(message(nothing), "no address for inventory: give one for each dependency");
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let anywhere = Origin::from(SocketAddr::from(([127, 0, 0, 1], 1)));
    let dependencies = DependencyKind::ALL.map(|kind| (kind, anywhere.clone())).into();
    let listen = taken.local_addr().unwrap();
    let occupied = Shop::bind(ShopConfig { listen, dependencies, ..ShopConfig::default() }).await;
    assert!(message(occupied).starts_with(&format!("failed to listen on {listen}")));
}
