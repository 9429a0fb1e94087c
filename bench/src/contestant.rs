//! Who is measured: the ways from a client to a server, each with the same client and the same server.
//!
//! `lab` has the list and lays the lines; a line's [`Way`] owns the process that it leads through, started for it.
//! Another proxy is one more variant here, with how to start it in `peers`; the measurements stay as they are.
//!
//! Invariant: the first contestant is direct; and no process serves two lines, so what one cost is that line's.

use crate::{
    api::Api,
    encrypted::Certificates,
    error::{BenchError, Tried},
    peers::{self, Peer},
    process::{Process, Stop},
};
use serde_json::json;
use squall_wire::{
    FaultKind, FaultSpec, Protocol, ProxyName, ProxySpec,
    fault::Direction,
    proxy::{ListenTls, UpstreamTls},
};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};
use tokio::runtime::Runtime;

/// The agent that polls busily, of which the same is promised.
pub(crate) const BUSY: &str = "squall-busy";

/// How long before each deadline it does.
const BUSY_POLL_MILLIS: &str = "10";

/// One way from client to server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Contestant {
    /// No proxy: the client connects to the server.
    Direct,
    /// Through a Squall agent.
    Squall,
    /// Through a Squall agent that keeps a processor busy before deadlines (`busy_poll`), where there are any.
    Busy,
    /// Through the agent of an earlier build of this program.
    Earlier(PathBuf),
    /// Through HAProxy as it comes, which copies.
    Haproxy(PathBuf),
    /// Through HAProxy with `option splice-auto`.
    HaproxySplice(PathBuf),
    /// Through nginx's stream module.
    Nginx(PathBuf),
    /// Through a program with Toxiproxy's API.
    Toxiproxy(PathBuf),
}

/// What a contestant must be able to do to take part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Discipline {
    /// Many bytes: all.
    Bulk,
    /// Anything else without a fault: all but those that differ in bulk only.
    Plain,
    /// Datagrams: those that pass them on.
    Datagrams,
    /// Faults, beside what the machine does without: direct, and those that can inject.
    Delays,
    /// Faults.
    Faults,
    /// Memory and processor time: those that have a process.
    Costs,
    /// What only our own agent has.
    Ours,
}

/// What a way carries.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Course<'a> {
    /// How a proxy sees it.
    pub(crate) protocol: Protocol,
    /// What a proxy does about TLS.
    pub(crate) tls: Tls<'a>,
}

/// Who speaks TLS.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Tls<'a> {
    /// Nobody, or nobody that a proxy knows of.
    Passed,
    /// The proxy with its clients.
    Ended(&'a Certificates),
    /// The proxy with its upstream.
    Started(&'a Certificates),
}

impl Course<'_> {
    /// Without TLS.
    pub(crate) fn of(protocol: Protocol) -> Self {
        Self { protocol, tls: Tls::Passed }
    }
}

/// Where clients connect to reach an upstream, and what is in between.
pub(crate) struct Way {
    /// The address for clients.
    pub(crate) address: SocketAddr,
    between: Between,
}

enum Between {
    Nothing,
    Agent { process: Process, api: SocketAddr, proxy: ProxyName },
    Peer(Peer),
}

impl Contestant {
    /// The name in table and JSON.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Squall => "squall",
            Self::Busy => BUSY,
            Self::Earlier(_) => "squall-earlier",
            Self::Haproxy(_) => "haproxy",
            Self::HaproxySplice(_) => "haproxy-splice",
            Self::Nginx(_) => "nginx",
            Self::Toxiproxy(_) => "toxiproxy",
        }
    }

    /// Whether it can set faults.
    pub(crate) fn injects(&self) -> bool {
        matches!(self, Self::Squall | Self::Busy | Self::Earlier(_) | Self::Toxiproxy(_))
    }

    /// Whether it takes part.
    pub(crate) fn takes_part(&self, discipline: Discipline) -> bool {
        match discipline {
            Discipline::Bulk => *self != Self::Busy,
            Discipline::Plain => !matches!(self, Self::Busy | Self::HaproxySplice(_)),
            Discipline::Datagrams => matches!(self, Self::Direct | Self::Squall | Self::Earlier(_) | Self::Nginx(_)),
            Discipline::Delays => self.injects() || *self == Self::Direct,
            Discipline::Faults => self.injects(),
            Discipline::Costs => !matches!(self, Self::Direct | Self::Busy | Self::HaproxySplice(_)),
            Discipline::Ours => *self == Self::Squall,
        }
    }

    /// Leads a way to this upstream, through a process of its own.
    pub(crate) fn lead(&self, runtime: &Runtime, upstream: SocketAddr, course: Course<'_>) -> Result<Way, BenchError> {
        let peer = match self {
            Self::Direct => return Ok(Way { address: upstream, between: Between::Nothing }),
            Self::Squall => return through_agent(runtime, start_agent(0)?, upstream, course),
            Self::Busy => return through_agent(runtime, start_busy_agent()?, upstream, course),
            Self::Earlier(program) => return through_agent(runtime, start_agent_of(program, &[])?, upstream, course),
            Self::Haproxy(program) => peers::haproxy(program, false, upstream, course.tls)?,
            Self::HaproxySplice(program) => peers::haproxy(program, true, upstream, course.tls)?,
            Self::Nginx(program) => peers::nginx(program, upstream, course)?,
            Self::Toxiproxy(program) => return through_toxiproxy(runtime, peers::toxiproxy(program)?, upstream),
        };
        Ok(Way { address: peer.address, between: Between::Peer(peer) })
    }

    /// Sets a fault in both directions, where faults can be set.
    pub(crate) fn hurt(&self, runtime: &Runtime, way: &Way, fault: &FaultKind) -> Result<(), BenchError> {
        match &way.between {
            Between::Agent { api, proxy, .. } => {
                let spec = FaultSpec { direction: Some(Direction::Both), ..FaultSpec::of(fault.clone()) };
                Api { runtime, address: *api }.set_fault(proxy, &spec).map(drop)
            }
            Between::Peer(peer) if self.injects() => poison(Api { runtime, address: peer.ready }, fault),
            _ => Ok(()),
        }
    }
}

