//! Each stage for datagrams on a made-up clock, alone and behind others.

use super::{Line, OUTPUT_LIMIT};
use crate::{
    budget::Budget,
    fault::{ActiveFault, ConnectionMark},
};
use bytes::Bytes;
use proptest::prelude::*;
use squall_wire::{FaultKind, FaultSpec, Percent, Protocol, fault::unit_draw};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

const MS: fn(u64) -> Duration = Duration::from_millis;

/// A line with faults, the clock that it is told, and what left it.
struct Bench {
    line: Line,
    faults: Vec<Arc<ActiveFault>>,
    start: Instant,
    now: Instant,
    sessions_hit: Arc<AtomicU64>,
    /// When, and what.
    left: Vec<(u64, Bytes)>,
}

fn fault(json: &str) -> Arc<ActiveFault> {
    let spec: FaultSpec = serde_json::from_str(json).unwrap();
    assert_eq!(spec.mistakes_on(Protocol::Udp), [], "{json}");
    ActiveFault::new("f".parse().unwrap(), &spec, spec.seed.unwrap_or(7))
}

impl Bench {
    fn new(faults: &[&str]) -> Self {
        let now = Instant::now();
        let sessions_hit = Arc::new(AtomicU64::new(0));
        let mark = Arc::new(ConnectionMark::new(Arc::clone(&sessions_hit)));
        let line = Line::new(false, &Budget::new(1 << 30), &mark);
        let faults = faults.iter().map(|json| fault(json)).collect();
        let mut bench = Self { line, faults, start: now, now, sessions_hit, left: Vec::new() };
        bench.follow();
        bench
    }

    fn follow(&mut self) {
        self.line.follow(&self.faults, self.now);
        self.collect();
    }

    fn change(&mut self, at: usize, kind: &str) {
        let kind: FaultKind = serde_json::from_str(kind).unwrap();
        assert!(self.faults[at].tune(Some(kind), None));
        self.follow();
    }

    fn heal(&mut self, at: usize) {
        self.faults.remove(at);
        self.follow();
    }

    fn push(&mut self, datagram: impl Into<Bytes>) {
        self.line.push(datagram.into(), self.now);
        self.collect();
    }

    /// Datagrams of one byte, their numbers.
    fn numbers(&mut self, numbers: std::ops::Range<u8>) {
        for number in numbers {
            self.push(vec![number]);
        }
    }

    /// Lets time pass, and everything happen that is due meanwhile.
    fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(wake) = self.line.next_wake().filter(|wake| *wake <= end) {
            self.now = wake.max(self.now);
            self.line.advance(self.now);
            self.collect();
        }
        self.now = end;
    }

    /// Sends everything that can be.
    fn collect(&mut self) {
        loop {
            while let Some(datagram) = self.line.front() {
                let at = u64::try_from((self.now - self.start).as_millis()).unwrap();
                self.left.push((at, datagram.clone()));
                self.line.pop();
            }
            self.line.advance(self.now);
            if self.line.front().is_none() {
                return;
            }
        }
    }

    /// First bytes of what left since this was asked last.
    fn came(&mut self) -> Vec<u8> {
        self.left.drain(..).map(|(_, datagram)| datagram[0]).collect()
    }

    fn hits(&self, at: usize) -> (Option<u64>, u64) {
        (self.faults[at].hits(), self.faults[at].units())
    }
}

#[test]
fn without_faults_datagrams_pass_as_they_came() {
    let mut bench = Bench::new(&[]);
    for datagram in [Bytes::new(), Bytes::from_static(b"x"), Bytes::from(vec![7; 65_507])] {
        bench.push(datagram.clone());
        assert_eq!(bench.left.pop().unwrap().1, datagram);
    }
    assert!(bench.line.is_empty() && bench.line.next_wake().is_none());
}

