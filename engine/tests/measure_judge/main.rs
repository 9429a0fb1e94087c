//! Judging: what holds, what does not, and above all what is not enough to say.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod lasting;

use squall_engine::{
    experiment::{AbortRow, Check, SteadyRow, When},
    groups::{Group, GroupReading},
    judge::{Baselines, Breach, Judged, baselines, breach, judge_check, judge_rows},
    record::{
        Outcome::{self, Broken, Held, Inconclusive},
        RowResult,
    },
    recorder::Recorder,
    sample::{Metric, Sample},
    tolerance::Tolerance,
};
use std::{sync::Arc, time::Duration};

const SECOND: Duration = Duration::from_secs(1);

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn check(metric: Metric, tolerance: &str) -> Check {
    Check::new(metric, Tolerance::parse(tolerance, metric).unwrap())
}

fn sample(at: u64) -> Sample {
    Sample { at: ms(at), took: ms(5), ok: true, status: None, value: None, text: None }
}

fn failed(at: u64, why: &str) -> Sample {
    Sample { ok: false, text: Some(why.into()), ..sample(at) }
}

fn status(at: u64, status: u16) -> Sample {
    Sample { status: Some(status), ..sample(at) }
}

fn value(at: u64, value: f64) -> Sample {
    Sample { value: Some(value), ..sample(at) }
}

fn text(at: u64, text: &str) -> Sample {
    Sample { text: Some(text.into()), ..sample(at) }
}

fn judged(metric: Metric, tolerance: &str, samples: &[Sample]) -> Judged {
    judge_check(&check(metric, tolerance), samples, SECOND, None, None)
}

fn outcome(metric: Metric, tolerance: &str, samples: &[Sample]) -> (Outcome, String) {
    let judged = judged(metric, tolerance, samples);
    (judged.outcome, judged.shown)
}

#[test]
fn ratio_over_no_samples_is_inconclusive() {
    assert_eq!(outcome(Metric::SuccessRatio, ">= 0%", &[]), (Inconclusive, "no samples".into()));
    assert_eq!(outcome(Metric::P99, "< 1s", &[]).0, Inconclusive);
}

#[test]
fn a_ratio_over_nineteen_samples_is_inconclusive_and_over_twenty_is_not() {
    let samples: Vec<_> = (0..20).map(sample).collect();
    let (few, shown) = outcome(Metric::SuccessRatio, ">= 99%", &samples[..19]);
    assert_eq!(few, Inconclusive);
    assert_eq!(shown, "100 % of 19 samples, too few: 20 are needed");
    assert_eq!(outcome(Metric::SuccessRatio, ">= 99%", &samples).0, Held);
}

#[test]
fn too_few_samples_are_inconclusive_even_when_they_are_bad() {
    assert_eq!(outcome(Metric::SuccessRatio, ">= 99%", &[failed(0, "x")]).0, Inconclusive);
}

#[test]
fn min_samples_of_a_row_is_what_counts() {
    let samples: Vec<_> = (0..5).map(sample).collect();
    let with = |min| judge_check(&check(Metric::P50, "< 10ms"), &samples, SECOND, None, Some(min)).outcome;
    assert_eq!((with(5), with(6)), (Held, Inconclusive));
}

#[test]
fn ninety_nine_of_a_hundred_are_at_least_99_percent() {
    let samples: Vec<_> = (0..100).map(|n| if n == 7 { failed(n, "x") } else { sample(n) }).collect();
    assert_eq!(outcome(Metric::SuccessRatio, ">= 99%", &samples), (Held, "99 %".into()));
    assert_eq!(outcome(Metric::SuccessRatio, "> 99%", &samples).0, Broken);
    assert_eq!(outcome(Metric::ErrorRatio, "<= 1%", &samples).0, Held);
}

#[test]
fn a_rate_needs_no_samples_to_be_zero() {
    assert_eq!(outcome(Metric::Rate, ">= 1/s", &[]), (Broken, "0/s".into()));
    assert_eq!(outcome(Metric::Rate, "== 0/s", &[]).0, Held);
}

