//! The first phase: reaches every agent and checks everything that can be known before anything is touched.
//!
//! `squall plan` stops here and prints it. What can be refused is refused here: foreign leases, limits, unknown
//! proxies, faults that a proxy's protocol does not know, a closed time window. Neighbours: `choose` chooses agents,
//! `lease` takes what the plan names.

use super::{
    Refusal,
    choose::{self, Choice},
    lease::is_refusal,
};
use crate::{
    agent_client::{AgentClient, AgentTarget},
    environment::ProxyEntry,
    experiment::{Experiment, Inject, ProbeKind},
    window,
};
use squall_wire::{AgentInfo, Lease, Protocol, ProxyInfo, ProxyName, ProxySpec, Span, nearest::nearest};
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
    /// Proxies that the environment gives it, which are made or brought into shape before anything is touched.
    pub shaped: Vec<ProxySpec>,
    /// By which it can be chosen: the environment's labels, and its own where those do not say otherwise.
    pub labels: BTreeMap<String, String>,
}

impl PlannedAgent {
    /// Those that the run holds: what is touched, and what is brought into shape.
    #[must_use]
    pub fn held(&self) -> Vec<ProxyName> {
        let mut held = self.touched.clone();
        let more = self.shaped.iter().map(|spec| spec.name.clone()).filter(|name| !self.touched.contains(name));
        held.extend(more);
        held
    }

    /// Whether it has the proxy, or is going to have it.
    fn protocol_of(&self, proxy: &ProxyName) -> Option<Protocol> {
        let shaped = self.shaped.iter().find(|spec| spec.name == *proxy).map(|spec| spec.protocol);
        shaped.or_else(|| self.proxies.iter().find(|known| known.name == *proxy).map(|known| known.protocol))
    }
}

/// What a run is going to do, on real agents.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The agents by name.
    pub agents: BTreeMap<String, PlannedAgent>,
    /// The agents that each step with a fault touches, by the step's name.
    pub chosen: BTreeMap<String, Choice>,
    /// By which they were chosen, where there was a choice.
    pub seed: u64,
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

/// What a plan is made of.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// What to do.
    pub experiment: &'a Experiment,
    /// The environment's agents.
    pub agents: &'a [AgentTarget],
    /// The environment's proxies.
    pub proxies: &'a [ProxyEntry],
    /// Chooses among agents.
    pub seed: u64,
}

/// Makes the plan.
///
/// # Errors
/// Refused when a window, a lease, a limit or the blast radius forbids it, or no agent is chosen; failed when an agent
/// or a proxy is not there.
pub async fn plan(inputs: Inputs<'_>) -> Result<Plan, PlanError> {
    let Inputs { experiment, agents: targets, proxies, seed } = inputs;
    let duration = total_duration(experiment);
    window::may_run(&experiment.windows, jiff::Timestamp::now(), duration).map_err(Refusal)?;
    let mut agents = BTreeMap::new();
    let asked = futures::future::join_all(targets.iter().map(|target| reach(target.clone()))).await;
    for agent in asked {
        let agent = agent?;
        agents.insert(agent.client.name().to_owned(), agent);
    }
    let mut plan = Plan { agents, chosen: BTreeMap::new(), seed, duration };
    plan.shape(proxies)?;
    for inject in experiment.method.iter().flat_map(|step| step.injections()) {
        plan.choose(inject)?;
        plan.touch(inject)?;
    }
    for (name, probe) in &experiment.probes {
        if let ProbeKind::Agent { agent, proxy, .. } = &probe.kind {
            plan.find_proxy(agent.as_deref(), proxy).map_err(|e| PlanError::Failed(format!("probe `{name}`: {e}")))?;
        }
    }
    plan.check_share(experiment)?;
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
    let mut labels = info.labels.clone();
    labels.extend(client.target().labels.clone());
    Ok(PlannedAgent { client, info, proxies, touched: Vec::new(), shaped: Vec::new(), labels })
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
    let steps: Duration = experiment.setup.iter().chain(&experiment.method).map(|step| step.duration()).sum();
    experiment.baseline + steps + experiment.recovery.within + experiment.recovery.hold
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
        if agent.protocol_of(proxy).is_some() {
            return Ok(agent);
        }
        let known = agent.proxies.iter().map(|known| known.name.as_str());
        let known: Vec<_> = known.chain(agent.shaped.iter().map(|spec| spec.name.as_str())).collect();
        let meant = nearest(proxy.as_str(), known.iter().copied());
        let meant = meant.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
        Err(format!("agent `{}` has no proxy `{proxy}` (it has {}){meant}", agent.client.name(), known.join(", ")))
    }

    /// Notes which proxies the environment gives to which agent.
    fn shape(&mut self, proxies: &[ProxyEntry]) -> Result<(), PlanError> {
        for ProxyEntry { agent, spec } in proxies {
            let failed = |e: String| PlanError::Failed(format!("proxy `{}` of the environment: {e}", spec.name));
            let name = self.agent(agent.as_deref()).map_err(failed)?.client.name().to_owned();
            if let Some(agent) = self.agents.get_mut(&name) {
                agent.shaped.push(spec.clone());
            }
        }
        Ok(())
    }

    /// Which agents the step touches.
    fn choose(&mut self, inject: &Inject) -> Result<(), PlanError> {
        let step = &inject.name;
        let choice = match &inject.agents {
            Some(wanted) => {
                let labels = self.agents.iter().map(|(name, agent)| (name.clone(), agent.labels.clone())).collect();
                choose::choose(wanted, &labels, self.seed).map_err(|e| Refusal(format!("step `{step}`: {e}")))?
            }
            None => {
                let agent = self.agent(inject.agent.as_deref());
                let agent = agent.map_err(|e| PlanError::Failed(format!("step `{step}`: {e}")))?;
                Choice { agents: vec![agent.client.name().to_owned()], rule: None }
            }
        };
        self.chosen.insert(step.clone(), choice);
        Ok(())
    }

    fn touch(&mut self, inject: &Inject) -> Result<(), PlanError> {
        let agents = self.chosen.get(&inject.name).map(|choice| choice.agents.clone()).unwrap_or_default();
        agents.iter().try_for_each(|agent| self.touch_on(inject, agent))
    }

    /// All steps together must not touch more of the agents than the blast radius allows.
    fn check_share(&self, experiment: &Experiment) -> Result<(), PlanError> {
        let most = experiment.blast_radius.agents_percent;
        let touched: Vec<&str> =
            self.agents.iter().filter(|(_, agent)| !agent.touched.is_empty()).map(|(name, _)| name.as_str()).collect();
        let share = touched.len() as f64 / self.agents.len().max(1) as f64 * 100.0;
        if share > most.get() + 1e-6 {
            return Err(Refusal(format!(
                "blast_radius.agents_percent: the method touches {} of {} agents ({}), more than the {most} % that it allows",
                touched.len(),
                self.agents.len(),
                touched.join(", ")
            ))
            .into());
        }
        Ok(())
    }

    fn touch_on(&mut self, inject: &Inject, name: &str) -> Result<(), PlanError> {
        let step = &inject.name;
        let failed = |e: String| PlanError::Failed(format!("step `{step}`: {e}"));
        let agent = self.find_proxy(Some(name), &inject.proxy).map_err(failed)?;
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
        let protocol = agent.protocol_of(&inject.proxy);
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
        for agent in self.agents.values().filter(|agent| !agent.held().is_empty()) {
            let held = agent.held();
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
                if let Some(proxy) = lease.proxies.iter().find(|proxy| held.contains(proxy)) {
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
