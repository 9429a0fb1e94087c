//! What happened in a run, as it happened. Reporters, the live view and the journal only listen to these.
//!
//! Invariant: an `Intent` is in the journal before the agent is asked, so that a crash leaves nothing unknown.

use crate::{experiment::Answer, record::Outcome, verdict::Verdict};
use serde::{Deserialize, Serialize};
use squall_wire::{FaultInfo, FaultName, FaultSpec, LeaseId, ProxyName};
use std::time::Duration;

/// The phases of a run, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Agents are reached, limits and names are checked; nothing is touched.
    Plan,
    /// The proxies are taken under a lease.
    Lease,
    /// What is needed is brought about, before the load and the baseline.
    Setup,
    /// The steady state is watched.
    Baseline,
    /// The faults.
    Method,
    /// The faults are taken away and confirmed gone.
    Heal,
    /// The return to normal is watched.
    Recovery,
    /// Everything is judged.
    Verdict,
}

impl Phase {
    /// Its word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::Lease => "lease",
            Self::Setup => "setup",
            Self::Baseline => "baseline",
            Self::Method => "method",
            Self::Heal => "heal",
            Self::Recovery => "recovery",
            Self::Verdict => "verdict",
        }
    }
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// When, since the run started.
    pub at: Duration,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// A phase began, and is expected to take so long (none: not known).
    Phase {
        /// Which.
        phase: Phase,
        /// For how long, if known.
        lasting: Option<Duration>,
    },
    /// An agent gave a lease.
    Leased {
        /// The agent's name.
        agent: String,
        /// Its address.
        url: String,
        /// The lease.
        lease: LeaseId,
        /// What it holds.
        proxies: Vec<ProxyName>,
        /// It ends so long after its last renewal.
        ttl: Duration,
    },
    /// A step began.
    StepStarted {
        /// Its name.
        step: String,
        /// How long it takes.
        lasting: Duration,
    },
    /// A step ended in order.
    StepEnded {
        /// Its name.
        step: String,
    },
    /// A fault is about to be set.
    Intent {
        /// The step.
        step: String,
        /// The agent.
        agent: String,
        /// The proxy.
        proxy: ProxyName,
        /// The fault as asked for.
        fault: FaultSpec,
    },
    /// A fault is set: the agent has said so.
    Injected {
        /// The step.
        step: String,
        /// The agent.
        agent: String,
        /// The proxy.
        proxy: ProxyName,
        /// The fault as the agent has it, with its seed.
        fault: FaultInfo,
    },
    /// A fault is gone: the agent has said so.
    Removed {
        /// The agent.
        agent: String,
        /// The proxy.
        proxy: ProxyName,
        /// The fault.
        fault: FaultName,
        /// How many units it had hit; `null` where that cannot be counted, or the agent no longer knows.
        hits: Option<u64>,
        /// Why it went: `step ended`, `healed`, `lease ran out`, …
        why: String,
    },
    /// Which agents a step's `agents` chose, and by which rule.
    Chosen {
        /// The step.
        step: String,
        /// The agents.
        agents: Vec<String>,
        /// `50 % of 3 agents with zone=a are 1.5, rounded down to 1; seed 7`.
        rule: String,
    },
    /// The load is about to be another.
    Surged {
        /// The step.
        step: String,
        /// The new rate: `600/s`.
        rate: String,
        /// The rate before: `150/s`.
        normal: String,
    },
    /// The load is again what it was before a surge.
    Subsided {
        /// The step.
        step: String,
        /// The rate: `150/s`.
        rate: String,
    },
    /// A ramp is about to come to this level.
    Level {
        /// The step.
        step: String,
        /// Counted from 1.
        number: usize,
        /// How many there are.
        of: usize,
        /// What grows, and to what: `delay 800ms`.
        level: String,
    },
    /// The steady state was judged in the middle of the method: a level of a ramp, or a check.
    Judged {
        /// The step.
        step: String,
        /// The level; none of a check.
        level: Option<String>,
        /// How it turned out.
        outcome: Outcome,
        /// What did not hold, or was too little to say, in sentences.
        reasons: Vec<String>,
    },
    /// A ramp is over.
    Ramped {
        /// The step.
        step: String,
        /// What grew.
        vary: String,
        /// The last level at which the steady state held.
        safe: Option<String>,
        /// The first at which it did not.
        broken: Option<String>,
        /// What the last safe level must be, as written.
        expect: Option<String>,
        /// Whether it is.
        outcome: Outcome,
    },
    /// A `run` step is about to begin that is taken back when the run heals. In the journal before it begins.
    UndoOwed {
        /// The step.
        step: String,
        /// Counted from 1 over the run, by which `undone` tells it.
        number: usize,
        /// What takes it back, without its arguments.
        undo: String,
        /// The directory of the experiment's file.
        directory: String,
    },
    /// A `run` step has ended.
    Ran {
        /// The step.
        step: String,
        /// What was run, without its arguments.
        action: String,
        /// The exit code, or the status; none: it gave none.
        code: Option<i32>,
        /// Why it counts as failed, if it does.
        failed: Option<String>,
        /// What it put out, secrets replaced.
        output: String,
        /// Whether something in the output was replaced or cut, so that it is not what later steps saw.
        altered: bool,
    },
    /// What a `run` step did has been taken back, or could not be.
    Undone {
        /// The step.
        step: String,
        /// Which of those owed.
        number: usize,
        /// Why it could not, and what to do.
        failed: Option<String>,
    },
    /// A person is asked.
    Asked {
        /// The step.
        step: String,
        /// What.
        question: String,
        /// So long is waited.
        timeout: Duration,
        /// What happens without an answer.
        default: Answer,
    },
    /// A question is answered.
    Answered {
        /// The step.
        step: String,
        /// How.
        answer: Answer,
        /// `a person`, or why the default was taken.
        by: String,
    },
    /// A round of a `repeat` begins.
    Round {
        /// The step.
        step: String,
        /// Counted from 1.
        number: usize,
        /// How many there are; none: until its time is over.
        of: Option<usize>,
    },
    /// An agent has confirmed that none of the run's faults is left.
    HealConfirmed {
        /// The agent.
        agent: String,
    },
    /// An agent could not confirm it.
    HealFailed {
        /// The agent.
        agent: String,
        /// Why.
        cause: String,
        /// What to type.
        remedy: String,
    },
    /// An abort condition was met.
    Breach {
        /// The condition as text.
        condition: String,
        /// What was measured, as text.
        measured: String,
    },
    /// A signal or a person asked it to stop.
    Stopped {
        /// `SIGINT`, `SIGTERM`, `SIGHUP`, …
        by: String,
    },
    /// Something failed.
    Failed {
        /// What, and why.
        message: String,
    },
    /// Something worth knowing.
    Note {
        /// What.
        text: String,
    },
    /// The verdict.
    Verdict {
        /// Which.
        verdict: Verdict,
        /// Why, in sentences.
        reasons: Vec<String>,
    },
}

