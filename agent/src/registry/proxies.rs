//! Creating, replacing, changing and deleting proxies.
//!
//! Neighbours: `api::proxies` calls it; `crate::proxy` does it. Names are resolved, and
//! files of TLS read, before the lock is taken.
//! Invariant: a proxy that another's lease holds is not touched, and a change that fails half-way is taken back.

use super::{
    About, Caller, Change, Inner, MAX_PROXIES, Refusal, Registry,
    entry::{Entry, bounded},
};
use crate::{
    Proxy, ProxyError,
    address::{OWN_UPSTREAM, Purpose, host_of, leads_to, mistake, satisfies},
    config::spec_mistakes,
    tls::Tls,
};
use squall_wire::{ProxyInfo, ProxyName, ProxyPatch, ProxySpec};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::time::Instant;

/// Reading the files of a proxy's TLS may take so long.
const READ_LIMIT: Duration = Duration::from_secs(5);

/// Looking up the name that a proxy listens on may take so long.
const RESOLVE_LIMIT: Duration = Duration::from_secs(5);

impl Registry {
    /// Starts the proxies of the beginning; answers what failed.
    pub(crate) async fn start_all(&self, first: Vec<First>) -> Vec<String> {
        let mut failures = Vec::new();
        for first in first {
            if let Err(refusal) = self.start_one(&first).await {
                let spec = &first.spec;
                failures.push(format!("proxy `{}` on {}: {refusal}", spec.name, spec.listen));
            }
        }
        failures
    }

    async fn start_one(&self, First { spec, had, kept }: &First) -> Result<(), Refusal> {
        check(spec)?;
        // One of the state file, from before the policy was so: it comes back, and each of its connections is refused.
        if let Some(Err(forbidden)) = self.limits.policy.upstreams.check_written(host_of(&spec.upstream)) {
            tracing::warn!(proxy = %spec.name, %forbidden, "a proxy starts whose upstream the policy refuses");
        }
        let asked = resolved(&spec.listen).await?;
        let mut spec = spec.clone();
        if let Err(forbidden) = self.limits.policy.listen.check(asked) {
            if !kept {
                return Err(forbidden);
            }
            tracing::warn!(proxy = %spec.name, %forbidden, "a proxy starts shut where the policy lets none listen");
            spec.enabled = false;
        }
        let spec = &spec;
        let tls = tls_of(spec).await?;
        let same_port = had.filter(|had| asked.port() == 0 && asked.ip() == had.ip());
        let mut inner = self.open().await?;
        if let Some(bind) = same_port.filter(|bind| !leads_to(*bind, &spec.upstream)) {
            match inner.start(spec, Made { bind, tls: tls.clone() }, self, &Caller::agent()).await {
                // Any port was asked for, so this is no reason not to start.
                Err(Refusal::Proxy(ProxyError::Bind { source, .. })) => {
                    tracing::warn!(proxy = %spec.name, had = %bind, %source, "a proxy gets another port than it had");
                }
                outcome => return outcome,
            }
        }
        inner.start(spec, Made { bind: asked, tls }, self, &Caller::agent()).await
    }

    /// May a proxy lead there? The address is checked again for each connection: a name can be re-pointed.
    pub(super) async fn allow_upstream(&self, upstream: &str) -> Result<(), Refusal> {
        let rules = &self.limits.policy.upstreams;
        let host = host_of(upstream);
        if rules.allow_all() {
            return Ok(());
        }
        if let Some(judged) = rules.check_written(host) {
            return Ok(judged?);
        }
        // Without an address there is nothing to judge yet, and no connection either.
        let Ok(Ok(found)) = tokio::time::timeout(RESOLVE_LIMIT, tokio::net::lookup_host(upstream)).await else {
            return Ok(());
        };
        let judged: Vec<_> = found.map(|address| rules.check(host, address.ip())).collect();
        match judged.iter().find_map(|judged| judged.clone().err()) {
            Some(forbidden) if !judged.iter().any(Result::is_ok) => Err(forbidden.into()),
            _ => Ok(()),
        }
    }

