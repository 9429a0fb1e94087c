//! As many connections at once as were asked for, or as the limit of open files allows: what they take in memory, and
//! until the last one feels a fault that is set on all of them.
//!
//! An address has about 28,000 ports to connect from, so they are spread over several proxies of one agent, each with a
//! server of its own; the fault is set on one proxy after the other. Below is `live`.
//!
//! Invariant: how many there were is a figure of its own, so that no other is taken for that of more.

use super::live;
use crate::{
    api::Api,
    contestant::{Discipline, proxy_spec, start_agent},
    error::{BenchError, Tried},
    figures::{Figures, Promise, Versus},
    lab::Lab,
    pairs::{self, Pair},
    scale,
    stamped::Receivers,
};
use squall_wire::{Protocol, ProxyName};
use std::net::SocketAddr;
use tokio::net::TcpListener;

const MIB: f64 = 1024.0 * 1024.0;

/// Connections before those that are counted, so that what an agent takes once is not charged to them.
const WARM_UP: usize = 50;

pub(super) fn run(lab: &Lab, figures: &mut Figures) -> Result<(), BenchError> {
    let (wanted, count) = (lab.scale.crowd, scale::at_most(lab.scale.crowd));
    let proxies = count.div_ceil(lab.scale.crowd_by_proxy).max(1);
    figures.declare("crowd.taken", format!("{wanted} connections at once: taken"), "", Versus::Nothing);
    let among = if proxies == 1 { "one proxy".to_owned() } else { format!("{proxies} proxies") };
    let of = |what: &str| format!("{count} connections at once, {among}: {what}");
    figures.declare("crowd.memory", of("memory of the agent"), "MiB", Versus::Nothing);
    let each = of("memory a connection");
    figures.declare_promised("crowd.memory_each", each, "KiB", Versus::Nothing, Promise::AtMost(3.0));
    let felt = of("until the last one feels a fault, from the call");
    figures.declare_promised("crowd.felt", felt, "ms", Versus::Nothing, Promise::AtMost(50.0));
    lab.once_each(Discipline::Ours, |contestant| {
        let (process, address) = start_agent(0)?;
        let api = Api { runtime: &lab.runtime, address };
        // On a proxy of their own, which gets no fault.
        let warm = gathered(lab, api, proxies, WARM_UP)?;
        let before = process.resident_bytes()?;
        let (mut names, mut crowd) = (Vec::new(), Vec::new());
        for (number, share) in shares(count, proxies).into_iter().enumerate() {
            let (name, pairs) = gathered(lab, api, number, share)?;
            names.push(name);
            crowd.push(pairs);
        }
        let after = process.resident_bytes()?;
        let name = contestant.name();
        figures.record("crowd.taken", name, count as f64)?;
        figures.record("crowd.memory", name, after / MIB)?;
        figures.record("crowd.memory_each", name, (after - before) / 1024.0 / count as f64)?;
        let last = crowd.last_mut().and_then(Vec::pop).ok_or_else(|| BenchError::Missing("crowd.felt".into()))?;
        let receivers = Receivers::start(&lab.runtime, vec![last.server], live::PROBES)?;
        for _ in 0..lab.scale.live_cycles {
            let [_, felt, ..] = live::cycle(api, &names, &receivers, &last.client)?;
            figures.record("crowd.felt", name, felt.as_secs_f64() * 1e3)?;
        }
        // Open until here.
        drop((crowd, warm));
        Ok(())
    })
}

/// So many in so many shares, as evenly as it goes.
fn shares(count: usize, parts: usize) -> Vec<usize> {
    (0..parts).map(|part| count / parts + usize::from(part < count % parts)).collect()
}

/// A proxy with so many connections through it.
fn gathered(lab: &Lab, api: Api<'_>, number: usize, count: usize) -> Result<(ProxyName, Vec<Pair>), BenchError> {
    let server = lab.runtime.block_on(TcpListener::bind("127.0.0.1:0")).tried("bind a loopback port")?;
    let upstream = server.local_addr().tried("ask for the port that was bound")?;
    let info = api.create_proxy(&proxy_spec(&format!("crowd-{number}"), upstream, Protocol::Tcp)?)?;
    let misread = |error: std::net::AddrParseError| BenchError::Agent {
        what: format!("give us `{}`", info.listen),
        why: error.to_string(),
    };
    let address: SocketAddr = info.listen.parse().map_err(misread)?;
    let pairs = lab.runtime.block_on(pairs::connect(&server, address, count))?;
    Ok((info.name, pairs))
}

#[cfg(test)]
mod tests {
    use super::shares;

    #[test]
    fn shares_are_even_and_come_to_the_whole() {
        assert_eq!(shares(50_000, 3), [16_667, 16_667, 16_666]);
        assert_eq!(shares(7, 1), [7]);
    }
}
