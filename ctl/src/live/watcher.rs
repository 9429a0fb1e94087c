//! Fills the model from a run, and carries out what keys ask for.
//!
//! Neighbours: `model`, `guard` and `keys` are pure; `screen` has the terminal. Invariant: it only listens to the run, but
//! for its stop switch, its gate and notes to its log; when the screen is gone, the run goes on.

use super::{
    guard,
    keys::{self, Action},
    model::{Model, ProbeRow},
    screen::Screen,
};
use crate::output;
use futures::future::join_all;
use squall_engine::{
    agent_client::AgentClient,
    event::{Event, Phase, What},
    experiment::{Experiment, SteadyRow, When},
    judge::{self, Baselines},
    recorder::Recorder,
    run::{
        Run,
        gate::Gate,
        log::Log,
        person::Person,
        stop::{Signal, Stop, StopReason},
    },
    sample::Metric,
};
use std::{collections::VecDeque, sync::Arc, time::Duration};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{broadcast, mpsc},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

/// How often the screen is drawn again.
const PACE: Duration = Duration::from_millis(200);
/// The window over which a probe's last value is shown.
const RECENT: Duration = Duration::from_secs(2);
/// How often a sparkline gets a value, and agents are asked for hits.
const SECOND: Duration = Duration::from_secs(1);

/// The signal that continues a stopped process.
const CONTINUED: i32 = rustix::process::Signal::CONT.as_raw();

/// What agents said of hits: agent, proxy, fault, how many.
type Hits = Vec<(String, String, String, Option<u64>)>;

/// Watches a run for a screen.
pub struct Watcher {
    events: broadcast::Receiver<Event>,
    recorder: Arc<Recorder>,
    experiment: Arc<Experiment>,
    log: Log,
    stop: Stop,
    gate: Gate,
    person: Person,
    agents: Vec<AgentClient>,
    baselines: Baselines,
    baseline_from: Duration,
    last_second: Duration,
    model: Model,
    /// Notes on their way into the journal: as many as a person types, and the questions for hits.
    tasks: JoinSet<()>,
}

impl Watcher {
    /// Listens to this run from now on.
    pub fn of(run: &Run) -> Self {
        let touched = run.plan.agents.values().filter(|agent| !agent.touched.is_empty());
        let model = Model {
            experiment: run.experiment.name.clone(),
            environment: run.start.environment.clone(),
            run: run.start.id.clone(),
            colour: output::colour_on_stderr(),
            probes: rows(&run.experiment.steady_state),
            ..Model::default()
        };
        Self {
            events: run.log.listen(),
            recorder: run.recorder.clone(),
            experiment: run.experiment.clone(),
            log: run.log.clone(),
            stop: run.stop.clone(),
            gate: run.gate.clone(),
            person: run.person.clone(),
            agents: touched.map(|agent| agent.client.clone()).collect(),
            baselines: Baselines::default(),
            baseline_from: Duration::ZERO,
            last_second: Duration::ZERO,
            model,
            tasks: JoinSet::new(),
        }
    }

    /// Draws until the verdict or until `done`. When there is no screen, or none any more, says why.
    pub async fn watch(mut self, done: &CancellationToken) -> Option<String> {
        let (mut screen, mut continued) = match (Screen::open(), signal(SignalKind::from_raw(CONTINUED))) {
            (Ok(screen), Ok(continued)) => (screen, continued),
            (Err(error), _) | (_, Err(error)) => return Some(error.to_string()),
        };
        self.model.keys = screen.has_keys();
        let (told, mut hits) = mpsc::channel(1);
        self.tasks.spawn(ask_for_hits(std::mem::take(&mut self.agents), told));
        let mut pace = tokio::time::interval(PACE);
        pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let mut there = true;
        while there && self.model.verdict.is_none() {
            there = tokio::select! {
                () = done.cancelled() => break,
                event = self.events.recv() => match event {
                    Ok(event) => { self.hear(&event); true }
                    Err(broadcast::error::RecvError::Lagged(missed)) => {
                        self.model.say(format!("({missed} events not shown)"));
                        true
                    }
                    Err(broadcast::error::RecvError::Closed) => break,
                },
                key = screen.key() => {
                    let action = keys::press(&mut self.model, key);
                    let there = action.is_none_or(|action| self.carry_out(action, &screen));
                    there && screen.draw(&self.model)
                }
                Some(hits) = hits.recv() => { self.count(hits); true }
                _ = continued.recv() => screen.again(),
                _ = pace.tick() => { self.look(); screen.draw(&self.model) }
            };
        }
        screen.close().await;
        (!there).then(|| "the screen is gone".to_owned())
    }

    fn hear(&mut self, event: &Event) {
        match event.what {
            What::Phase { phase: Phase::Baseline, .. } => self.baseline_from = event.at,
            What::Phase { phase: Phase::Method, .. } => {
                let window = self.baseline_from..event.at;
                self.baselines = judge::baselines(&self.experiment.steady_state, &self.recorder, &window);
            }
            _ => {}
        }
        self.model.hear(event);
    }

