//! Limits, flapping and corruption, seen by clients.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use common::{PATIENCE, Rig};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// Sends so many bytes to an echo, and answers as many of what comes back.
async fn echoed(client: &mut TcpStream, bytes: usize) -> Vec<u8> {
    let mut got = vec![0; bytes];
    let (mut reader, mut writer) = client.split();
    let sent = vec![0xAA; bytes];
    let both = async { tokio::try_join!(writer.write_all(&sent), reader.read_exact(&mut got)) };
    timeout(PATIENCE, both).await.expect("as many bytes back").unwrap();
    got
}

fn spoilt(got: &[u8]) -> usize {
    got.iter().filter(|byte| **byte != 0xAA).count()
}

#[tokio::test]
async fn corrupt_changes_its_share_of_bytes_and_not_their_number() {
    let mut streams = Vec::new();
    for _ in 0..2 {
        let rig = Rig::echo().await;
        let fault = rig.fault(r#"{"fault": {"corrupt": {"rate": 0.01}}, "seed": 6}"#).await;
        let mut client = rig.connect().await;
        let got = echoed(&mut client, 300_000).await;
        // 3000 on average, 55 of standard deviation.
        assert!((2_750..3_250).contains(&spoilt(&got)), "{}", spoilt(&got));
        assert!(got.iter().all(|byte| (byte ^ 0xAA).count_ones() <= 1));
        assert_eq!(rig.heal(&fault).await, Some(1));
        assert_eq!(spoilt(&echoed(&mut client, 100_000).await), 0, "healed, on the same connection");
        client.shutdown().await.unwrap();
        assert!(common::read_all(&mut client).await.is_empty());
        streams.push(got);
    }
    assert!(streams[0] == streams[1], "the same seed, the same bytes");
}

#[tokio::test]
async fn a_corruption_is_set_and_changed_on_a_live_connection() {
    let rig = Rig::echo().await;
    let mut client = rig.connect().await;
    assert_eq!(spoilt(&echoed(&mut client, 1000).await), 0);
    let fault = rig.fault(r#"{"fault": {"corrupt": {"rate": 1, "how": "zero"}}, "direction": "upstream"}"#).await;
    assert_eq!(echoed(&mut client, 1000).await, [0; 1000]);
    rig.change(&fault, r#"{"corrupt": {"rate": 1, "how": "random"}}"#).await;
    let got = echoed(&mut client, 1000).await;
    assert_eq!(spoilt(&got), 1000);
    assert!(got.iter().any(|byte| *byte != got[0]));
    assert_eq!((fault.hits(), fault.units()), (Some(1), 1));
}

#[tokio::test]
async fn a_corruption_spares_the_connections_that_are_not_chosen() {
    let rig = Rig::echo().await;
    let json = r#"{"fault": {"corrupt": {"rate": 1, "how": "zero"}}, "skip": 1, "count": 1}"#;
    let fault = rig.fault(json).await;
    let mut counts = Vec::new();
    for _ in 0..3 {
        counts.push(spoilt(&echoed(&mut rig.connect().await, 500).await));
    }
    assert_eq!(counts, [0, 500, 0]);
    assert_eq!((fault.hits(), rig.proxy.counters().connections_hit), (Some(1), 1));
}
