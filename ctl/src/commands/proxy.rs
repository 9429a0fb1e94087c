//! `squall proxy`: proxies by hand.

use super::{Outcome, agents::table};
use crate::{
    cli::{AgentChoice, Common, Format, ProxyCommand},
    connect, output,
};
use squall_wire::{ProxyInfo, ProxyName, ProxyPatch, ProxySpec};

/// Lists, makes, changes or removes a proxy.
pub async fn proxy(command: &ProxyCommand, common: &Common) -> Outcome {
    match command {
        ProxyCommand::List(agent) => show(&connect::agent(agent)?.proxies().await?, common),
        ProxyCommand::Set { name, listen, upstream, protocol, agent } => {
            let spec = ProxySpec {
                listen: listen.clone(),
                protocol: *protocol,
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
