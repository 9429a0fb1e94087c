//! Bytes a second with no fault set, over one stream and over eight, and what they cost the agent in processor time.
//!
//! Client, agent and server share the machine's cores, so this is less than the agent could do alone.
//! Below is `transfer`. Invariant: the agent's processor time is its process's own, kernel included.

use crate::{
    error::BenchError,
    figures::{Figures, Versus},
    lab::Lab,
    transfer,
};

const STREAMS: [usize; 2] = [1, 8];

pub(super) fn run(lab: &Lab, figures: &mut Figures) -> Result<(), BenchError> {
    for streams in STREAMS {
        let id = format!("throughput.streams_{streams}");
        let plural = if streams == 1 { "" } else { "s" };
        figures.declare(&id, format!("throughput, {streams} stream{plural}"), "MB/s", Versus::Ratio);
        let cpu = format!("{id}.agent_cpu");
        figures.declare(&cpu, format!("agent's CPU, {streams} stream{plural}"), "s/GB", Versus::Nothing);
        lab.in_turn(|contestant| {
            lab.through(contestant, &[], |line| {
                let pairs = line.connect(streams)?;
                let before = contestant.agent().map(|agent| agent.cpu_seconds()).transpose()?;
                let moved = transfer::run(pairs, lab.scale.transfer)?;
                figures.record(&id, contestant.name(), moved.megabytes_per_second())?;
                if let (Some(agent), Some(before)) = (contestant.agent(), before) {
                    let gigabytes = moved.bytes as f64 / 1e9;
                    figures.record(&cpu, contestant.name(), (agent.cpu_seconds()? - before) / gigabytes)?;
                }
                Ok(())
            })
        })?;
    }
    Ok(())
}
