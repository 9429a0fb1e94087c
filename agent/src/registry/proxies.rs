//! Creating, replacing, changing and deleting proxies.
//!
//! Neighbours: `api::proxies` calls it; `crate::proxy` does it. Names are resolved before the lock is taken.
//! Invariant: a proxy that another's lease holds is not touched, and a change that fails half-way is taken back.

use super::{
    About, Caller, Inner, MAX_PROXIES, Refusal, Registry, audit,
    entry::{Entry, bounded},
};
use crate::{
    Proxy,
    address::{Purpose, mistake, satisfies},
    config::spec_mistakes,
};
use squall_wire::{ProxyInfo, ProxyName, ProxyPatch, ProxySpec};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::time::Instant;

/// Looking up the name that a proxy listens on may take so long.
const RESOLVE_LIMIT: Duration = Duration::from_secs(5);

impl Registry {
    /// Starts the proxies of the beginning, each with the address that it had before, if any; answers what failed.
    pub(crate) async fn start_all(&self, specs: Vec<(ProxySpec, Option<SocketAddr>)>) -> Vec<String> {
        let mut failures = Vec::new();
        for (spec, before) in specs {
            if let Err(refusal) = self.start_one(&spec, before).await {
                failures.push(format!("proxy `{}` on {}: {refusal}", spec.name, spec.listen));
            }
        }
        failures
    }

    async fn start_one(&self, spec: &ProxySpec, before: Option<SocketAddr>) -> Result<(), Refusal> {
        check(spec)?;
        let asked = resolved(&spec.listen).await?;
        let same_port = before.filter(|before| asked.port() == 0 && asked.ip() == before.ip());
        let mut inner = self.open().await?;
        inner.start(spec, same_port.unwrap_or(asked), self, &Caller::agent()).await
    }

    /// Makes a new proxy.
    pub(crate) async fn create_proxy(&self, spec: ProxySpec, caller: &Caller) -> Result<ProxyInfo, Refusal> {
        check(&spec)?;
        let bind = resolved(&spec.listen).await?;
        let info = {
            let mut inner = self.open().await?;
            if inner.proxies.contains_key(&spec.name) {
                return Err(Refusal::Taken {
                    what: format!("there is a proxy `{}` already", spec.name),
                    hint: "PUT /v1/proxies/{proxy} replaces it",
                });
            }
            inner.start(&spec, bind, self, caller).await?;
            inner.proxy_info(&spec.name, Instant::now())?
        };
        self.save().await?;
        Ok(info)
    }

