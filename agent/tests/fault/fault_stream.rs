//! A property over real sockets: through any sequence of faults set, changed and removed that are not there to lose
//! or change bytes, what arrives is what was sent, in order, and the end arrives too.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use crate::common::{PATIENCE, Rig};
use proptest::{
    prelude::{Strategy, any, prop, prop_oneof, proptest},
    sample::Index,
    test_runner::Config,
};
use squall_agent::ActiveFault;
use std::{sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

/// Kinds that lose nothing, each with other parameters to change to.
const KINDS: &[(&str, &str)] = &[
    (r#"{"latency": {"delay": "15ms", "jitter": "10ms"}}"#, r#"{"latency": {"delay": "2ms"}}"#),
    (r#"{"latency": {"delay": "3ms", "buffer": "64KiB"}}"#, r#"{"latency": {"delay": "30ms"}}"#),
    (r#"{"bandwidth": {"rate": "5MB/s"}}"#, r#"{"bandwidth": {"rate": "0B/s"}}"#),
    (r#"{"bandwidth": {"rate": "9MB/s", "scope": "proxy"}}"#, r#"{"bandwidth": {"rate": "90KB/s"}}"#),
    (r#"{"drip": {"bytes": 900, "every": "1ms"}}"#, r#"{"drip": {"bytes": 70, "every": "5ms", "size_jitter": 60}}"#),
    (r#"{"stall": {"every": "30ms", "for": "20ms"}}"#, r#"{"stall": {"every": "9ms", "for": "1ms"}}"#),
    (r#"{"slow_close": {"delay": "40ms"}}"#, r#"{"slow_close": {"delay": "1ms"}}"#),
    (r#"{"unread": {}}"#, r#"{"unread": {}}"#),
    (r#"{"refuse": {}}"#, r#"{"refuse": {}}"#),
    (r#"{"slow_accept": {"delay": "20ms"}}"#, r#"{"slow_accept": {"delay": "1s", "backlog": 1}}"#),
    (r#"{"connection_limit": {"max": 0}}"#, r#"{"connection_limit": {"max": 9, "then": "queue"}}"#),
    (r#"{"flap": {"up": "1h", "down": "1s"}}"#, r#"{"flap": {"up": "2h", "down": "1s", "jitter": "10ms"}}"#),
    (r#"{"corrupt": {"rate": 1e-300}}"#, r#"{"corrupt": {"rate": 2e-300, "how": "zero"}}"#),
];

const DIRECTIONS: [&str; 3] = ["upstream", "downstream", "both"];

#[derive(Debug, Clone)]
enum Step {
    Send(usize),
    Wait(u64),
    /// The reader stops reading, or goes on.
    Stall(bool),
    Set(Index, Index),
    Change(Index),
    Remove(Index),
}

/// `most`: bytes that are sent at once.
fn step(most: usize) -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..most).prop_map(Step::Send),
        2 => (0_u64..15).prop_map(Step::Wait),
        1 => any::<bool>().prop_map(Step::Stall),
        3 => (any::<Index>(), any::<Index>()).prop_map(|(kind, direction)| Step::Set(kind, direction)),
        1 => any::<Index>().prop_map(Step::Change),
        2 => any::<Index>().prop_map(Step::Remove),
    ]
}

fn pattern(from: usize, bytes: usize) -> Vec<u8> {
    (from..from + bytes).map(|n| (n % 251) as u8).collect()
}

/// Plays the steps against an echo, heals, and answers what was sent and what came back.
async fn play(steps: Vec<Step>) -> (usize, Vec<u8>) {
    let rig = Rig::echo().await;
    let (mut reader, mut writer) = rig.connect().await.into_split();
    rig.until(|counters| counters.open_connections == 1).await;
    let (stalled, mut flow) = tokio::sync::watch::channel(false);
    let reading = tokio::spawn(async move {
        let mut got = Vec::new();
        let read = async {
            loop {
                flow.wait_for(|stalled| !stalled).await.unwrap();
                if reader.read_buf(&mut got).await.expect("an end in order") == 0 {
                    return;
                }
            }
        };
        timeout(PATIENCE, read).await.expect("an end in time");
        got
    });
    // As many chunks as a case has steps.
    let (queue, mut chunks) = tokio::sync::mpsc::channel::<Vec<u8>>(64);
    let writing = tokio::spawn(async move {
        while let Some(chunk) = chunks.recv().await {
            writer.write_all(&chunk).await.unwrap();
        }
        writer.shutdown().await.unwrap();
    });
    let mut set: Vec<(Arc<ActiveFault>, usize)> = Vec::new();
    let mut sent = 0;
    for step in steps {
        match step {
            Step::Send(bytes) => {
                queue.send(pattern(sent, bytes)).await.unwrap();
                sent += bytes;
            }
            Step::Stall(yes) => drop(stalled.send_replace(yes)),
            Step::Wait(millis) => tokio::time::sleep(Duration::from_millis(millis)).await,
            Step::Set(kind, direction) => {
                let kind = kind.index(KINDS.len());
                let whole = matches!(kind, 8..=11);
                let direction = if whole { "both" } else { DIRECTIONS[direction.index(3)] };
                let json = format!(r#"{{"fault": {}, "direction": "{direction}"}}"#, KINDS[kind].0);
                set.push((rig.fault(&json).await, kind));
            }
            Step::Change(which) if !set.is_empty() => {
                let (fault, kind) = &set[which.index(set.len())];
                rig.change(fault, KINDS[*kind].1).await;
            }
            Step::Remove(which) if !set.is_empty() => {
                let (fault, _) = set.remove(which.index(set.len()));
                rig.heal(&fault).await;
            }
            Step::Change(_) | Step::Remove(_) => {}
        }
    }
    drop(queue);
    stalled.send_replace(false);
    for (fault, _) in set {
        rig.heal(&fault).await;
    }
    timeout(PATIENCE, writing).await.unwrap().unwrap();
    (sent, timeout(PATIENCE, reading).await.unwrap().unwrap())
}

// Not shrunk: a case that hangs takes its whole patience, and so would each smaller one.
proptest! {
    #![proptest_config(Config { cases: 40, max_shrink_iters: 0, failure_persistence: None, ..Config::default() })]
    #[test]
    fn what_arrives_is_what_was_sent_in_order_and_so_does_the_end(steps in prop::collection::vec(step(60_000), 1..40)) {
        check(steps);
    }

    // So much at once that it goes through pipes while there is no fault, and stays in them while nobody reads.
    #[test]
    fn so_does_bulk(steps in prop::collection::vec(step(3_000_000), 1..25)) {
        check(steps);
    }
}

fn check(steps: Vec<Step>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (sent, got) = runtime.block_on(play(steps));
    assert_eq!(got.len(), sent);
    assert!(got == pattern(0, sent));
}
