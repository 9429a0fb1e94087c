//! One proxy in the registry, with the terms of its faults; and healing, the one way in which a fault goes.
//!
//! Neighbours: `faults.rs`, `leases.rs`, `keeper.rs` heal through [`Entry::heal`]; the proxy itself is `crate::proxy`.
//! Invariant: a fault leaves the list only when the data plane says that it is gone. One that could not be healed
//! stays in it, is shown, and is tried again.

use super::{Refusal, home::Home};
use crate::{ActiveFault, Proxy, ProxyError, toxiproxy::Toxic};
use squall_wire::{FaultName, LeaseId, ProxyName, ProxySpec, RemovedFault};
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, timeout};

/// What the data plane does takes milliseconds; this is the limit on a machine in trouble.
const PLANE_LIMIT: Duration = Duration::from_secs(6);
/// A fault that could not be healed is tried again after so long, doubled each time …
const FIRST_RETRY: Duration = Duration::from_millis(250);
/// … up to this.
const LAST_RETRY: Duration = Duration::from_secs(5);

/// A proxy and what was agreed on it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) proxy: Arc<Proxy>,
    /// As it was asked for: its address may be a name or end in port 0.
    pub(super) spec: ProxySpec,
    /// In the order in which they apply.
    pub(super) faults: Vec<Terms>,
    /// What it was, where the holder of a lease changed it.
    pub(super) away: Option<Home>,
    /// Those set in Toxiproxy's words.
    pub(super) toxics: Vec<HeldToxic>,
}

/// A toxic and the fault that does it, on the same proxy; none where nothing is to be done.
#[derive(Debug)]
pub(super) struct HeldToxic {
    pub(super) toxic: Toxic,
    pub(super) fault: Option<FaultName>,
}

/// A fault and until when it may live.
#[derive(Debug)]
pub(super) struct Terms {
    pub(super) fault: Arc<ActiveFault>,
    pub(super) lease: Option<LeaseId>,
    pub(super) born: Instant,
    pub(super) end: End,
}

/// When the keeper must look after a fault.
#[derive(Debug, Clone, Copy)]
pub(super) enum End {
    /// It lives until then.
    At(Instant),
    /// It should be gone and is not: healing is tried again then.
    Retry { at: Instant, pause: Duration },
}

impl End {
    pub(super) fn at(self) -> Instant {
        match self {
            Self::At(at) | Self::Retry { at, .. } => at,
        }
    }

    pub(super) fn retried(self, now: Instant) -> Self {
        let pause = match self {
            Self::At(_) => FIRST_RETRY,
            Self::Retry { pause, .. } => (pause * 2).min(LAST_RETRY),
        };
        Self::Retry { at: now + pause, pause }
    }
}

/// What came of healing: the faults that are gone, and those that are not, with the cause.
#[derive(Debug, Default)]
pub(super) struct Healing {
    /// Each with the lease that it lived under.
    pub(super) removed: Vec<(RemovedFault, Option<LeaseId>)>,
    /// Proxies that are as they were before a lease.
    pub(super) restored: Vec<ProxyName>,
    pub(super) stuck: Vec<String>,
    pub(super) cause: String,
}

impl Healing {
    pub(super) fn and(mut self, other: Self) -> Self {
        self.removed.extend(other.removed);
        self.restored.extend(other.restored);
        self.stuck.extend(other.stuck);
        if self.cause.is_empty() {
            self.cause = other.cause;
        }
        self
    }
}

/// Waits for the data plane, but not for ever: the registry's lock is held meanwhile.
pub(super) async fn bounded<T>(work: impl Future<Output = Result<T, ProxyError>>) -> Result<T, Refusal> {
    match timeout(PLANE_LIMIT, work).await {
        Ok(outcome) => Ok(outcome?),
        Err(_) => Err(Refusal::Stuck { seconds: PLANE_LIMIT.as_secs() }),
    }
}

impl Entry {
    pub(super) fn new(proxy: Arc<Proxy>, spec: &ProxySpec) -> Self {
        Self { proxy, spec: spec.clone(), faults: Vec::new(), away: None, toxics: Vec::new() }
    }

    pub(super) fn terms(&self, name: &FaultName) -> Option<&Terms> {
        self.faults.iter().find(|terms| terms.fault.name() == name)
    }

    pub(super) fn names_where(&self, chosen: impl Fn(&Terms) -> bool) -> Vec<FaultName> {
        self.faults.iter().filter(|terms| chosen(terms)).map(|terms| terms.fault.name().clone()).collect()
    }

    /// Removes these faults from the data plane, and then from the list.
    pub(super) async fn heal(&mut self, proxy: &ProxyName, names: &[FaultName]) -> Healing {
        if names.is_empty() {
            return Healing::default();
        }
        let cause = match bounded(self.proxy.remove_faults(names)).await {
            Ok(_) => return self.strike_out(proxy, names),
            Err(refusal) => refusal.to_string(),
        };
        let left: Vec<_> = self.proxy.faults().iter().map(|fault| fault.name().clone()).collect();
        let (stuck, gone): (Vec<_>, Vec<_>) = names.iter().cloned().partition(|name| left.contains(name));
        let now = Instant::now();
        for terms in self.faults.iter_mut().filter(|terms| stuck.contains(terms.fault.name())) {
            terms.end = terms.end.retried(now);
        }
        let stuck: Vec<_> = stuck.iter().map(|name| format!("{proxy}/{name}")).collect();
        tracing::error!(%proxy, faults = stuck.join(", "), cause, "failed to heal; trying again");
        Healing { stuck, cause, ..self.strike_out(proxy, &gone) }
    }

    fn strike_out(&mut self, proxy: &ProxyName, names: &[FaultName]) -> Healing {
        self.toxics.retain(|held| !held.fault.as_ref().is_some_and(|fault| names.contains(fault)));
        let gone = self.faults.extract_if(.., |terms| names.contains(terms.fault.name()));
        let removed = gone.map(|terms| {
            let (fault, hits) = (terms.fault.name().clone(), terms.fault.hits());
            (RemovedFault { proxy: proxy.clone(), fault, hits }, terms.lease)
        });
        Healing { removed: removed.collect(), ..Healing::default() }
    }
}
