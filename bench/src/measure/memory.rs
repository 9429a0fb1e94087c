//! What an idle connection costs a proxy in memory: how much its processes grow, by the connection; and with latency
//! set both ways.
//!
//! Each line has a fresh process, so that nothing that others left is counted or reused. The kernel's own memory for
//! the two sockets of a connection is not the process's and not in it.
//!
//! Invariant: every connection was used in both directions before it is called idle.

use super::latency_of;
use crate::{
    contestant::Discipline,
    error::{BenchError, Tried},
    figures::{Figures, Promise, Versus},
    lab::Lab,
    pairs::Pair,
};
use squall_wire::FaultKind;
use std::{
    io::{Read, Write},
    net::TcpStream,
};

/// Connections before those that are counted, so that what an agent takes once is not charged to them.
const WARM_UP: usize = 50;

const DELAY_MILLIS: u64 = 1;

pub(super) fn run(lab: &Lab, figures: &mut Figures) -> Result<(), BenchError> {
    let count = lab.scale.idle;
    let name = format!("memory a connection, {count} idle ones");
    figures.declare_promised("memory.idle", name, "KiB", Versus::Nothing, Promise::AtMost(3.0));
    lab.once_each(Discipline::Costs, |contestant| {
        figures.record("memory.idle", contestant.name(), grown(lab, contestant, &[])?)
    })?;
    let name = format!("memory a connection, {count} idle ones with latency both ways");
    figures.declare_promised("memory.idle_delayed", name, "KiB", Versus::Nothing, Promise::AtMost(6.0));
    lab.once_each(Discipline::Faults, |contestant| {
        let value = grown(lab, contestant, &[latency_of(DELAY_MILLIS)])?;
        figures.record("memory.idle_delayed", contestant.name(), value)
    })
}

/// KiB by the connection.
fn grown(lab: &Lab, contestant: &crate::contestant::Contestant, faults: &[FaultKind]) -> Result<f64, BenchError> {
    let count = lab.scale.idle;
    lab.through(contestant, faults, |line| {
        let process = line.process().ok_or_else(|| BenchError::Missing("memory.idle".into()))?;
        let warm = used(line.connect(WARM_UP)?)?;
        let before = process.resident_bytes()?;
        let idle = used(line.connect(count)?)?;
        let grown = process.resident_bytes()? - before;
        // Open until here.
        drop((warm, idle));
        Ok(grown / 1024.0 / count as f64)
    })
}

/// One message there and one back on each.
fn used(pairs: Vec<Pair>) -> Result<Vec<Pair>, BenchError> {
    pairs
        .into_iter()
        .map(|pair| {
            let pair = pair.blocking()?;
            pass(&pair.client, &pair.server)?;
            pass(&pair.server, &pair.client)?;
            Ok(pair)
        })
        .collect()
}

fn pass(mut from: &TcpStream, mut to: &TcpStream) -> Result<(), BenchError> {
    let mut message = [0x5a; 64];
    from.write_all(&message).and_then(|()| to.read_exact(&mut message)).tried("use a connection")
}
