//! Everything that goes on beside the phases: traffic, probes, and the writer that brings samples into the journal.

use super::{
    LAST_ANSWERS, Run,
    log::Log,
    stop::{Stop, StopReason},
};
use crate::{
    agent_client::AgentTarget,
    event::What,
    experiment::Experiment,
    journal::Journal,
    probe::{self, AgentAddress},
    recorder::{Cursor, Recorder},
    traffic,
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How often samples are brought into the journal.
const WRITE_PACE: Duration = Duration::from_millis(250);

/// Every series of the experiment: one a request of the traffic, one a probe.
pub(super) fn series(experiment: &Experiment) -> Vec<String> {
    let traffic = experiment.traffic.iter().flat_map(|traffic| &traffic.requests);
    traffic.map(|request| format!("traffic.{}", request.name)).chain(experiment.probes.keys().cloned()).collect()
}

/// What runs beside the phases, until `finish`.
pub(super) struct Watching {
    measuring: JoinSet<()>,
    stop_measuring: CancellationToken,
    writer: tokio::task::JoinHandle<()>,
    stop_writing: CancellationToken,
}

/// Starts traffic, probes and the journal's writer.
pub(super) fn start(run: &Run) -> Watching {
    let (stop_measuring, stop_writing) = (CancellationToken::new(), CancellationToken::new());
    let mut measuring = JoinSet::new();
    if let Some(plan) = &run.experiment.traffic {
        measuring.spawn(traffic::run_at(
            plan.clone(),
            run.rate.clone(),
            run.seed,
            run.recorder.clone(),
            stop_measuring.clone(),
        ));
    }
    let agents = agents(run.plan.agents.values().map(|agent| agent.client.target()));
    for (name, plan) in &run.experiment.probes {
        let task = probe::watch(
            name.clone(),
            plan.clone(),
            agents.clone(),
            run.experiment.secrets.clone(),
            run.recorder.clone(),
            stop_measuring.clone(),
        );
        measuring.spawn(task);
    }
    let writer = tokio::spawn(write(
        run.start.id.clone(),
        run.journal.clone(),
        run.recorder.clone(),
        run.log.clone(),
        run.stop.clone(),
        stop_writing.clone(),
    ));
    Watching { measuring, stop_measuring, writer, stop_writing }
}

fn agents<'a>(targets: impl Iterator<Item = &'a AgentTarget>) -> Arc<BTreeMap<String, AgentAddress>> {
    let address = |target: &AgentTarget| AgentAddress {
        url: target.url.clone(),
        token: target.token.clone(),
        tls: target.tls.clone(),
    };
    Arc::new(targets.map(|target| (target.name.clone(), address(target))).collect())
}

impl Watching {
    /// Ends the measuring, then writes what is left.
    pub(super) async fn finish(mut self, run: &Run) {
        self.stop_measuring.cancel();
        let failed = |message: &str| run.stop.stop(StopReason::Failed(message.to_owned()));
        let ended = async {
            while let Some(ended) = self.measuring.join_next().await {
                if ended.is_err() {
                    failed("a bug in squall: a probe or the traffic panicked, so samples are missing");
                }
            }
        };
        if tokio::time::timeout(LAST_ANSWERS, ended).await.is_err() {
            self.measuring.shutdown().await;
        }
        self.stop_writing.cancel();
        if self.writer.await.is_err() {
            failed("a bug in squall: the journal's writer panicked, so samples are missing from the journal");
        }
    }
}

/// Brings new samples into the journal until it is cancelled, and once more then; beside that, what waits for a journal
/// that was away. A journal that does not take them, and no spool either, stops the run: what it concluded could not be
/// checked.
async fn write(run: String, journal: Journal, recorder: Arc<Recorder>, log: Log, stop: Stop, done: CancellationToken) {
    let mut cursor = Cursor::default();
    loop {
        let last = tokio::select! {
            () = done.cancelled() => true,
            () = tokio::time::sleep(WRITE_PACE) => false,
        };
        let samples = recorder.since(&mut cursor);
        let written = journal.samples(&run, &samples).await;
        let caught_up = journal.catch_up(&run).await;
        if let Err(error) = written.and(caught_up) {
            tracing::error!(%error, samples = samples.len(), "failed to write samples to the journal");
            stop.stop(StopReason::Failed(format!("the journal cannot be written: {error}")));
        }
        for text in journal.news(&run).await {
            log.tell(What::Note { text }).await;
        }
        if last {
            return;
        }
    }
}
