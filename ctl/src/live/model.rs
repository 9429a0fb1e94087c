//! What there is to show, as values: changed by events, readings and keys, drawn by `draw`. Pure.
//!
//! Neighbours: `watcher` fills it, `keys` changes its mode. Invariant: everything in it is bounded, however long a run lasts.

use super::plain;
use squall_engine::{
    event::{Event, Phase, What},
    record::Outcome,
    run::{gate, person::Question},
    verdict::Verdict,
};
use std::{collections::VecDeque, time::Duration};

/// Values of a sparkline that are kept: more than a screen is wide.
const HISTORY: usize = 240;

/// Lines of events that are kept; older ones are in the journal.
const LINES: usize = 2_000;

/// Everything that a screen shows.
#[derive(Debug, Clone, Default)]
pub struct Model {
    pub experiment: String,
    pub environment: String,
    pub run: String,
    pub now: Duration,
    pub colour: bool,
    /// Whether keys are read.
    pub keys: bool,
    pub phase: Option<PhaseNow>,
    pub steps: Vec<StepNow>,
    pub faults: Vec<FaultNow>,
    /// The surge that goes on.
    pub surge: Option<SurgeNow>,
    pub probes: Vec<ProbeRow>,
    pub guards: Vec<GuardRow>,
    pub lines: VecDeque<String>,
    /// Lines that are no longer kept.
    pub left_out: usize,
    pub gate: gate::State,
    pub mode: Mode,
    /// What a `pause` asks a person, and since when that is on the screen.
    pub question: Option<(Question, Duration)>,
    /// What the last key came to.
    pub hint: String,
    pub verdict: Option<Verdict>,
    pub stopping: bool,
}

/// The phase that goes on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PhaseNow {
    pub phase: Phase,
    pub since: Duration,
    pub lasting: Option<Duration>,
}

/// A step that goes on.
#[derive(Debug, Clone, PartialEq)]
pub struct StepNow {
    pub name: String,
    pub since: Duration,
    pub lasting: Duration,
}

/// A fault that is set.
#[derive(Debug, Clone, PartialEq)]
pub struct FaultNow {
    pub agent: String,
    pub proxy: String,
    pub name: String,
    pub kind: String,
    pub percent: String,
    pub step: String,
    pub since: Duration,
    /// As the agent last said; none: not asked yet, or not counted.
    pub hits: Option<u64>,
}

/// A load that is not the normal one.
#[derive(Debug, Clone, PartialEq)]
pub struct SurgeNow {
    pub step: String,
    pub rate: String,
    pub normal: String,
}

/// One promise of the steady state.
#[derive(Debug, Clone, PartialEq)]
pub struct ProbeRow {
    pub probe: String,
    pub metric: String,
    pub tolerance: String,
    /// What was measured over the last seconds.
    pub shown: String,
    /// None: it is not asked for in this phase.
    pub outcome: Option<Outcome>,
    /// One value a second, the newest last; none where nothing was measured.
    pub history: VecDeque<Option<f64>>,
    /// The lowest and the highest so far, as people read them.
    pub range: Option<(String, String)>,
    /// The same as numbers.
    pub bounds: Option<(f64, f64)>,
}

/// One condition that would abort the run.
#[derive(Debug, Clone, PartialEq)]
pub struct GuardRow {
    pub condition: String,
    pub measured: String,
    /// How near: 0 is as good as it gets, 1 is met.
    pub near: f64,
    /// Since when it has been met without a break.
    pub met_since: Option<Duration>,
    /// It must be met for so long.
    pub lasting: Duration,
}

/// What the keys mean now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Mode {
    /// Each key is a command.
    #[default]
    Watching,
    /// Asked whether to abort.
    Aborting,
    /// A note is being typed.
    Noting(String),
    /// Help is shown.
    Help,
}