    /// Checks a specification, resolves its name and reads its files. To be done before the lock is taken.
    pub(super) async fn made(&self, spec: &ProxySpec) -> Result<Made, Refusal> {
        check(spec)?;
        self.allow_upstream(&spec.upstream).await?;
        let bind = resolved(&spec.listen).await?;
        let (policy, asked) = (Arc::clone(&self.limits.policy), spec.clone());
        off_the_loop(move || policy.allow_making(&asked, bind)).await?;
        Ok(Made { bind, tls: tls_of(spec).await? })
    }

    /// Makes a new proxy.
    pub(crate) async fn create_proxy(&self, spec: ProxySpec, caller: &Caller) -> Result<ProxyInfo, Refusal> {
        let made = self.made(&spec).await?;
        let info = {
            let mut inner = self.open().await?;
            if inner.proxies.contains_key(&spec.name) {
                return Err(Refusal::Taken {
                    what: format!("there is a proxy `{}` already", spec.name),
                    hint: "PUT /v1/proxies/{proxy} replaces it",
                });
            }
            inner.start(&spec, made, self, caller).await?;
            inner.proxy_info(&spec.name, Instant::now())?
        };
        self.save().await?;
        Ok(info)
    }

    /// Makes a proxy, or makes one be as specified; answers whether it is new. What is so already is not disturbed.
    pub(crate) async fn put_proxy(&self, spec: ProxySpec, caller: &Caller) -> Result<(ProxyInfo, bool), Refusal> {
        let made = self.made(&spec).await?;
        let (info, new, changed) = {
            let mut inner = self.open().await?;
            let new = !inner.proxies.contains_key(&spec.name);
            let changed = if new {
                inner.start(&spec, made, self, caller).await?;
                true
            } else {
                inner.entry(&spec.name)?.keeps_its_shape(&spec)?;
                let wish = Wish {
                    listen: Some((&spec.listen, made.bind)),
                    upstream: Some(&spec.upstream),
                    enabled: Some(spec.enabled),
                    tls: Some((&spec, made.tls)),
                    drop_connections: false,
                };
                inner.change(&spec.name, wish, caller).await?
            };
            (inner.proxy_info(&spec.name, Instant::now())?, new, changed)
        };
        if changed {
            self.save().await?;
        }
        Ok((info, new))
    }

    /// Changes what the patch names; open connections go on.
    pub(crate) async fn patch_proxy(
        &self,
        name: &ProxyName,
        patch: ProxyPatch,
        caller: &Caller,
    ) -> Result<ProxyInfo, Refusal> {
        self.patch_and(name, patch, false, caller).await
    }

    /// Changes what the patch names; a new address or target drops open connections, if so told.
    pub(super) async fn patch_and(
        &self,
        name: &ProxyName,
        patch: ProxyPatch,
        drop_connections: bool,
        caller: &Caller,
    ) -> Result<ProxyInfo, Refusal> {
        for (field, text, purpose) in
            [("listen", &patch.listen, Purpose::Listen), ("upstream", &patch.upstream, Purpose::Upstream)]
        {
            if let Some(message) = text.as_deref().and_then(|text| mistake(text, purpose)) {
                return Err(Refusal::invalid(field, message));
            }
        }
        if let Some(upstream) = &patch.upstream {
            self.allow_upstream(upstream).await?;
        }
        let listen = match patch.listen.as_deref() {
            Some(text) => {
                let bind = resolved(text).await?;
                self.limits.policy.listen.check(bind)?;
                Some((text, bind))
            }
            None => None,
        };
        let (info, changed) = {
            let mut inner = self.open().await?;
            let upstream = patch.upstream.as_deref();
            let wish = Wish { listen, upstream, enabled: patch.enabled, tls: None, drop_connections };
            let changed = inner.change(name, wish, caller).await?;
            (inner.proxy_info(name, Instant::now())?, changed)
        };
        if changed {
            self.save().await?;
        }
        Ok(info)
    }

