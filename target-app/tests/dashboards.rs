//! What alerts and the dashboard ask for is what the shop and the agent really export.
//!
//! Both are run and hurt until each of their series has begun; then every metric that `alerts.yaml` and `dashboard.json`
//! name is looked for in what a scraper reads. A name that is misspelt in either would never fire and show nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a helper of a test fails the test")]

mod support;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use serde_json::{Value, json};
use squall_agent::{Agent, AgentConfig};
use squall_shop::DependencyKind::{Facets, Inventory, Payment};
use squall_wire::ProxySpec;
use std::collections::BTreeSet;
use support::{World, eventually, tap::Mode};
use tokio_util::sync::CancellationToken;

/// The words of PromQL that are followed by labels in brackets.
const GROUPING: [&str; 4] = ["by", "without", "on", "ignoring"];
/// What stands between queries, and the function whose grouping comes before its brackets.
const WORDS: [&str; 6] = ["and", "or", "unless", "bool", "offset", "sum"];

/// The names of metrics in a query: words outside of braces, brackets and groupings that are not functions.
fn names(query: &str) -> BTreeSet<String> {
    let (mut found, mut rest) = (BTreeSet::new(), query);
    while let Some(first) = rest.chars().next() {
        let length = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':').unwrap_or(rest.len());
        let skip = |open: char, close: char| (first == open).then(|| rest.find(close).expect("it is closed") + 1);
        if let Some(past) = skip('{', '}').or_else(|| skip('[', ']')) {
            rest = &rest[past..];
        } else if length == 0 {
            rest = &rest[first.len_utf8()..];
        } else {
            let word = &rest[..length];
            rest = rest[length..].trim_start();
            if GROUPING.contains(&word) {
                rest = &rest[rest.find(')').expect("labels are in brackets") + 1..];
            } else if !rest.starts_with('(') && !first.is_ascii_digit() && !WORDS.contains(&word) {
                found.insert(word.to_owned());
            }
        }
    }
    found
}

fn queries_of(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            found.extend(map.get("expr").and_then(Value::as_str).map(str::to_owned));
            map.values().for_each(|value| queries_of(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| queries_of(value, found)),
        _ => {}
    }
}

/// Every query of the two files.
fn queries() -> Vec<String> {
    let mut found = Vec::new();
    let dashboard: Value = serde_json::from_str(include_str!("../dashboard.json")).unwrap();
    queries_of(&dashboard, &mut found);
    let mut rest = include_str!("../alerts.yaml");
    while let Some(at) = rest.find("        expr: ") {
        rest = &rest[at + "        expr: ".len()..];
        let end = rest.find("\n        labels:").into_iter().chain(rest.find("\n        for:")).min().unwrap();
        found.push(rest[..end].trim_start_matches('>').to_owned());
    }
    found
}

/// The names of all series in a text that a scraper reads.
fn exported(text: &str) -> BTreeSet<String> {
    let series = text.lines().filter(|line| !line.starts_with('#'));
    series.filter_map(|line| line.split(['{', ' ']).next()).map(str::to_owned).collect()
}

async fn put(world: &World, path: &str, body: Value) {
    let request = Request::put(world.customer.url(path)).header("content-type", "application/json");
    let reply = world.customer.ask(request.body(Full::from(Bytes::from(body.to_string()))).unwrap()).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
}

/// What a shop exports once everything has happened to it.
async fn shop() -> BTreeSet<String> {
    let world = World::without(&[]).await;
    put(&world, "/admin/chaos/search", json!({"latency_ms": 1})).await;
    for product in 1..=120 {
        world.customer.get(&format!("/products/{product}")).await;
    }
    world.tap(Facets).set(Mode::Reset);
    world.customer.get("/search?q=tea").await;
    world.tap(Inventory).set(Mode::Reset);
    world.customer.buy().await;
    world.tap(Inventory).set(Mode::Pass);
    world.tap(Payment).set(Mode::Reset);
    let breaker = async |state| world.customer.get("/health").await.body["breakers"]["payment/charges"] == state;
    eventually("the breaker opens", async || {
        world.customer.buy().await;
        breaker("open").await
    })
    .await;
    world.tap(Payment).set(Mode::Pass);
    eventually("the breaker closes", async || {
        world.customer.buy().await;
        breaker("closed").await
    })
    .await;
    let text = world.customer.text("/metrics").await;
    world.gone().await;
    exported(&text)
}

/// What an agent with a proxy and a fault exports.
async fn agent() -> BTreeSet<String> {
    let proxies =
        vec![ProxySpec { listen: "127.0.0.1:0".into(), ..ProxySpec::tcp("p".parse().unwrap(), "127.0.0.1:9".into()) }];
    let listen = "127.0.0.1:0".parse().unwrap();
    let agent = Agent::bind(AgentConfig { listen, proxies, ..AgentConfig::default() }).await.unwrap();
    let (address, end) = (agent.local_addr(), CancellationToken::new());
    let running = tokio::spawn(agent.run(end.clone()));
    let client =
        hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new()).build_http::<Full<Bytes>>();
    let fault = json!({"name": "slow", "fault": {"latency": {"delay": "1ms"}}});
    let request =
        Request::post(format!("http://{address}/v1/proxies/p/faults")).header("content-type", "application/json");
    let set = client.request(request.body(Full::from(Bytes::from(fault.to_string()))).unwrap()).await.unwrap();
    assert!(set.status().is_success(), "{}", set.status());
    let request = Request::get(format!("http://{address}/metrics")).body(Full::default()).unwrap();
    let body = http_body_util::BodyExt::collect(client.request(request).await.unwrap().into_body()).await.unwrap();
    end.cancel();
    running.await.unwrap().unwrap();
    exported(std::str::from_utf8(&body.to_bytes()).unwrap())
}

#[test]
fn names_are_told_from_functions_labels_and_numbers() {
    let query =
        r#"sum by (a, b) (rate(x_total{c="d",e=~"f.."}[30s])) / on (g) y > 0.5 or histogram_quantile(0.99, z_bucket)"#;
    assert_eq!(names(query).into_iter().collect::<Vec<_>>(), ["x_total", "y", "z_bucket"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_of_the_alerts_and_the_dashboard_is_exported() {
    let queries = queries();
    assert!(queries.len() > 40, "{}", queries.len());
    let wanted: BTreeSet<String> = queries.iter().flat_map(|query| names(query)).collect();
    assert!(wanted.contains("circuit_breaker_state") && wanted.contains("squall_fault_hits_total"), "{wanted:?}");
    let exported: BTreeSet<String> = shop().await.union(&agent().await).cloned().collect();
    let missing: Vec<_> = wanted.difference(&exported).collect();
    assert!(missing.is_empty(), "nobody exports {missing:?}");
}
