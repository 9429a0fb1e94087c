//! Faults of the listening socket, seen by clients that connect.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use crate::common::{PATIENCE, Rig, connect, until};
use std::{
    io::ErrorKind,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

const MS: fn(u64) -> Duration = Duration::from_millis;

/// Connects, and answers how long until the server's side echoed.
async fn served_after(rig: &Rig) -> Duration {
    let start = Instant::now();
    let mut client = rig.connect().await;
    client.write_all(b"x").await.unwrap();
    timeout(PATIENCE, client.read_u8()).await.unwrap().unwrap();
    start.elapsed()
}

#[tokio::test]
async fn refuse_gives_econnrefused_and_leaves_open_connections_alone() {
    let rig = Rig::echo().await;
    let mut open = rig.connect().await;
    open.write_all(b"a").await.unwrap();
    open.read_u8().await.unwrap();
    let fault = rig.fault(r#"{"fault": {"refuse": {}}}"#).await;
    for _ in 0..3 {
        let refused = TcpStream::connect(rig.proxy.listen_addr()).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    }
    open.write_all(b"b").await.unwrap();
    assert_eq!(open.read_u8().await.unwrap(), b'b');
    assert_eq!(rig.heal(&fault).await, None, "the kernel does not say how many it refused");
    // Listening again by the time that the call returns.
    TcpStream::connect(rig.proxy.listen_addr()).await.unwrap();
    served_after(&rig).await;
}

#[tokio::test]
async fn two_refusals_are_healed_only_when_both_are_gone() {
    let rig = Rig::echo().await;
    let first = rig.fault(r#"{"fault": {"refuse": {}}}"#).await;
    let second = rig.fault(r#"{"fault": {"refuse": {}}}"#).await;
    rig.heal(&first).await;
    assert!(TcpStream::connect(rig.proxy.listen_addr()).await.is_err());
    rig.heal(&second).await;
    served_after(&rig).await;
}

/// Takes an address as a server does that is being restarted.
fn take(address: std::net::SocketAddr) -> std::io::Result<socket2::Socket> {
    let thief = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    thief.set_reuse_address(true)?;
    thief.bind(&address.into())?;
    thief.listen(1)?;
    Ok(thief)
}

#[tokio::test]
async fn nobody_can_take_the_address_while_it_is_refused() {
    let rig = Rig::echo().await;
    let open = rig.connect().await;
    for _ in 0..3 {
        let fault = rig.fault(r#"{"fault": {"refuse": {}}}"#).await;
        let anywhere = format!("0.0.0.0:{}", rig.proxy.listen_addr().port()).parse().unwrap();
        for address in [rig.proxy.listen_addr(), anywhere] {
            assert_eq!(take(address).unwrap_err().kind(), ErrorKind::AddrInUse);
        }
        rig.heal(&fault).await;
        served_after(&rig).await;
    }
    drop(open);
}

#[tokio::test]
async fn a_heal_that_fails_is_told_and_can_be_tried_again() {
    let rig = Rig::disabled().await;
    let fault = rig.fault(r#"{"fault": {"refuse": {}}}"#).await;
    rig.proxy.set_enabled(true).await.unwrap();
    // Somebody takes the port, on which nobody ever listened.
    let thief = take(rig.proxy.listen_addr()).unwrap();
    let names = std::slice::from_ref(fault.name());
    let error = rig.proxy.remove_faults(names).await.unwrap_err().to_string();
    assert!(error.contains("failed to listen") && error.contains("try again"), "{error}");
    assert_eq!(rig.proxy.faults().len(), 1, "it is still there");
    drop(thief);
    rig.heal(&fault).await;
    rig.connect().await;
}

#[tokio::test]
async fn a_slow_accept_leaves_a_connection_in_the_queue_for_its_delay() {
    let rig = Rig::echo().await;
    let fault = rig.fault(r#"{"fault": {"slow_accept": {"delay": "600ms"}}}"#).await;
    let (one, two) = tokio::join!(served_after(&rig), served_after(&rig));
    for took in [one, two] {
        assert!(took >= MS(600) && took < MS(1150), "{took:?}");
    }
    assert_eq!(rig.heal(&fault).await, Some(2));
    assert!(served_after(&rig).await < MS(550));
    assert_eq!(rig.proxy.counters().connections_hit, 2);
}

#[tokio::test]
async fn one_at_a_time_takes_one_each_delay() {
    let rig = Rig::echo().await;
    rig.fault(r#"{"fault": {"slow_accept": {"delay": "500ms", "one_at_a_time": true}}}"#).await;
    let mut took = <[Duration; 3]>::from(tokio::join!(served_after(&rig), served_after(&rig), served_after(&rig)));
    took.sort();
    for (took, nth) in took.iter().zip(1..) {
        assert!(*took >= MS(500 * nth) && *took < MS(500 * nth + 450), "{took:?} for number {nth}");
    }
}

#[tokio::test]
async fn a_full_queue_times_connects_out_and_the_heal_lets_all_in() {
    let rig = Rig::echo().await;
    let fault = rig.fault(r#"{"fault": {"slow_accept": {"delay": "forever", "backlog": 1}}}"#).await;
    let addr = rig.proxy.listen_addr();
    // A queue of 1 holds two on Linux.
    let mut waiting = vec![connect(addr).await, connect(addr).await];
    let late = timeout(MS(400), TcpStream::connect(addr)).await;
    assert!(late.is_err(), "the third got through: {late:?}");
    until(|| fault.hits() == Some(2), || format!("{:?}", fault.hits())).await;
    assert_eq!(rig.proxy.counters().connections, 0);
    rig.heal(&fault).await;
    for client in &mut waiting {
        client.write_all(b"x").await.unwrap();
        assert_eq!(timeout(PATIENCE, client.read_u8()).await.unwrap().unwrap(), b'x');
    }
    // The queue has its old length again.
    let many: Vec<_> = futures::future::join_all((0..50).map(|_| connect(addr))).await;
    rig.until(|counters| counters.connections >= 52).await;
    drop(many);
}

#[tokio::test]
async fn a_slow_accept_that_is_shortened_takes_hold_of_those_who_wait() {
    let rig = Rig::echo().await;
    let fault = rig.fault(r#"{"fault": {"slow_accept": {"delay": "forever"}}}"#).await;
    let mut client = rig.connect().await;
    client.write_all(b"x").await.unwrap();
    until(|| fault.hits() == Some(1), || "not seen in the queue".into()).await;
    rig.change(&fault, r#"{"slow_accept": {"delay": "10ms"}}"#).await;
    assert_eq!(timeout(PATIENCE, client.read_u8()).await.unwrap().unwrap(), b'x');
}

#[tokio::test]
async fn a_slow_accept_can_skip_and_stop() {
    let rig = Rig::echo().await;
    let fault = rig.fault(r#"{"fault": {"slow_accept": {"delay": "1s"}}, "skip": 1, "count": 1}"#).await;
    assert!(served_after(&rig).await < MS(900));
    assert!(served_after(&rig).await >= MS(1000));
    assert!(served_after(&rig).await < MS(900));
    assert_eq!((fault.hits(), fault.units()), (Some(1), 3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_set_and_lifted_many_times_under_a_flood_of_connects_never_hangs() {
    let rig = Rig::echo().await;
    let addr = rig.proxy.listen_addr();
    let flood = tokio::spawn(async move {
        loop {
            // Refused or not, on to the next.
            drop(TcpStream::connect(addr).await);
        }
    });
    let toggling = async {
        for _ in 0..200 {
            let fault = rig.fault(r#"{"fault": {"refuse": {}}}"#).await;
            rig.heal(&fault).await;
        }
    };
    timeout(PATIENCE, toggling).await.expect("a call hung");
    flood.abort();
    served_after(&rig).await;
}
