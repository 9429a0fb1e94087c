//! Carries out the steps: faults in, wait, faults out. A stop pre-empts any wait and any step.
//!
//! Invariant: the intent is in the journal before the agent is asked, and what is set here is taken away here or by `heal`.

use super::{Run, lease::HeldLease, stop::StopReason};
use crate::{
    event::{Phase, What},
    experiment::{Inject, Step},
    record::FaultRecord,
};
use futures::future::{BoxFuture, FutureExt, join_all};
use squall_wire::{FaultInfo, Span};
use std::time::Duration;

/// A fault outlives its step by so much on the agent's own clock before the agent takes it away by itself.
const EXPIRY_MARGIN: Duration = Duration::from_secs(30);

/// Every step in order, until the end or until the run is stopped.
pub async fn carry_out(run: &Run) {
    let lasting = run.experiment.method.iter().map(Step::duration).sum();
    run.log.tell(What::Phase { phase: Phase::Method, lasting: Some(lasting) }).await;
    for step in &run.experiment.method {
        run.gate.pass(step.name(), &run.log, &run.stop).await;
        if run.stop.is_stopped() {
            return;
        }
        carry_out_step(run, step).await;
    }
}

fn carry_out_step<'a>(run: &'a Run, step: &'a Step) -> BoxFuture<'a, ()> {
    async move {
        let started = What::StepStarted { step: step.name().to_owned(), lasting: step.duration() };
        run.log.tell(started).await;
        match step {
            Step::Wait { lasting, .. } => {
                run.stop.wait(*lasting).await;
            }
            Step::Parallel { steps, .. } => {
                join_all(steps.iter().map(|step| carry_out_step(run, step))).await;
            }
            Step::Inject(inject) => inject_and_remove(run, inject).await,
        }
        if !run.stop.is_stopped() {
            run.log.tell(What::StepEnded { step: step.name().to_owned() }).await;
        }
    }
    .boxed()
}

async fn inject_and_remove(run: &Run, inject: &Inject) {
    let failed = |message: String| run.stop.stop(StopReason::Failed(format!("step `{}`: {message}", inject.name)));
    let held = match run.plan.agent(inject.agent.as_deref()).map(|agent| run.leases.get(agent.client.name())) {
        Ok(Some(held)) => held,
        Ok(None) => return failed("its agent has no lease".into()),
        Err(error) => return failed(error),
    };
    let Some(fault) = set(run, inject, held).await else { return };
    // A stop leaves the fault to `heal`, which ends the lease and so every fault at once.
    if run.stop.wait(inject.lasting).await {
        take_away(run, inject, held, &fault).await;
    }
}

async fn set(run: &Run, inject: &Inject, held: &HeldLease) -> Option<FaultInfo> {
    let mut spec = inject.fault.clone();
    spec.lease = Some(held.id.clone());
    let longest = run.plan.agents.get(held.client.name()).map(|agent| agent.info.max_fault_duration.get());
    spec.expires_in = Some(Span::from(longest.unwrap_or(Duration::MAX).min(inject.lasting + EXPIRY_MARGIN)));
    let (step, agent) = (inject.name.clone(), held.client.name().to_owned());
    let intent = What::Intent { step, agent, proxy: inject.proxy.clone(), fault: spec.clone() };
    if !run.log.tell(intent).await {
        return None;
    }
    // Asked to stop between the intent and the request: nothing is set any more.
    if run.stop.is_stopped() {
        return None;
    }
    match held.client.add_fault(&inject.proxy, &spec).await {
        Ok(info) => {
            run.faults.lock().push(record(inject, held, &info, run.log.now()));
            let (step, agent) = (inject.name.clone(), held.client.name().to_owned());
            run.log.tell(What::Injected { step, agent, proxy: inject.proxy.clone(), fault: info.clone() }).await;
            Some(info)
        }
        Err(error) => {
            run.stop.stop(StopReason::Failed(format!("step `{}`: failed to inject: {error}", inject.name)));
            None
        }
    }
}

async fn take_away(run: &Run, inject: &Inject, held: &HeldLease, fault: &FaultInfo) {
    match held.client.remove_fault(&inject.proxy, &fault.name, Some(&held.id)).await {
        Ok(removed) => run.removed(held.client.name(), &removed, "its step ended").await,
        Err(error) => {
            let (name, proxy) = (&fault.name, &inject.proxy);
            let message = match error.code() {
                Some(squall_wire::ErrorCode::NotFound) => {
                    format!("fault `{name}` on `{proxy}` was taken away by somebody else before its time")
                }
                _ => format!("failed to take away fault `{name}` on `{proxy}`: {error}"),
            };
            run.stop.stop(StopReason::Failed(format!("step `{}`: {message}", inject.name)));
        }
    }
}

fn record(inject: &Inject, held: &HeldLease, info: &FaultInfo, from: Duration) -> FaultRecord {
    FaultRecord {
        step: inject.name.clone(),
        agent: held.client.name().to_owned(),
        proxy: inject.proxy.to_string(),
        name: info.name.to_string(),
        kind: info.fault.name().to_owned(),
        shown: one_line(inject),
        seed: Some(info.seed),
        from,
        to: None,
        hits: None,
    }
}

/// The fault as one line, as it would be written in a file.
fn one_line(inject: &Inject) -> String {
    let value = serde_json::to_value(&inject.fault).unwrap_or_default();
    let text = flow(&value);
    text.strip_prefix('{').and_then(|t| t.strip_suffix('}')).unwrap_or(&text).to_owned()
}

/// JSON as YAML in flow style, without the quotes that YAML does not need.
fn flow(value: &serde_json::Value) -> String {
    use serde_json::Value;
    match value {
        Value::Object(map) => {
            let entries: Vec<_> = map.iter().map(|(key, value)| format!("{key}: {}", flow(value))).collect();
            format!("{{{}}}", entries.join(", "))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::String(text) if text.chars().all(|c| c.is_ascii_alphanumeric() || "./_-".contains(c)) => text.clone(),
        other => other.to_string(),
    }
}
