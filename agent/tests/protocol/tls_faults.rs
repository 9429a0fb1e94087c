//! Faults on encrypted connections: they act on the plaintext, and both ends stay sound TLS until a fault ends them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use crate::common::{PATIENCE, expect_reset, expect_silence, free_address, read_all, until};
use crate::tls_support::{ALL_SIDES, Certificates, Sides, TlsRig, Wire, shake_hands, start};
use serde_json::json;
use squall_agent::PlaneLimits;
use std::time::{Duration, Instant};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
    time::timeout,
};

const MS: fn(u64) -> Duration = Duration::from_millis;

/// A server that sends so many bytes at once, and then waits for the client's end.
async fn sender(sides: Sides, bytes: usize) -> TlsRig {
    TlsRig::serve(sides, move |mut wire| async move {
        // A fault may end it in the middle.
        let _ = wire.write_all(&vec![b's'; bytes]).await;
        let _ = wire.flush().await;
        let _ = wire.read_to_end(&mut Vec::new()).await;
    })
    .await
}

/// Sends and waits for the same to come back.
async fn ping(client: &mut Wire) {
    client.write_all(b"ping").await.unwrap();
    let mut back = [0; 4];
    timeout(PATIENCE, client.read_exact(&mut back)).await.unwrap().unwrap();
    assert_eq!(&back, b"ping");
}

