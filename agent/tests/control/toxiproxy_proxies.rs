//! Toxiproxy's proxies over real HTTP: each call's success, its errors, and what clients of a proxy see of it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use crate::api_support::{LONG, Running, config, connect, echo, ping};
use reqwest::Method;
use serde_json::{Value, json};
use std::{io::ErrorKind, net::SocketAddr};
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
    time::timeout,
};

/// Status, content type and text of an answer.
async fn raw(agent: &Running, method: Method, path: &str, body: &str) -> (u16, String, String) {
    let response = agent.request(method, path).body(body.to_owned()).send().await.unwrap();
    let kind = response.headers().get("content-type").map(|kind| kind.to_str().unwrap().to_owned());
    (response.status().as_u16(), kind.unwrap_or_default(), response.text().await.unwrap())
}

/// An error must have Toxiproxy's shape, type and newline; answers status and message.
async fn refused(agent: &Running, method: Method, path: &str, body: &str) -> (u16, String) {
    let (status, kind, text) = raw(agent, method, path, body).await;
    assert_eq!(kind, "text/plain; charset=utf-8", "{text}");
    assert!(text.ends_with("}\n"), "{text}");
    let error: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&error["status"], error.as_object().unwrap().len()), (&json!(status), 2), "{error}");
    (status, error["error"].as_str().unwrap().to_owned())
}

async fn made(agent: &Running, name: &str, upstream: SocketAddr) -> SocketAddr {
    let (status, proxy) = agent.post("/proxies", json!({"name": name, "upstream": upstream})).await;
    assert_eq!(status, 201, "{proxy}");
    proxy["listen"].as_str().unwrap().parse().unwrap()
}

/// An end of any kind must come.
async fn ended(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    // By RST or in order: the peer is gone.
    let _ = timeout(LONG, stream.read_to_end(&mut rest)).await.expect("the connection must end");
}

#[tokio::test]
async fn the_version_is_the_compatible_one_to_the_byte() {
    let agent = Running::new().await;
    let (status, kind, text) = raw(&agent, Method::GET, "/version", "").await;
    assert_eq!(
        (status, kind.as_str(), text.as_str()),
        (200, "application/json;charset=utf-8", "{\"version\": \"2.12.0\"}\n")
    );
}

#[tokio::test]
async fn fields_are_taken_in_any_letter_case_as_go_takes_them() {
    let agent = Running::new().await;
    let body = json!({"Name": "db", "UPSTREAM": "127.0.0.1:9", "upstream": "127.0.0.1:1", "Enabled": false});
    let (status, proxy) = agent.post("/proxies", body).await;
    assert_eq!((status, &proxy["upstream"], &proxy["enabled"]), (201, &json!("127.0.0.1:1"), &json!(false)));
    let toxic = json!({"Type": "latency", "Attributes": {"Latency": 5}, "TOXICITY": 0.5, "Stream": "upstream"});
    let (status, toxic) = agent.post("/proxies/db/toxics", toxic).await;
    assert_eq!((status, &toxic["attributes"]["latency"], &toxic["toxicity"]), (200, &json!(5), &json!(0.5)), "{toxic}");
    let (_, toxic) = agent.post("/proxies/db/toxics/latency_upstream", json!({"Toxicity": 1})).await;
    assert_eq!(toxic["toxicity"], 1);
    let (_, proxy) = agent.post("/proxies/db", json!({"Upstream": "127.0.0.1:2"})).await;
    assert_eq!(proxy["upstream"], "127.0.0.1:2");
}

#[tokio::test]
async fn an_address_without_its_brackets_is_told_as_it_was_typed() {
    let agent = Running::new().await;
    let body = r#"{"name": "db", "upstream": "a:1", "listen": "::1:0"}"#;
    let (status, message) = refused(&agent, Method::POST, "/proxies", body).await;
    assert_eq!(status, 400);
    assert!(message.contains("`::1:0` is not an address: an IPv6 address stands in brackets"), "{message}");
}

#[tokio::test]
async fn a_proxy_is_made_shown_listed_and_deleted() {
    let agent = Running::new().await;
    let upstream = echo(b'a').await;
    let body = json!({"name": "db", "upstream": upstream, "unknown": 1, "toxics": null}).to_string();
    let (status, kind, text) = raw(&agent, Method::POST, "/proxies", &body).await;
    let proxy: Value = serde_json::from_str(&text).unwrap();
    let listen = proxy["listen"].as_str().unwrap();
    assert_eq!((status, kind.as_str()), (201, "application/json"));
    let shape = format!(
        r#"{{"name":"db","listen":"{listen}","upstream":"{upstream}","enabled":true,"Logger":{{}},"toxics":[]}}"#
    );
    assert_eq!(text, shape);
    assert_eq!(ping(&mut connect(listen.parse().unwrap()).await).await.unwrap(), b"aping");

    assert_eq!(agent.get("/proxies/db").await, (200, proxy.clone()));
    assert_eq!(agent.get("/proxies").await, (200, json!({"db": proxy})));
    assert_eq!(agent.get("/v1/proxies/db").await.1["listen"], listen, "both interfaces show the same proxy");
    assert_eq!(agent.delete("/proxies/db").await, (204, Value::Null));
    assert_eq!(agent.get("/proxies").await, (200, json!({})));
    assert_eq!(
        TcpStream::connect(listen.parse::<SocketAddr>().unwrap()).await.unwrap_err().kind(),
        ErrorKind::ConnectionRefused
    );
}

