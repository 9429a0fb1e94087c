//! Clients of the API that stall, say nothing, or are too many: they lose their connection, and nobody waits for them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use crate::api_support::{LONG, Running, config, connect, echo, ping};
use reqwest::Method;
use serde_json::json;
use squall_agent::AgentConfig;
use std::time::{Duration, Instant};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

const PATIENCE: Duration = Duration::from_millis(500);

async fn impatient(max_api_connections: usize) -> Running {
    Running::with(AgentConfig { api_timeout: PATIENCE, max_api_connections, ..config() }).await
}

/// What the agent says until it closes the connection.
async fn last_words(stream: &mut TcpStream) -> String {
    let mut words = Vec::new();
    let read = timeout(LONG, stream.read_to_end(&mut words)).await.expect("the agent must close the connection");
    // A reset closes it as well.
    let _ = read;
    String::from_utf8_lossy(&words).into_owned()
}

#[tokio::test]
async fn a_head_that_never_ends_costs_its_client_the_connection_and_nobody_else() {
    let agent = impatient(16).await;
    let mut stalled = Vec::new();
    for half in ["", "G", "POST /v1/proxies HTTP/1.1\r\nHost: localhost\r\n"] {
        let mut stream = connect(agent.addr).await;
        stream.write_all(half.as_bytes()).await.unwrap();
        stalled.push(stream);
    }
    let start = Instant::now();
    agent.proxy("db", echo(b'a').await).await;
    assert!(start.elapsed() < PATIENCE * 10, "others were delayed by {:?}", start.elapsed());
    for stream in &mut stalled {
        last_words(stream).await;
    }
    assert_eq!(agent.get("/v1/proxies").await.1["proxies"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_body_that_never_ends_is_answered_with_408_and_changes_nothing() {
    let agent = impatient(16).await;
    let mut stream = connect(agent.addr).await;
    let half = b"POST /v1/proxies HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{\"name\": \"a\",";
    stream.write_all(half).await.unwrap();
    let words = last_words(&mut stream).await;
    assert!(words.starts_with("HTTP/1.1 408 "), "{words}");
    assert!(words.contains("\"code\":\"invalid_request\""), "{words}");
    assert_eq!(agent.get("/v1/proxies").await.1, json!({"proxies": []}));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_client_that_does_not_take_its_answers_is_dropped() {
    let agent = impatient(1).await;
    let mut greedy = connect(agent.addr).await;
    let request = b"GET /v1/agent HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(1000);
    let start = Instant::now();
    // Answers pile up until the buffers of both sides are full; then the agent reads no more requests either.
    while let Ok(wrote) = timeout(PATIENCE / 2, greedy.write_all(&request)).await {
        assert!(start.elapsed() < LONG, "the agent must stop reading at some time");
        if wrote.is_err() {
            break;
        }
    }
    // It had the only slot: that another is answered means that it was dropped.
    assert_eq!(agent.get("/health/live").await.0, 200);
}

#[tokio::test]
async fn a_host_that_fills_all_places_and_says_nothing_keeps_nobody_out() {
    let agent = Running::with(AgentConfig { api_timeout: LONG * 10, max_api_connections: 8, ..config() }).await;
    let mut held = Vec::new();
    for half in ["", "GET /health/live HTTP/1.1\r\n"].repeat(20) {
        let mut stream = connect(agent.addr).await;
        stream.write_all(half.as_bytes()).await.unwrap();
        held.push(stream);
    }
    // Nobody's patience with them is over; the oldest have made room.
    let answer = timeout(LONG, agent.get("/health/live")).await.expect("somebody else is let in");
    assert_eq!(answer.0, 200);
    assert_eq!(last_words(&mut held[0]).await, "");
}

#[tokio::test]
async fn a_stream_of_events_is_busy_and_is_not_cut_for_newcomers() {
    let agent = Running::with(AgentConfig { api_timeout: LONG * 10, max_api_connections: 4, ..config() }).await;
    let mut events = agent.request(Method::GET, "/v1/events").send().await.unwrap();
    assert!(events.chunk().await.unwrap().is_some());
    let mut idle = Vec::new();
    for _ in 0..12 {
        idle.push(connect(agent.addr).await);
    }
    agent.proxy("db", echo(b'a').await).await;
    let mut heard = String::new();
    while !heard.contains("proxy_created") {
        let chunk = timeout(LONG, events.chunk()).await.unwrap().unwrap().expect("the stream goes on");
        heard.push_str(&String::from_utf8_lossy(&chunk));
    }
}

#[tokio::test]
async fn a_stalled_peer_of_a_proxy_delays_no_call() {
    let agent = Running::new().await;
    // This upstream accepts and never reads; the client never reads either.
    let deaf = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let listen = agent.proxy("deaf", deaf.local_addr().unwrap()).await;
    let mut client = connect(listen).await;
    let (_silent, _) = timeout(LONG, deaf.accept()).await.unwrap().unwrap();
    let flood = vec![0; 1 << 20];
    while timeout(Duration::from_millis(200), client.write_all(&flood)).await.is_ok() {}

    let start = Instant::now();
    agent.fault("deaf", json!({"fault": {"bandwidth": {"rate": "1KB/s"}}, "direction": "both"})).await;
    agent.fault("deaf", json!({"fault": {"latency": {"delay": "1m"}}, "direction": "both"})).await;
    let other = agent.proxy("db", echo(b'a').await).await;
    assert_eq!(ping(&mut connect(other).await).await.unwrap(), b"aping");
    assert_eq!(agent.delete("/v1/faults").await.0, 200);
    assert_eq!(agent.patch("/v1/proxies/deaf", json!({"enabled": false})).await.0, 200);
    assert_eq!(agent.delete("/v1/proxies/deaf").await.0, 204);
    assert!(start.elapsed() < Duration::from_secs(4), "the calls took {:?}", start.elapsed());
}
