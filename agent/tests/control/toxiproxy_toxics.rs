//! Toxiproxy's toxics over real HTTP: each call, each type's attributes, and what each does to a connection.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use crate::api_support::{LONG, Running, connect, echo, ping};
use reqwest::Method;
use serde_json::{Value, json};
use std::{
    io::ErrorKind,
    net::SocketAddr,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

/// An agent with one proxy before an echo.
async fn rig() -> (Running, SocketAddr) {
    let agent = Running::new().await;
    let listen = agent.proxy("db", echo(b'a').await).await;
    (agent, listen)
}

async fn set(agent: &Running, toxic: Value) -> Value {
    let (status, toxic) = agent.post("/proxies/db/toxics", toxic).await;
    assert_eq!(status, 200, "{toxic}");
    toxic
}

/// An error's status and message; they come as text.
async fn refused(agent: &Running, method: Method, path: &str, body: Value) -> (u16, String) {
    let response = agent.request(method, path).json(&body).send().await.unwrap();
    let status = response.status().as_u16();
    assert_eq!(response.headers()["content-type"], "text/plain; charset=utf-8");
    let error: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    assert_eq!(error["status"], status);
    (status, error["error"].as_str().unwrap().to_owned())
}

/// A proxy before a server that does this with its first connection.
async fn before<F: Future<Output = ()> + Send + 'static>(
    serve: impl FnOnce(TcpStream) -> F + Send + 'static,
) -> (Running, SocketAddr) {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let agent = Running::new().await;
    let listen = agent.proxy("db", server.local_addr().unwrap()).await;
    tokio::spawn(async move {
        let (stream, _) = server.accept().await.unwrap();
        serve(stream).await;
    });
    (agent, listen)
}

async fn read_all(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut got = Vec::new();
    timeout(LONG, stream.read_to_end(&mut got)).await.expect("an end must come").map(|_| got)
}

async fn silent(stream: &mut TcpStream, span: Duration) {
    let mut buffer = [0; 16];
    if let Ok(got) = timeout(span, stream.read(&mut buffer)).await {
        panic!("not silent: {got:?}");
    }
}

#[tokio::test]
async fn every_type_is_shown_with_its_own_attributes_and_nothing_else() {
    let (agent, _) = rig().await;
    let kinds = [
        ("latency", json!({"latency": 1000, "jitter": 50})),
        ("bandwidth", json!({"rate": 100})),
        ("slow_close", json!({"delay": 7})),
        ("timeout", json!({"timeout": 0})),
        ("reset_peer", json!({"timeout": 90_000})),
        ("slicer", json!({"average_size": 64, "size_variation": 32, "delay": 10})),
        ("limit_data", json!({"bytes": 1_000_000_000_u64})),
        ("noop", json!({})),
    ];
    for (kind, attributes) in &kinds {
        let mut sent = attributes.clone();
        sent["nonsense"] = json!("x");
        let name = format!("{kind}_downstream");
        let expected =
            json!({"attributes": attributes, "name": name, "type": kind, "stream": "downstream", "toxicity": 1});
        let toxic = set(&agent, json!({"type": kind, "attributes": sent})).await;
        assert_eq!(toxic, expected);
        assert_eq!(agent.get(&format!("/proxies/db/toxics/{name}")).await, (200, expected));
    }
    let (status, list) = agent.get("/proxies/db/toxics").await;
    let types: Vec<_> = list.as_array().unwrap().iter().map(|toxic| toxic["type"].as_str().unwrap()).collect();
    assert_eq!((status, types), (200, kinds.iter().map(|(kind, _)| *kind).collect::<Vec<_>>()));
    assert_eq!(agent.get("/proxies/db").await.1["toxics"], list);
}

