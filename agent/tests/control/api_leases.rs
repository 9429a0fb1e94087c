//! Leases over real HTTP: exclusive, renewed, and gone with their faults when their owner is.

use crate::api_support::{LONG, Running, answer, client, config, connect, echo, ping};
use reqwest::Method;
use serde_json::{Value, json};
use squall_agent::AgentConfig;
use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

#[tokio::test]
async fn a_lease_is_taken_shown_renewed_and_ended() {
    let agent = Running::new().await;
    agent.proxy("db", echo(b'a').await).await;
    let id = agent.lease("ann", "30s", &["db"]).await;
    let path = format!("/v1/leases/{id}");
    let (status, shown) = agent.get(&path).await;
    let lease: squall_wire::Lease = serde_json::from_value(shown).unwrap();
    assert_eq!((status, lease.owner.as_str(), lease.reason.as_str(), lease.faults), (200, "ann", "a test", 0));
    assert!(lease.expires_in.get() <= Duration::from_secs(30));
    assert_eq!(agent.get("/v1/proxies/db").await.1["lease"], json!(id));
    assert_eq!(agent.get("/v1/leases").await.1["leases"].as_array().unwrap().len(), 1);

    let (status, renewed) = agent.put(&path, json!({"ttl": "2m"})).await;
    assert_eq!((status, &renewed["ttl"]), (200, &json!("2m")));
    let (status, renewed) = agent.call(Method::PUT, &path, None).await;
    assert_eq!((status, &renewed["ttl"]), (200, &json!("2m")), "without a body it is renewed as it is");

    assert_eq!(agent.delete(&path).await, (200, json!({"removed": [], "restored": []})));
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        assert_eq!(agent.call(method, &path, None).await.0, 404);
    }
    assert_eq!(agent.get("/v1/proxies/db").await.1["lease"], Value::Null);
}

#[tokio::test]
async fn a_held_proxy_is_refused_and_the_refusal_says_who_holds_it_why_and_until_when() {
    let agent = Running::new().await;
    agent.proxy("db", echo(b'a').await).await;
    agent.proxy("web", echo(b'b').await).await;
    let id = agent.lease("ann", "30s", &["db"]).await;
    let body = json!({"owner": "bob", "ttl": "30s", "proxies": ["web", "db"]});
    let (status, error) = agent.post("/v1/leases", body.clone()).await;
    assert_eq!((status, &error["error"]["code"]), (409, &json!("leased")));
    let message = error["error"]["message"].as_str().unwrap();
    for part in ["`db`", "ann", "a test", "since 2", "until 2"] {
        assert!(message.contains(part), "{part} is not in: {message}");
    }
    assert_eq!(agent.get("/v1/proxies/web").await.1["lease"], Value::Null, "a refused lease holds nothing");
    agent.delete(&format!("/v1/leases/{id}")).await;
    assert_eq!(agent.post("/v1/leases", body).await.0, 201);
}

#[tokio::test]
async fn of_many_who_ask_at_once_one_gets_the_proxy() {
    let agent = Running::new().await;
    agent.proxy("db", echo(b'a').await).await;
    let body = json!({"owner": "somebody", "ttl": "30s", "proxies": ["db"]});
    let asked = (0..20).map(|_| agent.post("/v1/leases", body.clone()));
    let answers = futures::future::join_all(asked).await;
    assert_eq!(answers.iter().filter(|(status, _)| *status == 201).count(), 1);
    assert_eq!(answers.iter().filter(|(status, _)| *status == 409).count(), 19);
}

