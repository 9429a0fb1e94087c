//! Orders: once for each key, undone when they fail, and within their time.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a helper of a test fails the test")]

mod support;

use serde_json::{Value, json};
use squall_shop::{
    DependencyKind::{Inventory, Payment},
    Origin, Pattern, ShopConfig,
};
use std::time::Duration;
use support::{MS, World, config, eventually, series, tap::Mode};
use tokio::io::AsyncReadExt as _;

fn one_of(product: i64) -> Value {
    json!({"product": product, "quantity": 1})
}

async fn stock(world: &World, product: i64) -> i64 {
    world.asked(Inventory, &format!("/stock/{product}")).await.body["left"].as_i64().unwrap()
}

async fn payment(world: &World, name: &str) -> f64 {
    series(world.asked(Payment, "/metrics").await.body.as_str().unwrap(), name)
}

const FULL: i64 = 1_000_000;

#[tokio::test(flavor = "multi_thread")]
async fn an_order_takes_stock_and_money_and_can_be_looked_up() {
    let world = World::without(&[]).await;
    let placed = world.customer.order(Some("k"), one_of(7)).await;
    assert_eq!(placed.status, 201, "{}", placed.body);
    let id = placed.body["id"].as_str().unwrap();
    assert_eq!(world.customer.get(&format!("/orders/{id}")).await.body, placed.body);
    assert_eq!((stock(&world, 7).await, payment(&world, "charges_total").await), (FULL - 1, 1.0));
    assert_eq!(world.customer.get("/orders/none").await.status, 404);
    world.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_gives_the_same_answer_and_charges_once_also_when_asked_ten_times_at_once() {
    let world = World::without(&[]).await;
    let asked = (0..10).map(|_| world.customer.order(Some("k"), one_of(7)));
    let replies = futures::future::join_all(asked).await;
    for reply in &replies {
        assert_eq!((reply.status, &reply.body), (201, &replies[0].body));
    }
    let first = replies.iter().filter(|reply| !reply.headers.contains_key("idempotent-replayed")).count();
    assert_eq!(first, 1, "one of them did the work");
    let later = world.customer.order(Some("k"), one_of(7)).await;
    assert_eq!((later.status, later.body), (201, replies[0].body.clone()));
    assert_eq!((stock(&world, 7).await, payment(&world, "charges_total").await), (FULL - 1, 1.0));
    world.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_for_one_order_and_needed() {
    let world = World::without(&[]).await;
    assert_eq!(world.customer.order(Some("k"), one_of(7)).await.status, 201);
    assert_eq!(world.customer.order(Some("k"), one_of(8)).await.status, 422);
    let missing = world.customer.order(None, one_of(7)).await;
    assert_eq!((missing.status, &missing.body["error"]["code"]), (400, &json!("key_missing")));
    assert_eq!(world.customer.order(Some(""), one_of(7)).await.status, 400);
    world.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_idempotency_each_repeat_is_another_order() {
    let world = World::without(&[Pattern::Idempotency]).await;
    for _ in 0..3 {
        assert_eq!(world.customer.order(Some("k"), one_of(7)).await.status, 201);
    }
    assert_eq!(payment(&world, "charges_total").await, 3.0);
    world.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_refused_before_any_work() {
    let world = World::without(&[]).await;
    for (body, status) in [
        (json!({"product": 7, "quantity": 0}), 400),
        (json!({"product": 7, "quantity": 1001}), 400),
        (json!({"product": 7, "amount": 1}), 400),
        (json!({"product": 501, "quantity": 1}), 404),
    ] {
        let reply = world.customer.order(Some("k"), body.clone()).await;
        assert_eq!(reply.status, status, "{body}: {}", reply.body);
        assert!(reply.body["error"]["message"].is_string(), "{}", reply.body);
    }
    assert_eq!(world.tap(Inventory).connections(), 0);
    world.gone().await;
}

/// A product of which a thousand pieces cost more than payment allows.
async fn dear(world: &World) -> i64 {
    for product in 1..=500 {
        let page = world.customer.get(&format!("/products/{product}")).await;
        if page.body["product"]["price_cents"].as_i64().unwrap() > 10_000 {
            return product;
        }
    }
    panic!("nothing in the catalogue is dear");
}

#[tokio::test(flavor = "multi_thread")]
async fn when_payment_declines_the_stock_comes_back_and_the_answer_stays() {
    let mut world = World::without(&[]).await;
    let product = dear(&world).await;
    let order = json!({"product": product, "quantity": 1000});
    let declined = world.customer.order(Some("k"), order.clone()).await;
    assert_eq!(declined.status, 402, "{}", declined.body);
    let again = world.customer.order(Some("k"), order).await;
    assert_eq!((again.status, again.body), (402, declined.body));
    // The end of the shop is the end of what it undoes.
    world.shop_gone().await;
    assert_eq!(stock(&world, product).await, FULL);
    world.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_whose_payment_got_no_answer_is_undone_at_both_ends_and_may_be_repeated() {
    let world = World::without(&[]).await;
    world.tap(Payment).set(Mode::Late(60_000 * MS));
    let late = world.customer.order(Some("k"), one_of(7)).await;
    assert_eq!((late.status, &late.body["error"]["code"]), (504, &json!("deadline_exceeded")));
    assert!(late.took < 3000 * MS, "within the order's budget: {:?}", late.took);
    assert_eq!(payment(&world, "charges_total").await, 1.0, "the money was taken, only the answer was late");
    world.tap(Payment).set(Mode::Pass);
    eventually("the charge is taken back", async || payment(&world, "voids_total").await == 1.0).await;
    eventually("the stock comes back", async || stock(&world, 7).await == FULL).await;
    let again = world.customer.order(Some("k"), one_of(7)).await;
    assert_eq!(again.status, 201, "an answer that was no answer is not kept: {}", again.body);
    assert_eq!((stock(&world, 7).await, payment(&world, "charges_total").await), (FULL - 1, 2.0));
    world.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_whose_customer_went_away_is_undone() {
    let world = World::without(&[]).await;
    world.tap(Payment).set(Mode::Blackhole);
    let gone = tokio::time::timeout(300 * MS, world.customer.order(Some("k"), one_of(7))).await;
    assert!(gone.is_err());
    world.tap(Payment).set(Mode::Pass);
    eventually("the stock comes back", async || {
        let metrics = world.customer.text("/metrics").await;
        series(&metrics, r#"compensations_total{what="stock",result="undone"}"#) == 1.0
    })
    .await;
    assert_eq!(stock(&world, 7).await, FULL);
    world.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_may_ask_for_less_time() {
    let world = World::without(&[]).await;
    world.tap(Payment).set(Mode::Late(60_000 * MS));
    let request = hyper::Request::post(world.customer.url("/orders"))
        .header("content-type", "application/json")
        .header("idempotency-key", "k")
        .header("x-request-deadline", "400");
    let reply = world.customer.ask(request.body(one_of(7).to_string().into()).unwrap()).await;
    assert_eq!(reply.status, 504, "{}", reply.body);
    assert!((350 * MS..1400 * MS).contains(&reply.took), "not the payment share of 1.5 s: {:?}", reply.took);
    world.gone().await;
}

/// The head of the first request to a payment that never answers.
async fn head_seen_by_payment(without: &[Pattern]) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = ShopConfig { without: without.iter().copied().collect(), ..config() };
    config.dependencies.insert(Payment, Origin::from(listener.local_addr().unwrap()));
    let world = World::with(config).await;
    let customer = world.customer.clone();
    let buying = tokio::spawn(async move { customer.buy().await });
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    buying.abort();
    world.gone().await;
    String::from_utf8(head).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_left_for_a_step_is_passed_down() {
    let head = head_seen_by_payment(&[]).await;
    let left = head.lines().find_map(|line| line.strip_prefix("x-request-deadline: ")).expect("the header is there");
    assert!((1000..=1500).contains(&left.parse::<u32>().unwrap()), "payment has half of 3 s: {left}");
    let head = head_seen_by_payment(&[Pattern::TimeoutBudget]).await;
    assert!(!head.contains("x-request-deadline"), "{head}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_budget_an_order_waits_as_long_as_payment_makes_it() {
    let world = World::without(&[Pattern::TimeoutBudget]).await;
    world.tap(Payment).set(Mode::Late(4000 * MS));
    let order = world.customer.order(Some("k"), one_of(7)).await;
    assert_eq!(order.status, 201);
    assert!(order.took > 3900 * MS, "longer than the whole budget of 3 s: {:?}", order.took);
    world.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_retry_budget_keeps_a_dead_dependency_from_being_stormed() {
    // Without breakers, so that only the budget stands between the retries and the dependency.
    let mut with = config();
    with.without = [Pattern::CircuitBreaker].into();
    with.retry_budget.reserve = 1;
    let mut without = with.clone();
    without.without.insert(Pattern::RetryBudget);
    let mut tries = Vec::new();
    for config in [with, without] {
        let world = World::with(config).await;
        world.tap(Inventory).set(Mode::Reset);
        let orders = world.traffic(Duration::from_secs(1), 1, 40).await.orders;
        assert_eq!(orders.success(), 0.0);
        tries.push(world.tap(Inventory).connections());
        world.tap(Inventory).set(Mode::Pass);
        world.gone().await;
    }
    // Undoing asks too, a little; the calls themselves are 40, with half as many retries or three times as many.
    assert!(tries[1] >= 150, "{tries:?}");
    assert!(tries[0] <= tries[1] * 2 / 3, "{tries:?}");
}
