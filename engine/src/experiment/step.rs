//! The steps of a method, valid and ready: what is done, for how long at most, and where.
//!
//! Neighbours: `validate` makes them, `run::method` carries them out, `run::plan` looks at what they touch.
//! Invariant: `duration` is never less than a step takes when nothing hangs, so that the blast radius can be held
//! against it.

use super::{Late, When};
use crate::tolerance::Tolerance;
use squall_wire::{FaultSpec, Percent, ProxyName};
use std::{collections::BTreeMap, path::PathBuf, time::Duration};

/// A step of the method.
#[derive(Debug, Clone)]
pub enum Step {
    /// A fault is set, left for a while, and taken away.
    Inject(Inject),
    /// Nothing is done for a while.
    Wait {
        /// What it is called in reports.
        name: String,
        /// How long.
        lasting: Duration,
    },
    /// Steps that start together; it ends when the last does.
    Parallel {
        /// What it is called in reports.
        name: String,
        /// The steps.
        steps: Vec<Step>,
    },
    /// The load is another for a while.
    Surge(Surge),
    /// Something grows until the steady state breaks.
    Ramp(Ramp),
    /// A program or a request.
    Run(RunStep),
    /// The steady state is judged now.
    Check(CheckStep),
    /// A person is asked.
    Pause(Pause),
    /// Steps that are done again and again.
    Repeat(Repeat),
}

impl Step {
    /// What it is called in reports.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Inject(Inject { name, .. })
            | Self::Wait { name, .. }
            | Self::Parallel { name, .. }
            | Self::Surge(Surge { name, .. })
            | Self::Ramp(Ramp { name, .. })
            | Self::Run(RunStep { name, .. })
            | Self::Check(CheckStep { name, .. })
            | Self::Pause(Pause { name, .. })
            | Self::Repeat(Repeat { name, .. }) => name,
        }
    }

    /// How long it takes at most when nothing goes wrong.
    #[must_use]
    pub fn duration(&self) -> Duration {
        match self {
            Self::Inject(Inject { lasting, .. }) | Self::Surge(Surge { lasting, .. }) | Self::Wait { lasting, .. } => {
                *lasting
            }
            Self::Parallel { steps, .. } => steps.iter().map(Self::duration).max().unwrap_or_default(),
            Self::Ramp(ramp) => ramp.duration(),
            Self::Run(run) => run.timeout,
            Self::Check(check) => check.settle,
            Self::Pause(pause) => pause.timeout,
            Self::Repeat(repeat) => repeat.duration(),
        }
    }

    /// Every injection in it, once; of a ramp the one at its last level.
    #[must_use]
    pub fn injections(&self) -> Vec<&Inject> {
        match self {
            Self::Inject(inject) => vec![inject],
            Self::Ramp(ramp) => ramp.inject.iter().collect(),
            Self::Wait { .. } | Self::Surge(_) | Self::Run(_) | Self::Check(_) | Self::Pause(_) => vec![],
            Self::Parallel { steps, .. } | Self::Repeat(Repeat { steps, .. }) => {
                steps.iter().flat_map(Self::injections).collect()
            }
        }
    }

    /// The most that it brings the load to, in requests a second; none: it leaves the load alone.
    #[must_use]
    pub fn load(&self) -> Option<f64> {
        match self {
            Self::Surge(surge) => Some(surge.rate),
            Self::Ramp(ramp) if ramp.inject.is_none() => ramp.levels.iter().map(|level| level.value).reduce(f64::max),
            _ => None,
        }
    }

    /// The steps in it.
    #[must_use]
    pub fn inner(&self) -> &[Self] {
        match self {
            Self::Parallel { steps, .. } | Self::Repeat(Repeat { steps, .. }) => steps,
            _ => &[],
        }
    }

    /// It and every step in it, the outer before the inner ones.
    #[must_use]
    pub fn all(&self) -> Vec<&Self> {
        std::iter::once(self).chain(self.inner().iter().flat_map(Self::all)).collect()
    }
}

/// One fault on one proxy of one or several agents for a while.
#[derive(Debug, Clone, PartialEq)]
pub struct Inject {
    /// What it is called in reports.
    pub name: String,
    /// The agent; the only one when absent, unless `agents` chooses.
    pub agent: Option<String>,
    /// Chooses agents by labels and share.
    pub agents: Option<AgentsChoice>,
    /// The proxy.
    pub proxy: ProxyName,
    /// The fault, without lease and expiry, which the run sets.
    pub fault: FaultSpec,
    /// How long it stays.
    pub lasting: Duration,
}

/// Which agents: those with all of these labels, and of them so many.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentsChoice {
    /// Labels that an agent must have; all agents when empty.
    pub labels: BTreeMap<String, String>,
    /// Of those so many, rounded down.
    pub percent: Percent,
}

/// Another load than the traffic's own for a while.
#[derive(Debug, Clone, PartialEq)]
pub struct Surge {
    /// What it is called in reports.
    pub name: String,
    /// Requests a second, all together.
    pub rate: f64,
    /// How long, after which the traffic's own rate is back.
    pub lasting: Duration,
}

/// A fault, or the load, that grows level by level until the steady state breaks.
#[derive(Debug, Clone)]
pub struct Ramp {
    /// What it is called in reports.
    pub name: String,
    /// What grows: a parameter of the fault, `percent`, or `traffic.rate`.
    pub vary: String,
    /// The fault at its last level, for as long as the whole ramp; none: it is the traffic's rate that grows.
    pub inject: Option<Inject>,
    /// The levels in order, at least two.
    pub levels: Vec<Level>,
    /// How long each level is held, which is the window that it is judged by.
    pub hold: Duration,
    /// How long the answers of a level may take to come in, at most.
    pub settle: Duration,
    /// What the last safe level must be; all levels must be safe when absent.
    pub expect: Option<RampExpect>,
}

