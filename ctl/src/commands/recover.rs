//! `squall recover`: after a crash, heals what dead runs may have left, and closes them as `interrupted`.
//!
//! A run is dead when the journal has no end of it and its process is gone. What it may have left is what it holds
//! leases for, and what its `run` steps owe an `undo` for; agents that have let their leases run out have healed
//! themselves, and say so.

use super::Outcome;
use crate::{
    cli::{Common, Format, Recover},
    connect,
    exit::{Code, Failure},
    output, trial,
};
use squall_engine::{
    agent_client::{AgentClient, AgentError, AgentTarget},
    agent_tls::AgentTls,
    environment::Environment,
    event::{Event, What},
    experiment::{Experiment, Secrets},
    journal::Journal,
    load::{self, Inputs},
    record::{RunEnd, RunRecord},
    run::undo,
    verdict::Verdict,
};
use squall_wire::{ErrorCode, LeaseId};
use std::{collections::BTreeMap, path::Path, time::Duration};

/// Closes every dead run; one that an agent could not confirm stays open, and the exit code says so.
pub async fn recover(args: &Recover, common: &Common) -> Outcome {
    if args.journal.journal.is_missing() {
        super::journal::existing(&args.journal).await?;
    }
    let journal = trial::open_journal(&args.journal.journal, &args.report).await?;
    let environment = args.env.as_deref().map(|name| connect::environment_named(name, None)).transpose()?;
    let (mut closed, mut failed) = (Vec::new(), Vec::new());
    for run in journal.open_runs().await? {
        if is_alive(&run) {
            output::progress(&format!(
                "run {} is still running (process {} on this machine)",
                run.start.id, run.start.pid
            ));
            continue;
        }
        match close(&journal, &run, &environment).await {
            Ok(()) => closed.push(run.start.id),
            Err(cause) => failed.push(format!("run {}: {cause}", run.start.id)),
        }
    }
    match common.output {
        Format::Json => output::json(&serde_json::json!({"closed": closed, "failed": failed})),
        Format::Text if closed.is_empty() && failed.is_empty() => output::result("nothing to recover"),
        Format::Text => {
            for id in &closed {
                output::result(&format!("run {id}: healed and closed as interrupted"));
            }
        }
    }
    if failed.is_empty() { Ok(0) } else { Err(Failure::new(Code::NotHealed, failed.join("\n"))) }
}

/// Whether a run without an end may still be going on. On another machine nobody can tell, so there it is believed for a day.
pub(super) fn may_be_under_way(run: &RunRecord) -> bool {
    /// Longer than any run is.
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    if run.start.host == connect::host_name() {
        return is_alive(run);
    }
    let started = run.start.started_at.parse::<jiff::Timestamp>();
    started.is_ok_and(|started| jiff::Timestamp::now().duration_since(started).unsigned_abs() < DAY)
}

/// On another machine nobody can tell: there the leases decide, and a live run renews them.
fn is_alive(run: &RunRecord) -> bool {
    if run.start.host != connect::host_name() {
        return false;
    }
    let pid = i32::try_from(run.start.pid).ok().and_then(rustix::process::Pid::from_raw);
    pid.is_some_and(|pid| rustix::process::test_kill_process(pid).is_ok() && is_squall(run.start.pid))
}

/// A process id is used again; another program under it is not the run.
fn is_squall(pid: u32) -> bool {
    match std::fs::read_to_string(format!("/proc/{pid}/comm")) {
        Ok(name) => name.trim_end().starts_with("squall"),
        Err(_) => true,
    }
}