    /// Makes a proxy, or makes one be as specified; answers whether it is new. What is so already is not disturbed.
    pub(crate) async fn put_proxy(&self, spec: ProxySpec, caller: &Caller) -> Result<(ProxyInfo, bool), Refusal> {
        check(&spec)?;
        let bind = resolved(&spec.listen).await?;
        let (info, new, changed) = {
            let mut inner = self.open().await?;
            let new = !inner.proxies.contains_key(&spec.name);
            let changed = if new {
                inner.start(&spec, bind, self, caller).await?;
                true
            } else {
                inner.entry(&spec.name)?.keeps_its_shape(&spec)?;
                let wish = Wish {
                    listen: Some((&spec.listen, bind)),
                    upstream: Some(&spec.upstream),
                    enabled: Some(spec.enabled),
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
        let listen = match patch.listen.as_deref() {
            Some(text) => Some((text, resolved(text).await?)),
            None => None,
        };
        let (info, changed) = {
            let mut inner = self.open().await?;
            let wish = Wish { listen, upstream: patch.upstream.as_deref(), enabled: patch.enabled, drop_connections };
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
            inner.leases.allow(name, caller.lease.as_ref(), Instant::now())?;
            let Some(entry) = inner.proxies.remove(name) else { return Err(inner.unknown(name)) };
            audit("proxy deleted", caller, &inner.leases, &About { proxy: Some(name), ..About::default() });
            inner.leases.forget_proxy(name);
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

/// What somebody wants of a proxy; what is absent stays.
pub(super) struct Wish<'a> {
    /// As written, and resolved.
    pub(super) listen: Option<(&'a str, SocketAddr)>,
    pub(super) upstream: Option<&'a str>,
    pub(super) enabled: Option<bool>,
    /// Whether a new address or a new target ends the connections that are open.
    pub(super) drop_connections: bool,
}

impl Inner {
    /// Starts a proxy whose name is free.
    pub(super) async fn start(
        &mut self,
        spec: &ProxySpec,
        bind: SocketAddr,
        registry: &Registry,
        caller: &Caller,
    ) -> Result<(), Refusal> {
        if self.proxies.len() >= MAX_PROXIES {
            return Err(Refusal::forbidden(format!(
                "this agent keeps at most {MAX_PROXIES} proxies: delete some first"
            )));
        }
        let bound = ProxySpec { listen: bind.to_string(), ..spec.clone() };
        let proxy = Arc::new(bounded(Proxy::start(&bound, &registry.plane)).await?);
        let detail = format!("{} -> {}", proxy.listen_addr(), spec.upstream);
        self.proxies.insert(spec.name.clone(), Entry::new(proxy, spec));
        let about = About { proxy: Some(&spec.name), detail: Some(&detail), ..About::default() };
        audit("proxy created", caller, &self.leases, &about);
        Ok(())
    }

    /// Makes a proxy as wished; answers whether anything had to be done.
    pub(super) async fn change(&mut self, name: &ProxyName, wish: Wish<'_>, caller: &Caller) -> Result<bool, Refusal> {
        let entry = self.entry(name)?;
        let bound = entry.proxy.listen_addr();
        let listen = wish.listen.filter(|(text, bind)| !entry.listens_on(text, *bind));
        let upstream = wish.upstream.filter(|upstream| *upstream != entry.proxy.upstream());
        let enabled = wish.enabled.filter(|on| *on != entry.proxy.is_enabled());
        if listen.is_none() && upstream.is_none() && enabled.is_none() {
            return Ok(false);
        }
        self.leases.allow(name, caller.lease.as_ref(), Instant::now())?;
        let entry = self.entry_mut(name)?;
        if let Some((_, bind)) = listen {
            bounded(entry.proxy.rebind(&bind.to_string())).await?;
        }
        if let Some(on) = enabled
            && let Err(refusal) = bounded(entry.proxy.set_enabled(on)).await
        {
            if listen.is_some() {
                take_back(name, &entry.proxy, bound).await;
            }
            return Err(refusal);
        }
        if let Some(upstream) = upstream {
            entry.proxy.set_upstream(upstream.to_owned());
        }
        if let Some((text, _)) = listen {
            text.clone_into(&mut entry.spec.listen);
        }
        if wish.drop_connections && (listen.is_some() || upstream.is_some()) {
            entry.proxy.drop_connections().await;
        }
        let state = if entry.proxy.is_enabled() { "enabled" } else { "disabled" };
        let detail = format!("{} -> {}, {state}", entry.proxy.listen_addr(), entry.proxy.upstream());
        let about = About { proxy: Some(name), detail: Some(&detail), ..About::default() };
        audit("proxy changed", caller, &self.leases, &about);
        Ok(true)
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
            () if now.listen_tls != wanted.listen_tls => "listen_tls",
            () if now.upstream_tls != wanted.upstream_tls => "upstream_tls",
            () if now.host != wanted.host => "host",
            () => return Ok(()),
        };
        let message =
            format!("the `{field}` of proxy `{}` stays as it is: delete the proxy, and make it anew", now.name);
        Err(Refusal::invalid(field, message))
    }

    /// Whether it listens already on what is asked for, as written and as resolved.
    pub(super) fn listens_on(&self, text: &str, bind: SocketAddr) -> bool {
        let bound = self.proxy.listen_addr();
        satisfies(&self.spec.listen, bound, text) || satisfies(&self.spec.listen, bound, &bind.to_string())
    }
}

/// The second half of a change failed: back to the old address.
async fn take_back(name: &ProxyName, proxy: &Proxy, bound: SocketAddr) {
    if let Err(refusal) = bounded(proxy.rebind(&bound.to_string())).await {
        tracing::error!(proxy = %name, %refusal, "failed to go back to {bound}");
    }
}

pub(super) fn check(spec: &ProxySpec) -> Result<(), Refusal> {
    let mistakes = spec_mistakes(spec);
    let Some((field, _)) = mistakes.first() else { return Ok(()) };
    let messages: Vec<_> = mistakes.iter().map(|(_, message)| message.as_str()).collect();
    Err(Refusal::invalid(field, messages.join("; ")))
}

/// The address to bind: what `localhost` means is decided here, an IPv4 address before an IPv6 one.
pub(crate) async fn resolved(listen: &str) -> Result<SocketAddr, Refusal> {
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
