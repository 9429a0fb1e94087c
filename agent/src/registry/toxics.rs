//! What Toxiproxy's clients ask for: toxics, `populate`, `reset`, and changes that drop connections.
//!
//! A toxic is a fault that also remembers how it was written; one that does nothing (`noop`) is only remembered.
//! Neighbours: `api::toxiproxy` calls it, `crate::toxiproxy` has the values, `faults.rs` and `entry.rs` set and heal.
//! Invariant: a toxic whose fault is gone, for whatever reason, is gone too; and none is set on a leased proxy.

use super::{
    About, Caller, Change, Inner, MAX_FAULTS, Refusal, Registry,
    entry::{Entry, Healing, HeldToxic, bounded},
    proxies::Wish,
};
use crate::toxiproxy::{Planned, ProxyView, Toxic, ToxicPatch, ToxicView};
use squall_wire::{FaultName, ProxyName, ProxyPatch};
use std::time::Duration;
use tokio::time::Instant;

impl Registry {
    /// All proxies as Toxiproxy shows them, by name.
    pub(crate) async fn proxy_views(&self) -> Vec<ProxyView> {
        let inner = self.inner.lock().await;
        inner.proxies.iter().map(|(name, entry)| entry.view(name)).collect()
    }

    /// One proxy as Toxiproxy shows it.
    pub(crate) async fn proxy_view(&self, name: &ProxyName) -> Result<ProxyView, Refusal> {
        Ok(self.inner.lock().await.entry(name)?.view(name))
    }

    /// Changes a proxy; a new address or target drops its connections.
    pub(crate) async fn change_proxy(
        &self,
        name: &ProxyName,
        patch: ProxyPatch,
        caller: &Caller,
    ) -> Result<ProxyView, Refusal> {
        self.patch_and(name, patch, true, caller).await?;
        self.proxy_view(name).await
    }

    /// Sets a toxic.
    pub(crate) async fn add_toxic(
        &self,
        proxy: &ProxyName,
        toxic: Toxic,
        caller: &Caller,
    ) -> Result<ToxicView, Refusal> {
        let life = self.life(None, Duration::ZERO)?;
        let view = toxic.view();
        let mut inner = self.open().await?;
        inner.add_toxic(proxy, toxic, life, caller).await?;
        self.sooner.notify_one();
        Ok(view)
    }

    /// Changes the attributes or the toxicity of a toxic. Its time goes on.
    pub(crate) async fn change_toxic(
        &self,
        proxy: &ProxyName,
        name: &str,
        patch: &ToxicPatch,
        caller: &Caller,
    ) -> Result<ToxicView, Refusal> {
        let life = self.life(None, Duration::ZERO)?;
        let mut inner = self.open().await?;
        let at = inner.entry(proxy)?.toxic_at(name)?;
        inner.leases.allow(proxy, None, caller, Instant::now())?;
        let before = &inner.entry(proxy)?.toxics[at];
        let (toxic, fault) = (before.toxic.patched(patch)?, before.fault.clone());
        inner.not_halted()?;
        if let Some(spec) = toxic.fault() {
            inner.policy.allow_fault(proxy, &spec.fault, spec.percent, None)?;
        }
        match (fault, toxic.fault()) {
            (Some(fault), Some(spec)) => {
                let change = inner.entry(proxy)?.proxy.change_fault(&fault, Some(spec.fault), Some(spec.percent));
                bounded(change).await?;
            }
            (Some(fault), None) => {
                // It stays as a toxic that does nothing, which the healing of its fault must not take away.
                inner.entry_mut(proxy)?.toxics[at].fault = None;
                let healing = inner.entry_mut(proxy)?.heal(proxy, std::slice::from_ref(&fault)).await;
                if !healing.stuck.is_empty() {
                    inner.entry_mut(proxy)?.toxics[at].fault = Some(fault);
                }
                inner.healed(healing, Change::FaultRemoved, caller)?;
            }
            (None, Some(mut spec)) => {
                spec.name = inner.entry(proxy)?.free_fault_name(&toxic.name);
                let fault = inner.place_fault(proxy, &spec, life, caller).await?;
                inner.entry_mut(proxy)?.toxics[at].fault = Some(fault);
            }
            (None, None) => {}
        }
        let view = toxic.view();
        let held = &inner.entry(proxy)?.toxics[at];
        inner.told_of_toxic(Change::ToxicChanged, (proxy, held.fault.as_ref()), &toxic, caller);
        inner.entry_mut(proxy)?.toxics[at].toxic = toxic;
        self.sooner.notify_one();
        Ok(view)
    }