impl Model {
    /// Takes an event in.
    pub fn hear(&mut self, event: &Event) {
        self.now = self.now.max(event.at);
        if let Some(line) = plain::line(event) {
            self.say(line);
        }
        match &event.what {
            What::Phase { phase, lasting } => {
                self.phase = Some(PhaseNow { phase: *phase, since: event.at, lasting: *lasting });
                if *phase != Phase::Method {
                    self.steps.clear();
                }
            }
            What::StepStarted { step, lasting } => {
                self.steps.push(StepNow { name: step.clone(), since: event.at, lasting: *lasting });
            }
            What::StepEnded { step } => self.steps.retain(|now| now.name != *step),
            What::Injected { agent, proxy, fault, step } => self.faults.push(FaultNow {
                agent: agent.clone(),
                proxy: proxy.to_string(),
                name: fault.name.to_string(),
                kind: fault.fault.name().to_owned(),
                percent: fault.percent.to_string(),
                step: step.clone(),
                since: event.at,
                hits: fault.hits,
            }),
            What::Removed { agent, proxy, fault, .. } => {
                let gone = |f: &FaultNow| f.agent == *agent && f.proxy == proxy.as_str() && f.name == fault.as_str();
                self.faults.retain(|fault| !gone(fault));
            }
            What::Surged { step, rate, normal } => {
                let (step, rate, normal) = (step.clone(), rate.clone(), normal.clone());
                self.surge = Some(SurgeNow { step, rate, normal });
            }
            What::Subsided { .. } => self.surge = None,
            What::HealConfirmed { agent } => self.faults.retain(|fault| fault.agent != *agent),
            What::Breach { .. } | What::Stopped { .. } | What::Failed { .. } => self.stopping = true,
            What::Verdict { verdict, .. } => self.verdict = Some(*verdict),
            _ => {}
        }
    }

    /// It is later now. While the run waits for a person, no time of its phase passes.
    pub fn pass(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.now);
        self.now = now;
        if let (gate::State::Waiting, Some(phase)) = (self.gate, &mut self.phase) {
            phase.since += passed;
        }
    }

    /// What is asked now, if anything.
    pub fn ask(&mut self, pending: Option<Question>) {
        let known = self.question.take().filter(|(known, _)| Some(known) == pending.as_ref());
        self.question = known.or(pending.map(|question| (question, self.now)));
    }

    /// Adds a line to the events.
    pub fn say(&mut self, line: String) {
        if self.lines.len() == LINES {
            self.lines.pop_front();
            self.left_out += 1;
        }
        self.lines.push_back(line);
    }

    /// How long a fault still lasts, by its step.
    pub fn left_of(&self, fault: &FaultNow) -> Option<Duration> {
        let step = self.steps.iter().find(|step| step.name == fault.step)?;
        Some((fault.since + step.lasting).saturating_sub(self.now))
    }

    /// How long the surge still lasts, by its step.
    pub fn left_of_surge(&self, surge: &SurgeNow) -> Option<Duration> {
        let step = self.steps.iter().find(|step| step.name == surge.step)?;
        Some((step.since + step.lasting).saturating_sub(self.now))
    }

    /// The condition that is nearest to aborting, those that are met before all others.
    pub fn nearest(&self) -> Option<&GuardRow> {
        self.guards.iter().max_by(|one, other| {
            let share = |row: &GuardRow| row.met_for(self.now).map_or(row.near.min(1.0), |met| 1.0 + met.as_secs_f64());
            share(one).total_cmp(&share(other))
        })
    }
}

impl GuardRow {
    /// For how long it has been met; none: it is not.
    pub fn met_for(&self, now: Duration) -> Option<Duration> {
        self.met_since.map(|since| now.saturating_sub(since))
    }
}

impl ProbeRow {
    /// Takes in what was measured in the last second.
    pub fn push(&mut self, value: Option<f64>, shown: impl Fn(f64) -> String) {
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        self.history.push_back(value);
        let Some(value) = value.filter(|value| value.is_finite()) else { return };
        let (low, high) = self.bounds.map_or((value, value), |(low, high)| (low.min(value), high.max(value)));
        self.bounds = Some((low, high));
        self.range = Some((shown(low), shown(high)));
    }
}
