//! Takes every fault away and asks every agent whether it is gone. Happens however the run ends, and is not skipped.
//!
//! Invariant: an agent counts as healed only when it has said so itself: the lease is gone and none of its faults is
//! left, or it was restarted since (a restarted agent is a healed agent).

use super::{Run, lease::HeldLease, undo};
use crate::{
    agent_client::AgentError,
    event::{Phase, What},
};
use squall_wire::{Healed, Span};
use std::time::Duration;
use tokio::time::Instant;

/// After the lease's own time an agent has healed itself; so much longer we try to hear it say so.
const PATIENCE: Duration = Duration::from_secs(2);
const RETRY_PACE: Duration = Duration::from_millis(100);

/// How healing went.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Healing {
    /// Agents that could not confirm, each with the cause and what to type.
    pub unconfirmed: Vec<Unconfirmed>,
    /// Steps that could not be taken back, a sentence each.
    pub left: Vec<String>,
}

/// An agent that could not confirm that it is healed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unconfirmed {
    /// The agent.
    pub agent: String,
    /// Why.
    pub cause: String,
    /// What to type.
    pub remedy: String,
}

/// Heals all agents at once and confirms each; beside them, what `run` steps did is taken back.
pub async fn heal(run: &Run) -> Healing {
    run.log.tell(What::Phase { phase: Phase::Heal, lasting: None }).await;
    // Whatever a surge or a ramp was interrupted in.
    run.rate.set(run.normal_rate());
    let healing = futures::future::join_all(run.leases.values().map(|held| heal_agent(run, held)));
    let (healed, left) = tokio::join!(healing, undo::take_back(run, undo::Done::InMethod));
    Healing { unconfirmed: healed.into_iter().flatten().collect(), left }
}

async fn heal_agent(run: &Run, held: &HeldLease) -> Option<Unconfirmed> {
    let agent = held.client.name().to_owned();
    let deadline = Instant::now() + held.ttl + PATIENCE;
    loop {
        match try_heal(run, held).await {
            Ok(()) => {
                run.close_faults(&agent);
                run.log.tell(What::HealConfirmed { agent }).await;
                return None;
            }
            Err(cause) if Instant::now() >= deadline => {
                let url = &held.client.target().url;
                let remedy = format!("squall heal --agent {url}");
                let what = What::HealFailed { agent: agent.clone(), cause: cause.to_string(), remedy: remedy.clone() };
                run.log.tell(what).await;
                return Some(Unconfirmed { agent, cause: cause.to_string(), remedy });
            }
            Err(error) => {
                tracing::warn!(%error, "failed to heal; trying again");
                tokio::time::sleep(RETRY_PACE).await;
            }
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum HealError {
    #[error(transparent)]
    Agent(#[from] AgentError),
    #[error("fault `{fault}` is still on proxy `{proxy}`")]
    StillThere { proxy: String, fault: String },
    #[error("proxy `{proxy}` is not back to what it was before the lease")]
    NotBack { proxy: String },
}

/// One attempt: end the lease, then look whether anything of ours is left.
async fn try_heal(run: &Run, held: &HeldLease) -> Result<(), HealError> {
    let agent = held.client.name();
    match held.client.end_lease(&held.id).await {
        Ok(Healed { removed, restored: _ }) => {
            for fault in removed {
                run.removed(agent, &fault, "healed").await;
            }
        }
        // It has run out, or the agent was restarted: either way what counts is what is left.
        Err(AgentError::Refused { status: 404, .. }) => {}
        Err(error) => return Err(error.into()),
    }
    confirm(held).await
}

async fn confirm(held: &HeldLease) -> Result<(), HealError> {
    if held.client.info().await?.instance != held.instance {
        return Ok(());
    }
    for proxy in held.client.proxies().await? {
        if let Some(fault) = proxy.faults.iter().find(|fault| fault.lease.as_ref() == Some(&held.id)) {
            return Err(HealError::StillThere { proxy: proxy.name.to_string(), fault: fault.name.to_string() });
        }
        if proxy.changed_under.as_ref() == Some(&held.id) {
            return Err(HealError::NotBack { proxy: proxy.name.to_string() });
        }
    }
    Ok(())
}

impl Unconfirmed {
    /// A sentence for the verdict.
    #[must_use]
    pub fn sentence(&self, lease: Duration) -> String {
        format!(
            "agent `{}` could not confirm that its faults are gone: {}. If it lives, its lease has run out after {}; \
             to be sure: {}",
            self.agent,
            self.cause,
            Span::from(lease),
            self.remedy
        )
    }
}
