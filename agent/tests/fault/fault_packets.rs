//! `packet_loss`: what the kernel drops, seen by the clocks and the send queues of those who must send again.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use crate::common::{PATIENCE, Rig, connect, expect_silence, fault, until};
use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// The least that anybody waits before sending again (`TCP_RTO_MIN`), and a margin for the kernel's clock.
const RETRANSMISSION: Duration = Duration::from_millis(190);

/// What the kernel knows of one end of a connection, from `/proc/net/tcp`.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sender {
    /// Bytes that the peer has not acknowledged.
    unacknowledged: u64,
    /// How often in a row the oldest of them was sent again in vain.
    retransmissions: u64,
}

/// The end at `local` of the connection to `peer`; none when there is no such connection.
fn sender(local: SocketAddr, peer: SocketAddr) -> Option<Sender> {
    let written = |address: SocketAddr| match address {
        SocketAddr::V4(v4) => format!("{:08X}:{:04X}", u32::from_ne_bytes(v4.ip().octets()), v4.port()),
        SocketAddr::V6(_) => unreachable!("these tests connect by IPv4"),
    };
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let row = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let row = row.into_iter().find(|row| row.get(1..3) == Some(&[&*written(local), &*written(peer)]))?;
    let hexadecimal = |text: &str| u64::from_str_radix(text, 16).unwrap();
    Some(Sender {
        unacknowledged: hexadecimal(row[4].split_once(':').unwrap().0),
        retransmissions: hexadecimal(row[6]),
    })
}

fn sender_of(stream: &TcpStream) -> Sender {
    sender(stream.local_addr().unwrap(), stream.peer_addr().unwrap()).expect("a connection that the kernel knows")
}

/// Waits until the oldest bytes were sent again in vain at least so often.
async fn sent_again(stream: &TcpStream, times: u64) {
    until(|| sender_of(stream).retransmissions >= times, || format!("{:?}", sender_of(stream))).await;
}

/// Sends and gets the echo.
async fn round_trip(client: &mut TcpStream, text: &[u8]) {
    client.write_all(text).await.unwrap();
    let mut answer = vec![0; text.len()];
    timeout(PATIENCE, client.read_exact(&mut answer)).await.expect("an echo in time").unwrap();
    assert_eq!(answer, text);
}

