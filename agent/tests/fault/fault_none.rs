//! A proxy without faults: what passes is what was sent, ends are passed on as they came, and nothing waits.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use crate::common::{Rig, connect, expect_reset, read_all};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

#[tokio::test]
async fn what_is_sent_arrives_both_ways() {
    let rig = Rig::echo().await;
    let mut client = rig.connect().await;
    let sent: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    let (mut reader, mut writer) = client.split();
    let (_, got) = tokio::join!(
        async {
            writer.write_all(&sent).await.unwrap();
            writer.shutdown().await.unwrap();
        },
        read_all(&mut reader)
    );
    assert!(got == sent, "{} of {} bytes", got.len(), sent.len());
    rig.until(|counters| counters.open_connections == 0).await;
    let counters = rig.proxy.counters();
    assert_eq!((counters.bytes_upstream, counters.bytes_downstream), (3_000_000, 3_000_000));
    assert_eq!((counters.connections, counters.connection_errors, counters.connections_hit), (1, 0, 0));
}

#[tokio::test]
async fn a_client_that_ends_its_side_still_gets_the_whole_answer() {
    let rig = Rig::serve(|mut server: TcpStream| async move {
        let question = read_all(&mut server).await;
        server.write_all(&vec![b'a'; 1_000_000]).await.unwrap();
        server.write_all(&question).await.unwrap();
    })
    .await;
    let mut client = rig.connect().await;
    client.write_all(b"question").await.unwrap();
    client.shutdown().await.unwrap();
    let answer = read_all(&mut client).await;
    assert_eq!(answer.len(), 1_000_008);
    assert!(answer.ends_with(b"question"));
}

#[tokio::test]
async fn a_reset_of_the_server_reaches_the_client_after_the_bytes_before_it() {
    let rig = Rig::serve(|mut server: TcpStream| async move {
        server.read_u8().await.unwrap();
        server.write_all(b"half an ans").await.unwrap();
        tokio::task::yield_now().await;
        server.set_zero_linger().unwrap();
    })
    .await;
    let mut client = rig.connect().await;
    client.write_all(b"?").await.unwrap();
    let got = expect_reset(&mut client).await;
    assert!(b"half an ans".starts_with(&got[..]), "{got:?}");
    rig.until(|counters| counters.connection_errors == 1 && counters.open_connections == 0).await;
}

#[tokio::test]
async fn a_reset_of_the_client_reaches_the_server() {
    let (told, outcome) = tokio::sync::oneshot::channel();
    let told = std::sync::Mutex::new(Some(told));
    let rig = Rig::serve(move |mut server: TcpStream| {
        let told = told.lock().unwrap().take();
        async move {
            let mut buffer = [0; 16];
            server.read_exact(&mut buffer[..1]).await.unwrap();
            let result = server.read(&mut buffer).await.map_err(|error| error.kind());
            told.unwrap().send(result).unwrap();
        }
    })
    .await;
    let mut client = rig.connect().await;
    client.write_all(b"x").await.unwrap();
    rig.until(|counters| counters.bytes_upstream == 1).await;
    client.set_zero_linger().unwrap();
    drop(client);
    assert_eq!(outcome.await.unwrap(), Err(std::io::ErrorKind::ConnectionReset));
}

#[tokio::test]
async fn an_upstream_that_refuses_resets_the_client() {
    let rig = Rig::towards(&crate::common::free_address().to_string()).await;
    let mut client = rig.connect().await;
    assert!(expect_reset(&mut client).await.is_empty());
    rig.until(|counters| counters.connection_errors == 1).await;
}

#[tokio::test]
async fn ipv6_works_as_well() {
    let rig = Rig::echo_on("[::1]:0").await;
    let mut client = rig.connect().await;
    client.write_all(b"hello").await.unwrap();
    let mut got = [0; 5];
    client.read_exact(&mut got).await.unwrap();
    assert_eq!(&got, b"hello");
}

#[tokio::test]
async fn a_disabled_proxy_refuses_closes_what_is_open_and_comes_back_on_the_same_address() {
    let rig = Rig::echo().await;
    let mut open = rig.connect().await;
    open.write_all(b"x").await.unwrap();
    open.read_u8().await.unwrap();
    rig.proxy.set_enabled(false).await.unwrap();
    assert!(!rig.proxy.is_enabled());
    assert!(matches!(open.read(&mut [0; 8]).await, Ok(0) | Err(_)));
    let refused = TcpStream::connect(rig.proxy.listen_addr()).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    rig.proxy.set_enabled(true).await.unwrap();
    let mut again = rig.connect().await;
    again.write_all(b"y").await.unwrap();
    assert_eq!(again.read_u8().await.unwrap(), b'y');
}

#[tokio::test]
async fn a_rebound_proxy_keeps_its_connections_and_a_failed_rebind_keeps_the_old_listener() {
    let rig = Rig::echo().await;
    let mut open = rig.connect().await;
    let old = rig.proxy.listen_addr();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    assert!(rig.proxy.rebind(&taken.local_addr().unwrap().to_string()).await.is_err());
    assert_eq!(rig.proxy.listen_addr(), old);
    connect(old).await;
    let new = rig.proxy.rebind("127.0.0.1:0").await.unwrap();
    assert_eq!(rig.proxy.listen_addr(), new);
    assert_eq!(TcpStream::connect(old).await.unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
    open.write_all(b"z").await.unwrap();
    assert_eq!(open.read_u8().await.unwrap(), b'z');
    connect(new).await;
}

#[tokio::test]
async fn draining_lets_connections_finish_and_cuts_the_rest_in_bounded_time() {
    let rig = Rig::echo().await;
    let mut quick = rig.connect().await;
    let _stalled = rig.connect().await;
    rig.until(|counters| counters.open_connections == 2).await;
    let drained = async {
        let before = std::time::Instant::now();
        let cut = rig.proxy.drain(Duration::from_millis(300)).await;
        (cut, before.elapsed())
    };
    let ((cut, took), echoed) = tokio::join!(drained, async {
        quick.write_all(b"last words").await.unwrap();
        quick.shutdown().await.unwrap();
        read_all(&mut quick).await
    });
    assert_eq!(echoed, b"last words");
    assert_eq!(cut, 1);
    assert!(took < Duration::from_secs(3), "{took:?}");
}
