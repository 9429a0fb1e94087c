//! Tokens and roles: who may look, who may inject, who may take away what others hold; on Toxiproxy's paths as well.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use crate::api_support::{Running, answer, config, echo};
use reqwest::Method;
use serde_json::{Value, json};
use squall_agent::{Agent, AgentConfig};

const READ: &str = "the-token-of-the-reader";
const ANN: &str = "the-token-of-ann-injecting";
const BOB: &str = "the-token-of-bob-injecting";
const ADMIN: &str = "the-token-of-the-admin";

fn token_file() -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    let entry = |name: &str, role: &str, token: &str| format!("- {{name: {name}, role: {role}, token: {token}}}\n");
    let all = [("eye", "read", READ), ("ann", "inject", ANN), ("bob", "inject", BOB), ("ops", "admin", ADMIN)];
    let text: String = all.iter().map(|(name, role, token)| entry(name, role, token)).collect();
    std::fs::write(file.path(), text).unwrap();
    file
}

/// The file may go once the agent has read it.
async fn guarded() -> Running {
    let file = token_file();
    Running::with(AgentConfig { tokens: Some(file.path().into()), ..config() }).await
}

async fn call(agent: &Running, token: &str, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
    let request = agent.request(method, path).bearer_auth(token);
    answer(if let Some(body) = body { request.json(&body) } else { request }).await
}

fn fault(lease: Option<&str>) -> Option<Value> {
    Some(json!({"name": "slow", "fault": {"latency": {"delay": "1ms"}}, "lease": lease}))
}

/// A proxy that ann holds with a fault on it; answers the lease.
async fn held_by_ann(agent: &Running) -> String {
    let proxy = json!({"name": "db", "upstream": echo(b'a').await});
    assert_eq!(call(agent, ANN, Method::POST, "/v1/proxies", Some(proxy)).await.0, 201);
    let lease = json!({"owner": "ann", "ttl": "1m", "proxies": ["db"]});
    let (status, lease) = call(agent, ANN, Method::POST, "/v1/leases", Some(lease)).await;
    assert_eq!(status, 201, "{lease}");
    let id = lease["id"].as_str().unwrap().to_owned();
    assert_eq!(call(agent, ANN, Method::POST, "/v1/proxies/db/faults", fault(Some(&id))).await.0, 201);
    id
}

#[tokio::test]
async fn without_a_token_only_health_answers() {
    let agent = guarded().await;
    for path in ["/health/live", "/health/ready"] {
        assert_eq!(agent.get(path).await.0, 200, "{path}");
    }
    for path in ["/v1/agent", "/v1/proxies", "/metrics", "/version", "/proxies", "/v1/halt", "/nowhere", "/health/x"] {
        let response = agent.request(Method::GET, path).send().await.unwrap();
        assert_eq!(response.status(), 401, "{path}");
        assert_eq!(response.headers()["www-authenticate"], "Bearer realm=\"squall-agent\"", "{path}");
    }
    let (status, body) = agent.post("/v1/proxies", json!({"name": "db", "upstream": "a:1"})).await;
    assert_eq!((status, &body["error"]["code"]), (401, &json!("unauthorized")));
    assert!(body["error"]["hint"].as_str().unwrap().contains("Authorization: Bearer"), "{body}");
    assert_eq!(call(&agent, READ, Method::GET, "/v1/proxies", None).await, (200, json!({"proxies": []})));
}

#[tokio::test]
async fn a_wrong_token_is_refused_and_never_repeated() {
    let agent = guarded().await;
    for wrong in ["x", &ADMIN[..ADMIN.len() - 1], &format!("{ADMIN}x"), &ADMIN.to_uppercase()] {
        let (status, body) = call(&agent, wrong, Method::GET, "/v1/agent", None).await;
        assert_eq!(status, 401);
        assert!(!body.to_string().contains(wrong), "{body}");
    }
    let basic = agent.request(Method::GET, "/v1/agent").basic_auth("ops", Some(ADMIN));
    assert_eq!(answer(basic).await.0, 401);
}

