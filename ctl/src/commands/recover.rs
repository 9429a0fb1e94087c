//! `squall recover`: after a crash, heals what dead runs may have left, and closes them as `interrupted`.
//!
//! A run is dead when the journal has no end of it and its process is gone. What it may have left is what it holds
//! leases for; agents that have let them run out have healed themselves, and say so.

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
    event::{Event, What},
    journal::Journal,
    record::{RunEnd, RunRecord},
    verdict::Verdict,
};
use squall_wire::{ErrorCode, LeaseId};
use std::time::Duration;

/// Closes every dead run; one that an agent could not confirm stays open, and the exit code says so.
pub async fn recover(args: &Recover, common: &Common) -> Outcome {
    if args.journal.journal.is_missing() {
        super::journal::existing(&args.journal).await?;
    }
    let journal = trial::open_journal(&args.journal.journal, &args.report).await?;
    let known = known(args)?;
    let (mut closed, mut failed) = (Vec::new(), Vec::new());
    for run in journal.open_runs().await? {
        if is_alive(&run) {
            output::progress(&format!(
                "run {} is still running (process {} on this machine)",
                run.start.id, run.start.pid
            ));
            continue;
        }
        match close(&journal, &run, &known).await {
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

async fn close(journal: &Journal, run: &RunRecord, known: &[AgentTarget]) -> Result<(), String> {
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
            });
            heal(target, lease).await.map_err(|e| format!("{e}; to be sure: squall heal --agent {url}"))?;
            let healed = Event { at: last, what: What::HealConfirmed { agent: agent.clone() } };
            journal.event(&run.start.id, &healed).await.map_err(|e| e.to_string())?;
        }
    }
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

/// The agents of the environment that was named, with their tokens and certificates.
fn known(args: &Recover) -> Result<Vec<AgentTarget>, Failure> {
    let Some(name) = &args.env else { return Ok(Vec::new()) };
    Ok(connect::targets(&connect::environment_named(name, None)?))
}