#[tokio::test]
async fn localhost_and_port_0_are_answered_as_bound() {
    let agent = Running::new().await;
    for listen in ["localhost:0", "127.0.0.1:0"] {
        let body = json!({"name": "db", "upstream": "127.0.0.1:9", "listen": listen, "enabled": true});
        let (status, proxy) = agent.post("/proxies", body).await;
        let bound: SocketAddr = proxy["listen"].as_str().unwrap().parse().unwrap();
        assert_eq!((status, bound.ip().to_string().as_str()), (201, "127.0.0.1"));
        assert_ne!(bound.port(), 0);
        agent.delete("/proxies/db").await;
    }
}

#[tokio::test]
async fn what_is_wrong_is_told_in_toxiproxys_words() {
    let agent = Running::new().await;
    let upstream = echo(b'a').await;
    let listen = made(&agent, "db", upstream).await;
    let post = |path: &'static str, body: String| refused(&agent, Method::POST, path, Box::leak(body.into_boxed_str()));
    for (body, status, message) in [
        (json!({"upstream": "a:1"}), 400, "missing required field: name"),
        (json!({"name": "", "upstream": "a:1"}), 400, "missing required field: name"),
        (json!({"name": "x"}), 400, "missing required field: upstream"),
        (json!({"name": "db", "upstream": "a:1"}), 409, "proxy already exists"),
    ] {
        assert_eq!(post("/proxies", body.to_string()).await, (status, message.to_owned()));
    }
    let taken = json!({"name": "x", "upstream": "a:1", "listen": listen}).to_string();
    let message = format!("listen tcp {listen}: bind: address already in use");
    assert_eq!(post("/proxies", taken).await, (500, message));
    for body in ["", "{", "[]", r#"{"name": 5}"#, r#"{"name": "x", "upstream": "a:1", "enabled": "yes"}"#] {
        let (status, message) = post("/proxies", body.to_owned()).await;
        assert!(status == 400 && message.starts_with("bad request body: "), "{body}: {message}");
    }
    for (method, path) in [
        (Method::GET, "/proxies/x"),
        (Method::DELETE, "/proxies/x"),
        (Method::POST, "/proxies/x"),
        (Method::PATCH, "/proxies/x"),
        (Method::GET, "/proxies/x/toxics"),
        (Method::POST, "/proxies/x/toxics"),
        (Method::GET, "/proxies/no%20such%20name"),
    ] {
        assert_eq!(refused(&agent, method, path, "{}").await, (404, "proxy not found".to_owned()), "{path}");
    }
    for (method, path) in [(Method::PUT, "/proxies/db"), (Method::GET, "/reset"), (Method::DELETE, "/populate")] {
        assert_eq!(refused(&agent, method, path, "").await.0, 405, "{path}");
    }
    assert_eq!(agent.get("/proxies").await.1.as_object().unwrap().len(), 1, "nothing of it was done");
}

