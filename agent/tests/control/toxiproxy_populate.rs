//! `populate`, `reset`, Toxiproxy's configuration file, and how all of it gets on with leases and limits.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use crate::api_support::{Running, config, connect, echo, ping};
use reqwest::Method;
use serde_json::{Value, json};
use squall_agent::{Agent, AgentConfig, ProxyInput};
use std::{net::SocketAddr, time::Duration};
use tokio::net::TcpListener;

fn free() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn populate_makes_what_is_not_there_and_leaves_what_is_so() {
    let agent = Running::new().await;
    let (a, b) = (echo(b'a').await, echo(b'b').await);
    let (one, two) = (free(), free());
    let list = json!([{"name": "one", "listen": one, "upstream": a}, {"name": "two", "listen": two, "upstream": a}]);
    let (status, answer) = agent.post("/populate", list.clone()).await;
    assert_eq!((status, answer["proxies"].as_array().unwrap().len()), (201, 2), "{answer}");
    assert!(answer.get("error").is_none() && answer.get("status").is_none());
    agent.post("/proxies/one/toxics", json!({"type": "noop"})).await;
    agent.post("/proxies/two/toxics", json!({"type": "latency", "attributes": {"latency": 1}})).await;
    agent.post("/proxies/one", json!({"enabled": false})).await;
    let mut kept = connect(two).await;
    assert_eq!(ping(&mut kept).await.unwrap(), b"aping");

    let (status, again) = agent.post("/populate", list).await;
    assert_eq!(status, 201);
    assert_eq!(again["proxies"][0]["enabled"], false, "left as it is, even if enabled differs");
    assert_eq!(again["proxies"][0]["toxics"][0]["type"], "noop");
    assert_eq!(ping(&mut kept).await.unwrap(), b"aping");

    let moved = json!([{"name": "two", "listen": two, "upstream": b}]);
    let (status, replaced) = agent.post("/populate", moved).await;
    assert_eq!((status, &replaced["proxies"][0]["toxics"]), (201, &json!([])), "replaced: its toxics are gone");
    assert!(ping(&mut kept).await.is_err(), "and so are its connections");
    assert_eq!(ping(&mut connect(two).await).await.unwrap(), b"bping");
}

#[tokio::test]
async fn populate_of_nothing_answers_null() {
    let agent = Running::new().await;
    assert_eq!(agent.post("/populate", json!([])).await, (201, json!({"proxies": null})));
}

#[tokio::test]
async fn a_mistake_in_the_list_is_found_before_anything_is_made() {
    let agent = Running::new().await;
    let good = json!({"name": "good", "upstream": "a:1"});
    for (bad, message) in [
        (json!({"upstream": "a:1"}), "missing required field: name at proxy 2"),
        (json!({"name": "x"}), "missing required field: upstream at proxy 2"),
        (json!({"name": "x", "upstream": "a:1", "toxics": [{"type": "nonsense"}]}), "invalid toxic type"),
    ] {
        let (status, answer) = agent.post("/populate", json!([good, bad])).await;
        assert_eq!((status, answer), (400, json!({"error": message, "status": 400, "proxies": null})));
    }
    let (status, answer) = agent.post("/populate", json!({"name": "no list"})).await;
    assert!(status == 400 && answer["error"].as_str().unwrap().starts_with("bad request body: "), "{answer}");
    assert_eq!(agent.get("/proxies").await.1, json!({}));
}

#[tokio::test]
async fn an_error_half_way_tells_what_was_done_before_it() {
    let agent = Running::new().await;
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let held = std::net::TcpListener::bind(taken).unwrap();
    let list = json!([
        {"name": "one", "upstream": "a:1"},
        {"name": "two", "upstream": "a:1", "listen": taken},
        {"name": "three", "upstream": "a:1"}
    ]);
    let (status, answer) = agent.post("/populate", list).await;
    assert_eq!((status, &answer["status"]), (500, &json!(500)));
    assert_eq!(answer["error"], json!(format!("listen tcp {taken}: bind: address already in use")));
    assert_eq!(answer["proxies"].as_array().unwrap().len(), 1);
    assert_eq!(agent.get("/proxies").await.1.as_object().unwrap().keys().collect::<Vec<_>>(), ["one"]);
    drop(held);
}

