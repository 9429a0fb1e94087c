//! A `udp` proxy without faults: datagrams pass as they are, in sessions that come and go.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use crate::udp_support::{Client, Echo, MS, PATIENCE, Rig, proxy};
use squall_agent::PlaneLimits;
use std::{
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};
use tokio::{net::UdpSocket, time::timeout};

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 31 % 251) as u8).collect()
}

#[tokio::test]
async fn datagrams_of_every_size_pass_both_ways_whole_and_unchanged() {
    let rig = Rig::echo().await;
    let client = rig.client().await;
    let sizes = [0, 1, 2, 511, 512, 1400, 1472, 1500, 9000, 16_384, 32_768, 65_000, 65_506, 65_507];
    for size in sizes {
        let datagram = pattern(size);
        assert!(client.ask(&datagram).await == datagram, "{size} bytes");
    }
    let (counters, count, bytes) = (rig.proxy.counters(), sizes.len() as u64, sizes.iter().sum::<usize>() as u64);
    assert_eq!((counters.datagrams_upstream, counters.datagrams_downstream), (count, count));
    assert_eq!((counters.bytes_upstream, counters.bytes_downstream), (bytes, bytes));
    assert_eq!((counters.connections, counters.open_connections, counters.datagrams_dropped), (1, 1, 0));
    assert_eq!((counters.connection_errors, counters.connections_hit), (0, 0));
}

#[tokio::test]
async fn boundaries_and_order_are_kept_in_a_burst() {
    let rig = Rig::echo().await;
    let client = rig.client().await;
    let burst: Vec<_> = (0..100_usize).map(pattern).collect();
    for datagram in &burst {
        client.send(datagram).await;
    }
    for datagram in &burst {
        assert_eq!(client.receive().await, *datagram);
    }
}

#[tokio::test]
async fn each_client_has_a_session_of_its_own_and_gets_its_own_answers() {
    let rig = Rig::echo().await;
    let mut clients = Vec::new();
    for _ in 0..200 {
        clients.push(rig.client().await);
    }
    for round in 0..3_u32 {
        for (number, client) in clients.iter().enumerate() {
            client.send(&[number as u8, round as u8, (number >> 8) as u8]).await;
        }
        for (number, client) in clients.iter().enumerate() {
            assert_eq!(client.receive().await, [number as u8, round as u8, (number >> 8) as u8]);
        }
    }
    let counters = rig.proxy.counters();
    assert_eq!((counters.connections, counters.open_connections, counters.datagrams_dropped), (200, 200, 0));
}

#[tokio::test]
async fn answers_may_outnumber_questions_and_come_unasked() {
    let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let proxy = proxy("127.0.0.1:0", &server.local_addr().unwrap().to_string(), PlaneLimits::default()).await;
    let client = Client::of(proxy.listen_addr()).await;
    client.send(b"subscribe").await;
    let mut buffer = [0; 64];
    let (length, session) = timeout(PATIENCE, server.recv_from(&mut buffer)).await.unwrap().unwrap();
    assert_eq!(&buffer[..length], b"subscribe");
    for number in 0..10_u8 {
        server.send_to(&[number], session).await.unwrap();
    }
    for number in 0..10_u8 {
        assert_eq!(client.receive().await, [number]);
    }
}

#[tokio::test]
async fn ipv6_passes_and_so_does_ipv6_in_front_of_ipv4() {
    let rig = Rig::with("[::1]:0", PlaneLimits::default()).await;
    let client = rig.client().await;
    client.ping(&pattern(65_507)).await;
    let echo = Echo::on("127.0.0.1:0").await;
    let mixed = proxy("[::1]:0", &echo.addr.to_string(), PlaneLimits::default()).await;
    Client::of(mixed.listen_addr()).await.ping(b"six to four").await;
}

#[tokio::test]
async fn an_upstream_is_resolved_for_each_session() {
    let echo = Echo::on("127.0.0.1:0").await;
    let named = proxy("127.0.0.1:0", &format!("localhost:{}", echo.addr.port()), PlaneLimits::default()).await;
    Client::of(named.listen_addr()).await.ping(b"by name").await;
    let limits = PlaneLimits { dial_timeout: MS(2000), ..PlaneLimits::default() };
    let nowhere = proxy("127.0.0.1:0", "no-such-host.invalid:53", limits).await;
    let client = Client::of(nowhere.listen_addr()).await;
    client.send(b"hello?").await;
    let counters = || nowhere.counters();
    let ended = || counters().connection_errors == 1 && counters().open_connections == 0;
    crate::udp_support::until(ended, || format!("{:?}", counters())).await;
    assert_eq!(counters().datagrams_dropped, 1);
}

