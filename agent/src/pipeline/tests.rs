//! Chains of faults on a clock that the test turns: exact to the nanosecond and the byte.

use super::{Appetite, Pipeline};
use crate::{
    budget::Budget,
    fault::{ActiveFault, ConnectionMark, Ending, Item},
    proxy::{Membership, Roster},
};
use bytes::Bytes;
use squall_wire::{FaultKind, FaultSpec};
use std::{
    sync::{Arc, atomic::AtomicU64},
    time::{Duration, Instant},
};

const MS: fn(u64) -> Duration = Duration::from_millis;

mod endings;
mod property;

/// One connection with both its directions, and a clock.
struct Bench {
    roster: Roster,
    membership: Arc<Membership>,
    up: Pipeline,
    down: Pipeline,
    start: Instant,
    now: Instant,
    /// What left downstream, and when.
    left: Vec<(Duration, Bytes)>,
}

impl Bench {
    fn new(faults: &[&str]) -> Self {
        let budget = Budget::new(1 << 30);
        let mut roster = Roster::default();
        let mark = Arc::new(ConnectionMark::new(Arc::new(AtomicU64::new(0))));
        let (_, membership) = roster.enter("127.0.0.1".parse().unwrap(), mark);
        let now = Instant::now();
        let (up, down) = (Pipeline::new(true, Arc::clone(&budget)), Pipeline::new(false, budget));
        let mut bench = Self { roster, membership, up, down, start: now, now, left: Vec::new() };
        faults.iter().for_each(|fault| drop(bench.set(fault)));
        bench
    }