    /// Ends a proxy, its connections and its faults.
    pub(crate) async fn delete_proxy(&self, name: &ProxyName, caller: &Caller) -> Result<(), Refusal> {
        let entry = {
            let mut inner = self.open().await?;
            inner.entry(name)?;
            inner.stays_where_it_is(name)?;
            inner.policy.allow_touching(name)?;
            inner.policy.allow_deleting()?;
            inner.not_halted()?;
            inner.leases.allow(name, caller.lease.as_ref(), caller, Instant::now())?;
            if caller.lease.is_some() {
                return Err(Refusal::Taken {
                    what: format!("proxy `{name}` is leased, and a deleted one would not come back when that ends"),
                    hint: "end the lease and delete it then, or shut it for now with PATCH {\"enabled\": false}",
                });
            }
            let Some(entry) = inner.proxies.remove(name) else { return Err(inner.unknown(name)) };
            inner.audit(Change::ProxyDeleted, caller, &About { proxy: Some(name), ..About::default() });
            for terms in &entry.faults {
                let (fault, lease) = (Some(terms.fault.name().as_str()), terms.lease.as_ref());
                let about = About { proxy: Some(name), fault, lease, ..About::default() };
                inner.audit(Change::FaultRemovedWithProxy, caller, &about);
            }
            entry
        };
        let stopping = async {
            entry.proxy.stop().await;
            Ok(())
        };
        bounded(stopping).await?;
        self.save().await
    }
}

/// A proxy of the beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct First {
    pub(crate) spec: ProxySpec,
    /// The address that it had in the last run.
    pub(crate) had: Option<SocketAddr>,
    /// It comes from the state file alone, and perhaps from before the policy was so.
    pub(crate) kept: bool,
}

