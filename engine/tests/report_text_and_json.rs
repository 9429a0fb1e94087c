//! What the terminal and programs get of a run.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod report_fixture;

use report_fixture as fixture;
use serde_json::Value;
use squall_engine::{
    record::RunRecord,
    report::{json, text},
    verdict::Verdict,
};

#[test]
fn the_terminal_shows_the_verdict_and_every_promise_beside_what_was_measured() {
    insta::assert_snapshot!(text::summary(&fixture::record()), @r"
    DEVIATED  payment-slow  (exit code 1)
      a tolerance did not hold during the faults, or after

      - traffic.checkout p99 was 1620 ms during the faults; `< 1500ms` was promised
      - traffic.checkout success_ratio was 96.4 % during the faults; `>= 99%` was promised

      probe             metric         tolerance                         before     during     after
      traffic.checkout  success_ratio  >= 99%                            ✓ 100 %    ✕ 96.4 %   ✓ 100 %
      traffic.checkout  p99            < 1500ms                          ✓ 71.5 ms  ✕ 1620 ms  ✓ 68.8 ms
      traffic.browse    success_ratio  >= 99.9%                          ✓ 100 %    ✓ 100 %    ✓ 100 %
      traffic.browse    p99            within 20% of baseline or < 50ms  ✓ 23.1 ms  ✓ 25.4 ms  ✓ 23.5 ms
      ready             status         200                               ✓ 200      ✕ 503      ✓ 200
      breaker           value          == 0                              ✓ 0        –          ? 0

      fault                                from    to      hits      as asked for
      sandbox/payment latency-1            8.07 s  20.1 s  486 hits  {latency: {delay: 800ms, jitter: 100ms}}
      sandbox/payment reset-1              23.1 s  29.1 s  73 hits   {reset: {}}, percent: 30
      sandbox/recommendations blackhole-1  23.1 s  29.1 s  214 hits  {blackhole: {}}

      took 33.1 s · sandbox · run 0197a3c2-5b1e-7c40-9a51-2f6d0b8e4c11
    ");
}

#[test]
fn a_held_run_is_as_plain_as_a_broken_one() {
    let mut end = fixture::end();
    (end.verdict, end.exit_code, end.reasons) = (Verdict::Held, 0, vec![]);
    end.rows.truncate(1);
    end.faults.clear();
    insta::assert_snapshot!(text::conclusion(&fixture::start(), &end), @r"
    HELD  payment-slow  (exit code 0)
      the hypothesis stood

      probe             metric         tolerance  before   during  after
      traffic.checkout  success_ratio  >= 99%     ✓ 100 %  –       –

      took 33.1 s · sandbox · run 0197a3c2-5b1e-7c40-9a51-2f6d0b8e4c11
    ");
}

#[test]
fn a_fault_that_is_still_there_is_shouted() {
    let mut end = fixture::end();
    end.faults.truncate(1);
    (end.faults[0].to, end.faults[0].hits) = (None, Some(0));
    let text = text::conclusion(&fixture::start(), &end);
    assert!(text.contains("NOT CONFIRMED GONE") && text.contains("hit nothing"), "{text}");
}

#[test]
fn a_run_without_an_end_says_what_to_do() {
    let text = text::summary(&RunRecord { end: None, ..fixture::record() });
    insta::assert_snapshot!(text, @r"
    NO VERDICT  payment-slow
      it is still running, or it died: `squall recover` heals what a dead run may have left

      started 2026-11-21T08:14:07Z on build-7 (process 48213) · run 0197a3c2-5b1e-7c40-9a51-2f6d0b8e4c11
    ");
}

#[test]
fn text_has_no_line_that_ends_in_spaces_and_no_control_characters() {
    let mut record = fixture::record();
    record.end.as_mut().unwrap().rows[0].shown = "two\nlines\u{1b}[31m".into();
    for line in text::summary(&record).lines() {
        assert_eq!(line, line.trim_end());
        assert!(!line.chars().any(char::is_control), "{line:?}");
    }
}

#[test]
fn the_json_of_a_run_keeps_its_shape() {
    let mut record = fixture::record();
    for series in &mut record.series {
        series.samples.truncate(2);
    }
    insta::assert_json_snapshot!(json::render(&record, true));
}

#[test]
fn samples_are_counted_and_given_only_if_asked_for() {
    let record = fixture::record();
    let (brief, whole) = (json::render(&record, false), json::render(&record, true));
    assert_eq!(brief["series"][1]["count"], 1_320);
    assert_eq!(brief["series"][1]["samples"], Value::Null);
    assert_eq!(whole["series"][1]["samples"].as_array().unwrap().len(), 1_320);
}

#[test]
fn an_unfinished_run_has_the_same_keys() {
    let keys =
        |record: &RunRecord| json::render(record, false).as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let open = RunRecord { end: None, ..fixture::record() };
    assert_eq!(keys(&open), keys(&fixture::record()));
    assert_eq!(json::render(&open, false)["verdict"], Value::Null);
}

#[test]
fn no_duration_is_left_in_seconds_and_nanoseconds() {
    let text = json::render(&fixture::record(), true).to_string();
    assert!(!text.contains("\"nanos\""), "a duration is not in milliseconds");
}
