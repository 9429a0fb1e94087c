//! Rounds of load and chaos, and after each a look at what is left behind.
//!
//! ```text
//!  load + chaos ──▶ stop both ──▶ heal, end leases, switch on ──▶ wait until nothing is left ──▶ verify every proxy
//! ```
//! Neighbours: `main` runs it, `report` shows it. Invariant: what is held is compared with what was held before the
//! first client came, and memory with what it was after the first rounds.

use crate::{
    Cli,
    agent::{Heap, Held},
    chaos::Chaos,
    error::SoakError,
    ledger::{Counts, Ledger},
    load::{self, Crowd},
    report::tell,
    site::Site,
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use reqwest::Method;
use serde::Serialize;
use serde_json::{Value, json};
use squall_wire::Protocol;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// What was left open may take so long to end: a close that waits for its peer, a time-out of a dial.
const SETTLE: Duration = Duration::from_secs(20);
/// Rounds in which memory may still grow: buffers, pools and tables reach their size.
const WARM: usize = 3;
/// Resident memory may be so much over the most of the warm rounds. The allocator keeps what it got for threads that come and go,
/// several times what is allocated at most; what leaks from the heap is seen by what is allocated, and what leaks beside it here.
const SLACK_KIB: u64 = 48 * 1024;
/// What is allocated may be so much over the most of the warm rounds: tables and pools grow with what went on in a round.
const HEAP_SLACK_KIB: u64 = 512;

/// What was left after one round.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Look {
    /// Since the start.
    pub(crate) seconds: u64,
    pub(crate) held: Held,
    pub(crate) resident_kib: u64,
    /// Allocated, where the agent tells it.
    pub(crate) heap: Option<Heap>,
}

/// What came of it all.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    pub(crate) before: Held,
    pub(crate) looks: Vec<Look>,
    pub(crate) counts: Counts,
}

impl Outcome {
    /// Whether nothing was found, and something was looked at.
    pub(crate) fn is_sound(&self) -> bool {
        self.counts.findings == 0 && !self.looks.is_empty()
    }
}

/// The whole soak.
pub(crate) async fn run(cli: &Cli, seed: u64, site: &mut Site) -> Result<Outcome, SoakError> {
    let ledger = Arc::new(Ledger::default());
    let before = first_look(site).await?;
    let start = Instant::now();
    let mut looks: Vec<Look> = Vec::new();
    let mut chaos = Chaos::new(site, &ledger, ChaCha8Rng::seed_from_u64(seed));
    while start.elapsed() < cli.lasting.get() {
        let round = looks.len() as u64;
        let stop = CancellationToken::new();
        let crowd = Crowd { clients: cli.clients, pause: cli.pause.get(), seed: seed ^ (round << 48) };
        let mut clients = load::start(crowd, &site.places, &ledger, &stop);
        let timer = async {
            sleep(cli.every.get().min(cli.lasting.get().saturating_sub(start.elapsed()))).await;
            stop.cancel();
        };
        tokio::join!(timer, chaos.run(&stop));
        while let Some(ended) = clients.join_next().await {
            ended.map_err(|e| SoakError::new("run a client", e))?;
        }
        clean_up(site).await?;
        let held = settled(site, before).await?;
        if held != before {
            ledger.find(format!("left behind in round {round}: {held:?}, where {before:?} was before"));
        }
        for place in &site.places {
            if let Err(what) = load::verify(place, seed ^ round).await {
                ledger.find(format!("round {round}: {what}"));
            }
        }
        looks.push(Look {
            seconds: start.elapsed().as_secs(),
            held,
            resident_kib: site.agent.resident_kib()?,
            heap: site.agent.heap().await?,
        });
        look_at_memory(&looks, &ledger);
        tell(&told(&looks, &ledger.counts()));
    }
    Ok(Outcome { before, looks, counts: ledger.counts() })
}

/// What is held when everything has been used once, and nothing is going on.
async fn first_look(site: &Site) -> Result<Held, SoakError> {
    for place in &site.places {
        load::verify(place, 0).await.map_err(|what| SoakError::new("reach the servers", what))?;
    }
    clean_up(site).await?;
    let nothing = |held: Held| held.connections == 0 && held.faults == 0 && held.bytes == 0;
    let (mut last, until) = (site.agent.held().await?, Instant::now() + SETTLE);
    while Instant::now() < until {
        sleep(Duration::from_millis(500)).await;
        let held = site.agent.held().await?;
        if nothing(held) && held == last {
            return Ok(held);
        }
        last = held;
    }
    Err(SoakError::new("find the agent at rest before the start", format!("{last:?}")))
}

