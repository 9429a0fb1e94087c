//! The first phase: reaches every agent and checks everything that can be known before anything is touched.
//!
//! `squall plan` stops here and prints it. What can be refused is refused here: foreign leases, limits, unknown
//! proxies, faults that a proxy's protocol does not know. Neighbours: `lease` takes what the plan names.

use super::{Refusal, lease::is_refusal};
use crate::{
    agent_client::{AgentClient, AgentTarget},
    experiment::{Experiment, Inject, ProbeKind},
};
use squall_wire::{AgentInfo, Lease, ProxyInfo, ProxyName, Span, nearest::nearest};
use std::{collections::BTreeMap, time::Duration};

/// An agent that the run may touch.
#[derive(Debug, Clone)]
pub struct PlannedAgent {
    /// Speaks to it.
    pub client: AgentClient,
    /// What it says of itself.
    pub info: AgentInfo,
    /// All its proxies.
    pub proxies: Vec<ProxyInfo>,
    /// Those that the method touches, in order.
    pub touched: Vec<ProxyName>,
}

/// What a run is going to do, on real agents.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The agents by name.
    pub agents: BTreeMap<String, PlannedAgent>,
    /// The longest that it takes from the first sample to the end of recovery.
    pub duration: Duration,
}

/// Why there is no plan.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PlanError {
    /// It must not be done: exit 10.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It cannot be done: verdict `error`.
    #[error("{0}")]
    Failed(String),
}

/// Makes the plan.
///
/// # Errors
/// Refused when a lease, a limit or the blast radius forbids it; failed when an agent or a proxy is not there.
pub async fn plan(experiment: &Experiment, targets: &[AgentTarget]) -> Result<Plan, PlanError> {
    let mut agents = BTreeMap::new();
    let asked = futures::future::join_all(targets.iter().map(|target| reach(target.clone()))).await;
    for agent in asked {
        let agent = agent?;
        agents.insert(agent.client.name().to_owned(), agent);
    }
    let mut plan = Plan { agents, duration: total_duration(experiment) };
    for inject in experiment.method.iter().flat_map(|step| step.injections()) {
        plan.touch(inject)?;
    }
    for (name, probe) in &experiment.probes {
        if let ProbeKind::Agent { agent, proxy, .. } = &probe.kind {
            plan.find_proxy(agent.as_deref(), proxy).map_err(|e| PlanError::Failed(format!("probe `{name}`: {e}")))?;
        }
    }
    plan.check_leases(experiment).await?;
    Ok(plan)
}

async fn reach(target: AgentTarget) -> Result<PlannedAgent, PlanError> {
    let failed = |e: crate::agent_client::AgentError| match e.code() {
        Some(code) if is_refusal(code) => Refusal(e.to_string()).into(),
        _ => PlanError::Failed(e.to_string()),
    };
    let client = AgentClient::new(target).map_err(failed)?;
    let info = client.info().await.map_err(failed)?;
    let proxies = client.proxies().await.map_err(failed)?;
    Ok(PlannedAgent { client, info, proxies, touched: Vec::new() })
}

/// Why this agent would refuse the fault, as far as it has said: its halt, and its policy.
fn refused_by(info: &AgentInfo, inject: &Inject) -> Option<String> {
    let (policy, kind) = (&info.policy, inject.fault.fault.name());
    if let Some(halt) = &info.halt {
        return Some(format!("it was halted by {} at {}: {}", halt.who, halt.since, halt.reason));
    }
    if policy.protected.contains(&inject.proxy) {
        return Some(format!("policy.protected: proxy `{}` is protected", inject.proxy));
    }
    if let Some(kinds) = policy.kinds.as_ref().filter(|kinds| !kinds.iter().any(|known| known == kind)) {
        return Some(format!("policy.kinds: it sets no `{kind}`, only {}", kinds.join(", ")));
    }
    let share = inject.fault.percent;
    let most = policy.max_percent.filter(|most| share.get() > most.get())?;
    Some(format!("policy.max_percent: {share} % is more than the {most} % that it allows"))
}

fn total_duration(experiment: &Experiment) -> Duration {
    let method: Duration = experiment.method.iter().map(|step| step.duration()).sum();
    experiment.baseline + method + experiment.recovery.within + experiment.recovery.hold
}

