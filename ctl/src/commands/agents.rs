//! `squall agents`: which agents there are, and what they are doing.

use super::Outcome;
use crate::{
    cli::{AgentChoice, Common, Format},
    connect,
    exit::Failure,
    output,
};
use comfy_table::{Table, presets};
use squall_engine::agent_client::{AgentClient, AgentError};
use squall_wire::{AgentInfo, Lease, Protocol, ProxyInfo};

#[derive(serde::Serialize)]
struct Seen {
    name: String,
    url: String,
    info: AgentInfo,
    proxies: Vec<ProxyInfo>,
    leases: Vec<Lease>,
}

/// Shows every agent; the first that does not answer decides the exit code, after the others were shown.
pub async fn agents(choice: &AgentChoice, common: &Common) -> Outcome {
    let (mut seen, mut failed) = (Vec::new(), None);
    for client in connect::agents(choice)? {
        match look(&client).await {
            Ok(agent) => seen.push(agent),
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    match common.output {
        // The failure is the result then: one document, not two.
        Format::Json if seen.is_empty() && failed.is_some() => {}
        Format::Json => output::json(&seen),
        Format::Text => seen.iter().for_each(|agent| output::result(&shown(agent))),
    }
    match failed.map(Failure::from) {
        None => Ok(0),
        Some(failure) if common.output == Format::Json && !seen.is_empty() => {
            output::error(&failure.message);
            Ok(failure.code.number())
        }
        Some(failure) => Err(failure),
    }
}

async fn look(client: &AgentClient) -> Result<Seen, AgentError> {
    Ok(Seen {
        name: client.name().to_owned(),
        url: client.target().url.clone(),
        info: client.info().await?,
        proxies: client.proxies().await?,
        leases: client.leases().await?,
    })
}

fn shown(agent: &Seen) -> String {
    let Seen { name, url, info, proxies, leases } = agent;
    let mut text = format!("{name} at {url}: squall-agent {}, up {}", info.version, short(info.uptime));
    if let Some(halt) = &info.halt {
        text += &format!("\n  halted by {} since {}: {}", halt.who, halt.since, halt.reason);
    }
    for (kind, why) in &info.unavailable {
        text += &format!("\n  cannot set {kind}: {why}");
    }
    for lease in leases {
        let proxies: Vec<_> = lease.proxies.iter().map(|proxy| proxy.as_str()).collect();
        let left = short(lease.expires_in);
        text += &format!(
            "\n  lease {} on {}: {} ({}), {left} left",
            lease.id,
            proxies.join(", "),
            lease.owner,
            lease.reason
        );
    }
    if !proxies.is_empty() {
        text += &format!("\n{}", table(proxies));
    }
    text
}

/// Proxies and their faults as a table.
pub(super) fn table(proxies: &[ProxyInfo]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["  proxy", "listen", "upstream", "state", "open", "total", "faults"]);
    for proxy in proxies {
        let faults: Vec<_> = proxy.faults.iter().map(|fault| format!("{} ({} %)", fault.name, fault.percent)).collect();
        table.add_row([
            format!("  {}", proxy.name),
            with_tls(&listen(proxy), proxy.listen_tls.is_some()),
            with_tls(&proxy.upstream, proxy.upstream_tls.is_some()),
            if proxy.enabled { "enabled" } else { "disabled" }.to_owned(),
            proxy.counters.open_connections.to_string(),
            proxy.counters.connections.to_string(),
            if faults.is_empty() { "none".to_owned() } else { faults.join(", ") },
        ]);
    }
    table
}

/// Where it listens, as `--proxy` of the agent takes it.
fn listen(proxy: &ProxyInfo) -> String {
    match proxy.protocol {
        Protocol::Tcp => proxy.listen.clone(),
        other => format!("{other}://{}", proxy.listen),
    }
}

fn with_tls(address: &str, encrypted: bool) -> String {
    if encrypted { format!("{address} (TLS)") } else { address.to_owned() }
}

fn short(span: squall_wire::Span) -> String {
    squall_wire::Span::from_secs(span.get().as_secs()).to_string()
}
