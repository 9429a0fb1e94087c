//! No secret reaches the file: every text of a value is cleaned before it is stored.
//!
//! Each value is taken apart by name, without `..`, so that a new field is decided on here. What is a checked word
//! (proxies, faults, leases, verdicts, ids) stays: a word replaced by `***` could not be read back.
//! Limits that are no numbers go as well, because JSON cannot carry them.

use crate::{
    event::{Event, What},
    experiment::Secrets,
    record::{
        AbortRecord, AgentRecord, ControlRecord, FaultRecord, RowResult, RunEnd, RunRecord, RunStart, SourceRecord,
    },
};
use squall_wire::{FaultKind, fault::GarbageStyle};

/// A whole run as the journal would give it back; the texts of its samples are clean already.
pub(crate) fn redacted(secrets: &Secrets, record: &RunRecord) -> RunRecord {
    RunRecord {
        start: start(secrets, &record.start),
        end: record.end.as_ref().map(|one| end(secrets, one)),
        events: record.events.iter().map(|one| event(secrets, one)).collect(),
        series: record.series.clone(),
    }
}

/// The start of a run without secrets.
pub(super) fn start(secrets: &Secrets, start: &RunStart) -> RunStart {
    let clean = |text: &String| secrets.redact(text);
    let RunStart {
        id,
        experiment,
        hypothesis,
        owner,
        tags,
        source: SourceRecord { path, text },
        variables,
        environment,
        agents,
        started_at,
        version,
        host,
        pid,
        recovery_within,
        recovery_hold,
    } = start;
    RunStart {
        id: id.clone(),
        experiment: clean(experiment),
        hypothesis: clean(hypothesis),
        owner: owner.as_ref().map(clean),
        tags: tags.iter().map(clean).collect(),
        source: SourceRecord { path: clean(path), text: clean(text) },
        variables: variables.iter().map(|(name, value)| (name.clone(), clean(value))).collect(),
        environment: clean(environment),
        agents: agents
            .iter()
            .map(|AgentRecord { name, url, version }| AgentRecord {
                name: clean(name),
                url: clean(url),
                version: clean(version),
            })
            .collect(),
        started_at: started_at.clone(),
        version: version.clone(),
        host: clean(host),
        pid: *pid,
        recovery_within: *recovery_within,
        recovery_hold: *recovery_hold,
    }
}

/// An event without secrets.
pub(super) fn event(secrets: &Secrets, event: &Event) -> Event {
    let mut event = event.clone();
    let clean = |text: &mut String| *text = secrets.redact(text);
    match &mut event.what {
        What::Phase { phase: _, lasting: _ } => {}
        What::Leased { agent, url, lease: _, proxies: _, ttl: _ } => {
            clean(agent);
            clean(url);
        }
        What::StepStarted { step, lasting: _ } | What::StepEnded { step } => clean(step),
        What::Intent { step, agent, proxy: _, fault } => {
            clean(step);
            clean(agent);
            kind(secrets, &mut fault.fault);
        }
        What::Injected { step, agent, proxy: _, fault } => {
            clean(step);
            clean(agent);
            kind(secrets, &mut fault.fault);
        }
        What::Removed { agent, proxy: _, fault: _, hits: _, why } => {
            clean(agent);
            clean(why);
        }
        What::Chosen { step, agents, rule } => {
            clean(step);
            clean(rule);
            agents.iter_mut().for_each(clean);
        }
        What::Surged { step, rate: _, normal: _ } | What::Subsided { step, rate: _ } => clean(step),
        What::Level { step, number: _, of: _, level } => [step, level].into_iter().for_each(clean),
        What::Judged { step, level, outcome: _, reasons } => {
            clean(step);
            level.iter_mut().chain(reasons).for_each(clean);
        }
        What::Ramped { step, vary, safe, broken, expect, outcome: _ } => {
            [step, vary].into_iter().chain(safe).chain(broken).chain(expect).for_each(clean);
        }
        What::UndoOwed { step, number: _, undo, directory } => [step, undo, directory].into_iter().for_each(clean),
        What::Ran { step, action, code: _, failed, output, altered: _ } => {
            [step, action, output].into_iter().chain(failed).for_each(clean);
        }
        What::Undone { step, number: _, failed } => std::iter::once(step).chain(failed).for_each(clean),
        What::Asked { step, question, timeout: _, default: _ } => [step, question].into_iter().for_each(clean),
        What::Answered { step, answer: _, by } => [step, by].into_iter().for_each(clean),
        What::Round { step, number: _, of: _ } => clean(step),
        What::HealConfirmed { agent } => clean(agent),
        What::HealFailed { agent, cause, remedy } => {
            clean(agent);
            clean(cause);
            clean(remedy);
        }
        What::Breach { condition, measured } => {
            clean(condition);
            clean(measured);
        }
        What::Stopped { by } => clean(by),
        What::Failed { message } => clean(message),
        What::Note { text } => clean(text),
        What::Verdict { verdict: _, reasons } => reasons.iter_mut().for_each(clean),
    }
    event
}

/// The end of a run without secrets, and without numbers that JSON cannot carry.
pub(super) fn end(secrets: &Secrets, end: &RunEnd) -> RunEnd {
    let mut end = end.clone();
    let clean = |text: &mut String| *text = secrets.redact(text);
    let RunEnd { verdict: _, exit_code: _, reasons, took: _, rows, faults, aborts } = &mut end;
    reasons.iter_mut().for_each(clean);
    for row in rows {
        let RowResult {
            probe,
            metric: _,
            tolerance,
            when: _,
            measured,
            shown,
            baseline,
            samples: _,
            outcome: _,
            limits,
            control,
        } = row;
        clean(probe);
        clean(tolerance);
        clean(shown);
        *measured = measured.filter(|value| value.is_finite());
        *baseline = baseline.filter(|value| value.is_finite());
        limits.retain(|limit| limit.is_finite());
        if let Some(control) = control {
            let ControlRecord { hit, spared, hit_samples: _, spared_samples: _, test: _, p_value, p_adjusted } =
                control;
            for number in [hit, spared, p_value, p_adjusted] {
                *number = number.filter(|value| value.is_finite());
            }
        }
    }
    for fault in faults {
        let FaultRecord { step, agent, proxy, name, kind, shown, seed: _, from: _, to: _, hits: _ } = fault;
        [step, agent, proxy, name, kind, shown].into_iter().for_each(clean);
    }
    for AbortRecord { probe, condition, limits } in aborts {
        clean(probe);
        clean(condition);
        limits.retain(|(_, limit)| limit.is_finite());
    }
    end
}

/// The only kind with a free text is garbage of one's own.
fn kind(secrets: &Secrets, kind: &mut FaultKind) {
    if let FaultKind::Garbage(garbage) = kind
        && let GarbageStyle::Text(text) = &mut garbage.style
    {
        *text = secrets.redact(text);
    }
}
