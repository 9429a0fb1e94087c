//! A proxy: an address where clients connect, a target, and the faults between them.
//!
//! Used by the control plane, which is the one writer. `roster.rs` has the faults and connections, `gate.rs` is the
//! way in: `listener.rs` takes connections, `entrance.rs` says when, `connection.rs` runs them; `udp/` has the same
//! for datagrams.
//!
//! Invariant: no call here waits for a peer. State is under short mutexes, links are told by a bell, and what waits
//! for tasks to end has cancelled them before and has a limit.

mod entrance;
mod gate;
mod roster;
mod shared;

pub(crate) use roster::Membership;
#[cfg(test)]
pub(crate) use roster::Roster;
pub(crate) use shared::{Shared, Ticket, Totals};

use crate::{
    fault::{ActiveFault, acts_on_listener},
    plane::DataPlane,
    tls::{Tls, TlsMistake},
    traffic::Snapshot,
};
use gate::Gate;
use squall_wire::{FaultKind, FaultName, Percent, Protocol, ProxyCounters, ProxySpec};
use std::{
    fmt, io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{sleep, timeout},
};

/// How long cancelled tasks may take to end; they end at once, so this only guards against a bug.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// How long connections may take to have the kernel drop what a fault says; they do it at once, so this only guards
/// against a machine in trouble …
const SIFT_LIMIT: Duration = Duration::from_secs(1);
/// … and so often it is looked whether they have.
const SIFT_PACE: Duration = Duration::from_micros(500);

/// How long the name in `listen` may take to resolve.
const RESOLVE_LIMIT: Duration = Duration::from_secs(5);