#[test]
fn a_fault_of_the_other_direction_neither_acts_nor_counts() {
    let mut bench = Bench::new(&[r#"{"fault": {"loss": {}}, "direction": "upstream"}"#]);
    bench.numbers(0..3);
    assert_eq!((bench.came(), bench.hits(0)), (vec![0, 1, 2], (Some(0), 0)));
}

#[test]
fn latency_is_kept_to_the_millisecond_and_in_order() {
    let mut bench = Bench::new(&[r#"{"fault": {"latency": {"delay": "100ms"}}}"#]);
    for number in 0..5 {
        bench.push(vec![number]);
        bench.pass(MS(10));
    }
    assert!(bench.left.is_empty() && !bench.line.is_empty());
    bench.pass(MS(100));
    let times: Vec<_> = bench.left.iter().map(|(at, _)| *at).collect();
    assert_eq!(times, [100, 110, 120, 130, 140]);
    assert_eq!((bench.came(), bench.hits(0), bench.sessions_hit.load(Relaxed)), (vec![0, 1, 2, 3, 4], (Some(5), 5), 1));
}

#[test]
fn jitter_lets_datagrams_overtake_each_other_the_same_way_for_the_same_seed() {
    let run = |seed: u64| {
        let mut bench = Bench::new(&[&format!(
            r#"{{"fault": {{"latency": {{"delay": "100ms", "jitter": "50ms"}}}}, "seed": {seed}}}"#
        )]);
        bench.numbers(0..100);
        bench.pass(MS(200));
        let times: Vec<_> = bench.left.iter().map(|(at, _)| *at).collect();
        assert!(times.iter().all(|at| (50..=150).contains(at)) && times.is_sorted());
        bench.came()
    };
    let mut order = run(1);
    assert_eq!(order, run(1));
    assert_ne!(order, run(2));
    assert!(!order.is_sorted());
    order.sort_unstable();
    assert_eq!(order, (0..100).collect::<Vec<_>>());
}

#[test]
fn a_changed_latency_counts_from_the_arrival_and_a_removed_one_lets_go_in_order() {
    let mut bench = Bench::new(&[r#"{"fault": {"latency": {"delay": "1h", "jitter": "30m"}}}"#]);
    bench.numbers(0..20);
    bench.pass(MS(30));
    bench.change(0, r#"{"latency": {"delay": "50ms"}}"#);
    assert!(bench.left.is_empty());
    bench.pass(MS(20));
    assert!(bench.left.iter().all(|(at, _)| *at == 50));
    assert_eq!(bench.came(), (0..20).collect::<Vec<_>>());
    bench.change(0, r#"{"latency": {"delay": "1h", "jitter": "30m"}}"#);
    bench.numbers(0..20);
    bench.heal(0);
    assert_eq!(bench.came(), (0..20).collect::<Vec<_>>());
    assert!(bench.line.is_empty());
}

#[test]
fn a_full_delay_line_drops_what_comes_and_says_so() {
    let mut bench = Bench::new(&[r#"{"fault": {"latency": {"delay": "1s", "buffer": "64KiB"}}}"#]);
    for _ in 0..20 {
        bench.push(vec![0; 10_000]);
    }
    bench.pass(MS(1000));
    assert_eq!((bench.left.len() as u64 + bench.line.take_dropped(), bench.left.len()), (20, 7));
}

#[test]
fn bandwidth_paces_whole_datagrams_and_its_queue_is_bounded() {
    let mut bench = Bench::new(&[r#"{"fault": {"bandwidth": {"rate": "100KB/s"}}}"#]);
    for _ in 0..400 {
        bench.push(vec![0; 1000]);
    }
    // 262 fit into 256 KiB; what left at once found the bucket filled.
    let dropped = bench.line.take_dropped();
    let at_once = bench.left.len();
    assert!((1..=2).contains(&at_once) && dropped == 400 - 262 - at_once as u64, "{at_once} {dropped}");
    bench.pass(MS(1000));
    assert!((99..=103).contains(&bench.left.len()), "{}", bench.left.len());
    assert!(bench.left.iter().all(|(_, datagram)| datagram.len() == 1000));
    bench.heal(0);
    assert_eq!(bench.left.len() as u64 + dropped, 400);
}

#[test]
fn a_datagram_larger_than_the_burst_leaves_whole_and_what_follows_waits_for_it() {
    let mut bench = Bench::new(&[r#"{"fault": {"bandwidth": {"rate": "100KB/s", "burst": "1B"}}}"#]);
    for _ in 0..3 {
        bench.push(vec![0; 50_000]);
    }
    bench.pass(MS(2000));
    let times: Vec<_> = bench.left.iter().map(|(at, _)| *at).collect();
    assert_eq!(times, [0, 500, 1000]);
}

#[test]
fn a_rate_of_nothing_holds_back_until_it_is_changed() {
    let mut bench = Bench::new(&[r#"{"fault": {"bandwidth": {"rate": "0B/s"}}}"#]);
    bench.numbers(0..3);
    bench.pass(MS(60_000));
    assert!(bench.left.is_empty() && bench.line.next_wake().is_none());
    bench.change(0, r#"{"bandwidth": {"rate": "1MB/s"}}"#);
    bench.pass(MS(1));
    assert_eq!(bench.came(), [0, 1, 2]);
}

#[test]
fn sessions_share_a_rate_when_it_is_the_proxys() {
    let mut bench = Bench::new(&[r#"{"fault": {"bandwidth": {"rate": "100KB/s", "burst": "1B", "scope": "proxy"}}}"#]);
    let mark = Arc::new(ConnectionMark::new(Arc::default()));
    let mut other = Line::new(false, &Budget::new(1 << 30), &mark);
    other.follow(&bench.faults, bench.now);
    other.push(vec![0; 50_000].into(), bench.now);
    bench.push(vec![0; 10_000]);
    bench.pass(MS(1000));
    assert_eq!(bench.left[0].0, 500, "the other session's datagram came first");
}

#[test]
fn a_blackhole_swallows_everything_and_gives_nothing_back() {
    let mut bench = Bench::new(&[r#"{"fault": {"blackhole": {}}}"#]);
    bench.numbers(0..10);
    assert_eq!((bench.hits(0), bench.line.take_dropped()), ((Some(10), 10), 0));
    bench.heal(0);
    bench.numbers(10..12);
    assert_eq!(bench.came(), [10, 11]);
}

#[test]
fn loss_is_of_those_that_are_hit_and_a_hit_is_one_that_was_lost() {
    let mut bench = Bench::new(&[r#"{"fault": {"loss": {"percent": 20}}, "percent": 50, "seed": 3}"#]);
    for _ in 0..10_000 {
        bench.push(vec![0]);
    }
    let lost = 10_000 - bench.left.len() as u64;
    assert!((850..1150).contains(&lost), "{lost}");
    assert_eq!(bench.hits(0), (Some(lost), 10_000));
}

fn lost(json: &str) -> Vec<u8> {
    let mut bench = Bench::new(&[json]);
    bench.numbers(0..250);
    let came = bench.came();
    (0..250).filter(|number| !came.contains(number)).collect()
}

#[test]
fn a_larger_share_hits_the_same_datagrams_and_more_of_either_share() {
    for ramp in [
        [r#"{"fault": {"loss": {}}, "percent": 10}"#, r#"{"fault": {"loss": {}}, "percent": 30}"#],
        [r#"{"fault": {"loss": {"percent": 10}}}"#, r#"{"fault": {"loss": {"percent": 30}}}"#],
    ] {
        let [few, many] = ramp.map(lost);
        assert!(few.len() > 10 && many.len() > few.len() + 20, "{few:?} {many:?}");
        assert!(few.iter().all(|number| many.contains(number)));
    }
    let chosen: Vec<u8> = (0..250).filter(|unit| unit_draw(7, u64::from(*unit)) < 10.0).collect();
    assert_eq!(lost(r#"{"fault": {"loss": {}}, "percent": 10}"#), chosen);
}

#[test]
fn a_share_that_changes_on_the_way_keeps_to_the_datagrams_numbers() {
    let mut bench = Bench::new(&[r#"{"fault": {"loss": {}}, "percent": 10}"#]);
    bench.numbers(0..100);
    bench.faults[0].tune(None, Some(Percent::new(40.0).unwrap()));
    bench.follow();
    bench.numbers(100..250);
    let came = bench.came();
    let spared = |unit: u64, percent: f64| unit_draw(7, unit) >= percent;
    let expected: Vec<u8> = (0..250).filter(|n| spared(u64::from(*n), if *n < 100 { 10.0 } else { 40.0 })).collect();
    assert_eq!(came, expected);
}

#[test]
fn skip_and_count_are_of_datagrams() {
    let mut bench = Bench::new(&[r#"{"fault": {"loss": {}}, "skip": 2, "count": 3}"#]);
    bench.numbers(0..8);
    assert_eq!((bench.came(), bench.hits(0)), (vec![0, 1, 5, 6, 7], (Some(3), 8)));
}

#[test]
fn copies_follow_their_original_and_are_datagrams_to_what_comes_behind() {
    let mut bench = Bench::new(&[
        r#"{"fault": {"duplicate": {"copies": 2}}, "count": 2}"#,
        r#"{"fault": {"loss": {}}, "skip": 1, "count": 1}"#,
    ]);
    bench.numbers(0..3);
    assert_eq!(bench.came(), [0, 0, 1, 1, 1, 2]);
    assert_eq!((bench.hits(0), bench.hits(1)), ((Some(2), 3), (Some(1), 7)));
}

#[test]
fn copies_of_copies_cost_no_memory_and_end_with_the_fault() {
    let copies = r#"{"fault": {"duplicate": {"copies": 100}}}"#;
    let mut bench = Bench::new(&[]);
    bench.faults = [copies; 10].iter().map(|json| fault(json)).collect();
    bench.line.follow(&bench.faults, bench.now);
    bench.line.push(Bytes::from_static(b"x"), bench.now);
    for _ in 0..10_000 {
        bench.line.advance(bench.now);
        assert_eq!(bench.line.output.len(), OUTPUT_LIMIT, "it is held up by the socket");
        bench.line.pop();
    }
    bench.faults.clear();
    bench.follow();
    assert!(bench.line.is_empty() && bench.left.len() <= OUTPUT_LIMIT + 10, "{}", bench.left.len());
}

#[test]
fn a_reordered_datagram_comes_after_the_next_ones_and_one_is_held_at_a_time() {
    let mut bench = Bench::new(&[r#"{"fault": {"reorder": {"depth": 3}}}"#]);
    bench.numbers(0..8);
    assert_eq!((bench.came(), bench.hits(0)), (vec![1, 2, 3, 0, 5, 6, 7, 4], (Some(2), 8)));
    let mut bench = Bench::new(&[r#"{"fault": {"reorder": {"depth": 1}}, "skip": 2, "count": 1}"#]);
    bench.numbers(0..6);
    assert_eq!(bench.came(), [0, 1, 3, 2, 4, 5]);
}

#[test]
fn a_reordered_datagram_that_nothing_follows_leaves_after_a_second() {
    let mut bench = Bench::new(&[r#"{"fault": {"reorder": {"depth": 3}}}"#]);
    bench.numbers(0..2);
    bench.pass(MS(999));
    assert_eq!(bench.came(), [1]);
    bench.pass(MS(1));
    assert_eq!((bench.left[0].0, bench.came()), (1000, vec![0]));
    bench.numbers(2..4);
    bench.change(0, r#"{"reorder": {"depth": 1}}"#);
    assert_eq!(bench.came(), [3, 2], "a smaller depth is reached already");
    bench.numbers(4..5);
    bench.heal(0);
    assert_eq!(bench.came(), [4]);
}

#[test]
fn corrupt_changes_bytes_of_some_datagrams_the_same_way_for_the_same_seed_and_no_lengths() {
    let run = |json: &str| {
        let mut bench = Bench::new(&[json]);
        for _ in 0..500 {
            bench.push(vec![0b0101_0101; 100]);
        }
        let spoilt = bench.left.iter().filter(|(_, datagram)| datagram.iter().any(|byte| *byte != 0b0101_0101)).count();
        assert!(bench.left.len() == 500 && bench.left.iter().all(|(_, datagram)| datagram.len() == 100));
        assert_eq!(bench.hits(0), (Some(spoilt as u64), 500));
        (spoilt, bench.left)
    };
    // One in a hundred bytes leaves 0.99^100 = 37 % as they are.
    let json = r#"{"fault": {"corrupt": {"rate": 0.01, "how": "flip"}}, "seed": 1}"#;
    let (spoilt, first) = run(json);
    assert!((270..360).contains(&spoilt), "{spoilt}");
    assert!(first == run(json).1 && first != run(&json.replace("\"seed\": 1", "\"seed\": 2")).1);
    let all = run(r#"{"fault": {"corrupt": {"rate": 1, "how": "zero"}}}"#).1;
    assert!(all.iter().all(|(_, datagram)| datagram.iter().all(|byte| *byte == 0)));
}

#[test]
fn faults_apply_in_the_order_in_which_they_were_added() {
    let (double, lose) = (r#"{"fault": {"duplicate": {"copies": 1}}}"#, r#"{"fault": {"loss": {}}, "count": 1}"#);
    let mut bench = Bench::new(&[double, lose]);
    bench.numbers(0..2);
    assert_eq!(bench.came(), [0, 1, 1], "one of two copies is lost");
    let mut bench = Bench::new(&[lose, double]);
    bench.numbers(0..2);
    assert_eq!(bench.came(), [1, 1], "the original is lost, and nothing of it is doubled");
}

#[test]
fn what_a_removed_fault_held_goes_through_those_behind_it() {
    let mut bench =
        Bench::new(&[r#"{"fault": {"latency": {"delay": "1h"}}}"#, r#"{"fault": {"latency": {"delay": "50ms"}}}"#]);
    bench.numbers(0..3);
    bench.pass(MS(100));
    bench.heal(0);
    assert!(bench.left.is_empty());
    bench.pass(MS(50));
    assert_eq!((bench.left[0].0, bench.came()), (150, vec![0, 1, 2]));
}

proptest! {
    /// Faults that lose nothing lose nothing, whatever comes and goes.
    #[test]
    fn no_datagram_is_lost_or_changed_by_a_fault_that_does_not_lose(
        kinds in prop::collection::vec(0..4_usize, 1..5),
        steps in prop::collection::vec((0..3_u64, 0..40_u64, 0..64_usize), 1..60),
    ) {
        let all = [
            r#"{"fault": {"latency": {"delay": "30ms", "jitter": "20ms"}}, "percent": 70}"#,
            r#"{"fault": {"bandwidth": {"rate": "20KB/s"}}, "percent": 70}"#,
            r#"{"fault": {"reorder": {"depth": 2}}, "percent": 70}"#,
            r#"{"fault": {"latency": {"delay": "5ms"}}}"#,
        ];
        let mut bench = Bench::new(&[]);
        let mut sent = Vec::new();
        let mut kinds = kinds.iter().cycle();
        for (step, (what, span, length)) in steps.into_iter().enumerate() {
            match what {
                0 if bench.faults.len() < 4 => {
                    bench.faults.push(fault(all[*kinds.next().unwrap()]));
                    bench.follow();
                }
                1 if !bench.faults.is_empty() => bench.heal(length % bench.faults.len()),
                _ => {}
            }
            let mut datagram = step.to_le_bytes().to_vec();
            datagram.resize(8 + length, 1);
            sent.push(Bytes::from(datagram.clone()));
            bench.push(datagram);
            bench.pass(MS(span));
        }
        bench.faults.clear();
        bench.follow();
        let mut came: Vec<_> = bench.left.iter().map(|(_, datagram)| datagram.clone()).collect();
        came.sort();
        sent.sort();
        prop_assert_eq!(came, sent);
        prop_assert!(bench.line.is_empty());
    }
}
