//! Shutting down, and coming back: healed at once, drained in bounded time, proxies kept and faults not.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use crate::api_support::{LONG, Running, config, connect, echo, ping};
use serde_json::json;
use squall_agent::{Agent, AgentConfig, AgentError};
use std::{path::Path, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

fn with_state(path: &Path) -> AgentConfig {
    AgentConfig { state: Some(path.into()), ..config() }
}

#[tokio::test]
async fn shutdown_heals_what_is_held_and_lets_connections_finish() {
    let agent = Running::with(AgentConfig { drain: Duration::from_secs(15), ..config() }).await;
    let listen = agent.proxy("db", echo(b'a').await).await;
    agent.fault("db", json!({"name": "slow", "fault": {"latency": {"delay": "10m"}}})).await;
    let mut held = connect(listen).await;
    held.write_all(b"ping").await.unwrap();
    agent.until("/v1/proxies/db/faults/slow", |_, fault| fault["hits"] == 1).await;
    let client = tokio::spawn(async move {
        let mut answer = [0; 5];
        timeout(LONG, held.read_exact(&mut answer)).await.expect("the held answer comes").unwrap();
        answer
    });
    let took = agent.stop().await;
    assert_eq!(&client.await.unwrap(), b"aping");
    assert!(took < Duration::from_secs(10), "with nothing left open it does not wait for the whole drain: {took:?}");
    assert!(TcpStream::connect(listen).await.is_err());
}

#[tokio::test]
async fn shutdown_is_bounded_even_with_connections_that_never_end() {
    let drain = Duration::from_millis(500);
    let agent = Running::with(AgentConfig { drain, ..config() }).await;
    let deaf = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let listen = agent.proxy("deaf", deaf.local_addr().unwrap()).await;
    let mut stalled = connect(listen).await;
    let (_silent, _) = timeout(LONG, deaf.accept()).await.unwrap().unwrap();
    let flood = vec![0; 1 << 20];
    while timeout(Duration::from_millis(200), stalled.write_all(&flood)).await.is_ok() {}
    let mut half_sent = connect(agent.addr).await;
    half_sent.write_all(b"GET /v1/agent HT").await.unwrap();
    let took = agent.stop().await;
    assert!(took >= drain, "the connection got its time: {took:?}");
    assert!(took < drain + Duration::from_secs(5), "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_that_is_healed_by_the_shutdown_lets_nobody_in() {
    for _ in 0..3 {
        let agent = Running::with(AgentConfig { drain: Duration::from_millis(100), ..config() }).await;
        let upstream = echo(b'a').await;
        let listen = agent.proxy("db-00", upstream).await;
        agent.fault("db-00", json!({"fault": {"refuse": {}}})).await;
        // More to heal, so that there is time to get in by the first.
        for number in 1..30 {
            agent.proxy(&format!("db-{number:02}"), upstream).await;
            agent.fault(&format!("db-{number:02}"), json!({"fault": {"refuse": {}}})).await;
        }
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let knocking = std::thread::spawn(move || {
            let mut let_in = 0;
            while stopped.try_recv().is_err() {
                let_in += usize::from(std::net::TcpStream::connect(listen).is_ok());
            }
            let_in
        });
        agent.stop().await;
        stop.send(()).unwrap();
        assert_eq!(knocking.join().unwrap(), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_is_saved_during_the_shutdown_does_not_save_the_shutdown() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.json");
    for _ in 0..5 {
        let agent = Running::with(AgentConfig { drain: Duration::from_millis(100), ..with_state(&path) }).await;
        let spec = json!({"name": "db", "upstream": "127.0.0.1:9"});
        assert!(agent.put("/v1/proxies/db", spec).await.1["enabled"] == json!(true), "the last one came back disabled");
        let changes: Vec<_> = (1000..1006)
            .map(|first| {
                let (client, url) = (crate::api_support::client(), agent.url("/v1/proxies/db"));
                tokio::spawn(async move {
                    for port in (first..9000).step_by(6) {
                        let patch = json!({"upstream": format!("127.0.0.1:{port}")});
                        if !client.patch(&url).json(&patch).send().await.is_ok_and(|answer| answer.status() == 200) {
                            return;
                        }
                    }
                })
            })
            .collect();
        agent.until("/v1/proxies/db", |_, proxy| proxy["upstream"] != "127.0.0.1:9").await;
        agent.stop().await;
        for change in changes {
            change.await.unwrap();
        }
        let saved: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!(saved["proxies"][0]["enabled"], json!(true));
    }
}

#[tokio::test]
async fn proxies_come_back_where_they_were_and_faults_do_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.json");
    let upstream = echo(b'a').await;
    let agent = Running::with(with_state(&path)).await;
    let listen = agent.proxy("db", upstream).await;
    agent.proxy("gone", upstream).await;
    agent.post("/v1/proxies", json!({"name": "off", "upstream": upstream, "enabled": false})).await;
    agent.fault("db", json!({"fault": {"refuse": {}}})).await;
    agent.delete("/v1/proxies/gone").await;
    let instance = agent.get("/v1/agent").await.1["instance"].clone();
    let off = agent.get("/v1/proxies/off").await.1["listen"].clone();
    agent.stop().await;
    assert!(!std::fs::read_to_string(&path).unwrap().contains("refuse"), "faults are never written down");

    let agent = Running::with(with_state(&path)).await;
    assert_eq!(ping(&mut connect(listen).await).await.unwrap(), b"aping");
    assert_eq!(agent.get("/v1/proxies/db").await.1["faults"], json!([]));
    let (_, back) = agent.get("/v1/proxies/off").await;
    assert_eq!((&back["enabled"], &back["listen"]), (&json!(false), &off));
    assert_eq!(agent.get("/v1/proxies/gone").await.0, 404);
    assert_ne!(agent.get("/v1/agent").await.1["instance"], instance, "a restart can be seen");
    agent.stop().await;
}

#[tokio::test]
async fn a_damaged_state_stops_the_start_and_is_left_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.json");
    std::fs::write(&path, "{\"version\": 1, \"proxies\": [").unwrap();
    let error = Agent::bind(with_state(&path)).await.unwrap_err();
    assert!(matches!(error, AgentError::State(_)) && error.to_string().contains("state.json"), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"version\": 1, \"proxies\": [");
}

#[tokio::test]
async fn a_change_that_cannot_be_saved_says_so_and_is_saved_later() {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().join("folder");
    std::fs::create_dir(&folder).unwrap();
    let path = folder.join("state.json");
    let agent = Running::with(with_state(&path)).await;
    let away = directory.path().join("away");
    std::fs::rename(&folder, &away).unwrap();
    let upstream = echo(b'a').await;
    let (status, error) = agent.post("/v1/proxies", json!({"name": "db", "upstream": upstream})).await;
    assert_eq!(status, 500);
    assert!(error["error"]["message"].as_str().unwrap().contains("took effect"), "{error}");
    assert_eq!(agent.get("/v1/proxies/db").await.0, 200);
    std::fs::rename(&away, &folder).unwrap();
    let saved = || std::fs::read_to_string(&path).is_ok_and(|text| text.contains("\"db\""));
    agent.until("/v1/proxies/db", |_, _| saved()).await;
    agent.stop().await;
}

#[tokio::test]
async fn everything_that_cannot_be_bound_is_told_and_nothing_stays_bound() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let spec = |name: &str, listen: String| {
        serde_json::from_value(json!({"name": name, "listen": listen, "upstream": "a:1"})).unwrap()
    };
    let taken = taken.local_addr().map(|addr| (taken, addr)).unwrap();
    let proxies =
        vec![spec("one", taken.1.to_string()), spec("two", free.to_string()), spec("three", "127.0.0.1:0".into())];
    let error = Agent::bind(AgentConfig { listen: taken.1, proxies, ..config() }).await.unwrap_err().to_string();
    assert!(error.contains("API on") && error.contains("proxy `one`") && !error.contains("`two`"), "{error}");
    TcpListener::bind(free).await.expect("what was bound is free again");
}
