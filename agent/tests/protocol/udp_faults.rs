//! Faults on datagrams, each measured by its effect on a client.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use crate::udp_support::{Client, MS, PATIENCE, Rig, proxy, until};
use squall_agent::PlaneLimits;
use squall_wire::{Percent, fault::unit_draw};
use std::{
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};
use tokio::{net::UdpSocket, time::timeout};

/// Sends the numbers, and then answers which came back, once all that were not lost have.
async fn exchange(rig: &Rig, client: &Client, numbers: std::ops::Range<u8>) -> Vec<u8> {
    let before = rig.proxy.counters();
    let sent = before.datagrams_upstream + numbers.len() as u64;
    for number in numbers {
        client.send(&[number]).await;
    }
    rig.until(|counters| counters.datagrams_upstream == sent).await;
    let got = &rig.echo.got;
    until(|| got.load(Relaxed) == sent, || format!("{} of {sent}", got.load(Relaxed))).await;
    let units = |rig: &Rig| rig.proxy.faults().iter().map(|fault| fault.units()).min();
    until(|| units(rig).is_none_or(|units| units >= sent), || format!("{:?} of {sent}", units(rig))).await;
    let (start, mut came) = (Instant::now(), Vec::new());
    let due = || (rig.proxy.counters().datagrams_downstream - before.datagrams_downstream) as usize;
    while came.len() < due() {
        assert!(start.elapsed() < PATIENCE, "{} of {}", came.len(), due());
        came.extend(client.arrived().into_iter().map(|datagram| datagram[0]));
        tokio::time::sleep(MS(1)).await;
    }
    came
}

