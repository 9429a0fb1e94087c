//! The property that every kind which is not there to lose bytes must keep, on a clock that the test turns.

use super::{Bench, MS};
use crate::{
    fault::{ActiveFault, Ending},
    pipeline::Appetite,
};
use proptest::prelude::{Just, Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};
use std::sync::Arc;

#[derive(Debug, Clone)]
enum Step {
    Send(usize),
    Wait(u64),
    Set(usize),
    Change(usize),
    Remove(usize),
}

/// Kinds that lose nothing, each with other parameters to change to.
const KEEPING: &[(&str, &str)] = &[
    (r#"{"latency": {"delay": "30ms", "jitter": "20ms"}}"#, r#"{"latency": {"delay": "5ms"}}"#),
    (r#"{"latency": {"delay": "10ms", "buffer": "64KiB"}}"#, r#"{"latency": {"delay": "90ms", "jitter": "90ms"}}"#),
    (r#"{"bandwidth": {"rate": "200KB/s"}}"#, r#"{"bandwidth": {"rate": "0B/s"}}"#),
    (r#"{"bandwidth": {"rate": "1MB/s", "scope": "proxy"}}"#, r#"{"bandwidth": {"rate": "3KB/s", "burst": "1B"}}"#),
    (r#"{"drip": {"bytes": 100, "every": "1ms", "size_jitter": 99}}"#, r#"{"drip": {"bytes": 5000, "every": "3ms"}}"#),
    (
        r#"{"stall": {"every": "50ms", "for": "30ms", "jitter": "10ms"}}"#,
        r#"{"stall": {"every": "9ms", "for": "9ms"}}"#,
    ),
    (r#"{"slow_close": {"delay": "50ms"}}"#, r#"{"slow_close": {"delay": "1ms"}}"#),
    (r#"{"unread": {}}"#, r#"{"unread": {}}"#),
    (r#"{"reset": {"after": "9h"}}"#, r#"{"reset": {"after_bytes": "1GB"}}"#),
    (r#"{"truncate": {"bytes": "1GB"}}"#, r#"{"truncate": {"bytes": "2GB"}}"#),
    (r#"{"connection_limit": {"max": 0}}"#, r#"{"connection_limit": {"max": 0, "then": "queue"}}"#),
    (r#"{"flap": {"up": "9h", "down": "1s"}}"#, r#"{"flap": {"up": "8h", "down": "1s", "jitter": "10ms"}}"#),
    (r#"{"corrupt": {"rate": 1e-300}}"#, r#"{"corrupt": {"rate": 2e-300, "how": "zero"}}"#),
    (r#"{"garbage": {"style": "random"}}"#, r#"{"garbage": {"style": "html"}}"#),
];

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => prop_oneof![1_usize..200, Just(30_000)].prop_map(Step::Send),
        3 => (0_u64..40).prop_map(Step::Wait),
        3 => any::<prop::sample::Index>().prop_map(|index| Step::Set(index.index(KEEPING.len()))),
        2 => (0_usize..8).prop_map(Step::Change),
        3 => (0_usize..8).prop_map(Step::Remove),
    ]
}

proptest! {
    #[test]
    fn through_any_faults_set_changed_and_removed_what_arrives_is_what_was_sent(
        steps in prop::collection::vec(step(), 1..60)
    ) {
        let mut bench = Bench::new(&[]);
        let mut set: Vec<(Arc<ActiveFault>, usize)> = Vec::new();
        let mut sent = Vec::new();
        for step in steps {
            match step {
                Step::Send(bytes) => {
                    if bench.down.appetite() == Appetite::Hungry {
                        let chunk: Vec<u8> = (0..bytes).map(|n| ((sent.len() + n) % 251) as u8).collect();
                        bench.send(&chunk);
                        sent.extend(chunk);
                    }
                }
                Step::Wait(millis) => bench.run(MS(millis)),
                Step::Set(kind) => set.push((bench.set(KEEPING[kind].0), kind)),
                Step::Change(which) if !set.is_empty() => {
                    let (fault, kind) = set[which % set.len()].clone();
                    bench.change(&fault, KEEPING[kind].1);
                }
                Step::Remove(which) if !set.is_empty() => {
                    let (fault, _) = set.remove(which % set.len());
                    bench.remove(&fault);
                }
                Step::Change(_) | Step::Remove(_) => {}
            }
            let got: Vec<u8> = bench.left.iter().flat_map(|(_, bytes)| bytes.iter().copied()).collect();
            prop_assert!(sent.starts_with(&got));
        }
        bench.end(Ending::Eof);
        for (fault, _) in set {
            bench.remove(&fault);
        }
        let got: Vec<u8> = bench.left.iter().flat_map(|(_, bytes)| bytes.iter().copied()).collect();
        prop_assert_eq!(got.len(), sent.len());
        prop_assert!(got == sent);
        prop_assert_eq!(bench.down.ending(), Some(Ending::Eof));
        prop_assert!(bench.down.next_wake(bench.now).is_none());
    }
}
