//! The policy: what it forbids is refused to everybody, on every path, with the rule; also when a name is re-pointed.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use crate::api_support::{LONG, Running, config, connect, echo, ping};
use reqwest::Method;
use serde_json::{Value, json};
use squall_agent::{Agent, AgentConfig, policy::Policy};
use std::io::ErrorKind;
use tokio::{io::AsyncReadExt, time::timeout};

fn policy(value: Value) -> Policy {
    serde_json::from_value(value).unwrap()
}

async fn ruled(value: Value) -> Running {
    Running::with(AgentConfig { policy: policy(value), ..config() }).await
}

/// A refusal by this rule, about this field.
fn assert_refused((status, told): (u16, Value), rule: &str, field: &str) {
    let error = &told["error"];
    assert_eq!((status, &error["code"], &error["field"]), (403, &json!("forbidden"), &json!(field)), "{told}");
    assert!(error["message"].as_str().unwrap().starts_with(rule), "{told}");
}

/// A refusal by this rule, as Toxiproxy tells it.
fn assert_toxiproxy_refused((status, told): (u16, Value), rule: &str) {
    assert_eq!(status, 403, "{told}");
    assert!(told.to_string().contains(rule), "{told}");
}

fn latency() -> Value {
    json!({"name": "slow", "fault": {"latency": {"delay": "1ms"}}})
}

#[tokio::test]
async fn an_upstream_that_is_forbidden_is_refused_on_every_path_and_nothing_is_made() {
    let upstreams = json!({"allowed": ["127.0.0.0/8", "*.internal"], "never": ["127.0.0.9", "*prod*"]});
    let agent = ruled(json!({"upstreams": upstreams})).await;
    let create = |upstream: &str| agent.post("/v1/proxies", json!({"name": "db", "upstream": upstream}));
    for upstream in ["127.0.0.9:80", "[::ffff:127.0.0.9]:80", "DB.PROD.internal:80"] {
        assert_refused(create(upstream).await, "policy.upstreams.never", "upstream");
    }
    for upstream in ["10.0.0.1:80", "[::]:80", "[::1]:80"] {
        assert_refused(create(upstream).await, "policy.upstreams.allowed", "upstream");
    }
    assert_eq!(agent.get("/v1/proxies").await.1, json!({"proxies": []}));

    agent.proxy("db", echo(b'a').await).await;
    let to = |upstream: &str| json!({"name": "db", "upstream": upstream});
    assert_refused(agent.put("/v1/proxies/db", to("10.0.0.1:80")).await, "policy.upstreams.allowed", "upstream");
    let patch = agent.patch("/v1/proxies/db", json!({"upstream": "127.0.0.9:1"})).await;
    assert_refused(patch, "policy.upstreams.never", "upstream");
    assert_toxiproxy_refused(agent.post("/proxies", to("10.0.0.1:80")).await, "policy.upstreams.allowed");
    assert_toxiproxy_refused(agent.post("/proxies/db", to("127.0.0.9:1")).await, "policy.upstreams.never");
    assert_toxiproxy_refused(agent.post("/populate", json!([to("127.0.0.9:1")])).await, "policy.upstreams.never");
}