async fn close(journal: &Journal, run: &RunRecord, environment: &Option<Environment>) -> Result<(), String> {
    let known = environment.as_ref().map(connect::targets).unwrap_or_default();
    let last = run.events.last().map_or(Duration::ZERO, |event| event.at);
    // The sandbox's agent lived in the process that died: with it went its proxies and faults.
    let held = run.events.iter().filter(|_| run.start.environment != crate::sandbox::NAME);
    for event in held {
        if let What::Leased { agent, url, lease, .. } = &event.what {
            let target = known.iter().find(|target| target.url == *url).cloned().unwrap_or_else(|| AgentTarget {
                name: agent.clone(),
                url: url.clone(),
                token: connect::token_of_variable(),
                tls: AgentTls::default(),
                labels: BTreeMap::new(),
            });
            heal(target, lease).await.map_err(|e| format!("{e}; to be sure: squall heal --agent {url}"))?;
            let healed = Event { at: last, what: What::HealConfirmed { agent: agent.clone() } };
            journal.event(&run.start.id, &healed).await.map_err(|e| e.to_string())?;
        }
    }
    take_back(journal, run, environment.as_ref(), last).await?;
    let reasons =
        vec!["squall died during the run; `squall recover` healed what it may have left and closed it".to_owned()];
    let verdict = What::Verdict { verdict: Verdict::Interrupted, reasons: reasons.clone() };
    journal.event(&run.start.id, &Event { at: last, what: verdict }).await.map_err(|e| e.to_string())?;
    let end = RunEnd {
        verdict: Verdict::Interrupted,
        // As if killed by SIGKILL, which it mostly was.
        exit_code: 137,
        reasons,
        took: last,
        rows: Vec::new(),
        faults: Vec::new(),
        aborts: Vec::new(),
    };
    journal.end_run(&run.start.id, &end).await.map_err(|e| e.to_string())
}

/// Ends the lease, and confirms that nothing that lived under it is left.
async fn heal(target: AgentTarget, lease: &LeaseId) -> Result<(), AgentError> {
    let client = AgentClient::new(target)?;
    match client.end_lease(lease).await {
        Ok(_) => {}
        Err(error) if error.code() == Some(ErrorCode::NotFound) => {}
        Err(error) => return Err(error),
    }
    for proxy in client.proxies().await? {
        for fault in proxy.faults.iter().filter(|fault| fault.lease.as_ref() == Some(lease)) {
            client.remove_fault(&proxy.name, &fault.name, Some(lease)).await?;
        }
    }
    Ok(())
}

/// Takes back what the steps of a dead run did, the last first. The experiment is read again from the journal, and its
/// secrets from where they come from, for no journal has them.
async fn take_back(
    journal: &Journal,
    run: &RunRecord,
    environment: Option<&Environment>,
    at: Duration,
) -> Result<(), String> {
    let left = undo::left(&run.events);
    let Some(last) = left.first() else { return Ok(()) };
    let experiment = again(run, environment, &last.directory).map_err(|why| {
        let steps: Vec<&str> = left.iter().map(|left| left.step.as_str()).collect();
        format!(
            "{why}\nsteps that are not taken back: {}; do it by hand, or give what is missing and try again",
            steps.join(", ")
        )
    })?;
    let mut failures = Vec::new();
    for left in left {
        let failed = left.take_back(&experiment).await.err();
        let told = What::Undone { step: left.step.clone(), number: left.number, failed: failed.clone() };
        let journal = journal.clone().with_secrets(experiment.secrets.clone());
        journal.event(&run.start.id, &Event { at, what: told }).await.map_err(|e| e.to_string())?;
        failures.extend(failed);
    }
    if failures.is_empty() { Ok(()) } else { Err(failures.join("; ")) }
}

fn again(run: &RunRecord, environment: Option<&Environment>, directory: &str) -> Result<Experiment, String> {
    let mut variables = environment.map(|environment| environment.variables.clone()).unwrap_or_default();
    variables.extend(run.start.variables.clone());
    let source = &run.start.source;
    let none = Secrets::default();
    let inputs = Inputs {
        path: &source.path,
        text: &source.text,
        set: &BTreeMap::new(),
        environment: &variables,
        secrets: environment.map_or(&none, |environment| &environment.secrets),
        env_var: &|name| std::env::var(name).ok(),
        base_dir: Path::new(directory),
    };
    load::load(&inputs)
        .map_err(|mistakes| format!("its experiment cannot be read again: {}", mistakes.render(&source.text, false)))
}
