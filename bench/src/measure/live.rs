//! A fault set on and removed from many live connections: how long the calls take, and until the last one feels it.
//!
//! ```text
//!  probes on the last connection   · · · · · · · · · · ·
//!  calls                               POST            DELETE
//!                                        first probe held   last probe released
//! ```
//! The fault is a latency longer than a cycle, so whatever is held comes by its removal and nothing else.
//! Below is `stamped`. Invariant: all connections are open and used before the fault is set.

use super::latency_of;
use crate::{
    api::Api,
    contestant::Discipline,
    error::{BenchError, Tried},
    figures::{Figures, Promise, Versus},
    lab::Lab,
    stamped::{Receivers, Record, Stamper},
};
use squall_wire::{Direction, FaultSpec, ProxyName};
use std::{
    net::TcpStream,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

const HELD_MILLIS: u64 = 15_000;

/// Between two probes: what "felt" is exact to.
const GAP: Duration = Duration::from_micros(200);

/// Probes of one cycle, at most; and those after the fault was set.
pub(super) const PROBES: usize = 20_000;
const PROBES_AFTER: usize = 50;

const WHAT: [(&str, &str); 4] = [
    ("set", "the call that sets a fault"),
    ("felt", "until the last one feels it, from the call"),
    ("removed", "the call that removes it"),
    ("released", "until the last one is released, from the call"),
];

pub(super) fn run(lab: &Lab, figures: &mut Figures) -> Result<(), BenchError> {
    for connections in lab.scale.live {
        let id = |what: &str| format!("live.connections_{connections}.{what}");
        for (what, text) in WHAT {
            let name = format!("{connections} live connections: {text}");
            let promise = if what == "felt" { Promise::AtMost(50.0) } else { Promise::None };
            figures.declare_promised(id(what), name, "ms", Versus::Nothing, promise);
        }
        // One line for all cycles: opening ten thousand connections takes longer than what is measured.
        lab.once_each(Discipline::Ours, |contestant| {
            lab.through(contestant, &[], |line| {
                let mut pairs = line.connect(connections)?;
                let last = pairs.pop().ok_or_else(|| BenchError::Missing(id("set")))?;
                let (api, proxy) = line.proxy().ok_or_else(|| BenchError::Missing(id("set")))?;
                let receivers = Receivers::start(&lab.runtime, vec![last.server], PROBES)?;
                for _ in 0..lab.scale.live_cycles {
                    let times = cycle(api, std::slice::from_ref(proxy), &receivers, &last.client)?;
                    for ((what, _), time) in WHAT.iter().zip(times) {
                        figures.record(&id(what), contestant.name(), time.as_secs_f64() * 1e3)?;
                    }
                }
                Ok(())
            })
        })?;
    }
    Ok(())
}

/// Sets the fault on one proxy after the other and removes it; the times in the order of [`WHAT`]. The last connection is
/// one of the last proxy.
pub(super) fn cycle(
    api: Api<'_>,
    proxies: &[ProxyName],
    receivers: &Receivers,
    last: &TcpStream,
) -> Result<[Duration; 4], BenchError> {
    let spec = FaultSpec { direction: Some(Direction::Both), ..FaultSpec::of(latency_of(HELD_MILLIS)) };
    let (stamper, set_already) = (receivers.stamper(), AtomicBool::new(false));
    let socket = last.try_clone().tried("share a socket")?;
    let (set, sent, before) = std::thread::scope(|scope| {
        let prober = scope.spawn(|| probe(stamper, &socket, &set_already));
        // The first probe through says that the line is up and probed.
        let first = receivers.next();
        let set = first.and_then(|first| {
            let calls = proxies.iter().map(|proxy| api.set_fault(proxy, &spec));
            Ok((first, calls.collect::<Result<Vec<_>, _>>()?))
        });
        set_already.store(true, Relaxed);
        let sent = prober.join().map_err(|_| BenchError::Panicked("probe"))??;
        let (first, set) = set?;
        Ok::<_, BenchError>((set, sent, first))
    })?;
    let pairs = proxies.iter().zip(&set);
    let removed = pairs.map(|(proxy, set)| api.remove_fault(proxy, &set.answer.name)).collect::<Result<Vec<_>, _>>()?;
    let (Some(set_from), Some(removed_from)) = (set.first(), removed.first()) else {
        return Err(BenchError::Missing("a proxy to set a fault on".into()));
    };
    let (set_asked, removed_asked) = (set_from.asked, removed_from.asked);
    let mut records = vec![before];
    records.extend(receivers.collect(sent - 1)?);
    let held: Vec<&Record> = records.iter().filter(|record| record.arrived >= removed_asked).collect();
    let felt = held.iter().map(|record| record.sent).min();
    let released = held.iter().map(|record| record.arrived).max();
    let (Some(felt), Some(released)) = (felt, released) else {
        return Err(BenchError::Agent {
            what: "hold anything back".into(),
            why: "the last connection felt no fault".into(),
        });
    };
    let took = [set.iter().map(|call| call.took).sum(), removed.iter().map(|call| call.took).sum()];
    Ok([took[0], felt.saturating_duration_since(set_asked), took[1], released - removed_asked])
}

/// Sends probes until the fault is set and some more; says how many.
fn probe(stamper: Stamper, socket: &TcpStream, set_already: &AtomicBool) -> Result<usize, BenchError> {
    let mut after = 0;
    for sent in 0..PROBES {
        after += usize::from(set_already.load(Relaxed));
        if after > PROBES_AFTER {
            return Ok(sent);
        }
        stamper.send(socket)?;
        std::thread::sleep(GAP);
    }
    Err(BenchError::Late { what: "a fault to be set".into(), limit: GAP.mul_f64(PROBES as f64) })
}
