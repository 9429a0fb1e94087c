//! What happened in a run, as it happened. Reporters, the live view and the journal only listen to these.
//!
//! Invariant: an `Intent` is in the journal before the agent is asked, so that a crash leaves nothing unknown.

use crate::verdict::Verdict;
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
