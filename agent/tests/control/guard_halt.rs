//! The big red switch: heals everything, refuses whatever would hurt, says why, and is still on after a restart.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use crate::api_support::{Running, config, echo};
use serde_json::{Value, json};
use squall_agent::AgentConfig;

fn latency() -> Value {
    json!({"name": "slow", "fault": {"latency": {"delay": "1ms"}}})
}

async fn halt(agent: &Running) -> Value {
    let (status, told) = agent.put("/v1/halt", json!({"reason": "a real incident"})).await;
    assert_eq!(status, 200, "{told}");
    told
}

fn assert_halted((status, told): (u16, Value)) {
    assert_eq!((status, &told["error"]["code"]), (409, &json!("halted")), "{told}");
    let message = told["error"]["message"].as_str().unwrap();
    assert!(message.contains("a real incident") && message.contains("anonymous"), "{message}");
}

#[tokio::test]
async fn a_halt_heals_everything_and_refuses_what_would_hurt_until_it_is_lifted() {
    let agent = Running::new().await;
    let upstream = echo(b'a').await;
    for name in ["db", "web"] {
        agent.proxy(name, upstream).await;
    }
    let lease = agent.lease("ann", "1m", &["db"]).await;
    let mut fault = latency();
    fault["lease"] = json!(lease);
    agent.fault("db", fault.clone()).await;
    assert_eq!(
        agent.post("/proxies/web/toxics", json!({"type": "latency", "attributes": {"latency": 1}})).await.0,
        200
    );

    let told = halt(&agent).await;
    let mut removed: Vec<_> = told["removed"].as_array().unwrap().iter().map(|fault| &fault["proxy"]).collect();
    removed.sort_by_key(ToString::to_string);
    assert_eq!(removed, ["db", "web"]);
    assert_eq!((&told["halt"]["reason"], &told["survives_restart"]), (&json!("a real incident"), &json!(false)));
    for path in ["/v1/proxies/db/faults", "/v1/proxies/web/faults"] {
        assert_eq!(agent.get(path).await.1, json!({"faults": []}));
    }
    assert_eq!(agent.get("/v1/agent").await.1["halt"], told["halt"]);
    assert_eq!(agent.get("/v1/halt").await.1["halt"], told["halt"]);

    assert_halted(agent.post("/v1/proxies/db/faults", fault.clone()).await);
    assert_halted(agent.post("/v1/proxies/web/faults", latency()).await);
    assert_halted(agent.post("/v1/leases", json!({"owner": "bob", "ttl": "1m", "proxies": ["web"]})).await);
    for change in [json!({"enabled": false}), json!({"upstream": "127.0.0.1:1"}), json!({"listen": "127.0.0.1:1"})] {
        assert_halted(agent.patch("/v1/proxies/web", change).await);
    }
    assert_halted(agent.delete("/v1/proxies/web").await);
    for (path, body) in [
        ("/proxies/web/toxics", json!({"type": "latency", "attributes": {"latency": 1}})),
        ("/proxies/web", json!({"enabled": false})),
        (
            "/populate",
            json!([{"name": "new", "upstream": upstream, "toxics": [{"type": "latency", "attributes": {"latency": 1}}]}]),
        ),
    ] {
        let (status, told) = agent.post(path, body).await;
        assert_eq!((status, told.to_string().contains("a real incident")), (409, true), "{path}: {told}");
    }
    assert_eq!(agent.get("/v1/proxies/new").await.0, 404, "a refused list must make no proxy");
    // What hurts nobody goes on, and so does getting out of it.
    agent.proxy("more", upstream).await;
    assert_eq!(agent.put(&format!("/v1/leases/{lease}"), json!({})).await.0, 200);
    assert_eq!(agent.delete("/v1/faults").await.0, 200);

    assert_eq!(agent.delete("/v1/halt").await.1["halt"], Value::Null);
    assert_eq!(agent.delete("/v1/halt").await.0, 200, "to lift no halt is no error");
    agent.fault("db", fault).await;
}

#[tokio::test]
async fn a_halt_needs_a_reason_and_takes_a_new_one() {
    let agent = Running::new().await;
    for wrong in [json!({}), json!({"reason": " "}), json!({"reason": "x".repeat(501)}), json!({"reasn": "x"})] {
        let (status, told) = agent.put("/v1/halt", wrong).await;
        assert_eq!((status, &told["error"]["code"]), (400, &json!("invalid_request")), "{told}");
    }
    assert_eq!(agent.get("/v1/halt").await.1["halt"], Value::Null);
    halt(&agent).await;
    assert_eq!(agent.put("/v1/halt", json!({"reason": "another"})).await.1["halt"]["reason"], "another");
}

#[tokio::test]
async fn a_halt_survives_a_restart_where_there_is_a_state_file_and_so_does_its_end() {
    let directory = tempfile::tempdir().unwrap();
    let upstream = echo(b'a').await;
    let toxic = json!([{"name": "listed", "upstream": upstream, "toxics": [{"type": "latency", "attributes": {"latency": 1}}]}]);
    let start = async || {
        let populate = serde_json::from_value(toxic.clone()).unwrap();
        Running::with(AgentConfig { state: Some(directory.path().join("state.json")), populate, ..config() }).await
    };
    let agent = start().await;
    agent.proxy("db", upstream).await;
    let told = halt(&agent).await;
    assert_eq!(told["survives_restart"], true);
    agent.stop().await;

    let agent = start().await;
    assert_eq!(agent.get("/v1/halt").await.1["halt"], told["halt"]);
    assert_halted(agent.post("/v1/proxies/db/faults", latency()).await);
    // The agent must come up with a list that has toxics, and without them.
    assert_eq!(agent.get("/proxies/listed").await.1["toxics"], json!([]));
    assert_eq!(agent.delete("/v1/halt").await.0, 200);
    agent.stop().await;

    let agent = start().await;
    assert_eq!(agent.get("/v1/halt").await.1["halt"], Value::Null);
    agent.fault("db", latency()).await;
}

#[tokio::test]
async fn a_halt_that_could_not_be_written_down_is_in_effect_and_says_that_it_would_be_lost() {
    let directory = tempfile::tempdir().unwrap();
    let inner = directory.path().join("inner");
    std::fs::create_dir(&inner).unwrap();
    let agent = Running::with(AgentConfig { state: Some(inner.join("state.json")), ..config() }).await;
    agent.proxy("db", echo(b'a').await).await;
    agent.fault("db", latency()).await;
    std::fs::remove_dir_all(&inner).unwrap();
    let (status, told) = agent.put("/v1/halt", json!({"reason": "a real incident"})).await;
    assert_eq!(status, 500, "{told}");
    assert!(told["error"]["message"].as_str().unwrap().contains("would be lost at a restart"), "{told}");
    assert_halted(agent.post("/v1/proxies/db/faults", latency()).await);
    assert_eq!(agent.get("/v1/proxies/db/faults").await.1, json!({"faults": []}));
}
