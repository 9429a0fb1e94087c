//! The run's hold on the agents: one lease an agent, renewed while the run lives, ended when it is over.
//!
//! Undo has two owners: this guard on our side, the lease on the agent's. If this process dies, the leases run out and
//! the agents heal themselves.
//!
//! Invariant: a renewal that fails for as long as the lease lasts, or an agent that no longer knows the lease, stops
//! the run.

use super::{
    Refusal,
    log::Log,
    plan::{Plan, PlanError, PlannedAgent},
    stop::{Stop, StopReason},
};
use crate::{
    agent_client::{AgentClient, AgentError},
    event::What,
    experiment::Experiment,
};
use squall_wire::{ErrorCode, Lease, LeaseId, LeaseRequest, ProxyName, ProxySpec, Span};
use std::{collections::BTreeMap, time::Duration};
use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

/// One lease on one agent.
#[derive(Debug, Clone)]
pub struct HeldLease {
    /// Speaks to the agent.
    pub client: AgentClient,
    /// The lease.
    pub id: LeaseId,
    /// The agent's instance when the lease was taken: another one has been restarted, and so healed.
    pub instance: String,
    /// What it holds.
    pub proxies: Vec<ProxyName>,
    /// It ends so long after its last renewal.
    pub ttl: Duration,
}

/// Every lease of the run, by agent. Must be given to `heal`, which ends them.
#[must_use = "leases are ended by `heal`; dropped, they run out by themselves"]
#[derive(Debug)]
pub struct Leases {
    /// By the agent's name.
    pub held: BTreeMap<String, HeldLease>,
    renewing: JoinSet<()>,
    done: CancellationToken,
}

/// Takes a lease on every agent that the plan holds something on, and brings the environment's proxies into shape under
/// it; those taken are given back when something is refused.
///
/// A proxy that is not there yet is made before, for there is nothing that a lease could hold, and nobody whom it could
/// disturb.
///
/// # Errors
/// Refused when somebody else holds a proxy, failed when an agent does not answer.
pub async fn take(experiment: &Experiment, plan: &Plan, run: &str, host: &str) -> Result<Leases, PlanError> {
    let mut leases = Leases { held: BTreeMap::new(), renewing: JoinSet::new(), done: CancellationToken::new() };
    for (name, agent) in plan.agents.iter().filter(|(_, agent)| !agent.held().is_empty()) {
        let request = LeaseRequest {
            owner: format!("squall on {host}, process {}", std::process::id()),
            reason: format!("experiment {}, run {run}", experiment.name),
            ttl: Span::from(experiment.lease),
            proxies: agent.held(),
        };
        if let Err(error) = take_one(agent, &request, name, &mut leases).await {
            leases.give_back().await;
            return Err(match error.code() {
                // A conflict: a proxy has faults already that no lease holds.
                Some(code) if is_refusal(code) || code == ErrorCode::Conflict => Refusal(error.to_string()).into(),
                _ => PlanError::Failed(error.to_string()),
            });
        }
    }
    Ok(leases)
}

async fn take_one(
    agent: &PlannedAgent,
    request: &LeaseRequest,
    name: &str,
    leases: &mut Leases,
) -> Result<(), AgentError> {
    let is_there = |spec: &&ProxySpec| agent.proxies.iter().any(|known| known.name == spec.name);
    for spec in agent.shaped.iter().filter(|spec| !is_there(spec)) {
        agent.client.create_proxy(spec).await?;
    }
    let Lease { id, ttl, proxies, .. } = agent.client.take_lease(request).await?;
    let instance = agent.info.instance.clone();
    let held = HeldLease { client: agent.client.clone(), id: id.clone(), instance, proxies, ttl: ttl.get() };
    leases.held.insert(name.to_owned(), held);
    for spec in agent.shaped.iter().filter(is_there) {
        agent.client.put_proxy_as(Some(&id), spec).await?;
    }
    Ok(())
}

/// Whether an agent means that it must not be, and not that it cannot be.
pub(super) const fn is_refusal(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::Leased | ErrorCode::Halted | ErrorCode::Forbidden | ErrorCode::Unauthorized)
}