#[tokio::test]
async fn a_change_names_what_it_changes_and_a_new_target_drops_connections_while_toxics_stay() {
    let agent = Running::new().await;
    let (a, b) = (echo(b'a').await, echo(b'b').await);
    let listen = made(&agent, "db", a).await;
    let toxic = json!({"type": "latency", "attributes": {"latency": 1}});
    assert_eq!(agent.post("/proxies/db/toxics", toxic).await.0, 200);
    let mut open = connect(listen).await;
    assert_eq!(ping(&mut open).await.unwrap(), b"aping");

    let (status, same) = agent.post("/proxies/db", json!({"name": "other", "upstream": a})).await;
    assert_eq!((status, &same["name"]), (200, &json!("db")));
    assert_eq!(ping(&mut open).await.unwrap(), b"aping", "nothing was new, so nothing was dropped");

    let (status, moved) = agent.patch("/proxies/db", json!({"upstream": b})).await;
    assert_eq!((status, &moved["upstream"], &moved["listen"]), (200, &json!(b), &same["listen"]));
    ended(&mut open).await;
    let mut open = connect(listen).await;
    assert_eq!(ping(&mut open).await.unwrap(), b"bping");

    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (status, moved) = agent.post("/proxies/db", json!({"listen": free})).await;
    assert_eq!((status, &moved["listen"]), (200, &json!(free)));
    ended(&mut open).await;
    assert_eq!(ping(&mut connect(free).await).await.unwrap(), b"bping");
    assert_eq!(TcpStream::connect(listen).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    assert_eq!(moved["toxics"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn down_refuses_and_closes_and_keeps_its_toxics() {
    let agent = Running::new().await;
    let listen = made(&agent, "db", echo(b'a').await).await;
    agent.post("/proxies/db/toxics", json!({"type": "noop"})).await;
    let mut open = connect(listen).await;
    assert_eq!(ping(&mut open).await.unwrap(), b"aping");
    let (status, down) = agent.post("/proxies/db", json!({"enabled": false})).await;
    assert_eq!((status, &down["enabled"]), (200, &json!(false)));
    ended(&mut open).await;
    assert_eq!(TcpStream::connect(listen).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    let (_, up) = agent.post("/proxies/db", json!({"enabled": true})).await;
    assert_eq!((&up["listen"], up["toxics"].as_array().unwrap().len()), (&json!(listen), 1));
    assert_eq!(ping(&mut connect(listen).await).await.unwrap(), b"aping");
}

#[tokio::test]
async fn every_answer_has_a_request_id_of_its_own_and_a_browser_gets_403() {
    let agent = Running::new().await;
    let mut ids = std::collections::BTreeSet::new();
    for path in ["/version", "/proxies", "/proxies/x", "/reset"] {
        let response = agent.request(Method::GET, path).send().await.unwrap();
        ids.insert(response.headers()["x-toxiproxy-request-id"].to_str().unwrap().to_owned());
    }
    assert_eq!(ids.len(), 4);
    let request = agent.request(Method::GET, "/proxies").header("user-agent", "Mozilla/5.0 (X11)");
    assert_eq!(request.send().await.unwrap().status().as_u16(), 403);
    let request = agent.request(Method::GET, "/proxies").header("user-agent", "not Mozilla/5.0");
    assert_eq!(request.send().await.unwrap().status().as_u16(), 200);
}

#[tokio::test]
async fn switched_off_its_paths_are_not_there_and_ours_are() {
    let agent = Running::with(squall_agent::AgentConfig { toxiproxy: false, ..config() }).await;
    for path in ["/version", "/proxies", "/proxies/x/toxics"] {
        let (status, error) = agent.get(path).await;
        assert_eq!((status, &error["error"]["code"]), (404, &json!("not_found")), "{path}");
    }
    agent.proxy("db", echo(b'a').await).await;
    let metrics = agent.get("/metrics").await.1;
    assert!(!metrics.as_str().unwrap().contains("toxiproxy"));
}

#[tokio::test]
async fn bytes_are_counted_under_toxiproxys_names_while_the_connection_lives() {
    let agent = Running::new().await;
    let upstream = echo(b'a').await;
    let listen = made(&agent, "db", upstream).await;
    let mut open = connect(listen).await;
    assert_eq!(ping(&mut open).await.unwrap(), b"aping");
    let series = |name: &str, direction: &str, bytes: u64| {
        format!(
            r#"toxiproxy_proxy_{name}_bytes_total{{direction="{direction}",proxy="db",listener="{listen}",upstream="{upstream}"}} {bytes}"#
        )
    };
    let (_, text) = agent.get("/metrics").await;
    for (direction, bytes) in [("upstream", 4), ("downstream", 5)] {
        for name in ["received", "sent"] {
            let line = series(name, direction, bytes);
            assert!(text.as_str().unwrap().lines().any(|other| other == line), "{line} is not in {text}");
        }
    }
    // What a toxic swallows was received and is not sent.
    agent.post("/proxies/db/toxics", json!({"type": "timeout", "stream": "upstream"})).await;
    tokio::io::AsyncWriteExt::write_all(&mut open, b"gone").await.unwrap();
    let (received, sent) = (series("received", "upstream", 8), series("sent", "upstream", 4));
    let both = |_, text: &Value| [&received, &sent].iter().all(|line| text.as_str().unwrap().contains(line.as_str()));
    agent.until("/metrics", both).await;
}

#[tokio::test]
async fn a_proxy_is_never_led_to_itself() {
    let agent = Running::new().await;
    let listen = made(&agent, "db", echo(b'a').await).await;
    let wanted = "a proxy cannot be its own upstream: each connection would open another";
    for upstream in [listen.to_string(), format!("localhost:{}", listen.port())] {
        let change = json!({ "upstream": upstream }).to_string();
        let (status, told) = refused(&agent, Method::POST, "/proxies/db", &change).await;
        assert!(status == 400 && told.contains(wanted), "{status} {told}");
        let list = json!([{"name": "db", "listen": listen, "upstream": upstream}]);
        let (status, told) = agent.post("/populate", list).await;
        assert!(status == 400 && told["error"].as_str().unwrap().contains(wanted), "{status} {told}");
    }
    assert_eq!(ping(&mut connect(listen).await).await.unwrap(), b"aping");
}
