//! `http` proxies over the REST API: made, hurt, shown, counted, and what makes no sense on them refused.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use crate::api_support::Running;
use crate::http_support::{Client, echo_site};
use serde_json::json;

#[tokio::test]
async fn a_proxy_for_requests_is_made_hurt_counted_and_healed() {
    let (agent, site) = (Running::new().await, echo_site().await);
    let (status, info) = agent
        .post("/v1/proxies", json!({"name": "shop", "upstream": site.server, "protocol": "http", "host": "upstream"}))
        .await;
    assert_eq!((status, &info["protocol"], &info["host"]), (201, &json!("http"), &json!("upstream")), "{info}");
    let mut client = Client::to(info["listen"].as_str().unwrap().parse().unwrap()).await;
    assert_eq!(client.get("/a").await.status(), 200);
    let fault = json!({"name": "down", "fault": {"http_status": {"status": 503}}, "where": {"path": "/orders*"}});
    let fault = agent.fault("shop", fault).await;
    assert_eq!((&fault["direction"], &fault["hits"], &fault["units"]), (&json!("downstream"), &json!(0), &json!(0)));
    for (path, status) in [("/orders/1", 503), ("/a", 200), ("/orders/2", 503)] {
        assert_eq!(client.get(path).await.status(), status, "{path}");
    }
    let (status, _) = agent.patch("/v1/proxies/shop/faults/down", json!({"percent": 0})).await;
    assert_eq!(status, 200);
    assert_eq!(client.get("/orders/3").await.status(), 200);
    let shown = agent.get("/v1/proxies/shop").await.1;
    assert_eq!((&shown["faults"][0]["hits"], &shown["faults"][0]["units"]), (&json!(2), &json!(3)));
    let counters = &shown["counters"];
    let figures = ["requests", "requests_hit", "request_errors", "connections", "connections_hit"];
    assert_eq!(figures.map(|figure| counters[figure].as_u64()), [5, 2, 2, 1, 1].map(Some), "{counters}");
    let (_, metrics) = agent.get("/metrics").await;
    for line in [
        r#"squall_proxy_requests_total{proxy="shop"} 5"#,
        r#"squall_proxy_requests_hit_total{proxy="shop"} 2"#,
        r#"squall_proxy_request_errors_total{proxy="shop"} 2"#,
    ] {
        assert!(metrics.as_str().unwrap().lines().any(|found| found == line), "{line} in {metrics}");
    }
    assert_eq!(agent.delete("/v1/faults").await.1["removed"][0]["hits"], 2);
    assert_eq!(client.get("/orders/4").await.status(), 200);
    assert_eq!(agent.delete("/v1/proxies/shop").await.0, 204);
}

#[tokio::test]
async fn a_fault_takes_other_parameters_but_acts_on_the_same_message() {
    let (agent, site) = (Running::new().await, echo_site().await);
    let (_, info) = agent.post("/v1/proxies", json!({"name": "p", "upstream": site.server, "protocol": "http"})).await;
    let mut client = Client::to(info["listen"].as_str().unwrap().parse().unwrap()).await;
    agent.fault("p", json!({"name": "f", "fault": {"http_body": {"replace": "no"}}})).await;
    assert_eq!(client.get("/a").await.text(), "no");
    let change = |body| json!({"fault": {"http_body": body}});
    let (status, fault) = agent.patch("/v1/proxies/p/faults/f", change(json!({"truncate": "3B"}))).await;
    assert_eq!((status, &fault["direction"]), (200, &json!("downstream")), "{fault}");
    assert_eq!(client.get("/a").await.text(), "GET");
    let to_request = change(json!({"truncate": "3B", "on": "request"}));
    let (status, error) = agent.patch("/v1/proxies/p/faults/f", to_request).await;
    assert_eq!(status, 400, "{error}");
    assert_eq!(client.get("/a").await.text(), "GET");
}

#[tokio::test]
async fn what_makes_no_sense_without_requests_or_connections_is_refused() {
    let (agent, site) = (Running::new().await, echo_site().await);
    for (name, protocol) in [("tcp", "tcp"), ("http", "http")] {
        agent.post("/v1/proxies", json!({"name": name, "upstream": site.server, "protocol": protocol})).await;
    }
    for (proxy, fault, told) in [
        ("tcp", json!({"http_status": {"status": 503}}), "`http_status` runs on `http` proxies, and this one is `tcp`"),
        ("http", json!({"loss": {}}), "`loss` runs on `udp` proxies, and this one is `http`"),
    ] {
        let (status, error) = agent.post(&format!("/v1/proxies/{proxy}/faults"), json!({"fault": fault})).await;
        assert!(status == 400 || status == 422, "{status}");
        assert!(error["error"]["message"].as_str().unwrap().contains(told), "{error}");
    }
    let (status, error) = agent
        .post("/v1/proxies", json!({"name": "other", "upstream": site.server, "protocol": "tcp", "host": "upstream"}))
        .await;
    assert!(status >= 400 && error["error"]["field"] == "host", "{error}");
}