    /// Removes a toxic.
    pub(crate) async fn remove_toxic(&self, proxy: &ProxyName, name: &str, caller: &Caller) -> Result<(), Refusal> {
        let mut inner = self.open().await?;
        inner.entry(proxy)?.toxic_at(name)?;
        inner.leases.allow(proxy, None, caller, Instant::now())?;
        let healing = inner.remove_toxics(proxy, |toxic| toxic.name == name).await?;
        let outcome = inner.healed(healing, Change::FaultRemoved, caller);
        self.sooner.notify_one();
        outcome.map(drop)
    }

    /// Enables every proxy and removes every toxic. What cannot be reset, such as a proxy that somebody holds, does
    /// not keep the others from it, and is told at the end.
    pub(crate) async fn reset(&self, caller: &Caller) -> Result<(), Refusal> {
        let (first, enabled) = {
            let mut inner = self.open().await?;
            let names: Vec<_> = inner.proxies.keys().cloned().collect();
            let (mut first, mut enabled) = (None, false);
            for name in &names {
                match inner.reset(name, caller).await {
                    Ok(changed) => enabled |= changed,
                    Err(refusal) => first = first.or(Some(refusal)),
                }
            }
            (first, enabled)
        };
        self.sooner.notify_one();
        if enabled {
            self.save().await?;
        }
        first.map_or(Ok(()), Err)
    }

    /// Makes the proxies of a list, one after the other, up to the first that fails.
    pub(crate) async fn populate(&self, list: Vec<Planned>, caller: &Caller) -> (Vec<ProxyView>, Option<Refusal>) {
        let mut done = Vec::new();
        for planned in list {
            match self.populate_one(planned, caller).await {
                Ok(view) => done.push(view),
                Err(refusal) => return (done, Some(refusal)),
            }
        }
        (done, None)
    }

    async fn populate_one(&self, planned: Planned, caller: &Caller) -> Result<ProxyView, Refusal> {
        let Planned { spec, toxics } = planned;
        let made = self.made(&spec).await?;
        let bind = made.bind;
        let life = self.life(None, Duration::ZERO)?;
        let (view, changed) = {
            let mut inner = self.open().await?;
            let name = &spec.name;
            inner.allow_toxics(name, &toxics)?;
            let changed = match inner.proxies.get(name) {
                None => {
                    inner.start(&spec, made, self, caller).await?;
                    true
                }
                Some(entry) if entry.listens_on(&spec.listen, bind) && entry.proxy.upstream() == spec.upstream => false,
                Some(_) => {
                    inner.leases.allow(name, None, caller, Instant::now())?;
                    let wish = Wish {
                        listen: Some((&spec.listen, bind)),
                        upstream: Some(&spec.upstream),
                        enabled: Some(spec.enabled),
                        tls: None,
                        drop_connections: true,
                    };
                    inner.change(name, wish, caller).await?;
                    let healing = inner.remove_toxics(name, |_| true).await?;
                    inner.healed(healing, Change::FaultRemoved, caller)?;
                    true
                }
            };
            for toxic in toxics {
                inner.put_toxic(name, toxic, life, caller).await?;
            }
            (inner.entry(name)?.view(name), changed)
        };
        self.sooner.notify_one();
        if changed {
            self.save().await?;
        }
        Ok(view)
    }
}

impl Inner {
    /// What is not allowed is refused before anything is changed for it.
    fn allow_toxics(&self, proxy: &ProxyName, toxics: &[Toxic]) -> Result<(), Refusal> {
        for spec in toxics.iter().filter_map(Toxic::fault) {
            self.not_halted()?;
            self.policy.allow_fault(proxy, &spec.fault, spec.percent, None)?;
        }
        Ok(())
    }

