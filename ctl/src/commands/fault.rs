//! `squall fault`: faults by hand. One that is set here lives under a lease of its own, is held while this process
//! lives, and is taken away when it ends; if it is killed, the lease runs out and the agent takes it away.

use super::Outcome;
use crate::{
    cli::{AgentChoice, Common, FaultCommand, Format},
    connect,
    exit::{Code, Failure},
    output, signals,
};
use comfy_table::{Table, presets};
use squall_engine::{
    agent_client::{AgentClient, AgentError},
    inline,
    run::stop::Stop,
};
use squall_wire::{ErrorCode, FaultInfo, FaultPatch, FaultSpec, Lease, LeaseRequest, ProxyName, Span};
use std::time::Duration;

/// Time to live of a lease taken by hand, renewed three times within it.
const LEASE: Span = Span::from_secs(10);

/// Lists, sets or changes faults.
pub async fn fault(command: &FaultCommand, common: &Common) -> Outcome {
    match command {
        FaultCommand::List(agent) => list(agent, common).await,
        FaultCommand::Set { proxy, fault, lasting, reason, agent } => {
            let spec = spec(fault)?;
            let held = Held { client: connect::agent(agent)?, proxy, lasting: *lasting };
            held.set(&spec, reason, common).await
        }
        FaultCommand::Change { proxy, name, fault, percent, lease, agent } => {
            let fault = fault.as_deref().map(spec).transpose()?.map(|spec| spec.fault);
            let patch = FaultPatch { fault, percent: *percent, expires_in: None };
            let info = connect::agent(agent)?.patch_fault(proxy, name, &patch, lease.as_ref()).await?;
            show(&[(proxy.clone(), info)], common);
            Ok(0)
        }
    }
}

/// `{latency: {delay: 800ms}}`, or a whole fault with `fault:` and what goes with it.
fn spec(text: &str) -> Result<FaultSpec, Failure> {
    inline::fault("the fault", text)
        .map_err(|mistakes| Failure::mistakes(Code::Usage, mistakes.render(text, output::colour_on_stderr())))
}

async fn list(agent: &AgentChoice, common: &Common) -> Outcome {
    let proxies = connect::agent(agent)?.proxies().await?;
    let faults: Vec<_> = proxies
        .into_iter()
        .flat_map(|proxy| proxy.faults.into_iter().map(move |fault| (proxy.name.clone(), fault)))
        .collect();
    show(&faults, common);
    Ok(0)
}

fn show(faults: &[(ProxyName, FaultInfo)], common: &Common) {
    if common.output == Format::Json {
        let values: Vec<_> =
            faults.iter().map(|(proxy, fault)| serde_json::json!({"proxy": proxy, "fault": fault})).collect();
        return output::json(&values);
    }
    if faults.is_empty() {
        return output::result("no faults");
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["proxy", "fault", "kind", "percent", "hits", "left", "seed", "lease"]);
    for (proxy, fault) in faults {
        table.add_row([
            proxy.to_string(),
            fault.name.to_string(),
            fault.fault.name().to_owned(),
            format!("{} %", fault.percent),
            fault.hits.map_or_else(|| "?".to_owned(), |hits| hits.to_string()),
            Span::from_secs(fault.expires_in.get().as_secs()).to_string(),
            fault.seed.to_string(),
            fault.lease.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string),
        ]);
    }
    output::result(&table.to_string());
}

struct Held<'a> {
    client: AgentClient,
    proxy: &'a ProxyName,
    lasting: Option<Span>,
}

impl Held<'_> {
    async fn set(&self, spec: &FaultSpec, reason: &str, common: &Common) -> Outcome {
        let stop = Stop::default();
        // Handlers first: a signal from here on must not leave a fault behind.
        let listening =
            signals::listen(stop.clone()).map_err(|e| Failure::failed(format!("failed to listen for signals: {e}")))?;
        let request = LeaseRequest {
            owner: format!("squall fault set on {}, process {}", connect::host_name(), std::process::id()),
            reason: reason.to_owned(),
            ttl: LEASE,
            proxies: vec![self.proxy.clone()],
        };
        let lease = self.client.take_lease(&request).await?;
        let outcome = self.hold(spec, &lease, &stop, common).await;
        let healed = self.heal(&lease).await;
        listening.abort();
        healed?;
        outcome
    }

    async fn hold(&self, spec: &FaultSpec, lease: &Lease, stop: &Stop, common: &Common) -> Outcome {
        let spec = FaultSpec { lease: Some(lease.id.clone()), ..spec.clone() };
        let info = self.client.add_fault(self.proxy, &spec).await?;
        show(&[(self.proxy.clone(), info)], common);
        output::progress("Ctrl-C takes it away");
        let until = self.lasting.map(|lasting| tokio::time::Instant::now() + lasting.get());
        loop {
            let left =
                until.map_or(Duration::MAX, |until| until.saturating_duration_since(tokio::time::Instant::now()));
            let waited = stop.wait(left.min(LEASE.get() / 3)).await;
            if !waited || left <= LEASE.get() / 3 {
                return Ok(0);
            }
            self.client.renew_lease(&lease.id).await?;
        }
    }

    async fn heal(&self, lease: &Lease) -> Result<(), Failure> {
        match self.client.end_lease(&lease.id).await {
            Ok(healed) => {
                for fault in healed.removed {
                    let hits =
                        fault.hits.map_or_else(|| "hits cannot be counted".to_owned(), |hits| format!("{hits} hits"));
                    output::progress(&format!("removed {} from {}: {hits}", fault.fault, fault.proxy));
                }
                Ok(())
            }
            Err(error) if error.code() == Some(ErrorCode::NotFound) => Ok(()),
            Err(error) => Err(not_healed(&error, &self.client.target().url)),
        }
    }
}

fn not_healed(error: &AgentError, url: &str) -> Failure {
    let message = format!(
        "failed to confirm that the fault is gone: {error}; its lease runs out within {LEASE}; to be sure: squall heal --agent {url}"
    );
    Failure::new(Code::NotHealed, message)
}
