//! Events as sentences: what the timeline lists, and which of them a chart marks. Pure.
//!
//! Neighbours: `html` and `chart`.

use super::page::capital;
use crate::{
    event::{Event, Phase, What},
    record::Outcome,
    verdict::Verdict,
};
use serde::Serialize;
use squall_wire::FaultKind;

/// What sort of thing happened; the page gives each its own sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Sort {
    Phase,
    Step,
    Inject,
    Remove,
    Good,
    Bad,
    Note,
    Quiet,
}

impl Sort {
    /// Its sign, so that colour is not needed to tell it.
    pub(super) const fn sign(self) -> &'static str {
        match self {
            Self::Phase => "▸",
            Self::Step => "·",
            Self::Inject => "▼",
            Self::Remove => "▲",
            Self::Good => "✓",
            Self::Bad => "✕",
            Self::Note => "✎",
            Self::Quiet => "–",
        }
    }
}

/// One line of the timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) sort: Sort,
    pub(super) title: String,
    pub(super) detail: String,
    /// Whether a chart marks it.
    pub(super) marked: bool,
}

/// An event in words.
pub(super) fn tell(event: &Event) -> Told {
    let told = |sort, marked, title: String, detail: String| Told { sort, title, detail, marked };
    match &event.what {
        What::Phase { phase, lasting } => {
            let detail = lasting.map(|lasting| format!("for {}", super::length(lasting))).unwrap_or_default();
            // Planning and leasing take a moment at the very start: nothing that a chart could show.
            let marked = *phase >= Phase::Baseline;
            told(Sort::Phase, marked, format!("{} begins", capital(phase.word())), detail)
        }
        What::Leased { agent, url, lease, proxies, ttl } => {
            let proxies: Vec<&str> = proxies.iter().map(AsRef::as_ref).collect();
            let detail = format!("lease {lease} at {url}, ends {} after its last renewal", super::length(*ttl));
            told(Sort::Quiet, false, format!("{agent} leases {}", proxies.join(", ")), detail)
        }
        What::StepStarted { step, lasting } => {
            told(Sort::Step, false, format!("Step “{step}” begins"), format!("for {}", super::length(*lasting)))
        }
        What::StepEnded { step } => told(Sort::Step, false, format!("Step “{step}” ends"), String::new()),
        What::Intent { agent, proxy, fault, .. } => {
            let title = format!("About to set {} on {proxy}", fault.fault.name());
            told(Sort::Quiet, false, title, format!("agent {agent}; {}", parameters(&fault.fault)))
        }
        What::Injected { agent, proxy, fault, .. } => {
            let title = format!("{} is set on {proxy}", capital(fault.name.as_str()));
            let detail = format!(
                "agent {agent}; {} for {} % of units; seed {}",
                parameters(&fault.fault),
                fault.percent.get(),
                fault.seed
            );
            told(Sort::Inject, true, title, detail)
        }
        What::Removed { agent, proxy, fault, hits, why } => {
            let title = format!("{} is gone from {proxy}", capital(fault.as_str()));
            told(Sort::Remove, true, title, format!("agent {agent}; {}; {why}", super::hits(*hits)))
        }
        What::Chosen { .. }
        | What::Surged { .. }
        | What::Subsided { .. }
        | What::Level { .. }
        | What::Judged { .. }
        | What::Ramped { .. }
        | What::UndoOwed { .. }
        | What::Ran { .. }
        | What::Undone { .. }
        | What::Asked { .. }
        | What::Answered { .. }
        | What::Round { .. } => step(&event.what),
        What::HealConfirmed { agent } => {
            told(Sort::Good, false, format!("{agent} confirms that no fault is left"), String::new())
        }
        What::HealFailed { agent, cause, remedy } => {
            let title = format!("{agent} could not confirm that its faults are gone");
            told(Sort::Bad, true, title, format!("{cause}. What to do: {remedy}"))
        }
        What::Breach { condition, measured } => {
            told(Sort::Bad, true, format!("Abort condition met: {condition}"), format!("measured {measured}"))
        }
        What::Stopped { by } => told(Sort::Bad, true, format!("Stopped by {by}"), String::new()),
        What::Failed { message } => told(Sort::Bad, true, format!("Failed: {message}"), String::new()),
        What::Note { text } => told(Sort::Note, true, capital(text), String::new()),
        What::Verdict { verdict, .. } => {
            let sort = if *verdict == Verdict::Held { Sort::Good } else { Sort::Bad };
            told(sort, true, format!("Verdict: {}", verdict.word().replace('_', " ")), verdict.meaning().to_owned())
        }
    }
}

/// What happens in the steps that are no faults.
fn step(what: &What) -> Told {
    let sign = |bad: bool, good: Sort| if bad { Sort::Bad } else { good };
    let lines = crate::event::in_words(what).unwrap_or_default();
    let (title, detail) = lines.split_once(": ").unwrap_or((&lines, ""));
    let (sort, marked) = match what {
        What::Surged { .. } | What::Level { .. } => (Sort::Inject, true),
        What::Subsided { .. } => (Sort::Remove, true),
        What::Judged { outcome, .. } => (sign(*outcome != Outcome::Held, Sort::Good), *outcome != Outcome::Held),
        What::Ramped { outcome, .. } => (sign(*outcome != Outcome::Held, Sort::Good), true),
        What::Ran { failed, .. } => (sign(failed.is_some(), Sort::Step), true),
        What::Undone { failed, .. } => (sign(failed.is_some(), Sort::Good), true),
        What::Asked { .. } | What::Answered { .. } => (Sort::Step, true),
        _ => (Sort::Quiet, false),
    };
    Told { sort, title: capital(title), detail: detail.to_owned(), marked }
}

/// A kind with its parameters on one line, as in a file.
fn parameters(kind: &FaultKind) -> String {
    // A fault is plain data and always becomes JSON; its YAML flow form is that without the quotes around keys.
    serde_json::to_string(kind).unwrap_or_default().replace('"', "").replace(',', ", ").replace(':', ": ")
}
