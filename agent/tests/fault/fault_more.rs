//! Limits, flapping and corruption, seen by clients.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use crate::common::{PATIENCE, Rig, expect_reset, expect_silence, read_all, until};
use std::{
    io::ErrorKind,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// Sends so many bytes to an echo, and answers as many of what comes back.
async fn echoed(client: &mut TcpStream, bytes: usize) -> Vec<u8> {
    let mut got = vec![0; bytes];
    let (mut reader, mut writer) = client.split();
    let sent = vec![0xAA; bytes];
    let both = async { tokio::try_join!(writer.write_all(&sent), reader.read_exact(&mut got)) };
    timeout(PATIENCE, both).await.expect("as many bytes back").unwrap();
    got
}

fn spoilt(got: &[u8]) -> usize {
    got.iter().filter(|byte| **byte != 0xAA).count()
}

#[tokio::test]
async fn corrupt_changes_its_share_of_bytes_and_not_their_number() {
    let mut streams = Vec::new();
    for _ in 0..2 {
        let rig = Rig::echo().await;
        let fault = rig.fault(r#"{"fault": {"corrupt": {"rate": 0.01}}, "seed": 6}"#).await;
        let mut client = rig.connect().await;
        let got = echoed(&mut client, 300_000).await;
        // 3000 on average, 55 of standard deviation.
        assert!((2_750..3_250).contains(&spoilt(&got)), "{}", spoilt(&got));
        assert!(got.iter().all(|byte| (byte ^ 0xAA).count_ones() <= 1));
        assert_eq!(rig.heal(&fault).await, Some(1));
        assert_eq!(spoilt(&echoed(&mut client, 100_000).await), 0, "healed, on the same connection");
        client.shutdown().await.unwrap();
        assert!(read_all(&mut client).await.is_empty());
        streams.push(got);
    }
    assert!(streams[0] == streams[1], "the same seed, the same bytes");
}

#[tokio::test]
async fn a_corruption_is_set_and_changed_on_a_live_connection() {
    let rig = Rig::echo().await;
    let mut client = rig.connect().await;
    assert_eq!(spoilt(&echoed(&mut client, 1000).await), 0);
    let fault = rig.fault(r#"{"fault": {"corrupt": {"rate": 1, "how": "zero"}}, "direction": "upstream"}"#).await;
    assert_eq!(echoed(&mut client, 1000).await, [0; 1000]);
    rig.change(&fault, r#"{"corrupt": {"rate": 1, "how": "random"}}"#).await;
    let got = echoed(&mut client, 1000).await;
    assert_eq!(spoilt(&got), 1000);
    assert!(got.iter().any(|byte| *byte != got[0]));
    assert_eq!((fault.hits(), fault.units()), (Some(1), 1));
}

#[tokio::test]
async fn a_corruption_spares_the_connections_that_are_not_chosen() {
    let rig = Rig::echo().await;
    let json = r#"{"fault": {"corrupt": {"rate": 1, "how": "zero"}}, "skip": 1, "count": 1}"#;
    let fault = rig.fault(json).await;
    let mut counts = Vec::new();
    for _ in 0..3 {
        counts.push(spoilt(&echoed(&mut rig.connect().await, 500).await));
    }
    assert_eq!(counts, [0, 500, 0]);
    assert_eq!((fault.hits(), rig.proxy.counters().connections_hit), (Some(1), 1));
}

/// Whether a byte comes back.
async fn is_served(client: &mut TcpStream) -> bool {
    client.write_all(b"x").await.unwrap();
    timeout(PATIENCE, client.read_u8()).await.expect("an answer or an end").is_ok_and(|byte| byte == b'x')
}

/// Before an echo that counts its open connections, and the most that there were.
async fn counting_echo() -> (Rig, Arc<[AtomicUsize; 2]>) {
    let counts = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
    let ours = Arc::clone(&counts);
    let rig = Rig::serve(move |mut server: TcpStream| {
        let counts = Arc::clone(&ours);
        async move {
            let now = counts[0].fetch_add(1, SeqCst) + 1;
            counts[1].fetch_max(now, SeqCst);
            let (mut reader, mut writer) = server.split();
            // A client that resets is none of the server's business.
            let _ = tokio::io::copy(&mut reader, &mut writer).await;
            counts[0].fetch_sub(1, SeqCst);
        }
    })
    .await;
    (rig, counts)
}

#[tokio::test]
async fn over_a_limit_a_connection_is_closed_at_once_and_the_server_never_sees_it() {
    let (rig, counts) = counting_echo().await;
    let fault = rig.fault(r#"{"fault": {"connection_limit": {"max": 2}}}"#).await;
    let (mut first, mut second) = (rig.connect().await, rig.connect().await);
    assert!(is_served(&mut first).await && is_served(&mut second).await);
    for _ in 0..3 {
        let mut refused = rig.connect().await;
        assert!(read_all(&mut refused).await.is_empty());
    }
    assert!(is_served(&mut first).await && is_served(&mut second).await);
    assert_eq!((fault.hits(), fault.units(), rig.proxy.counters().connections_hit), (Some(3), 5, 3));
    drop(first);
    rig.until(|counters| counters.open_connections == 1).await;
    assert!(is_served(&mut rig.connect().await).await);
    assert_eq!(counts[1].load(SeqCst), 2);
    assert_eq!(rig.heal(&fault).await, Some(3));
    let mut many: Vec<_> = futures::future::join_all((0..5).map(|_| rig.connect())).await;
    for client in &mut many {
        assert!(is_served(client).await);
    }
}

#[tokio::test]
async fn over_a_limit_connections_wait_in_line_and_go_on_when_it_is_lifted() {
    let (rig, counts) = counting_echo().await;
    let fault = rig.fault(r#"{"fault": {"connection_limit": {"max": 1, "then": "queue"}}}"#).await;
    let mut first = rig.connect().await;
    assert!(is_served(&mut first).await);
    let mut line = Vec::new();
    for units in 2..5 {
        let mut client = rig.connect().await;
        client.write_all(b"w").await.unwrap();
        until(|| fault.units() == units, || format!("{} units", fault.units())).await;
        line.push(client);
    }
    for client in &mut line {
        expect_silence(client, Duration::from_millis(30)).await;
    }
    drop(first);
    let mut next = line.remove(0);
    assert_eq!(timeout(PATIENCE, next.read_u8()).await.unwrap().unwrap(), b'w');
    expect_silence(&mut line[0], Duration::from_millis(30)).await;
    assert_eq!(counts[1].load(SeqCst), 1);
    rig.change(&fault, r#"{"connection_limit": {"max": 2, "then": "queue"}}"#).await;
    assert_eq!(timeout(PATIENCE, line[0].read_u8()).await.unwrap().unwrap(), b'w');
    expect_silence(&mut line[1], Duration::from_millis(30)).await;
    assert_eq!(rig.heal(&fault).await, Some(3));
    assert_eq!(timeout(PATIENCE, line[1].read_u8()).await.unwrap().unwrap(), b'w');
    assert!(is_served(&mut next).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_a_crowd_the_server_never_has_more_than_the_limit_and_everybody_is_served() {
    let (rig, counts) = counting_echo().await;
    let fault = rig.fault(r#"{"fault": {"connection_limit": {"max": 3, "then": "queue"}}}"#).await;
    let visit = async |_: usize| {
        let mut client = rig.connect().await;
        assert!(is_served(&mut client).await);
        client.shutdown().await.unwrap();
        assert!(read_all(&mut client).await.is_empty());
    };
    futures::future::join_all((0..100).map(visit)).await;
    let most = counts[1].load(SeqCst);
    assert!((1..=3).contains(&most), "{most} at once");
    assert!(fault.hits() > Some(0), "nobody waited");
    assert_eq!(fault.units(), 100);
}

#[tokio::test]
async fn a_limit_leaves_those_alone_that_are_open_and_counts_them() {
    let (rig, _) = counting_echo().await;
    let mut open = [rig.connect().await, rig.connect().await, rig.connect().await];
    for client in &mut open {
        assert!(is_served(client).await);
    }
    let fault = rig.fault(r#"{"fault": {"connection_limit": {"max": 1, "then": "refuse"}}}"#).await;
    for client in &mut open {
        assert!(is_served(client).await);
    }
    assert!(read_all(&mut rig.connect().await).await.is_empty());
    drop(open);
    rig.until(|counters| counters.open_connections == 0).await;
    assert!(is_served(&mut rig.connect().await).await);
    assert_eq!(fault.hits(), Some(1));
}

#[tokio::test]
async fn those_who_wait_are_closed_when_the_limit_becomes_a_refusal_and_may_give_up_before() {
    let (rig, counts) = counting_echo().await;
    let fault = rig.fault(r#"{"fault": {"connection_limit": {"max": 0, "then": "queue"}}}"#).await;
    let (mut waits, gives_up) = (rig.connect().await, rig.connect().await);
    rig.until(|counters| counters.open_connections == 2).await;
    gives_up.set_zero_linger().unwrap();
    drop(gives_up);
    rig.until(|counters| counters.open_connections == 1).await;
    rig.change(&fault, r#"{"connection_limit": {"max": 0, "then": "refuse"}}"#).await;
    assert!(read_all(&mut waits).await.is_empty());
    assert_eq!((fault.hits(), counts[1].load(SeqCst)), (Some(2), 0));
}

#[tokio::test]
async fn a_limit_counts_only_the_clients_that_it_is_for() {
    let (rig, _) = counting_echo().await;
    let json = r#"{"fault": {"connection_limit": {"max": 0}}, "where": {"client": ["127.0.0.2"]}}"#;
    let fault = rig.fault(json).await;
    assert!(is_served(&mut rig.connect().await).await);
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut other = socket.connect(rig.proxy.listen_addr()).await.unwrap();
    assert!(read_all(&mut other).await.is_empty());
    assert_eq!((fault.hits(), fault.units()), (Some(1), 1));
}

/// Whether a connect succeeds; a failure must be a refusal, or a reset in the listen queue.
async fn is_reachable(rig: &Rig) -> bool {
    match timeout(PATIENCE, TcpStream::connect(rig.proxy.listen_addr())).await.expect("an answer to the connect") {
        Ok(_) => true,
        Err(error) => {
            assert!(matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset), "{error}");
            false
        }
    }
}

async fn until_reachable(rig: &Rig, wanted: bool) {
    let reached = async {
        while is_reachable(rig).await != wanted {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, reached).await.unwrap_or_else(|_| panic!("never reachable == {wanted}"));
}

#[tokio::test]
async fn a_flap_resets_what_is_open_refuses_for_a_while_and_comes_back_again_and_again() {
    let rig = Rig::echo().await;
    let start = Instant::now();
    let fault = rig.fault(r#"{"fault": {"flap": {"up": "300ms", "down": "200ms"}}}"#).await;
    for cycle in 0..3_u32 {
        let begin = Duration::from_millis(500) * cycle;
        let mut open = rig.connect().await;
        assert!(is_served(&mut open).await);
        expect_reset(&mut open).await;
        let fell = start.elapsed();
        assert!(fell >= begin + Duration::from_millis(300), "cycle {cycle}: fell after {fell:?}");
        until_reachable(&rig, false).await;
        until_reachable(&rig, true).await;
        let rose = start.elapsed();
        let due = begin + Duration::from_millis(500);
        assert!(rose >= due && rose < due + Duration::from_millis(250), "cycle {cycle}: back after {rose:?}");
    }
    assert!(rig.proxy.counters().connections_hit >= 3);
    assert_eq!(rig.heal(&fault).await, None, "the kernel does not say how many it refused");
}

#[tokio::test]
async fn a_flap_that_is_healed_while_down_leaves_the_listener_listening() {
    let rig = Rig::echo().await;
    let mut open = rig.connect().await;
    assert!(is_served(&mut open).await);
    let fault = rig.fault(r#"{"fault": {"flap": {"up": "20ms", "down": "1h"}}}"#).await;
    expect_reset(&mut open).await;
    until_reachable(&rig, false).await;
    // Other faults come and go, and the switch too, without bringing it up.
    let other = rig.fault(r#"{"fault": {"slow_accept": {"delay": "1ms"}}}"#).await;
    assert!(!is_reachable(&rig).await);
    rig.heal(&other).await;
    rig.proxy.set_enabled(false).await.unwrap();
    rig.proxy.set_enabled(true).await.unwrap();
    assert!(!is_reachable(&rig).await);
    rig.heal(&fault).await;
    // By the time that the call returns.
    let mut client = TcpStream::connect(rig.proxy.listen_addr()).await.unwrap();
    assert!(is_served(&mut client).await);
}

#[tokio::test]
async fn a_flap_that_is_healed_while_up_takes_nothing_down_any_more() {
    let rig = Rig::echo().await;
    let mut open = rig.connect().await;
    assert!(is_served(&mut open).await);
    let fault = rig.fault(r#"{"fault": {"flap": {"up": "400ms", "down": "1h"}}}"#).await;
    rig.heal(&fault).await;
    expect_silence(&mut open, Duration::from_millis(600)).await;
    assert!(is_served(&mut open).await && is_served(&mut rig.connect().await).await);
    assert_eq!(rig.proxy.counters().connections_hit, 0);
}

#[tokio::test]
async fn a_flap_is_changed_while_it_lasts_and_moves_with_the_address() {
    let rig = Rig::echo().await;
    let fault = rig.fault(r#"{"fault": {"flap": {"up": "1h", "down": "1h"}}}"#).await;
    let mut open = rig.connect().await;
    assert!(is_served(&mut open).await);
    rig.change(&fault, r#"{"flap": {"up": "10ms", "down": "1h"}}"#).await;
    expect_reset(&mut open).await;
    until_reachable(&rig, false).await;
    rig.proxy.rebind("127.0.0.1:0").await.unwrap();
    assert!(!is_reachable(&rig).await, "down at the new address too");
    rig.change(&fault, r#"{"flap": {"up": "1h", "down": "1h"}}"#).await;
    assert!(is_served(&mut rig.connect().await).await, "up again by the time that the call returns");
    rig.change(&fault, r#"{"flap": {"up": "10ms", "down": "1h"}}"#).await;
    let addr = rig.proxy.listen_addr();
    rig.proxy.stop().await;
    drop(std::net::TcpListener::bind(addr).expect("a stopped proxy frees its address, flapping or not"));
}

#[tokio::test]
async fn nobody_can_take_the_address_while_it_flaps_down_so_it_can_be_healed() {
    let rig = Rig::echo().await;
    let fault = rig.fault(r#"{"fault": {"flap": {"up": "200ms", "down": "1s"}}}"#).await;
    until_reachable(&rig, false).await;
    let thief = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    thief.set_reuse_address(true).unwrap();
    let stolen = thief.bind(&rig.proxy.listen_addr().into());
    assert_eq!(stolen.unwrap_err().kind(), ErrorKind::AddrInUse);
    rig.heal(&fault).await;
    assert!(is_served(&mut rig.connect().await).await);
}

#[tokio::test]
async fn a_refusal_over_a_flap_wins_and_leaves_it_flapping_when_it_goes() {
    let rig = Rig::echo().await;
    let flap = rig.fault(r#"{"fault": {"flap": {"up": "30ms", "down": "30ms", "jitter": "10ms"}}}"#).await;
    let refuse = rig.fault(r#"{"fault": {"refuse": {}}}"#).await;
    let watched = Instant::now();
    while watched.elapsed() < Duration::from_millis(150) {
        assert!(!is_reachable(&rig).await);
    }
    rig.heal(&refuse).await;
    for _ in 0..3 {
        until_reachable(&rig, false).await;
        until_reachable(&rig, true).await;
    }
    rig.heal(&flap).await;
    assert!(is_served(&mut rig.connect().await).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flap_set_and_healed_many_times_under_a_flood_of_connects_always_leaves_it_listening() {
    let rig = Rig::echo().await;
    let addr = rig.proxy.listen_addr();
    let flood = tokio::spawn(async move {
        loop {
            // Refused or not, on to the next.
            drop(TcpStream::connect(addr).await);
        }
    });
    let toggling = async {
        for round in 0..40 {
            let fault = rig.fault(r#"{"fault": {"flap": {"up": "10ms", "down": "10ms", "jitter": "5ms"}}}"#).await;
            // Healed now while up, now while down, now in between.
            tokio::time::sleep(Duration::from_millis(5 + round % 13)).await;
            rig.heal(&fault).await;
            assert!(is_served(&mut rig.connect().await).await, "round {round}");
        }
    };
    timeout(PATIENCE, toggling).await.expect("a call hung");
    flood.abort();
}
