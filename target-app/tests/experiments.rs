//! What each pattern is for: the same fault, with the pattern and without it.
//!
//! Each pair of tests is an experiment in small: traffic as in the sandbox, one dependency hurt, and what customers
//! see. The first of a pair shows that the shop holds, the second that it is that one pattern which holds it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a helper of a test fails the test")]

mod support;

use squall_shop::{
    DependencyKind::{self, Inventory, Payment, Recommendations, Reviews},
    Pattern,
};
use std::time::Duration;
use support::{MEASURING, MS, Traffic, World, eventually, series, tap::Mode};

const SECOND: Duration = Duration::from_secs(1);

/// Browses and buys in health until that is steady, then under the fault; what is seen then. Others may be using the
/// machine: a steady state is worth waiting for.
async fn under(world: &World, kind: DependencyKind, mode: Mode, length: Duration) -> Traffic {
    for _ in 0..10 {
        let before = world.traffic(1500 * MS, 160, 40).await;
        let quick = before.browse.quantile(0.95) < 50 * MS;
        if quick && before.browse.success() == 1.0 && before.orders.success() == 1.0 {
            world.tap(kind).set(mode);
            return world.traffic(length, 160, 40).await;
        }
    }
    panic!("the shop is not steady in health");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_bulkheads_a_slow_payment_leaves_browsing_alone() {
    let _alone = MEASURING.lock().await;
    let world = World::without(&[]).await;
    let seen = under(&world, Payment, Mode::Late(850 * MS), 4 * SECOND).await;
    assert!(seen.orders.success() >= 0.99, "{:?}", seen.orders.statuses());
    assert!(seen.orders.quantile(0.5) >= 850 * MS, "the fault was felt");
    assert!(seen.browse.success() > 0.999, "{:?}", seen.browse.statuses());
    assert!(seen.browse.quantile(0.90) < 85 * MS, "{:?}", seen.browse.quantile(0.90));
    world.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_bulkheads_a_slow_payment_slows_browsing() {
    let _alone = MEASURING.lock().await;
    let world = World::without(&[Pattern::Bulkhead]).await;
    let seen = under(&world, Payment, Mode::Late(850 * MS), 5 * SECOND).await;
    assert!(seen.browse.quantile(0.90) > 90 * MS, "{:?}", seen.browse.quantile(0.90));
    world.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_breaker_orders_fail_fast_while_payment_is_gone_and_work_soon_after_it_is_back() {
    let _alone = MEASURING.lock().await;
    let world = World::without(&[]).await;
    let first = under(&world, Payment, Mode::Blackhole, 4 * SECOND).await;
    assert!(first.browse.success() > 0.999, "{:?}", first.browse.statuses());
    assert!(first.browse.quantile(0.90) < 85 * MS, "{:?}", first.browse.quantile(0.90));
    let later = world.traffic(2 * SECOND, 1, 40).await;
    let fast = later.orders.share(|reply| reply.status == 503 && reply.took < 100 * MS);
    assert!(fast > 0.8, "{fast} of {:?}", later.orders.statuses());
    let told = later.orders.0.iter().any(|reply| reply.headers.contains_key("retry-after"));
    assert!(told, "they are told when to come back");
    world.tap(Payment).set(Mode::Pass);
    let healed = tokio::time::Instant::now();
    eventually("an order succeeds", async || world.customer.buy().await.status == 201).await;
    assert!(healed.elapsed() < 5 * SECOND, "{:?}", healed.elapsed());
    world.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_breaker_every_order_waits_its_whole_share_while_payment_is_gone() {
    let _alone = MEASURING.lock().await;
    let world = World::without(&[Pattern::CircuitBreaker]).await;
    under(&world, Payment, Mode::Blackhole, 3 * SECOND).await;
    let later = world.traffic(2 * SECOND, 1, 40).await;
    let slow = later.orders.share(|reply| reply.took > 1000 * MS);
    assert!(slow > 0.8, "{slow} of {:?}", later.orders.statuses());
    world.tap(Payment).set(Mode::Pass);
    world.gone().await;
}

const HTML: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 15\r\nconnection: close\r\n\r\n<html>hi</html>";
const NOISE: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n\u{1}\u{2}zz\r\n!!";

#[tokio::test(flavor = "multi_thread")]
async fn with_degradation_pages_come_without_a_part_that_answers_nonsense() {
    let _alone = MEASURING.lock().await;
    for garbage in [HTML, NOISE, "SSH-2.0-OpenSSH_9.6\r\n"] {
        let world = World::without(&[]).await;
        let seen = under(&world, Recommendations, Mode::Say(garbage), 2 * SECOND).await;
        assert!(seen.browse.success() > 0.999, "{:?}", seen.browse.statuses());
        let without = seen.browse.share(|reply| reply.body.get("recommendations").is_none());
        assert!(without > 0.99, "{without}");
        let said = seen.browse.0.iter().all(|reply| !reply.body["warnings"].as_array().unwrap().is_empty());
        assert!(said, "each page says what is missing");
        world.gone().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_degradation_nonsense_from_an_optional_part_fails_the_page() {
    let _alone = MEASURING.lock().await;
    for garbage in [HTML, NOISE] {
        let world = World::without(&[Pattern::Degradation]).await;
        let seen = under(&world, Recommendations, Mode::Say(garbage), 2 * SECOND).await;
        assert!(seen.browse.success() < 0.2, "{:?}", seen.browse.statuses());
        world.gone().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_retries_resets_of_three_connections_in_ten_are_hidden() {
    let _alone = MEASURING.lock().await;
    let world = World::without(&[]).await;
    let seen = under(&world, Inventory, Mode::ResetThreeInTen, 4 * SECOND).await;
    assert!(seen.orders.success() >= 0.97, "{:?}", seen.orders.statuses());
    let metrics = world.customer.text("/metrics").await;
    assert!(
        series(&metrics, r#"retry_attempts_total{service="inventory",operation="reservations",result="success"}"#)
            > 10.0
    );
    world.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_retries_each_reset_fails_an_order() {
    let _alone = MEASURING.lock().await;
    let world = World::without(&[Pattern::Retry]).await;
    let seen = under(&world, Inventory, Mode::ResetThreeInTen, 4 * SECOND).await;
    let success = seen.orders.success();
    assert!((0.55..0.85).contains(&success), "{success} of {:?}", seen.orders.statuses());
    world.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_budget_a_dripping_part_costs_a_page_its_share_at_most() {
    let _alone = MEASURING.lock().await;
    let world = World::without(&[]).await;
    let seen = under(&world, Reviews, Mode::Drip, 3 * SECOND).await;
    assert!(seen.browse.success() > 0.999, "{:?}", seen.browse.statuses());
    assert!(seen.browse.quantile(0.99) < 800 * MS, "{:?}", seen.browse.quantile(0.99));
    world.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_budget_a_page_hangs_as_long_as_its_part_drips() {
    let _alone = MEASURING.lock().await;
    let world = World::without(&[Pattern::TimeoutBudget]).await;
    let seen = under(&world, Reviews, Mode::Drip, 3 * SECOND).await;
    let hung = seen.browse.share(|reply| reply.took > 3 * SECOND);
    assert!(hung > 0.05, "{hung} of {:?}", seen.browse.statuses());
    world.tap(Reviews).set(Mode::Pass);
    world.gone().await;
}

async fn warm(world: &World) {
    let warming = world.traffic(2 * SECOND, 160, 1).await;
    assert!(warming.browse.success() > 0.99);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_failover_cache_pages_keep_recommendations_that_no_longer_come() {
    let _alone = MEASURING.lock().await;
    let world = World::without(&[]).await;
    warm(&world).await;
    let seen = under(&world, Recommendations, Mode::Blackhole, 3 * SECOND).await;
    let shown = seen.browse.share(|reply| reply.body["recommendations"]["stale"].as_bool().is_some());
    let stale = seen.browse.share(|reply| reply.body["recommendations"]["stale"] == true);
    assert!(shown > 0.99 && stale > 0.95, "{shown} shown, {stale} stale");
    assert!(seen.browse.quantile(0.99) < 800 * MS, "{:?}", seen.browse.quantile(0.99));
    let metrics = world.customer.text("/metrics").await;
    assert!(series(&metrics, r#"failover_cache_total{service="recommendations",result="stale"}"#) > 100.0);
    world.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_failover_cache_pages_lack_them_and_say_so() {
    let _alone = MEASURING.lock().await;
    let world = World::without(&[Pattern::FailoverCache]).await;
    warm(&world).await;
    let seen = under(&world, Recommendations, Mode::Blackhole, 3 * SECOND).await;
    assert!(seen.browse.success() > 0.999, "degradation still holds: {:?}", seen.browse.statuses());
    let shown = seen.browse.share(|reply| reply.body.get("recommendations").is_some());
    assert!(shown < 0.02, "{shown}");
    let metrics = world.customer.text("/metrics").await;
    assert!(series(&metrics, r#"degradation_events_total{part="recommendations"}"#) > 400.0);
    world.gone().await;
}
