//! `udp` proxies over the REST API: made, refused, hurt, counted, kept over a restart, drained.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use crate::api_support::{Running, config};
use crate::udp_support::{Client, Echo, MS};
use serde_json::{Value, json};
use squall_agent::AgentConfig;
use std::time::Duration;

/// A proxy `dns` before an echo; answers a client of it.
async fn dns(agent: &Running, echo: &Echo) -> Client {
    let (status, info) =
        agent.post("/v1/proxies", json!({"name": "dns", "upstream": echo.addr, "protocol": "udp"})).await;
    assert_eq!((status, &info["protocol"]), (201, &json!("udp")), "{info}");
    Client::of(info["listen"].as_str().unwrap().parse().unwrap()).await
}

#[tokio::test]
async fn a_proxy_for_datagrams_is_made_hurt_counted_and_healed() {
    let (agent, echo) = (Running::new().await, Echo::on("127.0.0.1:0").await);
    let client = dns(&agent, &echo).await;
    client.ping(b"question").await;
    let fault = agent.fault("dns", json!({"name": "lossy", "fault": {"loss": {}}, "count": 2, "seed": 5})).await;
    assert_eq!((&fault["direction"], &fault["hits"], &fault["units"]), (&json!("downstream"), &json!(0), &json!(0)));
    client.send(b"1").await;
    client.send(b"2").await;
    client.ping(b"3").await;
    let shown = agent.get("/v1/proxies/dns").await.1;
    assert_eq!((&shown["faults"][0]["hits"], &shown["faults"][0]["units"]), (&json!(2), &json!(3)));
    let counters = &shown["counters"];
    assert_eq!((&counters["datagrams_upstream"], &counters["datagrams_downstream"]), (&json!(4), &json!(2)));
    assert_eq!((&counters["open_connections"], &counters["connections_hit"]), (&json!(1), &json!(1)));
    let healed = agent.delete("/v1/faults").await.1;
    assert_eq!(healed["removed"][0]["hits"], 2);
    let (_, metrics) = agent.get("/metrics").await;
    let metrics = metrics.as_str().unwrap();
    for line in [
        r#"squall_proxy_datagrams_total{proxy="dns",direction="upstream"} 4"#,
        r#"squall_proxy_datagrams_total{proxy="dns",direction="downstream"} 2"#,
        r#"squall_proxy_datagrams_dropped_total{proxy="dns"} 0"#,
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} in {metrics}");
    }
    let (status, _) = agent.patch("/v1/proxies/dns", json!({"enabled": false})).await;
    assert_eq!(status, 200);
    client.send(b"4").await;
    agent.until("/v1/proxies/dns", |_, info| info["counters"]["datagrams_dropped"] == 1).await;
    assert_eq!(agent.delete("/v1/proxies/dns").await.0, 204);
}

#[tokio::test]
async fn what_makes_no_sense_on_datagrams_is_refused() {
    let (agent, echo) = (Running::new().await, Echo::on("127.0.0.1:0").await);
    dns(&agent, &echo).await;
    for (fault, told) in [
        (json!({"reset": {}}), "`reset` runs on `tcp` and `http` proxies, and this one is `udp`"),
        (json!({"refuse": {}}), "`refuse` runs on"),
        (json!({"blackhole": {"close_after": "1s"}}), "leave `close_after` out"),
    ] {
        let (status, answer) = agent.post("/v1/proxies/dns/faults", json!({"fault": fault})).await;
        assert_eq!(status, 400, "{answer}");
        assert!(answer["error"]["message"].as_str().unwrap().contains(told), "{answer}");
    }
    agent.proxy("web", echo.addr).await;
    let (status, answer) = agent.post("/v1/proxies/web/faults", json!({"fault": {"reorder": {}}})).await;
    assert_eq!(status, 400, "{answer}");
    let same = json!({"name": "dns", "upstream": echo.addr, "protocol": "tcp"});
    let (status, answer) = agent.put("/v1/proxies/dns", same).await;
    assert_eq!((status, &answer["error"]["field"]), (400, &json!("protocol")), "{answer}");
    let tls = json!({"name": "doq", "upstream": echo.addr, "protocol": "udp", "upstream_tls": {}});
    assert_eq!(agent.post("/v1/proxies", tls).await.0, 400);
    assert_eq!(agent.get("/v1/proxies/dns").await.1["faults"], json!([]));
}

#[tokio::test]
async fn toxics_that_fit_work_and_others_are_refused() {
    let (agent, echo) = (Running::new().await, Echo::on("127.0.0.1:0").await);
    let client = dns(&agent, &echo).await;
    let toxic = json!({"name": "slow", "type": "latency", "attributes": {"latency": 80}});
    let (status, answer) = agent.post("/proxies/dns/toxics", toxic).await;
    assert_eq!(status, 200, "{answer}");
    assert!(client.ping(b"x").await >= MS(80));
    for (name, toxic) in [
        ("reset", json!({"type": "reset_peer", "attributes": {"timeout": 0}})),
        ("timed", json!({"type": "timeout", "attributes": {"timeout": 100}})),
    ] {
        let (status, answer) = agent.post("/proxies/dns/toxics", toxic).await;
        assert_eq!(status, 400, "{name}: {answer}");
    }
    assert_eq!(agent.get("/proxies/dns/toxics").await.1.as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn an_agent_that_ends_heals_and_lets_held_answers_out_and_its_proxies_come_back() {
    let directory = tempfile::tempdir().unwrap();
    let with_state =
        || AgentConfig { state: Some(directory.path().join("state.json")), drain: Duration::from_secs(15), ..config() };
    let echo = Echo::on("127.0.0.1:0").await;
    let agent = Running::with(with_state()).await;
    let client = dns(&agent, &echo).await;
    let listen = agent.get("/v1/proxies/dns").await.1["listen"].clone();
    agent.fault("dns", json!({"name": "slow", "fault": {"latency": {"delay": "1h"}}})).await;
    client.send(b"held").await;
    agent.until("/v1/proxies/dns/faults/slow", |_, fault| fault["hits"] == 1).await;
    assert!(agent.stop().await < Duration::from_secs(10), "it waited for an idle session");
    assert_eq!(client.receive().await, b"held");

    let agent = Running::with(with_state()).await;
    let shown = agent.get("/v1/proxies/dns").await.1;
    assert_eq!(
        (&shown["listen"], &shown["protocol"], &shown["faults"]),
        (&listen, &json!("udp"), &Value::Array(vec![]))
    );
    client.ping(b"as before").await;
}