#[tokio::test]
async fn a_client_whose_segments_are_all_lost_is_never_acknowledged_until_it_heals() {
    let rig = Rig::echo().await;
    let mut client = rig.connect().await;
    round_trip(&mut client, b"before").await;
    let lost = rig.fault(r#"{"fault": {"packet_loss": {"loss": 100}}, "direction": "upstream"}"#).await;
    until_lossy(&rig, 1).await;
    client.write_all(b"hello").await.unwrap();
    sent_again(&client, 2).await;
    assert_eq!(sender_of(&client).unacknowledged, 5);
    expect_silence(&mut client, Duration::from_millis(100)).await;
    assert_eq!(rig.heal(&lost).await, None, "nobody counts what the kernel drops");
    let mut answer = [0; 5];
    timeout(PATIENCE, client.read_exact(&mut answer)).await.expect("it is sent once more").unwrap();
    assert_eq!(&answer, b"hello");
    assert_eq!(sender_of(&client), Sender::default());
}

/// Waits until a fault has taken hold of so many connections.
async fn until_lossy(rig: &Rig, connections: u64) {
    rig.until(|counters| counters.connections_hit >= connections).await;
}

#[tokio::test]
async fn downstream_it_is_the_server_whose_segments_are_lost() {
    let (tell, mut told) = tokio::sync::mpsc::channel::<TcpStream>(1);
    let rig = Rig::serve(move |mut server| {
        let tell = tell.clone();
        async move {
            assert_eq!(server.read_u8().await.unwrap(), b'?');
            server.write_all(b"answer").await.unwrap();
            tell.send(server).await.unwrap();
        }
    })
    .await;
    let lost = rig.fault(r#"{"fault": {"packet_loss": {"loss": 100}}}"#).await;
    let mut client = rig.connect().await;
    until_lossy(&rig, 1).await;
    client.write_all(b"?").await.unwrap();
    let server = timeout(PATIENCE, told.recv()).await.unwrap().expect("the question passes");
    sent_again(&server, 1).await;
    assert_eq!(sender_of(&server).unacknowledged, 6);
    assert_eq!(sender_of(&client).unacknowledged, 0, "the client's own segments arrive");
    rig.heal(&lost).await;
    let mut answer = [0; 6];
    timeout(PATIENCE, client.read_exact(&mut answer)).await.expect("it is sent once more").unwrap();
    assert_eq!(&answer, b"answer");
}

#[tokio::test]
async fn a_share_that_is_lost_costs_the_time_of_sending_it_again_and_no_byte() {
    let rig = Rig::echo().await;
    let lost = rig.fault(r#"{"fault": {"packet_loss": {"loss": 30}}, "direction": "both"}"#).await;
    let mut client = rig.connect().await;
    until_lossy(&rig, 1).await;
    let start = Instant::now();
    for number in 0..20_u8 {
        round_trip(&mut client, &[number; 9]).await;
    }
    // Twenty segments each way that carry data: all of them get through once in a million times.
    assert!(start.elapsed() >= RETRANSMISSION, "{:?}", start.elapsed());
    rig.heal(&lost).await;
}

#[tokio::test]
async fn a_long_stream_under_loss_arrives_whole_and_in_order() {
    let sent: Vec<u8> = (0..400_000_u32).map(|n| (n % 251) as u8).collect();
    let rig = Rig::echo().await;
    rig.fault(r#"{"fault": {"packet_loss": {"loss": 3}}, "direction": "both"}"#).await;
    let (mut reader, mut writer) = rig.connect().await.into_split();
    let mut got = vec![0; sent.len()];
    let (wrote, read) =
        timeout(PATIENCE * 3, async { tokio::join!(writer.write_all(&sent), reader.read_exact(&mut got)) })
            .await
            .expect("a stream in time");
    wrote.unwrap();
    read.unwrap();
    assert!(got == sent, "bytes were changed");
}

#[tokio::test]
async fn with_syn_only_connects_wait_for_a_second_syn_and_open_connections_go_on() {
    let rig = Rig::echo().await;
    let mut open = rig.connect().await;
    round_trip(&mut open, b"a").await;
    let lost = rig.fault(r#"{"fault": {"packet_loss": {"loss": 100, "syn_only": true}}}"#).await;
    round_trip(&mut open, b"b").await;
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let (local, address) = (socket.local_addr().unwrap(), rig.proxy.listen_addr());
    let start = Instant::now();
    let healing = async {
        let asked_again = || sender(local, address).is_some_and(|sender| sender.retransmissions >= 1);
        until(asked_again, || format!("{:?}", sender(local, address))).await;
        assert_eq!(rig.heal(&lost).await, None);
    };
    let connecting = async { (timeout(PATIENCE, socket.connect(address)).await.unwrap().unwrap(), start.elapsed()) };
    let ((mut late, took), ()) = tokio::join!(connecting, healing);
    // The third one comes two seconds after the first, or three: a kernel since 6.5 doubles its patience later only.
    assert!(took >= Duration::from_millis(1_900), "two SYNs were lost, and it took {took:?}");
    round_trip(&mut late, b"c").await;
    // And at once, now that it has healed.
    let start = Instant::now();
    round_trip(&mut rig.connect().await, b"d").await;
    assert!(start.elapsed() < Duration::from_millis(900), "{:?}", start.elapsed());
}

#[tokio::test]
async fn syn_only_knows_clients_by_their_address() {
    let rig = Rig::echo().await;
    let json = r#"{"fault": {"packet_loss": {"loss": 100, "syn_only": true}}, "where": {"client": ["127.7.0.0/16"]}}"#;
    rig.fault(json).await;
    round_trip(&mut rig.connect().await, b"from 127.0.0.1").await;
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.7.1.1:0".parse().unwrap()).unwrap();
    let connecting = timeout(Duration::from_millis(500), socket.connect(rig.proxy.listen_addr()));
    assert!(connecting.await.is_err(), "its SYN is dropped");
}

#[tokio::test]
async fn connections_are_chosen_by_their_number_as_by_any_other_fault() {
    let rig = Rig::echo().await;
    let json = r#"{"fault": {"packet_loss": {"loss": 100}}, "direction": "upstream", "skip": 1, "count": 1}"#;
    let lost = rig.fault(json).await;
    let (mut first, mut second) = (rig.connect().await, rig.connect().await);
    until_lossy(&rig, 1).await;
    let mut third = rig.connect().await;
    round_trip(&mut first, b"skipped").await;
    round_trip(&mut third, b"after the last").await;
    second.write_all(b"lost").await.unwrap();
    sent_again(&second, 1).await;
    assert_eq!((lost.units(), lost.hits()), (3, None));
    assert_eq!(rig.proxy.counters().connections_hit, 1);
}

#[tokio::test]
async fn a_change_of_the_share_is_felt_by_open_connections() {
    let rig = Rig::echo().await;
    let mut client = rig.connect().await;
    round_trip(&mut client, b"before").await;
    let lost = rig.fault(r#"{"fault": {"packet_loss": {"loss": 100}}, "direction": "both"}"#).await;
    until_lossy(&rig, 1).await;
    client.write_all(b"x").await.unwrap();
    sent_again(&client, 1).await;
    rig.change(&lost, r#"{"packet_loss": {"loss": 0.000001}}"#).await;
    assert_eq!(timeout(PATIENCE, client.read_u8()).await.expect("it is sent once more").unwrap(), b'x');
    // To the kind that leaves open connections alone.
    rig.change(&lost, r#"{"packet_loss": {"loss": 100, "syn_only": true}}"#).await;
    round_trip(&mut client, b"open").await;
}

#[tokio::test]
async fn it_composes_with_faults_of_the_link() {
    let rig = Rig::echo().await;
    rig.fault(r#"{"fault": {"packet_loss": {"loss": 0.000001}}, "direction": "both"}"#).await;
    rig.fault(r#"{"fault": {"latency": {"delay": "60ms"}}}"#).await;
    rig.fault(r#"{"fault": {"packet_loss": {"loss": 0.000001}}, "direction": "both"}"#).await;
    rig.fault(r#"{"fault": {"latency": {"delay": "60ms"}}}"#).await;
    let mut client = rig.connect().await;
    let start = Instant::now();
    round_trip(&mut client, b"late").await;
    assert!(start.elapsed() >= Duration::from_millis(120), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_connection_that_loses_everything_ends_with_its_proxy() {
    let rig = Rig::echo().await;
    let mut client = connect(rig.proxy.listen_addr()).await;
    round_trip(&mut client, b"before").await;
    rig.proxy.add_fault(fault(r#"{"fault": {"packet_loss": {"loss": 100}}, "direction": "both"}"#)).await.unwrap();
    until_lossy(&rig, 1).await;
    client.write_all(b"lost").await.unwrap();
    sent_again(&client, 1).await;
    let (local, peer) = (client.local_addr().unwrap(), client.peer_addr().unwrap());
    rig.proxy.stop().await;
    // What the proxy sends is not lost, and its sockets do not outlive it.
    let mut rest = Vec::new();
    // An end or a reset, as the kernel finds bytes unread or not.
    let _ = timeout(PATIENCE, client.read_to_end(&mut rest)).await.expect("the client is told");
    drop(client);
    until(|| sender(peer, local).is_none_or(|sender| sender.unacknowledged == 0), || "left behind".into()).await;
}

/// Asks, and gets the answer.
async fn ask(client: &mut TcpStream) {
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    hear(client).await;
}

async fn hear(client: &mut TcpStream) {
    let mut answer = vec![0; ANSWER.len()];
    timeout(PATIENCE, client.read_exact(&mut answer)).await.expect("an answer in time").unwrap();
    assert_eq!(answer, ANSWER);
}

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";

#[tokio::test]
async fn on_http_the_segments_of_whole_connections_are_lost_in_either_direction() {
    let rig = Rig::serve(|mut server: TcpStream| async move {
        let mut heard = Vec::new();
        while server.read_buf(&mut heard).await.is_ok_and(|read| read > 0) {
            if heard.ends_with(b"\r\n\r\n") {
                heard.clear();
                server.write_all(ANSWER).await.unwrap();
            }
        }
    })
    .await;
    let spec = format!(r#"{{"name": "h", "listen": "127.0.0.1:0", "upstream": "{}", "protocol": "http"}}"#, rig.server);
    let plane = squall_agent::DataPlane::new(squall_agent::PlaneLimits::default());
    let proxy = squall_agent::Proxy::start(&serde_json::from_str(&spec).unwrap(), &plane).await.unwrap();
    for direction in ["upstream", "downstream"] {
        let json = format!(r#"{{"fault": {{"packet_loss": {{"loss": 100}}}}, "direction": "{direction}"}}"#);
        let lost = fault(&json);
        proxy.add_fault(std::sync::Arc::clone(&lost)).await.unwrap();
        let mut client = connect(proxy.listen_addr()).await;
        if direction == "upstream" {
            // The upstream is dialled, and its socket sifted, only for the first request.
            until(|| proxy.counters().connections_hit == 1, || format!("{:?}", proxy.counters())).await;
        }
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        expect_silence(&mut client, RETRANSMISSION).await;
        if direction == "upstream" {
            sent_again(&client, 1).await;
            assert_eq!((lost.units(), lost.hits()), (1, None), "a connection is the unit, and not a request");
        }
        proxy.remove_faults(std::slice::from_ref(lost.name())).await.unwrap();
        hear(&mut client).await;
        ask(&mut client).await;
    }
}

#[tokio::test]
async fn when_the_call_returns_the_kernel_drops_on_every_live_connection_and_after_healing_on_none() {
    let rig = Rig::echo().await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut client = rig.connect().await;
        round_trip(&mut client, b"before").await;
        clients.push(client);
    }
    let lost = rig.fault(r#"{"fault": {"packet_loss": {"loss": 100}}, "direction": "upstream"}"#).await;
    assert_eq!(rig.proxy.counters().connections_hit, 20, "nobody has to wait for them");
    // Whatever is sent from now on is dropped: of nobody does the first segment get through.
    for client in &mut clients {
        client.write_all(b"ping").await.unwrap();
    }
    for client in &clients {
        sent_again(client, 1).await;
    }
    rig.heal(&lost).await;
    for client in &mut clients {
        let mut answer = [0; 4];
        timeout(PATIENCE, client.read_exact(&mut answer)).await.expect("it is sent once more").unwrap();
        round_trip(client, b"after").await;
    }
}
