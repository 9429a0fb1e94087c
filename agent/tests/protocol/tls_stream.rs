//! TLS that ends and starts at a proxy, with no fault: bytes, half-close, RST and cut-off streams as both ends see them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use crate::common::{PATIENCE, connect, expect_reset, read_all};
use crate::tls_support::{ALL_SIDES, Sides, TlsRig, shake_hands};
use std::io::ErrorKind;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
    time::timeout,
};

fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 1_u32;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    })
    .take(bytes)
    .collect()
}

#[tokio::test]
async fn bytes_pass_both_ways_unchanged_and_the_end_is_in_order() {
    for sides in ALL_SIDES {
        let rig = TlsRig::echo(sides).await;
        let sent = noise(3_000_000);
        let (mut reader, mut writer) = tokio::io::split(rig.connect().await);
        let sending = async {
            // Small writes, large ones, and what is left.
            for piece in sent[..5000].chunks(7) {
                writer.write_all(piece).await.unwrap();
            }
            writer.write_all(&sent[5000..]).await.unwrap();
            writer.shutdown().await.unwrap();
        };
        let (_, got) = timeout(PATIENCE, async { tokio::join!(sending, read_all(&mut reader)) }).await.unwrap();
        assert!(got == sent, "{sides:?}");
        rig.until(|counters| counters.open_connections == 0).await;
        let counters = rig.proxy.counters();
        assert_eq!(
            (counters.bytes_upstream, counters.bytes_downstream, counters.connection_errors),
            (3_000_000, 3_000_000, 0),
            "plaintext is what is counted"
        );
    }
}

#[tokio::test]
async fn one_side_that_has_ended_still_hears_the_other() {
    for sides in ALL_SIDES {
        let rig = TlsRig::serve(sides, |mut wire| async move {
            let mut question = Vec::new();
            wire.read_to_end(&mut question).await.unwrap();
            wire.write_all(&[b"you said ", &question[..]].concat()).await.unwrap();
            wire.shutdown().await.unwrap();
        })
        .await;
        let mut client = rig.connect().await;
        client.write_all(b"all").await.unwrap();
        client.shutdown().await.unwrap();
        assert_eq!(read_all(&mut client).await, b"you said all", "{sides:?}");
    }
}

#[tokio::test]
async fn a_client_that_only_sends_and_goes_ends_in_order() {
    for sides in ALL_SIDES {
        let (told, mut got) = mpsc::channel(1);
        let rig = TlsRig::serve(sides, move |mut wire| {
            let told = told.clone();
            async move {
                let mut all = Vec::new();
                let end = wire.read_to_end(&mut all).await.map_err(|error| error.kind());
                told.send((all.len(), end)).await.unwrap();
            }
        })
        .await;
        let mut client = rig.connect().await;
        client.write_all(&noise(100_000)).await.unwrap();
        client.shutdown().await.unwrap();
        drop(client);
        let (bytes, end) = timeout(PATIENCE, got.recv()).await.unwrap().unwrap();
        assert_eq!((bytes, end), (100_000, Ok(100_000)), "{sides:?}");
    }
}

#[tokio::test]
async fn an_rst_of_the_server_is_an_rst_for_the_client_after_all_bytes() {
    for sides in ALL_SIDES {
        let rig = TlsRig::serve_tcp(sides, |tcp, acceptor| async move {
            // Kept to be reset: the descriptor is shared with the stream that writes.
            let handle = socket2::SockRef::from(&tcp).try_clone().unwrap();
            let mut wire: crate::tls_support::Wire = match acceptor {
                Some(acceptor) => Box::pin(acceptor.accept(tcp).await.unwrap()),
                None => Box::pin(tcp),
            };
            wire.write_all(b"so far").await.unwrap();
            // The client has it all when it says so.
            wire.read_u8().await.unwrap();
            handle.set_linger(Some(std::time::Duration::ZERO)).unwrap();
        })
        .await;
        let mut client = rig.connect().await;
        let mut so_far = [0; 6];
        client.read_exact(&mut so_far).await.unwrap();
        client.write_all(b"!").await.unwrap();
        assert_eq!(expect_reset(&mut client).await, b"", "{sides:?}");
        rig.until(|counters| counters.connection_errors == 1).await;
    }
}

