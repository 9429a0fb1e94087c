//! Sets a fault on every agent that a step chose, and takes it away: intents first, agents at once.
//!
//! A call that hangs when the run is stopped is dropped, so that healing does not wait for it; what it may still set
//! lives under a lease that ends, and an agent sets nothing under a lease that has ended. Neighbours: `method` and
//! `ramp`. Invariant: the intent is in the journal before the agent is asked.

use super::{Run, lease::HeldLease, stop::StopReason};
use crate::{event::What, experiment::Inject, record::FaultRecord};
use futures::future::join_all;
use squall_wire::{FaultInfo, FaultPatch, FaultSpec, Span};
use std::time::Duration;

/// A fault outlives its step by so much on the agent's own clock before the agent takes it away by itself.
const EXPIRY_MARGIN: Duration = Duration::from_secs(30);

/// A fault that is set, and where.
#[derive(Debug, Clone)]
pub(super) struct Set {
    agent: String,
    fault: FaultInfo,
}

fn failed(run: &Run, inject: &Inject, message: &str) {
    run.stop.stop(StopReason::Failed(format!("step `{}`: {message}", inject.name)));
}

/// Sets it, waits, and takes it away.
pub(super) async fn carry_out(run: &Run, inject: &Inject) {
    let set = set_all(run, inject, &inject.fault).await;
    // A stop leaves the fault to `heal`, which ends the lease and so every fault at once.
    if !set.is_empty() && run.stop.wait(inject.lasting).await {
        take_all_away(run, inject, &set).await;
    }
}

/// Sets this fault on every agent that the step chose; the run is stopped where one does not.
pub(super) async fn set_all(run: &Run, inject: &Inject, fault: &FaultSpec) -> Vec<Set> {
    let Some(choice) = run.plan.chosen.get(&inject.name) else {
        failed(run, inject, "the plan chose no agent for it");
        return Vec::new();
    };
    if let Some(rule) = &choice.rule {
        let (step, agents, rule) = (inject.name.clone(), choice.agents.clone(), rule.clone());
        run.log.tell(What::Chosen { step, agents, rule }).await;
    }
    let set = join_all(choice.agents.iter().map(|agent| async move {
        match run.leases.get(agent) {
            Some(held) => set(run, inject, fault, held).await,
            None => {
                failed(run, inject, &format!("agent `{agent}` has no lease"));
                None
            }
        }
    }));
    set.await.into_iter().flatten().collect()
}

async fn set(run: &Run, inject: &Inject, fault: &FaultSpec, held: &HeldLease) -> Option<Set> {
    let mut spec = fault.clone();
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
    match run.stop.unless(held.client.add_fault(&inject.proxy, &spec)).await? {
        Ok(info) => {
            run.faults.lock().push(record(inject, fault, held, &info, run.log.now()));
            let (step, agent) = (inject.name.clone(), held.client.name().to_owned());
            let told = What::Injected { step, agent: agent.clone(), proxy: inject.proxy.clone(), fault: info.clone() };
            run.log.tell(told).await;
            Some(Set { agent, fault: info })
        }
        Err(error) => {
            failed(run, inject, &format!("failed to inject: {error}"));
            None
        }
    }
}

/// Changes it on one agent. False when that failed or the run is stopped.
pub(super) async fn change(run: &Run, inject: &Inject, set: &Set, patch: &FaultPatch) -> bool {
    let Some(held) = run.leases.get(&set.agent) else { return false };
    let asked = held.client.patch_fault(&inject.proxy, &set.fault.name, patch, Some(&held.id));
    match run.stop.unless(asked).await {
        None => false,
        Some(Ok(_)) => true,
        Some(Err(error)) => {
            failed(run, inject, &format!("failed to change fault `{}` on `{}`: {error}", set.fault.name, inject.proxy));
            false
        }
    }
}

/// Takes it away on every agent at once.
pub(super) async fn take_all_away(run: &Run, inject: &Inject, set: &[Set]) {
    join_all(set.iter().map(|set| take_away(run, inject, set))).await;
}

async fn take_away(run: &Run, inject: &Inject, set: &Set) {
    let Some(held) = run.leases.get(&set.agent) else { return };
    let asked = held.client.remove_fault(&inject.proxy, &set.fault.name, Some(&held.id));
    match run.stop.unless(asked).await {
        None => {}
        Some(Ok(removed)) => run.removed(held.client.name(), &removed, "its step ended").await,
        Some(Err(error)) => {
            let (name, proxy) = (&set.fault.name, &inject.proxy);
            let message = match error.code() {
                Some(squall_wire::ErrorCode::NotFound) => {
                    format!("fault `{name}` on `{proxy}` was taken away by somebody else before its time")
                }
                _ => format!("failed to take away fault `{name}` on `{proxy}`: {error}"),
            };
            failed(run, inject, &message);
        }
    }
}

fn record(inject: &Inject, fault: &FaultSpec, held: &HeldLease, info: &FaultInfo, from: Duration) -> FaultRecord {
    FaultRecord {
        step: inject.name.clone(),
        agent: held.client.name().to_owned(),
        proxy: inject.proxy.to_string(),
        name: info.name.to_string(),
        kind: info.fault.name().to_owned(),
        shown: one_line(fault),
        seed: Some(info.seed),
        from,
        to: None,
        hits: None,
    }
}

/// The fault as one line, as it would be written in a file.
fn one_line(fault: &FaultSpec) -> String {
    // A fault is plain data and always becomes JSON.
    let value = serde_json::to_value(fault).unwrap_or_default();
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