#[tokio::test]
async fn a_name_that_means_a_forbidden_address_is_not_sent_to() {
    let rules = serde_json::json!({"upstreams": {"never": ["127.0.0.0/8", "::1"]}});
    let upstreams = serde_json::from_value::<squall_agent::policy::Policy>(rules).unwrap().upstreams;
    let echo = Echo::on("127.0.0.1:0").await;
    let upstream = format!("localhost:{}", echo.addr.port());
    let proxy = proxy("127.0.0.1:0", &upstream, PlaneLimits { upstreams, ..PlaneLimits::default() }).await;
    Client::of(proxy.listen_addr()).await.send(b"hello?").await;
    let counters = || proxy.counters();
    let ended = || counters().connection_errors == 1 && counters().open_connections == 0;
    crate::udp_support::until(ended, || format!("{:?}", counters())).await;
    assert_eq!((counters().datagrams_upstream, echo.got.load(Relaxed)), (0, 0));
}

#[tokio::test]
async fn an_idle_session_ends_and_the_next_datagram_begins_another() {
    let limits = PlaneLimits { udp_idle: MS(150), ..PlaneLimits::default() };
    let rig = Rig::with("127.0.0.1:0", limits).await;
    let client = rig.client().await;
    let start = Instant::now();
    client.ping(b"one").await;
    rig.until(|counters| counters.open_connections == 0).await;
    assert!(start.elapsed() >= MS(150));
    client.ping(b"two").await;
    assert_eq!(rig.proxy.counters().connections, 2);
}