#[tokio::test]
async fn an_rst_of_the_client_is_an_rst_for_the_server() {
    for sides in ALL_SIDES {
        let (told, mut got) = mpsc::channel(1);
        let rig = TlsRig::serve(sides, move |mut wire| {
            let told = told.clone();
            async move {
                let end = wire.read_to_end(&mut Vec::new()).await.map_err(|error| error.kind());
                told.send(end).await.unwrap();
            }
        })
        .await;
        let tcp = connect(rig.proxy.listen_addr()).await;
        let handle = socket2::SockRef::from(&tcp).try_clone().unwrap();
        let mut client: crate::tls_support::Wire = if sides.client() {
            Box::pin(shake_hands(tcp, rig.certificates.client(), "localhost").await.unwrap())
        } else {
            Box::pin(tcp)
        };
        client.write_all(b"x").await.unwrap();
        rig.until(|counters| counters.bytes_upstream == 1).await;
        handle.set_linger(Some(std::time::Duration::ZERO)).unwrap();
        drop((client, handle));
        let end = timeout(PATIENCE, got.recv()).await.unwrap().unwrap();
        assert_eq!(end, Err(ErrorKind::ConnectionReset), "{sides:?}");
    }
}

#[tokio::test]
async fn a_server_that_leaves_without_close_notify_is_not_one_that_ended_in_order() {
    // Over TLS the client sees what it would see without the proxy; a plain one has no other word for it than an RST.
    for (sides, seen, errors) in
        [(Sides::Both, ErrorKind::UnexpectedEof, 0), (Sides::Upstream, ErrorKind::ConnectionReset, 1)]
    {
        let rig = TlsRig::serve(sides, |mut wire| async move {
            wire.read_u8().await.unwrap();
            wire.write_all(b"half of it").await.unwrap();
            wire.flush().await.unwrap();
            // Dropped without a shutdown: the socket ends, TLS does not.
        })
        .await;
        let mut client = rig.connect().await;
        client.write_all(b"?").await.unwrap();
        let mut got = Vec::new();
        let end = timeout(PATIENCE, client.read_to_end(&mut got)).await.unwrap().unwrap_err();
        assert_eq!((&got[..], end.kind()), (&b"half of it"[..], seen), "{sides:?}");
        client.shutdown().await.ok();
        rig.until(|counters| counters.open_connections == 0).await;
        assert_eq!(rig.proxy.counters().connection_errors, errors, "{sides:?}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_without_close_notify_is_not_one_that_ended_in_order_and_no_error() {
    for (sides, seen) in [(Sides::Both, ErrorKind::UnexpectedEof), (Sides::Listen, ErrorKind::ConnectionReset)] {
        let (told, mut got) = mpsc::channel(1);
        let rig = TlsRig::serve(sides, move |mut wire| {
            let told = told.clone();
            async move {
                let mut all = Vec::new();
                let end = wire.read_to_end(&mut all).await.map_err(|error| error.kind());
                told.send((all, end)).await.unwrap();
            }
        })
        .await;
        let mut client = rig.connect().await;
        client.write_all(b"half of it").await.unwrap();
        client.flush().await.unwrap();
        drop(client);
        let (all, end) = timeout(PATIENCE, got.recv()).await.unwrap().unwrap();
        assert_eq!((&all[..], end), (&b"half of it"[..], Err(seen)), "{sides:?}");
        rig.until(|counters| counters.open_connections == 0).await;
        assert_eq!(rig.proxy.counters().connection_errors, 0, "most clients leave so");
    }
}

#[tokio::test]
async fn a_reader_that_rests_holds_the_sender_up_and_loses_nothing() {
    const ALL: usize = 24_000_000;
    for sides in ALL_SIDES {
        let rig = TlsRig::serve(sides, |mut wire| async move {
            // The client may be gone before it has all.
            let _ = wire.write_all(&noise(ALL)).await;
            let _ = wire.shutdown().await;
        })
        .await;
        let mut client = rig.connect().await;
        // Full sockets are told by nobody: what is delivered stands still when all of them are.
        let mut before = 0;
        loop {
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            let now = rig.proxy.counters().bytes_downstream;
            if now == before && now > 0 {
                break;
            }
            before = now;
        }
        assert!(before < 16_000_000, "{before} bytes went to a reader that rests");
        assert!(read_all(&mut client).await == noise(ALL), "{sides:?}");
    }
}
