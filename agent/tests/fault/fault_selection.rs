//! Which connections a fault hits: by share and seed, by number, by client, and on live connections.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use crate::common::{PATIENCE, Rig, until};
use squall_wire::Percent;
use std::net::SocketAddr;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

/// Whether this connection gets an echo; the other outcome is a text from the fault.
async fn is_spared(client: &mut TcpStream) -> bool {
    client.write_all(b"e").await.unwrap();
    timeout(PATIENCE, client.read_u8()).await.unwrap().unwrap() == b'e'
}

const HIT: &str = r#"{"garbage": {"style": {"text": "X"}}}"#;

async fn hit_pattern(rig: &Rig, connections: usize) -> Vec<bool> {
    let mut pattern = Vec::new();
    for _ in 0..connections {
        pattern.push(!is_spared(&mut rig.connect().await).await);
    }
    pattern
}

#[tokio::test]
async fn the_same_seed_hits_the_same_connections_and_more_percent_the_same_and_more() {
    let mut patterns = Vec::new();
    for (percent, seed) in [(30, 9), (30, 9), (70, 9), (30, 10)] {
        let rig = Rig::echo().await;
        let fault = rig.fault(&format!(r#"{{"fault": {HIT}, "percent": {percent}, "seed": {seed}}}"#)).await;
        let pattern = hit_pattern(&rig, 60).await;
        let hits = pattern.iter().filter(|hit| **hit).count() as u64;
        assert_eq!((fault.hits(), fault.units()), (Some(hits), 60));
        assert_eq!(rig.proxy.counters().connections_hit, hits);
        patterns.push(pattern);
    }
    assert_eq!(patterns[0], patterns[1]);
    assert_ne!(patterns[0], patterns[3]);
    assert!(patterns[0].iter().zip(&patterns[2]).all(|(few, many)| !few || *many));
    assert!(patterns[2].iter().filter(|hit| **hit).count() > patterns[0].iter().filter(|hit| **hit).count());
}

#[tokio::test]
async fn raising_the_percent_hits_more_of_the_live_connections_and_keeps_those_hit() {
    let rig = Rig::echo().await;
    let mut clients = Vec::new();
    for _ in 0..30 {
        let mut client = rig.connect().await;
        assert!(is_spared(&mut client).await);
        clients.push(client);
    }
    let fault = rig.fault(r#"{"fault": {"latency": {"delay": "1h"}}, "percent": 0, "direction": "upstream"}"#).await;
    rig.proxy.change_fault(fault.name(), None, Some(Percent::new(50.0).unwrap())).await.unwrap();
    for client in &mut clients {
        client.write_all(b"e").await.unwrap();
    }
    let chosen = (0..30).filter(|unit| squall_wire::fault::unit_draw(1, *unit) < 50.0).count() as u64;
    until(|| fault.hits() == Some(chosen), || format!("{:?} of {chosen}", fault.hits())).await;
    assert_eq!(rig.heal(&fault).await, Some(chosen));
    for client in &mut clients {
        assert_eq!(timeout(PATIENCE, client.read_u8()).await.unwrap().unwrap(), b'e');
    }
}

#[tokio::test]
async fn skip_and_count_fail_exactly_the_ones_meant() {
    let rig = Rig::echo().await;
    let fault = rig.fault(&format!(r#"{{"fault": {HIT}, "skip": 2, "count": 3}}"#)).await;
    assert_eq!(hit_pattern(&rig, 8).await, [false, false, true, true, true, false, false, false]);
    assert_eq!((fault.hits(), fault.units()), (Some(3), 8));
}

#[tokio::test]
async fn count_also_spares_a_connection_that_another_ones_hit_came_before() {
    let rig = Rig::echo().await;
    rig.fault(&format!(r#"{{"fault": {HIT}, "count": 1}}"#)).await;
    // Both are chosen while neither was hit; the second to speak is connected after all.
    let (mut first, mut second) = (rig.connect().await, rig.connect().await);
    rig.until(|counters| counters.open_connections == 2).await;
    assert!(!is_spared(&mut second).await);
    assert!(is_spared(&mut first).await);
}

#[tokio::test]
async fn a_client_is_meant_by_its_address() {
    let rig = Rig::echo().await;
    let fault = rig.fault(&format!(r#"{{"fault": {HIT}, "where": {{"client": ["127.0.0.2", "10.0.0.0/8"]}}}}"#)).await;
    for (from, spared) in [("127.0.0.1:0", true), ("127.0.0.2:0", false), ("127.0.0.3:0", true)] {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(from.parse::<SocketAddr>().unwrap()).unwrap();
        let mut client = socket.connect(rig.proxy.listen_addr()).await.unwrap();
        assert_eq!(is_spared(&mut client).await, spared, "{from}");
    }
    assert_eq!((fault.hits(), fault.units()), (Some(1), 1));
}

#[tokio::test]
async fn a_fault_that_met_no_traffic_has_no_hits() {
    let rig = Rig::echo().await;
    let _idle = rig.connect().await;
    rig.until(|counters| counters.open_connections == 1).await;
    for kind in [r#"{"latency": {"delay": "1s"}}"#, r#"{"bandwidth": {"rate": "1B/s"}}"#, r#"{"blackhole": {}}"#] {
        let fault = rig.fault(&format!(r#"{{"fault": {kind}}}"#)).await;
        assert_eq!((rig.heal(&fault).await, fault.units()), (Some(0), 1), "{kind}");
    }
}

#[tokio::test]
async fn names_are_unique_kinds_stay_and_unknown_faults_are_told() {
    let rig = Rig::echo().await;
    let fault = rig.fault(r#"{"name": "one", "fault": {"latency": {"delay": "1s"}}}"#).await;
    let again = crate::common::fault(r#"{"name": "one", "fault": {"reset": {}}}"#);
    let error = rig.proxy.add_fault(again).await.unwrap_err().to_string();
    assert!(error.contains("`one` is already"), "{error}");
    let kind = serde_json::from_str(r#"{"reset": {}}"#).unwrap();
    let error = rig.proxy.change_fault(fault.name(), Some(kind), None).await.unwrap_err().to_string();
    assert!(error.contains("of kind `latency`"), "{error}");
    let error = rig.proxy.change_fault(&"two".parse().unwrap(), None, None).await.unwrap_err().to_string();
    assert!(error.contains("named `two`"), "{error}");
    assert_eq!(rig.proxy.remove_faults(&["two".parse().unwrap()]).await.unwrap(), []);
    assert_eq!(rig.proxy.faults().len(), 1);
}
