//! HTTP faults on encrypted traffic: TLS that ends and starts at an `http` proxy.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use crate::common::PATIENCE;
use crate::http_support::{Reader, get, ok};
use crate::tls_support::{ALL_SIDES, Sides, TlsRig, Wire, start};
use serde_json::json;
use squall_agent::PlaneLimits;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

/// An `http` proxy before a server that answers each request with its first line.
async fn site(sides: Sides) -> TlsRig {
    let mut rig = TlsRig::serve(sides, |wire: Wire| async move {
        let (reader, mut writer) = tokio::io::split(wire);
        let mut reader = Reader::new(reader);
        while let Some(request) = reader.message(false).await {
            let _ = writer.write_all(ok(request.line()).as_bytes()).await;
        }
        let _ = writer.shutdown().await;
    })
    .await;
    let mut spec = json!({"name": "p", "upstream": rig.server, "protocol": "http"});
    if sides.client() {
        spec["listen_tls"] = rig.certificates.listen_tls();
    }
    if sides.upstream() {
        spec["upstream_tls"] = rig.certificates.upstream_tls();
    }
    rig.hurt.proxy = start(spec, PlaneLimits::default()).await;
    rig
}

#[tokio::test]
async fn requests_within_tls_pass_and_are_hit_one_by_one() {
    for sides in ALL_SIDES {
        let rig = site(sides).await;
        let fault = rig.fault(r#"{"fault": {"http_status": {"status": 503}}, "where": {"path": "/hit"}}"#).await;
        let late = rig.fault(r#"{"fault": {"http_latency": {"delay": "20ms"}}, "where": {"path": "/late"}}"#).await;
        let (reader, mut writer) = tokio::io::split(rig.connect().await);
        let mut reader = Reader::new(reader);
        let paths = ["/a", "/hit", "/late", "/b", "/hit"];
        writer.write_all(paths.map(get).concat().as_bytes()).await.unwrap();
        writer.flush().await.unwrap();
        for path in paths {
            let response = reader.message(false).await.unwrap();
            let expected = if path == "/hit" { 503 } else { 200 };
            assert_eq!(response.status(), expected, "{sides:?} {path}");
        }
        assert_eq!((fault.hits(), late.hits()), (Some(2), Some(1)));
        writer.shutdown().await.unwrap();
        assert!(reader.message(false).await.is_none(), "{sides:?}");
        rig.until(|counters| counters.open_connections == 0).await;
        assert_eq!((rig.proxy.counters().requests, rig.proxy.counters().connection_errors), (5, 0), "{sides:?}");
    }
}

#[tokio::test]
async fn a_large_body_and_a_tunnel_pass_through_tls() {
    for sides in ALL_SIDES {
        let mut rig = TlsRig::serve(sides, |wire: Wire| async move {
            let (reader, mut writer) = tokio::io::split(wire);
            let mut reader = Reader::new(reader);
            reader.message(false).await.unwrap();
            writer.write_all(ok(&"x".repeat(3_000_000)).as_bytes()).await.unwrap();
            reader.message(true).await.unwrap();
            writer.write_all(b"HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n").await.unwrap();
            writer.flush().await.unwrap();
            let _ = tokio::io::copy(&mut reader.stream, &mut writer).await;
            let _ = writer.shutdown().await;
        })
        .await;
        let mut spec = json!({"name": "p", "upstream": rig.server, "protocol": "http"});
        if sides.client() {
            spec["listen_tls"] = rig.certificates.listen_tls();
        }
        if sides.upstream() {
            spec["upstream_tls"] = rig.certificates.upstream_tls();
        }
        rig.hurt.proxy = start(spec, PlaneLimits::default()).await;
        let (reader, mut writer) = tokio::io::split(rig.connect().await);
        let mut reader = Reader::new(reader);
        writer.write_all(get("/large").as_bytes()).await.unwrap();
        assert_eq!(reader.message(false).await.unwrap().body.len(), 3_000_000, "{sides:?}");
        writer.write_all(b"GET / HTTP/1.1\r\nHost: s\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n").await.unwrap();
        assert_eq!(reader.message(true).await.unwrap().status(), 101);
        writer.write_all(b"\x01\x02\x03").await.unwrap();
        writer.flush().await.unwrap();
        let mut echoed = [0; 3];
        timeout(PATIENCE, reader.stream.read_exact(&mut echoed)).await.unwrap().unwrap();
        assert_eq!(echoed, [1, 2, 3], "{sides:?}");
    }
}
