//! Chains that swallow, cut and end the stream, or answer in the upstream's place.

use super::{Bench, MS};
use crate::{fault::Ending, pipeline::Appetite};
use std::time::Duration;

#[test]
fn a_hole_swallows_bytes_and_the_end_and_resets_what_lost_some() {
    let mut bench = Bench::new(&[]);
    let fault = bench.set(r#"{"blackhole": {}}"#);
    bench.send(b"lost");
    bench.end(Ending::Eof);
    bench.run(Duration::from_secs(3600));
    assert_eq!((bench.count(), bench.down.ending(), fault.hits()), (0, None, Some(1)));
    bench.remove(&fault);
    assert_eq!(bench.down.ending(), Some(Ending::Reset));
}

#[test]
fn a_hole_that_swallowed_nothing_leaves_the_stream_whole() {
    let mut bench = Bench::new(&[]);
    let fault = bench.set(r#"{"blackhole": {}}"#);
    bench.run(Duration::from_secs(5));
    bench.remove(&fault);
    bench.send(b"on we go");
    assert_eq!((bench.text().as_str(), bench.down.ending(), fault.hits()), ("on we go", None, Some(0)));
}

#[test]
fn a_hole_closes_after_its_time_though_data_trickles_in() {
    let mut bench = Bench::new(&[r#"{"blackhole": {"close_after": "1s"}}"#]);
    for _ in 0..9 {
        bench.run(MS(100));
        bench.send(b".");
    }
    assert_eq!(bench.down.ending(), None);
    bench.run(MS(100));
    assert_eq!((bench.count(), bench.down.ending()), (0, Some(Ending::Close)));
}

#[test]
fn unread_forbids_reading_and_keeps_what_was_read_before() {
    let mut bench = Bench::new(&[r#"{"latency": {"delay": "10ms"}}"#]);
    bench.send(b"before");
    let fault = bench.set(r#"{"unread": {}}"#);
    assert_eq!((bench.down.appetite(), fault.hits()), (Appetite::Tell, Some(0)));
    bench.down.tell_unread(bench.now);
    assert_eq!((bench.down.appetite(), fault.hits()), (Appetite::Full, Some(1)));
    bench.run(Duration::from_secs(60));
    assert_eq!(bench.count(), 0);
    bench.remove(&fault);
    assert_eq!((bench.text().as_str(), bench.down.appetite()), ("before", Appetite::Hungry));
}

#[test]
fn a_reset_comes_after_its_time_and_drops_what_waits() {
    let mut bench = Bench::new(&[]);
    let fault = bench.set(r#"{"reset": {"after": "2s"}}"#);
    bench.send(b"passes");
    bench.run(MS(1999));
    assert_eq!((bench.text().as_str(), bench.down.ending(), fault.hits()), ("passes", None, Some(0)));
    bench.run(MS(1));
    assert_eq!((bench.down.ending(), fault.hits()), (Some(Ending::Abort), Some(1)));
}

#[test]
fn a_reset_or_a_cut_after_bytes_passes_exactly_so_many() {
    for (json, ending) in [
        (r#"{"reset": {"after_bytes": "10B"}}"#, Some(Ending::Reset)),
        (r#"{"truncate": {"bytes": "10B", "then": "reset"}}"#, Some(Ending::Reset)),
        (r#"{"truncate": {"bytes": "10B"}}"#, Some(Ending::Close)),
        (r#"{"truncate": {"bytes": "10B", "then": "blackhole"}}"#, None),
    ] {
        for chunks in [&["0123456789", "x"][..], &["0123456789AB"], &["0123", "456", "789", "A"]] {
            let mut bench = Bench::new(&[json]);
            chunks.iter().for_each(|chunk| bench.send(chunk.as_bytes()));
            bench.end(Ending::Eof);
            assert_eq!((bench.text().as_str(), bench.down.ending()), ("0123456789", ending), "{json} {chunks:?}");
        }
        let mut bench = Bench::new(&[]);
        let fault = bench.set(json);
        bench.send(b"012345678");
        bench.end(Ending::Eof);
        assert_eq!((bench.down.ending(), fault.hits()), (Some(Ending::Eof), Some(0)), "{json}: shorter than the cut");
    }
}

#[test]
fn a_cut_at_zero_ends_at_once() {
    let bench = Bench::new(&[r#"{"truncate": {"bytes": "0B"}}"#]);
    assert_eq!(bench.down.ending(), Some(Ending::Close));
}

#[test]
fn a_question_is_kept_from_the_upstream_and_answered_with_garbage() {
    let mut bench = Bench::new(&[]);
    let fault = bench.set(r#"{"garbage": {"style": {"text": "nonsense"}}}"#);
    assert!(bench.up.replaces_upstream());
    bench.send(b"an answer that was under way, ");
    bench.ask(b"GET /");
    bench.send(b"an answer to what?");
    assert!(bench.up.output().is_empty());
    assert_eq!(bench.text(), "an answer that was under way, nonsense");
    assert_eq!((bench.down.ending(), fault.hits()), (Some(Ending::Close), Some(1)));
}

#[test]
fn garbage_that_was_not_asked_for_leaves_no_trace_when_it_goes() {
    let mut bench = Bench::new(&[]);
    let fault = bench.set(r#"{"garbage": {"style": "random"}}"#);
    bench.run(MS(100));
    bench.remove(&fault);
    bench.ask(b"hello");
    assert_eq!(bench.up.output().front().unwrap(), "hello");
    assert_eq!((bench.count(), bench.up.replaces_upstream(), fault.hits()), (0, false, Some(0)));
}

#[test]
fn a_banner_comes_unasked_and_hanging_garbage_is_reset_when_it_goes() {
    let mut bench = Bench::new(&[]);
    let fault = bench.set(r#"{"garbage": {"style": "banner", "then": "hang"}}"#);
    bench.run(MS(1));
    assert!(bench.text().starts_with("SSH-2.0"));
    assert_eq!((bench.down.ending(), fault.hits()), (None, Some(1)));
    bench.remove(&fault);
    assert_eq!(bench.down.ending(), Some(Ending::Reset));
}

#[test]
fn a_silent_cut_follows_its_fault_as_long_as_nothing_is_lost() {
    let silent = |bytes: &str| format!(r#"{{"truncate": {{"bytes": "{bytes}", "then": "blackhole"}}}}"#);
    let mut bench = Bench::new(&[]);
    let fault = bench.set(&silent("4B"));
    bench.send(b"0123");
    bench.change(&fault, &silent("1KB"));
    bench.send(b"456");
    assert_eq!(bench.text(), "0123456", "the limit is further off now");
    bench.change(&fault, &silent("2B"));
    bench.send(b"lost");
    bench.change(&fault, &silent("1KB"));
    bench.send(b"after the hole");
    assert_eq!(bench.text(), "0123456");
    bench.change(&fault, r#"{"truncate": {"bytes": "1KB", "then": "close"}}"#);
    assert_eq!(bench.down.ending(), Some(Ending::Close), "what was cut ends as the fault says now");
}

#[test]
fn an_end_that_a_silent_cut_kept_is_told_when_nothing_else_was() {
    let mut bench = Bench::new(&[]);
    let fault = bench.set(r#"{"truncate": {"bytes": "4B", "then": "blackhole"}}"#);
    bench.send(b"0123");
    bench.end(Ending::Eof);
    assert_eq!(bench.down.ending(), None);
    bench.remove(&fault);
    assert_eq!((bench.text().as_str(), bench.down.ending()), ("0123", Some(Ending::Eof)));
}

#[test]
fn garbage_that_hangs_ends_when_it_is_to() {
    let mut bench = Bench::new(&[]);
    let fault = bench.set(r#"{"garbage": {"style": {"text": "nonsense"}, "then": "hang"}}"#);
    bench.ask(b"GET /");
    bench.run(MS(100));
    assert_eq!((bench.text().as_str(), bench.down.ending()), ("nonsense", None));
    bench.change(&fault, r#"{"garbage": {"style": {"text": "other"}, "then": "close"}}"#);
    assert_eq!((bench.text().as_str(), bench.down.ending()), ("nonsense", Some(Ending::Close)));
}
