//! A run, phase by phase: plan → lease → baseline → method → heal → recovery → verdict.
//!
//! ```text
//! prepare ─ plan ─ lease ─▶ Run ── baseline ─ method ─▶ heal ─▶ recovery ─▶ verdict ─▶ RunEnd
//!                            │        ▲ guard pre-empts           (always)
//!                            └─ watch: traffic, probes, journal writer, lease renewal
//! ```
//!
//! Runners act, verdicts decide: nothing here judges. Neighbours: `judge` and `verdict` are pure.
//! Invariant: from the moment a lease is held, `heal` runs, however the rest ends: stopped, failed or panicked.

pub mod action;
pub mod baseline;
pub mod choose;
pub mod gate;
mod guard;
pub mod heal;
mod inject;
pub mod lease;
pub mod log;
pub mod memory;
pub mod method;
mod outputs;
pub mod person;
pub mod plan;
mod ramp;
mod record;
pub mod recovery;
mod steps;
pub mod stop;
mod surge;
pub mod undo;
mod watch;

use crate::{
    agent_client::AgentTarget,
    decide::{Facts, Finding},
    environment::ProxyEntry,
    event::{Phase, What},
    experiment::{Experiment, When},
    journal::{Journal, JournalError},
    judge,
    record::{FaultRecord, RunEnd, RunStart},
    recorder::Recorder,
    telemetry::{Sampled, Traceparent},
    traffic::Rate,
};
use baseline::Baseline;
use futures::FutureExt;
use gate::Gate;
use lease::{HeldLease, Leases};
use log::Log;
use outputs::Outputs;
use person::Person;
use plan::{Inputs, Plan};
use squall_wire::RemovedFault;
use std::{collections::BTreeMap, panic::AssertUnwindSafe, sync::Arc, time::Duration};
use stop::{Stop, StopReason};

/// It must not be done: a lock, a limit, the blast radius. Exit code 10, and nothing was touched.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(pub String);

/// What a run needs from outside.
#[derive(Debug, Clone)]
pub struct Setup {
    /// What to do.
    pub experiment: Experiment,
    /// `sandbox`, or the environment's name.
    pub environment: String,
    /// The agents that it may touch.
    pub agents: Vec<AgentTarget>,
    /// The proxies that they must have, brought into shape under the run's leases.
    pub proxies: Vec<ProxyEntry>,
    /// Where it is written down.
    pub journal: Journal,
    /// Seeds the traffic, and chooses among agents.
    pub seed: u64,
    /// Who is asked at a `pause`.
    pub person: Person,
    /// The switch that stops it.
    pub stop: Stop,
    /// The machine's name, for leases and the journal.
    pub host: String,
    /// Whether its requests say to which trace they belong.
    pub traceparent: Option<Sampled>,
}

/// Why a run did not start.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// It must not be done: exit 10, not in the journal.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It cannot be done: verdict `error`, exit 7, in the journal.
    #[error("{message}")]
    Failed {
        /// The run's id in the journal.
        id: String,
        /// Why.
        message: String,
    },
    /// The journal cannot be written: exit 7.
    #[error("the journal cannot be written: {0}")]
    Journal(#[from] JournalError),
}

/// A run that holds its leases and is ready to go.
#[derive(Debug)]
pub struct Run {
    /// What was known when it started.
    pub start: RunStart,
    /// What to do.
    pub experiment: Arc<Experiment>,
    /// On which agents.
    pub plan: Plan,
    /// What happens.
    pub log: Log,
    /// What is measured.
    pub recorder: Arc<Recorder>,
    /// The switch that stops it.
    pub stop: Stop,
    /// Where a person may make it wait.
    pub gate: Gate,
    leases: BTreeMap<String, HeldLease>,
    faults: parking_lot::Mutex<Vec<FaultRecord>>,
    findings: parking_lot::Mutex<Vec<Finding>>,
    outputs: Outputs,
    owed: parking_lot::Mutex<Vec<undo::Owed>>,
    /// How many `undo`s were owed so far.
    undos: parking_lot::Mutex<usize>,
    /// When something first was done to the system that is no fault.
    acted: parking_lot::Mutex<Option<Duration>>,
    healed_at: parking_lot::Mutex<Option<Duration>>,
    rate: Rate,
    /// Who is asked at a `pause`.
    pub person: Person,
    keeper: Leases,
    journal: Journal,
    seed: u64,
}