impl Ramp {
    /// Every level held and judged.
    #[must_use]
    pub fn duration(&self) -> Duration {
        (self.hold + self.settle) * u32::try_from(self.levels.len()).unwrap_or(u32::MAX)
    }
}

/// One level of a ramp.
#[derive(Debug, Clone)]
pub struct Level {
    /// As people read it: `800ms`, `30 %`, `200/s`.
    pub shown: String,
    /// In the base unit: seconds, bytes, bytes a second, percent, requests a second.
    pub value: f64,
    /// The fault at this level; none for traffic.
    pub fault: Option<FaultSpec>,
}

/// What the last safe level of a ramp must be.
#[derive(Debug, Clone)]
pub struct RampExpect {
    /// `>= 1s`.
    pub tolerance: Tolerance,
    /// Whether the levels are times, whose base unit is seconds.
    pub is_time: bool,
}

/// A program or a request, and how it is taken back.
#[derive(Debug, Clone)]
pub struct RunStep {
    /// What it is called in reports, and by which its output is referred to.
    pub name: String,
    /// What is done.
    pub action: Action,
    /// It has failed after so long.
    pub timeout: Duration,
    /// What counts as success.
    pub expect: RunExpect,
    /// What a failure means: the end of the run as `error`, or nothing.
    pub on_failure: OnFailure,
    /// What is done when the run heals, however it ends.
    pub undo: Option<Undo>,
    /// Its output is written nowhere.
    pub secret: bool,
}

/// A program, or a request.
#[derive(Debug, Clone)]
pub enum Action {
    /// A program, without a shell.
    Command {
        /// The program, then its arguments.
        command: Vec<Late>,
        /// Variables that it is given besides `PATH`, `HOME`, `LANG` and `TMPDIR`.
        env: Vec<(String, Late)>,
        /// Where it runs: the directory of the experiment's file.
        directory: PathBuf,
    },
    /// An HTTP request.
    Http {
        /// GET, POST, PUT, PATCH, DELETE, HEAD or OPTIONS.
        method: String,
        /// Where to.
        url: Late,
        /// Headers.
        headers: Vec<(String, Late)>,
        /// The body, if any.
        body: Option<Late>,
    },
}

impl Action {
    /// In a few words, without arguments, which may be secrets.
    #[must_use]
    pub fn shown(&self) -> String {
        match self {
            Self::Command { command, .. } => command.first().map(Late::shown).unwrap_or_default(),
            Self::Http { method, url, .. } => format!("{method} {}", url.shown()),
        }
    }

    /// Every text in it.
    pub fn texts(&self) -> Vec<&Late> {
        match self {
            Self::Command { command, env, .. } => command.iter().chain(env.iter().map(|(_, value)| value)).collect(),
            Self::Http { url, headers, body, .. } => {
                std::iter::once(url).chain(headers.iter().map(|(_, value)| value)).chain(body).collect()
            }
        }
    }
}

/// What counts as success of a `run` step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunExpect {
    /// Exit codes, or statuses; empty: exit code 0, or every status below 400.
    pub codes: Vec<u16>,
    /// A text that the output must contain.
    pub contains: Option<String>,
}

/// What takes a `run` step back.
#[derive(Debug, Clone)]
pub struct Undo {
    /// What is done.
    pub action: Action,
    /// It has failed after so long.
    pub timeout: Duration,
}

/// What a failure of a step means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// The method ends here; of `run` it is an error.
    #[default]
    Stop,
    /// The method goes on.
    Continue,
}

/// The steady state is judged in the middle of the method.
#[derive(Debug, Clone)]
pub struct CheckStep {
    /// What it is called in reports.
    pub name: String,
    /// Which of the rows: those for `during`, or for `after`.
    pub when: When,
    /// The window, which ends when the step begins.
    pub over: Duration,
    /// How long the answers of the window may take to come in, at most.
    pub settle: Duration,
    /// Whether the method ends when they do not hold; `deviated` it is in any case.
    pub on_failure: OnFailure,
}

/// A question to a person.
#[derive(Debug, Clone)]
pub struct Pause {
    /// What it is called in reports.
    pub name: String,
    /// What is asked.
    pub question: Late,
    /// So long is waited for an answer.
    pub timeout: Duration,
    /// What happens without one.
    pub default: Answer,
}

/// The answer to a question of a `pause`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// Go on.
    Continue,
    /// Heal, and end the run.
    Stop,
}

impl Answer {
    /// Its word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Continue => "continue",
            Self::Stop => "stop",
        }
    }
}

/// Steps that are done again and again.
#[derive(Debug, Clone)]
pub struct Repeat {
    /// What it is called in reports.
    pub name: String,
    /// One round.
    pub steps: Vec<Step>,
    /// How many.
    pub rounds: Rounds,
}

/// How often steps are repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounds {
    /// So many times.
    Times(u32),
    /// Until so long is over: a round that has begun is carried out.
    Lasting(Duration),
}

impl Repeat {
    /// How long one round takes.
    #[must_use]
    pub fn round(&self) -> Duration {
        self.steps.iter().map(Step::duration).sum()
    }

    /// Every round; of `Lasting` the last one begins just before its end.
    #[must_use]
    pub fn duration(&self) -> Duration {
        match self.rounds {
            Rounds::Times(times) => self.round().saturating_mul(times),
            Rounds::Lasting(lasting) => lasting.saturating_add(self.round()),
        }
    }
}
