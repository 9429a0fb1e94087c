//! From what was measured to the verdict: the first that applies, and every reason for it. Pure.
//!
//! Neighbours: `judge` says how each row turned out, `run` says what happened; here they become one word.
//! Invariant: `held` is what is left when nothing speaks against it; too few samples and an unfelt fault do.

use crate::{
    record::{FaultRecord, Outcome, RowResult},
    run::{recovery::Recovered, stop::StopReason},
    verdict::Verdict,
};
use squall_wire::Span;
use std::time::Duration;

/// Everything that a verdict is made of.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Why the run was stopped, if it was.
    pub stopped: Option<StopReason>,
    /// Agents that could not confirm that they are healed, a sentence each.
    pub unconfirmed: Vec<String>,
    /// The rows over the baseline.
    pub before: Vec<RowResult>,
    /// The rows over the faults.
    pub during: Vec<RowResult>,
    /// What recovery showed; none: it was not watched.
    pub recovered: Option<Recovered>,
    /// The faults with their hits.
    pub faults: Vec<FaultRecord>,
    /// What ramps and checks in the method have shown.
    pub findings: Vec<Finding>,
    /// Whether something else than a fault was done to the system: a program or a request, or more load.
    pub acted: bool,
    /// How long recovery might take.
    pub within: Duration,
    /// More samples came than could be kept, so no row can be trusted.
    pub samples_lost: bool,
}

/// What a step has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How it turned out.
    pub outcome: Outcome,
    /// What it showed.
    pub sentence: String,
}

/// A verdict, why, and the exit code that goes with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The verdict.
    pub verdict: Verdict,
    /// The exit code: the verdict's, or 128 and the signal's number.
    pub exit_code: u8,
    /// Why, in sentences; the ones that made the verdict first.
    pub reasons: Vec<String>,
}

/// Decides: the first verdict that applies, in their order, and every reason for it.
#[must_use]
pub fn decide(facts: &Facts) -> Decision {
    let rules: [fn(&Facts) -> Ruling; 8] =
        [not_healed, failed, interrupted, aborted, not_steady, deviated, not_recovered, inconclusive];
    let (verdict, reasons) = rules.iter().find_map(|rule| rule(facts)).unwrap_or_else(|| (Verdict::Held, held(facts)));
    let exit_code = match (&facts.stopped, verdict) {
        (Some(StopReason::Signal(signal)), Verdict::Interrupted) => signal.exit_code(),
        _ => verdict.exit_code(),
    };
    Decision { verdict, exit_code, reasons }
}

impl Facts {
    /// Every row, in the order of the windows.
    #[must_use]
    pub fn into_rows(self) -> Vec<RowResult> {
        let after = self.recovered.map(|recovered| recovered.rows).unwrap_or_default();
        [self.before, self.during, after].concat()
    }
}

type Ruling = Option<(Verdict, Vec<String>)>;

fn not_healed(facts: &Facts) -> Ruling {
    (!facts.unconfirmed.is_empty()).then(|| (Verdict::NotHealed, facts.unconfirmed.clone()))
}

fn failed(facts: &Facts) -> Ruling {
    match &facts.stopped {
        Some(StopReason::Failed(message)) => Some((Verdict::Error, vec![message.clone()])),
        _ if facts.samples_lost => {
            let why = "more samples came than can be kept: lower the rate of the traffic, or shorten the run";
            Some((Verdict::Error, vec![why.to_owned()]))
        }
        _ => None,
    }
}

fn interrupted(facts: &Facts) -> Ruling {
    match &facts.stopped {
        Some(StopReason::Signal(signal)) => Some((
            Verdict::Interrupted,
            vec![format!("stopped by {}; every agent has confirmed that it is healed", signal.name())],
        )),
        Some(StopReason::Answered { step, by }) => Some((
            Verdict::Interrupted,
            vec![format!("stopped at `{step}` ({by}); every agent has confirmed that it is healed")],
        )),
        _ => None,
    }
}

fn aborted(facts: &Facts) -> Ruling {
    match &facts.stopped {
        Some(StopReason::Abort { condition, measured }) => {
            Some((Verdict::Aborted, vec![format!("abort condition met: {condition} ({measured})")]))
        }
        _ => None,
    }
}

fn not_steady(facts: &Facts) -> Ruling {
    let broken = sentences(&facts.before, Outcome::Broken, "before the first fault");
    (!broken.is_empty()).then_some((Verdict::NotSteady, broken))
}

fn deviated(facts: &Facts) -> Ruling {
    let mut broken = found(facts, Outcome::Broken);
    broken.extend(sentences(&facts.during, Outcome::Broken, "during the faults"));
    (!broken.is_empty()).then_some((Verdict::Deviated, broken))
}