#[tokio::test]
async fn what_is_wrong_is_told_in_toxiproxys_words_and_changes_nothing() {
    let (agent, _) = rig().await;
    set(&agent, json!({"name": "there", "type": "latency", "attributes": {"latency": 5}})).await;
    let stream = "stream was invalid, can be either upstream or downstream";
    for (body, status, message) in [
        (json!({"type": "nonsense"}), 400, "invalid toxic type"),
        (json!({"type": "latency", "stream": "sideways"}), 400, stream),
        (json!({"type": "timeout", "name": "there"}), 409, "toxic already exists"),
    ] {
        assert_eq!(refused(&agent, Method::POST, "/proxies/db/toxics", body).await, (status, message.to_owned()));
    }
    for attributes in [json!({"rate": -1}), json!({"rate": 1.5}), json!({"rate": "1"}), json!(5)] {
        let body = json!({"type": "bandwidth", "attributes": attributes});
        let (status, message) = refused(&agent, Method::POST, "/proxies/db/toxics", body).await;
        assert!(status == 400 && message.starts_with("bad request body: "), "{message}");
    }
    for attributes in [json!({"average_size": 0}), json!({"average_size": 4, "size_variation": 5})] {
        let body = json!({"type": "slicer", "attributes": attributes});
        assert_eq!(refused(&agent, Method::POST, "/proxies/db/toxics", body).await.0, 400);
    }
    let (status, message) =
        refused(&agent, Method::POST, "/proxies/db/toxics/there", json!({"attributes": {"latency": "5"}})).await;
    assert!(status == 400 && message.starts_with("bad request body: "), "{message}");
    for method in [Method::GET, Method::POST, Method::PATCH, Method::DELETE] {
        let (status, message) = refused(&agent, method, "/proxies/db/toxics/nobody", json!({})).await;
        assert_eq!((status, message.as_str()), (404, "toxic not found"));
    }
    assert_eq!(refused(&agent, Method::PUT, "/proxies/db/toxics/there", json!({})).await.0, 405);
    let (_, list) = agent.get("/proxies/db/toxics").await;
    assert_eq!((list.as_array().unwrap().len(), &list[0]["attributes"]["latency"]), (1, &json!(5)));
}

#[tokio::test]
async fn a_change_merges_attributes_and_takes_toxicity_and_nothing_else() {
    let (agent, _) = rig().await;
    set(&agent, json!({"name": "slow", "type": "latency", "attributes": {"latency": 5, "jitter": 1}})).await;
    let patch =
        json!({"attributes": {"latency": 9}, "toxicity": 0.25, "stream": "upstream", "type": "timeout", "name": "x"});
    for method in [Method::POST, Method::PATCH] {
        let (status, toxic) = agent.call(method, "/proxies/db/toxics/slow", Some(patch.clone())).await;
        assert_eq!(status, 200);
        assert_eq!(
            toxic,
            json!({"attributes": {"latency": 9, "jitter": 1}, "name": "slow", "type": "latency", "stream": "downstream", "toxicity": 0.25})
        );
    }
    let (_, fault) = agent.get("/v1/proxies/db/faults/slow").await;
    assert_eq!((&fault["fault"]["latency"]["delay"], &fault["percent"]), (&json!("9ms"), &json!(25)));
    // Changed under its own name, it is shown as it is.
    agent.patch("/v1/proxies/db/faults/slow", json!({"fault": {"latency": {"delay": "3ms"}}, "percent": 50})).await;
    let (_, toxic) = agent.get("/proxies/db/toxics/slow").await;
    assert_eq!((&toxic["attributes"], &toxic["toxicity"]), (&json!({"latency": 3, "jitter": 0}), &json!(0.5)));
}

#[tokio::test]
async fn a_toxic_that_does_nothing_is_shown_can_be_made_to_do_something_and_back() {
    let (agent, listen) = rig().await;
    set(&agent, json!({"name": "any name/at all", "type": "latency"})).await;
    let path = "/proxies/db/toxics/any%20name%2Fat%20all";
    let faults = async || agent.get("/v1/proxies/db/faults").await.1["faults"].as_array().unwrap().len();
    assert_eq!(faults().await, 0);
    assert_eq!(agent.post(path, json!({"attributes": {"latency": 200}})).await.0, 200);
    assert_eq!(faults().await, 1);
    let start = Instant::now();
    assert_eq!(ping(&mut connect(listen).await).await.unwrap(), b"aping");
    assert!(start.elapsed() >= Duration::from_millis(200));
    assert_eq!(agent.post(path, json!({"attributes": {"latency": 0}})).await.0, 200);
    assert_eq!(faults().await, 0);
    assert_eq!(agent.get(path).await.1["attributes"]["latency"], 0, "it is still there");
    assert_eq!(agent.delete(path).await, (204, Value::Null));
    assert_eq!(agent.get(path).await.0, 404);
}