#[tokio::test]
async fn datagrams_take_the_latency_each_and_keep_their_order() {
    let rig = Rig::echo().await;
    let client = rig.client().await;
    let fault = rig.fault(r#"{"fault": {"latency": {"delay": "100ms"}}}"#).await;
    let start = Instant::now();
    for number in 0..50_u8 {
        client.send(&[number]).await;
    }
    for number in 0..50_u8 {
        assert_eq!(client.receive().await, [number]);
    }
    // Not one after the other: that would take five seconds.
    assert!(start.elapsed() >= MS(100) && start.elapsed() < MS(1500), "{:?}", start.elapsed());
    assert_eq!((fault.hits(), fault.units(), rig.proxy.counters().connections_hit), (Some(50), 50, 1));
}

#[tokio::test]
async fn a_delay_counts_from_when_the_datagram_came_in_either_way() {
    let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let upstream = server.local_addr().unwrap().to_string();
    let proxy = proxy("127.0.0.1:0", &upstream, PlaneLimits::default()).await;
    let both = r#"{"fault": {"latency": {"delay": "200ms"}}, "direction": "both"}"#;
    proxy.add_fault(crate::common::fault(both)).await.unwrap();
    let client = Client::of(proxy.listen_addr()).await;
    let mut least = [PATIENCE; 2];
    // On a busy machine any one of them may be late, but not all. Counted from the read, each would take 350 ms.
    for _ in 0..6 {
        let mut buffer = [0; 16];
        let start = Instant::now();
        client.send(b"there").await;
        crate::hurt::nobody_reads_for(MS(150));
        let (length, session) = timeout(PATIENCE, server.recv_from(&mut buffer)).await.unwrap().unwrap();
        let there = start.elapsed();
        let start = Instant::now();
        server.send_to(&buffer[..length], session).await.unwrap();
        crate::hurt::nobody_reads_for(MS(150));
        assert_eq!(client.receive().await, b"there");
        for (least, took) in least.iter_mut().zip([there, start.elapsed()]) {
            assert!(took >= MS(200), "one was early: {took:?}");
            *least = took.min(*least);
        }
    }
    assert!(least.iter().all(|took| *took < MS(340)), "{least:?}");
}

#[tokio::test]
async fn latency_both_ways_counts_twice_for_an_echo() {
    let rig = Rig::echo().await;
    let fault = rig.fault(r#"{"fault": {"latency": {"delay": "60ms"}}, "direction": "both"}"#).await;
    assert!(rig.client().await.ping(b"x").await >= MS(120));
    assert_eq!((fault.hits(), fault.units()), (Some(2), 2));
}

#[tokio::test]
async fn a_latency_set_changed_and_removed_takes_hold_of_a_live_session_at_once() {
    let rig = Rig::echo().await;
    let client = rig.client().await;
    client.ping(b"before").await;
    let fault = rig.fault(r#"{"fault": {"latency": {"delay": "1h"}}}"#).await;
    for number in 0..10_u8 {
        client.send(&[number]).await;
    }
    until(|| fault.hits() == Some(10), || format!("{:?}", fault.hits())).await;
    assert_eq!(client.arrived().len(), 0);
    rig.change(&fault, r#"{"latency": {"delay": "50ms"}}"#).await;
    for number in 0..10_u8 {
        assert_eq!(client.receive().await, [number]);
    }
    rig.change(&fault, r#"{"latency": {"delay": "1h", "jitter": "30m"}}"#).await;
    for number in 0..10_u8 {
        client.send(&[number]).await;
    }
    until(|| fault.hits() == Some(20), || format!("{:?}", fault.hits())).await;
    assert_eq!(rig.heal(&fault).await, Some(20));
    for number in 0..10_u8 {
        assert_eq!(client.receive().await, [number]);
    }
    assert!(client.ping(b"after").await < MS(1000));
}

#[tokio::test]
async fn what_bandwidth_and_reorder_hold_back_is_released_when_they_go() {
    for kind in [r#"{"bandwidth": {"rate": "0B/s"}}"#, r#"{"reorder": {"depth": 1000}}"#] {
        let rig = Rig::echo().await;
        let client = rig.client().await;
        let fault = rig.fault(&format!(r#"{{"fault": {kind}}}"#)).await;
        client.send(b"held").await;
        until(|| fault.hits() == Some(1), || format!("{kind}: {:?}", fault.hits())).await;
        assert_eq!(client.arrived().len(), 0, "{kind}");
        let start = Instant::now();
        rig.heal(&fault).await;
        assert_eq!(client.receive().await, b"held");
        assert!(start.elapsed() < MS(900), "{kind}: not before the limit of a reordering, {:?}", start.elapsed());
    }
}

#[tokio::test]
async fn bandwidth_paces_datagrams_to_its_rate() {
    let rig = Rig::echo().await;
    let client = rig.client().await;
    let fault = rig.fault(r#"{"fault": {"bandwidth": {"rate": "100KB/s"}}}"#).await;
    let start = Instant::now();
    for _ in 0..60 {
        client.send(&[7; 1000]).await;
    }
    for _ in 0..60 {
        assert_eq!(client.receive().await, [7; 1000]);
    }
    let took = start.elapsed();
    assert!(took >= MS(570) && took < MS(1500), "60 KB at 100 KB/s took {took:?}");
    assert_eq!(fault.hits(), Some(60));
}

#[tokio::test]
async fn a_queue_that_is_full_drops_what_comes_and_counts_it() {
    let rig = Rig::echo().await;
    let client = rig.client().await;
    rig.fault(r#"{"fault": {"bandwidth": {"rate": "0B/s"}}, "direction": "upstream"}"#).await;
    for sent in 1..=20 {
        client.send(&[0; 60_000]).await;
        // The kernel's own queue is not the one that is meant.
        until(|| rig.proxy.received()[0] == sent * 60_000, || format!("{:?}", rig.proxy.received())).await;
    }
    rig.until(|counters| counters.datagrams_dropped == 16).await;
    assert_eq!((rig.proxy.counters().datagrams_upstream, rig.echo.got.load(Relaxed)), (0, 0));
}

#[tokio::test]
async fn a_blackhole_in_one_direction_leaves_the_other_alone() {
    let rig = Rig::echo().await;
    let client = rig.client().await;
    let down = rig.fault(r#"{"fault": {"blackhole": {}}}"#).await;
    assert_eq!(exchange(&rig, &client, 0..5).await, [0; 0]);
    assert_eq!((rig.echo.got.load(Relaxed), rig.heal(&down).await), (5, Some(5)));
    let up = rig.fault(r#"{"fault": {"blackhole": {}}, "direction": "upstream"}"#).await;
    client.send(b"x").await;
    until(|| up.hits() == Some(1), || format!("{:?}", up.hits())).await;
    rig.heal(&up).await;
    client.ping(b"through").await;
    assert_eq!(rig.echo.got.load(Relaxed), 6);
}

#[tokio::test]
async fn loss_is_the_same_for_the_same_seed_and_a_ramp_loses_the_same_and_more() {
    let mut all = Vec::new();
    for (percent, seed) in [(20, 9), (20, 9), (60, 9), (20, 10)] {
        let rig = Rig::echo().await;
        let client = rig.client().await;
        let json = format!(r#"{{"fault": {{"loss": {{}}}}, "percent": {percent}, "seed": {seed}}}"#);
        let fault = rig.fault(&json).await;
        let came = exchange(&rig, &client, 0..120).await;
        let lost: Vec<u8> = (0..120).filter(|number| !came.contains(number)).collect();
        assert_eq!((fault.hits(), fault.units()), (Some(lost.len() as u64), 120));
        let expected: Vec<u8> = (0..120).filter(|n| unit_draw(seed, u64::from(*n)) < f64::from(percent)).collect();
        assert_eq!(lost, expected);
        all.push(lost);
    }
    assert_eq!(all[0], all[1]);
    assert_ne!(all[0], all[3]);
    assert!(all[0].iter().all(|number| all[2].contains(number)) && all[2].len() > all[0].len());
}

#[tokio::test]
async fn a_percent_that_is_raised_takes_hold_of_a_live_session() {
    let rig = Rig::echo().await;
    let client = rig.client().await;
    let fault = rig.fault(r#"{"fault": {"loss": {}}, "percent": 0}"#).await;
    assert_eq!(exchange(&rig, &client, 0..20).await.len(), 20);
    rig.proxy.change_fault(fault.name(), None, Some(Percent::ALL)).await.unwrap();
    assert_eq!(exchange(&rig, &client, 0..20).await.len(), 0);
    assert_eq!(fault.hits(), Some(20));
}

#[tokio::test]
async fn skip_and_count_lose_exactly_the_datagrams_meant() {
    let rig = Rig::echo().await;
    let client = rig.client().await;
    let fault = rig.fault(r#"{"fault": {"loss": {}}, "skip": 2, "count": 3}"#).await;
    assert_eq!(exchange(&rig, &client, 0..8).await, [0, 1, 5, 6, 7]);
    assert_eq!((fault.hits(), fault.units()), (Some(3), 8));
}

#[tokio::test]
async fn a_client_is_meant_by_its_address_and_others_are_not_counted() {
    let rig = Rig::echo().await;
    let fault = rig.fault(r#"{"fault": {"loss": {}}, "where": {"client": ["127.0.0.2"]}}"#).await;
    let spared = rig.client().await;
    let meant = Client::from("127.0.0.2:0", rig.proxy.listen_addr()).await;
    spared.ping(b"spared").await;
    meant.send(b"meant").await;
    until(|| fault.hits() == Some(1), || format!("{:?}", fault.hits())).await;
    assert_eq!((fault.units(), meant.arrived().len()), (1, 0));
    spared.ping(b"spared").await;
}

#[tokio::test]
async fn duplicates_come_as_often_as_asked() {
    let rig = Rig::echo().await;
    let client = rig.client().await;
    let fault = rig.fault(r#"{"fault": {"duplicate": {"copies": 2}}, "count": 1}"#).await;
    client.send(b"a").await;
    for _ in 0..3 {
        assert_eq!(client.receive().await, b"a");
    }
    client.ping(b"b").await;
    assert_eq!((fault.hits(), client.arrived().len(), rig.echo.got.load(Relaxed)), (Some(1), 0, 2));
}

#[tokio::test]
async fn a_reordered_datagram_comes_after_the_next_ones() {
    let rig = Rig::echo().await;
    let client = rig.client().await;
    let fault = rig.fault(r#"{"fault": {"reorder": {"depth": 3}}}"#).await;
    for number in 0..8_u8 {
        client.send(&[number]).await;
    }
    for number in [1, 2, 3, 0, 5, 6, 7, 4] {
        assert_eq!(client.receive().await, [number]);
    }
    assert_eq!(fault.hits(), Some(2));
    let alone = client.ping(b"alone").await;
    assert!(alone >= MS(1000), "it left after {alone:?}, with none to overtake it");
}

#[tokio::test]
async fn a_reordering_in_one_session_is_none_of_anothers_business() {
    let rig = Rig::echo().await;
    let (first, second) = (rig.client().await, rig.client().await);
    let fault = rig.fault(r#"{"fault": {"reorder": {"depth": 1}}, "count": 1}"#).await;
    first.send(b"held").await;
    until(|| fault.hits() == Some(1), || format!("{:?}", fault.hits())).await;
    second.ping(b"passes").await;
    assert_eq!(first.arrived().len(), 0);
    first.send(b"overtakes").await;
    assert_eq!((first.receive().await, first.receive().await), (b"overtakes".to_vec(), b"held".to_vec()));
}

#[tokio::test]
async fn corrupt_changes_bytes_and_neither_lengths_nor_boundaries() {
    let rig = Rig::echo().await;
    let client = rig.client().await;
    let fault = rig.fault(r#"{"fault": {"corrupt": {"rate": 1, "how": "flip"}}}"#).await;
    for length in [1_usize, 100, 65_507] {
        let answer = client.ask(&vec![0; length]).await;
        assert!(answer.len() == length && answer.iter().all(|byte| byte.count_ones() == 1), "{length}");
    }
    client.ping(b"").await;
    assert_eq!((fault.hits(), fault.units()), (Some(3), 4));
}

#[tokio::test]
async fn several_faults_compose_in_the_order_in_which_they_were_set() {
    let rig = Rig::echo().await;
    let client = rig.client().await;
    rig.fault(r#"{"fault": {"duplicate": {"copies": 1}}}"#).await;
    rig.fault(r#"{"fault": {"loss": {}}, "count": 1}"#).await;
    rig.fault(r#"{"fault": {"latency": {"delay": "80ms"}}}"#).await;
    let start = Instant::now();
    assert_eq!(client.ask(b"a").await, b"a");
    assert!(start.elapsed() >= MS(80));
    client.send(b"b").await;
    for _ in 0..2 {
        assert_eq!(client.receive().await, b"b");
    }
    let hits: Vec<_> = rig.proxy.faults().iter().map(|fault| (fault.hits(), fault.units())).collect();
    assert_eq!(hits, [(Some(2), 2), (Some(1), 4), (Some(3), 3)]);
}

#[tokio::test]
async fn no_call_on_a_proxy_waits_for_a_flood_to_end() {
    let rig = Rig::echo().await;
    let client = rig.client().await;
    rig.fault(r#"{"fault": {"duplicate": {"copies": 100}}, "direction": "upstream"}"#).await;
    rig.fault(r#"{"fault": {"duplicate": {"copies": 100}}, "direction": "upstream"}"#).await;
    let fault = rig.fault(r#"{"fault": {"duplicate": {"copies": 100}}, "direction": "upstream"}"#).await;
    client.send(b"one that becomes a million").await;
    until(|| fault.hits() >= Some(1), || "no flood".to_owned()).await;
    let start = Instant::now();
    let names: Vec<_> = rig.proxy.faults().iter().map(|fault| fault.name().clone()).collect();
    rig.proxy.remove_faults(&names).await.unwrap();
    rig.client().await.ping(b"through").await;
    rig.proxy.stop().await;
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    let sent = rig.proxy.counters().datagrams_upstream;
    assert!(sent < 101_u64.pow(3), "the flood had ended by itself");
}
