//! `squall heal`: takes faults away, whoever set them, and asks whether they are gone.

use super::Outcome;
use crate::{
    cli::{Common, Format, Heal},
    connect,
    exit::{Code, Failure},
    output,
};
use squall_engine::agent_client::AgentClient;
use squall_wire::{FaultName, Healed, ProxyName};

/// Heals every agent that is meant, and confirms each.
pub async fn heal(args: &Heal, common: &Common) -> Outcome {
    let mut healed = Healed::default();
    for client in connect::agents(&args.agent)? {
        match &args.fault {
            Some(fault) => healed.removed.push(one(&client, fault).await?),
            None => {
                healed.removed.extend(client.heal_all().await.map_err(|e| not_healed(e.to_string()))?.removed);
                confirm(&client).await?;
            }
        }
    }
    match common.output {
        Format::Json => output::json(&healed),
        Format::Text if healed.removed.is_empty() => output::result("nothing to heal: no faults"),
        Format::Text => {
            for removed in &healed.removed {
                output::result(&format!("removed {} from {}", removed.fault, removed.proxy));
            }
        }
    }
    Ok(0)
}

async fn one(client: &AgentClient, fault: &str) -> Result<squall_wire::RemovedFault, Failure> {
    let parsed = fault
        .split_once('/')
        .and_then(|(proxy, fault)| Some((proxy.parse::<ProxyName>().ok()?, fault.parse::<FaultName>().ok()?)));
    let Some((proxy, name)) = parsed else {
        return Err(Failure::usage(format!("`{fault}` is not PROXY/FAULT, such as payment/latency-1")));
    };
    let known = client.proxy(&proxy).await?;
    // By hand a fault may be taken from under its lease: that is what this command is for.
    let lease = known.faults.iter().find(|known| known.name == name).and_then(|known| known.lease.clone());
    Ok(client.remove_fault(&proxy, &name, lease.as_ref()).await?)
}

pub(super) async fn confirm(client: &AgentClient) -> Result<(), Failure> {
    let proxies = client.proxies().await.map_err(|e| not_healed(e.to_string()))?;
    match proxies.iter().find_map(|proxy| proxy.faults.first().map(|fault| (&proxy.name, &fault.name))) {
        Some((proxy, fault)) => {
            Err(not_healed(format!("fault `{fault}` is on proxy `{proxy}`: somebody sets faults at this moment")))
        }
        None => Ok(()),
    }
}

fn not_healed(cause: String) -> Failure {
    Failure::new(Code::NotHealed, format!("failed to confirm that all faults are gone: {cause}"))
}
