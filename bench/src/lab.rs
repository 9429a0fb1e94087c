//! What every measurement works with: the contestants, the sizes, the runtime, and a line laid through a contestant.
//!
//! ```text
//!  client ends ──▶ contestant ──▶ server ends        both ends are in the harness: one clock
//! ```
//! Above are `measure/*`; below are `contestant` and `pairs`.
//! Invariant: contestants take turns, A B A B, so that whatever else the machine does hits them alike.

use crate::{
    agent_process::AgentProcess,
    api::Api,
    contestant::{Contestant, Way},
    error::{BenchError, Tried},
    pairs::{self, Pair},
    scale::Scale,
};
use squall_wire::{FaultKind, ProxyName};
use std::net::SocketAddr;
use tokio::{net::TcpListener, runtime::Runtime};

/// The place of a run.
pub(crate) struct Lab {
    contestants: Vec<Contestant>,
    /// The sizes of this run.
    pub(crate) scale: Scale,
    /// Runs receivers and calls of the API.
    pub(crate) runtime: Runtime,
}

/// A server that listens, and a way to it.
pub(crate) struct Line<'a> {
    lab: &'a Lab,
    /// The server's side.
    pub(crate) upstream: TcpListener,
    way: Way,
    contestant: &'a Contestant,
}

impl Lab {
    /// Starts the contestants.
    pub(crate) fn open(scale: Scale) -> Result<Self, BenchError> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().tried("start the runtime")?;
        let contestants = vec![Contestant::Direct, Contestant::Squall(AgentProcess::start()?)];
        Ok(Self { contestants, scale, runtime })
    }

    /// The names of the contestants, direct first.
    pub(crate) fn contestant_names(&self) -> Vec<&'static str> {
        self.contestants.iter().map(Contestant::name).collect()
    }

    /// Lets all contestants take turns, as often as the scale says.
    pub(crate) fn in_turn(
        &self,
        mut measure: impl FnMut(&Contestant) -> Result<(), BenchError>,
    ) -> Result<(), BenchError> {
        (0..self.scale.rounds).try_for_each(|_| self.contestants.iter().try_for_each(&mut measure))
    }

    /// Like [`Lab::in_turn`], for what only those can do that inject faults.
    pub(crate) fn in_turn_with_faults(
        &self,
        mut measure: impl FnMut(&Contestant) -> Result<(), BenchError>,
    ) -> Result<(), BenchError> {
        (0..self.scale.rounds).try_for_each(|_| self.once_each_with_faults(&mut measure))
    }

    /// One turn for each that injects faults, for what takes its rounds itself.
    pub(crate) fn once_each_with_faults(
        &self,
        measure: impl FnMut(&Contestant) -> Result<(), BenchError>,
    ) -> Result<(), BenchError> {
        self.contestants.iter().filter(|contestant| contestant.agent().is_some()).try_for_each(measure)
    }

    /// Lays a line through a contestant, with these faults where it can have them, and takes it up afterwards.
    pub(crate) fn through<T>(
        &self,
        contestant: &Contestant,
        faults: &[FaultKind],
        work: impl FnOnce(&Line<'_>) -> Result<T, BenchError>,
    ) -> Result<T, BenchError> {
        let upstream = self.runtime.block_on(TcpListener::bind("127.0.0.1:0")).tried("bind a loopback port")?;
        let server = upstream.local_addr().tried("ask for the port that was bound")?;
        let way = contestant.lead(&self.runtime, server)?;
        for fault in faults {
            contestant.hurt(&self.runtime, &way, fault.clone())?;
        }
        let line = Line { lab: self, upstream, way, contestant };
        let result = work(&line)?;
        contestant.close(&self.runtime, &line.way)?;
        Ok(result)
    }
}

impl Line<'_> {
    /// Where clients connect.
    pub(crate) fn address(&self) -> SocketAddr {
        self.way.address
    }

    /// The proxy on this line and the API that rules it, where there is one.
    pub(crate) fn proxy(&self) -> Option<(Api<'_>, &ProxyName)> {
        Some((self.contestant.api(&self.lab.runtime)?, self.way.proxy.as_ref()?))
    }

    /// Connects so many clients, one after the other.
    pub(crate) fn connect(&self, count: usize) -> Result<Vec<Pair>, BenchError> {
        self.lab.runtime.block_on(pairs::connect(&self.upstream, self.address(), count))
    }

    /// Connects one client.
    pub(crate) fn connect_one(&self) -> Result<Pair, BenchError> {
        let mut pairs = self.connect(1)?;
        pairs.pop().ok_or_else(|| BenchError::Late { what: "a connection".into(), limit: pairs::PATIENCE })
    }
}