#[tokio::test]
async fn leases_that_make_no_sense_are_refused() {
    let agent = Running::with(AgentConfig { max_lease: Duration::from_secs(60), ..config() }).await;
    agent.proxy("payment", echo(b'a').await).await;
    for (body, status, field) in [
        (json!({"owner": "a", "ttl": "30s", "proxies": []}), 400, json!("proxies")),
        (json!({"owner": "", "ttl": "30s", "proxies": ["payment"]}), 400, json!("owner")),
        (json!({"owner": "a", "ttl": "0s", "proxies": ["payment"]}), 400, json!("ttl")),
        (json!({"owner": "a", "ttl": "61s", "proxies": ["payment"]}), 403, json!("ttl")),
        (json!({"owner": "a", "ttl": "30s", "proxies": ["payment", "paymet"]}), 404, Value::Null),
    ] {
        let (got, error) = agent.post("/v1/leases", body).await;
        assert_eq!((got, &error["error"]["field"]), (status, &field), "{error}");
        if status == 404 {
            assert_eq!(error["error"]["hint"], json!("did you mean `payment`?"));
        }
    }
    assert_eq!(agent.get("/v1/leases").await.1, json!({"leases": []}));
}

#[tokio::test]
async fn only_the_holder_changes_a_leased_proxy_and_its_faults() {
    let agent = Running::new().await;
    let upstream = echo(b'a').await;
    let listen = agent.proxy("db", upstream).await;
    agent.proxy("web", upstream).await;
    let id = agent.lease("ann", "30s", &["db"]).await;
    let other = agent.lease("bob", "30s", &["web"]).await;
    let fault = |lease: Option<&str>| json!({"name": "f", "fault": {"latency": {"delay": "1ms"}}, "lease": lease});
    let faults = "/v1/proxies/db/faults";
    assert_eq!(agent.post(faults, fault(None)).await.0, 409);
    assert_eq!(agent.post(faults, fault(Some(&other))).await.0, 409);
    assert_eq!(agent.post(faults, fault(Some("never-was"))).await.0, 404);
    assert_eq!(agent.post(faults, fault(Some(&id))).await.1["lease"], json!(id));

    let same = json!({"name": "db", "upstream": upstream});
    let moved = json!({"name": "db", "upstream": "other:1"});
    let changes = [
        (Method::PATCH, "/v1/proxies/db/faults/f", Some(json!({"percent": 5}))),
        (Method::DELETE, "/v1/proxies/db/faults/f", None),
        (Method::PATCH, "/v1/proxies/db", Some(json!({"enabled": false}))),
        (Method::PUT, "/v1/proxies/db", Some(moved)),
        (Method::DELETE, "/v1/proxies/db", None),
    ];
    for (method, path, body) in &changes {
        let (status, error) = agent.call(method.clone(), path, body.clone()).await;
        assert_eq!((status, &error["error"]["code"]), (409, &json!("leased")), "{method} {path}");
        let request = agent.request(method.clone(), path).header("X-Squall-Lease", &other);
        let (status, _) = answer(if let Some(body) = body { request.json(body) } else { request }).await;
        assert_eq!(status, 409, "{method} {path} under another's lease");
    }
    assert_eq!(agent.put("/v1/proxies/db", same).await.0, 200, "what changes nothing needs no lease");
    assert_eq!(ping(&mut connect(listen).await).await.unwrap(), b"aping");
    for (method, path, body) in &changes {
        let request = agent.request(method.clone(), path).header("X-Squall-Lease", &id);
        let (status, error) = answer(if let Some(body) = body { request.json(body) } else { request }).await;
        // A deleted proxy could not come back.
        let expected = if *path == "/v1/proxies/db" && *method == Method::DELETE { 409 } else { 200 };
        assert_eq!(status, expected, "{method} {path}: {error}");
    }
}

#[tokio::test]
async fn a_lease_must_hold_the_proxy_that_a_fault_is_for() {
    let agent = Running::new().await;
    let upstream = echo(b'a').await;
    agent.proxy("db", upstream).await;
    agent.proxy("web", upstream).await;
    let id = agent.lease("ann", "30s", &["db"]).await;
    let fault = json!({"fault": {"reset": {}}, "lease": id});
    let (status, error) = agent.post("/v1/proxies/web/faults", fault.clone()).await;
    assert_eq!((status, &error["error"]["field"]), (400, &json!("lease")));
    let request = agent.request(Method::POST, "/v1/proxies/db/faults").header("X-Squall-Lease", "another");
    assert_eq!(answer(request.json(&fault)).await.0, 400, "two leases named");
    let request = agent.request(Method::POST, "/v1/proxies/db/faults").header("X-Squall-Lease", &id);
    let (status, info) = answer(request.json(&json!({"fault": {"reset": {}}}))).await;
    assert_eq!((status, &info["lease"]), (201, &json!(id)), "the header alone is enough");
}

