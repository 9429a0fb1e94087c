//! What a proxy was before the holder of a lease changed it, and how it comes back when the lease ends.
//!
//! ```text
//! changed under a lease ──▶ away ──lease ends, runs out, halt, everything healed──▶ home
//!                             ╰── its old address is taken meanwhile: tried again, as with a fault that stays
//! ```
//! Neighbours: `proxies.rs` remembers before it changes, `leases.rs`, `halt.rs`, `faults.rs` and `keeper.rs` bring back.
//! Invariant: a proxy leaves `away` only when it is as it was, or when somebody changes it without a lease. The state file
//! has it as it was, for no lease outlives the agent.

use super::{
    About, Caller, Change, Inner, Refusal,
    entry::{End, Entry, Healing, bounded},
};
use crate::tls::Tls;
use squall_wire::{
    LeaseId, ProxyName, ProxySpec,
    proxy::{ListenTls, UpstreamTls},
};
use std::net::SocketAddr;
use tokio::time::Instant;

/// A proxy as it was before the first change under a lease.
#[derive(Debug)]
pub(super) struct Home {
    /// The lease, also when that has ended and the proxy is not back.
    pub(super) lease: LeaseId,
    /// As it was asked for.
    listen: String,
    bound: SocketAddr,
    upstream: String,
    enabled: bool,
    listen_tls: Option<ListenTls>,
    upstream_tls: Option<UpstreamTls>,
    tls: Tls,
    /// When to try again; none while the lease lives.
    pub(super) due: Option<End>,
}

impl Entry {
    /// Remembers what is to come back when this lease ends, if it is not known already.
    pub(super) fn leave_home(&mut self, lease: &LeaseId) {
        if self.away.is_none() {
            self.away = Some(Home {
                lease: lease.clone(),
                listen: self.spec.listen.clone(),
                bound: self.proxy.listen_addr(),
                upstream: self.proxy.upstream(),
                enabled: self.proxy.is_enabled(),
                listen_tls: self.spec.listen_tls.clone(),
                upstream_tls: self.spec.upstream_tls.clone(),
                tls: self.proxy.tls(),
                due: None,
            });
        }
    }

    /// As it is to be after a restart: as it was before any lease, with the port that was bound where any would have done.
    pub(super) fn to_keep(&self, name: &ProxyName) -> ProxySpec {
        let bound_or = |listen: &str, bound: SocketAddr| match listen.ends_with(":0") {
            true => bound.to_string(),
            false => listen.to_owned(),
        };
        match &self.away {
            Some(home) => ProxySpec {
                name: name.clone(),
                listen: bound_or(&home.listen, home.bound),
                upstream: home.upstream.clone(),
                enabled: home.enabled,
                listen_tls: home.listen_tls.clone(),
                upstream_tls: home.upstream_tls.clone(),
                ..self.spec.clone()
            },
            None => ProxySpec {
                name: name.clone(),
                listen: bound_or(&self.spec.listen, self.proxy.listen_addr()),
                upstream: self.proxy.upstream(),
                enabled: self.proxy.is_enabled(),
                ..self.spec.clone()
            },
        }
    }

    /// Whether it was asked for on any free port, before any lease.
    pub(super) fn may_have_any_port(&self) -> bool {
        self.away.as_ref().map_or(&self.spec.listen, |home| &home.listen).ends_with(":0")
    }

    /// Makes it what it was; answers whether anything had to be done. Can be called again when it failed.
    async fn go_home(&mut self) -> Result<bool, Refusal> {
        let Some(home) = &self.away else { return Ok(false) };
        let led_elsewhere = self.proxy.upstream() != home.upstream || home.tls.differs(&self.proxy.tls());
        let moved = self.proxy.listen_addr() != home.bound;
        let switched = self.proxy.is_enabled() != home.enabled;
        if led_elsewhere {
            self.proxy.set_upstream(home.upstream.clone());
            self.proxy.set_tls(home.tls.clone());
            // What still leads where the lease led it would be a trace of it.
            self.proxy.drop_connections().await;
        }
        self.spec.listen_tls.clone_from(&home.listen_tls);
        self.spec.upstream_tls.clone_from(&home.upstream_tls);
        if moved {
            bounded(self.proxy.rebind(&home.bound.to_string())).await?;
        }
        self.spec.listen.clone_from(&home.listen);
        if switched {
            bounded(self.proxy.set_enabled(home.enabled)).await?;
        }
        self.away = None;
        Ok(led_elsewhere || moved || switched)
    }
}

impl Inner {
    /// Brings back the proxies that are chosen among those that a lease's holder changed.
    pub(super) async fn bring_home(&mut self, caller: &Caller, chosen: impl Fn(&Home) -> bool) -> Healing {
        let mut healing = Healing::default();
        let mut told = Vec::new();
        for (name, entry) in &mut self.proxies {
            let Some(lease) = entry.away.as_ref().filter(|home| chosen(home)).map(|home| home.lease.clone()) else {
                continue;
            };
            match entry.go_home().await {
                Ok(false) => {}
                Ok(true) => {
                    let state = if entry.proxy.is_enabled() { "enabled" } else { "disabled" };
                    let now = format!("{} -> {}, {state}", entry.proxy.listen_addr(), entry.proxy.upstream());
                    told.push((name.clone(), lease, format!("as it was: {now}")));
                    healing.restored.push(name.clone());
                }
                Err(refusal) => {
                    let now = Instant::now();
                    if let Some(home) = &mut entry.away {
                        home.due = Some(home.due.unwrap_or(End::At(now)).retried(now));
                    }
                    let cause = refusal.to_string();
                    tracing::error!(proxy = %name, cause, "failed to bring a proxy back to what it was; trying again");
                    healing.stuck.push(format!("{name} (what it was before the lease)"));
                    healing.cause = cause;
                }
            }
        }
        for (name, lease, detail) in &told {
            let about = About { proxy: Some(name), lease: Some(lease), detail: Some(detail), ..About::default() };
            self.audit(Change::ProxyRestored, caller, &about);
        }
        healing
    }

    /// Refuses a lease on a proxy that something is done to already: who holds it could not tell what it is that they see,
    /// and would not take it away.
    pub(super) fn is_clean(&self, name: &ProxyName) -> Result<(), Refusal> {
        let entry = self.entry(name)?;
        if let Some(home) = &entry.away {
            return Err(Refusal::NotBack { proxy: name.clone(), lease: home.lease.clone() });
        }
        let faults: Vec<_> = entry.faults.iter().map(|terms| format!("`{}`", terms.fault.name())).collect();
        match faults.is_empty() {
            true => Ok(()),
            false => Err(Refusal::Hurt { proxy: name.clone(), faults: faults.join(", ") }),
        }
    }
}