/// Makes the plan, takes the leases, opens the record.
///
/// # Errors
/// Refused, failed, or the journal cannot be written; nothing is held then.
pub async fn prepare(setup: Setup) -> Result<Run, PrepareError> {
    let Setup { mut experiment, environment, agents, proxies, journal, seed, person, stop, host, traceparent } = setup;
    let mut start = record::start(&experiment, &environment, &host);
    let plan = match plan::plan(Inputs { experiment: &experiment, agents: &agents, proxies: &proxies, seed }).await {
        Ok(plan) => plan,
        Err(error) => return Err(record::unprepared(&journal, start, &agents, error).await),
    };
    start.agents = record::agents(&plan);
    if let Some(sampled) = traceparent {
        Traceparent::of(&start.id).mark(&mut experiment, sampled);
    }
    let mut keeper = match lease::take(&experiment, &plan, &start.id, &host).await {
        Ok(keeper) => keeper,
        Err(error) => return Err(record::unprepared(&journal, start, &agents, error).await),
    };
    if let Err(error) = journal.start_run(&start).await {
        keeper.give_back().await;
        return Err(error.into());
    }
    keeper.keep_alive(&stop);
    let recorder = Recorder::new(watch::series(&experiment));
    let log = Log::new(start.id.clone(), recorder.started(), journal.clone(), experiment.secrets.clone(), stop.clone());
    let leases = keeper.held.clone();
    let rate = record::rate(&experiment);
    Ok(Run {
        start,
        experiment: Arc::new(experiment),
        plan,
        log,
        recorder,
        stop,
        gate: Gate::default(),
        leases,
        faults: Default::default(),
        findings: Default::default(),
        outputs: Outputs::default(),
        owed: Default::default(),
        undos: Default::default(),
        acted: Default::default(),
        healed_at: Default::default(),
        rate,
        person,
        keeper,
        journal,
        seed,
    })
}

impl Run {
    /// Carries it out, to the verdict. Always heals.
    pub async fn execute(mut self) -> RunEnd {
        self.keeper.tell(&self.log).await;
        let set_up = self.guarded(method::set_up(&self)).await;
        // What is not set up is not watched either.
        let watching = (set_up.is_some() && !self.stop.is_stopped()).then(|| watch::start(&self));
        let baseline = match &watching {
            Some(_) => self.guarded(self.act()).await.flatten(),
            None => None,
        };
        match self.stop.reason() {
            Some(StopReason::Signal(signal)) => self.log.tell(What::Stopped { by: signal.name().to_owned() }).await,
            Some(StopReason::Failed(message)) => self.log.tell(What::Failed { message }).await,
            Some(StopReason::Answered { step, .. }) => {
                self.log.tell(What::Stopped { by: format!("the answer to {step}") }).await
            }
            // The guard has told a breach itself.
            Some(StopReason::Abort { .. }) | None => true,
        };
        self.keeper.stop_renewing().await;
        let mut healing = heal::heal(&self).await;
        *self.healed_at.lock() = Some(self.log.now());
        let recovered = match &baseline {
            Some(baseline) if self.is_recovery_worth_watching() => recovery::watch(&self, baseline).await,
            _ => None,
        };
        if let Some(watching) = watching {
            watching.finish(&self).await;
        }
        healing.left.extend(undo::take_back(&self, undo::Done::InSetup).await);
        self.log.tell(What::Phase { phase: Phase::Verdict, lasting: None }).await;
        let during = baseline.as_ref().map(|baseline| self.judge_during(baseline)).unwrap_or_default();
        let faults = self.faults.lock().clone();
        let unconfirmed = healing.unconfirmed.iter().map(|u| u.sentence(self.experiment.lease));
        let facts = Facts {
            stopped: self.stop.reason(),
            unconfirmed: unconfirmed.chain(healing.left).collect(),
            before: baseline.map(|baseline| baseline.rows).unwrap_or_default(),
            during,
            recovered,
            faults,
            findings: self.findings.lock().clone(),
            acted: self.acted.lock().is_some(),
            within: self.experiment.recovery.within,
            samples_lost: self.recorder.overflowed() > 0,
        };
        record::end(&self, facts).await
    }

