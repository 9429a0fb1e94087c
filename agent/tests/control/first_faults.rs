//! Faults of the configuration: there from the start, with the limits, the policy and the halt of all others.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use crate::api_support::{Running, config, connect, echo, ping};
use serde_json::{Value, json};
use squall_agent::{Agent, AgentConfig};
use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

/// A proxy `db` to this upstream, with these faults.
fn with_faults(upstream: SocketAddr, faults: Value) -> AgentConfig {
    let proxy = json!({"name": "db", "listen": "127.0.0.1:0", "upstream": upstream});
    AgentConfig {
        proxies: vec![serde_json::from_value(proxy).unwrap()],
        faults: serde_json::from_value(json!({ "db": faults })).unwrap(),
        ..config()
    }
}

fn unnamed_latency() -> Value {
    json!({"fault": {"latency": {"delay": "1ms"}}})
}

fn latency() -> Value {
    json!({"name": "slow", "fault": {"latency": {"delay": "120ms"}}, "expires_in": "5m"})
}

#[tokio::test]
async fn a_fault_of_the_configuration_acts_is_shown_and_can_be_removed() {
    let agent = Running::with(with_faults(echo(b'a').await, json!([latency()]))).await;
    let (_, proxy) = agent.get("/v1/proxies/db").await;
    let fault = &proxy["faults"][0];
    assert_eq!((&fault["name"], &fault["fault"]["latency"]["delay"]), (&json!("slow"), &json!("120ms")), "{fault}");
    let timed = async || {
        let start = Instant::now();
        ping(&mut connect(proxy["listen"].as_str().unwrap().parse().unwrap()).await).await.unwrap();
        start.elapsed()
    };
    assert!(timed().await >= Duration::from_millis(120));
    assert_eq!(agent.delete("/v1/faults").await.0, 200);
    assert_eq!(agent.get("/v1/proxies/db/faults").await.1, json!({"faults": []}));
}

#[tokio::test]
async fn every_fault_that_makes_no_sense_there_is_told_and_nothing_starts() {
    let wrong = json!([
        {"fault": {"http_status": {"status": 503}}},
        {"fault": {"latency": {"delay": "1ms"}}, "lease": "0123456789abcdef0123456789abcdef"},
        {"fault": {"latency": {"delay": "1ms"}}, "expires_in": "2h"},
        {"fault": {"blackhole": {}}, "percent": 60},
    ]);
    let mut config = with_faults("127.0.0.1:9".parse().unwrap(), wrong);
    let faults = serde_json::from_value(json!([latency()])).unwrap();
    config.faults.insert("dv".parse().unwrap(), faults);
    config.policy = serde_json::from_value(json!({"max_percent": 50, "kinds": ["latency", "blackhole"],
        "require_lease": true, "protected": ["db"]}))
    .unwrap();
    let told = Agent::bind(config).await.unwrap_err().to_string();
    for part in [
        "faults.db[0].fault.http_status: `http_status` runs on `http` proxies",
        "faults.db[0].fault: the policy forbids it: policy.protected",
        "faults.db[0].fault: the policy forbids it: policy.require_lease",
        "faults.db[0].fault: the policy forbids it: policy.kinds",
        "faults.db[0].fault: the policy forbids it: policy.max_percent",
        "faults.db[1].lease: no lease lives yet",
        "faults.db[2].expires_in: this agent lets a fault live for `1h` at most",
        "faults.db[3].fault: the policy forbids it",
        "faults.dv: this configuration has no proxy `dv`: did you mean `db`?",
    ] {
        assert!(told.contains(part), "{part} is not in: {told}");
    }
}

#[tokio::test]
async fn names_that_two_have_are_told_and_so_are_too_many() {
    let also_made_up = json!({"name": "latency-1", "fault": {"latency": {"delay": "1ms"}}});
    let faults = json!([latency(), latency(), unnamed_latency(), also_made_up]);
    let told = Agent::bind(with_faults("127.0.0.1:9".parse().unwrap(), faults)).await.unwrap_err().to_string();
    for part in [
        "faults.db[1].name: faults.db[0] is called `slow` already",
        "faults.db[3].name: faults.db[2] is called `latency-1` already",
    ] {
        assert!(told.contains(part), "{part} is not in: {told}");
    }
    let many = with_faults("127.0.0.1:9".parse().unwrap(), Value::from(vec![unnamed_latency(); 101]));
    let told = Agent::bind(many).await.unwrap_err().to_string();
    assert!(told.contains("faults.db: 101 faults, and a proxy has at most 100"), "{told}");
}

#[tokio::test]
async fn an_agent_that_is_halted_starts_without_them() {
    let directory = tempfile::tempdir().unwrap();
    let upstream = echo(b'a').await;
    let start = async || {
        let state = Some(directory.path().join("state.json"));
        Running::with(AgentConfig { state, ..with_faults(upstream, json!([latency()])) }).await
    };
    let agent = start().await;
    assert_eq!(agent.put("/v1/halt", json!({"reason": "a real incident"})).await.0, 200);
    agent.stop().await;
    let agent = start().await;
    assert_eq!(agent.get("/v1/proxies/db/faults").await.1, json!({"faults": []}));
}
