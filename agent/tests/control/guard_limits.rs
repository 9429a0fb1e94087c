//! How much of each thing an agent keeps: proxies, faults, heads of requests. One more is refused, and the rest works.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use crate::api_support::{LONG, Running, connect, echo, ping};
use reqwest::Method;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

#[tokio::test]
async fn a_proxy_has_so_many_faults_and_toxics_and_no_more() {
    let agent = Running::new().await;
    let listen = agent.proxy("db", echo(b'a').await).await;
    let fault = || json!({"fault": {"latency": {"delay": "1ms"}}, "percent": 0});
    for _ in 0..100 {
        agent.fault("db", fault()).await;
    }
    let (status, told) = agent.post("/v1/proxies/db/faults", fault()).await;
    assert_eq!((status, &told["error"]["code"]), (403, &json!("forbidden")));
    assert!(told["error"]["message"].as_str().unwrap().contains("at most 100 faults"), "{told}");
    let toxic = json!({"type": "latency", "attributes": {"latency": 1}});
    assert_eq!(agent.post("/proxies/db/toxics", toxic).await.0, 403);
    assert_eq!(ping(&mut connect(listen).await).await.unwrap(), b"aping");
    assert_eq!(agent.delete("/v1/faults").await.1["removed"].as_array().unwrap().len(), 100);
    agent.fault("db", fault()).await;
}

#[tokio::test]
async fn an_agent_has_so_many_proxies_and_no_more() {
    let agent = Running::new().await;
    let list: Vec<_> = (0..1000)
        .map(|at| json!({"name": format!("p{at}"), "upstream": "127.0.0.1:9", "listen": "127.0.0.1:0", "enabled": false}))
        .collect();
    let (status, told) = agent.post("/populate", json!(list)).await;
    assert_eq!(status, 201, "{}", told["error"]);
    let (status, told) = agent.post("/v1/proxies", json!({"name": "more", "upstream": "127.0.0.1:9"})).await;
    assert_eq!((status, &told["error"]["code"]), (403, &json!("forbidden")));
    assert!(told["error"]["message"].as_str().unwrap().contains("at most 1000 proxies"), "{told}");
    assert_eq!(agent.delete("/v1/proxies/p7").await.0, 204);
    assert_eq!(agent.post("/v1/proxies", json!({"name": "more", "upstream": "127.0.0.1:9"})).await.0, 201);
}

#[tokio::test]
async fn a_head_that_is_too_large_is_answered_and_its_connection_closed() {
    let agent = Running::new().await;
    let many = "x-more: 1\r\n".repeat(200);
    let large = format!("x-large: {}\r\n", "x".repeat(300 * 1024));
    for headers in [many, large] {
        let mut stream = connect(agent.addr).await;
        let head = format!("GET /v1/agent HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
        // The agent may close before it has read it all.
        let _ = stream.write_all(head.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = timeout(LONG, stream.read_to_end(&mut answer)).await.expect("the connection must be closed");
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
    }
    let long = format!("/v1/proxies/{}", "x".repeat(10_000));
    assert_eq!(agent.call(Method::GET, &long, None).await.0, 400);
    assert_eq!(agent.get("/health/live").await.0, 200);
}
