//! Faults that end, silence or stop a connection: errno, bytes and silence as a client and a server see them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use crate::common::{PATIENCE, Rig, expect_reset, expect_silence, read_all, until};
use std::time::{Duration, Instant};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

const MS: fn(u64) -> Duration = Duration::from_millis;

/// A server that sends so many bytes at once, and then waits for the client's end.
async fn sender(bytes: usize) -> Rig {
    Rig::serve(move |mut server: TcpStream| async move {
        // A fault may end it in the middle.
        let _ = server.write_all(&vec![b's'; bytes]).await;
        let _ = server.read_to_end(&mut Vec::new()).await;
    })
    .await
}

#[tokio::test]
async fn a_reset_gives_econnreset_at_once_without_asking_the_upstream() {
    // Nobody listens there, and nobody is asked.
    let rig = Rig::towards("127.0.0.1:9").await;
    let fault = rig.fault(r#"{"fault": {"reset": {}}}"#).await;
    // The RST may be there before `connect` looks at the socket.
    match TcpStream::connect(rig.proxy.listen_addr()).await {
        Ok(mut client) => assert!(expect_reset(&mut client).await.is_empty()),
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
    }
    assert_eq!(fault.hits(), Some(1));
    assert_eq!(rig.proxy.counters().connections_hit, 1);
}

#[tokio::test]
async fn a_reset_ends_a_live_connection_on_both_sides() {
    let (told, outcome) = tokio::sync::oneshot::channel();
    let told = std::sync::Mutex::new(Some(told));
    let rig = Rig::serve(move |mut server: TcpStream| {
        let told = told.lock().unwrap().take().unwrap();
        async move {
            server.write_all(b"hi").await.unwrap();
            told.send(server.read(&mut [0; 8]).await.map_err(|error| error.kind())).unwrap();
        }
    })
    .await;
    let mut client = rig.connect().await;
    client.read_exact(&mut [0; 2]).await.unwrap();
    rig.fault(r#"{"fault": {"reset": {}}}"#).await;
    expect_reset(&mut client).await;
    assert_eq!(outcome.await.unwrap(), Err(std::io::ErrorKind::ConnectionReset));
}

#[tokio::test]
async fn a_reset_after_a_time_comes_then() {
    let rig = Rig::echo().await;
    rig.fault(r#"{"fault": {"reset": {"after": "200ms"}}}"#).await;
    let start = Instant::now();
    let mut client = rig.connect().await;
    client.write_all(b"x").await.unwrap();
    client.read_u8().await.unwrap();
    expect_reset(&mut client).await;
    let took = start.elapsed();
    assert!(took >= MS(200) && took < MS(900), "{took:?}");
}

#[tokio::test]
async fn a_reset_after_bytes_delivers_exactly_those() {
    for bytes in [1, 1000, 300_000] {
        let rig = sender(1_000_000).await;
        rig.fault(&format!(r#"{{"fault": {{"reset": {{"after_bytes": "{bytes}B"}}}}}}"#)).await;
        assert_eq!(expect_reset(&mut rig.connect().await).await.len(), bytes);
    }
}

#[tokio::test]
async fn a_cut_towards_the_server_delivers_its_bytes_to_a_server_that_is_still_being_dialled() {
    for fault in [r#"{"reset": {"after_bytes": "10B"}}"#, r#"{"truncate": {"bytes": "10B"}}"#] {
        let (told, mut got) = tokio::sync::mpsc::channel(1);
        let rig = Rig::serve(move |mut server: TcpStream| {
            let told = told.clone();
            async move {
                let mut all = Vec::new();
                // By RST or in order.
                let _ = server.read_to_end(&mut all).await;
                told.send(all).await.unwrap();
            }
        })
        .await;
        // A name, for it takes longer to dial.
        rig.proxy.set_upstream(format!("localhost:{}", rig.server.port()));
        rig.fault(&format!(r#"{{"fault": {fault}, "direction": "upstream"}}"#)).await;
        let mut client = rig.connect().await;
        client.write_all(b"0123456789AB").await.unwrap();
        assert_eq!(timeout(PATIENCE, got.recv()).await.unwrap().unwrap(), b"0123456789", "{fault}");
    }
}

#[tokio::test]
async fn a_client_that_goes_before_its_reset_came_is_not_waited_for() {
    let rig = sender(2_000_000).await;
    // More than the client's kernel takes for a program that reads nothing.
    let fault = rig.fault(r#"{"fault": {"reset": {"after_bytes": "1MB"}}}"#).await;
    let client = rig.connect().await;
    until(|| fault.hits() == Some(1), || "never cut".into()).await;
    rig.until(|counters| counters.bytes_downstream == 1_000_000).await;
    let start = Instant::now();
    client.set_zero_linger().unwrap();
    drop(client);
    rig.until(|counters| counters.open_connections == 0).await;
    assert!(start.elapsed() < MS(2500), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_truncated_stream_ends_after_exactly_so_many_bytes() {
    for (then, reset) in [("close", false), ("reset", true)] {
        let rig = sender(200_000).await;
        let json = format!(r#"{{"fault": {{"truncate": {{"bytes": "1234B", "then": "{then}"}}}}}}"#);
        let fault = rig.fault(&json).await;
        let mut client = rig.connect().await;
        let got = if reset { expect_reset(&mut client).await } else { read_all(&mut client).await };
        assert_eq!((got.len(), fault.hits()), (1234, Some(1)), "{then}");
        rig.until(|counters| counters.open_connections == 0).await;
    }
}

#[tokio::test]
async fn a_truncated_stream_can_fall_silent() {
    let rig = sender(200_000).await;
    let fault = rig.fault(r#"{"fault": {"truncate": {"bytes": "10B", "then": "blackhole"}}}"#).await;
    let mut client = rig.connect().await;
    client.read_exact(&mut [0; 10]).await.unwrap();
    expect_silence(&mut client, MS(100)).await;
    rig.heal(&fault).await;
    expect_reset(&mut client).await;
}

#[tokio::test]
async fn a_stream_shorter_than_the_cut_is_not_touched() {
    let rig = Rig::echo().await;
    let fault = rig.fault(r#"{"fault": {"truncate": {"bytes": "1KiB"}}}"#).await;
    let mut client = rig.connect().await;
    client.write_all(b"short").await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(read_all(&mut client).await, b"short");
    assert_eq!(rig.heal(&fault).await, Some(0));
}

#[tokio::test]
async fn a_blackhole_answers_nothing_and_resets_what_lost_bytes_when_it_goes() {
    let rig = Rig::echo().await;
    let fault = rig.fault(r#"{"fault": {"blackhole": {}}}"#).await;
    let mut client = rig.connect().await;
    client.write_all(b"hello?").await.unwrap();
    crate::common::until(|| fault.hits() == Some(1), || "nothing was thrown away".into()).await;
    expect_silence(&mut client, MS(100)).await;
    assert_eq!(rig.proxy.counters().bytes_downstream, 0);
    rig.heal(&fault).await;
    expect_reset(&mut client).await;
}

#[tokio::test]
async fn a_blackhole_that_swallowed_nothing_leaves_the_connection_whole() {
    let rig = Rig::echo().await;
    let mut client = rig.connect().await;
    let fault = rig.fault(r#"{"fault": {"blackhole": {}}, "direction": "both"}"#).await;
    assert_eq!(rig.heal(&fault).await, Some(0));
    client.write_all(b"x").await.unwrap();
    assert_eq!(client.read_u8().await.unwrap(), b'x');
}

#[tokio::test]
async fn a_blackhole_keeps_a_connection_open_though_the_upstream_refuses() {
    let rig = Rig::towards(&crate::common::free_address().to_string()).await;
    let fault = rig.fault(r#"{"fault": {"blackhole": {}}, "direction": "both"}"#).await;
    let mut client = rig.connect().await;
    client.write_all(b"anybody?").await.unwrap();
    expect_silence(&mut client, MS(150)).await;
    rig.heal(&fault).await;
    expect_reset(&mut client).await;
}

#[tokio::test]
async fn a_blackhole_closes_after_its_time_though_data_trickles_in() {
    let rig = Rig::echo().await;
    rig.fault(r#"{"fault": {"blackhole": {"close_after": "300ms"}}, "direction": "both"}"#).await;
    let start = Instant::now();
    let mut client = rig.connect().await;
    let (mut reader, mut writer) = client.split();
    let trickle = async {
        loop {
            tokio::time::sleep(MS(10)).await;
            if writer.write_all(b".").await.is_err() {
                return std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        () = trickle => {}
        got = read_all(&mut reader) => assert!(got.is_empty()),
    }
    let took = start.elapsed();
    assert!(took >= MS(300) && took < MS(1500), "{took:?}");
}

#[tokio::test]
async fn unread_blocks_the_sender_and_loses_nothing() {
    let (told, mut sent) = tokio::sync::watch::channel(0_usize);
    let rig = Rig::serve(move |mut server: TcpStream| {
        let told = told.clone();
        async move {
            for _ in 0..2000 {
                server.write_all(&[b'u'; 10_000]).await.unwrap();
                told.send_modify(|sent| *sent += 10_000);
            }
        }
    })
    .await;
    let fault = rig.fault(r#"{"fault": {"unread": {}}}"#).await;
    let mut client = rig.connect().await;
    crate::common::until(|| fault.hits() == Some(1), || "nothing to read".into()).await;
    // The sender goes on until the kernel's buffers are full, and then no more.
    while timeout(MS(300), sent.changed()).await.is_ok() {}
    let blocked_at = *sent.borrow();
    assert!(blocked_at < 20_000_000, "the sender was never held up");
    expect_silence(&mut client, MS(50)).await;
    assert_eq!(*sent.borrow(), blocked_at);
    rig.heal(&fault).await;
    assert_eq!(read_all(&mut client).await.len(), 20_000_000);
}

#[tokio::test]
async fn a_client_that_is_gone_does_not_stay_for_as_long_as_the_fault() {
    for json in [
        r#"{"fault": {"blackhole": {}}}"#,
        r#"{"fault": {"unread": {}}, "direction": "upstream"}"#,
        r#"{"fault": {"garbage": {"style": {"text": "x"}, "then": "hang"}}}"#,
    ] {
        let rig = Rig::echo().await;
        let fault = rig.fault(json).await;
        let mut client = rig.connect().await;
        client.write_all(b"?").await.unwrap();
        client.shutdown().await.unwrap();
        crate::common::until(|| fault.hits() == Some(1), || format!("{json}: no hit")).await;
        assert_eq!(rig.proxy.counters().open_connections, 1, "{json}");
        client.set_zero_linger().unwrap();
        drop(client);
        rig.until(|counters| counters.open_connections == 0).await;
    }
}

#[tokio::test]
async fn percent_zero_of_anything_hits_nothing() {
    for kind in [
        r#"{"reset": {}}"#,
        r#"{"latency": {"delay": "1h"}}"#,
        r#"{"blackhole": {}}"#,
        r#"{"unread": {}}"#,
        r#"{"truncate": {"bytes": "0B"}}"#,
        r#"{"garbage": {"style": "banner"}}"#,
        r#"{"slow_accept": {"delay": "forever"}}"#,
    ] {
        let rig = Rig::echo().await;
        let fault = rig.fault(&format!(r#"{{"fault": {kind}, "percent": 0}}"#)).await;
        for _ in 0..3 {
            let mut client = rig.connect().await;
            client.write_all(b"x").await.unwrap();
            assert_eq!(timeout(PATIENCE, client.read_u8()).await.unwrap().unwrap(), b'x', "{kind}");
        }
        assert_eq!((fault.hits(), fault.units()), (Some(0), 3), "{kind}");
        assert_eq!(rig.proxy.counters().connections_hit, 0);
    }
}