/// What happens in steps that are no faults, as one line, for every reporter; none of anything else.
#[must_use]
pub fn in_words(what: &What) -> Option<String> {
    Some(match what {
        What::Chosen { step, agents, rule } => format!("agents of step {step}: {} ({rule})", agents.join(", ")),
        What::Surged { step, rate, normal } => format!("the load is {rate}: {step}, normally {normal}"),
        What::Subsided { step, rate } => format!("the load is back at {rate}: {step} is over"),
        What::Level { step, number, of, level } => format!("{level}: level {number} of {of} of {step}"),
        What::Judged { step, level, outcome, reasons } => {
            let what = level.as_ref().map_or_else(|| format!("check `{step}`"), |level| format!("{level} of {step}"));
            let word = match outcome {
                Outcome::Held => "holds",
                Outcome::Broken => "does not hold",
                Outcome::Inconclusive => "cannot be judged",
            };
            if reasons.is_empty() { format!("{what} {word}") } else { format!("{what} {word}: {}", reasons.join("; ")) }
        }
        What::Ramped { step, vary, safe, broken, expect, .. } => ramp_in_words(step, vary, safe, broken, expect),
        What::UndoOwed { step, undo, .. } => format!("step {step} is taken back at the end: by {undo}"),
        What::Ran { step, action, code, failed, output, .. } => {
            let code = code.map(|code| format!(" ({code})")).unwrap_or_default();
            let ended = failed.as_ref().map_or_else(|| "ended".to_owned(), |why| format!("failed, {why}"));
            let output: String =
                output.trim().chars().take(200).map(|c| if c.is_control() { ' ' } else { c }).collect();
            let said = if output.is_empty() { String::new() } else { format!(": {output}") };
            format!("{action} of step {step} {ended}{code}{said}")
        }
        What::Undone { step, failed: None, .. } => format!("step {step} is taken back"),
        What::Undone { step, failed: Some(why), .. } => format!("step {step} could not be taken back: {why}"),
        What::Asked { step, question, timeout, default } => {
            let (timeout, default) = (squall_wire::Span::from(*timeout), default.word());
            format!("{step} asks: {question} ({default} after {timeout} without an answer)")
        }
        What::Answered { step, answer, by } => format!("{step} goes on as `{}`: {by}", answer.word()),
        What::Round { step, number, of } => {
            let of = of.map(|of| format!(" of {of}")).unwrap_or_default();
            format!("round {number}{of} of {step}")
        }
        _ => return None,
    })
}

fn ramp_in_words(
    step: &str,
    vary: &str,
    safe: &Option<String>,
    broken: &Option<String>,
    expect: &Option<String>,
) -> String {
    let wanted = expect.as_ref().map(|expect| format!(", wanted {expect}")).unwrap_or_default();
    match (safe, broken) {
        (Some(safe), Some(broken)) => {
            format!("ramp {step}: {vary} is safe up to {safe} and breaks the steady state at {broken}{wanted}")
        }
        (None, Some(broken)) => {
            format!("ramp {step}: {vary} breaks the steady state at its first level, {broken}{wanted}")
        }
        (Some(safe), None) => {
            format!("ramp {step}: {vary} is safe at every level that was tried, up to {safe}{wanted}")
        }
        (None, None) => format!("ramp {step}: no level of {vary} could be judged{wanted}"),
    }
}
