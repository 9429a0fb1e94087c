//! What an idle connection costs the agent in memory: how much its process grows, by the connection.
//!
//! A fresh agent is taken, so that nothing that others left is counted or reused. The kernel's own memory for the two
//! sockets of a connection is not the process's and not in it.
//!
//! Invariant: every connection was used in both directions before it is called idle.

use crate::{
    agent_process::AgentProcess,
    contestant::Contestant,
    error::{BenchError, Tried},
    figures::{Figures, Promise, Versus},
    lab::Lab,
    pairs::Pair,
};
use std::{
    io::{Read, Write},
    net::TcpStream,
};

/// Connections before those that are counted, so that what an agent takes once is not charged to them.
const WARM_UP: usize = 50;

/// "A few KiB" is promised; more than this is not a few.
const A_FEW_KIB: f64 = 8.0;

pub(super) fn run(lab: &Lab, figures: &mut Figures) -> Result<(), BenchError> {
    let count = lab.scale.idle;
    let name = format!("agent's memory a connection, {count} idle ones");
    figures.declare_promised("memory.idle_connection", name, "KiB", Versus::Nothing, Promise::AtMost(A_FEW_KIB));
    let contestant = Contestant::Squall(AgentProcess::start()?);
    let Some(agent) = contestant.agent() else { return Ok(()) };
    lab.through(&contestant, &[], |line| {
        let warm = used(line.connect(WARM_UP)?)?;
        let before = agent.resident_bytes()?;
        let idle = used(line.connect(count)?)?;
        let grown = agent.resident_bytes()? - before;
        // Open until here.
        drop((warm, idle));
        figures.record("memory.idle_connection", contestant.name(), grown / 1024.0 / count as f64)
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