impl Plan {
    /// The agent with this name, or the only one.
    ///
    /// # Errors
    /// A sentence that says which there are.
    pub fn agent(&self, name: Option<&str>) -> Result<&PlannedAgent, String> {
        let known = || self.agents.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        match name {
            Some(name) => {
                self.agents.get(name).ok_or_else(|| format!("there is no agent `{name}`; known: {}", known()))
            }
            None => match self.agents.values().next() {
                Some(only) if self.agents.len() == 1 => Ok(only),
                Some(_) => Err(format!("there are {} agents: say which by `agent:` ({})", self.agents.len(), known())),
                None => Err("the environment names no agent".to_owned()),
            },
        }
    }

    fn find_proxy(&self, agent: Option<&str>, proxy: &ProxyName) -> Result<&PlannedAgent, String> {
        let agent = self.agent(agent)?;
        if agent.proxies.iter().any(|known| known.name == *proxy) {
            return Ok(agent);
        }
        let known: Vec<_> = agent.proxies.iter().map(|known| known.name.as_str()).collect();
        let meant = nearest(proxy.as_str(), known.iter().copied());
        let meant = meant.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
        Err(format!("agent `{}` has no proxy `{proxy}` (it has {}){meant}", agent.client.name(), known.join(", ")))
    }

    fn touch(&mut self, inject: &Inject) -> Result<(), PlanError> {
        let step = &inject.name;
        let failed = |e: String| PlanError::Failed(format!("step `{step}`: {e}"));
        let agent = self.find_proxy(inject.agent.as_deref(), &inject.proxy).map_err(failed)?;
        let name = agent.client.name().to_owned();
        let kind = inject.fault.fault.name();
        if !agent.info.faults.iter().any(|known| known == kind) {
            return Err(failed(format!(
                "agent `{name}` cannot do `{kind}`; it can do {}",
                agent.info.faults.join(", ")
            )));
        }
        if let Some(refusal) = refused_by(&agent.info, inject) {
            return Err(Refusal(format!("step `{step}`: agent `{name}` refuses it: {refusal}")).into());
        }
        let protocol = agent.proxies.iter().find(|known| known.name == inject.proxy).map(|known| known.protocol);
        let mistakes = protocol.map(|protocol| inject.fault.mistakes_on(protocol)).unwrap_or_default();
        if let Some(mistake) = mistakes.first() {
            return Err(failed(format!("proxy `{}`: {mistake}", inject.proxy)));
        }
        if inject.lasting > agent.info.max_fault_duration.get() {
            return Err(Refusal(format!(
                "step `{step}` lasts {}, but agent `{name}` lets no fault live longer than {}",
                Span::from(inject.lasting),
                agent.info.max_fault_duration
            ))
            .into());
        }
        if let Some(agent) = self.agents.get_mut(&name)
            && !agent.touched.contains(&inject.proxy)
        {
            agent.touched.push(inject.proxy.clone());
        }
        Ok(())
    }

    async fn check_leases(&self, experiment: &Experiment) -> Result<(), PlanError> {
        for agent in self.agents.values().filter(|agent| !agent.touched.is_empty()) {
            if experiment.lease > agent.info.max_lease.get() {
                return Err(Refusal(format!(
                    "`lease` is {}, but agent `{}` gives leases of at most {}",
                    Span::from(experiment.lease),
                    agent.client.name(),
                    agent.info.max_lease
                ))
                .into());
            }
            let leases = agent.client.leases().await.map_err(|e| PlanError::Failed(e.to_string()))?;
            for lease in leases {
                if let Some(proxy) = lease.proxies.iter().find(|proxy| agent.touched.contains(proxy)) {
                    return Err(held_by_another(agent.client.name(), proxy, &lease).into());
                }
            }
        }
        Ok(())
    }
}

fn held_by_another(agent: &str, proxy: &ProxyName, lease: &Lease) -> Refusal {
    Refusal(format!(
        "proxy `{proxy}` on agent `{agent}` is held by {} ({}) since {}; its lease ends in {} unless it is renewed",
        lease.owner, lease.reason, lease.created_at, lease.expires_in
    ))
}
