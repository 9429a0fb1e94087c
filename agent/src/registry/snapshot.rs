//! What the registry looks like from outside: the values of the answers.
//!
//! Neighbours: `api` and `metrics` ask for them; the shapes are in `wire`.
//! Invariant: one answer is one moment: everything in it was true at once.

use super::{
    Inner, Refusal, Registry,
    entry::{End, Entry, Terms},
};
use crate::{
    sampler::{FaultPulse, Pulse},
    traffic::Snapshot,
};
use squall_wire::{FaultInfo, FaultName, Lease, LeaseId, ProxyInfo, ProxyName, Span};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::time::Instant;

/// A time left, to the millisecond, as people read it.
pub(crate) fn to_the_milli(duration: Duration) -> Span {
    Span::from(Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
}

/// All proxies, by name, and what is counted beside them.
#[derive(Debug)]
pub(crate) struct Overview {
    pub(crate) proxies: Vec<ProxyInfo>,
    /// For each proxy, bytes read from clients and from the upstream.
    pub(crate) received: Vec<[u64; 2]>,
    /// Leases that live.
    pub(crate) leases: usize,
    /// Bytes that delay lines hold.
    pub(crate) held: u64,
}

impl Registry {
    /// All proxies, by name.
    pub(crate) async fn proxies(&self) -> Vec<ProxyInfo> {
        self.inner.lock().await.all_proxies()
    }

    /// All proxies, if nobody is changing anything at this moment.
    pub(crate) fn proxies_now(&self) -> Option<Vec<ProxyInfo>> {
        Some(self.inner.try_lock().ok()?.all_proxies())
    }

    /// What there is to count.
    pub(crate) async fn overview(&self) -> Overview {
        let inner = self.inner.lock().await;
        Overview {
            proxies: inner.all_proxies(),
            received: inner.proxies.values().map(|entry| entry.proxy.received()).collect(),
            leases: inner.leases.ids().count(),
            held: self.plane.budget.used(),
        }
    }

    /// What these proxies saw, or all.
    pub(crate) async fn traffic(&self, names: Option<&[ProxyName]>) -> Result<BTreeMap<ProxyName, Snapshot>, Refusal> {
        let proxies: Vec<_> = {
            let inner = self.inner.lock().await;
            let known = |name: &ProxyName| Ok((name.clone(), Arc::clone(&inner.entry(name)?.proxy)));
            match names {
                Some(names) => names.iter().map(known).collect::<Result<_, Refusal>>()?,
                None => inner.proxies.iter().map(|(name, entry)| (name.clone(), Arc::clone(&entry.proxy))).collect(),
            }
        };
        Ok(proxies.into_iter().map(|(name, proxy)| (name, proxy.traffic())).collect())
    }

    /// What is counted, for who tells of it now and then.
    pub(crate) async fn pulses(&self) -> Vec<Pulse> {
        let inner = self.inner.lock().await;
        let fault = |terms: &Terms| {
            let (name, id, lease) = (terms.fault.name().clone(), terms.fault.id(), terms.lease.clone());
            Some(FaultPulse { name, id, lease, hits: terms.fault.hits()? })
        };
        let proxy = |(name, entry): (&ProxyName, &Entry)| {
            let (id, ends) = entry.proxy.ends();
            Pulse { name: name.clone(), id, ends, faults: entry.faults.iter().filter_map(fault).collect() }
        };
        inner.proxies.iter().map(proxy).collect()
    }

    /// One proxy.
    pub(crate) async fn proxy(&self, name: &ProxyName) -> Result<ProxyInfo, Refusal> {
        self.inner.lock().await.proxy_info(name, Instant::now())
    }

    /// The faults of one proxy, in the order in which they apply.
    pub(crate) async fn faults(&self, proxy: &ProxyName) -> Result<Vec<FaultInfo>, Refusal> {
        Ok(self.proxy(proxy).await?.faults)
    }

    /// One fault.
    pub(crate) async fn fault(&self, proxy: &ProxyName, name: &FaultName) -> Result<FaultInfo, Refusal> {
        self.inner.lock().await.fault_info(proxy, name, Instant::now())
    }

    /// All leases, by id.
    pub(crate) async fn leases(&self) -> Vec<Lease> {
        let (inner, now) = (self.inner.lock().await, Instant::now());
        inner.leases.ids().filter_map(|id| inner.lease_info(id, now).ok()).collect()
    }

    /// One lease.
    pub(crate) async fn lease(&self, id: &LeaseId) -> Result<Lease, Refusal> {
        self.inner.lock().await.lease_info(id, Instant::now())
    }
}

impl Inner {
    fn all_proxies(&self) -> Vec<ProxyInfo> {
        let now = Instant::now();
        self.proxies.iter().map(|(name, entry)| self.described(name, entry, now)).collect()
    }

    pub(super) fn proxy_info(&self, name: &ProxyName, now: Instant) -> Result<ProxyInfo, Refusal> {
        Ok(self.described(name, self.entry(name)?, now))
    }

    fn described(&self, name: &ProxyName, entry: &Entry, now: Instant) -> ProxyInfo {
        ProxyInfo {
            name: name.clone(),
            listen: entry.proxy.listen_addr().to_string(),
            upstream: entry.proxy.upstream(),
            protocol: entry.spec.protocol,
            enabled: entry.proxy.is_enabled(),
            listen_tls: entry.spec.listen_tls.clone(),
            upstream_tls: entry.spec.upstream_tls.clone(),
            host: entry.spec.host,
            faults: entry.faults.iter().map(|terms| terms.described(now)).collect(),
            lease: self.leases.holder(name).cloned(),
            changed_under: entry.away.as_ref().map(|home| home.lease.clone()),
            counters: entry.proxy.counters(),
        }
    }

    pub(super) fn fault_info(&self, proxy: &ProxyName, name: &FaultName, now: Instant) -> Result<FaultInfo, Refusal> {
        Ok(self.terms(proxy, name)?.described(now))
    }

    pub(super) fn lease_info(&self, id: &LeaseId, now: Instant) -> Result<Lease, Refusal> {
        let all = self.proxies.values().flat_map(|entry| &entry.faults);
        let faults = all.filter(|terms| terms.lease.as_ref() == Some(id)).count();
        self.leases.describe(id, faults, now)
    }
}

impl Terms {
    fn described(&self, now: Instant) -> FaultInfo {
        let left = match self.end {
            End::At(at) => at.saturating_duration_since(now),
            End::Retry { .. } => Duration::ZERO,
        };
        let fault = &self.fault;
        FaultInfo {
            name: fault.name().clone(),
            fault: fault.kind(),
            direction: fault.direction(),
            percent: fault.percent(),
            only: fault.only().clone(),
            skip: fault.skip(),
            count: fault.count(),
            seed: fault.seed(),
            lease: self.lease.clone(),
            expires_in: to_the_milli(left),
            hits: fault.hits(),
            units: fault.units(),
        }
    }
}
