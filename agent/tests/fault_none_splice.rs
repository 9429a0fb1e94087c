//! Bulk through pipes: nothing is lost, doubled or reordered, whoever stalls, ends, resets or sets a fault meanwhile.
//!
//! How many pipes this process has tells whether splicing is at work, so the tests that count them take turns.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "support/common.rs"]
mod common;
#[path = "support/hurt.rs"]
mod hurt;

use common::{PATIENCE, Rig, expect_reset, read_all, until};
use std::{
    future::Future,
    io::ErrorKind,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
    time::timeout,
};

const MEGABYTE: usize = 1_000_000;

/// Far more than a stream has to show, and more than all buffers on the way hold.
const BULK: usize = 30 * MEGABYTE;

const SMALL: usize = 64 * 1024;

/// Runs a test when no other one runs, pipes that its agent keeps included.
fn alone(test: impl Future<Output = ()>) {
    static TURN: Mutex<()> = Mutex::new(());
    // A test that failed is no reason for the others to.
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(test);
}

fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|n| (n % 251) as u8).collect()
}

/// Descriptors of this process that are ends of pipes.
fn pipe_ends() -> usize {
    let files = std::fs::read_dir("/proc/self/fd").unwrap();
    let names = files.filter_map(|file| std::fs::read_link(file.unwrap().path()).ok());
    names.filter(|name| name.to_string_lossy().starts_with("pipe:")).count()
}

/// A rig whose server hands its connection to the test.
async fn handed_over() -> (Rig, mpsc::Receiver<TcpStream>) {
    // One connection a test.
    let (hand, taken) = mpsc::channel(1);
    let rig = Rig::serve(move |server| {
        let hand = hand.clone();
        async move {
            // The ends' own buffers are small, so that a stalled stream does not take too much of it in.
            socket2::SockRef::from(&server).set_recv_buffer_size(SMALL).unwrap();
            hand.send(server).await.unwrap();
        }
    })
    .await;
    (rig, taken)
}

/// Writes the pattern until nothing on the way takes any more; how much was written.
async fn stuff(client: &TcpStream, rig: &Rig, bytes: &[u8]) -> usize {
    socket2::SockRef::from(client).set_send_buffer_size(SMALL).unwrap();
    let mut written = 0;
    loop {
        match client.try_write(&bytes[written..]) {
            Ok(more) => written += more,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                // A moment in which nothing moves any more: the agent's counter stands and the socket stays full.
                let before = rig.proxy.received();
                if timeout(Duration::from_millis(200), client.writable()).await.is_err()
                    && before == rig.proxy.received()
                {
                    return written;
                }
            }
        }
        assert!(written < bytes.len(), "the buffers on the way are larger than this test's stream");
    }
}

#[test]
fn a_fault_that_comes_gets_what_is_in_the_pipe_and_its_going_lets_it_pass_in_order() {
    alone(async {
        let before = pipe_ends();
        let (rig, mut taken) = handed_over().await;
        let client = rig.connect().await;
        let mut server = taken.recv().await.unwrap();
        let sent = pattern(BULK);
        let written = stuff(&client, &rig, &sent).await;
        assert_eq!(pipe_ends(), before + 2, "bulk that is stalled waits in a pipe");
        let delivered = rig.proxy.counters().bytes_upstream as usize;
        let held = rig.proxy.received()[0] as usize - delivered;
        assert!(held > 0);

        let fault = rig.fault(r#"{"fault": {"latency": {"delay": "1h"}}, "direction": "upstream"}"#).await;
        let mut got = vec![0; delivered];
        timeout(PATIENCE, server.read_exact(&mut got)).await.unwrap().unwrap();
        // The sink has room now, so whatever the fault had not got would come.
        let more = timeout(Duration::from_millis(200), server.read_u8()).await;
        assert!(more.is_err(), "a byte passed the fault: {more:?}");
        assert_eq!(rig.proxy.counters().bytes_upstream as usize, delivered);
        assert_eq!(fault.hits(), Some(1));
        until(|| pipe_ends() == before + 2, || format!("{} ends of pipes", pipe_ends())).await;

        rig.heal(&fault).await;
        let mut rest = vec![0; written - delivered];
        timeout(PATIENCE, server.read_exact(&mut rest)).await.unwrap().unwrap();
        got.extend(rest);
        assert!(got == sent[..written]);
    });
}

#[test]
fn a_reader_that_stalls_and_goes_on_gets_everything_and_then_the_end() {
    alone(async {
        let (rig, mut taken) = handed_over().await;
        let mut client = rig.connect().await;
        let mut server = taken.recv().await.unwrap();
        let sent = pattern(BULK);
        let written = stuff(&client, &rig, &sent).await;
        let rest = sent[written..].to_vec();
        let writing = tokio::spawn(async move {
            client.write_all(&rest).await.unwrap();
            client.shutdown().await.unwrap();
            client
        });
        let got = timeout(PATIENCE, read_all(&mut server)).await.unwrap();
        assert!(got == sent, "{} of {BULK} bytes", got.len());
        // The other direction is still open, and takes bulk as well.
        let mut client = writing.await.unwrap();
        let answer = sent.clone();
        let answering = tokio::spawn(async move {
            server.write_all(&answer).await.unwrap();
        });
        assert!(timeout(PATIENCE, read_all(&mut client)).await.unwrap() == sent);
        answering.await.unwrap();
        rig.until(|counters| counters.open_connections == 0).await;
        let counters = rig.proxy.counters();
        assert_eq!((counters.bytes_upstream, counters.bytes_downstream), (BULK as u64, BULK as u64));
        assert_eq!(counters.connection_errors, 0);
    });
}

#[test]
fn a_reset_with_bytes_in_the_pipe_reaches_the_other_side_and_the_pipe_is_gone() {
    alone(async {
        let before = pipe_ends();
        let (rig, mut taken) = handed_over().await;
        let mut client = rig.connect().await;
        let server = taken.recv().await.unwrap();
        stuff(&client, &rig, &pattern(BULK)).await;
        assert_eq!(pipe_ends(), before + 2);
        server.set_zero_linger().unwrap();
        drop(server);
        expect_reset(&mut client).await;
        rig.until(|counters| counters.open_connections == 0 && counters.connection_errors == 1).await;
        assert_eq!(pipe_ends(), before, "one that still had bytes is not kept");
    });
}

#[test]
fn a_pipe_is_given_back_when_its_stream_is_idle_and_small_messages_need_none() {
    alone(async {
        let before = pipe_ends();
        let rig = Rig::echo().await;
        let mut clients = Vec::new();
        for _ in 0..20 {
            let mut client = rig.connect().await;
            for _ in 0..20 {
                client.write_all(b"small").await.unwrap();
                client.read_exact(&mut [0; 5]).await.unwrap();
            }
            clients.push(client);
        }
        assert_eq!(pipe_ends(), before, "small messages are copied");
        let sent = pattern(5 * MEGABYTE);
        for client in &mut clients {
            let (mut reader, mut writer) = client.split();
            let mut got = vec![0; sent.len()];
            let (read, write) = tokio::join!(reader.read_exact(&mut got), writer.write_all(&sent));
            read.and(write).unwrap();
            assert!(got == sent);
        }
        // All are open and idle; both directions of one at a time were busy.
        let ends = pipe_ends() - before;
        assert!((2..=4).contains(&ends), "{ends} ends of pipes after twenty streams one after the other");
    });
}