impl Leases {
    /// Writes them down.
    pub async fn tell(&self, log: &Log) {
        for (agent, held) in &self.held {
            let lease = held.id.clone();
            let url = held.client.target().url.clone();
            let what = What::Leased { agent: agent.clone(), url, lease, proxies: held.proxies.clone(), ttl: held.ttl };
            log.tell(what).await;
        }
    }

    /// Renews each of them three times within its life, on tasks of their own, until `stop_renewing`.
    pub fn keep_alive(&mut self, stop: &Stop) {
        for held in self.held.values() {
            self.renewing.spawn(renew(held.clone(), stop.clone(), self.done.clone()));
        }
    }

    /// Ends the renewing; the leases live on until they are ended or run out. Must come before they are ended: to a
    /// renewal that is still under way, an ended lease is a lost one.
    pub async fn stop_renewing(&mut self) {
        self.done.cancel();
        while self.renewing.join_next().await.is_some() {}
    }

    /// Ends leases under which nothing was done.
    pub(super) async fn give_back(&self) {
        for held in self.held.values() {
            if let Err(error) = held.client.end_lease(&held.id).await {
                tracing::warn!(%error, "failed to give back a lease; it runs out by itself");
            }
        }
    }
}

async fn renew(held: HeldLease, stop: Stop, done: CancellationToken) {
    let pace = held.ttl / 3;
    let mut alive_until = Instant::now() + held.ttl;
    loop {
        tokio::select! {
            () = done.cancelled() => return,
            () = tokio::time::sleep(pace) => {}
        }
        let asked = Instant::now();
        let renewed = tokio::select! {
            biased;
            () = done.cancelled() => return,
            renewed = held.client.renew_lease(&held.id) => renewed,
        };
        match renewed {
            Ok(_) => alive_until = asked + held.ttl,
            Err(error) if lost(&error) || Instant::now() + pace >= alive_until => {
                let name = held.client.name();
                stop.stop(StopReason::Failed(format!("the lease on agent `{name}` was lost: {error}")));
                return;
            }
            Err(error) => tracing::warn!(%error, "failed to renew a lease; trying again"),
        }
    }
}

fn lost(error: &AgentError) -> bool {
    matches!(error, AgentError::Refused { status: 404 | 410, .. })
}

#[cfg(test)]
mod tests {
    use super::{HeldLease, Leases};
    use crate::{
        agent_client::{AgentClient, AgentTarget},
        agent_tls::AgentTls,
        run::stop::Stop,
    };
    use std::{collections::BTreeMap, time::Duration};
    use tokio::{io::AsyncReadExt, net::TcpListener, sync::oneshot, task::JoinSet, time::timeout};
    use tokio_util::sync::CancellationToken;

    const LIMIT: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn renewing_ends_at_once_and_stops_nothing_even_in_the_middle_of_a_renewal() {
        // Whichever test comes first installs it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let agent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", agent.local_addr().unwrap());
        let client = AgentClient::new(AgentTarget {
            name: "main".into(),
            url,
            token: None,
            tls: AgentTls::default(),
            labels: BTreeMap::new(),
        })
        .unwrap();
        let ttl = Duration::from_millis(30);
        let (id, instance) = (serde_json::from_str("\"lease\"").unwrap(), "one".to_owned());
        let held = HeldLease { client, id, instance, proxies: Vec::new(), ttl };
        let held = BTreeMap::from([("main".to_owned(), held)]);
        let mut leases = Leases { held, renewing: JoinSet::new(), done: CancellationToken::new() };
        let (stop, (asked, was_asked)) = (Stop::default(), oneshot::channel());
        let mut hanging = JoinSet::new();
        hanging.spawn(async move {
            let (mut connection, _) = agent.accept().await.unwrap();
            connection.read_u8().await.unwrap();
            asked.send(()).unwrap();
            std::future::pending::<()>().await;
        });
        leases.keep_alive(&stop);
        timeout(LIMIT, was_asked).await.unwrap().unwrap();
        timeout(Duration::from_secs(1), leases.stop_renewing()).await.unwrap();
        assert_eq!(stop.reason(), None);
    }
}
