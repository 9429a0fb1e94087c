//! `/v1/proxies` over real HTTP: each route's success, its errors, and what they leave untouched.

use crate::api_support::{Running, config, connect, echo, ping};
use reqwest::Method;
use serde_json::json;
use std::io::ErrorKind;
use tokio::net::{TcpListener, TcpStream};

#[tokio::test]
async fn a_proxy_is_made_shown_listed_and_deleted() {
    let agent = Running::new().await;
    let upstream = echo(b'a').await;
    let request = agent.request(Method::POST, "/v1/proxies").json(&json!({"name": "db", "upstream": upstream}));
    let response = request.send().await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["location"]),
        (201, &"/v1/proxies/db".parse().unwrap())
    );
    let info: squall_wire::ProxyInfo = response.json().await.unwrap();
    assert!(info.enabled && info.faults.is_empty() && info.lease.is_none());

    let listen = info.listen.parse().unwrap();
    assert_eq!(ping(&mut connect(listen).await).await.unwrap(), b"aping");
    let (status, shown) = agent.get("/v1/proxies/db").await;
    assert_eq!(
        (status, &shown["counters"]["connections"], &shown["counters"]["bytes_upstream"]),
        (200, &json!(1), &json!(4))
    );
    let (_, list) = agent.get("/v1/proxies").await;
    assert_eq!(list["proxies"].as_array().unwrap().len(), 1);

    assert_eq!(agent.delete("/v1/proxies/db").await.0, 204);
    assert_eq!(agent.get("/v1/proxies").await.1, json!({"proxies": []}));
    assert_eq!(TcpStream::connect(listen).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    for (method, body) in [(Method::GET, None), (Method::DELETE, None), (Method::PATCH, Some(json!({})))] {
        let (status, error) = agent.call(method, "/v1/proxies/db", body).await;
        assert_eq!((status, &error["error"]["code"]), (404, &json!("not_found")));
    }
}

#[tokio::test]
async fn a_name_or_an_address_that_is_taken_is_a_conflict_and_changes_nothing() {
    let agent = Running::new().await;
    let upstream = echo(b'a').await;
    let listen = agent.proxy("db", upstream).await;
    let (status, error) = agent.post("/v1/proxies", json!({"name": "db", "upstream": "other:1"})).await;
    assert_eq!((status, &error["error"]["code"]), (409, &json!("conflict")));
    assert!(error["error"]["hint"].as_str().unwrap().contains("PUT"), "{error}");
    let (status, error) =
        agent.post("/v1/proxies", json!({"name": "b", "listen": listen, "upstream": "other:1"})).await;
    assert_eq!((status, &error["error"]["field"]), (409, &json!("listen")), "{error}");
    let (_, list) = agent.get("/v1/proxies").await;
    assert_eq!(list["proxies"].as_array().unwrap().len(), 1);
    assert_eq!(list["proxies"][0]["upstream"], json!(upstream.to_string()));
}

#[tokio::test]
async fn put_twice_disturbs_nothing_and_put_of_another_upstream_moves_new_connections_only() {
    let agent = Running::new().await;
    let (a, b) = (echo(b'a').await, echo(b'b').await);
    let spec = |upstream| json!({"name": "db", "listen": "127.0.0.1:0", "upstream": upstream});
    let (status, first) = agent.put("/v1/proxies/db", spec(a)).await;
    assert_eq!(status, 201, "{first}");
    let listen = first["listen"].as_str().unwrap().parse().unwrap();
    agent.fault("db", json!({"fault": {"latency": {"delay": "1ms"}}})).await;
    let mut open = connect(listen).await;
    assert_eq!(ping(&mut open).await.unwrap(), b"aping");

    for upstream in [a, b] {
        let (status, again) = agent.put("/v1/proxies/db", spec(upstream)).await;
        assert_eq!((status, &again["listen"]), (200, &first["listen"]), "any port: the one it has");
        assert_eq!(again["faults"].as_array().unwrap().len(), 1, "a fault stays");
        assert_eq!(ping(&mut open).await.unwrap(), b"aping", "an open connection goes on");
    }
    assert_eq!(ping(&mut connect(listen).await).await.unwrap(), b"bping");
}

#[tokio::test]
async fn the_name_in_the_path_and_in_the_body_must_be_one() {
    let agent = Running::new().await;
    let (status, error) = agent.put("/v1/proxies/a", json!({"name": "b", "upstream": "c:1"})).await;
    assert_eq!((status, &error["error"]["field"]), (400, &json!("name")));
    assert_eq!(agent.get("/v1/proxies").await.1, json!({"proxies": []}));
}

