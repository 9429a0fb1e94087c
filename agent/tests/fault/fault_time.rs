//! Faults of time, measured from the client's side of real sockets.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use crate::common::{PATIENCE, Rig, expect_silence, read_all};
use std::time::{Duration, Instant};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

const MS: fn(u64) -> Duration = Duration::from_millis;

/// Sends stamped messages 1 ms apart to an echo, and answers how long each took, sorted.
async fn round_trips(client: &mut TcpStream, messages: u64) -> Vec<Duration> {
    let start = Instant::now();
    let (mut reader, mut writer) = client.split();
    let send = async {
        for n in 0..messages {
            tokio::time::sleep_until((start + MS(n)).into()).await;
            writer.write_all(&start.elapsed().as_nanos().to_le_bytes()).await.unwrap();
        }
    };
    let receive = async {
        let mut took = Vec::new();
        for _ in 0..messages {
            let mut stamp = [0; 16];
            timeout(PATIENCE, reader.read_exact(&mut stamp)).await.unwrap().unwrap();
            let sent = u64::try_from(u128::from_le_bytes(stamp)).unwrap();
            took.push(start.elapsed() - Duration::from_nanos(sent));
        }
        took
    };
    let (_, mut took) = tokio::join!(send, receive);
    took.sort();
    took
}