    async fn add_toxic(
        &mut self,
        proxy: &ProxyName,
        toxic: Toxic,
        life: Duration,
        caller: &Caller,
    ) -> Result<(), Refusal> {
        let entry = self.entry(proxy)?;
        if entry.toxic_at(&toxic.name).is_ok() {
            return Err(Refusal::ToxicExists);
        }
        self.leases.allow(proxy, None, caller, Instant::now())?;
        if entry.toxics.len() >= MAX_FAULTS {
            return Err(Refusal::forbidden(format!("a proxy has at most {MAX_FAULTS} toxics: remove some first")));
        }
        let fault = match toxic.fault() {
            Some(mut spec) => {
                spec.name = entry.free_fault_name(&toxic.name);
                Some(self.place_fault(proxy, &spec, life, caller).await?)
            }
            None => None,
        };
        self.told_of_toxic(Change::ToxicSet, (proxy, fault.as_ref()), &toxic, caller);
        self.entry_mut(proxy)?.toxics.push(HeldToxic { toxic, fault });
        Ok(())
    }

    /// Makes a toxic be there as described; one that is so already is not disturbed.
    async fn put_toxic(
        &mut self,
        proxy: &ProxyName,
        toxic: Toxic,
        life: Duration,
        caller: &Caller,
    ) -> Result<(), Refusal> {
        let entry = self.entry(proxy)?;
        if let Ok(at) = entry.toxic_at(&toxic.name) {
            if entry.toxics[at].toxic == toxic {
                return Ok(());
            }
            self.leases.allow(proxy, None, caller, Instant::now())?;
            let healing = self.remove_toxics(proxy, |other| other.name == toxic.name).await?;
            self.healed(healing, Change::FaultRemoved, caller)?;
        }
        self.add_toxic(proxy, toxic, life, caller).await
    }

    /// Heals the faults of the toxics that are chosen, and forgets those that had none.
    async fn remove_toxics(&mut self, proxy: &ProxyName, chosen: impl Fn(&Toxic) -> bool) -> Result<Healing, Refusal> {
        let entry = self.entry_mut(proxy)?;
        let of_toxics = entry.toxics.iter().filter(|held| chosen(&held.toxic));
        let faults: Vec<FaultName> = of_toxics.filter_map(|held| held.fault.clone()).collect();
        entry.toxics.retain(|held| held.fault.is_some() || !chosen(&held.toxic));
        Ok(entry.heal(proxy, &faults).await)
    }

    /// Answers whether the proxy had to be enabled.
    async fn reset(&mut self, name: &ProxyName, caller: &Caller) -> Result<bool, Refusal> {
        let entry = self.entry(name)?;
        if entry.toxics.is_empty() && entry.proxy.is_enabled() {
            return Ok(false);
        }
        self.leases.allow(name, None, caller, Instant::now())?;
        let healing = self.remove_toxics(name, |_| true).await?;
        let healed = self.healed(healing, Change::FaultRemoved, caller);
        let wish = Wish { listen: None, upstream: None, enabled: Some(true), tls: None, drop_connections: false };
        let enabled = self.change(name, wish, caller).await;
        healed?;
        enabled
    }

    fn told_of_toxic(&self, change: Change, at: (&ProxyName, Option<&FaultName>), toxic: &Toxic, caller: &Caller) {
        let (proxy, fault) = (at.0, at.1.map(FaultName::as_str));
        let detail = serde_json::to_string(&toxic.view()).unwrap_or_default();
        let about = About { proxy: Some(proxy), fault, detail: Some(&detail), ..About::default() };
        self.audit(change, caller, &about);
    }
}

impl Entry {
    fn toxic_at(&self, name: &str) -> Result<usize, Refusal> {
        self.toxics.iter().position(|held| held.toxic.name == name).ok_or(Refusal::NoToxic)
    }

    /// The name of a toxic for its fault, where it is one that a fault may have and no other fault has.
    fn free_fault_name(&self, toxic: &str) -> Option<FaultName> {
        toxic.parse().ok().filter(|name| self.terms(name).is_none())
    }

    /// Toxics towards the upstream come first, as in Toxiproxy.
    fn view(&self, name: &ProxyName) -> ProxyView {
        let of = |upstream: bool| self.toxics.iter().filter(move |held| held.toxic.is_upstream() == upstream);
        ProxyView {
            name: name.clone(),
            listen: self.proxy.listen_addr().to_string(),
            upstream: self.proxy.upstream(),
            enabled: self.proxy.is_enabled(),
            logger: crate::toxiproxy::Logger {},
            toxics: of(true).chain(of(false)).map(|held| held.toxic.view()).collect(),
        }
    }
}
