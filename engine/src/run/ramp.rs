//! Carries out a ramp: level after level, each held and judged, until the steady state breaks. The fault is one and is
//! changed, so that a larger
//! `percent` hits the same units and more.
//!
//! ```text
//! level 1: set ─▶ hold ─▶ settled ─▶ judge ─ held ─▶ level 2: change ─▶ … ─ broken ─▶ take away at once
//! ```
//!
//! Neighbours: `inject` sets and takes away, `judge` judges. Invariant: a level is told before it is set, and a level
//! that broke, or could not be judged, is the last.

use super::{Run, baseline::Baseline, inject};
use crate::{
    decide::{self, Finding},
    event::What,
    experiment::{Level, Ramp, When},
    judge,
    record::Outcome,
    sample::Metric,
    tolerance::Judgement,
};
use squall_wire::FaultPatch;
use std::time::Duration;

/// The ramp, to its end or to a stop.
pub(super) async fn carry_out(run: &Run, ramp: &Ramp, baseline: &Baseline) {
    let mut set = Vec::new();
    let (mut safe, mut broken) = (None, None);
    // What was judged last ends here: what comes after it belongs to the next level, also what was under way when that
    // was set.
    let began = run.log.now();
    let mut judged_until = began;
    for (index, level) in ramp.levels.iter().enumerate() {
        let (number, of) = (index + 1, ramp.levels.len());
        let shown = format!("{} {}", ramp.vary, level.shown);
        run.log.tell(What::Level { step: ramp.name.clone(), number, of, level: shown.clone() }).await;
        if run.stop.is_stopped() || !reach(run, ramp, level, &mut set).await {
            return;
        }
        let from = run.log.now();
        if !run.stop.wait(ramp.hold).await {
            return;
        }
        let window = from..run.log.now();
        if !run.settled(window.end).await {
            return;
        }
        let steady = &run.experiment.steady_state;
        let rows = judge::judge_rows(steady, When::During, &run.recorder, &window, &baseline.values);
        let (outcome, reasons) = decide::summed_up(&rows);
        let (step, level_told) = (ramp.name.clone(), Some(shown));
        run.log.tell(What::Judged { step, level: level_told, outcome, reasons: reasons.clone() }).await;
        if outcome == Outcome::Held {
            (safe, judged_until) = (Some(level), window.end);
        } else {
            broken = Some((level, judged_until, outcome, reasons));
            break;
        }
    }
    let furthest = broken.as_ref().map(|(level, ..)| *level).or(safe);
    for fault in run.faults.lock().iter_mut().filter(|fault| fault.step == ramp.name && fault.from >= began) {
        let up_to = furthest.map_or("", |level| level.shown.as_str());
        fault.shown = format!("{}; {} up to {up_to}", fault.shown, ramp.vary);
    }
    back(run, ramp, set).await;
    if run.stop.is_stopped() {
        return;
    }
    conclude(run, ramp, safe, broken).await;
}

/// Comes to a level: the first sets the fault, the others change it. False when that failed or the run is stopped.
async fn reach(run: &Run, ramp: &Ramp, level: &Level, set: &mut Vec<inject::Set>) -> bool {
    let (Some(inject), Some(fault)) = (&ramp.inject, &level.fault) else {
        run.act_now();
        run.rate.set(level.value);
        return true;
    };
    if set.is_empty() {
        *set = inject::set_all(run, inject, fault).await;
        return !set.is_empty() && !run.stop.is_stopped();
    }
    let patch = FaultPatch { fault: Some(fault.fault.clone()), percent: Some(fault.percent), expires_in: None };
    let changes = set.iter().map(|set| inject::change(run, inject, set, &patch));
    futures::future::join_all(changes).await.into_iter().all(|changed| changed)
}

/// After the last level.
async fn back(run: &Run, ramp: &Ramp, set: Vec<inject::Set>) {
    match &ramp.inject {
        Some(inject) => inject::take_all_away(run, inject, &set).await,
        None => run.rate.set(run.normal_rate()),
    }
}

type Broken<'a> = (&'a Level, Duration, Outcome, Vec<String>);

async fn conclude(run: &Run, ramp: &Ramp, safe: Option<&Level>, broken: Option<Broken<'_>>) {
    let outcome = judged(ramp, safe, broken.as_ref().map(|(_, _, outcome, _)| *outcome));
    // How far it goes was asked, so that it breaks beyond what is expected is an answer, and no deviation.
    if let (Some((_, from, ..)), Some(_)) = (&broken, &ramp.expect) {
        run.recorder.leave_out(*from..run.log.now());
    }
    let because = broken.as_ref().map(|(.., reasons)| format!(" ({})", reasons.join("; "))).unwrap_or_default();
    let unclear = matches!(broken, Some((_, _, Outcome::Inconclusive, _)));
    let told = What::Ramped {
        step: ramp.name.clone(),
        vary: ramp.vary.clone(),
        safe: safe.map(|level| level.shown.clone()),
        broken: broken.filter(|(_, _, outcome, _)| *outcome == Outcome::Broken).map(|(level, ..)| level.shown.clone()),
        expect: ramp.expect.as_ref().map(|expect| expect.tolerance.to_string()),
        outcome,
    };
    let mut sentence = crate::event::in_words(&told).unwrap_or_default();
    if unclear {
        sentence.push_str("; the level after that could not be judged: hold it longer");
    }
    run.log.tell(told).await;
    run.findings.lock().push(Finding { outcome, sentence: sentence + &because });
}

/// Whether the last safe level is what it must be; every level must be safe where nothing is expected.
fn judged(ramp: &Ramp, safe: Option<&Level>, ended_by: Option<Outcome>) -> Outcome {
    let met = match (&ramp.expect, safe) {
        (None, _) => ended_by.is_none(),
        (Some(expect), Some(level)) => {
            let metric = if expect.is_time { Metric::Max } else { Metric::Value };
            expect.tolerance.judge_number(metric, level.value, None) == Judgement::Met
        }
        (Some(_), None) => false,
    };
    match (met, ended_by) {
        (true, _) => Outcome::Held,
        // The next level may well have been safe, had it been held for longer.
        (false, Some(Outcome::Inconclusive)) => Outcome::Inconclusive,
        (false, _) => Outcome::Broken,
    }
}
