//! Setting, changing and healing faults.
//!
//! Neighbours: `api::faults` calls it; `entry.rs` removes from the data plane; `wire` knows which faults make sense.
//! Invariant: every fault ends at most `max_fault_duration` after it was set, however often it is changed, and a
//! fault on a leased proxy lives under the lease that holds the proxy.

use super::{
    About, Caller, Change, Inner, MAX_FAULTS, Refusal, Registry,
    entry::{End, Entry, Healing, Terms, bounded},
};
use crate::{ActiveFault, fault::unavailable};
use squall_wire::{
    FaultInfo, FaultKind, FaultName, FaultPatch, FaultSpec, Healed, LeaseId, Protocol, ProxyName, RemovedFault, Span,
    fault::InvalidFault,
};
use std::time::Duration;
use tokio::time::Instant;

/// Seeds stay below 2^53, so that JSON carries them exactly.
const SEEDS: std::ops::Range<u64> = 0..1 << 53;

impl Registry {
    /// Sets a fault. Without a lease in its specification, the caller's counts.
    pub(crate) async fn set_fault(
        &self,
        proxy: &ProxyName,
        mut spec: FaultSpec,
        caller: &Caller,
    ) -> Result<FaultInfo, Refusal> {
        let life = self.life(spec.expires_in, Duration::ZERO)?;
        spec.lease = agreed(spec.lease.take(), caller)?;
        let mut inner = self.open().await?;
        refuse(spec.mistakes_on(inner.entry(proxy)?.spec.protocol))?;
        if let Some(why) = unavailable(&spec.fault) {
            return Err(Refusal::Unavailable { what: format!("`{}`", spec.fault.name()), why });
        }
        let now = Instant::now();
        inner.leases.allow(proxy, spec.lease.as_ref(), caller, now)?;
        let name = inner.place_fault(proxy, &spec, life, caller).await?;
        self.sooner.notify_one();
        inner.fault_info(proxy, &name, now)
    }

    /// Changes the parameters, the share or the time left of a fault.
    pub(crate) async fn patch_fault(
        &self,
        proxy: &ProxyName,
        name: &FaultName,
        patch: FaultPatch,
        caller: &Caller,
    ) -> Result<FaultInfo, Refusal> {
        let mut inner = self.open().await?;
        let now = Instant::now();
        let terms = inner.terms(proxy, name)?;
        inner.leases.allow(proxy, caller.lease.as_ref(), caller, now)?;
        refuse_patch(&terms.fault, &patch, inner.entry(proxy)?.spec.protocol)?;
        inner.not_halted()?;
        let (kind, percent) = (patch.fault.clone(), patch.percent);
        let (kind, percent) =
            (kind.unwrap_or_else(|| terms.fault.kind()), percent.unwrap_or_else(|| terms.fault.percent()));
        inner.policy.allow_fault(proxy, &kind, percent, terms.lease.as_ref())?;
        let life = match patch.expires_in {
            Some(_) => Some(self.life(patch.expires_in, now.saturating_duration_since(terms.born))?),
            None => None,
        };
        let detail = patch.fault.as_ref().map(told).unwrap_or_default()
            + &patch.percent.map(|percent| format!(" of {percent} %")).unwrap_or_default()
            + &life.map(|life| format!(" for {}", Span::from(life))).unwrap_or_default();
        let changed = (patch.fault.clone(), patch.percent);
        let entry = inner.entry_mut(proxy)?;
        if patch.fault.is_some() || patch.percent.is_some() {
            bounded(entry.proxy.change_fault(name, patch.fault, patch.percent)).await?;
        }
        if let Some(held) = entry.toxics.iter_mut().find(|held| held.fault.as_ref() == Some(name)) {
            held.toxic.follow(changed.0.as_ref(), changed.1);
        }
        let mut living = entry.faults.iter_mut().filter(|terms| matches!(terms.end, End::At(_)));
        if let (Some(life), Some(terms)) = (life, living.find(|terms| terms.fault.name() == name)) {
            terms.end = End::At(now + life);
        }
        let about =
            About { proxy: Some(proxy), fault: Some(name.as_str()), detail: Some(detail.trim()), ..About::default() };
        inner.audit(Change::FaultChanged, caller, &about);
        self.sooner.notify_one();
        inner.fault_info(proxy, name, now)
    }

    /// Removes one fault.
    pub(crate) async fn remove_fault(
        &self,
        proxy: &ProxyName,
        name: &FaultName,
        caller: &Caller,
    ) -> Result<Healed, Refusal> {
        let mut inner = self.open().await?;
        inner.terms(proxy, name)?;
        inner.leases.allow(proxy, caller.lease.as_ref(), caller, Instant::now())?;
        let healing = inner.entry_mut(proxy)?.heal(proxy, std::slice::from_ref(name)).await;
        let outcome = inner.healed(healing, Change::FaultRemoved, caller);
        self.sooner.notify_one();
        outcome
    }