#[tokio::test]
async fn each_role_may_do_its_own_and_what_is_below_it() {
    let agent = guarded().await;
    let proxy = json!({"name": "db", "upstream": echo(b'a').await});
    let halt = Some(json!({"reason": "a test"}));
    let steps = [
        (Method::POST, "/v1/proxies", Some(proxy), [403, 201, 409]),
        (Method::POST, "/v1/proxies/db/faults", fault(None), [403, 201, 409]),
        (Method::PATCH, "/v1/proxies/db/faults/slow", Some(json!({"percent": 5})), [403, 200, 200]),
        (Method::DELETE, "/v1/proxies/db/faults/slow", None, [403, 200, 404]),
        (Method::DELETE, "/v1/faults", None, [403, 200, 200]),
        (Method::PUT, "/v1/halt", halt, [403, 403, 200]),
        (Method::DELETE, "/v1/halt", None, [403, 403, 200]),
        (Method::DELETE, "/v1/proxies/db", None, [403, 204, 404]),
    ];
    for (method, path, body, expected) in steps {
        for (token, expected) in [READ, ANN, ADMIN].into_iter().zip(expected) {
            let (status, told) = call(&agent, token, method.clone(), path, body.clone()).await;
            assert_eq!(status, expected, "{method} {path} with {token}: {told}");
            if expected == 403 {
                assert_eq!(told["error"]["code"], "forbidden");
                let needed = if path == "/v1/halt" && token == ANN { "`admin`" } else { "`inject`" };
                assert!(told["error"]["message"].as_str().unwrap().contains(needed), "{told}");
            }
        }
    }
    for path in ["/v1/agent", "/v1/proxies", "/v1/leases", "/v1/halt", "/metrics", "/version", "/proxies"] {
        assert_eq!(call(&agent, READ, Method::GET, path, None).await.0, 200, "{path}");
    }
}

#[tokio::test]
async fn what_another_holds_is_for_admins_to_take_away_whoever_has_read_the_id_of_the_lease() {
    let agent = guarded().await;
    let lease = held_by_ann(&agent).await;
    let lease_path = format!("/v1/leases/{lease}");
    let as_holder = |token: &str, method: Method, path: &str| {
        agent.request(method, path).bearer_auth(token).header("x-squall-lease", &lease)
    };
    for (method, path) in [
        (Method::DELETE, lease_path.as_str()),
        (Method::PUT, &lease_path),
        (Method::DELETE, "/v1/faults"),
        (Method::DELETE, "/v1/proxies/db/faults/slow"),
        (Method::DELETE, "/v1/proxies/db"),
    ] {
        let (status, told) = answer(as_holder(BOB, method.clone(), path)).await;
        assert_eq!((status, &told["error"]["code"]), (403, &json!("forbidden")), "{method} {path}: {told}");
        assert!(told["error"]["message"].as_str().unwrap().contains("`admin`"), "{told}");
    }
    let another = json!({"fault": {"refuse": {}}, "lease": lease});
    assert_eq!(call(&agent, BOB, Method::POST, "/v1/proxies/db/faults", Some(another)).await.0, 403);
    let faults = call(&agent, READ, Method::GET, "/v1/proxies/db/faults", None).await.1;
    assert_eq!(faults["faults"].as_array().unwrap().len(), 1, "nothing of that may have changed anything");

    let (status, healed) = call(&agent, ADMIN, Method::DELETE, "/v1/faults", None).await;
    assert_eq!((status, &healed["removed"][0]["fault"]), (200, &json!("slow")));
    assert_eq!(answer(as_holder(ANN, Method::PUT, &lease_path)).await.0, 200, "the lease stays with its holder");
    assert_eq!(call(&agent, ADMIN, Method::DELETE, &lease_path, None).await.0, 200);
}

#[tokio::test]
async fn toxiproxys_paths_ask_as_well_and_refuse_in_toxiproxys_words() {
    let agent = guarded().await;
    let create = || json!({"name": "db", "upstream": "127.0.0.1:1"});
    let (status, told) = agent.post("/proxies", create()).await;
    assert_eq!((status, &told["status"]), (401, &json!(401)));
    assert!(told["error"].as_str().unwrap().contains("must know who asks"), "{told}");
    assert_eq!(call(&agent, READ, Method::POST, "/proxies", Some(create())).await.0, 403);
    assert_eq!(call(&agent, ANN, Method::POST, "/proxies", Some(create())).await.0, 201);
    assert_eq!(call(&agent, READ, Method::POST, "/reset", None).await.0, 403);
    assert_eq!(call(&agent, READ, Method::GET, "/proxies/db", None).await.0, 200);
}

