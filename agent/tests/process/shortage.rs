//! An agent that may open few files, and more clients than those are enough for.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use crate::process_support::{LONG, Process, get};
use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    time::Duration,
};

/// Far more than the agent may open.
const CLIENTS: usize = 100;
const FILES: u64 = 64;

/// An agent with one proxy of this kind; answers the address of the proxy.
fn agent(directory: &std::path::Path, listen: &str, upstream: SocketAddr) -> (Process, SocketAddr) {
    let process = Process::with_files(FILES, directory, |command| {
        command.args(["--proxy", &format!("p={listen}->{upstream}")]);
    });
    let address = process.ready["proxies"]["p"].as_str().unwrap().parse().unwrap();
    (process, address)
}

#[test]
fn datagrams_of_many_clients_do_not_take_the_descriptors_that_the_api_needs() {
    let directory = tempfile::tempdir().unwrap();
    let upstream = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (mut agent, proxy) = agent(directory.path(), "udp://127.0.0.1:0", upstream.local_addr().unwrap());
    let clients: Vec<UdpSocket> = (0..CLIENTS).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
    for client in &clients {
        client.send_to(b"x", proxy).unwrap();
    }
    agent.log_until("datagrams from new clients are dropped");
    assert!(get(agent.api(), "/health/live").starts_with("HTTP/1.1 200"));
    // Those who came first are served.
    upstream.set_read_timeout(Some(LONG)).unwrap();
    upstream.recv_from(&mut [0; 8]).unwrap();
}

#[test]
fn connections_wait_when_no_more_files_may_be_opened_and_the_api_answers() {
    let directory = tempfile::tempdir().unwrap();
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = upstream.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in upstream.incoming() {
            // Each is held until its client leaves.
            std::thread::spawn(move || {
                let mut stream = stream.unwrap();
                stream.write_all(b"hi").unwrap();
                let _ = stream.read_to_end(&mut Vec::new());
            });
        }
    });
    let (mut agent, proxy) = agent(directory.path(), "127.0.0.1:0", address);
    let clients: Vec<TcpStream> = (0..CLIENTS).map(|_| TcpStream::connect(proxy).unwrap()).collect();
    agent.log_until("the limit of open files is reached");
    assert!(get(agent.api(), "/health/live").starts_with("HTTP/1.1 200"));
    let mut served = 0;
    for mut client in &clients {
        client.set_read_timeout(Some(Duration::from_millis(if served == 0 { 5000 } else { 30 }))).unwrap();
        match client.read(&mut [0; 2]) {
            Ok(2) => served += 1,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            other => panic!("one was neither served nor left waiting: {other:?}"),
        }
    }
    assert!(served > 5 && served < FILES as usize / 2, "{served}");
    // When some leave, others are let in.
    drop(clients);
    let mut late = TcpStream::connect(proxy).unwrap();
    late.set_read_timeout(Some(LONG)).unwrap();
    late.read_exact(&mut [0; 2]).unwrap();
}
