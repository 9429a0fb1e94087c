//! The programs, run by a small interpreter as the kernel would run them.

use super::{
    ACK, AND, FLAGS, Instruction, JUMP, JUMP_AT_LEAST, JUMP_EQUAL, LOAD_BYTE, LOAD_WORD, NETWORK, RANDOM, RETURN,
    SHIFT_RIGHT, SYN, Share, openings, segments,
};
use crate::fault::ActiveFault;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use squall_wire::FaultSpec;
use std::{net::IpAddr, sync::Arc};

/// A segment as far as the programs look at it: its IP header, and the flags of TCP.
struct Segment {
    header: Vec<u8>,
    flags: u32,
}

impl Segment {
    fn new(from: &str, flags: u32) -> Self {
        let header = match from.parse().unwrap() {
            IpAddr::V4(from) => [&[0x45], &[0; 11][..], &from.octets(), &[127, 0, 0, 1]].concat(),
            IpAddr::V6(from) => [&[0x60], &[0; 7][..], &from.octets(), &[0; 16]].concat(),
        };
        Self { header, flags }
    }

    fn load(&self, at: u32, bytes: usize, random: &mut ChaCha8Rng) -> u32 {
        match at {
            RANDOM => random.next_u32(),
            FLAGS => self.flags,
            at => {
                let at = at.checked_sub(NETWORK).expect("a load of the IP header") as usize;
                self.header[at..at + bytes].iter().fold(0, |word, byte| word << 8 | u32::from(*byte))
            }
        }
    }
}

/// Whether the program lets the segment pass.
fn passes(program: &[Instruction], segment: &Segment, random: &mut ChaCha8Rng) -> bool {
    let (mut at, mut accumulator) = (0, 0_u32);
    loop {
        let Instruction { code, jump_true, jump_false, k } = program[at];
        at += 1;
        let mut branch = |taken: bool| at += usize::from(if taken { jump_true } else { jump_false });
        match code {
            LOAD_WORD => accumulator = segment.load(k, 4, random),
            LOAD_BYTE => accumulator = segment.load(k, 1, random),
            AND => accumulator &= k,
            SHIFT_RIGHT => accumulator >>= k,
            JUMP => at += k as usize,
            JUMP_EQUAL => branch(accumulator == k),
            JUMP_AT_LEAST => branch(accumulator >= k),
            RETURN => {
                assert!(k == 0 || k == u32::MAX, "a segment that is cut");
                return k != 0;
            }
            other => panic!("no instruction {other:#x}"),
        }
    }
}

/// The share of such segments that passes.
fn passing(program: &[Instruction], segment: &Segment) -> f64 {
    const ROLLS: u32 = 40_000;
    let mut random = ChaCha8Rng::seed_from_u64(5);
    let passed = (0..ROLLS).filter(|_| passes(program, segment, &mut random)).count();
    passed as f64 / f64::from(ROLLS)
}

fn faults(all: &[&str]) -> Vec<Arc<ActiveFault>> {
    all.iter()
        .map(|json| {
            let spec: FaultSpec = serde_json::from_str(json).unwrap();
            assert_eq!(spec.mistakes(), []);
            ActiveFault::new("f".parse().unwrap(), &spec, 1)
        })
        .collect()
}

fn data() -> Segment {
    Segment::new("10.0.0.1", ACK)
}

fn asking(from: &str) -> Segment {
    Segment::new(from, SYN)
}

#[test]
fn as_many_segments_are_dropped_as_was_said() {
    for loss in [0.001, 0.05, 0.3, 0.99] {
        let passed = passing(&segments(Share::of(loss)).unwrap(), &data());
        assert!((passed - (1.0 - loss)).abs() < 0.01, "{loss}: {passed}");
    }
    assert_eq!(passing(&segments(Share::of(1.0)).unwrap(), &data()), 0.0);
    assert_eq!(segments(Share::of(0.0)), None);
    assert_ne!(segments(Share::of(1e-300)), None, "some loss is never none");
    // The chance is below one by a single roll of four thousand million, and must not be taken for all or nothing.
    assert!(passing(&segments(Share::of(1.0 - 1.0 / 4e9)).unwrap(), &data()) < 0.01);
}