#[tokio::test]
async fn a_lease_that_is_not_renewed_takes_its_faults_with_it() {
    let agent = Running::new().await;
    let listen = agent.proxy("db", echo(b'a').await).await;
    let start = Instant::now();
    let id = agent.lease("ann", "500ms", &["db"]).await;
    agent.fault("db", json!({"fault": {"latency": {"delay": "10m"}}, "lease": id})).await;
    let mut held = connect(listen).await;
    assert_eq!(ping(&mut held).await.unwrap(), b"aping", "the waiter is released");
    assert!(start.elapsed() >= Duration::from_millis(500), "the lease ended early");
    assert_eq!(agent.get("/v1/proxies/db/faults").await.1, json!({"faults": []}));
    assert_eq!(agent.put(&format!("/v1/leases/{id}"), json!({})).await.0, 404, "what ended cannot be renewed");
    agent.lease("bob", "30s", &["db"]).await;
}

#[tokio::test]
async fn renewals_keep_a_lease_and_its_faults() {
    let agent = Running::new().await;
    agent.proxy("db", echo(b'a').await).await;
    let id = agent.lease("ann", "1s", &["db"]).await;
    agent.fault("db", json!({"fault": {"unread": {}}, "lease": id})).await;
    let start = Instant::now();
    let mut pause = tokio::time::interval(Duration::from_millis(100));
    while start.elapsed() < Duration::from_millis(2500) {
        pause.tick().await;
        assert_eq!(agent.put(&format!("/v1/leases/{id}"), json!({})).await.0, 200);
    }
    assert_eq!(agent.get(&format!("/v1/leases/{id}")).await.1["faults"], json!(1));
    agent.until("/v1/proxies/db/faults", |_, list| list["faults"] == json!([])).await;
}

#[tokio::test]
async fn the_end_of_a_lease_tells_what_went_with_it_and_leaves_other_faults() {
    let agent = Running::new().await;
    let listen = agent.proxy("db", echo(b'a').await).await;
    agent.proxy("web", echo(b'b').await).await;
    let id = agent.lease("ann", "30s", &["db"]).await;
    agent.fault("web", json!({"name": "other", "fault": {"slow_close": {"delay": "1ms"}}})).await;
    agent.fault("db", json!({"name": "mine", "fault": {"latency": {"delay": "1ms"}}, "lease": id})).await;
    assert_eq!(ping(&mut connect(listen).await).await.unwrap(), b"aping");
    let (status, healed) = agent.delete(&format!("/v1/leases/{id}")).await;
    let removed = json!([{"proxy": "db", "fault": "mine", "hits": 1}]);
    assert_eq!((status, &healed["removed"], &healed["restored"]), (200, &removed, &json!([])));
    let (_, left) = agent.get("/v1/proxies/web/faults").await;
    assert_eq!(left["faults"][0]["name"], json!("other"));
}

#[tokio::test]
async fn the_big_switch_heals_leased_proxies_too_and_leaves_the_leases() {
    let agent = Running::new().await;
    agent.proxy("db", echo(b'a').await).await;
    let id = agent.lease("ann", "30s", &["db"]).await;
    agent.fault("db", json!({"fault": {"unread": {}}, "lease": id})).await;
    assert_eq!(agent.delete("/v1/faults").await.1["removed"].as_array().unwrap().len(), 1);
    let (status, lease) = agent.get(&format!("/v1/leases/{id}")).await;
    assert_eq!((status, &lease["faults"]), (200, &json!(0)));
}

