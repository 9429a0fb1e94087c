//! An agent with a thousand proxies, and a proxy with a hundred faults: what one more costs, and the start.
//!
//! "No worse than linear" is a ratio that must be at most 1; [`LINEAR`] leaves room for the noise of two medians.
//! Below are `contestant` (which starts agents) and `round_trip`.
//!
//! Invariant: the faults let everything pass at once, so what is timed is the chain and not a delay.

use super::round_trip;
use crate::{
    api::Api,
    contestant::{Contestant, Discipline, proxy_spec, start_agent},
    error::{BenchError, Tried},
    figures::{Figures, Promise, Versus},
    lab::Lab,
    pinned::Pinned,
    stats,
};
use squall_wire::{
    ByteRate, FaultKind, Protocol,
    fault::{Bandwidth, RateScope},
};
use std::{net::TcpListener, time::Instant};

const START_MILLIS: Promise = Promise::AtMost(1_000.0);
const LINEAR: Promise = Promise::AtMost(1.2);

/// Bytes a second of a fault that lets everything pass at once.
const WIDE: u64 = 1_000_000_000_000;

/// Round trips through faults, of one round.
const ROUND_TRIPS: usize = 2_000;

pub(super) fn run(lab: &Lab, figures: &mut Figures) -> Result<(), BenchError> {
    start(lab, figures)?;
    create(lab, figures)?;
    faults(lab, figures)
}

/// From the start of the process to its address, and what a proxy takes of its memory.
fn start(lab: &Lab, figures: &mut Figures) -> Result<(), BenchError> {
    let many = lab.scale.proxies;
    figures.declare_promised("many.start", "start of an agent", "ms", Versus::Nothing, START_MILLIS);
    let name = format!("start of an agent with {many} proxies");
    figures.declare_promised("many.start_proxies", name, "ms", Versus::Nothing, START_MILLIS);
    figures.declare("many.proxy_memory", format!("memory a proxy, {many} idle ones"), "KiB", Versus::Nothing);
    lab.in_turn(Discipline::Ours, |contestant| {
        let mut held = Vec::new();
        for (id, proxies) in [("many.start", 0), ("many.start_proxies", many)] {
            let begin = Instant::now();
            let (process, _) = start_agent(proxies)?;
            figures.record(id, contestant.name(), begin.elapsed().as_secs_f64() * 1e3)?;
            held.push(process.resident_bytes()?);
        }
        figures.record("many.proxy_memory", contestant.name(), (held[1] - held[0]) / 1024.0 / many as f64)
    })
}

/// The last tenth of many proxies against the first tenth, made by the API.
fn create(lab: &Lab, figures: &mut Figures) -> Result<(), BenchError> {
    let many = lab.scale.proxies;
    let tenth = many / 10;
    figures.declare("many.create", format!("making a proxy, the first {tenth}"), "ms", Versus::Nothing);
    let name = format!("making a proxy, the last {tenth} of {many} against the first");
    figures.declare_promised("many.create_linear", name, "x", Versus::Nothing, LINEAR);
    lab.in_turn(Discipline::Ours, |contestant| {
        let (_process, address) = start_agent(0)?;
        let api = Api { runtime: &lab.runtime, address };
        let upstream = TcpListener::bind("127.0.0.1:0").and_then(|one| one.local_addr()).tried("find an address")?;
        let mut took = Vec::with_capacity(many);
        for number in 0..many {
            took.push(api.create_proxy_timed(&proxy_spec(&format!("p{number}"), upstream, Protocol::Tcp)?)?);
        }
        // Medians, for a single slow call says nothing of the number of proxies.
        let [first, last] = [&took[..tenth], &took[many - tenth..]].map(stats::median);
        let (first, last) = first.zip(last).ok_or_else(|| BenchError::Missing("many.create".into()))?;
        figures.record("many.create", contestant.name(), first * 1e3)?;
        figures.record("many.create_linear", contestant.name(), last / first)
    })
}

/// What a fault that lets everything pass adds to a round trip, by the number of them: in processor time of the agent,
/// which waiting, waking and other programs do not blur as they do the time that passes.
fn faults(lab: &Lab, figures: &mut Figures) -> Result<(), BenchError> {
    let [_, few, all] = lab.scale.faults;
    let id = |count: usize| format!("many.faults_{count}");
    for count in lab.scale.faults {
        let name = format!("round trip of 64 B through {count} faults, one CPU, p50");
        figures.declare(id(count), name, "us", Versus::Nothing);
        let name = format!("round trip of 64 B through {count} faults, one CPU: processor time of the agent");
        figures.declare(format!("{}.cpu", id(count)), name, "us", Versus::Nothing);
    }
    let name = format!("what a fault of {all} costs against one of {few}, in processor time");
    figures.declare_promised("many.faults_linear", name, "x", Versus::Nothing, LINEAR);
    let mut costs = [const { Vec::new() }; 3];
    lab.in_turn(Discipline::Ours, |contestant| {
        // Before the agents are started, which inherit it.
        let _pinned = Pinned::here()?;
        for (count, costs) in lab.scale.faults.into_iter().zip(&mut costs) {
            let (median, cost) = through_faults(lab, contestant, count)?;
            figures.record(&id(count), contestant.name(), median)?;
            figures.record(&format!("{}.cpu", id(count)), contestant.name(), cost)?;
            costs.push(cost);
        }
        Ok(())
    })?;
    // Of medians, for within one round what 25 faults cost is hardly more than what the rounds differ by.
    let [none, by_few, by_all] = costs.map(|costs| stats::median(&costs));
    let of_medians = none.zip(by_few).zip(by_all).map(|((none, by_few), by_all)| {
        let each = |cost: f64, count: usize| (cost - none) / count as f64;
        each(by_all, all) / each(by_few, few)
    });
    let ratio = of_medians.ok_or_else(|| BenchError::Missing("many.faults_linear".into()))?;
    figures.record("many.faults_linear", Contestant::Squall.name(), ratio)
}

/// The median of the round trips, and what each cost the agent, in microseconds.
fn through_faults(lab: &Lab, contestant: &Contestant, count: usize) -> Result<(f64, f64), BenchError> {
    let wide = FaultKind::Bandwidth(Bandwidth { rate: ByteRate::new(WIDE), burst: None, scope: RateScope::Connection });
    lab.through(contestant, &vec![wide; count], |line| {
        let missing = || BenchError::Missing("many.faults".into());
        let process = line.process().ok_or_else(missing)?;
        let before = process.scheduled_nanos()?;
        let mut micros = round_trip::ping_pong(line, ROUND_TRIPS.min(lab.scale.round_trips))?;
        let cost = (process.scheduled_nanos()? - before) / 1e3 / (micros.len() + round_trip::WARM_UP) as f64;
        Ok((stats::quantile(&mut micros, 0.5).ok_or_else(missing)?, cost))
    })
}
