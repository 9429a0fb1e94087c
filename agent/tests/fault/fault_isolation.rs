//! Whoever stalls delays nobody else: not a call on the proxy, not another connection, not the end.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use crate::common::{Rig, connect};
use squall_agent::{DataPlane, PlaneLimits, Proxy};
use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// What a call may take that waits for nobody, on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(1);

/// An address that never answers SYN: its queue is full and stays so while the guard lives.
async fn syn_hole() -> (SocketAddr, Vec<Box<dyn Send>>) {
    let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    listener.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    listener.listen(0).unwrap();
    let addr = listener.local_addr().unwrap().as_socket().unwrap();
    let mut guard: Vec<Box<dyn Send>> = vec![Box::new(listener)];
    loop {
        match tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(addr)).await {
            Ok(client) => guard.push(Box::new(client.unwrap())),
            Err(_) => return (addr, guard),
        }
    }
}

async fn all_calls_work_at_once(proxy: &Proxy) {
    let start = Instant::now();
    for json in [
        r#"{"fault": {"latency": {"delay": "10ms"}}}"#,
        r#"{"fault": {"unread": {}}, "direction": "both"}"#,
        r#"{"fault": {"refuse": {}}}"#,
        r#"{"fault": {"slow_accept": {"delay": "1s"}}}"#,
        r#"{"fault": {"garbage": {"style": "endless"}}}"#,
        r#"{"fault": {"connection_limit": {"max": 1, "then": "queue"}}}"#,
        r#"{"fault": {"flap": {"up": "1h", "down": "10ms"}}}"#,
        r#"{"fault": {"corrupt": {"rate": 0.5}}}"#,
        r#"{"fault": {"bandwidth": {"rate": "1KB/s"}}}"#,
    ] {
        let fault = crate::common::fault(json);
        proxy.add_fault(std::sync::Arc::clone(&fault)).await.unwrap();
        proxy.change_fault(fault.name(), Some(fault.kind()), None).await.unwrap();
        proxy.remove_faults(std::slice::from_ref(fault.name())).await.unwrap();
    }
    let addr = proxy.rebind("127.0.0.1:0").await.unwrap();
    assert_eq!(proxy.listen_addr(), addr);
    assert!(start.elapsed() < AT_ONCE, "the calls took {:?}", start.elapsed());
}

#[tokio::test]
async fn a_client_that_reads_nothing_delays_no_call_no_connection_and_no_stop() {
    let rig = Rig::serve(|mut server: TcpStream| async move {
        let mut first = [0];
        server.read_exact(&mut first).await.unwrap();
        if first == *b"e" {
            server.write_all(b"e").await.unwrap();
        }
        // Never read by the stalled client, so this never ends.
        while server.write_all(&[0; 65536]).await.is_ok() {}
    })
    .await;
    let mut stalled = rig.connect().await;
    stalled.write_all(b"s").await.unwrap();
    let full = || rig.proxy.counters().bytes_downstream;
    let mut before = full();
    loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = full();
        if now > 0 && now == before {
            break;
        }
        before = now;
    }
    all_calls_work_at_once(&rig.proxy).await;
    let mut other = rig.connect().await;
    let start = Instant::now();
    other.write_all(b"e").await.unwrap();
    assert_eq!(other.read_u8().await.unwrap(), b'e');
    rig.proxy.stop().await;
    assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());
    assert_eq!(rig.proxy.counters().open_connections, 0);
}

#[tokio::test]
async fn an_upstream_that_never_answers_delays_no_call_no_connection_and_no_stop() {
    let (addr, _guard) = syn_hole().await;
    let rig = Rig::towards(&addr.to_string()).await;
    let _dialling = [rig.connect().await, rig.connect().await];
    rig.until(|counters| counters.open_connections == 2).await;
    all_calls_work_at_once(&rig.proxy).await;
    let echo = Rig::echo().await;
    rig.proxy.set_upstream(echo.server.to_string());
    let mut other = rig.connect().await;
    other.write_all(b"x").await.unwrap();
    assert_eq!(other.read_u8().await.unwrap(), b'x');
    let start = Instant::now();
    rig.proxy.stop().await;
    assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());
}

#[tokio::test]
async fn an_upstream_that_never_answers_resets_the_client_after_the_dial_time() {
    let (addr, _guard) = syn_hole().await;
    let limits = PlaneLimits { dial_timeout: Duration::from_millis(200), ..PlaneLimits::default() };
    let spec = format!(r#"{{"name": "p", "upstream": "{addr}"}}"#);
    let proxy = Proxy::start(&serde_json::from_str(&spec).unwrap(), &DataPlane::new(limits)).await.unwrap();
    let start = Instant::now();
    crate::common::expect_reset(&mut connect(proxy.listen_addr()).await).await;
    assert!(start.elapsed() >= Duration::from_millis(150) && start.elapsed() < Duration::from_secs(3));
    assert_eq!(proxy.counters().connection_errors, 1);
}

#[tokio::test]
async fn a_stream_at_full_speed_keeps_no_call_no_connection_and_no_stop_waiting() {
    // Server and client have threads of their own, so the proxy's one thread never runs out of ready sockets.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let rig = Rig::towards(&listener.local_addr().unwrap().to_string()).await;
    let proxied = rig.proxy.listen_addr();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        while std::io::Write::write_all(&mut stream, &[7; 65536]).is_ok() {}
    });
    let client = std::thread::spawn(move || {
        let mut stream = std::net::TcpStream::connect(proxied).unwrap();
        let mut buffer = vec![0; 1 << 20];
        while std::io::Read::read(&mut stream, &mut buffer).is_ok_and(|bytes| bytes > 0) {}
    });
    rig.until(|counters| counters.bytes_downstream > 50_000_000).await;
    all_calls_work_at_once(&rig.proxy).await;
    let start = Instant::now();
    rig.proxy.stop().await;
    assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());
    server.join().unwrap();
    client.join().unwrap();
}

#[tokio::test]
async fn over_max_connections_new_ones_wait_until_one_ends() {
    let limits = PlaneLimits { max_connections: 2, ..PlaneLimits::default() };
    let rig = Rig::serve_on("127.0.0.1:0", limits, |mut server: TcpStream| async move {
        let (mut reader, mut writer) = server.split();
        let _ = tokio::io::copy(&mut reader, &mut writer).await;
    })
    .await;
    let (first, _second) = (rig.connect().await, rig.connect().await);
    rig.until(|counters| counters.open_connections == 2).await;
    let mut third = rig.connect().await;
    third.write_all(b"x").await.unwrap();
    crate::common::expect_silence(&mut third, Duration::from_millis(50)).await;
    assert_eq!(rig.proxy.counters().open_connections, 2);
    drop(first);
    assert_eq!(third.read_u8().await.unwrap(), b'x');
}

#[tokio::test]
async fn a_stopped_proxy_frees_its_address_and_refuses_further_orders() {
    let rig = Rig::echo().await;
    let addr = rig.proxy.listen_addr();
    let _open = rig.connect().await;
    rig.proxy.stop().await;
    drop(std::net::TcpListener::bind(addr).unwrap());
    let error = rig.proxy.add_fault(crate::common::fault(r#"{"fault": {"refuse": {}}}"#)).await.unwrap_err();
    assert!(error.to_string().contains("stopped"), "{error}");
    assert!(rig.proxy.set_enabled(true).await.is_err());
}
