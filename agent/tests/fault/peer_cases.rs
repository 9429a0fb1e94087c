//! What goes wrong in other proxies on real sockets, and does not here. Each case is a test:
//!
//! | case | test |
//! | --- | --- |
//! | client half-closes, server answers | `fault_time::a_half_closed_client_gets_its_whole_answer_under_latency_and_bandwidth` |
//! | 200 messages, 1 ms apart, 100 ms latency | `fault_time::two_hundred_messages_one_ms_apart_take_the_latency_each` |
//! | two latency faults of 100 ms in a row, pipelined | `fault_time::two_latencies_in_a_row_take_both` |
//! | bandwidth 100 KB/s and a chunk larger than that | [`a_chunk_larger_than_a_second_of_the_rate_is_paced`] |
//! | bandwidth 10 KB/s, one large write | [`one_large_write_through_ten_kilobytes_a_second_arrives_whole`] |
//! | bandwidth 100 MB/s | `fault_rate::a_hundred_megabytes_a_second_are_a_hundred_megabytes_a_second` |
//! | negative rate, slice size 0, variation over size | `control`: `peer_cases::what_makes_no_sense_is_refused_and_nothing_is_changed` |
//! | toxicity 5, -1; misspelt attribute | `control`: `peer_cases::a_share_out_of_range_is_refused_and_toxiproxys_is_clamped` |
//! | reader of a connection stalls, then a fault is set | `fault_isolation::a_client_that_reads_nothing_delays_no_call_no_connection_and_no_stop` |
//! | upstream never answers SYN, proxy deleted | `fault_isolation::an_upstream_that_never_answers_delays_no_call_no_connection_and_no_stop` |
//! | timeout with data trickling in | `control`: `toxiproxy_toxics::timeout_closes_after_its_time_even_under_steady_data` |
//! | percent 0 reset | [`a_reset_of_no_percent_hits_nothing`] |
//! | bulk through 1 s of latency | [`bulk_through_latency_is_limited_by_the_stated_buffer_alone_and_comes_evenly`] |
//! | thousands of idle connections | `fault_none_memory::an_idle_connection_that_has_been_used_costs_at_most_four_kilobytes` |
//! | anyone on the network may use the API | `process`: `guard_cli::another_address_than_the_loopback_needs_tokens_or_certificates_or_to_be_insecure` |
//! | the one who set the fault disappears | `control`: `api_leases::when_the_one_who_set_a_fault_is_killed_the_fault_goes_with_its_lease` |
//!
//! Times are scaled down, and bounded from below where a busy machine may only be slower.

use crate::common::{PATIENCE, Rig, read_all};
use std::time::{Duration, Instant};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// Writes so many bytes at once, ends, and answers how many came back and how long that took.
async fn there_and_back(rig: &Rig, bytes: usize) -> (usize, Duration) {
    let client = rig.connect().await;
    let start = Instant::now();
    let (mut reader, mut writer) = client.into_split();
    let writing = tokio::spawn(async move {
        writer.write_all(&vec![7; bytes]).await.unwrap();
        writer.shutdown().await.unwrap();
    });
    let got = read_all(&mut reader).await;
    writing.await.unwrap();
    assert!(got.iter().all(|byte| *byte == 7));
    (got.len(), start.elapsed())
}

#[tokio::test]
async fn a_chunk_larger_than_a_second_of_the_rate_is_paced() {
    let rig = Rig::echo().await;
    rig.fault(r#"{"fault": {"bandwidth": {"rate": "100KB/s"}}}"#).await;
    let (bytes, took) = there_and_back(&rig, 150_000).await;
    // Less the burst that may go at once.
    assert!(bytes == 150_000 && took >= Duration::from_millis(1_450), "{bytes} in {took:?}");
}

#[tokio::test]
async fn one_large_write_through_ten_kilobytes_a_second_arrives_whole() {
    let rig = Rig::echo().await;
    rig.fault(r#"{"fault": {"bandwidth": {"rate": "10KB/s"}}, "direction": "upstream"}"#).await;
    let (bytes, took) = there_and_back(&rig, 20_000).await;
    assert!(bytes == 20_000 && took >= Duration::from_millis(1_950), "{bytes} in {took:?}");
}

#[tokio::test]
async fn a_reset_of_no_percent_hits_nothing() {
    let rig = Rig::echo().await;
    let fault = rig.fault(r#"{"fault": {"reset": {}}, "percent": 0, "direction": "both"}"#).await;
    for _ in 0..50 {
        assert_eq!(there_and_back(&rig, 10).await.0, 10);
    }
    assert_eq!((fault.hits(), rig.proxy.counters().connections_hit), (Some(0), 0));
}

#[tokio::test]
async fn bulk_through_latency_is_limited_by_the_stated_buffer_alone_and_comes_evenly() {
    const BUFFER: usize = 4 << 20;
    const DELAY: Duration = Duration::from_millis(300);
    const SECONDS: usize = 5;
    // Sends as fast as it is taken.
    let rig = Rig::serve(|mut server: TcpStream| async move {
        let piece = vec![7; 1 << 16];
        while server.write_all(&piece).await.is_ok() {}
    })
    .await;
    rig.fault(r#"{"fault": {"latency": {"delay": "300ms", "buffer": "4MiB"}}}"#).await;
    let mut client = rig.connect().await;
    let mut buffer = vec![0; 1 << 20];
    // The first is there after the delay; from then on a buffer comes once in each delay.
    let mut got = timeout(PATIENCE, client.read(&mut buffer)).await.unwrap().unwrap();
    let start = Instant::now();
    let (mut last, mut longest) = (start, Duration::ZERO);
    let all = BUFFER * SECONDS;
    while got < all {
        let read = timeout(PATIENCE, client.read(&mut buffer)).await.unwrap().unwrap();
        assert!(read > 0);
        longest = longest.max(last.elapsed());
        (got, last) = (got + read, Instant::now());
    }
    let took = start.elapsed();
    // Not the speed of the machine: what is in the buffer, and what is in sockets, for each delay. And not in one burst a delay.
    assert!(took >= DELAY * u32::try_from(SECONDS - 2).unwrap(), "more than the buffer is held: {took:?}");
    assert!(took < DELAY * u32::try_from(SECONDS * 4).unwrap(), "{took:?} for {SECONDS} buffers");
    assert!(longest < DELAY, "nothing came for {longest:?}");
}
