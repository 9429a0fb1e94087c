//! The sales report: right with and without its patterns, and ended with whoever asked.

use crate::{
    kinds::on_both,
    support::{MS, World, config, eventually, series, tap::Mode},
};
use serde_json::{Value, json};
use squall_shop::{DependencyKind::Reviews, Pattern};

/// Orders of ten products.
async fn sell(world: &World) {
    for n in 1..=20 {
        let body = json!({"product": n % 10 + 1, "quantity": 2});
        assert_eq!(world.customer.order(Some(&format!("k{n}")), body).await.status, 201);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_is_the_same_with_and_without_its_patterns() {
    on_both("report", async |database| {
        let mut reports: Vec<Value> = Vec::new();
        let off: [&[Pattern]; 4] =
            [&[], &[Pattern::Pipeline], &[Pattern::FanOut], &[Pattern::Pipeline, Pattern::FanOut]];
        for (n, without) in off.into_iter().enumerate() {
            let mut config = database.shop(without);
            // Several pages of the database.
            config.storage.report.page = 3;
            let world = World::with(config).await;
            if n == 0 {
                sell(&world).await;
            }
            let report = world.customer.get("/reports/sales").await;
            assert_eq!(report.status, 200, "{}", report.body);
            reports.push(report.body);
            world.gone().await;
        }
        for report in &mut reports {
            assert_eq!(
                (&report["orders"], &report["pieces"], &report["warnings"]),
                (&json!(20), &json!(40), &json!([]))
            );
            // Sums of fractions in another order differ in their last digits.
            for category in report["categories"].as_object_mut().unwrap().values_mut() {
                let rating = category["rating"].as_f64().unwrap();
                category["rating"] = json!((rating * 1e6).round());
            }
        }
        assert!(reports.iter().all(|report| report == &reports[0]), "{reports:#?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_without_ratings_says_so() {
    let world = World::without(&[]).await;
    sell(&world).await;
    world.tap(Reviews).set(Mode::Reset);
    let report = world.customer.get("/reports/sales").await;
    assert_eq!((report.status, &report.body["orders"]), (200, &json!(20)));
    assert!(
        report.body["warnings"][0].as_str().unwrap().starts_with("10 products without a rating"),
        "{}",
        report.body
    );
    world.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_calls_at_a_time_as_there_are_workers_and_none_when_nobody_waits() {
    for (without, calls) in [(&[][..], 4.0), (&[Pattern::FanOut][..], 1.0)] {
        let mut config = config();
        config.without = without.iter().copied().collect();
        config.storage.report.workers = 4;
        let world = World::with(config).await;
        sell(&world).await;
        world.tap(Reviews).set(Mode::Late(60_000 * MS));
        let customer = world.customer.clone();
        let report = tokio::spawn(async move { customer.get("/reports/sales").await });
        let in_use = async || series(&world.customer.text("/metrics").await, r#"pool_in_use{pool="reviews"}"#);
        eventually("the workers are at it", async || in_use().await == calls).await;
        // Going on, it would keep them busy for as long as the report's five seconds.
        report.abort();
        eventually("they stop", async || in_use().await == 0.0).await;
        for _ in 0..5 {
            assert_eq!(in_use().await, 0.0, "and do not begin again");
        }
        world.gone().await;
    }
}
