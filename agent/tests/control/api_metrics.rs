//! `/metrics` as Prometheus sees it: it parses, it moves with the traffic, and nothing stale is left in it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use crate::api_support::{Running, connect, echo, ping};
use reqwest::Method;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// Every sample by its name and labels, read strictly: a line that is no sample fails the test.
async fn scrape(agent: &Running) -> BTreeMap<String, f64> {
    let response = agent.request(Method::GET, "/metrics").send().await.unwrap();
    let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
    assert_eq!(kind, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    let text = response.text().await.unwrap();
    assert!(text.ends_with("# EOF\n"), "{text}");
    let samples = text.lines().filter(|line| !line.starts_with("# "));
    let parsed = samples.map(|line| {
        let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no sample: {line}"));
        (name.to_owned(), value.parse().unwrap_or_else(|_| panic!("no number: {line}")))
    });
    let samples: Vec<(String, f64)> = parsed.collect();
    let map: BTreeMap<_, _> = samples.iter().cloned().collect();
    assert_eq!(map.len(), samples.len(), "a series is there twice: {text}");
    map
}

#[tokio::test]
async fn the_counters_move_with_the_traffic() {
    let agent = Running::new().await;
    let listen = agent.proxy("db", echo(b'a').await).await;
    let before = scrape(&agent).await;
    assert_eq!(before[r#"squall_proxy_connections_total{proxy="db"}"#], 0.0);
    let lease = agent.lease("ann", "30s", &["db"]).await;
    agent.fault("db", json!({"name": "slow", "fault": {"latency": {"delay": "1ms"}}, "lease": lease})).await;
    let mut stream = connect(listen).await;
    assert_eq!(ping(&mut stream).await.unwrap(), b"aping");
    let after = scrape(&agent).await;
    for (series, value) in [
        (r#"squall_proxy_connections_total{proxy="db"}"#, 1.0),
        (r#"squall_proxy_connections_hit_total{proxy="db"}"#, 1.0),
        (r#"squall_proxy_open_connections{proxy="db"}"#, 1.0),
        (r#"squall_proxy_connection_errors_total{proxy="db"}"#, 0.0),
        (r#"squall_proxy_bytes_total{proxy="db",direction="upstream"}"#, 4.0),
        (r#"squall_proxy_bytes_total{proxy="db",direction="downstream"}"#, 5.0),
        (r#"squall_proxy_enabled{proxy="db"}"#, 1.0),
        (r#"squall_proxy_leased{proxy="db"}"#, 1.0),
        (r#"squall_proxy_faults{proxy="db"}"#, 1.0),
        (r#"squall_fault_hits_total{proxy="db",fault="slow",kind="latency"}"#, 1.0),
        (r#"squall_fault_units_total{proxy="db",fault="slow",kind="latency"}"#, 1.0),
        (r#"squall_leases"#, 1.0),
        (r#"squall_api_requests_total{method="POST",status="201"}"#, 3.0),
    ] {
        assert_eq!(after.get(series), Some(&value), "{series} in {after:#?}");
    }
    let docs = include_str!("../../../docs/agent.md");
    let names: BTreeSet<&str> = after.keys().filter_map(|series| series.split('{').next()).collect();
    let missing: Vec<_> = names.into_iter().filter(|name| !docs.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "docs/agent.md does not know {missing:?}");
}

#[tokio::test]
async fn what_is_gone_has_no_series() {
    let agent = Running::new().await;
    agent.proxy("db", echo(b'a').await).await;
    agent.fault("db", json!({"name": "slow", "fault": {"latency": {"delay": "1ms"}}})).await;
    let of = |samples: BTreeMap<String, f64>, text: &str| samples.keys().filter(|name| name.contains(text)).count();
    assert!(of(scrape(&agent).await, "fault=\"slow\"") > 0);
    agent.delete("/v1/proxies/db/faults/slow").await;
    assert_eq!(of(scrape(&agent).await, "fault=\"slow\""), 0);
    assert!(of(scrape(&agent).await, "proxy=\"db\"") > 0);
    agent.delete("/v1/proxies/db").await;
    assert_eq!(of(scrape(&agent).await, "proxy=\"db\""), 0);
}

#[tokio::test]
async fn methods_that_clients_make_up_make_no_series() {
    let agent = Running::new().await;
    for method in ["BREW", "WHEN"] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        assert_eq!(agent.request(method, "/v1/agent").send().await.unwrap().status(), 405);
    }
    assert_eq!(scrape(&agent).await[r#"squall_api_requests_total{method="other",status="405"}"#], 2.0);
}

#[tokio::test]
async fn health_is_told() {
    let agent = Running::new().await;
    assert_eq!(agent.get("/health/live").await, (200, json!({"status": "live"})));
    assert_eq!(agent.get("/health/ready").await, (200, json!({"status": "ready"})));
}