#[tokio::test]
async fn latency_delays_both_ways_and_adds_up() {
    let (agent, listen) = rig().await;
    set(&agent, json!({"type": "latency", "attributes": {"latency": 100}})).await;
    set(&agent, json!({"type": "latency", "stream": "UPSTREAM", "attributes": {"latency": 150}})).await;
    let mut open = connect(listen).await;
    for _ in 0..3 {
        let start = Instant::now();
        assert_eq!(ping(&mut open).await.unwrap(), b"aping");
        let took = start.elapsed();
        assert!(took >= Duration::from_millis(250) && took < Duration::from_secs(2), "{took:?}");
    }
}

#[tokio::test]
async fn bandwidth_paces_by_kilobytes_and_0_stops_everything_until_it_goes() {
    let (agent, listen) = before(|mut server| async move {
        server.write_all(&[7; 50_000]).await.unwrap();
    })
    .await;
    set(&agent, json!({"name": "bw", "type": "bandwidth", "attributes": {"rate": 0}})).await;
    let mut open = connect(listen).await;
    silent(&mut open, Duration::from_millis(300)).await;
    let start = Instant::now();
    agent.post("/proxies/db/toxics/bw", json!({"attributes": {"rate": 100}})).await;
    assert_eq!(read_all(&mut open).await.unwrap().len(), 50_000);
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(450) && took < Duration::from_secs(4), "{took:?}");
}

#[tokio::test]
async fn slow_close_holds_back_the_end_and_not_the_bytes() {
    let (agent, listen) = before(|mut server| async move {
        server.write_all(b"bye").await.unwrap();
    })
    .await;
    set(&agent, json!({"type": "slow_close", "attributes": {"delay": 400}})).await;
    let mut open = connect(listen).await;
    let mut bytes = [0; 3];
    timeout(LONG, open.read_exact(&mut bytes)).await.unwrap().unwrap();
    let start = Instant::now();
    assert_eq!(open.read(&mut bytes).await.unwrap(), 0);
    assert!(start.elapsed() >= Duration::from_millis(300), "{:?}", start.elapsed());
}