    /// Removes every fault, whoever set it and whatever lease holds its proxy, and brings back what was changed under
    /// leases. Leases stay. What others' leases hold
    /// is for admins to take away.
    pub(crate) async fn heal_all(&self, caller: &Caller) -> Result<Healed, Refusal> {
        let mut inner = self.open().await?;
        for id in inner.leases_in_use() {
            inner.leases.check_holder(id, caller)?;
        }
        let healing = inner.heal_faults(|_| true).await;
        let healing = healing.and(inner.bring_home(caller, |_| true).await);
        let outcome = inner.healed(healing, Change::EverythingHealed, caller);
        self.sooner.notify_one();
        outcome
    }

    /// How long a fault may live that has lived for `age` already.
    pub(super) fn life(&self, asked: Option<Span>, age: Duration) -> Result<Duration, Refusal> {
        let of_policy = self.limits.policy.max_fault_duration.map(Span::get);
        let of_policy = of_policy.filter(|most| *most < self.limits.max_fault_duration);
        let longest = of_policy.unwrap_or(self.limits.max_fault_duration);
        let left = longest.saturating_sub(age);
        match asked.map(Span::get) {
            None => Ok(left),
            Some(asked) if asked.is_zero() => Err(Refusal::invalid(
                "expires_in",
                "a fault that expires after `0s` does nothing: write a duration such as `30s`, or remove it",
            )),
            Some(asked) if asked <= left => Ok(asked),
            Some(asked) => {
                let rule = of_policy.map_or("max_fault_duration", |_| "policy.max_fault_duration");
                Err(Refusal::Limit {
                    field: "expires_in",
                    message: format!(
                        "a fault may live for {} in all, this agent's {rule}: {} is too long",
                        Span::from(longest),
                        Span::from(asked)
                    ),
                    hint: format!("ask for at most {}", super::to_the_milli(left)),
                })
            }
        }
    }
}

impl Inner {
    /// Puts a sound fault in the way of a proxy on which the caller may act; answers its name.
    pub(super) async fn place_fault(
        &mut self,
        proxy: &ProxyName,
        spec: &FaultSpec,
        life: Duration,
        caller: &Caller,
    ) -> Result<FaultName, Refusal> {
        self.not_halted()?;
        self.policy.allow_fault(proxy, &spec.fault, spec.percent, spec.lease.as_ref())?;
        let entry = self.entry_mut(proxy)?;
        // Toxics come here unseen, and not each of them fits each protocol.
        refuse(spec.mistakes_on(entry.spec.protocol))?;
        if entry.faults.len() >= MAX_FAULTS {
            return Err(Refusal::forbidden(format!("a proxy has at most {MAX_FAULTS} faults: remove some first")));
        }
        let name = entry.free_name(proxy, spec)?;
        let seed = spec.seed.unwrap_or_else(|| rand::random_range(SEEDS));
        let fault = ActiveFault::new(name.clone(), spec, seed);
        bounded(entry.proxy.add_fault(fault.clone())).await?;
        let born = Instant::now();
        entry.faults.push(Terms { fault, lease: spec.lease.clone(), born, end: End::At(born + life) });
        let detail =
            format!("{} of {} %, seed {seed}, for at most {}", told(&spec.fault), spec.percent, Span::from(life));
        let about =
            About { proxy: Some(proxy), fault: Some(name.as_str()), lease: spec.lease.as_ref(), detail: Some(&detail) };
        self.audit(Change::FaultSet, caller, &about);
        Ok(name)
    }

    /// Heals every proxy. One that cannot be healed does not keep the others from it.
    pub(super) async fn heal_everything(&mut self, caller: &Caller) -> Result<Healed, Refusal> {
        self.heal_where(Change::EverythingHealed, caller, |_| true).await
    }

    /// Leases that live and under which something was done.
    fn leases_in_use(&self) -> impl Iterator<Item = &LeaseId> {
        let faults = self.proxies.values().flat_map(|entry| &entry.faults).filter_map(|terms| terms.lease.as_ref());
        let away = self.proxies.values().filter_map(|entry| entry.away.as_ref()).map(|home| &home.lease);
        faults.chain(away).filter(|id| self.leases.get(id).is_some())
    }

    /// Heals the faults of all proxies that are chosen.
    pub(super) async fn heal_where(
        &mut self,
        change: Change,
        caller: &Caller,
        chosen: impl Fn(&Terms) -> bool,
    ) -> Result<Healed, Refusal> {
        let healing = self.heal_faults(chosen).await;
        self.healed(healing, change, caller)
    }