/// Takes a lease, sets a fault under it, says so, and renews until it is killed. Only as a child of the next test.
#[tokio::test]
#[ignore = "the child of the next test"]
async fn the_one_who_is_killed() {
    let Ok(base) = std::env::var("SQUALL_TEST_AGENT") else { return };
    let http = client();
    let lease = json!({"owner": "victim", "ttl": "1s", "proxies": ["db"]});
    let (_, lease) = answer(http.post(format!("{base}/v1/leases")).json(&lease)).await;
    let id = lease["id"].as_str().unwrap().to_owned();
    let fault = json!({"fault": {"latency": {"delay": "10m"}}, "lease": id});
    assert_eq!(answer(http.post(format!("{base}/v1/proxies/db/faults")).json(&fault)).await.0, 201);
    eprintln!("holding");
    let mut pause = tokio::time::interval(Duration::from_millis(200));
    for _ in 0..300 {
        pause.tick().await;
        answer(http.put(format!("{base}/v1/leases/{id}"))).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_one_who_set_a_fault_is_killed_the_fault_goes_with_its_lease() {
    let agent = Running::new().await;
    let listen = agent.proxy("db", echo(b'a').await).await;
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "api_leases::the_one_who_is_killed", "--nocapture"])
        .env("SQUALL_TEST_AGENT", agent.url(""))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(victim.stderr.take().unwrap()).lines();
    let holding = tokio::task::spawn_blocking(|| lines.map_while(Result::ok).any(|line| line.contains("holding")));
    assert!(holding.await.unwrap());
    let renewals = agent.until("/v1/leases", |_, list| !list["leases"].as_array().unwrap().is_empty()).await;
    assert_eq!(renewals["leases"][0]["owner"], json!("victim"));
    victim.kill().unwrap();
    victim.wait().unwrap();

    let mut held = connect(listen).await;
    let released = tokio::time::timeout(LONG, ping(&mut held)).await.expect("the fault must go").unwrap();
    assert_eq!(released, b"aping");
    assert_eq!(agent.get("/v1/leases").await.1, json!({"leases": []}));
}

/// Whether a proxy is as it was told.
async fn shape(agent: &Running, name: &str) -> Value {
    let info = agent.get(&format!("/v1/proxies/{name}")).await.1;
    json!({"listen": info["listen"], "upstream": info["upstream"], "enabled": info["enabled"]})
}

/// Shuts a proxy, moves it and leads it elsewhere, under a lease.
async fn change_everything(agent: &Running, name: &str, lease: &str) {
    let elsewhere = echo(b'z').await;
    let path = format!("/v1/proxies/{name}");
    let body = json!({"listen": "127.0.0.2:0", "upstream": elsewhere, "enabled": false});
    let request = agent.request(Method::PATCH, &path).header("X-Squall-Lease", lease).json(&body);
    let (status, info) = answer(request).await;
    assert_eq!((status, &info["enabled"], &info["changed_under"]), (200, &json!(false), &json!(lease)), "{info}");
}

#[tokio::test]
async fn what_was_changed_under_a_lease_comes_back_when_it_ends_runs_out_or_everything_is_healed() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state.json");
    let agent = Running::with(AgentConfig { state: Some(state.clone()), ..config() }).await;
    for (name, how) in [("ended", "lease"), ("ran-out", "time"), ("healed", "heal"), ("halted", "halt")] {
        let addr = agent.proxy(name, echo(b'a').await).await;
        let before = shape(&agent, name).await;
        let lease = agent.lease("ann", if how == "time" { "300ms" } else { "2m" }, &[name]).await;
        change_everything(&agent, name, &lease).await;
        let saved: Value = serde_json::from_slice(&std::fs::read(&state).unwrap()).unwrap();
        let saved = saved["proxies"].as_array().unwrap().iter().find(|proxy| proxy["name"] == name).unwrap().clone();
        assert_eq!((&saved["listen"], &saved["upstream"]), (&before["listen"], &before["upstream"]), "{saved}");
        assert_ne!(saved["enabled"], json!(false), "a restart would end the lease, and so bring it back");
        let restored = match how {
            "lease" => agent.delete(&format!("/v1/leases/{lease}")).await.1["restored"].clone(),
            "heal" => agent.delete("/v1/faults").await.1["restored"].clone(),
            "halt" => agent.put("/v1/halt", json!({"reason": "enough"})).await.1["restored"].clone(),
            _ => {
                let path = format!("/v1/proxies/{name}");
                agent.until(&path, |_, proxy| proxy["changed_under"].is_null()).await;
                json!([name])
            }
        };
        assert_eq!((shape(&agent, name).await, restored), (before, json!([name])), "{how}");
        assert_eq!(ping(&mut connect(addr).await).await.unwrap(), b"aping", "{how}");
    }
}