#[tokio::test]
async fn a_name_is_judged_by_the_address_that_is_dialled() {
    let upstream = echo(b'a').await;
    // The rules allow the name as it is written; what it means is forbidden.
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state.json");
    let name = format!("localhost:{}", upstream.port());
    let saved = json!({"version": 1, "proxies": [{"name": "db", "listen": "127.0.0.1:0", "upstream": name}]});
    std::fs::write(&state, saved.to_string()).unwrap();
    let dial = async |rules: Value| {
        let config =
            AgentConfig { state: Some(state.clone()), policy: policy(json!({"upstreams": rules})), ..config() };
        let agent = Running::with(config).await;
        let listen = agent.get("/v1/proxies/db").await.1["listen"].as_str().unwrap().parse().unwrap();
        let mut client = connect(listen).await;
        let outcome = ping(&mut client).await;
        agent.stop().await;
        outcome
    };
    assert_eq!(dial(json!({"allowed": ["localhost"]})).await.unwrap(), b"aping");
    assert_eq!(
        dial(json!({"allowed": ["localhost"], "never": ["127.0.0.0/8", "::1"]})).await.unwrap_err().kind(),
        ErrorKind::ConnectionReset
    );
    assert_eq!(dial(json!({"allowed": ["other"]})).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(dial(json!({"allowed": ["127.0.0.0/8"]})).await.unwrap(), b"aping");
}

#[tokio::test]
async fn a_name_whose_addresses_are_all_forbidden_is_refused_when_the_proxy_is_made() {
    let agent = ruled(json!({"upstreams": {"never": ["127.0.0.0/8", "::1"]}})).await;
    let made = agent.post("/v1/proxies", json!({"name": "db", "upstream": "localhost:80"})).await;
    assert_refused(made, "policy.upstreams.never", "upstream");
    // What means nothing yet may be made: each connection is judged anyway.
    assert_eq!(agent.post("/v1/proxies", json!({"name": "db", "upstream": "no.such.invalid:80"})).await.0, 201);
}

#[tokio::test]
async fn kinds_shares_and_times_are_limited_for_faults_changes_and_toxics() {
    let rules = json!({"kinds": ["latency", "bandwidth"], "max_percent": 50, "max_fault_duration": "10m"});
    let agent = ruled(rules).await;
    agent.proxy("db", echo(b'a').await).await;
    let set = async |mut fault: Value, more: Value| {
        fault.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        agent.post("/v1/proxies/db/faults", fault).await
    };
    let reset = json!({"fault": {"reset": {}}, "percent": 1});
    assert_refused(set(reset, json!({})).await, "policy.kinds", "fault");
    assert_refused(set(latency(), json!({})).await, "policy.max_percent", "percent");
    let (status, told) = set(latency(), json!({"percent": 50, "expires_in": "601s"})).await;
    assert_eq!((status, &told["error"]["field"]), (403, &json!("expires_in")));
    assert!(told["error"]["message"].as_str().unwrap().contains("policy.max_fault_duration"), "{told}");
    let (status, info) = set(latency(), json!({"percent": 50})).await;
    assert_eq!((status, info["expires_in"].as_str().unwrap()), (201, "10m"), "{info}");
    let patch = async |body: Value| agent.patch("/v1/proxies/db/faults/slow", body).await;
    assert_refused(patch(json!({"percent": 50.5})).await, "policy.max_percent", "percent");
    assert_eq!(patch(json!({"percent": 20})).await.0, 200);

    let toxic = |kind: &str, toxicity: f64| json!({"name": kind, "type": kind, "toxicity": toxicity, "attributes": if kind == "latency" { json!({"latency": 1}) } else { json!({}) }});
    let toxics = "/proxies/db/toxics";
    assert_toxiproxy_refused(agent.post(toxics, toxic("reset_peer", 0.1)).await, "policy.kinds");
    assert_toxiproxy_refused(agent.post(toxics, toxic("latency", 1.0)).await, "policy.max_percent");
    assert_eq!(agent.post(toxics, toxic("latency", 0.5)).await.0, 200);
    let change = agent.post("/proxies/db/toxics/latency", json!({"toxicity": 0.6})).await;
    assert_toxiproxy_refused(change, "policy.max_percent");
    let list = json!([{"name": "db", "listen": agent.get("/v1/proxies/db").await.1["listen"],
        "upstream": agent.get("/v1/proxies/db").await.1["upstream"], "toxics": [toxic("latency", 0.7)]}]);
    assert_toxiproxy_refused(agent.post("/populate", list).await, "policy.max_percent");
    let left = agent.get("/proxies/db/toxics/latency").await.1;
    assert_eq!(left["toxicity"], 0.5, "a refused list must leave the toxic as it was");
}

#[tokio::test]
async fn where_leases_are_required_nothing_is_set_without_one_and_toxiproxys_paths_only_look() {
    let agent = ruled(json!({"require_lease": true})).await;
    agent.proxy("db", echo(b'a').await).await;
    assert_refused(agent.post("/v1/proxies/db/faults", latency()).await, "policy.require_lease", "lease");
    for change in [json!({"enabled": false}), json!({"upstream": "127.0.0.1:1"}), json!({"listen": "127.0.0.1:1"})] {
        assert_refused(agent.patch("/v1/proxies/db", change).await, "policy.require_lease", "lease");
    }
    assert_refused(agent.delete("/v1/proxies/db").await, "policy.require_lease", "lease");
    let lease = agent.lease("ann", "1m", &["db"]).await;
    let mut fault = latency();
    fault["lease"] = json!(lease);
    agent.fault("db", fault).await;
    for (method, path) in [
        (Method::POST, "/proxies"),
        (Method::POST, "/populate"),
        (Method::POST, "/reset"),
        (Method::POST, "/proxies/db"),
        (Method::DELETE, "/proxies/db"),
        (Method::POST, "/proxies/db/toxics"),
        (Method::DELETE, "/proxies/db/toxics/slow"),
    ] {
        assert_toxiproxy_refused(agent.call(method, path, Some(json!({}))).await, "policy.require_lease");
    }
    assert_eq!(agent.get("/proxies/db").await.0, 200);
    assert_eq!(agent.get("/v1/proxies/db").await.1["faults"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_protected_proxy_is_neither_hurt_nor_changed_and_goes_on_working() {
    let upstream = echo(b'a').await;
    let ledger = json!({"name": "ledger", "listen": "127.0.0.1:0", "upstream": upstream});
    let proxies = vec![serde_json::from_value(ledger.clone()).unwrap()];
    let agent =
        Agent::bind(AgentConfig { proxies, policy: policy(json!({"protected": ["ledger", "later"]})), ..config() });
    let agent = Running::of(agent.await.unwrap());
    let path = "/v1/proxies/ledger";
    assert_refused(agent.post(&format!("{path}/faults"), latency()).await, "policy.protected", "proxy");
    let lease = json!({"owner": "ann", "ttl": "1m", "proxies": ["ledger"]});
    assert_refused(agent.post("/v1/leases", lease).await, "policy.protected", "proxy");
    assert_refused(agent.patch(path, json!({"enabled": false})).await, "policy.protected", "proxy");
    assert_refused(agent.delete(path).await, "policy.protected", "proxy");
    let later = json!({"name": "later", "upstream": upstream});
    assert_refused(agent.post("/v1/proxies", later).await, "policy.protected", "proxy");
    assert_toxiproxy_refused(agent.post("/proxies/ledger", json!({"enabled": false})).await, "policy.protected");
    let toxic = json!({"type": "latency", "attributes": {"latency": 1}});
    assert_toxiproxy_refused(agent.post("/proxies/ledger/toxics", toxic).await, "policy.protected");
    assert_eq!(agent.put(path, ledger).await.0, 200, "to ask for what is so already changes nothing");
    let listen = agent.get(path).await.1["listen"].as_str().unwrap().parse().unwrap();
    assert_eq!(ping(&mut connect(listen).await).await.unwrap(), b"aping");
}

#[tokio::test]
async fn the_policy_is_shown_and_no_call_changes_it() {
    let rules = json!({"upstreams": {"never": ["10.0.0.0/8"]}, "kinds": ["latency"], "max_percent": 50,
        "max_fault_duration": "10m", "require_lease": true, "protected": ["ledger"],
        "listen": ["127.0.0.0/8"], "tls_files": "/etc"});
    let mut written = rules.clone();
    written["listen"] = json!({"allowed": ["127.0.0.0/8"]});
    let agent = ruled(written).await;
    let info = agent.get("/v1/agent").await.1;
    assert_eq!(info["max_fault_duration"], "10m");
    let mut shown = info["policy"].clone();
    assert_eq!(shown["upstreams"].as_object_mut().unwrap().remove("allowed"), Some(Value::Null));
    assert_eq!(shown, rules);
    for method in [Method::PUT, Method::PATCH, Method::POST] {
        assert_eq!(agent.call(method, "/v1/agent", Some(json!({"policy": {}}))).await.0, 405);
    }
}

#[tokio::test]
async fn a_configuration_that_its_own_policy_forbids_does_not_start() {
    let proxy = |upstream: &str| serde_json::from_value(json!({"name": "db", "upstream": upstream})).unwrap();
    let rules = policy(json!({"upstreams": {"never": ["*prod*"]}, "kinds": ["latncy"]}));
    let config = AgentConfig { proxies: vec![proxy("db.prod:1")], policy: rules, ..config() };
    let error = Agent::bind(config).await.unwrap_err().to_string();
    assert!(error.contains("proxies[0].upstream: policy.upstreams.never: `db.prod`"), "{error}");
    assert!(error.contains("policy.kinds[0]") && error.contains("did you mean `latency`?"), "{error}");
}

#[tokio::test]
async fn a_client_of_a_refused_upstream_is_reset_at_once() {
    let state = tempfile::tempdir().unwrap();
    let file = state.path().join("state.json");
    let saved = json!({"version": 1, "proxies": [{"name": "db", "listen": "127.0.0.1:0", "upstream": "127.0.0.1:9"}]});
    std::fs::write(&file, saved.to_string()).unwrap();
    let rules = policy(json!({"upstreams": {"never": ["127.0.0.1"]}}));
    let agent = Running::with(AgentConfig { state: Some(file), policy: rules, ..config() }).await;
    let info = agent.get("/v1/proxies/db").await.1;
    let mut client = connect(info["listen"].as_str().unwrap().parse().unwrap()).await;
    let end = timeout(LONG, client.read(&mut [0; 1])).await.unwrap();
    assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(agent.get("/v1/proxies/db").await.1["counters"]["connection_errors"], 1);
}

#[tokio::test]
async fn proxies_listen_only_where_the_policy_lets_them() {
    let agent = ruled(json!({"listen": {"allowed": ["127.0.0.0/30"]}})).await;
    let at = |listen: &str| json!({"name": "db", "listen": listen, "upstream": "127.0.0.1:1"});
    for listen in ["127.0.0.4:0", "0.0.0.0:0", "[::1]:0", "[::ffff:127.0.0.4]:0"] {
        assert_refused(agent.post("/v1/proxies", at(listen)).await, "policy.listen.allowed", "listen");
        assert_toxiproxy_refused(agent.post("/proxies", at(listen)).await, "policy.listen.allowed");
    }
    assert_eq!(agent.post("/v1/proxies", at("127.0.0.2:0")).await.0, 201);
    let moved = agent.patch("/v1/proxies/db", json!({"listen": "127.0.0.4:0"})).await;
    assert_refused(moved, "policy.listen.allowed", "listen");
    assert_refused(agent.put("/v1/proxies/db", at("127.0.0.4:0")).await, "policy.listen.allowed", "listen");
    assert_eq!(agent.get("/v1/agent").await.1["policy"]["listen"], json!(["127.0.0.0/30"]));
}

#[tokio::test]
async fn a_proxy_of_the_configuration_that_may_not_listen_there_keeps_the_agent_from_starting() {
    let rules = || policy(json!({"listen": {"allowed": ["10.0.0.0/8"]}}));
    // An address is judged as it is written, a name as what it leads to.
    for (listen, field) in [("127.0.0.1:0", "proxies[0].listen: "), ("127.1:0", "proxy `db` on 127.1:0: ")] {
        let spec = json!({"name": "db", "listen": listen, "upstream": "127.0.0.1:9"});
        let proxies = vec![serde_json::from_value(spec).unwrap()];
        let error = Agent::bind(AgentConfig { proxies, policy: rules(), ..config() }).await.unwrap_err().to_string();
        assert!(error.contains(&format!("{field}policy.listen.allowed: ")), "{error}");
    }
    let state = tempfile::tempdir().unwrap();
    let file = state.path().join("state.json");
    let saved = json!({"version": 1, "proxies": [{"name": "db", "listen": "127.0.0.1:0", "upstream": "127.0.0.1:9"}]});
    std::fs::write(&file, saved.to_string()).unwrap();
    let agent = Running::with(AgentConfig { state: Some(file), policy: rules(), ..config() }).await;
    assert_eq!(agent.get("/v1/proxies/db").await.1["enabled"], false, "one of the last run comes back shut");
}

#[tokio::test]
async fn files_for_tls_are_read_from_the_policys_directory_only() {
    let directory = tempfile::tempdir().unwrap();
    let inside = directory.path().join("none.pem").display().to_string();
    let agent = ruled(json!({"tls_files": directory.path()})).await;
    let with = |tls: Value| {
        let mut spec = json!({"name": "db", "upstream": "127.0.0.1:1"});
        spec.as_object_mut().unwrap().extend(tls.as_object().unwrap().clone());
        agent.post("/v1/proxies", spec)
    };
    let listen = json!({"listen_tls": {"cert": inside, "key": "/etc/passwd"}});
    assert_refused(with(listen).await, "policy.tls_files", "listen_tls");
    let upstream = json!({"upstream_tls": {"ca": "/no/such/file"}});
    assert_refused(with(upstream).await, "policy.tls_files", "upstream_tls");
    let (status, error) = with(json!({"upstream_tls": {"ca": inside}})).await;
    assert_eq!(status, 400, "it may be read, and is not there: {error}");
}