#[tokio::test]
async fn latency_delays_each_answer_and_goes_with_its_fault() {
    for sides in ALL_SIDES {
        let rig = TlsRig::echo(sides).await;
        let mut client = rig.connect().await;
        ping(&mut client).await;
        let fault = rig.fault(r#"{"fault": {"latency": {"delay": "1s"}}}"#).await;
        let start = Instant::now();
        ping(&mut client).await;
        let took = start.elapsed();
        assert!(took >= MS(1000) && took < MS(5000), "{sides:?}: {took:?}");
        assert_eq!(rig.heal(&fault).await, Some(1));
        let start = Instant::now();
        ping(&mut client).await;
        assert!(start.elapsed() < MS(950), "{sides:?}: {:?}", start.elapsed());
    }
}

#[tokio::test]
async fn a_delay_counts_from_when_the_ciphertext_came_in() {
    for sides in ALL_SIDES {
        let rig = TlsRig::echo(sides).await;
        rig.fault(r#"{"fault": {"latency": {"delay": "200ms"}}, "direction": "upstream"}"#).await;
        let mut client = rig.connect().await;
        ping(&mut client).await;
        let mut took = Vec::new();
        // On a busy machine any one of them may be late, but not all. Counted from the read, each would take 350 ms.
        while took.last().is_none_or(|took| *took >= MS(340)) {
            assert!(took.len() < 6, "{sides:?}: {took:?}");
            let start = Instant::now();
            client.write_all(b"ping").await.unwrap();
            client.flush().await.unwrap();
            crate::hurt::nobody_reads_for(MS(150));
            timeout(PATIENCE, client.read_exact(&mut [0; 4])).await.unwrap().unwrap();
            took.push(start.elapsed());
            assert!(start.elapsed() >= MS(200), "{sides:?}: one was early: {took:?}");
        }
    }
}

#[tokio::test]
async fn a_blackhole_takes_the_handshake_and_then_everything() {
    for sides in ALL_SIDES {
        let rig = TlsRig::echo(sides).await;
        let fault = rig.fault(r#"{"fault": {"blackhole": {}}, "direction": "both"}"#).await;
        let mut client = rig.connect().await;
        client.write_all(b"anybody?").await.unwrap();
        expect_silence(&mut client, MS(300)).await;
        until(|| fault.hits() == Some(1), || "not hit".into()).await;
        assert_eq!(rig.proxy.counters().bytes_upstream, 0, "{sides:?}");
        rig.heal(&fault).await;
        // What it lost cannot be made good.
        expect_reset(&mut client).await;
        ping(&mut rig.connect().await).await;
    }
}

#[tokio::test]
async fn unread_leaves_the_sender_with_a_full_window_until_it_goes() {
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
        let fault = rig.fault(r#"{"fault": {"unread": {}}, "direction": "upstream"}"#).await;
        let (_reader, mut writer) = tokio::io::split(rig.connect().await);
        let sent = std::sync::atomic::AtomicUsize::new(0);
        let sending = async {
            let piece = [b'u'; 65_536];
            for _ in 0..512 {
                writer.write_all(&piece).await.unwrap();
                sent.fetch_add(piece.len(), std::sync::atomic::Ordering::Relaxed);
            }
            writer.shutdown().await.unwrap();
        };
        tokio::pin!(sending);
        // Nobody tells when a window is full: the sender is held up for as long as it is watched.
        let mut before = usize::MAX;
        loop {
            assert!(timeout(MS(200), &mut sending).await.is_err(), "{sides:?}: 32 MB were taken");
            let now = sent.load(std::sync::atomic::Ordering::Relaxed);
            if now == before {
                break;
            }
            before = now;
        }
        assert_eq!(rig.proxy.counters().bytes_upstream, 0, "{sides:?}");
        assert_eq!(rig.heal(&fault).await, Some(1));
        timeout(PATIENCE, sending).await.unwrap();
        let (bytes, end) = timeout(PATIENCE, got.recv()).await.unwrap().unwrap();
        assert_eq!((bytes, end), (512 * 65_536, Ok(512 * 65_536)), "{sides:?}: a byte was lost");
    }
}

#[tokio::test]
async fn drip_lets_one_byte_out_at_a_time() {
    for sides in ALL_SIDES {
        let rig = sender(sides, 4).await;
        rig.fault(r#"{"fault": {"drip": {"bytes": 1, "every": "100ms"}}}"#).await;
        let mut client = rig.connect().await;
        let start = Instant::now();
        for _ in 0..4 {
            let mut piece = [0; 64];
            let read = timeout(PATIENCE, client.read(&mut piece)).await.unwrap().unwrap();
            assert_eq!(read, 1, "{sides:?}");
        }
        assert!(start.elapsed() >= MS(300), "{sides:?}: {:?}", start.elapsed());
    }
}

#[tokio::test]
async fn a_reset_is_an_rst_and_no_close_notify_after_exactly_its_bytes() {
    for sides in ALL_SIDES {
        for bytes in [1, 300_000] {
            let rig = sender(sides, 1_000_000).await;
            let fault = format!(r#"{{"fault": {{"reset": {{"after_bytes": "{bytes}B"}}}}}}"#);
            rig.fault(&fault).await;
            let got = expect_reset(&mut rig.connect().await).await;
            assert_eq!(got.len(), bytes, "{sides:?}");
        }
        let rig = TlsRig::echo(sides).await;
        let mut client = rig.connect().await;
        ping(&mut client).await;
        rig.fault(r#"{"fault": {"reset": {}}}"#).await;
        expect_reset(&mut client).await;
    }
}

#[tokio::test]
async fn truncate_ends_after_exactly_its_bytes_as_it_was_told() {
    for sides in ALL_SIDES {
        let rig = sender(sides, 1_000_000).await;
        rig.fault(r#"{"fault": {"truncate": {"bytes": "100000B", "then": "close"}}}"#).await;
        // With a `close_notify`: only who counts the bytes can see that some are missing.
        assert_eq!(read_all(&mut rig.connect().await).await.len(), 100_000, "{sides:?}");
        let rig = sender(sides, 1_000_000).await;
        rig.fault(r#"{"fault": {"truncate": {"bytes": "100000B", "then": "reset"}}}"#).await;
        assert_eq!(expect_reset(&mut rig.connect().await).await.len(), 100_000, "{sides:?}");
    }
}

#[tokio::test]
async fn slow_close_passes_the_bytes_at_once_and_the_end_late() {
    for sides in ALL_SIDES {
        let rig = TlsRig::serve(sides, |mut wire| async move {
            wire.write_all(b"that is all").await.unwrap();
            wire.shutdown().await.unwrap();
            let _ = wire.read_to_end(&mut Vec::new()).await;
        })
        .await;
        rig.fault(r#"{"fault": {"slow_close": {"delay": "500ms"}}}"#).await;
        let mut client = rig.connect().await;
        timeout(PATIENCE, client.read_exact(&mut [0; 11])).await.unwrap().unwrap();
        let start = Instant::now();
        assert_eq!(read_all(&mut client).await, b"", "{sides:?}: an end in order");
        let took = start.elapsed();
        assert!(took >= MS(350) && took < MS(2500), "{sides:?}: {took:?}");
    }
}

#[tokio::test]
async fn garbage_is_answered_within_tls_and_the_upstream_is_not_asked() {
    let certificates = Certificates::new();
    let spec = json!({
        "name": "p", "upstream": free_address(),
        "listen_tls": certificates.listen_tls(), "upstream_tls": certificates.upstream_tls(),
    });
    let proxy = start(spec, PlaneLimits::default()).await;
    proxy
        .add_fault(crate::common::fault(r#"{"fault": {"garbage": {"style": "html", "then": "close"}}}"#))
        .await
        .unwrap();
    let tcp = crate::common::connect(proxy.listen_addr()).await;
    let mut client = shake_hands(tcp, certificates.client(), "localhost").await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let page = String::from_utf8(read_all(&mut client).await).unwrap();
    assert!(page.starts_with("HTTP/1.1 200") && page.contains("<html"), "{page}");
}

#[tokio::test]
async fn corrupt_changes_the_plaintext_and_leaves_tls_sound() {
    for sides in ALL_SIDES {
        let rig = TlsRig::serve(sides, |mut wire| async move {
            wire.write_all(&[b's'; 100_000]).await.unwrap();
            wire.shutdown().await.unwrap();
            let _ = wire.read_to_end(&mut Vec::new()).await;
        })
        .await;
        rig.fault(r#"{"fault": {"corrupt": {"rate": 0.1, "how": "zero"}}, "seed": 3}"#).await;
        let got = read_all(&mut rig.connect().await).await;
        let wrong = got.iter().filter(|byte| **byte == 0).count();
        assert_eq!(got.len(), 100_000, "{sides:?}");
        assert!((9_000..11_000).contains(&wrong), "{sides:?}: {wrong}");
    }
}

#[tokio::test]
async fn bandwidth_paces_the_plaintext() {
    for sides in ALL_SIDES {
        let rig = TlsRig::serve(sides, |mut wire| async move {
            wire.write_all(&vec![b's'; 500_000]).await.unwrap();
            wire.shutdown().await.unwrap();
            let _ = wire.read_to_end(&mut Vec::new()).await;
        })
        .await;
        rig.fault(r#"{"fault": {"bandwidth": {"rate": "500kB/s"}}}"#).await;
        let mut client = rig.connect().await;
        let start = Instant::now();
        assert_eq!(read_all(&mut client).await.len(), 500_000);
        let took = start.elapsed();
        assert!(took >= MS(900) && took < MS(2500), "{sides:?}: {took:?}");
    }
}

#[tokio::test]
async fn a_listener_that_refuses_does_so_before_tls() {
    let rig = TlsRig::echo(Sides::Both).await;
    let fault = rig.fault(r#"{"fault": {"refuse": {}}}"#).await;
    let refused = tokio::net::TcpStream::connect(rig.proxy.listen_addr()).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    rig.heal(&fault).await;
    ping(&mut rig.connect().await).await;
}

#[tokio::test]
async fn a_fault_that_comes_and_goes_in_a_stream_loses_no_byte() {
    for sides in ALL_SIDES {
        let rig = TlsRig::echo(sides).await;
        let (mut reader, mut writer) = tokio::io::split(rig.connect().await);
        let sent: Vec<u8> = (0..4_000_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let sending = async {
            writer.write_all(&sent).await.unwrap();
            writer.shutdown().await.unwrap();
        };
        let disturbing = async {
            for kind in [r#"{"latency": {"delay": "20ms"}}"#, r#"{"stall": {"every": "10ms", "for": "5ms"}}"#] {
                for _ in 0..3 {
                    let fault = rig.fault(&format!(r#"{{"fault": {kind}, "direction": "both"}}"#)).await;
                    tokio::time::sleep(MS(15)).await;
                    rig.heal(&fault).await;
                }
            }
        };
        let all = async { tokio::join!(sending, read_all(&mut reader), disturbing) };
        let (_, got, ()) = timeout(PATIENCE, all).await.unwrap();
        assert!(got == sent, "{sides:?}");
    }
}