impl Way {
    /// The process in between.
    pub(crate) fn process(&self) -> Option<&Process> {
        match &self.between {
            Between::Nothing => None,
            Between::Agent { process, .. } | Between::Peer(Peer { process, .. }) => Some(process),
        }
    }

    /// Our proxy in between and the API that rules it, where there is one.
    pub(crate) fn agent<'a>(&'a self, runtime: &'a Runtime) -> Option<(Api<'a>, &'a ProxyName)> {
        match &self.between {
            Between::Agent { api, proxy, .. } => Some((Api { runtime, address: *api }, proxy)),
            _ => None,
        }
    }
}

/// An agent: this executable again (`agent_mode`), with so many proxies that nobody uses, and where its API is.
pub(crate) fn start_agent(idle_proxies: usize) -> Result<(Process, SocketAddr), BenchError> {
    start_agent_of(&ourselves()?, &["--proxies", &idle_proxies.to_string()])
}

fn start_busy_agent() -> Result<(Process, SocketAddr), BenchError> {
    start_agent_of(&ourselves()?, &["--busy-poll", BUSY_POLL_MILLIS])
}

fn ourselves() -> Result<PathBuf, BenchError> {
    std::env::current_exe().tried("find our own executable")
}

fn start_agent_of(program: &Path, arguments: &[&str]) -> Result<(Process, SocketAddr), BenchError> {
    let mut command = Command::new(program);
    command.arg("serve-agent").args(arguments).stdout(Stdio::piped());
    let mut process = Process::start(&mut command, Stop::Input)?;
    let address = parsed(process.first_line()?.trim())?;
    Ok((process, address))
}

/// A proxy, enabled and on a port of the system's choice.
pub(crate) fn proxy_spec(name: &str, upstream: SocketAddr, protocol: Protocol) -> Result<ProxySpec, BenchError> {
    Ok(ProxySpec { protocol, ..ProxySpec::tcp(parsed(name)?, upstream.to_string()) })
}

fn through_agent(
    runtime: &Runtime,
    (process, api): (Process, SocketAddr),
    upstream: SocketAddr,
    course: Course<'_>,
) -> Result<Way, BenchError> {
    let mut spec = proxy_spec("bench", upstream, course.protocol)?;
    match course.tls {
        Tls::Passed => {}
        Tls::Ended(files) => spec.listen_tls = Some(ListenTls { cert: files.cert(), key: files.key() }),
        Tls::Started(files) => {
            let server_name = Some(Certificates::NAME.to_owned());
            spec.upstream_tls = Some(UpstreamTls { ca: Some(files.ca()), server_name, ..UpstreamTls::default() });
        }
    }
    let address = parsed(&Api { runtime, address: api }.create_proxy(&spec)?.listen)?;
    Ok(Way { address, between: Between::Agent { process, api, proxy: spec.name } })
}

fn through_toxiproxy(runtime: &Runtime, peer: Peer, upstream: SocketAddr) -> Result<Way, BenchError> {
    let api = Api { runtime, address: peer.ready };
    let body = json!({ "name": "bench", "listen": peer.address.to_string(), "upstream": upstream.to_string(),
        "enabled": true });
    api.post("/proxies", &body)?;
    Ok(Way { address: peer.address, between: Between::Peer(peer) })
}

/// A fault in Toxiproxy's words, once a direction.
fn poison(api: Api<'_>, fault: &FaultKind) -> Result<(), BenchError> {
    let (kind, attributes) = match fault {
        FaultKind::Latency(latency) => (
            "latency",
            json!({ "latency": latency.delay.get().as_millis(), "jitter": latency.jitter.get().as_millis() }),
        ),
        FaultKind::Bandwidth(bandwidth) => ("bandwidth", json!({ "rate": bandwidth.rate.get() / 1000 })),
        other => {
            let what = format!("be asked for `{}`", other.name());
            return Err(BenchError::Peer { who: "toxiproxy", what, why: "the harness has no toxic for it".into() });
        }
    };
    for stream in ["upstream", "downstream"] {
        // Without a name of its own, a second toxic of the same kind would be refused.
        let name = format!("{kind}-{stream}-{}", NEXT_TOXIC.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        let body = json!({ "name": name, "type": kind, "stream": stream, "attributes": attributes });
        api.post("/proxies/bench/toxics", &body)?;
    }
    Ok(())
}

static NEXT_TOXIC: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);

fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, BenchError> {
    text.parse()
        .map_err(|error: T::Err| BenchError::Agent { what: format!("give us `{text}`"), why: error.to_string() })
}
