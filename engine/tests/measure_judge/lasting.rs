//! Rows that look further than one window: burn rates over two, and `for` over stretches.

use super::{check, failed, ms, recorder, row, sample, status};
use squall_engine::{
    experiment::{AbortRow, Burn, Check, When},
    judge::{Baselines, breach, judge_rows},
    record::Outcome::{self, Broken, Held, Inconclusive},
    recorder::Recorder,
    sample::{Metric, Sample},
};
use std::{sync::Arc, time::Duration};

fn burning(tolerance: &str, objective: f64, long: u64, short: u64) -> Check {
    let burn = Burn { objective, long: ms(long), short: ms(short) };
    Check { burn: Some(burn), ..check(Metric::BurnRate, tolerance) }
}

/// A request each 10 ms, of which those fail for which `bad` says so.
fn requests(until: u64, bad: impl Fn(u64) -> bool) -> Arc<Recorder> {
    let samples = (0..until).step_by(10).map(|at| if bad(at) { failed(at, "x") } else { sample(at) });
    recorder(samples.map(|sample| ("traffic.browse", sample)))
}

#[test]
fn a_burn_rate_is_broken_only_while_both_windows_burn() {
    let judge = |recorder: &Recorder, from: u64, to: u64| {
        let rows = [row("traffic", burning("< 10", 0.99, 3000, 500), &[When::During])];
        judge_rows(&rows, When::During, recorder, &(ms(from)..ms(to)), &Baselines::default()).remove(0)
    };
    // A tenth of three seconds fails for as long as the long window burns at 10; half a second of it is more.
    let burst = requests(10_000, |at| (4000..4400).contains(&at));
    let broken = judge(&burst, 3000, 10_000);
    assert_eq!(broken.outcome, Broken);
    assert_eq!(broken.tolerance, "< 10 of 99% over 3s and 500ms");
    assert!(broken.shown.starts_with("13.3x over 3s, 80x over 500ms at 4.4 s"), "{}", broken.shown);
    // After it the long window burns on, and the short one does not.
    assert_eq!(judge(&burst, 5000, 10_000).outcome, Held);
    // A burst too short to matter: the short window burns, the long one does not.
    let blip = requests(10_000, |at| (4000..4200).contains(&at));
    assert_eq!(judge(&blip, 3000, 10_000).outcome, Held);
    // What was before the window counts in it, up to the first sample.
    assert_eq!(judge(&burst, 4300, 4400).outcome, Broken);
    assert_eq!(judge(&requests(100, |_| true), 0, 10_000).outcome, Inconclusive);
}

#[test]
fn a_burn_rate_aborts_when_both_windows_burn_now() {
    let row = AbortRow::Breach {
        probe: "traffic".into(),
        checks: vec![burning(">= 10", 0.99, 3000, 500)],
        lasting: Duration::ZERO,
    };
    let recorder = requests(10_000, |at| (4000..4400).contains(&at));
    let at = |now| breach(&row, &recorder, ms(0), ms(now), &Baselines::default());
    assert_eq!([at(3900), at(4100), at(5500)], [None, None, None]);
    let breach = at(4400).unwrap();
    assert_eq!(breach.condition, "traffic burn_rate >= 10 of 99% over 3s and 500ms");
    assert!(
        breach.measured.starts_with("burn_rate 13.3x over 3s (300 samples), 80x over 500ms (50 samp"),
        "{breach:?}"
    );
}

fn lasting(check: Check, lasting: u64, when: When, samples: Vec<(&'static str, Sample)>) -> (Outcome, String) {
    let mut row = row(samples[0].0, check, &[when]);
    row.lasting = Some(ms(lasting));
    let recorder = recorder(samples);
    let result = judge_rows(&[row], when, &recorder, &(ms(0)..ms(6000)), &Baselines::default()).remove(0);
    (result.outcome, result.shown)
}

#[test]
fn a_row_with_for_is_broken_by_what_lasts_and_not_by_a_moment() {
    let readings = |bad: std::ops::Range<u64>| {
        (0..6000).step_by(500).map(move |at| ("ready", status(at, if bad.contains(&at) { 503 } else { 200 }))).collect()
    };
    let ready = || check(Metric::Status, "200");
    assert_eq!(lasting(ready(), 2000, When::During, readings(1000..3000)).0, Held, "1.5 s by what was read");
    let (outcome, shown) = lasting(ready(), 2000, When::During, readings(1000..3500));
    assert_eq!((outcome, &*shown), (Broken, "503 for 2.0 s (5 samples in a row)"));
    // One good reading between ends the row.
    let mut interrupted: Vec<(&'static str, Sample)> = readings(1000..4000);
    interrupted[4].1.status = Some(200);
    assert_eq!(lasting(ready(), 2000, When::During, interrupted).0, Held);
}

#[test]
fn after_the_faults_a_row_with_for_is_back_when_it_was_in_for_as_long() {
    let ready = || check(Metric::Status, "200");
    let until = |last_bad: u64| {
        (0..6000).step_by(500).map(|at| ("ready", status(at, if at == last_bad { 503 } else { 200 }))).collect()
    };
    assert_eq!(lasting(ready(), 2000, When::After, until(1000)).0, Held);
    let (outcome, shown) = lasting(ready(), 2000, When::After, until(4000));
    assert_eq!((outcome, &*shown), (Broken, "200 for only 1.5 s, wanted 2s"));
    assert_eq!(lasting(ready(), 2000, When::After, until(5500)).0, Broken);
    assert_eq!(lasting(ready(), 2000, When::During, until(4000)).0, Held, "during them a moment does not matter");
}

#[test]
fn a_ratio_with_for_is_measured_over_each_stretch_of_that_length() {
    let bad = |from: u64, to: u64| {
        let one = move |at: u64| if (from..to).contains(&at) { failed(at, "x") } else { sample(at) };
        (0..6000).step_by(10).map(move |at| ("traffic.browse", one(at))).collect()
    };
    let ratio = || check(Metric::SuccessRatio, ">= 50%");
    assert_eq!(lasting(ratio(), 1000, When::During, bad(2000, 2400)).0, Held);
    let (outcome, shown) = lasting(ratio(), 1000, When::During, bad(2000, 2600));
    assert_eq!(outcome, Broken);
    assert!(shown.starts_with("45 % over 1s up to 2.5") || shown.starts_with("49"), "{shown}");
    let few = (0..6000).step_by(100).map(|at| ("traffic.rare", failed(at, "x"))).collect();
    assert_eq!(lasting(ratio(), 1000, When::During, few).0, Inconclusive, "ten in each stretch");
}