#[tokio::test]
async fn the_audit_trail_names_the_token() {
    let file = token_file();
    let agent = Agent::bind(AgentConfig { tokens: Some(file.path().into()), ..config() }).await.unwrap();
    let mut bus = agent.events().subscribe(None).unwrap();
    let agent = Running::of(agent);
    held_by_ann(&agent).await;
    call(&agent, ADMIN, Method::DELETE, "/v1/faults", None).await;
    let mut who = Vec::new();
    for _ in 0..4 {
        match bus.next().await {
            Some(squall_agent::events::Received::Event(event)) => who.push(event.who.clone()),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(who, ["ann", "ann", "ann", "ops"]);
}

#[tokio::test]
async fn tokens_that_are_read_again_count_from_the_next_request_on() {
    let file = token_file();
    let agent = Agent::bind(AgentConfig { tokens: Some(file.path().into()), ..config() }).await.unwrap();
    let reloader = agent.reloader();
    let agent = Running::of(agent);
    assert!(reloader.has_files());
    assert_eq!(call(&agent, ANN, Method::GET, "/v1/agent", None).await.0, 200);
    std::fs::write(file.path(), "not: a list").unwrap();
    assert!(reloader.reload().unwrap_err().to_string().contains("tokens: "));
    assert_eq!(call(&agent, ANN, Method::GET, "/v1/agent", None).await.0, 200, "a broken file changes nothing");
    std::fs::write(file.path(), format!("- {{name: bob, role: read, token: {BOB}}}")).unwrap();
    reloader.reload().unwrap();
    assert_eq!(call(&agent, ANN, Method::GET, "/v1/agent", None).await.0, 401);
    assert_eq!(call(&agent, BOB, Method::GET, "/v1/agent", None).await.0, 200);
    assert_eq!(call(&agent, BOB, Method::DELETE, "/v1/faults", None).await.0, 403);
}

#[tokio::test]
async fn a_token_file_that_is_wrong_keeps_the_agent_from_starting_and_says_where() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "- {name: ann, role: boss, token: my-very-secret-token}\n- {name: bob}").unwrap();
    let error =
        Agent::bind(AgentConfig { tokens: Some(file.path().into()), ..config() }).await.unwrap_err().to_string();
    let path = file.path().display().to_string();
    assert!(error.contains(&path) && error.contains("token 1: `role`") && error.contains("token 2: "), "{error}");
    assert!(!error.contains("secret"), "{error}");
    let missing = AgentConfig { tokens: Some("/nowhere/tokens.yaml".into()), ..config() };
    let error = Agent::bind(missing).await.unwrap_err().to_string();
    assert!(error.contains("tokens: failed to read /nowhere/tokens.yaml"), "{error}");
}

#[tokio::test]
async fn a_token_that_is_revoked_loses_its_stream_of_events_and_others_keep_theirs() {
    let file = token_file();
    let running = AgentConfig { tokens: Some(file.path().into()), ..config() };
    let agent = Agent::bind(running).await.unwrap();
    let reloader = agent.reloader();
    let agent = Running::of(agent);
    let follow = async |token: &str| {
        let mut stream = agent.request(Method::GET, "/v1/events").bearer_auth(token).send().await.unwrap();
        assert!(stream.chunk().await.unwrap().is_some(), "it begins");
        stream
    };
    let (mut ann, mut eye) = (follow(ANN).await, follow(READ).await);
    let text = std::fs::read_to_string(file.path()).unwrap();
    let without_ann: Vec<_> = text.lines().filter(|line| !line.contains("ann")).collect();
    std::fs::write(file.path(), without_ann.join("\n")).unwrap();
    reloader.reload().unwrap();
    tokio::time::timeout(crate::api_support::LONG, async { while ann.chunk().await.unwrap().is_some() {} })
        .await
        .expect("the stream of who is gone ends");
    let proxy = json!({"name": "db", "upstream": "127.0.0.1:1"});
    assert_eq!(call(&agent, BOB, Method::POST, "/v1/proxies", Some(proxy)).await.0, 201);
    let heard = tokio::time::timeout(crate::api_support::LONG, eye.chunk()).await.expect("an event").unwrap().unwrap();
    assert!(String::from_utf8_lossy(&heard).contains("proxy_created"));
}