#[test]
fn only_what_asks_for_a_connection_is_dropped_on_the_listening_socket() {
    let program = openings(&faults(&[r#"{"fault": {"packet_loss": {"loss": 100, "syn_only": true}}}"#]));
    let program = program.unwrap().unwrap();
    assert_eq!(passing(&program, &asking("10.0.0.1")), 0.0);
    for flags in [ACK, SYN | ACK, ACK | 0x08, 0x04] {
        assert_eq!(passing(&program, &Segment { flags, ..data() }), 1.0, "{flags:#x}");
    }
    // ECN's flags are set on a SYN as well.
    assert_eq!(passing(&program, &Segment { flags: SYN | 0xc0, ..data() }), 0.0);
}

#[test]
fn faults_of_other_kinds_and_of_open_connections_do_not_touch_the_listening_socket() {
    let others = [r#"{"fault": {"packet_loss": {"loss": 100}}}"#, r#"{"fault": {"refuse": {}}}"#];
    assert!(openings(&faults(&others)).is_none());
}

#[test]
fn the_senders_network_is_told_by_the_ip_header() {
    let json = r#"{"fault": {"packet_loss": {"loss": 100, "syn_only": true}},
        "where": {"client": ["10.1.0.0/16", "2001:db8:0:7::/64", "192.168.1.9", "fe80::1"]}}"#;
    let program = openings(&faults(&[json])).unwrap().unwrap();
    for hit in ["10.1.255.3", "2001:db8:0:7:1:2:3:4", "192.168.1.9", "fe80::1"] {
        assert_eq!(passing(&program, &asking(hit)), 0.0, "{hit}");
    }
    for spared in ["10.2.0.1", "2001:db8:0:8::1", "192.168.1.8", "fe80::2", "2002:db8:0:7::1", "a01::"] {
        assert_eq!(passing(&program, &asking(spared)), 1.0, "{spared}");
    }
}

#[test]
fn every_sender_of_a_family_can_be_meant() {
    let json = r#"{"fault": {"packet_loss": {"loss": 100, "syn_only": true}}, "where": {"client": ["0.0.0.0/0"]}}"#;
    let program = openings(&faults(&[json])).unwrap().unwrap();
    assert_eq!((passing(&program, &asking("9.9.9.9")), passing(&program, &asking("::1"))), (0.0, 1.0));
}

#[test]
fn several_losses_compose() {
    let half = r#"{"fault": {"packet_loss": {"loss": 50, "syn_only": true}}}"#;
    let other = r#"{"fault": {"packet_loss": {"loss": 50, "syn_only": true}}, "where": {"client": ["10.0.0.0/8"]}}"#;
    let program = openings(&faults(&[half, other])).unwrap().unwrap();
    let passed = [passing(&program, &asking("10.0.0.1")), passing(&program, &asking("11.0.0.1"))];
    assert!((passed[0] - 0.25).abs() < 0.01 && (passed[1] - 0.5).abs() < 0.01, "{passed:?}");
}

#[test]
fn more_networks_than_a_program_holds_are_told() {
    let networks: Vec<_> = (0..300).map(|n| format!(r#""2001:db8:{n:x}::1""#)).collect();
    let json = |networks: &[String]| {
        let networks = networks.join(",");
        format!(
            r#"{{"fault": {{"packet_loss": {{"loss": 9, "syn_only": true}}}}, "where": {{"client": [{networks}]}}}}"#
        )
    };
    assert!(openings(&faults(&[&json(&networks)])).unwrap().is_err());
    let program = openings(&faults(&[&json(&networks[..200])])).unwrap().unwrap();
    assert!(passing(&program, &asking("2001:db8:c7::1")) < 0.95);
    assert_eq!(passing(&program, &asking("2001:db8:c8::1")), 1.0);
}