#[tokio::test]
async fn timeout_closes_after_its_time_even_under_steady_data() {
    let (agent, listen) = before(|mut server| async move {
        while server.write_all(b"data").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    set(&agent, json!({"type": "timeout", "attributes": {"timeout": 300}})).await;
    let start = Instant::now();
    let got = read_all(&mut connect(listen).await).await;
    assert!(got.as_ref().map_or(true, Vec::is_empty), "{got:?}");
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(290) && took < Duration::from_secs(5), "{took:?}");
}

#[tokio::test]
async fn removing_a_timeout_closes_what_lost_bytes_and_spares_what_did_not() {
    let (agent, listen) = rig().await;
    let (mut hurt, mut idle) = (connect(listen).await, connect(listen).await);
    for stream in [&mut hurt, &mut idle] {
        assert_eq!(ping(stream).await.unwrap(), b"aping");
    }
    set(&agent, json!({"name": "t", "type": "timeout"})).await;
    hurt.write_all(b"lost").await.unwrap();
    silent(&mut hurt, Duration::from_millis(300)).await;
    agent.until("/v1/proxies/db/faults/t", |_, fault| fault["hits"] == 1).await;
    assert_eq!(agent.delete("/proxies/db/toxics/t").await.0, 204);
    assert_eq!(read_all(&mut hurt).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(ping(&mut idle).await.unwrap(), b"aping");
}

#[tokio::test]
async fn reset_peer_resets_live_connections_after_its_time() {
    let (agent, listen) = rig().await;
    let mut open = connect(listen).await;
    assert_eq!(ping(&mut open).await.unwrap(), b"aping");
    let start = Instant::now();
    set(&agent, json!({"type": "reset_peer", "attributes": {"timeout": 200}})).await;
    assert_eq!(read_all(&mut open).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert!(start.elapsed() >= Duration::from_millis(200));
    agent.delete("/proxies/db/toxics/reset_peer_downstream").await;
    set(&agent, json!({"type": "reset_peer"})).await;
    assert_eq!(read_all(&mut connect(listen).await).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn toxicity_0_hits_nothing_and_1_everything() {
    let (agent, listen) = rig().await;
    set(&agent, json!({"name": "r", "type": "reset_peer", "toxicity": 0})).await;
    let mut open = connect(listen).await;
    assert_eq!(ping(&mut open).await.unwrap(), b"aping");
    let (_, toxic) = agent.post("/proxies/db/toxics/r", json!({"toxicity": 5})).await;
    assert_eq!(toxic["toxicity"], 5, "shown as sent, clamped where it acts");
    assert_eq!(read_all(&mut open).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn slicer_cuts_into_pieces_and_loses_nothing() {
    let (agent, listen) = before(|mut server| async move {
        server.write_all(&[7; 1000]).await.unwrap();
    })
    .await;
    set(&agent, json!({"type": "slicer", "attributes": {"average_size": 100, "size_variation": 20, "delay": 20_000}}))
        .await;
    let mut open = connect(listen).await;
    let start = Instant::now();
    let (mut sizes, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        match timeout(LONG, open.read(&mut buffer)).await.unwrap().unwrap() {
            0 => break,
            read => sizes.push(read),
        }
    }
    assert_eq!(sizes.iter().sum::<usize>(), 1000);
    assert!((80..=120).contains(&sizes[0]), "{sizes:?}");
    // At least nine pieces, twenty milliseconds apart.
    assert!(start.elapsed() >= Duration::from_millis(140), "{:?}", start.elapsed());
}

#[tokio::test]
async fn slicer_without_a_delay_passes_everything_soon() {
    let (agent, listen) = before(|mut server| async move {
        server.write_all(&[7; 10_000]).await.unwrap();
    })
    .await;
    set(&agent, json!({"type": "slicer", "attributes": {"average_size": 50, "size_variation": 50}})).await;
    let start = Instant::now();
    assert_eq!(read_all(&mut connect(listen).await).await.unwrap().len(), 10_000);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[tokio::test]
async fn limit_data_passes_so_many_bytes_over_the_life_of_a_connection_and_closes() {
    let (agent, listen) = rig().await;
    set(&agent, json!({"type": "limit_data", "attributes": {"bytes": 12}})).await;
    let mut open = connect(listen).await;
    for _ in 0..2 {
        assert_eq!(ping(&mut open).await.unwrap(), b"aping");
    }
    open.write_all(b"ping").await.unwrap();
    assert_eq!(read_all(&mut open).await.unwrap(), b"ap", "twelve bytes in all, then an end in order");
}

#[tokio::test]
async fn a_stalled_reader_delays_no_toxic_and_no_other_connection() {
    let (agent, listen) = rig().await;
    let mut stalled = connect(listen).await;
    // Fills every buffer on the way, for nobody reads what comes back.
    let fill = async { while stalled.write_all(&[0; 65_536]).await.is_ok() {} };
    let _ = timeout(Duration::from_millis(500), fill).await;
    let start = Instant::now();
    set(&agent, json!({"name": "slow", "type": "latency", "attributes": {"latency": 1}})).await;
    assert_eq!(ping(&mut connect(listen).await).await.unwrap(), b"aping");
    assert_eq!(agent.delete("/proxies/db/toxics/slow").await.0, 204);
    assert_eq!(agent.delete("/proxies/db").await.0, 204);
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
}
