//! Throughput under faults of time. Apart from `fault_time.rs`, for these keep a core busy.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use crate::common::{Rig, read_all};
use std::time::{Duration, Instant};
use tokio::{io::AsyncWriteExt, net::TcpStream};

const MS: fn(u64) -> Duration = Duration::from_millis;

#[tokio::test]
async fn latency_does_not_lower_throughput() {
    let rig = Rig::serve(|mut server: TcpStream| async move {
        server.write_all(&vec![3; 20_000_000]).await.unwrap();
    })
    .await;
    rig.fault(r#"{"fault": {"latency": {"delay": "500ms"}}}"#).await;
    let start = Instant::now();
    let got = read_all(&mut rig.connect().await).await;
    let took = start.elapsed();
    assert_eq!(got.len(), 20_000_000);
    assert!(took >= MS(500) && took < MS(4000), "{took:?}");
}

#[tokio::test]
async fn a_paced_transfer_takes_the_time_that_its_rate_says() {
    let rig = Rig::serve(|mut server: TcpStream| async move {
        server.write_all(&vec![1; 600_000]).await.unwrap();
    })
    .await;
    rig.fault(r#"{"fault": {"bandwidth": {"rate": "400KB/s"}}}"#).await;
    let start = Instant::now();
    let got = read_all(&mut rig.connect().await).await;
    let took = start.elapsed().as_secs_f64();
    assert_eq!(got.len(), 600_000);
    // Never faster; slower only as far as a busy machine makes it.
    assert!((1.47..3.0).contains(&took), "{took}");
}

#[tokio::test]
async fn a_hundred_megabytes_a_second_are_a_hundred_megabytes_a_second() {
    let rig = Rig::serve(|mut server: TcpStream| async move {
        let part = vec![1; 1 << 20];
        for _ in 0..100 {
            server.write_all(&part).await.unwrap();
        }
    })
    .await;
    rig.fault(r#"{"fault": {"bandwidth": {"rate": "100MB/s"}}}"#).await;
    let start = Instant::now();
    let got = read_all(&mut rig.connect().await).await;
    let took = start.elapsed().as_secs_f64();
    assert_eq!(got.len(), 100 << 20);
    // Never faster; slower only as far as a busy machine makes it.
    assert!((1.03..4.0).contains(&took), "{took}");
}

#[tokio::test]
async fn connections_share_the_rate_of_a_proxy() {
    let rig = Rig::serve(|mut server: TcpStream| async move {
        server.write_all(&vec![1; 150_000]).await.unwrap();
    })
    .await;
    let fault = rig.fault(r#"{"fault": {"bandwidth": {"rate": "300KB/s", "scope": "proxy"}}}"#).await;
    let start = Instant::now();
    let (mut one, mut two) = (rig.connect().await, rig.connect().await);
    let (one, two) = tokio::join!(read_all(&mut one), read_all(&mut two));
    let took = start.elapsed().as_secs_f64();
    assert_eq!((one.len(), two.len()), (150_000, 150_000));
    assert!((0.96..1.4).contains(&took), "{took}");
    assert_eq!(fault.hits(), Some(2));
}