/// Why a proxy cannot do what it was told.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// `listen` is not an address, and no name of one.
    #[error("failed to resolve `{listen}`: {source}; write HOST:PORT such as 127.0.0.1:0")]
    Resolve {
        /// As it was given.
        listen: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// The address cannot be bound.
    #[error("failed to bind {addr}: {source}; choose another address, or port 0 for a free one")]
    Bind {
        /// The address.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The bound address cannot be listened on (again).
    #[error("failed to listen on {addr}: {source}; see who else uses that port, then try again")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A fault of this name is there already.
    #[error("a fault named `{0}` is already on this proxy: choose another name, or remove it first")]
    FaultExists(FaultName),
    /// No fault has this name.
    #[error("no fault on this proxy is named `{0}`")]
    NoSuchFault(FaultName),
    /// A fault keeps its kind.
    #[error("fault `{name}` is of kind `{kind}` and stays so: remove it and set another")]
    OtherKind {
        /// The fault.
        name: FaultName,
        /// Its kind.
        kind: &'static str,
    },
    /// Its TLS cannot be had: a file is missing or not what it should be.
    #[error(transparent)]
    Tls(#[from] TlsMistake),
    /// It was stopped.
    #[error("this proxy has been stopped")]
    Stopped,
}

/// A fault that was removed, and what it had hit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemovedHits {
    /// Its name.
    pub name: FaultName,
    /// Units on which it acted; `None` where that cannot be counted.
    pub hits: Option<u64>,
}

/// A listener between clients and one upstream.
pub struct Proxy {
    protocol: Protocol,
    shared: Arc<Shared>,
    // Can be asked without waiting for a change that is under way.
    enabled: AtomicBool,
    // Held while the listener changes, which waits for nobody outside this process.
    // None once stopped.
    control: tokio::sync::Mutex<Control>,
    /// The descriptor of what listens.
    _listening: Option<OwnedSemaphorePermit>,
}

struct Control {
    /// None once stopped.
    gate: Option<Gate>,
    /// Nobody is taken in any more, whatever the faults and the switch say.
    closing: bool,
}

impl Proxy {
    /// Reads the files of its TLS, binds `listen` and, if the proxy is enabled, takes connections.
    ///
    /// # Errors
    /// When `listen` does not resolve or cannot be bound, or the TLS cannot be had.
    pub async fn start(spec: &ProxySpec, plane: &Arc<DataPlane>) -> Result<Self, ProxyError> {
        Self::start_with(spec, Tls::of(spec).await?, plane).await
    }

    /// The same, with TLS whose files were read before.
    pub(crate) async fn start_with(spec: &ProxySpec, tls: Tls, plane: &Arc<DataPlane>) -> Result<Self, ProxyError> {
        let gate = bind(spec.protocol, resolve(&spec.listen).await?)?;
        let proxy = Self {
            protocol: spec.protocol,
            shared: Shared::new(plane, spec, gate.addr(), tls),
            enabled: AtomicBool::new(spec.enabled),
            control: tokio::sync::Mutex::new(Control { gate: Some(gate), closing: false }),
            _listening: plane.slots.listening(),
        };
        proxy.settle(&mut *proxy.control.lock().await, &[]).await?;
        Ok(proxy)
    }

    /// The address that is bound.
    #[must_use]
    pub fn listen_addr(&self) -> SocketAddr {
        self.shared.listen()
    }

    /// Where the traffic goes.
    #[must_use]
    pub fn upstream(&self) -> String {
        self.shared.upstream()
    }

    /// Whether it takes connections (when no fault forbids it).
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.enabled.load(Relaxed)
    }

    /// What it has seen since it was made.
    #[must_use]
    pub fn counters(&self) -> ProxyCounters {
        self.shared.counters()
    }

    /// Sends connections from now on elsewhere; open ones stay where they are.
    pub fn set_upstream(&self, upstream: String) {
        self.shared.set_target(Some(upstream), None);
    }

    /// Encrypts connections from now on so; open ones stay as they are.
    pub(crate) fn set_tls(&self, tls: Tls) {
        self.shared.set_target(None, Some(tls));
    }

    pub(crate) fn tls(&self) -> Tls {
        self.shared.tls()
    }

    /// Takes connections, or refuses new ones and closes those that are open. The address stays bound either way.
    ///
    /// # Errors
    /// When the address cannot be listened on again.
    pub async fn set_enabled(&self, on: bool) -> Result<(), ProxyError> {
        let mut control = self.control.lock().await;
        let before = self.enabled.swap(on, Relaxed);
        let faults = self.faults();
        if let Err(error) = self.settle(&mut control, &faults).await {
            self.enabled.store(before, Relaxed);
            return Err(error);
        }
        if !on {
            self.shared.cut_connections(STOP_LIMIT).await;
        }
        Ok(())
    }

    /// Ends every connection that is open, at once; new ones are taken as before.
    pub async fn drop_connections(&self) {
        self.shared.cut_connections(STOP_LIMIT).await;
    }

    /// Bytes that were read, from clients and from the upstream, whatever became of them.
    #[must_use]
    pub fn received(&self) -> [u64; 2] {
        self.shared.received()
    }

    /// What its connections did, hit and spared apart.
    pub(crate) fn traffic(&self) -> Snapshot {
        self.shared.traffic()
    }

    /// What distinguishes it from an earlier one of the same name; and its connections that are over: spared, hit, and
    /// with an error.
    pub(crate) fn ends(&self) -> (u64, [u64; 3]) {
        self.shared.ends()
    }

    /// Listens elsewhere; open connections go on, and sessions of datagrams, which would have no address to answer
    /// from, end. Naming the address that is bound changes nothing.
    ///
    /// # Errors
    /// When the new address cannot be had; then the old listener stays.
    pub async fn rebind(&self, listen: &str) -> Result<SocketAddr, ProxyError> {
        let addr = resolve(listen).await?;
        let mut control = self.control.lock().await;
        let current = control.gate.as_ref().ok_or(ProxyError::Stopped)?.addr();
        if addr == current {
            return Ok(current);
        }
        let gate = bind(self.protocol, addr)?;
        let addr = gate.addr();
        let mut fresh = Control { gate: Some(gate), closing: control.closing };
        let faults = self.faults();
        self.settle(&mut fresh, &faults).await?;
        let old = std::mem::replace(&mut *control, fresh);
        self.shared.set_listen(addr);
        if let Some(old) = old.gate {
            old.close().await;
        }
        Ok(addr)
    }

    /// The faults, in the order in which they apply.
    #[must_use]
    pub fn faults(&self) -> Vec<Arc<ActiveFault>> {
        self.shared.roster.lock().faults().to_vec()
    }

    /// Sets a fault; it takes hold of live connections at once.
    ///
    /// # Errors
    /// When the name is taken, or the listener cannot be brought to where the fault wants it.
    pub async fn add_fault(&self, fault: Arc<ActiveFault>) -> Result<(), ProxyError> {
        let mut control = self.control.lock().await;
        let mut faults = self.faults();
        if faults.iter().any(|other| other.name() == fault.name()) {
            return Err(ProxyError::FaultExists(fault.name().clone()));
        }
        let sifts = is_of_packets(&fault);
        faults.push(fault);
        self.settle(&mut control, &faults).await?;
        self.shared.roster.lock().set_faults(faults);
        self.sift(sifts).await;
        Ok(())
    }

    /// Changes a fault's parameters or share; live connections follow at once.
    ///
    /// # Errors
    /// When there is no such fault, the kind is another, or the listener cannot follow.
    pub async fn change_fault(
        &self,
        name: &FaultName,
        kind: Option<FaultKind>,
        percent: Option<Percent>,
    ) -> Result<(), ProxyError> {
        let mut control = self.control.lock().await;
        let faults = self.faults();
        let fault =
            faults.iter().find(|fault| fault.name() == name).ok_or_else(|| ProxyError::NoSuchFault(name.clone()))?;
        let (kind_before, percent_before) = (fault.kind(), fault.percent());
        if !fault.tune(kind, percent) {
            return Err(ProxyError::OtherKind { name: name.clone(), kind: kind_before.name() });
        }
        if let Err(error) = self.settle(&mut control, &faults).await {
            fault.tune(Some(kind_before), Some(percent_before));
            if let Some(gate) = control.gate.as_mut() {
                gate.look_again(&self.shared).await;
            }
            return Err(error);
        }
        let sifts = is_of_packets(fault);
        self.shared.roster.lock().refresh();
        self.sift(sifts).await;
        Ok(())
    }

    /// Removes faults. When it returns, the address is listened on as before them, and live links are awake.
    /// Names that are not there are passed over.
    ///
    /// # Errors
    /// When the listener cannot be healed; then the faults that hold it stay (and the others are gone), so that the
    /// same call tries again.
    pub async fn remove_faults(&self, names: &[FaultName]) -> Result<Vec<RemovedHits>, ProxyError> {
        let mut control = self.control.lock().await;
        let (gone, kept): (Vec<_>, Vec<_>) = self.faults().into_iter().partition(|fault| names.contains(fault.name()));
        let settled = self.settle(&mut control, &kept).await;
        let kept = match settled {
            Ok(()) => kept,
            Err(_) => self.without(|fault| names.contains(fault.name()) && !acts_on_listener(&fault.kind())),
        };
        self.shared.roster.lock().set_faults(kept);
        self.sift(gone.iter().any(|fault| is_of_packets(fault))).await;
        settled?;
        Ok(gone.iter().map(|fault| RemovedHits { name: fault.name().clone(), hits: fault.hits() }).collect())
    }

    /// Waits until what the kernel drops is as the plans of all connections say: their links do it when they are woken,
    /// and wait for no peer.
    async fn sift(&self, needed: bool) {
        let done = async {
            while !self.shared.roster.lock().is_sifted() {
                sleep(SIFT_PACE).await;
            }
        };
        if needed && timeout(SIFT_LIMIT, done).await.is_err() {
            tracing::warn!("connections have not followed in time with what the kernel drops of theirs");
        }
    }

    fn without(&self, gone: impl Fn(&ActiveFault) -> bool) -> Vec<Arc<ActiveFault>> {
        self.faults().into_iter().filter(|fault| !gone(fault)).collect()
    }

    /// Closes the listener and all connections, and waits for their tasks, which are cancelled: at once, and at most
    /// five seconds. The proxy is of no use afterwards.
    pub async fn stop(&self) {
        self.shut_listener().await;
        self.shared.cut_connections(STOP_LIMIT).await;
    }

    /// Stops accepting, heals every fault, lets connections finish for up to `limit`, and then stops. Answers how
    /// many had to be cut.
    pub async fn drain(&self, limit: Duration) -> usize {
        self.retire().await;
        self.shared.roster.lock().set_faults(Vec::new());
        let cut = match timeout(limit, self.shared.connections_ended()).await {
            Ok(()) => 0,
            Err(_) => self.shared.roster.lock().open(),
        };
        self.shared.cut_connections(STOP_LIMIT).await;
        self.shut_listener().await;
        cut
    }

    /// Stops accepting for good, so that faults can be healed without letting anybody in. Open connections go on.
    ///
    /// # Errors
    /// When the listener cannot be shut.
    pub async fn take_no_more(&self) -> Result<(), ProxyError> {
        let mut control = self.control.lock().await;
        control.closing = true;
        let faults = self.faults();
        self.settle(&mut control, &faults).await
    }

    /// The switch stays as it is: whether a proxy is enabled is what somebody wished, and is kept over a restart.
    async fn shut_listener(&self) {
        let mut control = self.control.lock().await;
        let old = std::mem::replace(&mut *control, Control { gate: None, closing: true });
        if let Some(old) = old.gate {
            old.close().await;
        }
    }

    /// Takes nobody in any more. What is open can finish: for datagrams the address is still needed for that.
    async fn retire(&self) {
        let mut control = self.control.lock().await;
        control.closing = true;
        control.gate = match control.gate.take() {
            Some(gate) => gate.retire().await,
            None => None,
        };
    }

    /// Brings the listener to where `faults` and the switch want it.
    async fn settle(&self, control: &mut Control, faults: &[Arc<ActiveFault>]) -> Result<(), ProxyError> {
        let open = self.enabled.load(Relaxed) && !control.closing;
        let gate = control.gate.as_mut().ok_or(ProxyError::Stopped)?;
        let settled = gate.settle(&self.shared, open, faults).await;
        settled.map_err(|source| ProxyError::Listen { addr: gate.addr(), source })
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.abandon();
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy").field("listen", &self.listen_addr()).field("upstream", &self.upstream()).finish()
    }
}

fn is_of_packets(fault: &ActiveFault) -> bool {
    matches!(fault.kind(), FaultKind::PacketLoss(_))
}

async fn resolve(listen: &str) -> Result<SocketAddr, ProxyError> {
    let failed = |source| ProxyError::Resolve { listen: listen.to_owned(), source };
    let found = timeout(RESOLVE_LIMIT, tokio::net::lookup_host(listen)).await;
    let mut addresses = found.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(failed)?;
    addresses.next().ok_or_else(|| failed(io::Error::new(io::ErrorKind::NotFound, "the name has no address")))
}

fn bind(protocol: Protocol, addr: SocketAddr) -> Result<Gate, ProxyError> {
    Gate::bind(protocol, addr).map_err(|source| ProxyError::Bind { addr, source })
}