    /// What came of it; `None` after a panic, which stops the run as failed.
    async fn guarded<T>(&self, part: impl Future<Output = T>) -> Option<T> {
        let ended = AssertUnwindSafe(part).catch_unwind().await;
        if ended.is_err() {
            self.stop.stop(StopReason::Failed("a bug in squall: the run panicked".into()));
        }
        ended.ok()
    }

    /// Baseline and method: everything that hurts. `None` when it was stopped before the baseline was over.
    async fn act(&self) -> Option<Baseline> {
        let baseline = baseline::watch(self).await?;
        if baseline.held() {
            let done = tokio_util::sync::CancellationToken::new();
            let guard = guard::watch(
                self.experiment.abort_when.clone(),
                baseline.values.clone(),
                self.recorder.clone(),
                self.log.clone(),
                self.stop.clone(),
                done.clone(),
            );
            let guard = tokio::spawn(guard);
            method::carry_out(self, &baseline).await;
            done.cancel();
            if guard.await.is_err() {
                self.stop.stop(StopReason::Failed("a bug in squall: the guard panicked".into()));
            }
        }
        Some(baseline)
    }

    /// After faults; not when somebody wants it to end, or it is not known what is going on.
    fn is_recovery_worth_watching(&self) -> bool {
        let ended = |reason: StopReason| !matches!(reason, StopReason::Abort { .. });
        !self.stop.reason().is_some_and(ended) && (!self.faults.lock().is_empty() || self.acted.lock().is_some())
    }

    /// From the first fault, or whatever else was first done, to the confirmation that the last is gone.
    fn judge_during(&self, baseline: &Baseline) -> Vec<crate::record::RowResult> {
        let faults = self.faults.lock();
        let acted = *self.acted.lock();
        let Some(from) = faults.iter().map(|fault| fault.from).chain(acted).min() else { return Vec::new() };
        // What is no fault lasts until it was taken back, which is now.
        let to = faults.iter().filter_map(|fault| fault.to).max().filter(|_| acted.is_none());
        let to = to.unwrap_or_else(|| self.healed_at.lock().unwrap_or_else(|| self.log.now()));
        judge::judge_rows(&self.experiment.steady_state, When::During, &self.recorder, &(from..to), &baseline.values)
    }

    /// Something is about to be done to the system that is no fault.
    fn act_now(&self) {
        self.acted.lock().get_or_insert_with(|| self.log.now());
    }

    /// The traffic's own rate, in requests a second.
    fn normal_rate(&self) -> f64 {
        self.experiment.traffic.as_ref().map_or(0.0, |traffic| traffic.rate)
    }

    /// Waits until everything that was due before this time has come back, at the latest by its time-out; false when
    /// the run was stopped meanwhile.
    async fn settled(&self, until: Duration) -> bool {
        while self.recorder.settled() < until {
            if !self.stop.wait(SETTLE_PACE).await {
                return false;
            }
        }
        !self.stop.is_stopped()
    }

    /// Notes that an agent has taken a fault away.
    async fn removed(&self, agent: &str, removed: &RemovedFault, why: &str) {
        let now = self.log.now();
        let known = |fault: &&mut FaultRecord| {
            fault.agent == agent && fault.proxy == removed.proxy.as_str() && fault.name == removed.fault.as_str()
        };
        if let Some(fault) = self.faults.lock().iter_mut().rev().find(known) {
            fault.to = Some(now);
            fault.hits = removed.hits;
        }
        let (proxy, fault) = (removed.proxy.clone(), removed.fault.clone());
        let (agent, hits, why) = (agent.to_owned(), removed.hits, why.to_owned());
        self.log.tell(What::Removed { agent, proxy, fault, hits, why }).await;
    }

    /// The agent has confirmed that nothing is left: what it did not name went when its lease ran out.
    fn close_faults(&self, agent: &str) {
        let now = self.log.now();
        for fault in self.faults.lock().iter_mut().filter(|fault| fault.agent == agent && fault.to.is_none()) {
            fault.to = Some(now);
        }
    }
}

/// How often it is looked whether everything has come back.
const SETTLE_PACE: Duration = Duration::from_millis(10);

/// Time that outstanding requests and readings get when a run ends, before they are dropped.
const LAST_ANSWERS: Duration = Duration::from_secs(1);
