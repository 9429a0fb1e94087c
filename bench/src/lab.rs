//! What every measurement works with: the contestants, the sizes, the runtime, and a line laid through a contestant.
//!
//! ```text
//!  client ends ──▶ contestant ──▶ server ends        both ends are in the harness: one clock
//! ```
//! Above are `measure/*`; below are `contestant`, `peers` and `pairs`.
//! Invariant: contestants take turns, A B A B, so that whatever else the machine does hits them alike.

use crate::{
    api::Api,
    contestant::{Contestant, Course, Discipline, Way},
    error::{BenchError, Tried},
    pairs::{self, Pair},
    peers,
    process::Process,
    scale::Scale,
};
use squall_wire::{FaultKind, Protocol, ProxyName};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};
use tokio::{net::TcpListener, runtime::Runtime};

/// The place of a run.
pub(crate) struct Lab {
    contestants: Vec<Contestant>,
    /// Those that are not here, each with why.
    pub(crate) left_out: Vec<String>,
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
}

impl Lab {
    /// Finds out who is here. Whoever is not, or does not start, is left out.
    pub(crate) fn open(scale: Scale, earlier: Option<&Path>, toxiproxy: Option<&Path>) -> Result<Self, BenchError> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().tried("start the runtime")?;
        let contestants = vec![Contestant::Direct, Contestant::Squall, Contestant::Busy];
        let mut lab = Self { contestants, left_out: Vec::new(), scale, runtime };
        if let Some(program) = earlier {
            lab.take_in(Contestant::Earlier(program.to_owned()))?;
        }
        let haproxy = peers::find("haproxy");
        lab.invite("haproxy", haproxy.clone(), Contestant::Haproxy);
        lab.invite("haproxy-splice", haproxy, Contestant::HaproxySplice);
        lab.invite("nginx", peers::find("nginx"), Contestant::Nginx);
        if let Some(program) = toxiproxy {
            lab.take_in(Contestant::Toxiproxy(program.to_owned()))?;
        } else {
            lab.left_out.push("toxiproxy: no --toxiproxy PATH was given".to_owned());
        }
        Ok(lab)
    }

    fn invite(&mut self, name: &str, program: Option<PathBuf>, contestant: impl Fn(PathBuf) -> Contestant) {
        let Some(program) = program else {
            return self.left_out.push(format!("{name}: there is no such program in the PATH"));
        };
        let contestant = contestant(program);
        match self.try_out(&contestant) {
            Ok(()) => self.contestants.push(contestant),
            Err(why) => self.left_out.push(format!("{name}: {why}")),
        }
    }

    /// One that the caller named must be here.
    fn take_in(&mut self, contestant: Contestant) -> Result<(), BenchError> {
        self.try_out(&contestant)?;
        self.contestants.push(contestant);
        Ok(())
    }

    /// Whether one connection comes through.
    fn try_out(&self, contestant: &Contestant) -> Result<(), BenchError> {
        self.through(contestant, &[], |line| line.connect_one().map(drop))
    }

    /// The names of the contestants, direct first.
    pub(crate) fn contestant_names(&self) -> Vec<&'static str> {
        self.contestants.iter().map(Contestant::name).collect()
    }

    /// Lets all who can take turns, as often as the scale says.
    pub(crate) fn in_turn(
        &self,
        discipline: Discipline,
        mut measure: impl FnMut(&Contestant) -> Result<(), BenchError>,
    ) -> Result<(), BenchError> {
        (0..self.scale.rounds).try_for_each(|_| self.once_each(discipline, &mut measure))
    }

    /// One turn for each who can, for what takes its rounds itself.
    pub(crate) fn once_each(
        &self,
        discipline: Discipline,
        measure: impl FnMut(&Contestant) -> Result<(), BenchError>,
    ) -> Result<(), BenchError> {
        self.contestants.iter().filter(|contestant| contestant.takes_part(discipline)).try_for_each(measure)
    }

    /// Lays a line for plain bytes through a contestant, with these faults where it can have them.
    pub(crate) fn through<T>(
        &self,
        contestant: &Contestant,
        faults: &[FaultKind],
        work: impl FnOnce(&Line<'_>) -> Result<T, BenchError>,
    ) -> Result<T, BenchError> {
        self.through_course(contestant, Course::of(Protocol::Tcp), faults, work)
    }

    /// The same for another protocol, or with TLS. The line's process goes with it.
    pub(crate) fn through_course<T>(
        &self,
        contestant: &Contestant,
        course: Course<'_>,
        faults: &[FaultKind],
        work: impl FnOnce(&Line<'_>) -> Result<T, BenchError>,
    ) -> Result<T, BenchError> {
        let upstream = self.runtime.block_on(TcpListener::bind("127.0.0.1:0")).tried("bind a loopback port")?;
        let server = upstream.local_addr().tried("ask for the port that was bound")?;
        let way = contestant.lead(&self.runtime, server, course)?;
        for fault in faults {
            contestant.hurt(&self.runtime, &way, fault)?;
        }
        work(&Line { lab: self, upstream, way })
    }
}

impl Lab {
    /// Leads a way for datagrams to a server.
    pub(crate) fn lead_datagrams(&self, contestant: &Contestant, server: SocketAddr) -> Result<Way, BenchError> {
        contestant.lead(&self.runtime, server, Course::of(Protocol::Udp))
    }
}

impl Line<'_> {
    /// Where clients connect.
    pub(crate) fn address(&self) -> SocketAddr {
        self.way.address
    }

    /// The proxy on this line and the API that rules it, where there is one.
    pub(crate) fn proxy(&self) -> Option<(Api<'_>, &ProxyName)> {
        self.way.agent(&self.lab.runtime)
    }

    /// The process in between.
    pub(crate) fn process(&self) -> Option<&Process> {
        self.way.process()
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
