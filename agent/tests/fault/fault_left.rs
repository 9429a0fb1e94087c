//! Clients that are gone while a fault holds something of theirs: what they sent still gets there, late, and their end after it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use crate::common::{PATIENCE, Rig, until};
use std::{
    io::ErrorKind,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
    time::timeout,
};

const MS: fn(u64) -> Duration = Duration::from_millis;

/// What a server saw of one connection: bytes, how it ended, and when that was.
type Seen = (usize, Option<ErrorKind>, Instant);

/// A server that greets, and tells what it gets.
async fn witness() -> (Rig, mpsc::UnboundedReceiver<Seen>) {
    let (told, seen) = mpsc::unbounded_channel();
    let rig = Rig::serve(move |mut server: TcpStream| {
        let told = told.clone();
        async move {
            // The client may be gone.
            let _ = server.write_all(b"hi").await;
            let mut got = Vec::new();
            let ended = server.read_to_end(&mut got).await.err().map(|error| error.kind());
            told.send((got.len(), ended, Instant::now())).unwrap();
        }
    })
    .await;
    (rig, seen)
}

#[tokio::test]
async fn what_a_client_sent_before_its_reset_arrives_and_the_reset_after_it() {
    for (fault, least) in [
        (r#"{"latency": {"delay": "300ms"}}"#, MS(300)),
        (r#"{"slow_close": {"delay": "300ms"}}"#, MS(300)),
        (r#"{"bandwidth": {"rate": "100KB/s"}}"#, MS(150)),
        (r#"{"drip": {"bytes": 5000, "every": "100ms"}}"#, MS(300)),
        (r#"{"stall": {"every": "10s", "for": "300ms"}}"#, MS(0)),
    ] {
        for unread in [true, false] {
            let (rig, mut seen) = witness().await;
            let mut client = rig.connect().await;
            if !unread {
                client.read_exact(&mut [0; 2]).await.unwrap();
            }
            let kind = format!(r#"{{"fault": {fault}, "direction": "upstream"}}"#);
            rig.fault(&kind).await;
            let start = Instant::now();
            client.write_all(&[b'x'; 20_000]).await.unwrap();
            if unread {
                // A close with bytes unread is a reset; they must have come for that.
                until(|| rig.proxy.counters().bytes_downstream == 2, || "no greeting".into()).await;
            } else {
                client.set_zero_linger().unwrap();
            }
            drop(client);
            let (bytes, ended, at) = timeout(PATIENCE, seen.recv()).await.unwrap().unwrap();
            assert_eq!((bytes, ended), (20_000, Some(ErrorKind::ConnectionReset)), "{fault}, unread: {unread}");
            assert!(at - start >= least, "{fault}: the reset was not late: {:?}", at - start);
            let open = || rig.proxy.counters().open_connections;
            until(|| open() == 0, || format!("{fault}: {} are open", open())).await;
        }
    }
}

#[tokio::test]
async fn what_a_client_sent_before_it_left_in_order_arrives_although_it_is_answered_by_nobody() {
    let (told, mut seen) = mpsc::unbounded_channel();
    let rig = Rig::serve(move |mut server: TcpStream| {
        let told = told.clone();
        async move {
            // It answers each message; the first answer makes the kernel of the client that is gone say so.
            while let Ok(message) = server.read_u8().await {
                told.send(message).unwrap();
                server.write_u8(message).await.unwrap();
            }
        }
    })
    .await;
    rig.fault(r#"{"fault": {"latency": {"delay": "400ms"}}, "direction": "upstream"}"#).await;
    let mut client = rig.connect().await;
    client.write_all(b"A").await.unwrap();
    tokio::time::sleep(MS(200)).await;
    client.write_all(b"B").await.unwrap();
    drop(client);
    for message in *b"AB" {
        assert_eq!(timeout(PATIENCE, seen.recv()).await.unwrap(), Some(message));
    }
}