/// Takes away what chaos left: faults, leases, proxies that are off or lead astray.
async fn clean_up(site: &Site) -> Result<(), SoakError> {
    let leases = site.agent.must(Method::GET, "/v1/leases", None).await?;
    for id in leases["leases"].as_array().into_iter().flatten().filter_map(|lease| lease["id"].as_str()) {
        // It may run out between the two calls.
        let _ = site.agent.ask(Method::DELETE, &format!("/v1/leases/{id}"), None, None).await;
    }
    site.agent.must(Method::DELETE, "/v1/faults", None).await?;
    for place in &site.places {
        if place.protocol == Protocol::Udp {
            // A session ends when it has been idle for long; nobody waits for that here.
            site.agent.must(Method::PATCH, &place.path(), Some(&json!({"enabled": false}))).await?;
        }
        let right = json!({"enabled": true, "upstream": place.upstream.to_string()});
        let info: Value = match site.agent.ask(Method::PATCH, &place.path(), None, Some(&right)).await {
            Ok(answer) if answer.status == 404 => {
                site.agent.must(Method::POST, "/v1/proxies", Some(&place.specification())).await?
            }
            Ok(answer) if answer.status < 300 => answer.body,
            Ok(answer) => return Err(SoakError::new(format!("put {} right", place.name), answer.body)),
            Err(why) => return Err(SoakError::new(format!("put {} right", place.name), why)),
        };
        place.follow(&info);
    }
    Ok(())
}

/// What is held once it is as before, or when it has not become so in time.
async fn settled(site: &Site, before: Held) -> Result<Held, SoakError> {
    let until = Instant::now() + SETTLE;
    loop {
        let held = site.agent.held().await?;
        if held == before || Instant::now() > until {
            return Ok(held);
        }
        sleep(Duration::from_millis(250)).await;
    }
}

fn look_at_memory(looks: &[Look], ledger: &Ledger) {
    let Some((warm, [.., last])) = looks.split_at_checked(WARM) else { return };
    let most = |of: fn(&Look) -> Option<u64>| warm.iter().filter_map(of).max().unwrap_or(0);
    let resident = most(|look| Some(look.resident_kib));
    let heap = most(|look| look.heap.map(|heap| heap.kib));
    let grown = [
        ("resident memory", last.resident_kib, resident, resident / 5 + SLACK_KIB),
        ("what is allocated", last.heap.map_or(0, |heap| heap.kib), heap, heap / 5 + HEAP_SLACK_KIB),
    ];
    for (what, now, before, slack) in grown {
        if now > before + slack {
            let seconds = last.seconds;
            ledger.find(format!(
                "{what} after {seconds} s is {now} KiB, where the first {WARM} rounds left {before} KiB at most"
            ));
        }
    }
}

fn told(looks: &[Look], counts: &Counts) -> String {
    let Some(last) = looks.last() else { return String::new() };
    let sum = |of: fn(&crate::ledger::Exchanges) -> u64| counts.exchanges.values().map(of).sum::<u64>();
    let faults: u64 = counts.faults.values().sum();
    format!(
        "{:>5} s: {} exchanges whole, {} cut, {} changed, {} wrong; {faults} faults; {} descriptors, {} tasks, {} KiB{}; {} findings",
        last.seconds,
        sum(|row| row.whole),
        sum(|row| row.cut),
        sum(|row| row.changed),
        sum(|row| row.wrong),
        last.held.descriptors,
        last.held.tasks,
        last.resident_kib,
        last.heap
            .map(|heap| format!(", {} of them allocated, {} at most", heap.kib, heap.most_kib))
            .unwrap_or_default(),
        counts.findings
    )
}

#[cfg(test)]
mod tests {
    use super::{Look, look_at_memory};
    use crate::{
        agent::{Heap, Held},
        ledger::Ledger,
    };

    fn findings(resident_mib: &[u64]) -> u64 {
        judged(&resident_mib.iter().map(|mib| (mib * 1024, None)).collect::<Vec<_>>())
    }

    fn judged(kib: &[(u64, Option<u64>)]) -> u64 {
        let look = |(resident_kib, heap_kib): &(u64, Option<u64>)| Look {
            seconds: 0,
            held: Held::default(),
            resident_kib: *resident_kib,
            heap: heap_kib.map(|kib| Heap { kib, most_kib: kib }),
        };
        let (looks, ledger): (Vec<_>, _) = (kib.iter().map(look).collect(), Ledger::default());
        look_at_memory(&looks, &ledger);
        ledger.counts().findings
    }

    #[test]
    fn memory_that_grows_after_the_warm_rounds_is_a_finding() {
        assert_eq!(findings(&[50, 60, 58, 61, 110]), 0);
        assert_eq!(findings(&[50, 60, 58, 130]), 1);
        assert_eq!(findings(&[50, 900]), 0, "still warming up");
    }

    #[test]
    fn what_is_allocated_is_judged_more_closely_than_what_is_resident() {
        let rounds = |last| [(40_000, Some(2000)), (41_000, Some(2100)), (40_000, Some(1900)), (40_000, Some(last))];
        assert_eq!(judged(&rounds(2900)), 0);
        assert_eq!(judged(&rounds(3200)), 1);
    }
}