/// What somebody wants of a proxy; what is absent stays.
pub(super) struct Wish<'a> {
    /// As written, and resolved.
    pub(super) listen: Option<(&'a str, SocketAddr)>,
    pub(super) upstream: Option<&'a str>,
    pub(super) enabled: Option<bool>,
    /// As specified, and with its files read.
    pub(super) tls: Option<(&'a ProxySpec, Tls)>,
    /// Whether a new address or a new target ends the connections that are open.
    pub(super) drop_connections: bool,
}

impl Inner {
    /// Starts a proxy whose name is free.
    pub(super) async fn start(
        &mut self,
        spec: &ProxySpec,
        made: Made,
        registry: &Registry,
        caller: &Caller,
    ) -> Result<(), Refusal> {
        if !caller.is_agent() {
            self.policy.allow_touching(&spec.name)?;
        }
        if self.proxies.len() >= MAX_PROXIES {
            return Err(Refusal::forbidden(format!(
                "this agent keeps at most {MAX_PROXIES} proxies: delete some first"
            )));
        }
        not_itself(made.bind, &spec.upstream)?;
        let bound = ProxySpec { listen: made.bind.to_string(), ..spec.clone() };
        let proxy = Arc::new(bounded(Proxy::start_with(&bound, made.tls, &registry.plane)).await?);
        // Of all free ports the kernel may have chosen the upstream's; the proxy is gone again when it is dropped.
        not_itself(proxy.listen_addr(), &spec.upstream)?;
        let detail = format!("{} -> {}", proxy.listen_addr(), spec.upstream);
        self.proxies.insert(spec.name.clone(), Entry::new(proxy, spec));
        let about = About { proxy: Some(&spec.name), detail: Some(&detail), ..About::default() };
        self.audit(Change::ProxyCreated, caller, &about);
        Ok(())
    }

    /// Makes a proxy as wished; answers whether anything had to be done.
    pub(super) async fn change(&mut self, name: &ProxyName, wish: Wish<'_>, caller: &Caller) -> Result<bool, Refusal> {
        let entry = self.entry(name)?;
        let bound = entry.proxy.listen_addr();
        let listen = wish.listen.filter(|(text, bind)| !entry.listens_on(text, *bind));
        let upstream = wish.upstream.filter(|upstream| *upstream != entry.proxy.upstream());
        let enabled = wish.enabled.filter(|on| *on != entry.proxy.is_enabled());
        let tls = wish.tls.filter(|(spec, tls)| !entry.encrypts_as(spec) || tls.differs(&entry.proxy.tls()));
        if listen.is_none() && upstream.is_none() && enabled.is_none() && tls.is_none() {
            return Ok(false);
        }
        if listen.is_some() {
            self.stays_where_it_is(name)?;
        }
        let leads_to = upstream.map_or_else(|| entry.proxy.upstream(), str::to_owned);
        not_itself(listen.map_or(bound, |(_, bind)| bind), &leads_to)?;
        // To shut a proxy, to move it or to lead it elsewhere is to hurt whoever uses it.
        let hurts = enabled == Some(false) || listen.is_some() || upstream.is_some();
        self.allow_change(name, hurts, caller)?;
        if enabled == Some(true) && listen.is_none() {
            self.policy.listen.check(bound)?;
        }
        self.leases.allow(name, caller.lease.as_ref(), caller, Instant::now())?;
        let entry = self.entry_mut(name)?;
        if let Some(lease) = &caller.lease {
            entry.leave_home(lease);
        }
        let moved = async {
            if let Some((_, bind)) = listen {
                not_itself(bounded(entry.proxy.rebind(&bind.to_string())).await?, &leads_to)?;
            }
            match enabled {
                Some(on) => bounded(entry.proxy.set_enabled(on)).await,
                None => Ok(()),
            }
        };
        if let Err(refusal) = moved.await {
            if listen.is_some() {
                take_back(name, &entry.proxy, bound).await;
            }
            return Err(refusal);
        }
        if let Some(upstream) = upstream {
            entry.proxy.set_upstream(upstream.to_owned());
        }
        if let Some((spec, tls)) = tls {
            entry.proxy.set_tls(tls);
            entry.spec.listen_tls.clone_from(&spec.listen_tls);
            entry.spec.upstream_tls.clone_from(&spec.upstream_tls);
        }
        if let Some((text, _)) = listen {
            text.clone_into(&mut entry.spec.listen);
        }
        if wish.drop_connections && (listen.is_some() || upstream.is_some()) {
            entry.proxy.drop_connections().await;
        }
        if caller.lease.is_none() {
            // Whoever changes it for good knows better than a lease that has ended.
            entry.away = None;
        }
        let state = if entry.proxy.is_enabled() { "enabled" } else { "disabled" };
        let detail = format!("{} -> {}, {state}", entry.proxy.listen_addr(), entry.proxy.upstream());
        let about = About { proxy: Some(name), detail: Some(&detail), ..About::default() };
        self.audit(Change::ProxyChanged, caller, &about);
        Ok(true)
    }

    /// Refuses to move or to delete a proxy that connections are redirected to: they would be refused everywhere, or taken in by
    /// whoever gets the port next.
    fn stays_where_it_is(&self, name: &ProxyName) -> Result<(), Refusal> {
        if !self.plane.intercepted.as_ref().is_some_and(|originals| originals.lead_to(name)) {
            return Ok(());
        }
        Err(Refusal::InUse {
            what: format!("proxy `{name}` takes in what is intercepted, so it stays and keeps its address"),
            hint: "PUT /v1/halt lets connections pass it by, and the agent's end stops intercepting",
        })
    }

    /// May this proxy be changed by this caller, whoever holds it, so that it hurts or not?
    fn allow_change(&self, name: &ProxyName, hurts: bool, caller: &Caller) -> Result<(), Refusal> {
        if !caller.is_agent() {
            self.policy.allow_touching(name)?;
            if hurts {
                self.policy.allow_change(caller.lease.as_ref())?;
            }
        }
        if hurts { self.not_halted() } else { Ok(()) }
    }

    pub(super) fn entry(&self, name: &ProxyName) -> Result<&Entry, Refusal> {
        self.proxies.get(name).ok_or_else(|| self.unknown(name))
    }

    pub(super) fn entry_mut(&mut self, name: &ProxyName) -> Result<&mut Entry, Refusal> {
        if !self.proxies.contains_key(name) {
            return Err(self.unknown(name));
        }
        self.proxies.get_mut(name).ok_or(Refusal::Closed)
    }

    pub(super) fn unknown(&self, name: &ProxyName) -> Refusal {
        Refusal::no_proxy(name, self.proxies.keys())
    }
}

impl Entry {
    /// What a proxy speaks stays as long as it lives: its connections and faults are made for it.
    fn keeps_its_shape(&self, wanted: &ProxySpec) -> Result<(), Refusal> {
        let now = &self.spec;
        let field = match () {
            () if now.protocol != wanted.protocol => "protocol",
            () if now.host != wanted.host => "host",
            () => return Ok(()),
        };
        let message =
            format!("the `{field}` of proxy `{}` stays as it is: delete the proxy, and make it anew", now.name);
        Err(Refusal::invalid(field, message))
    }

    /// Whether its TLS is specified so already; its files may say something else by now.
    fn encrypts_as(&self, wanted: &ProxySpec) -> bool {
        self.spec.listen_tls == wanted.listen_tls && self.spec.upstream_tls == wanted.upstream_tls
    }

    /// Whether it listens already on what is asked for, as written and as resolved.
    pub(super) fn listens_on(&self, text: &str, bind: SocketAddr) -> bool {
        let bound = self.proxy.listen_addr();
        satisfies(&self.spec.listen, bound, text) || satisfies(&self.spec.listen, bound, &bind.to_string())
    }
}

/// A proxy that listens there must not lead to itself.
fn not_itself(listen: SocketAddr, upstream: &str) -> Result<(), Refusal> {
    if leads_to(listen, upstream) { Err(Refusal::invalid("upstream", OWN_UPSTREAM)) } else { Ok(()) }
}

/// A change failed after the proxy had moved: back to the old address.
async fn take_back(name: &ProxyName, proxy: &Proxy, bound: SocketAddr) {
    if let Err(refusal) = bounded(proxy.rebind(&bound.to_string())).await {
        tracing::error!(proxy = %name, %refusal, "failed to go back to {bound}");
    }
}

/// What a specification comes to on this machine.
pub(super) struct Made {
    pub(super) bind: SocketAddr,
    pub(super) tls: Tls,
}

/// Looks at the disk without holding up others, and not for ever.
async fn off_the_loop(look: impl FnOnce() -> Result<(), Refusal> + Send + 'static) -> Result<(), Refusal> {
    let looked = tokio::time::timeout(READ_LIMIT, tokio::task::spawn_blocking(look)).await;
    let silent = || Refusal::invalid("listen_tls", "the disk with the files of its TLS does not answer");
    looked.map_err(|_| silent())?.map_err(|_| Refusal::Closed)?
}

async fn tls_of(spec: &ProxySpec) -> Result<Tls, Refusal> {
    let read = tokio::time::timeout(READ_LIMIT, Tls::of(spec)).await;
    let read =
        read.map_err(|_| Refusal::invalid("listen_tls", "the disk with the files of its TLS does not answer"))?;
    Ok(read.map_err(ProxyError::from)?)
}

fn check(spec: &ProxySpec) -> Result<(), Refusal> {
    let mistakes = spec_mistakes(spec);
    let Some((field, _)) = mistakes.first() else { return Ok(()) };
    let messages: Vec<_> = mistakes.iter().map(|(_, message)| message.as_str()).collect();
    Err(Refusal::invalid(field, messages.join("; ")))
}

/// The address to bind: what `localhost` means is decided here, an IPv4 address before an IPv6 one.
async fn resolved(listen: &str) -> Result<SocketAddr, Refusal> {
    if let Ok(address) = listen.parse() {
        return Ok(address);
    }
    let failed = |why: &str| Refusal::invalid("listen", format!("failed to resolve `{listen}`: {why}"));
    let found = tokio::time::timeout(RESOLVE_LIMIT, tokio::net::lookup_host(listen)).await;
    let found: Vec<_> = match found {
        Ok(Ok(found)) => found.collect(),
        Ok(Err(error)) => return Err(failed(&error.to_string())),
        Err(_) => return Err(failed("the name server does not answer")),
    };
    let first = found.iter().find(|address| address.is_ipv4()).or(found.first());
    first.copied().ok_or_else(|| failed("the name has no address"))
}
