//! `squall halt`: the big red switch of every agent that is meant, and its lifting.
//!
//! Neighbours: `heal` confirms that no fault is left. Invariant: an agent that cannot be halted does not keep the others
//! from it, and the exit code says that there was one.

use super::{Outcome, heal::confirm};
use crate::{
    cli::{Common, Format, Halt},
    connect,
    exit::{Code, Failure},
    output,
};
use squall_engine::agent_client::AgentClient;
use squall_wire::HaltInfo;

#[derive(serde::Serialize)]
struct Told {
    agent: String,
    url: String,
    #[serde(flatten)]
    info: HaltInfo,
}

/// Halts every agent that is meant, or lifts their halts.
pub async fn halt(args: &Halt, common: &Common) -> Outcome {
    let clients = connect::agents(&args.agent)?;
    let asked = clients.iter().map(|client| async move {
        let info = if args.lift { lifted(client).await } else { halted(client, &args.reason).await };
        let (agent, url) = (client.name().to_owned(), client.target().url.clone());
        info.map(|info| Told { agent, url, info })
    });
    let (mut told, mut failed) = (Vec::new(), Vec::new());
    for outcome in futures::future::join_all(asked).await {
        match outcome {
            Ok(one) => told.push(one),
            Err(failure) => failed.push(failure),
        }
    }
    match common.output {
        // The failure is the result then: one document, not two.
        Format::Json if told.is_empty() && !failed.is_empty() => {}
        Format::Json => output::json(&told),
        Format::Text => told.iter().for_each(show),
    }
    let Some(code) = failed.first().map(|failure| failure.code) else { return Ok(0) };
    let messages: Vec<_> = failed.into_iter().map(|failure| failure.message).collect();
    let failure = Failure::new(code, messages.join("\n"));
    if common.output == Format::Json && !told.is_empty() {
        output::error(&failure.message);
        return Ok(code.number());
    }
    Err(failure)
}

async fn halted(client: &AgentClient, reason: &str) -> Result<HaltInfo, Failure> {
    let failed = |error| Failure::new(Code::NotHealed, format!("failed to halt: {error}"));
    let info = client.halt(reason).await.map_err(failed)?;
    confirm(client).await?;
    Ok(info)
}

async fn lifted(client: &AgentClient) -> Result<HaltInfo, Failure> {
    Ok(client.lift_halt().await?)
}

fn show(Told { agent, info, .. }: &Told) {
    for removed in &info.removed {
        output::result(&format!("{agent}: removed {} from {}", removed.fault, removed.proxy));
    }
    match &info.halt {
        None => output::result(&format!("{agent}: takes faults")),
        Some(halt) => output::result(&format!("{agent}: halted, and takes no faults: {}", halt.reason)),
    }
    if info.halt.is_some() && !info.survives_restart {
        output::progress(&format!("{agent} has no state file: restarted, it would take faults again"));
    }
}