    fn set(&mut self, json: &str) -> Arc<ActiveFault> {
        let spec: FaultSpec = serde_json::from_str(&format!(r#"{{"fault": {json}}}"#))
            .unwrap_or_else(|_| serde_json::from_str(json).unwrap());
        let fault = ActiveFault::new("f".parse().unwrap(), &spec, spec.seed.unwrap_or(5));
        let mut faults = self.roster.faults().to_vec();
        faults.push(Arc::clone(&fault));
        self.put(faults);
        fault
    }

    fn change(&mut self, fault: &ActiveFault, kind: &str) {
        assert!(fault.tune(Some(serde_json::from_str::<FaultKind>(kind).unwrap()), None));
        self.put(self.roster.faults().to_vec());
    }

    fn remove(&mut self, fault: &ActiveFault) {
        let kept = self.roster.faults().iter().filter(|other| other.id() != fault.id()).cloned().collect();
        self.put(kept);
    }

    fn put(&mut self, faults: Vec<Arc<ActiveFault>>) {
        self.roster.set_faults(faults);
        self.up.follow(&self.membership.plan(), self.now);
        self.down.follow(&self.membership.plan(), self.now);
        self.collect();
    }

    fn send(&mut self, bytes: &[u8]) {
        self.down.push(Item::Bytes(Bytes::copy_from_slice(bytes)), self.now);
        self.collect();
    }

    fn ask(&mut self, bytes: &'static [u8]) {
        self.up.push(Item::Bytes(Bytes::from_static(bytes)), self.now);
        self.down.advance(self.now);
        self.collect();
    }

    fn end(&mut self, ending: Ending) {
        self.down.push(Item::End(ending), self.now);
        self.collect();
    }

    /// Lets time pass, waking the chain exactly when it asks for it.
    fn run(&mut self, span: Duration) {
        let until = self.now + span;
        while let Some(wake) = self.down.next_wake(self.now).filter(|wake| *wake <= until) {
            assert!(wake >= self.now || self.down.next_wake(self.now) == Some(wake));
            self.now = wake.max(self.now);
            self.down.advance(self.now);
            self.collect();
        }
        self.now = until;
        self.down.advance(until);
        self.collect();
    }

    /// Writes what is ready, as a sink with room for everything would.
    fn collect(&mut self) {
        while let Some(bytes) = self.down.output().front().cloned() {
            self.down.written(bytes.len());
            self.left.push((self.now - self.start, bytes));
            self.down.advance(self.now);
        }
    }

    fn text(&self) -> String {
        self.left.iter().map(|(_, bytes)| String::from_utf8_lossy(bytes)).collect()
    }

    fn times(&self) -> Vec<Duration> {
        self.left.iter().map(|(at, _)| *at).collect()
    }

    fn count(&self) -> usize {
        self.left.iter().map(|(_, bytes)| bytes.len()).sum()
    }
}

#[test]
fn two_hundred_messages_one_ms_apart_each_leave_exactly_100_ms_later() {
    let mut bench = Bench::new(&[r#"{"latency": {"delay": "100ms"}}"#]);
    for _ in 0..200 {
        bench.send(b"message");
        bench.run(MS(1));
    }
    bench.run(MS(200));
    let expected: Vec<_> = (0..200).map(|n| MS(100 + n)).collect();
    assert_eq!(bench.times(), expected);
}

#[test]
fn two_latencies_in_a_row_add_up_exactly() {
    let mut bench = Bench::new(&[r#"{"latency": {"delay": "100ms"}}"#, r#"{"latency": {"delay": "100ms"}}"#]);
    for _ in 0..50 {
        bench.send(b"m");
        bench.run(MS(3));
    }
    bench.run(MS(500));
    assert_eq!(bench.times(), (0..50).map(|n| MS(200 + 3 * n)).collect::<Vec<_>>());
}

#[test]
fn jitter_spreads_but_never_reorders_and_is_the_same_for_the_same_seed() {
    let run = || {
        let mut bench = Bench::new(&[r#"{"latency": {"delay": "20ms", "jitter": "20ms"}}"#]);
        for n in 0..100_u8 {
            bench.send(&[n]);
            bench.run(MS(1));
        }
        bench.run(MS(100));
        assert_eq!(bench.left.iter().map(|(_, bytes)| bytes[0]).collect::<Vec<_>>(), (0..100).collect::<Vec<_>>());
        bench.times()
    };
    let times = run();
    assert_eq!(times, run());
    assert!(times.windows(2).all(|pair| pair[0] <= pair[1]));
    assert!(times.iter().zip(0..).any(|(at, n)| *at != MS(20 + n)));
}

#[test]
fn a_delay_line_takes_its_buffer_and_then_holds_the_reader_up() {
    let mut bench = Bench::new(&[r#"{"latency": {"delay": "1s", "buffer": "64KiB"}}"#]);
    let mut taken = 0;
    while bench.down.appetite() == Appetite::Hungry {
        bench.send(&[0; 1000]);
        taken += 1000;
    }
    assert!((55_000..70_000).contains(&taken), "{taken}");
    bench.run(MS(1000));
    assert_eq!(bench.count(), taken);
    assert_eq!(bench.down.appetite(), Appetite::Hungry);
}

#[test]
fn a_shorter_delay_takes_hold_of_what_is_on_the_line() {
    let mut bench = Bench::new(&[]);
    let fault = bench.set(r#"{"latency": {"delay": "10s"}}"#);
    bench.send(b"a");
    bench.run(MS(50));
    bench.change(&fault, r#"{"latency": {"delay": "80ms"}}"#);
    bench.run(MS(1000));
    assert_eq!(bench.times(), [MS(80)]);
}

#[test]
fn a_removed_fault_lets_go_of_everything_in_order_and_at_once() {
    let mut bench = Bench::new(&[]);
    let slow = bench.set(r#"{"latency": {"delay": "10s"}}"#);
    let drip = bench.set(r#"{"drip": {"bytes": 1, "every": "1s"}}"#);
    bench.send(b"hello");
    bench.end(Ending::Eof);
    bench.run(MS(10));
    bench.remove(&slow);
    assert_eq!(bench.text(), "h", "the second fault holds the rest");
    bench.remove(&drip);
    assert_eq!((bench.text().as_str(), bench.down.ending()), ("hello", Some(Ending::Eof)));
    assert_eq!(bench.times(), [MS(10), MS(10)]);
}

#[test]
fn a_fault_set_in_the_middle_of_a_stream_does_not_reorder_it() {
    let mut bench = Bench::new(&[]);
    let first = bench.set(r#"{"latency": {"delay": "50ms"}}"#);
    bench.send(b"1");
    bench.run(MS(10));
    bench.set(r#"{"latency": {"delay": "20ms"}}"#);
    bench.send(b"2");
    bench.remove(&first);
    bench.send(b"3");
    bench.run(MS(500));
    assert_eq!(bench.text(), "123");
    assert_eq!(bench.times(), [MS(30), MS(30), MS(30)]);
}

#[test]
fn a_chunk_larger_than_a_seconds_budget_passes_at_the_rate() {
    let mut bench = Bench::new(&[r#"{"bandwidth": {"rate": "10KB/s"}}"#]);
    bench.send(&[7; 100_000]);
    bench.run(Duration::from_secs(5));
    assert!((49_500..=50_500).contains(&bench.count()), "{}", bench.count());
    bench.run(Duration::from_secs(6));
    assert_eq!(bench.count(), 100_000);
    let took = bench.times().last().unwrap().as_secs_f64();
    assert!((9.9..=10.1).contains(&took), "{took}");
}

#[test]
fn a_rate_of_zero_passes_nothing_until_it_is_raised() {
    let mut bench = Bench::new(&[]);
    let fault = bench.set(r#"{"bandwidth": {"rate": "0B/s"}}"#);
    bench.send(b"x");
    bench.run(Duration::from_secs(1000));
    assert_eq!((bench.count(), bench.down.next_wake(bench.now)), (0, None));
    bench.change(&fault, r#"{"bandwidth": {"rate": "1KB/s"}}"#);
    bench.run(MS(2));
    assert_eq!(bench.count(), 1);
}

#[test]
fn connections_that_share_a_rate_get_it_together() {
    let mut bench = Bench::new(&[]);
    let fault = bench.set(r#"{"bandwidth": {"rate": "100KB/s", "scope": "proxy"}}"#);
    let budget = Budget::new(1 << 30);
    let mark = Arc::new(ConnectionMark::new(Arc::new(AtomicU64::new(0))));
    let (_, other) = bench.roster.enter("127.0.0.1".parse().unwrap(), mark);
    let mut second = Pipeline::new(false, budget);
    second.follow(&other.plan(), bench.now);
    bench.send(&[1; 300_000]);
    second.push(Item::Bytes(Bytes::from(vec![2; 300_000])), bench.now);
    let mut others = 0;
    for _ in 0..2000 {
        bench.run(MS(1));
        second.advance(bench.now);
        while let Some(bytes) = second.output().front().cloned() {
            second.written(bytes.len());
            others += bytes.len();
        }
    }
    let together = bench.count() + others;
    assert!((196_000..=202_000).contains(&together), "{together}");
    assert!((80_000..=120_000).contains(&others), "not shared fairly: {others}");
    assert_eq!((fault.hits(), fault.units()), (Some(2), 2));
}

#[test]
fn a_late_end_comes_late_and_bytes_do_not() {
    let mut bench = Bench::new(&[r#"{"slow_close": {"delay": "5s"}}"#]);
    bench.send(b"all of it");
    bench.end(Ending::Eof);
    assert_eq!((bench.text().as_str(), bench.down.ending()), ("all of it", None));
    bench.run(MS(4999));
    assert_eq!(bench.down.ending(), None);
    bench.run(MS(1));
    assert_eq!(bench.down.ending(), Some(Ending::Eof));
}

#[test]
fn a_drip_leaves_one_piece_each_time_and_the_end_after_the_last() {
    let mut bench = Bench::new(&[r#"{"drip": {"bytes": 2, "every": "30s"}}"#]);
    bench.send(b"hello");
    bench.end(Ending::Eof);
    bench.run(Duration::from_secs(100));
    let pieces: Vec<_> = bench.left.iter().map(|(at, bytes)| (at.as_secs(), bytes.len())).collect();
    assert_eq!(pieces, [(0, 2), (30, 2), (60, 1)]);
    assert_eq!(bench.down.ending(), Some(Ending::Eof));
}

#[test]
fn a_large_piece_of_a_drip_is_gathered_whole() {
    let mut bench = Bench::new(&[r#"{"drip": {"bytes": 200000, "every": "1s"}}"#]);
    for _ in 0..40 {
        while bench.down.appetite() == Appetite::Hungry {
            bench.send(&[0; 50_000]);
        }
        bench.run(MS(100));
    }
    let pieces: Vec<_> = bench.left.iter().map(|(at, bytes)| (at.as_secs(), bytes.len())).collect();
    // The first leaves with what was there.
    assert_eq!(pieces, [(0, 50_000), (1, 200_000), (2, 200_000), (3, 200_000), (4, 200_000)]);
}

#[test]
fn a_stall_that_never_thaws_wakes_nobody() {
    let mut bench = Bench::new(&[r#"{"stall": {"every": "2ms", "for": "2ms"}}"#]);
    bench.send(b"x");
    assert_eq!((bench.count(), bench.down.next_wake(bench.now)), (0, None));
}

#[test]
fn drips_of_random_size_stay_within_their_bounds() {
    let mut bench = Bench::new(&[r#"{"drip": {"bytes": 10, "every": "1s", "size_jitter": 4}}"#]);
    bench.send(&[0; 1000]);
    bench.run(Duration::from_secs(200));
    let (last, pieces) = bench.left.split_last().unwrap();
    assert!(pieces.iter().all(|(_, piece)| (6..=14).contains(&piece.len())) && last.1.len() <= 14);
    assert!(pieces.iter().any(|(_, piece)| piece.len() != 10));
    assert_eq!(bench.count(), 1000);
}

#[test]
fn a_stall_freezes_on_its_own_beat_and_passes_between() {
    let mut bench = Bench::new(&[]);
    let fault = bench.set(r#"{"stall": {"every": "1s", "for": "200ms"}}"#);
    // The beat counts from when the fault was set.
    (bench.start, bench.now) = (fault.since(), fault.since());
    for _ in 0..30 {
        bench.send(b"x");
        bench.run(MS(100));
    }
    bench.run(MS(100));
    let frozen = |n: u64| if n % 10 < 2 { MS(100 * (n - n % 10) + 200) } else { MS(100 * n) };
    assert_eq!(bench.times(), (0..30).map(frozen).collect::<Vec<_>>());
    assert_eq!(fault.hits(), Some(1));
}

#[test]
fn a_fault_whose_count_is_spent_lets_everything_pass() {
    for json in [
        r#"{"fault": {"latency": {"delay": "1s"}}, "count": 1}"#,
        r#"{"fault": {"reset": {"after": "1s"}}, "count": 1}"#,
        r#"{"fault": {"blackhole": {"close_after": "1s"}}, "count": 1}"#,
        r#"{"fault": {"garbage": {"style": "random"}}, "count": 1}"#,
        r#"{"fault": {"unread": {}}, "count": 1}"#,
    ] {
        let mut bench = Bench::new(&[]);
        let fault = bench.set(json);
        assert!(fault.count_hit(), "somebody else was first");
        bench.down.tell_unread(bench.now);
        bench.ask(b"?");
        bench.send(b"whole");
        bench.run(MS(2000));
        assert_eq!((bench.text().as_str(), bench.down.ending()), ("whole", None), "{json}");
        assert_eq!((fault.hits(), bench.up.replaces_upstream()), (Some(1), false), "{json}");
    }
}

#[test]
fn a_delay_line_that_was_full_once_takes_in_evenly_until_it_is_empty() {
    let mut bench = Bench::new(&[r#"{"latency": {"delay": "1s", "buffer": "1MiB"}}"#]);
    let mut tenths = [0; 50];
    // A sender that always has more, on a link that looks each millisecond.
    for millis in 0..5_000 {
        bench.now = bench.start + MS(millis);
        bench.down.advance(bench.now);
        while bench.down.appetite() == Appetite::Hungry {
            bench.down.push(Item::Bytes(Bytes::from(vec![0; 4096])), bench.now);
        }
        let out = bench.down.output().iter().map(Bytes::len).sum();
        bench.down.written(out);
        tenths[millis as usize / 100] += out;
    }
    assert!(tenths[..10].iter().all(|bytes| *bytes == 0), "{tenths:?}");
    assert!(tenths[10] > 900_000, "the buffer is filled as fast as it goes: {tenths:?}");
    let even = 90_000..=116_000;
    assert!(tenths[20..].iter().all(|bytes| even.contains(bytes)), "{tenths:?}");
    let emptied = bench.start + MS(10_000);
    bench.down.advance(emptied);
    while !bench.down.output().is_empty() {
        bench.down.written(usize::MAX);
        bench.down.advance(emptied);
    }
    let mut taken = 0;
    while bench.down.appetite() == Appetite::Hungry {
        bench.down.push(Item::Bytes(Bytes::from(vec![0; 4096])), emptied);
        taken += 4096;
    }
    assert!(taken > 900_000, "an empty line forgets: {taken}");
}

#[test]
fn a_paced_stream_whose_link_wakes_late_keeps_its_rate_and_its_burst() {
    let mut bench = Bench::new(&[r#"{"bandwidth": {"rate": "100MB/s"}}"#]);
    let mut sent = 0;
    // Nine milliseconds too late, each time.
    for wake in 0..200_u64 {
        bench.now = bench.start + MS(10 * wake);
        bench.down.advance(bench.now);
        let mut out = 0;
        loop {
            while bench.down.appetite() == Appetite::Hungry {
                bench.down.push(Item::Bytes(Bytes::from(vec![0; 50_000])), bench.now);
            }
            let ready: usize = bench.down.output().iter().map(Bytes::len).sum();
            if ready == 0 {
                break;
            }
            bench.down.written(ready);
            bench.down.advance(bench.now);
            out += ready;
        }
        assert!(out <= 2_000_000, "{out} bytes at once");
        sent += out;
    }
    let rate = sent as f64 / 1.99;
    assert!((rate / 1e8 - 1.0).abs() < 0.02, "{rate}");
}