#[tokio::test]
async fn a_patch_changes_what_it_names_and_nothing_else() {
    let agent = Running::new().await;
    let (a, b) = (echo(b'a').await, echo(b'b').await);
    let listen = agent.proxy("db", a).await;
    let (status, info) = agent.patch("/v1/proxies/db", json!({"enabled": false})).await;
    assert_eq!((status, &info["enabled"], &info["upstream"]), (200, &json!(false), &json!(a.to_string())));
    assert_eq!(TcpStream::connect(listen).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    agent.patch("/v1/proxies/db", json!({"enabled": true, "upstream": b})).await;
    assert_eq!(ping(&mut connect(listen).await).await.unwrap(), b"bping");

    let mut open = connect(listen).await;
    assert_eq!(ping(&mut open).await.unwrap(), b"bping");
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (status, info) = agent.patch("/v1/proxies/db", json!({"listen": free})).await;
    assert_eq!((status, &info["listen"]), (200, &json!(free.to_string())));
    assert_eq!(ping(&mut connect(free).await).await.unwrap(), b"bping");
    assert_eq!(ping(&mut open).await.unwrap(), b"bping", "open connections go on");
    assert_eq!(TcpStream::connect(listen).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn a_patch_that_fails_leaves_everything_as_it_was() {
    let agent = Running::new().await;
    let a = echo(b'a').await;
    let listen = agent.proxy("db", a).await;
    let before = agent.get("/v1/proxies/db").await.1;
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let patch = json!({"listen": taken.local_addr().unwrap(), "upstream": "other:1", "enabled": false});
    assert_eq!(agent.patch("/v1/proxies/db", patch).await.0, 409);
    assert_eq!(agent.patch("/v1/proxies/db", json!({"upstream": "no port", "enabled": false})).await.0, 400);
    assert_eq!(agent.get("/v1/proxies/db").await.1, before);
    assert_eq!(ping(&mut connect(listen).await).await.unwrap(), b"aping");
}

/// Asks for something that would lead a proxy to itself.
async fn is_refused_as_its_own(agent: &Running, method: Method, path: &str, body: serde_json::Value) {
    let (status, error) = agent.call(method, path, Some(body.clone())).await;
    assert_eq!((status, &error["error"]["field"]), (400, &json!("upstream")), "{body}: {error}");
    let told = error["error"]["message"].as_str().unwrap();
    assert!(told.starts_with("a proxy cannot be its own upstream"), "{body}: {error}");
}

#[tokio::test]
async fn a_proxy_is_never_made_that_leads_to_itself_however_its_address_is_written() {
    let agent = Running::new().await;
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    for (listen, upstream) in [
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1", "localhost"),
        ("localhost", "127.0.0.1"),
        ("127.0.0.1", "[::ffff:127.0.0.1]"),
        ("127.0.0.1", "0.0.0.0"),
        ("0.0.0.0", "127.0.0.9"),
        ("0.0.0.0", "LocalHost"),
        ("[::]", "127.0.0.1"),
        ("[::]", "[::1]"),
    ] {
        let spec = json!({"name": "p", "listen": format!("{listen}:{port}"), "upstream": format!("{upstream}:{port}")});
        is_refused_as_its_own(&agent, Method::POST, "/v1/proxies", spec.clone()).await;
        is_refused_as_its_own(&agent, Method::PUT, "/v1/proxies/p", spec).await;
    }
    assert_eq!(agent.get("/v1/proxies").await.1, json!({"proxies": []}));
}

#[tokio::test]
async fn a_proxy_is_never_led_or_moved_to_itself() {
    let agent = Running::new().await;
    let upstream = echo(b'a').await;
    let listen = agent.proxy("p", upstream).await;
    let before = agent.get("/v1/proxies/p").await.1;
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0"] {
        let own = format!("{host}:{}", listen.port());
        is_refused_as_its_own(&agent, Method::PATCH, "/v1/proxies/p", json!({"upstream": own})).await;
        let spec = json!({"name": "p", "listen": "127.0.0.1:0", "upstream": own});
        is_refused_as_its_own(&agent, Method::PUT, "/v1/proxies/p", spec).await;
    }
    for listen in [upstream.to_string(), format!("0.0.0.0:{}", upstream.port())] {
        is_refused_as_its_own(&agent, Method::PATCH, "/v1/proxies/p", json!({"listen": listen})).await;
    }
    assert_eq!(agent.get("/v1/proxies/p").await.1, before);
    assert_eq!(ping(&mut connect(listen).await).await.unwrap(), b"aping");
    // What counts is where it will be, not where it is.
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (status, info) = agent.patch("/v1/proxies/p", json!({"listen": free, "upstream": listen})).await;
    assert_eq!(status, 200, "{info}");
}

#[tokio::test]
async fn two_agents_in_one_process_know_nothing_of_each_other() {
    let (one, two) =
        (Running::new().await, Running::with(squall_agent::AgentConfig { name: "two".into(), ..config() }).await);
    let upstream = echo(b'a').await;
    one.proxy("db", upstream).await;
    let listen = two.proxy("db", upstream).await;
    one.fault("db", json!({"fault": {"refuse": {}}})).await;
    assert_eq!(ping(&mut connect(listen).await).await.unwrap(), b"aping");
    assert_eq!(two.get("/v1/proxies/db/faults").await.1, json!({"faults": []}));
    let (_, info) = two.get("/v1/agent").await;
    assert_eq!(
        (&info["name"], &info["max_lease"], &info["max_fault_duration"]),
        (&json!("two"), &json!("5m"), &json!("1h"))
    );
    assert_ne!(info["instance"], one.get("/v1/agent").await.1["instance"]);
    one.stop().await;
    assert_eq!(ping(&mut connect(listen).await).await.unwrap(), b"aping");
}
