//! `squall proxy`: proxies by hand.

use super::{Outcome, agents::table};
use crate::{
    cli::{AgentChoice, Common, Format, ProxyCommand, TlsChoice},
    connect, output,
};
use squall_wire::{
    ProxyInfo, ProxyName, ProxyPatch, ProxySpec,
    proxy::{ListenTls, UpstreamTls},
};

/// Lists, makes, changes or removes a proxy.
pub async fn proxy(command: &ProxyCommand, common: &Common) -> Outcome {
    match command {
        ProxyCommand::List(agent) => show(&connect::agent(agent)?.proxies().await?, common),
        ProxyCommand::Set { name, listen, upstream, protocol, tls, agent } => {
            let spec = ProxySpec {
                listen: listen.clone(),
                protocol: *protocol,
                listen_tls: listen_tls(tls),
                upstream_tls: upstream_tls(tls),
                ..ProxySpec::tcp(name.clone(), upstream.clone())
            };
            show(&[connect::agent(agent)?.put_proxy(&spec).await?], common);
        }
        ProxyCommand::Enable { name, agent } => enable(name, true, agent, common).await?,
        ProxyCommand::Disable { name, agent } => enable(name, false, agent, common).await?,
        ProxyCommand::Remove { name, agent } => {
            connect::agent(agent)?.delete_proxy(name).await?;
            output::progress(&format!("removed proxy {name}"));
        }
    }
    Ok(0)
}

fn listen_tls(tls: &TlsChoice) -> Option<ListenTls> {
    Some(ListenTls { cert: tls.listen_cert.clone()?, key: tls.listen_key.clone()? })
}

/// Whoever says how to start TLS wants it to be started.
fn upstream_tls(tls: &TlsChoice) -> Option<UpstreamTls> {
    let told = UpstreamTls {
        ca: tls.upstream_ca.clone(),
        cert: tls.upstream_cert.clone(),
        key: tls.upstream_key.clone(),
        server_name: tls.upstream_name.clone(),
    };
    (tls.upstream_tls || told != UpstreamTls::default()).then_some(told)
}

async fn enable(name: &ProxyName, on: bool, agent: &AgentChoice, common: &Common) -> Result<(), crate::exit::Failure> {
    let patch = ProxyPatch { enabled: Some(on), ..ProxyPatch::default() };
    show(&[connect::agent(agent)?.patch_proxy(name, &patch).await?], common);
    Ok(())
}

fn show(proxies: &[ProxyInfo], common: &Common) {
    match common.output {
        Format::Json => output::json(&proxies),
        Format::Text if proxies.is_empty() => output::result("no proxies"),
        Format::Text => output::result(&table(proxies).to_string()),
    }
}