fn not_recovered(facts: &Facts) -> Ruling {
    let recovered = facts.recovered.as_ref()?;
    let broken = sentences(&recovered.rows, Outcome::Broken, "after the faults were gone");
    if recovered.after.is_some() || broken.is_empty() {
        return None;
    }
    let late = format!("not back to normal within {} of the faults being gone", Span::from(facts.within));
    Some((Verdict::NotRecovered, [vec![late], broken].concat()))
}

fn inconclusive(facts: &Facts) -> Ruling {
    let mut reasons = sentences(&facts.before, Outcome::Inconclusive, "before the first fault");
    reasons.extend(sentences(&facts.during, Outcome::Inconclusive, "during the faults"));
    reasons.extend(found(facts, Outcome::Inconclusive));
    match &facts.recovered {
        Some(recovered) => {
            reasons.extend(sentences(&recovered.rows, Outcome::Inconclusive, "after the faults were gone"));
        }
        None if !facts.faults.is_empty() || facts.acted => reasons.push("recovery was not watched".to_owned()),
        None => {}
    }
    for fault in facts.faults.iter().filter(|fault| fault.hits == Some(0)) {
        reasons.push(format!("fault `{}` on `{}` hit nothing: no traffic met it", fault.name, fault.proxy));
    }
    if reasons.is_empty() && facts.faults.is_empty() && !facts.acted {
        reasons.push("no fault was injected".to_owned());
    }
    (!reasons.is_empty()).then_some((Verdict::Inconclusive, reasons))
}

fn found(facts: &Facts, outcome: Outcome) -> Vec<String> {
    facts.findings.iter().filter(|found| found.outcome == outcome).map(|found| found.sentence.clone()).collect()
}

/// How rows turned out together, and why not well, in sentences.
#[must_use]
pub fn summed_up(rows: &[RowResult]) -> (Outcome, Vec<String>) {
    for outcome in [Outcome::Broken, Outcome::Inconclusive] {
        let reasons = sentences(rows, outcome, "then");
        if !reasons.is_empty() {
            return (outcome, reasons);
        }
    }
    if rows.is_empty() {
        return (Outcome::Inconclusive, vec!["no row is judged then".to_owned()]);
    }
    (Outcome::Held, Vec::new())
}

fn sentences(rows: &[RowResult], outcome: Outcome, when: &str) -> Vec<String> {
    let sentence = |row: &RowResult| {
        let RowResult { probe, metric, tolerance, shown, samples, .. } = row;
        format!("{probe} {metric} was {shown} {when}, wanted {tolerance} ({samples} samples)")
    };
    rows.iter().filter(|row| row.outcome == outcome).map(sentence).collect()
}

/// How it held, and what its steps have found out on the way.
fn held(facts: &Facts) -> Vec<String> {
    [vec![how_it_held(facts)], found(facts, Outcome::Held)].concat()
}

fn how_it_held(facts: &Facts) -> String {
    let rows = facts.before.len() + facts.during.len() + facts.recovered.as_ref().map_or(0, |r| r.rows.len());
    let back = facts.recovered.as_ref().and_then(|recovered| recovered.after);
    let back = back.map(|after| format!(", back to normal {} after the faults were gone", Span::from(millis(after))));
    format!("all {rows} tolerances held{}", back.unwrap_or_default())
}