#[tokio::test]
async fn two_hundred_messages_one_ms_apart_take_the_latency_each() {
    let rig = Rig::echo().await;
    let fault = rig.fault(r#"{"fault": {"latency": {"delay": "100ms"}}}"#).await;
    let took = round_trips(&mut rig.connect().await, 200).await;
    assert!(took[0] >= MS(100), "one was early: {:?}", took[0]);
    assert!(took[100] < MS(150), "the median took {:?}", took[100]);
    assert_eq!(fault.hits(), Some(1));
}

#[tokio::test]
async fn two_latencies_in_a_row_take_both() {
    let rig = Rig::echo().await;
    rig.fault(r#"{"fault": {"latency": {"delay": "100ms"}}, "direction": "downstream"}"#).await;
    rig.fault(r#"{"fault": {"latency": {"delay": "100ms"}}, "direction": "downstream"}"#).await;
    let took = round_trips(&mut rig.connect().await, 200).await;
    assert!(took[0] >= MS(200) && took[100] < MS(260), "{:?} … {:?}", took[0], took[100]);
}

#[tokio::test]
async fn latency_both_ways_counts_twice_for_an_echo() {
    let rig = Rig::echo().await;
    rig.fault(r#"{"fault": {"latency": {"delay": "40ms"}}, "direction": "both"}"#).await;
    let took = round_trips(&mut rig.connect().await, 50).await;
    assert!(took[0] >= MS(80) && took[25] < MS(150), "{:?} … {:?}", took[0], took[25]);
}

#[tokio::test]
async fn a_latency_set_changed_and_removed_on_a_live_connection_takes_hold_at_once() {
    let rig = Rig::echo().await;
    let mut client = rig.connect().await;
    let mut ask = async |limit: Duration| {
        let start = Instant::now();
        client.write_all(b"x").await.unwrap();
        assert_eq!(timeout(limit, client.read_u8()).await.unwrap().unwrap(), b'x');
        start.elapsed()
    };
    ask(PATIENCE).await;
    let fault = rig.fault(r#"{"fault": {"latency": {"delay": "120ms"}}}"#).await;
    assert!(ask(PATIENCE).await >= MS(120));
    rig.change(&fault, r#"{"latency": {"delay": "30ms"}}"#).await;
    // On a busy machine any one of them may be late, but not all.
    let (mut least, mut most) = (PATIENCE, Duration::ZERO);
    for _ in 0..10 {
        let took = ask(PATIENCE).await;
        assert!(took >= MS(30), "{took:?}");
        least = least.min(took);
    }
    assert!(least < MS(110), "{least:?}");
    assert_eq!(rig.heal(&fault).await, Some(1));
    least = PATIENCE;
    for _ in 0..10 {
        let took = ask(PATIENCE).await;
        (least, most) = (least.min(took), most.max(took));
    }
    assert!(least < MS(25), "{least:?} to {most:?}");
}

#[tokio::test]
async fn a_delay_counts_from_the_arrival_however_late_the_agent_finds_the_time_to_read() {
    let rig = Rig::echo().await;
    rig.fault(r#"{"fault": {"latency": {"delay": "200ms"}}, "direction": "upstream"}"#).await;
    let mut client = rig.connect().await;
    let mut took = Vec::new();
    for _ in 0..6 {
        let start = Instant::now();
        client.write_all(b"x").await.unwrap();
        crate::hurt::nobody_reads_for(MS(150));
        assert_eq!(timeout(PATIENCE, client.read_u8()).await.unwrap().unwrap(), b'x');
        took.push(start.elapsed());
    }
    assert!(took.iter().all(|took| *took >= MS(200)), "one was early: {took:?}");
    // On a busy machine any one of them may be late, but not all. Counted from the read, each would take 350 ms.
    assert!(took.iter().any(|took| *took < MS(340)), "{took:?}");
}

#[tokio::test]
async fn what_had_to_wait_for_room_is_delayed_from_when_there_was_some() {
    let rig = Rig::echo().await;
    rig.fault(r#"{"fault": {"latency": {"delay": "60ms", "buffer": "64KiB"}}, "direction": "upstream"}"#).await;
    let mut client = rig.connect().await;
    let mut all = vec![0; 160 * 1024];
    let start = Instant::now();
    // Two chunks find room in the fault's buffer, and the third waits in the agent's socket until one of them has left.
    client.write_all(&all).await.unwrap();
    timeout(PATIENCE, client.read_exact(&mut all)).await.unwrap().unwrap();
    assert!(start.elapsed() >= MS(2 * 60), "all of it was through after {:?}", start.elapsed());
}

#[tokio::test]
async fn whoever_waits_in_a_fault_is_released_when_it_goes() {
    for json in [
        r#"{"fault": {"latency": {"delay": "1h"}}}"#,
        r#"{"fault": {"bandwidth": {"rate": "0B/s"}}}"#,
        r#"{"fault": {"stall": {"every": "1h", "for": "1h"}}}"#,
        r#"{"fault": {"unread": {}}}"#,
        r#"{"fault": {"unread": {}}, "direction": "upstream"}"#,
        r#"{"fault": {"slow_close": {"delay": "1h"}}, "direction": "both"}"#,
    ] {
        let rig = Rig::echo().await;
        let fault = rig.fault(json).await;
        let mut client = rig.connect().await;
        client.write_all(b"all of it").await.unwrap();
        client.shutdown().await.unwrap();
        crate::common::until(|| fault.hits() == Some(1), || format!("{json}: no hit")).await;
        let start = Instant::now();
        rig.heal(&fault).await;
        assert_eq!(read_all(&mut client).await, b"all of it", "{json}");
        assert!(start.elapsed() < MS(2000), "{json}: released after {:?}", start.elapsed());
    }
}

#[tokio::test]
async fn a_drip_comes_piece_by_piece() {
    let rig = Rig::serve(|mut server: TcpStream| async move {
        server.write_all(b"drip").await.unwrap();
    })
    .await;
    rig.fault(r#"{"fault": {"drip": {"bytes": 1, "every": "60ms"}}}"#).await;
    let mut client = rig.connect().await;
    let mut last = None;
    let mut buffer = [0; 16];
    for expected in b"drip" {
        let got = timeout(PATIENCE, client.read(&mut buffer)).await.unwrap().unwrap();
        assert_eq!(&buffer[..got], [*expected]);
        let now = Instant::now();
        if let Some(last) = last.replace(now) {
            // The one before may have been seen late, but not by most of the time between two.
            assert!(now - last > MS(20), "{:?}", now - last);
        }
    }
    assert_eq!(client.read(&mut buffer).await.unwrap(), 0);
}

#[tokio::test]
async fn a_stall_freezes_and_thaws() {
    let rig = Rig::echo().await;
    let mut client = rig.connect().await;
    let fault = rig.fault(r#"{"fault": {"stall": {"every": "10s", "for": "1s"}}}"#).await;
    let start = Instant::now();
    client.write_all(b"a").await.unwrap();
    client.read_u8().await.unwrap();
    let frozen = start.elapsed();
    assert!(frozen > MS(950) && frozen < MS(5000), "{frozen:?}");
    let start = Instant::now();
    client.write_all(b"b").await.unwrap();
    client.read_u8().await.unwrap();
    assert!(start.elapsed() < MS(900), "not thawed: {:?}", start.elapsed());
    assert_eq!(fault.hits(), Some(1));
}

#[tokio::test]
async fn a_slow_close_delivers_the_bytes_at_once_and_the_end_late() {
    let rig = Rig::serve(|mut server: TcpStream| async move {
        server.write_all(b"answer").await.unwrap();
    })
    .await;
    rig.fault(r#"{"fault": {"slow_close": {"delay": "1500ms"}}}"#).await;
    let start = Instant::now();
    let mut client = rig.connect().await;
    let mut answer = [0; 6];
    client.read_exact(&mut answer).await.unwrap();
    assert!(start.elapsed() < MS(1400));
    expect_silence(&mut client, MS(30)).await;
    assert_eq!(client.read(&mut answer).await.unwrap(), 0);
    assert!(start.elapsed() >= MS(1500));
}

#[tokio::test]
async fn a_half_closed_client_gets_its_whole_answer_under_latency_and_bandwidth() {
    for json in [
        r#"{"fault": {"latency": {"delay": "50ms", "jitter": "30ms"}}, "direction": "both"}"#,
        r#"{"fault": {"bandwidth": {"rate": "2MB/s"}}, "direction": "both"}"#,
        r#"{"fault": {"drip": {"bytes": 9999, "every": "1ms"}}, "direction": "both"}"#,
    ] {
        let rig = Rig::serve(|mut server: TcpStream| async move {
            let question = read_all(&mut server).await;
            server.write_all(&question).await.unwrap();
            server.write_all(&vec![b'.'; 300_000]).await.unwrap();
        })
        .await;
        rig.fault(json).await;
        let mut client = rig.connect().await;
        client.write_all(b"question").await.unwrap();
        client.shutdown().await.unwrap();
        let answer = read_all(&mut client).await;
        assert_eq!(answer.len(), 300_008, "{json}");
        assert!(answer.starts_with(b"question."), "{json}");
    }
}
