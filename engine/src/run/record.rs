//! What is written down of a run as a whole: its start, and its end.

use super::{
    PrepareError, Run,
    plan::{Plan, PlanError},
};
use crate::{
    agent_client::AgentTarget,
    decide::{self, Facts},
    event::{Event, What},
    experiment::{AbortRow, Experiment, Step},
    journal::Journal,
    record::{AbortRecord, AgentRecord, RunEnd, RunStart},
    sample::Metric,
    traffic::Rate,
    verdict::Verdict,
};
use std::time::Duration;

/// How long a journal that is away is waited for when everything else is done.
const LAST_LOOK: Duration = Duration::from_secs(2);

/// What is known before the agents are reached.
pub(super) fn start(experiment: &Experiment, environment: &str, host: &str) -> RunStart {
    RunStart {
        id: uuid::Uuid::now_v7().to_string(),
        experiment: experiment.name.clone(),
        hypothesis: experiment.hypothesis.clone(),
        owner: experiment.owner.clone(),
        tags: experiment.tags.clone(),
        source: experiment.source.clone().into(),
        variables: experiment.variables.clone(),
        environment: environment.to_owned(),
        agents: Vec::new(),
        started_at: jiff::Timestamp::now().to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        host: host.to_owned(),
        pid: std::process::id(),
        recovery_within: experiment.recovery.within,
        recovery_hold: experiment.recovery.hold,
    }
}

/// The agents as the plan found them.
pub(super) fn agents(plan: &Plan) -> Vec<AgentRecord> {
    let record = |(name, agent): (&String, &super::plan::PlannedAgent)| AgentRecord {
        name: name.clone(),
        url: agent.client.target().url.clone(),
        version: agent.info.version.clone(),
    };
    plan.agents.iter().map(record).collect()
}

/// A run that never got its leases. A refusal leaves no trace, a failure is a run with the verdict `error`.
pub(super) async fn unprepared(
    journal: &Journal,
    mut start: RunStart,
    targets: &[AgentTarget],
    error: PlanError,
) -> PrepareError {
    let message = match error {
        PlanError::Refused(refusal) => return refusal.into(),
        PlanError::Failed(message) => message,
    };
    let unreached = |target: &AgentTarget| AgentRecord {
        name: target.name.clone(),
        url: target.url.clone(),
        version: "unknown".to_owned(),
    };
    start.agents = targets.iter().map(unreached).collect();
    match write_failure(journal, &start, &message).await {
        Ok(()) => PrepareError::Failed { id: start.id, message },
        Err(error) => error.into(),
    }
}

async fn write_failure(journal: &Journal, start: &RunStart, message: &str) -> Result<(), crate::journal::JournalError> {
    journal.start_run(start).await?;
    let what = What::Failed { message: message.to_owned() };
    journal.event(&start.id, &Event { at: Duration::ZERO, what }).await?;
    let end = RunEnd {
        verdict: Verdict::Error,
        exit_code: Verdict::Error.exit_code(),
        reasons: vec![message.to_owned()],
        took: Duration::ZERO,
        rows: Vec::new(),
        faults: Vec::new(),
        aborts: Vec::new(),
    };
    journal.end_run(&start.id, &end).await
}

/// Decides, writes it down, and gives it back. A journal that fails now changes the verdict to `error`, unless it is
/// worse already.
pub(super) async fn end(run: &Run, facts: Facts) -> RunEnd {
    let decision = decide::decide(&facts);
    let secrets = &run.experiment.secrets;
    let mut reasons: Vec<String> = decision.reasons.iter().map(|reason| secrets.redact(reason)).collect();
    for text in run.journal.news(&run.start.id).await {
        run.log.tell(What::Note { text }).await;
    }
    let dropped = run.journal.dropped(&run.start.id).await;
    if dropped > 0 {
        reasons.push(format!(
            "the journal was away and its spool full: {dropped} samples were judged but are not in the journal"
        ));
    }
    run.log.tell(What::Verdict { verdict: decision.verdict, reasons: reasons.clone() }).await;
    run.log.written().await;
    let mut end = RunEnd {
        verdict: decision.verdict,
        exit_code: decision.exit_code,
        reasons,
        took: run.log.now(),
        rows: facts.into_rows(),
        faults: run.faults.lock().clone(),
        aborts: run.experiment.abort_when.iter().flat_map(aborts).collect(),
    };
    if let Err(error) = run.journal.end_run(&run.start.id, &end).await {
        if end.verdict > Verdict::Error {
            (end.verdict, end.exit_code) = (Verdict::Error, Verdict::Error.exit_code());
        }
        end.reasons.push(format!("the journal cannot be written: {error}"));
    }
    // Nothing hurts any more, so there is a little time for a journal that is just coming back.
    run.journal.settle(&run.start.id, LAST_LOOK).await;
    end
}

fn aborts(row: &AbortRow) -> Vec<AbortRecord> {
    match row {
        AbortRow::Silent(lasting) => vec![AbortRecord {
            probe: "*".into(),
            condition: format!("no sample for {}", squall_wire::Span::from(*lasting)),
            limits: Vec::new(),
        }],
        AbortRow::Breach { probe, checks, lasting } => {
            let limits = |check: &crate::experiment::Check| -> Vec<(Metric, f64)> {
                let limits = check.tolerance.limits(check.metric, None);
                limits.into_iter().map(|limit| (check.metric, limit)).collect()
            };
            vec![AbortRecord {
                probe: probe.clone(),
                condition: crate::judge::condition(checks, *lasting),
                limits: checks.iter().flat_map(limits).collect(),
            }]
        }
    }
}

/// The traffic's rate, and the most that a step will bring it to.
pub(super) fn rate(experiment: &Experiment) -> Rate {
    let loads = experiment.method.iter().flat_map(Step::all).filter_map(Step::load);
    let rate = experiment.traffic.as_ref().map_or(0.0, |traffic| traffic.rate);
    Rate::new(rate, loads.fold(rate, f64::max))
}
