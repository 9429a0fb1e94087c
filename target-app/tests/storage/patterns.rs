//! Compensation, idempotency, dedupe, batching, forgetting and migrating: with the pattern, and without it.

use crate::{
    kinds::{Database, on_both},
    support::{
        Customer, MS, World, eventually, series,
        tap::{Mode, Tap},
    },
};
use serde_json::{Value, json};
use squall_shop::{
    DependencyKind::{Inventory, Payment},
    Pattern, RetentionConfig, Schema, Shop,
};
use std::time::Duration;

const FULL: i64 = 1_000_000;

fn one_of(product: i64) -> Value {
    json!({"product": product, "quantity": 1})
}

async fn stock(world: &World, product: i64) -> i64 {
    world.asked(Inventory, &format!("/stock/{product}")).await.body["left"].as_i64().unwrap()
}

async fn charges_kept(world: &World) -> f64 {
    let metrics = world.asked(Payment, "/metrics").await.body;
    series(metrics.as_str().unwrap(), "charges_total") - series(metrics.as_str().unwrap(), "voids_total")
}

/// An order hangs at payment when its shop crashes; another shop begins on the same database.
async fn crashed_during_an_order(database: &Database, without: &[Pattern]) -> World {
    let mut config = database.shop(without);
    config.order_budget = Duration::from_secs(1);
    let mut world = World::with(config.clone()).await;
    world.tap(Payment).set(Mode::Blackhole);
    let customer = world.customer.clone();
    let order = tokio::spawn(async move { customer.order(Some("k"), one_of(7)).await });
    eventually("stock is reserved", async || stock(&world, 7).await == FULL - 1).await;
    world.crash().await;
    assert_eq!(order.await.unwrap().status, 0);
    world.tap(Payment).set(Mode::Pass);
    world.customer = world.another(config).await;
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_order_took_is_given_back_after_a_crash() {
    on_both("compensation", async |database| {
        let world = crashed_during_an_order(&database, &[]).await;
        eventually("the stock comes back", async || stock(&world, 7).await == FULL).await;
        let again = world.customer.order(Some("k"), one_of(7)).await;
        assert_eq!(again.status, 201, "{}", again.body);
        assert_eq!((stock(&world, 7).await, charges_kept(&world).await), (FULL - 1, 1.0));
        world.gone().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_compensation_it_is_never_given_back() {
    on_both("without compensation", async |database| {
        let world = crashed_during_an_order(&database, &[Pattern::Compensation]).await;
        // A shop that undoes looks at once, and again after the order's second.
        tokio::time::sleep(1800 * MS).await;
        assert_eq!(stock(&world, 7).await, FULL - 1);
        assert_eq!(database.number("SELECT COUNT(*) FROM outbox").await, 0);
        world.gone().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn undoing_goes_on_until_the_other_side_has_acknowledged_it() {
    on_both("acknowledged", async |database| {
        let world = database.world(&[]).await;
        world.tap(Payment).set(Mode::Reset);
        let refused = world.customer.order(Some("k"), one_of(7)).await;
        assert!(refused.status >= 500, "{}", refused.body);
        world.tap(Inventory).set(Mode::Reset);
        let failed = world.customer.order(Some("other"), one_of(7)).await;
        assert!(failed.status >= 500, "{}", failed.body);
        world.tap(Inventory).set(Mode::Pass);
        world.tap(Payment).set(Mode::Pass);
        eventually("nothing is left to undo", async || {
            database.number("SELECT COUNT(*) FROM outbox WHERE state <> 'done'").await == 0
        })
        .await;
        assert_eq!((stock(&world, 7).await, charges_kept(&world).await), (FULL, 0.0));
        world.gone().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_at_two_shops_on_one_database_is_one_order() {
    on_both("two shops", async |database| {
        let mut world = database.world(&[]).await;
        let other = world.another(database.shop(&[])).await;
        for n in 0..10 {
            let key = format!("k{n}");
            let (here, there) =
                tokio::join!(world.customer.order(Some(&key), one_of(7)), other.order(Some(&key), one_of(7)));
            assert!([here.status, there.status].contains(&201), "{} {}", here.body, there.body);
            for reply in [&here, &there] {
                assert!([201, 409].contains(&reply.status), "{}", reply.body);
            }
            let (here, there) =
                (world.customer.order(Some(&key), one_of(7)).await, other.order(Some(&key), one_of(7)).await);
            assert_eq!((here.status, &here.body), (there.status, &there.body));
            assert_eq!(other.order(Some(&key), one_of(8)).await.status, 422);
        }
        assert_eq!(database.number("SELECT COUNT(*) FROM orders").await, 10);
        eventually("what was taken twice is given back", async || {
            stock(&world, 7).await == FULL - 10 && charges_kept(&world).await == 10.0
        })
        .await;
        world.gone().await;
    })
    .await;
}

fn settled(id: &str, order: &Value, cents: i64) -> Value {
    json!({"id": id, "type": "charge.settled", "order": order, "amount_cents": cents})
}

/// What was settled of an order of which the provider told three times in one message, and once in another.
async fn settled_after_repeats(database: &Database, without: &[Pattern]) -> (i64, Vec<Value>) {
    let world = database.world(without).await;
    let order = world.customer.order(Some("k"), one_of(7)).await.body;
    let mut said = Vec::new();
    for id in ["m1", "m1", "m1", "m2"] {
        let reply = world.customer.post("/webhooks/payment", &settled(id, &order["id"], 100)).await;
        assert_eq!(reply.status, 200, "a repeat is acknowledged as well: {}", reply.body);
        said.push(reply.body["status"].clone());
    }
    let unknown = world.customer.post("/webhooks/payment", &settled("m3", &json!("none"), 100)).await;
    assert_eq!(unknown.status, 404, "{}", unknown.body);
    let seen = world.customer.get(&format!("/orders/{}", order["id"].as_str().unwrap())).await.body;
    world.gone().await;
    (seen["settled_cents"].as_i64().unwrap(), said)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_comes_again_is_acknowledged_and_ignored() {
    on_both("dedupe", async |database| {
        let (cents, said) = settled_after_repeats(&database, &[]).await;
        assert_eq!(cents, 200);
        assert_eq!(said, ["processed", "processed before", "processed before", "processed"]);
    })
    .await;
    on_both("without dedupe", async |database| {
        assert_eq!(settled_after_repeats(&database, &[Pattern::MessageDedupe]).await.0, 400);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_makes_no_sense_is_told_what_would() {
    let world = World::without(&[]).await;
    for body in [
        json!({"id": "", "type": "charge.settled", "order": "o", "amount_cents": 1}),
        json!({"id": "m", "type": "charge.melted", "order": "o", "amount_cents": 1}),
        json!({"id": "m", "type": "charge.settled", "order": "o", "amount_cents": 0}),
        json!({"id": "m"}),
    ] {
        assert_eq!(world.customer.post("/webhooks/payment", &body).await.status, 400, "{body}");
    }
    for body in [json!({"id": "a b", "kind": "view"}), json!({"kind": ""}), json!({"kind": "view", "colour": 1})] {
        assert_eq!(world.customer.post("/events", &body).await.status, 400, "{body}");
    }
    world.gone().await;
}

/// Sixty events at once, and how many writes they were.
async fn writes_of_sixty(database: &Database, without: &[Pattern]) -> f64 {
    let world = database.world(without).await;
    let sent = (0..60).map(|n| {
        let customer = world.customer.clone();
        async move { customer.post("/events", &json!({"id": format!("e{n}"), "kind": "view", "product": 7})).await }
    });
    for reply in futures::future::join_all(sent).await {
        assert_eq!(reply.status, 202, "{}", reply.body);
    }
    // What is acknowledged is there, at this moment.
    assert_eq!(database.number("SELECT COUNT(*) FROM events").await, 60);
    let again = world.customer.post("/events", &json!({"id": "e1", "kind": "view"})).await;
    assert_eq!(again.status, 202);
    assert_eq!(database.number("SELECT COUNT(*) FROM events").await, 60, "an id is stored once");
    let metrics = world.customer.text("/metrics").await;
    assert_eq!(series(&metrics, r#"events_total{result="written"}"#), 61.0);
    world.gone().await;
    series(&metrics, "event_batch_size_count")
}

#[tokio::test(flavor = "multi_thread")]
async fn many_events_are_few_writes_and_without_batching_one_each() {
    on_both("micro-batching", async |database| {
        let writes = writes_of_sixty(&database, &[]).await;
        assert!(writes <= 30.0, "{writes} writes for 61 events");
    })
    .await;
    on_both("without micro-batching", async |database| {
        assert_eq!(writes_of_sixty(&database, &[Pattern::MicroBatching]).await, 61.0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_acknowledged_event_is_lost_when_the_shop_ends() {
    on_both("events at the end", async |database| {
        let mut config = database.shop(&[]);
        // Batches that would wait for company much longer than the test.
        config.storage.events.wait = Duration::from_millis(700);
        let mut world = World::with(config).await;
        let sent: Vec<_> = (0..20)
            .map(|n| {
                let customer = world.customer.clone();
                tokio::spawn(
                    async move { customer.post("/events", &json!({"id": format!("e{n}"), "kind": "view"})).await },
                )
            })
            .collect();
        eventually("the events are on their way", async || {
            series(&world.customer.text("/metrics").await, r#"pool_in_use{pool="requests"}"#) >= 10.0
        })
        .await;
        world.shop_gone().await;
        let mut acknowledged = 0;
        for reply in sent {
            acknowledged += i64::from(reply.await.unwrap().status == 202);
        }
        assert!(acknowledged >= 10, "{acknowledged}");
        assert!(database.number("SELECT COUNT(*) FROM events").await >= acknowledged);
        world.gone().await;
    })
    .await;
}

/// A shop that keeps nothing for longer than a moment.
async fn forgetful(database: &Database, without: &[Pattern]) -> World {
    let mut config = database.shop(without);
    let (keys, every, pause) = (Duration::ZERO, 50 * MS, MS);
    config.storage.retention =
        RetentionConfig { keys, messages: keys, events: keys, intents: keys, every, batch: 3, pause };
    World::with(config).await
}

async fn leave_traces(customer: &Customer) {
    for n in 0..7 {
        let order = customer.order(Some(&format!("k{n}")), one_of(7)).await;
        assert_eq!(order.status, 201, "{}", order.body);
        customer.post("/webhooks/payment", &settled(&format!("m{n}"), &order.body["id"], 1)).await;
        customer.post("/events", &json!({"kind": "view"})).await;
    }
}

const TRACES: &str = "SELECT (SELECT COUNT(*) FROM idempotency_keys) + (SELECT COUNT(*) FROM messages)
     + (SELECT COUNT(*) FROM events) + (SELECT COUNT(*) FROM outbox)";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_old_is_forgotten_and_orders_are_not() {
    on_both("steady state", async |database| {
        let world = forgetful(&database, &[]).await;
        leave_traces(&world.customer).await;
        eventually("everything old is gone", async || database.number(TRACES).await == 0).await;
        assert_eq!(database.number("SELECT COUNT(*) FROM orders").await, 7);
        let metrics = world.customer.text("/metrics").await;
        assert_eq!(series(&metrics, r#"purged_rows_total{what="keys"}"#), 7.0);
        assert_eq!(world.customer.order(Some("k1"), one_of(8)).await.status, 201, "a forgotten key is free");
        world.gone().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_steady_state_everything_is_kept() {
    on_both("without steady state", async |database| {
        let world = forgetful(&database, &[Pattern::SteadyState]).await;
        leave_traces(&world.customer).await;
        // Several times as long as a shop that forgets would wait.
        tokio::time::sleep(300 * MS).await;
        assert_eq!(database.number(TRACES).await, 28);
        world.gone().await;
    })
    .await;
}

/// An old shop and a new one on one database, each with an order of its own, and how each sees both.
async fn side_by_side(database: &Database, without: &[Pattern]) -> (World, [u16; 4], Vec<String>) {
    let mut config = database.shop(&[]);
    config.storage.database.schema = Schema::Old;
    let mut world = World::with(config).await;
    let ids = |reply: crate::support::Reply| reply.body["id"].as_str().unwrap().to_owned();
    // The first order was there before anybody knew of the change.
    let mut orders = vec![ids(world.customer.order(Some("first"), one_of(7)).await)];
    let new = world.another(database.shop(without)).await;
    orders.push(ids(new.order(Some("new"), one_of(7)).await));
    orders.push(ids(world.customer.order(Some("old"), one_of(7)).await));
    let (first, by_new, by_old) = (&orders[0], &orders[1], &orders[2]);
    let see = async |customer: &Customer, id: &str| customer.get(&format!("/orders/{id}")).await.status;
    let seen = [
        see(&new, first).await,
        see(&new, by_old).await,
        see(&world.customer, by_new).await,
        see(&world.customer, first).await,
    ];
    world.customer = new;
    (world, seen, orders)
}

#[tokio::test(flavor = "multi_thread")]
async fn old_and_new_shops_run_side_by_side_until_every_row_is_migrated() {
    on_both("migrations", async |database| {
        let (world, seen, _) = side_by_side(&database, &[]).await;
        assert_eq!(seen, [200; 4]);
        eventually("all rows are migrated", async || {
            database.number("SELECT COUNT(*) FROM orders WHERE unit_cents IS NULL").await == 0
        })
        .await;
        let metrics = world.customer.text("/metrics").await;
        let by = |by: &str| series(&metrics, &format!("migrated_orders_total{{by=\"{by}\"}}"));
        assert_eq!(by("access") + by("batch"), 2.0, "both of the old shop's, each once");
        world.gone().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_migrations_a_new_shop_cannot_read_what_an_old_one_writes() {
    on_both("without migrations", async |database| {
        let (world, seen, orders) = side_by_side(&database, &[Pattern::Migrations]).await;
        assert_eq!(seen[..2], [500, 500]);
        let reply = world.customer.get(&format!("/orders/{}", orders[0])).await;
        assert_eq!(reply.body["error"]["code"], "not_migrated");
        world.gone().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shop_refuses_a_table_that_it_does_not_understand_and_says_what_to_do() {
    use squall_shop::maintenance::{Step, migrate};
    on_both("contract", async |database| {
        let (world, ..) = side_by_side(&database, &[Pattern::Migrations]).await;
        world.gone().await;
        let config = |schema| {
            let mut config = database.shop(&[]);
            config.storage.database.schema = schema;
            config.dependencies = squall_shop::DependencyKind::ALL
                .map(|kind| (kind, std::net::SocketAddr::from(([127, 0, 0, 1], 9)).into()))
                .into();
            config
        };
        let refusal = async |schema| Shop::bind(config(schema)).await.map(|_| ()).unwrap_err().to_string();
        let step = async |step| migrate(&config(Schema::Both).storage.database, step).await;
        assert!(refusal(Schema::New).await.contains("run `squall-shop migrate backfill`"));
        assert!(step(Step::Contract).await.unwrap_err().to_string().starts_with("2 orders are not migrated"));
        assert_eq!(step(Step::Status).await.unwrap(), "expanded: 2 orders are not migrated");
        assert_eq!(step(Step::Backfill).await.unwrap(), "2 orders were migrated, 0 are left");
        assert_eq!(step(Step::Contract).await.unwrap(), "contracted: there is only the new shape");
        assert!(refusal(Schema::Both).await.contains("use `--schema new`"));
        assert!(refusal(Schema::Old).await.contains("use `--schema new`"));
        assert!(Shop::bind(config(Schema::New)).await.is_ok());
        assert_eq!(step(Step::Contract).await.unwrap(), "contracted: there is only the new shape");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_behind_a_proxy_that_goes_away_is_busy_for_a_bounded_time_and_then_back() {
    let test = "a_database_behind_a_proxy_that_goes_away_is_busy_for_a_bounded_time_and_then_back";
    let Some(url) = crate::postgres::database_for(test).await else { return };
    let (mut tasks, stop) = (tokio::task::JoinSet::new(), tokio_util::sync::CancellationToken::new());
    let server = url.split(['@', '/']).nth(3).unwrap().parse().unwrap();
    let tap = Tap::bind(server, &mut tasks, stop.clone()).await;
    let behind = Database(url.replace(&server.to_string(), &tap.address().to_string()));
    let world = behind.world(&[]).await;
    assert_eq!(world.customer.get("/products/7").await.status, 200);
    tap.set(Mode::Blackhole);
    let late = world.customer.get("/products/7").await;
    assert!([503, 504].contains(&late.status) && late.took < 3000 * MS, "{} {:?}", late.body, late.took);
    tap.set(Mode::Pass);
    eventually("the database is back", async || world.customer.order(Some("k"), one_of(7)).await.status == 201).await;
    world.gone().await;
    stop.cancel();
    tasks.shutdown().await;
}