#[tokio::test]
async fn toxics_in_the_list_are_set_and_a_second_time_changes_nothing() {
    let agent = Running::new().await;
    let list = |latency: u64| {
        let toxics = json!([{"type": "latency", "attributes": {"latency": latency}}, {"type": "timeout", "stream": "upstream", "toxicity": 0.5}]);
        json!([{"name": "db", "listen": "127.0.0.1:0", "upstream": "a:1", "toxics": toxics}])
    };
    let (status, first) = agent.post("/populate", list(5)).await;
    assert_eq!((status, first["proxies"][0]["toxics"].as_array().unwrap().len()), (201, 2), "{first}");
    let (_, faults) = agent.get("/v1/proxies/db/faults").await;
    let (_, second) = agent.post("/populate", list(5)).await;
    assert_eq!(first, second);
    let seeds =
        |faults: &Value| faults["faults"].as_array().unwrap().iter().map(|f| f["seed"].clone()).collect::<Vec<_>>();
    let (_, after) = agent.get("/v1/proxies/db/faults").await;
    assert_eq!(seeds(&faults), seeds(&after), "the very same faults");
    let (_, third) = agent.post("/populate", list(6)).await;
    let latency = third["proxies"][0]["toxics"].as_array().unwrap().iter().find(|toxic| toxic["type"] == "latency");
    assert_eq!(latency.unwrap()["attributes"]["latency"], 6);
    assert_eq!(third["proxies"][0]["toxics"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn reset_enables_every_proxy_and_removes_every_toxic_but_no_other_fault() {
    let agent = Running::new().await;
    let upstream = echo(b'a').await;
    let (one, two) = (agent.proxy("one", upstream).await, agent.proxy("two", upstream).await);
    agent.post("/proxies/one/toxics", json!({"type": "timeout"})).await;
    agent.post("/proxies/one/toxics", json!({"type": "noop"})).await;
    agent.post("/proxies/two", json!({"enabled": false})).await;
    agent.fault("two", json!({"name": "ours", "fault": {"latency": {"delay": "1ms"}}})).await;
    assert_eq!(agent.call(Method::POST, "/reset", None).await, (204, Value::Null));
    let (_, all) = agent.get("/proxies").await;
    for name in ["one", "two"] {
        assert_eq!((&all[name]["enabled"], &all[name]["toxics"]), (&json!(true), &json!([])));
    }
    assert_eq!(agent.get("/v1/proxies/one/faults").await.1, json!({"faults": []}));
    assert_eq!(agent.get("/v1/proxies/two/faults").await.1["faults"][0]["name"], "ours");
    for listen in [one, two] {
        assert_eq!(ping(&mut connect(listen).await).await.unwrap(), b"aping");
    }
}

#[tokio::test]
async fn a_proxy_that_somebody_holds_is_refused_and_keeps_nobody_else_from_a_reset() {
    let agent = Running::new().await;
    agent.proxy("held", echo(b'a').await).await;
    agent.proxy("other", echo(b'a').await).await;
    // A toxic that does something would keep anybody from a lease.
    for (name, kind) in [("held", "noop"), ("other", "timeout")] {
        let (status, told) = agent.post(&format!("/proxies/{name}/toxics"), json!({"name": "t", "type": kind})).await;
        assert_eq!(status, 200, "{told}");
    }
    let lease = agent.lease("ann", "60s", &["held"]).await;
    let held = agent.get("/proxies/held").await.1;
    for (method, path, body) in [
        (Method::POST, "/proxies/held/toxics", json!({"type": "latency", "attributes": {"latency": 5}})),
        (Method::POST, "/proxies/held/toxics/t", json!({"attributes": {"timeout": 5}})),
        (Method::DELETE, "/proxies/held/toxics/t", json!({})),
        (Method::POST, "/proxies/held", json!({"enabled": false})),
        (Method::DELETE, "/proxies/held", json!({})),
        (Method::POST, "/populate", json!([{"name": "held", "upstream": "elsewhere:1"}])),
        (Method::POST, "/reset", json!({})),
    ] {
        let request = agent.request(method, path).header("x-squall-lease", &lease).json(&body);
        let (status, answer) = crate::api_support::answer(request).await;
        let answer = answer.as_str().map_or(answer.clone(), |text| serde_json::from_str(text).unwrap());
        assert_eq!((status, &answer["status"]), (409, &json!(409)), "{path}: {answer}");
        assert!(answer["error"].as_str().unwrap().contains("leased by ann"), "{answer}");
        assert_eq!(agent.get("/proxies/held").await.1, held, "{path} changed it");
    }
    assert_eq!(agent.get("/proxies/other").await.1["toxics"], json!([]), "the other one was reset");
}

#[tokio::test]
async fn a_toxic_ends_with_max_fault_duration_and_with_whatever_else_heals_its_fault() {
    let limit = Duration::from_millis(300);
    let agent = Running::with(AgentConfig { max_fault_duration: limit, ..config() }).await;
    agent.proxy("db", echo(b'a').await).await;
    agent.post("/proxies/db/toxics", json!({"type": "timeout"})).await;
    agent.until("/proxies/db/toxics", |_, toxics| toxics == &json!([])).await;
    assert_eq!(agent.get("/v1/proxies/db/faults").await.1, json!({"faults": []}));

    let agent = Running::new().await;
    agent.proxy("db", echo(b'a').await).await;
    for path in ["/v1/faults", "/v1/proxies/db/faults/timeout_downstream"] {
        assert_eq!(agent.post("/proxies/db/toxics", json!({"type": "timeout"})).await.0, 200);
        assert_eq!(agent.delete(path).await.0, 200);
        assert_eq!(agent.get("/proxies/db/toxics").await.1, json!([]), "{path}");
    }
}

#[tokio::test]
async fn the_list_of_toxiproxys_configuration_file_is_there_at_the_start() {
    let inputs = |list: Value| serde_json::from_value::<Vec<ProxyInput>>(list).unwrap();
    let upstream = echo(b'a').await;
    let toxics = json!([{"type": "latency", "attributes": {"latency": 1}}]);
    let populate = inputs(json!([{"name": "db", "listen": "127.0.0.1:0", "upstream": upstream, "toxics": toxics}]));
    let agent = Running::with(AgentConfig { populate, ..config() }).await;
    let (_, proxy) = agent.get("/proxies/db").await;
    assert_eq!(proxy["toxics"][0]["attributes"], json!({"latency": 1, "jitter": 0}));
    assert_eq!(ping(&mut connect(proxy["listen"].as_str().unwrap().parse().unwrap()).await).await.unwrap(), b"aping");

    let populate = inputs(json!([{"name": "db", "listen": agent.addr, "upstream": upstream}]));
    let error = Agent::bind(AgentConfig { populate, ..config() }).await.unwrap_err().to_string();
    assert!(error.contains("proxy 1 of Toxiproxy's list") && error.contains(&agent.addr.to_string()), "{error}");
}