fn millis(duration: Duration) -> Duration {
    Duration::from_millis(duration.as_millis().try_into().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::{Facts, Finding, decide};
    use crate::{
        experiment::When,
        record::{FaultRecord, Outcome, RowResult},
        run::{
            recovery::Recovered,
            stop::{Signal, StopReason},
        },
        sample::Metric,
        verdict::Verdict,
    };
    use std::time::Duration;

    fn row(when: When, outcome: Outcome) -> RowResult {
        RowResult {
            probe: "traffic.page".into(),
            metric: Metric::P99,
            tolerance: "< 1s".into(),
            when,
            measured: Some(0.5),
            shown: "500 ms".into(),
            baseline: Some(0.4),
            samples: 100,
            outcome,
            limits: vec![1.0],
            control: None,
            burn: None,
        }
    }

    fn fault(hits: Option<u64>) -> FaultRecord {
        FaultRecord {
            step: "slow".into(),
            agent: "main".into(),
            proxy: "web".into(),
            name: "latency-1".into(),
            kind: "latency".into(),
            shown: "latency: {delay: 1s}".into(),
            seed: Some(1),
            from: Duration::from_secs(1),
            to: Some(Duration::from_secs(2)),
            hits,
        }
    }

    fn good() -> Facts {
        Facts {
            before: vec![row(When::Before, Outcome::Held)],
            during: vec![row(When::During, Outcome::Held)],
            recovered: Some(Recovered {
                rows: vec![row(When::After, Outcome::Held)],
                after: Some(Duration::from_millis(300)),
            }),
            faults: vec![fault(Some(3))],
            within: Duration::from_secs(5),
            ..Facts::default()
        }
    }

    fn verdict(change: impl FnOnce(&mut Facts)) -> (Verdict, u8) {
        let mut facts = good();
        change(&mut facts);
        let decision = decide(&facts);
        assert!(!decision.reasons.is_empty(), "a verdict without a reason");
        (decision.verdict, decision.exit_code)
    }

    #[test]
    fn when_nothing_speaks_against_it_the_hypothesis_held() {
        assert_eq!(verdict(|_| ()), (Verdict::Held, 0));
        assert_eq!(decide(&good()).reasons, ["all 3 tolerances held, back to normal 300ms after the faults were gone"]);
    }

    #[test]
    fn each_verdict_has_its_cause_and_its_code() {
        let stopped = |reason: StopReason| move |facts: &mut Facts| facts.stopped = Some(reason);
        assert_eq!(verdict(|f| f.unconfirmed.push("a".into())), (Verdict::NotHealed, 8));
        assert_eq!(verdict(stopped(StopReason::Failed("x".into()))), (Verdict::Error, 7));
        assert_eq!(verdict(|f| f.samples_lost = true), (Verdict::Error, 7));
        assert_eq!(verdict(stopped(StopReason::Signal(Signal::Int))), (Verdict::Interrupted, 130));
        assert_eq!(verdict(stopped(StopReason::Signal(Signal::Term))), (Verdict::Interrupted, 143));
        assert_eq!(verdict(stopped(StopReason::Signal(Signal::Hup))), (Verdict::Interrupted, 129));
        let breach = StopReason::Abort { condition: "c".into(), measured: "m".into() };
        assert_eq!(verdict(stopped(breach)), (Verdict::Aborted, 5));
        assert_eq!(verdict(|f| f.before[0].outcome = Outcome::Broken), (Verdict::NotSteady, 4));
        assert_eq!(verdict(|f| f.during[0].outcome = Outcome::Broken), (Verdict::Deviated, 1));
        let late = Recovered { rows: vec![row(When::After, Outcome::Broken)], after: None };
        assert_eq!(verdict(|f| f.recovered = Some(late)), (Verdict::NotRecovered, 6));
    }

    #[test]
    fn too_little_is_inconclusive_and_never_held() {
        assert_eq!(verdict(|f| f.before[0].outcome = Outcome::Inconclusive), (Verdict::Inconclusive, 9));
        assert_eq!(verdict(|f| f.during[0].outcome = Outcome::Inconclusive), (Verdict::Inconclusive, 9));
        let few = Recovered { rows: vec![row(When::After, Outcome::Inconclusive)], after: None };
        assert_eq!(verdict(|f| f.recovered = Some(few)), (Verdict::Inconclusive, 9));
        assert_eq!(verdict(|f| f.recovered = None), (Verdict::Inconclusive, 9));
        assert_eq!(verdict(|f| f.faults = vec![fault(Some(0))]), (Verdict::Inconclusive, 9));
        assert_eq!(verdict(|f| f.faults = vec![fault(Some(3)), fault(Some(0))]), (Verdict::Inconclusive, 9));
    }

    #[test]
    fn what_steps_found_counts_and_is_told() {
        let finding = |outcome| Finding { outcome, sentence: "a ramp".into() };
        assert_eq!(verdict(|f| f.findings = vec![finding(Outcome::Broken)]), (Verdict::Deviated, 1));
        assert_eq!(verdict(|f| f.findings = vec![finding(Outcome::Inconclusive)]), (Verdict::Inconclusive, 9));
        let held = decide(&Facts { findings: vec![finding(Outcome::Held)], ..good() });
        assert_eq!((held.verdict, held.reasons[1].as_str()), (Verdict::Held, "a ramp"));
    }

    #[test]
    fn a_run_without_faults_is_held_only_when_something_else_was_done() {
        assert_eq!(verdict(|f| f.faults.clear()), (Verdict::Inconclusive, 9));
        assert_eq!(verdict(|f| (f.faults, f.acted) = (Vec::new(), true)), (Verdict::Held, 0));
        let stop = StopReason::Answered { step: "look".into(), by: "a person".into() };
        assert_eq!(verdict(|f| f.stopped = Some(stop)), (Verdict::Interrupted, 130));
    }

    #[test]
    fn a_fault_whose_hits_cannot_be_counted_is_no_reason_against_it() {
        assert_eq!(verdict(|f| f.faults = vec![fault(None)]), (Verdict::Held, 0));
    }

    #[test]
    fn the_graver_verdict_comes_first() {
        let all = |f: &mut Facts| {
            f.unconfirmed.push("agent".into());
            f.stopped = Some(StopReason::Failed("x".into()));
            f.during[0].outcome = Outcome::Broken;
        };
        assert_eq!(verdict(all), (Verdict::NotHealed, 8));
        let broken_and_unfelt = |f: &mut Facts| {
            f.during[0].outcome = Outcome::Broken;
            f.faults = vec![fault(Some(0))];
        };
        assert_eq!(verdict(broken_and_unfelt), (Verdict::Deviated, 1));
    }
}