#[test]
fn every_status_must_meet_the_tolerance_and_one_is_enough_to_break_it() {
    assert_eq!(outcome(Metric::Status, "200", &[status(0, 200)]), (Held, "200".into()));
    let mixed = [status(0, 200), status(1, 503), status(2, 500), status(3, 200)];
    assert_eq!(outcome(Metric::Status, "200", &mixed), (Broken, "503 (2 of 4 samples)".into()));
    assert_eq!(judged(Metric::Status, "200", &mixed).measured, Some(503.0));
    assert_eq!(outcome(Metric::Status, "200", &[]).0, Inconclusive);
}

#[test]
fn a_failed_reading_meets_no_tolerance_of_status_value_or_body() {
    for (metric, tolerance) in
        [(Metric::Status, "!= 500"), (Metric::Value, "!= 7"), (Metric::Value, ">= 0"), (Metric::Body, "matches /.*/")]
    {
        let (outcome, shown) = outcome(metric, tolerance, &[failed(0, "timed out after 300 ms")]);
        assert_eq!((outcome, &*shown), (Broken, "no answer: timed out after 300 ms"), "{metric} {tolerance}");
    }
}

#[test]
fn an_unexpected_answer_still_has_a_status() {
    let answered = Sample { ok: false, ..status(0, 404) };
    assert_eq!(outcome(Metric::Status, "== 404", &[answered]).0, Held);
}

#[test]
fn readings_without_a_value_yet_are_passed_over() {
    assert_eq!(outcome(Metric::Value, "< 5", &[sample(0), value(1, 4.0)]), (Held, "4".into()));
    assert_eq!(outcome(Metric::Value, "< 5", &[sample(0)]), (Inconclusive, "no sample has one".into()));
}

#[test]
fn texts_are_judged_one_by_one() {
    let samples = [text(0, "ready"), text(1, "degraded")];
    assert_eq!(outcome(Metric::Body, "== ready", &samples), (Broken, "degraded".into()));
    assert_eq!(outcome(Metric::Body, "matches /^(ready|degraded)$/", &samples).0, Held);
}

#[test]
fn without_a_baseline_another_branch_may_still_decide() {
    let samples: Vec<_> = (0..20).map(sample).collect();
    let judge =
        |tolerance, baseline| judge_check(&check(Metric::P99, tolerance), &samples, SECOND, baseline, None).outcome;
    assert_eq!(judge("within 20% of baseline", None), Inconclusive);
    assert_eq!(judge("within 20% of baseline or < 50ms", None), Held);
    assert_eq!(judge("within 20% of baseline or < 1ms", None), Inconclusive);
    assert_eq!(judge("within 20% of baseline", Some(0.005)), Held);
    assert_eq!(judge("within 20% of baseline", Some(0.004)), Broken);
}