    /// Looks at everything that is measured.
    fn look(&mut self) {
        let now = self.recorder.now();
        self.model.gate = self.gate.state();
        self.model.pass(now);
        self.model.ask(self.person.pending());
        let second = now.saturating_sub(self.last_second) >= SECOND;
        if second {
            self.last_second = now;
        }
        let when = self.model.phase.and_then(|now| when(now.phase));
        let window = now.saturating_sub(RECENT)..now;
        let steady = self.experiment.steady_state.iter();
        let asked =
            steady.clone().flat_map(|row| row.checks.iter().map(|_| when.is_some_and(|when| row.when.contains(&when))));
        let results = steady.flat_map(|row| {
            let shown = SteadyRow { when: vec![When::During], min_samples: Some(1), lasting: None, ..row.clone() };
            judge::judge_rows(std::slice::from_ref(&shown), When::During, &self.recorder, &window, &self.baselines)
        });
        for ((row, result), asked) in self.model.probes.iter_mut().zip(results).zip(asked) {
            row.outcome = asked.then_some(result.outcome);
            if second {
                row.push(result.measured, |value| result.metric.shown(value));
            }
            row.shown = if result.samples == 0 { "–".to_owned() } else { result.shown };
        }
        let before = std::mem::take(&mut self.model.guards);
        let aborts = self.experiment.abort_when.iter().enumerate();
        self.model.guards =
            aborts.map(|(index, row)| guard::look(row, before.get(index), &self.recorder, &self.baselines)).collect();
    }

    fn count(&mut self, hits: Hits) {
        for (agent, proxy, name, count) in hits {
            let same = |fault: &&mut super::model::FaultNow| {
                fault.agent == agent && fault.proxy == proxy && fault.name == name
            };
            if let Some(fault) = self.model.faults.iter_mut().find(same) {
                fault.hits = count;
            }
        }
    }

    /// Does it; false when the screen is gone.
    fn carry_out(&mut self, action: Action, screen: &Screen) -> bool {
        match action {
            Action::Abort => {
                // Healing first: the note may have to wait for the journal.
                self.stop.stop(StopReason::Signal(Signal::Int));
                self.note("a person aborted the run from the live view".to_owned());
            }
            Action::Pause => self.model.gate = self.gate.turn(),
            Action::Note(text) => self.note(text),
            Action::Answer(answer) => self.person.answer(answer),
            Action::Quit => {
                // Whoever listens for signals hears it like any other; there is always somebody during a run.
                let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::INT);
            }
            Action::Suspend => return screen.suspend(),
        }
        true
    }

    fn note(&mut self, text: String) {
        let log = self.log.clone();
        self.tasks.spawn(async move {
            log.tell(What::Note { text }).await;
        });
    }
}

/// A row for each check, before anything is measured.
fn rows(steady: &[SteadyRow]) -> Vec<ProbeRow> {
    let checks = steady.iter().flat_map(|row| row.checks.iter().map(move |check| (row, check)));
    checks
        .map(|(row, check)| ProbeRow {
            probe: row.probe.clone(),
            metric: short(check.metric),
            tolerance: check.tolerance.to_string(),
            shown: "–".to_owned(),
            outcome: None,
            history: VecDeque::new(),
            range: None,
            bounds: None,
        })
        .collect()
}

/// As short as a narrow screen wants it.
fn short(metric: Metric) -> String {
    match metric {
        Metric::SuccessRatio => "success".to_owned(),
        Metric::ErrorRatio => "errors".to_owned(),
        metric => metric.word().replace('_', " "),
    }
}

const fn when(phase: Phase) -> Option<When> {
    match phase {
        Phase::Baseline => Some(When::Before),
        Phase::Method => Some(When::During),
        Phase::Heal | Phase::Recovery => Some(When::After),
        Phase::Plan | Phase::Lease | Phase::Setup | Phase::Verdict => None,
    }
}

/// Asks the agents once a second how often faults have hit, until nobody listens.
async fn ask_for_hits(agents: Vec<AgentClient>, told: mpsc::Sender<Hits>) {
    let ask = async |agent: &AgentClient| {
        let proxies = tokio::time::timeout(SECOND, agent.proxies()).await.ok()?.ok()?;
        let faults = proxies.into_iter().flat_map(|proxy| {
            let hits = move |fault: squall_wire::FaultInfo| {
                (agent.name().to_owned(), proxy.name.to_string(), fault.name.to_string(), fault.hits)
            };
            proxy.faults.into_iter().map(hits)
        });
        Some(faults.collect::<Hits>())
    };
    loop {
        tokio::time::sleep(SECOND).await;
        let hits = join_all(agents.iter().map(ask)).await.into_iter().flatten().flatten().collect();
        if told.send(hits).await.is_err() {
            return;
        }
    }
}
