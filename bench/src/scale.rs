//! How much is measured: sizes, counts and lengths, once for figures and once for showing that everything works.
//!
//! `lab` hands it to every measurement. Invariant: every load of the harness is bounded by a number here; a full run
//! takes less than ten minutes, a quick one less than a minute.

use crate::machine;
use std::time::Duration;

/// The sizes of one run.
#[derive(Debug, Clone)]
pub(crate) struct Scale {
    /// Times that the contestants take turns.
    pub(crate) rounds: usize,
    /// How long one bulk transfer is fed.
    pub(crate) transfer: Duration,
    /// Round trips of one round.
    pub(crate) round_trips: usize,
    /// Connections opened in one round.
    pub(crate) connects: usize,
    /// How long messages are sent through a delay.
    pub(crate) delayed: Duration,
    /// Over how many connections.
    pub(crate) delayed_over: [usize; 3],
    /// Messages in a row on one connection.
    pub(crate) pipelined: usize,
    /// How long a paced stream is watched; more than the second that is judged.
    pub(crate) paced: Duration,
    /// Live connections on which a fault is set and removed.
    pub(crate) live: [usize; 2],
    /// How often.
    pub(crate) live_cycles: usize,
    /// Connections that stay idle while memory is read.
    pub(crate) idle: usize,
    /// Connections at once, as many of them as can be had; and those that one proxy takes.
    pub(crate) crowd: usize,
    pub(crate) crowd_by_proxy: usize,
    /// New connections of one round, each with a TLS handshake.
    pub(crate) handshakes: usize,
    /// Messages of one round through a delay that varies.
    pub(crate) jittered: usize,
    /// HTTP requests of one round.
    pub(crate) requests: usize,
    /// Proxies of one agent.
    pub(crate) proxies: usize,
    /// Faults on one proxy, the fewest first.
    pub(crate) faults: [usize; 3],
}

impl Scale {
    /// For figures.
    pub(crate) fn full() -> Self {
        Self {
            rounds: 5,
            transfer: Duration::from_millis(1_000),
            round_trips: 10_000,
            connects: 3_000,
            delayed: Duration::from_millis(1_200),
            delayed_over: [1, 200, 1_000],
            pipelined: 200,
            paced: Duration::from_millis(3_000),
            live: [1_000, at_most(10_000)],
            live_cycles: 5,
            idle: at_most(5_000),
            crowd: 50_000,
            crowd_by_proxy: 20_000,
            handshakes: 400,
            jittered: 900,
            requests: 20_000,
            proxies: 1_000,
            faults: [0, 25, 100],
        }
    }

    /// For a test of the harness itself.
    pub(crate) fn quick() -> Self {
        Self {
            rounds: 1,
            transfer: Duration::from_millis(100),
            round_trips: 100,
            connects: 40,
            delayed: Duration::from_millis(100),
            delayed_over: [1, 8, 24],
            pipelined: 20,
            paced: Duration::from_millis(1_300),
            live: [20, 60],
            live_cycles: 2,
            idle: 100,
            crowd: 60,
            crowd_by_proxy: 25,
            handshakes: 8,
            jittered: 30,
            requests: 200,
            proxies: 40,
            faults: [0, 2, 4],
        }
    }
}

/// As many connections as the limit of open files allows, for each takes two descriptors in either process.
pub(crate) fn at_most(connections: usize) -> usize {
    // What the runtimes, the API and the listeners need besides.
    const SPARE: usize = 300;
    connections.min(machine::file_limit().saturating_sub(SPARE) / 2)
}

/// Says why there are fewer connections than wanted, if there are.
pub(crate) fn shortfall(wanted: usize) -> Option<String> {
    let had = at_most(wanted);
    let limit = machine::file_limit();
    (had < wanted).then(|| {
        format!(
            "{} of {wanted} connections at once: {had} were had, for each takes two open files and the limit is {limit} \
             (`ulimit -n`)",
            wanted - had
        )
    })
}