fn recorder(samples: impl IntoIterator<Item = (&'static str, Sample)>) -> Arc<Recorder> {
    let names = ["traffic.browse", "traffic.rare", "ready", "load"];
    let recorder = Recorder::new(names.map(str::to_owned));
    for (name, sample) in samples {
        recorder.push(recorder.series(name).unwrap(), sample);
    }
    recorder
}

fn row(probe: &str, check: Check, when: &[When]) -> SteadyRow {
    SteadyRow { probe: probe.into(), checks: vec![check], when: when.to_vec(), min_samples: None, lasting: None }
}

#[test]
fn rows_are_judged_in_their_window_against_the_baseline() {
    let slow = |at| Sample { took: ms(8), ..sample(at) };
    let samples = (0..1000).step_by(10).map(sample).chain((1000..2000).step_by(10).map(slow));
    let recorder = recorder(samples.map(|sample| ("traffic.browse", sample)));
    let rows = [
        row("traffic", check(Metric::P50, "within 20% of baseline"), &[When::Before, When::During]),
        row("traffic.browse", check(Metric::Max, "< 6ms"), &[When::Before, When::After]),
    ];
    let (before, during) = (ms(0)..ms(1000), ms(1000)..ms(2000));
    let baselines = baselines(&rows, &recorder, &before);
    let outcomes = |when, window| {
        let results = judge_rows(&rows, when, &recorder, window, &baselines);
        results.iter().map(|row| (row.probe.clone(), row.outcome, row.samples)).collect::<Vec<_>>()
    };
    assert_eq!(
        outcomes(When::Before, &before),
        [("traffic".to_owned(), Held, 100), ("traffic.browse".to_owned(), Held, 100)]
    );
    assert_eq!(outcomes(When::During, &during), [("traffic".to_owned(), Broken, 100)]);
    assert_eq!(outcomes(When::After, &during), [("traffic.browse".to_owned(), Broken, 100)]);
    let during = &judge_rows(&rows, When::During, &recorder, &during, &baselines)[0];
    assert_eq!(during.limits.len(), 1);
    assert!((during.limits[0] - 0.006).abs() < 1e-5, "{:?}", during.limits);
}

#[test]
fn a_baseline_of_too_few_samples_is_none() {
    let recorder = recorder((0..19).map(|at| ("traffic.browse", sample(at))));
    let whole = ms(0)..ms(1000);
    assert_eq!(baselines(&[], &recorder, &whole).get("traffic.browse", Metric::P99), None);
    assert_eq!(baselines(&[], &recorder, &whole).get("traffic.browse", Metric::Rate), Some(19.0));
    let mut row = row("traffic.browse", check(Metric::P99, "< 1s"), &[When::Before]);
    row.min_samples = Some(10);
    assert!(baselines(&[row], &recorder, &whole).get("traffic.browse", Metric::P99).is_some());
}

fn abort(probe: &str, metric: Metric, tolerance: &str, lasting: u64) -> AbortRow {
    AbortRow::Breach { probe: probe.into(), checks: vec![check(metric, tolerance)], lasting: ms(lasting) }
}

fn breached(row: &AbortRow, recorder: &Recorder, now: u64) -> Option<Breach> {
    breach(row, recorder, ms(0), ms(now), &Baselines::default())
}

#[test]
fn a_ratio_aborts_over_the_sliding_window_only() {
    let samples = (0..3000).step_by(10).map(|at| if at < 2000 { sample(at) } else { failed(at, "x") });
    let recorder = recorder(samples.map(|sample| ("traffic.browse", sample)));
    let row = abort("traffic", Metric::SuccessRatio, "< 50%", 1000);
    assert_eq!(breached(&row, &recorder, 2000), None);
    assert_eq!(breached(&row, &recorder, 2450), None);
    let breach = breached(&row, &recorder, 2600).unwrap();
    assert_eq!(breach.condition, "traffic success_ratio < 50% for 1s");
    assert_eq!(breach.measured, "success_ratio 40 % of 100 samples");
}

#[test]
fn four_failed_requests_are_no_reason_to_abort_and_five_are() {
    let row = abort("traffic", Metric::ErrorRatio, "> 50%", 1000);
    let four = recorder((1000..1004).map(|at| ("traffic.browse", failed(at, "x"))));
    let five = recorder((1000..1005).map(|at| ("traffic.browse", failed(at, "x"))));
    assert_eq!(breached(&row, &four, 1500), None);
    assert!(breached(&row, &five, 1500).is_some());
}

#[test]
fn nothing_aborts_before_the_guard_has_watched_for_that_long() {
    let recorder = recorder((0..2000).step_by(10).map(|at| ("traffic.browse", failed(at, "x"))));
    let row = abort("traffic", Metric::ErrorRatio, "> 50%", 500);
    let at = |now| breach(&row, &recorder, ms(1000), ms(now), &Baselines::default());
    assert_eq!(at(1499), None);
    assert!(at(1500).is_some());
}

#[test]
fn a_status_aborts_once_it_has_lasted_and_no_answer_is_not_200() {
    let readings = [status(0, 200), status(500, 503), failed(1000, "timed out"), status(1500, 503)];
    let recorder = recorder(readings.map(|sample| ("ready", sample)));
    let row = abort("ready", Metric::Status, "!= 200", 1000);
    let breach = breached(&row, &recorder, 1505).unwrap();
    assert_eq!(breach.measured, "status 503 (3 samples in a row)");
    assert_eq!(breached(&abort("ready", Metric::Status, "!= 200", 1100), &recorder, 1505), None);
    assert_eq!(breached(&abort("ready", Metric::Status, ">= 500", 900), &recorder, 1505), None);
}

#[test]
fn one_bad_reading_is_not_a_breach_that_lasts() {
    let recorder = recorder([("ready", status(0, 200)), ("ready", status(1000, 503))]);
    let row = abort("ready", Metric::Status, "!= 200", 1000);
    for now in [1005, 1500, 2004, 5000] {
        assert_eq!(breached(&row, &recorder, now), None, "at {now} ms");
    }
}

#[test]
fn one_reading_that_hung_for_as_long_is_a_breach() {
    let hung = Sample { took: ms(1000), ..failed(1000, "timed out after 1 s") };
    let recorder = recorder([("ready", status(0, 200)), ("ready", hung)]);
    let breach = breached(&abort("ready", Metric::Status, "!= 200", 1000), &recorder, 2000).unwrap();
    assert_eq!(breach.measured, "status no answer: timed out after 1 s (1 sample)");
}

#[test]
fn a_failed_reading_says_nothing_of_a_value() {
    let row = abort("load", Metric::Value, "> 5", 1000);
    let with = |middle| recorder([value(0, 9.0), middle, value(1000, 9.0)].map(|sample| ("load", sample)));
    assert!(breached(&row, &with(failed(500, "x")), 1010).is_some());
    assert_eq!(breached(&row, &with(value(500, 5.0)), 1010), None);
    let only_failed = recorder((0..2000).step_by(500).map(|at| ("load", failed(at, "x"))));
    assert_eq!(breached(&row, &only_failed, 2000), None);
}

#[test]
fn all_checks_of_a_row_must_be_met_at_once() {
    let recorder = recorder((0..1000).step_by(10).map(|at| ("traffic.browse", failed(at, "x"))));
    let both = |second| AbortRow::Breach {
        probe: "traffic".into(),
        checks: vec![check(Metric::ErrorRatio, "> 50%"), second],
        lasting: ms(1000),
    };
    assert_eq!(breached(&both(check(Metric::P99, "> 1s")), &recorder, 1000), None);
    let breach = breached(&both(check(Metric::P99, "> 1ms")), &recorder, 1000).unwrap();
    assert_eq!(breach.condition, "traffic error_ratio > 50% and p99 > 1ms for 1s");
}

#[test]
fn a_silent_probe_aborts_and_a_rare_request_does_not() {
    let steady = (0..6000).step_by(100).flat_map(|at| [("traffic.browse", sample(at)), ("ready", sample(at))]);
    let steady = recorder(steady.chain([("load", sample(5500))]));
    assert_eq!(breached(&AbortRow::Silent(ms(5000)), &steady, 6000), None);
    let breach = breached(&AbortRow::Silent(ms(400)), &steady, 6000).unwrap();
    assert_eq!(breach.measured, "load has given no sample for 495 ms");
}

/// Both groups of a reading that lasts a second from there: times in milliseconds, and errors of all that ended.
fn groups(from: u64, hit: (&[u64], u64), spared: (&[u64], u64)) -> GroupReading {
    let group = |(times, errors): (&[u64], u64)| {
        let mut group = Group { ended: times.len() as u64, errors, ..Group::default() };
        times.iter().for_each(|millis| *group.times.entry(millis * 1000).or_default() += 1);
        group
    };
    GroupReading { from: ms(from), to: ms(from + 1000), hit: group(hit), spared: group(spared) }
}

/// The rows of the probe `ready` over ten seconds of such readings.
fn compared(rows: &[SteadyRow], readings: impl IntoIterator<Item = GroupReading>) -> Vec<RowResult> {
    let recorder = recorder([]);
    let series = recorder.series("ready").unwrap();
    readings.into_iter().for_each(|reading| recorder.push_groups(series, reading));
    judge_rows(rows, When::During, &recorder, &(ms(0)..ms(10_000)), &Baselines::default())
}

fn versus(metric: Metric, tolerance: &str) -> SteadyRow {
    row("ready", check(metric, tolerance), &[When::Before, When::During, When::After])
}

/// Times around a middle one, spread alike everywhere.
fn around(millis: u64) -> Vec<u64> {
    (0..30).map(|n| millis + n % 7).collect()
}

#[test]
fn those_hit_that_are_slower_than_those_spared_are_worse_than_control() {
    let (slow, fast) = (around(130), around(30));
    let rows = [versus(Metric::P50, "no worse than control"), versus(Metric::P90, "no worse than control by 20%")];
    let results = compared(&rows, (0..3).map(|second| groups(second * 1000, (&slow, 0), (&fast, 0))));
    assert_eq!(results.iter().map(|row| row.outcome).collect::<Vec<_>>(), [Broken, Broken]);
    assert_eq!(results[0].shown, "133 ms, control 33 ms: +303 %, p < 0.0001 (90 hit, 90 spared)");
    let control = results[1].control.clone().unwrap();
    assert_eq!((control.test.as_str(), control.hit_samples, control.spared_samples), ("exceedance", 90, 90));
    assert!(control.p_value.unwrap() <= control.p_adjusted.unwrap());
    let results = compared(&rows, (0..3).map(|second| groups(second * 1000, (&fast, 0), (&fast, 0))));
    assert_eq!(results.iter().map(|row| row.outcome).collect::<Vec<_>>(), [Held, Held], "{results:?}");
}

#[test]
fn a_difference_below_the_margin_is_not_worse_however_sure_it_is() {
    let (hit, spared) = (around(105), around(100));
    let outcome = |tolerance| {
        let readings = (0..9).map(|second| groups(second * 1000, (&hit, 0), (&spared, 0)));
        compared(&[versus(Metric::P50, tolerance)], readings)[0].outcome
    };
    assert_eq!(outcome("no worse than control"), Held);
    assert_eq!(outcome("no worse than control by 2%"), Broken);
    assert_eq!([outcome("no worse than control by 3ms"), outcome("no worse than control by 8ms")], [Broken, Held]);
}

#[test]
fn other_parts_of_the_tolerance_are_about_those_hit() {
    let (hit, spared) = (around(40), around(10));
    let outcome = |tolerance| {
        let readings = (0..3).map(|second| groups(second * 1000, (&hit, 0), (&spared, 0)));
        compared(&[versus(Metric::P50, tolerance)], readings)[0].outcome
    };
    assert_eq!(outcome("no worse than control or < 50ms"), Held);
    assert_eq!(outcome("no worse than control or < 30ms"), Broken);
}

#[test]
fn too_few_of_either_group_are_inconclusive() {
    let few = around(500);
    let one = |hit: &[u64], spared: &[u64], metric| {
        compared(&[versus(metric, "no worse than control")], [groups(0, (hit, 0), (spared, 0))]).remove(0)
    };
    let result = one(&few[..19], &few, Metric::P50);
    assert_eq!(result.outcome, Inconclusive);
    assert_eq!(result.shown, "503 ms, control 503 ms (19 hit, 30 spared: too few, 20 of each are needed)");
    assert_eq!(one(&few, &few[..19], Metric::P50).outcome, Inconclusive);
    assert_eq!(one(&few, &few, Metric::P99).outcome, Inconclusive, "a 99th percentile of 30 is none");
    let none = one(&[], &[], Metric::ErrorRatio);
    assert_eq!((none.outcome, &*none.shown), (Inconclusive, "nothing to compare (0 hit, 0 spared)"));
    assert!(none.control.is_some(), "reports tell it from a reading by this");
}

#[test]
fn failing_oftener_than_control_is_worse_and_success_is_told_as_success() {
    let times = around(10);
    let rows = [
        versus(Metric::SuccessRatio, "no worse than control"),
        versus(Metric::ErrorRatio, "no worse than control by 50%"),
    ];
    let results = compared(&rows, (0..4).map(|second| groups(second * 1000, (&times, 6), (&times, 0))));
    assert_eq!(results.iter().map(|row| row.outcome).collect::<Vec<_>>(), [Broken, Held]);
    assert_eq!(results[0].shown, "80 %, control 100 %: -20.00 points, p < 0.0001 (120 hit, 120 spared)");
    let without = compared(&rows[..1], (0..4).map(|second| groups(second * 1000, (&times, 0), (&times, 0))));
    assert_eq!(without[0].outcome, Held);
}

#[test]
fn each_comparison_must_be_surer_the_more_there_are() {
    let rows = |count| vec![versus(Metric::ErrorRatio, "no worse than control"); count];
    // 5 of 40 against 0 of 40: p = 0.0274.
    let reading = || groups(0, (&[10; 40], 5), (&[10; 40], 0));
    assert_eq!(compared(&rows(1), [reading()])[0].outcome, Broken);
    let two = compared(&rows(2), [reading()]);
    assert_eq!(two[0].outcome, Held);
    assert!(two[0].shown.contains("p 0.0274, corrected 0.0547"), "{}", two[0].shown);
}

#[test]
fn before_and_after_the_faults_nothing_is_compared() {
    let rows = [versus(Metric::P50, "no worse than control")];
    let judge = |when| judge_rows(&rows, when, &recorder([]), &(ms(0)..ms(1000)), &Baselines::default());
    assert!(judge(When::Before).is_empty() && judge(When::After).is_empty());
}
