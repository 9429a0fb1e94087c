//! What an idle connection costs. Alone in its process, for it looks at the process's own memory.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "support/common.rs"]
mod common;
#[path = "support/hurt.rs"]
mod hurt;

use common::Rig;
use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
};

/// Enough to tell a few KiB from noise. Each takes four descriptors here.
const CONNECTIONS: usize = 2000;

fn allow_descriptors() {
    let hard = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
    let limit = rustix::process::Rlimit { current: hard, maximum: hard };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
}

/// The size of a page on every machine that this runs on, or less: then the limit is stricter.
const PAGE: usize = 4096;

/// Bytes of memory that are in use.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * PAGE
}

fn open(rig: &Rig, upstream: &TcpListener, count: usize) -> Vec<(TcpStream, TcpStream)> {
    (0..count)
        .map(|_| {
            let client = TcpStream::connect(rig.proxy.listen_addr()).unwrap();
            let (server, _) = upstream.accept().unwrap();
            (client, server)
        })
        .collect()
}

/// Passes so many bytes both ways through each, so that every buffer that there is has been used.
fn use_all(pairs: &[(TcpStream, TcpStream)], buffer: &mut [u8]) {
    for (client, server) in pairs {
        for (mut from, mut to) in [(client, server), (server, client)] {
            from.write_all(buffer).unwrap();
            to.read_exact(buffer).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_connection_that_has_been_used_costs_at_most_four_kilobytes() {
    allow_descriptors();
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let rig = Rig::towards(&upstream.local_addr().unwrap().to_string()).await;
    let mut buffer = vec![1; 20_000];
    // What is allocated once is not what is measured.
    let warm = open(&rig, &upstream, 50);
    use_all(&warm, &mut buffer);
    let before = resident();
    let pairs = open(&rig, &upstream, CONNECTIONS);
    use_all(&pairs, &mut buffer);
    let each = resident().saturating_sub(before) / CONNECTIONS;
    assert_eq!(rig.proxy.counters().open_connections as usize, CONNECTIONS + 50);
    assert!(each <= 4096, "{each} bytes each");
    // A fault that came and went leaves nothing but what the allocator keeps for the next one.
    let fault = rig.fault(r#"{"fault": {"latency": {"delay": "1ms"}}, "direction": "both"}"#).await;
    use_all(&pairs, &mut buffer);
    rig.heal(&fault).await;
    use_all(&pairs, &mut buffer);
    let each = resident().saturating_sub(before) / CONNECTIONS;
    assert!(each <= 8192, "{each} bytes each after a fault");
}