    /// The same, for who has more to do before it is told.
    pub(super) async fn heal_faults(&mut self, chosen: impl Fn(&Terms) -> bool) -> Healing {
        let mut healing = Healing::default();
        for (name, entry) in &mut self.proxies {
            let names = entry.names_where(&chosen);
            healing = healing.and(entry.heal(name, &names).await);
        }
        healing
    }

    /// Writes the audit trail of a healing, and makes its answer.
    pub(super) fn healed(&self, healing: Healing, change: Change, caller: &Caller) -> Result<Healed, Refusal> {
        for (RemovedFault { proxy, fault, hits }, lease) in &healing.removed {
            let detail = hits.map(|hits| format!("{hits} hits"));
            let about = About {
                proxy: Some(proxy),
                fault: Some(fault.as_str()),
                lease: lease.as_ref(),
                detail: detail.as_deref(),
            };
            self.audit(change, caller, &about);
        }
        if healing.stuck.is_empty() {
            let removed = healing.removed.into_iter().map(|(fault, _)| fault).collect();
            return Ok(Healed { removed, restored: healing.restored });
        }
        Err(Refusal::Unhealed { faults: healing.stuck.join(", "), cause: healing.cause })
    }

    pub(super) fn terms(&self, proxy: &ProxyName, name: &FaultName) -> Result<&Terms, Refusal> {
        let entry = self.entry(proxy)?;
        entry
            .terms(name)
            .ok_or_else(|| Refusal::no_fault(proxy, name, entry.faults.iter().map(|terms| terms.fault.name())))
    }
}

impl Entry {
    /// The name asked for, if it is free; or the first `kind-n` that is.
    fn free_name(&self, proxy: &ProxyName, spec: &FaultSpec) -> Result<FaultName, Refusal> {
        if let Some(name) = &spec.name {
            return match self.terms(name) {
                None => Ok(name.clone()),
                Some(_) => Err(Refusal::Taken {
                    what: format!("proxy `{proxy}` has a fault `{name}` already"),
                    hint: "PATCH it, remove it first, or choose another name",
                }),
            };
        }
        made_up(&spec.fault, self.faults.len(), |name| self.terms(name).is_some())
            .ok_or_else(|| Refusal::invalid("name", "no name is free: choose one"))
    }
}

/// The name of a fault that was given none: the first made from its kind that is free beside so many others.
pub(crate) fn made_up(fault: &FaultKind, others: usize, is_taken: impl Fn(&FaultName) -> bool) -> Option<FaultName> {
    let mut names = (1..=others + 1).filter_map(|n| format!("{}-{n}", fault.name()).parse().ok());
    names.find(|name| !is_taken(name))
}

/// The lease of the body and the caller's must be one, where both are named.
fn agreed(asked: Option<squall_wire::LeaseId>, caller: &Caller) -> Result<Option<squall_wire::LeaseId>, Refusal> {
    match (asked, &caller.lease) {
        (Some(body), Some(header)) if body != *header => {
            Err(Refusal::invalid("lease", "the body and the header X-Squall-Lease name different leases: name one"))
        }
        (body, header) => Ok(body.or_else(|| header.clone())),
    }
}

fn refuse_patch(fault: &ActiveFault, patch: &FaultPatch, protocol: Protocol) -> Result<(), Refusal> {
    let now = fault.kind();
    if let Some(kind) = &patch.fault
        && kind.name() != now.name()
    {
        let message = format!(
            "`{}` is a {} and cannot become a {}: remove it and set another",
            fault.name(),
            now.name(),
            kind.name()
        );
        return Err(Refusal::invalid("fault", message));
    }
    let mut after = FaultSpec::of(patch.fault.clone().unwrap_or(now));
    after.percent = patch.percent.unwrap_or_else(|| fault.percent());
    after.only = fault.only().clone();
    (after.skip, after.count) = (fault.skip(), fault.count());
    if after.fault.fixed_direction().is_some_and(|direction| direction != fault.direction()) {
        let message = format!("`{}` would act on the other direction: remove it and set another", fault.name());
        return Err(Refusal::invalid("fault", message));
    }
    refuse(after.mistakes_on(protocol))
}

fn refuse(mistakes: Vec<InvalidFault>) -> Result<(), Refusal> {
    let Some(InvalidFault { field, .. }) = mistakes.first() else { return Ok(()) };
    let all: Vec<_> = mistakes.iter().map(|mistake| format!("{}: {}", mistake.field, mistake.message)).collect();
    Err(Refusal::invalid(field, all.join("; ")))
}

/// A kind and its parameters, for the audit trail.
fn told(kind: &FaultKind) -> String {
    serde_json::to_string(kind).unwrap_or_else(|_| kind.name().to_owned())
}