#[tokio::test]
async fn a_proxy_whose_old_address_is_taken_meanwhile_is_brought_back_when_it_is_free() {
    let agent = Running::new().await;
    let addr = agent.proxy("db", echo(b'a').await).await;
    let lease = agent.lease("ann", "2m", &["db"]).await;
    change_everything(&agent, "db", &lease).await;
    let squatter = std::net::TcpListener::bind(addr).unwrap();
    let (status, error) = agent.delete(&format!("/v1/leases/{lease}")).await;
    assert_eq!(status, 500, "{error}");
    assert_eq!(agent.get("/v1/proxies/db").await.1["changed_under"], json!(lease), "whoever asks is told");
    let body = json!({"owner": "bob", "ttl": "30s", "proxies": ["db"]});
    let (status, error) = agent.post("/v1/leases", body.clone()).await;
    assert_eq!((status, &error["error"]["code"]), (409, &json!("conflict")), "{error}");
    drop(squatter);
    agent.until("/v1/proxies/db", |_, proxy| proxy["changed_under"].is_null()).await;
    assert_eq!(ping(&mut connect(addr).await).await.unwrap(), b"aping");
    assert_eq!(agent.post("/v1/leases", body).await.0, 201);
}

#[tokio::test]
async fn a_lease_takes_no_proxy_that_has_faults_which_it_would_not_own() {
    let agent = Running::new().await;
    agent.proxy("db", echo(b'a').await).await;
    agent.fault("db", json!({"name": "left-behind", "fault": {"latency": {"delay": "1ms"}}})).await;
    let body = json!({"owner": "ann", "ttl": "30s", "proxies": ["db"]});
    let (status, error) = agent.post("/v1/leases", body.clone()).await;
    insta::assert_snapshot!(format!("{status} {:#}", error["error"]), @r#"
    409 {
      "code": "conflict",
      "message": "proxy `db` has faults that no lease holds (`left-behind`): they would stay when this one ends",
      "field": "proxies",
      "hint": "take them away first: `squall heal --agent URL`, or DELETE /v1/proxies/db/faults/FAULT for each"
    }
    "#);
    assert_eq!(agent.get("/v1/proxies/db").await.1["lease"], Value::Null);
    assert_eq!(agent.delete("/v1/proxies/db/faults/left-behind").await.0, 200);
    assert_eq!(agent.post("/v1/leases", body).await.0, 201);
}

#[tokio::test]
async fn a_leased_proxy_is_not_deleted_for_it_could_not_come_back() {
    let agent = Running::new().await;
    agent.proxy("db", echo(b'a').await).await;
    let lease = agent.lease("ann", "30s", &["db"]).await;
    let request = agent.request(Method::DELETE, "/v1/proxies/db").header("X-Squall-Lease", &lease);
    let (status, error) = answer(request).await;
    assert_eq!((status, &error["error"]["code"]), (409, &json!("conflict")), "{error}");
    agent.delete(&format!("/v1/leases/{lease}")).await;
    assert_eq!(agent.delete("/v1/proxies/db").await.0, 204);
}