#[tokio::test]
async fn a_session_does_not_end_while_something_of_it_is_held_back() {
    let limits = PlaneLimits { udp_idle: MS(50), ..PlaneLimits::default() };
    let rig = Rig::with("127.0.0.1:0", limits).await;
    rig.fault(r#"{"fault": {"latency": {"delay": "400ms"}}, "direction": "both"}"#).await;
    let client = rig.client().await;
    assert!(client.ping(b"late").await >= MS(800));
    rig.until(|counters| counters.open_connections == 0).await;
    assert_eq!(rig.proxy.counters().connections, 1);
}

#[tokio::test]
async fn a_refusing_upstream_is_counted_and_the_session_goes_on_when_it_is_back() {
    let addr = Echo::on("127.0.0.1:0").await.addr;
    let proxy = proxy("127.0.0.1:0", &addr.to_string(), PlaneLimits::default()).await;
    // The task of the server that was there ends when it is dropped, and its address is free again.
    let vacant = tokio::time::timeout(PATIENCE, async {
        while std::net::UdpSocket::bind(addr).is_err() {
            tokio::time::sleep(MS(1)).await;
        }
    });
    vacant.await.unwrap();
    let client = Client::of(proxy.listen_addr()).await;
    for errors in 1..4 {
        client.send(b"anybody?").await;
        crate::udp_support::until(
            || proxy.counters().connection_errors >= errors,
            || format!("{:?}", proxy.counters()),
        )
        .await;
    }
    let _back = Echo::on(&addr.to_string()).await;
    assert_eq!(client.ask(b"hello").await, b"hello");
    assert_eq!((proxy.counters().connections, proxy.counters().open_connections), (1, 1));
}

#[tokio::test]
async fn datagrams_of_new_clients_are_dropped_when_max_connections_are_open() {
    let limits = PlaneLimits { max_connections: 2, udp_idle: MS(300), ..PlaneLimits::default() };
    let rig = Rig::with("127.0.0.1:0", limits).await;
    let (first, second, third) = (rig.client().await, rig.client().await, rig.client().await);
    first.ping(b"a").await;
    second.ping(b"b").await;
    third.send(b"c").await;
    rig.until(|counters| counters.datagrams_dropped == 1).await;
    assert_eq!((rig.proxy.counters().connections, third.arrived().len()), (2, 0));
    rig.until(|counters| counters.open_connections == 0).await;
    third.ping(b"c").await;
}

#[tokio::test]
async fn a_proxy_that_is_disabled_passes_nothing_and_nothing_later() {
    let rig = Rig::echo().await;
    let client = rig.client().await;
    client.ping(b"on").await;
    rig.proxy.set_enabled(false).await.unwrap();
    assert_eq!(rig.proxy.counters().open_connections, 0);
    for number in 0..5_u8 {
        client.send(&[number]).await;
    }
    rig.until(|counters| counters.datagrams_dropped == 5).await;
    rig.proxy.set_enabled(true).await.unwrap();
    client.ping(b"on again").await;
    assert_eq!((rig.echo.got.load(Relaxed), rig.proxy.counters().connections), (2, 2));
}

#[tokio::test]
async fn a_new_upstream_is_for_new_sessions() {
    let rig = Rig::echo().await;
    let old = rig.client().await;
    assert_eq!(old.ask(b"x").await, b"x");
    let other = Echo::saying("127.0.0.1:0", b"other ").await;
    rig.proxy.set_upstream(other.addr.to_string());
    assert_eq!(old.ask(b"x").await, b"x");
    assert_eq!(rig.client().await.ask(b"x").await, b"other x");
    rig.proxy.drop_connections().await;
    assert_eq!(old.ask(b"x").await, b"other x");
}

#[tokio::test]
async fn a_rebound_proxy_serves_its_new_address_and_lets_go_of_the_old_one() {
    let rig = Rig::echo().await;
    let (old, client) = (rig.proxy.listen_addr(), rig.client().await);
    client.ping(b"before").await;
    let new = rig.proxy.rebind("127.0.0.1:0").await.unwrap();
    assert_ne!(old, new);
    Client::of(new).await.ping(b"after").await;
    let taken = UdpSocket::bind(old).await.expect("the old address is free");
    let error = rig.proxy.rebind(&old.to_string()).await.unwrap_err().to_string();
    assert!(error.contains("failed to bind") && rig.proxy.listen_addr() == new, "{error}");
    drop(taken);
    assert_eq!(rig.proxy.rebind(&old.to_string()).await.unwrap(), old);
    client.ping(b"back").await;
}

#[tokio::test]
async fn a_stopped_proxy_lets_go_of_its_address_at_once() {
    let rig = Rig::echo().await;
    let (addr, client) = (rig.proxy.listen_addr(), rig.client().await);
    rig.fault(r#"{"fault": {"latency": {"delay": "1h"}}}"#).await;
    client.send(b"held").await;
    rig.until(|counters| counters.datagrams_upstream == 1).await;
    rig.proxy.stop().await;
    assert_eq!(rig.proxy.counters().open_connections, 0);
    UdpSocket::bind(addr).await.expect("the address is free");
}

#[tokio::test]
async fn draining_heals_lets_answers_out_and_ends_what_is_quiet() {
    let rig = Rig::echo().await;
    let (held, late) = (rig.client().await, rig.client().await);
    rig.fault(r#"{"fault": {"latency": {"delay": "1h"}}}"#).await;
    held.send(b"held").await;
    rig.until(|counters| counters.datagrams_upstream == 1).await;
    let start = Instant::now();
    let draining = rig.proxy.drain(PATIENCE);
    let (cut, answer, ()) = tokio::join!(draining, held.receive(), async {
        late.send(b"too late").await;
    });
    assert_eq!((cut, answer.as_slice()), (0, &b"held"[..]));
    assert!(start.elapsed() < Duration::from_secs(10), "it waited for the idle time-out: {:?}", start.elapsed());
    assert_eq!((rig.proxy.counters().connections, late.arrived().len()), (1, 0));
    UdpSocket::bind(rig.proxy.listen_addr()).await.expect("the address is free");
}

#[tokio::test]
async fn healing_after_no_more_are_taken_lets_nobody_in() {
    let rig = Rig::echo().await;
    let inside = rig.client().await;
    inside.ping(b"in").await;
    let fault = rig.fault(r#"{"fault": {"blackhole": {}}}"#).await;
    rig.proxy.take_no_more().await.unwrap();
    rig.heal(&fault).await;
    let outside = rig.client().await;
    outside.send(b"out").await;
    rig.until(|counters| counters.datagrams_dropped == 1).await;
    inside.ping(b"still in").await;
    assert_eq!(rig.proxy.counters().connections, 1);
}
