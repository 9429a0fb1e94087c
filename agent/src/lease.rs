//! The book of leases: who holds which proxy, and until when. A value without clock or lock of its own.
//!
//! ```text
//! grant ──▶ held ──renew──▶ held ──▶ ended: by its owner, or because nobody renewed it in time
//! ```
//!
//! Neighbours: `registry` keeps one book under its lock, tells it the time, and removes the faults of a lease that
//! ended. `wire::lease` has the shapes.
//! Invariant: a proxy is held by at most one lease, and every lease has a moment at which it ends by itself.

use crate::{
    access::Role,
    registry::{Caller, Refusal},
};
use squall_wire::{Lease, LeaseId, LeaseRequest, ProxyName, Span};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::time::Instant;

/// Leases at once, at most: each holds a proxy, and there are no more proxies than this.
pub(crate) const MAX_LEASES: usize = 1_000;
/// Letters in `owner` and in `reason`, at most: both are written to the log at every change.
const MAX_TEXT: usize = 500;

/// A lease that lives.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    /// Who took it, as the agent knows them; `owner` is what they call themselves.
    who: Arc<str>,
    pub(crate) owner: String,
    pub(crate) reason: String,
    ttl: Duration,
    ends_at: Instant,
    created_at: jiff::Timestamp,
    pub(crate) proxies: BTreeSet<ProxyName>,
}

impl Held {
    /// Whether this caller took it.
    pub(crate) fn is_of(&self, caller: &Caller) -> bool {
        self.who == caller.who
    }
}

/// All leases that live, and the longest that one may.
#[derive(Debug)]
pub(crate) struct LeaseBook {
    leases: BTreeMap<LeaseId, Held>,
    max_lease: Duration,
}

impl LeaseBook {
    pub(crate) fn new(max_lease: Duration) -> Self {
        Self { leases: BTreeMap::new(), max_lease }
    }

    /// Writes a lease into the book. The caller has checked that its proxies exist.
    pub(crate) fn grant(
        &mut self,
        request: LeaseRequest,
        id: LeaseId,
        caller: &Caller,
        now: Instant,
    ) -> Result<LeaseId, Refusal> {
        check_texts(&request)?;
        let ttl = self.checked_ttl(request.ttl)?;
        if let Some((_, taken)) = request.proxies.iter().find_map(|proxy| Some((proxy, self.refusal(proxy, now)?))) {
            return Err(taken);
        }
        if self.leases.len() >= MAX_LEASES {
            return Err(Refusal::forbidden(format!("this agent keeps at most {MAX_LEASES} leases: end some first")));
        }
        let held = Held {
            who: Arc::clone(&caller.who),
            owner: request.owner,
            reason: request.reason,
            ttl,
            ends_at: now + ttl,
            created_at: jiff::Timestamp::now(),
            proxies: request.proxies.into_iter().collect(),
        };
        self.leases.insert(id.clone(), held);
        Ok(id)
    }

    /// Counts the time to live anew from `now`.
    pub(crate) fn renew(
        &mut self,
        id: &LeaseId,
        ttl: Option<Span>,
        caller: &Caller,
        now: Instant,
    ) -> Result<(), Refusal> {
        self.check_holder(id, caller)?;
        let ttl = ttl.map(|span| self.checked_ttl(span)).transpose()?;
        let held = self.leases.get_mut(id).ok_or_else(|| Refusal::no_lease(id))?;
        held.ttl = ttl.unwrap_or(held.ttl);
        held.ends_at = now + held.ttl;
        Ok(())
    }

    /// Strikes a lease out.
    pub(crate) fn end(&mut self, id: &LeaseId) -> Result<Held, Refusal> {
        self.leases.remove(id).ok_or_else(|| Refusal::no_lease(id))
    }

    /// The lease that holds a proxy.
    pub(crate) fn holder(&self, proxy: &ProxyName) -> Option<&LeaseId> {
        self.leases.iter().find(|(_, held)| held.proxies.contains(proxy)).map(|(id, _)| id)
    }

    pub(crate) fn get(&self, id: &LeaseId) -> Option<&Held> {
        self.leases.get(id)
    }

    /// Everybody can read the ids of leases, so naming one is not enough: it is for who took it, and for admins.
    pub(crate) fn check_holder(&self, id: &LeaseId, caller: &Caller) -> Result<(), Refusal> {
        let held = self.leases.get(id).ok_or_else(|| Refusal::no_lease(id))?;
        if caller.role >= Role::Admin || held.is_of(caller) {
            return Ok(());
        }
        Err(Refusal::Role {
            needed: Role::Admin,
            message: format!("lease `{id}` was taken by `{}`, and you are `{}`", held.who, caller.who),
        })
    }

    /// May somebody who acts under `lease`, or under none, change this proxy?
    pub(crate) fn allow(
        &self,
        proxy: &ProxyName,
        lease: Option<&LeaseId>,
        caller: &Caller,
        now: Instant,
    ) -> Result<(), Refusal> {
        if let Some(id) = lease {
            self.check_holder(id, caller)?;
        }
        if self.holder(proxy) == lease {
            return Ok(());
        }
        Err(self.refusal(proxy, now).unwrap_or_else(|| Refusal::not_held(proxy)))
    }

    /// The refusal that names the holder of a proxy; `None` when nobody holds it.
    fn refusal(&self, proxy: &ProxyName, now: Instant) -> Option<Refusal> {
        let held = self.leases.values().find(|held| held.proxies.contains(proxy))?;
        let left = held.ends_at.saturating_duration_since(now);
        Some(Refusal::Leased {
            proxy: proxy.clone(),
            owner: held.owner.clone(),
            reason: held.reason.clone(),
            since: to_the_second(held.created_at),
            until: to_the_second(jiff::Timestamp::now() + left),
        })
    }

    /// Leases whose time is up.
    pub(crate) fn due(&self, now: Instant) -> Vec<LeaseId> {
        self.leases.iter().filter(|(_, held)| held.ends_at <= now).map(|(id, _)| id.clone()).collect()
    }

    /// When the next lease ends, if none is renewed.
    pub(crate) fn next_end(&self) -> Option<Instant> {
        self.leases.values().map(|held| held.ends_at).min()
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = &LeaseId> {
        self.leases.keys()
    }

    /// The lease as the API tells it; `faults` is for the registry to count.
    pub(crate) fn describe(&self, id: &LeaseId, faults: usize, now: Instant) -> Result<Lease, Refusal> {
        let held = self.leases.get(id).ok_or_else(|| Refusal::no_lease(id))?;
        Ok(Lease {
            id: id.clone(),
            owner: held.owner.clone(),
            reason: held.reason.clone(),
            ttl: held.ttl.into(),
            expires_in: crate::registry::to_the_milli(held.ends_at.saturating_duration_since(now)),
            created_at: held.created_at.to_string(),
            proxies: held.proxies.iter().cloned().collect(),
            faults,
        })
    }

    fn checked_ttl(&self, ttl: Span) -> Result<Duration, Refusal> {
        if ttl.is_zero() {
            return Err(Refusal::invalid("ttl", "a lease of `0s` ends at once: write a duration such as `30s`"));
        }
        if ttl.get() > self.max_lease {
            let most = Span::from(self.max_lease);
            return Err(Refusal::Limit {
                field: "ttl",
                message: format!("a lease of {ttl} is longer than this agent's max_lease ({most})"),
                hint: format!("ask for at most {most}, and renew it while it is needed"),
            });
        }
        Ok(ttl.get())
    }
}

fn check_texts(request: &LeaseRequest) -> Result<(), Refusal> {
    if request.owner.trim().is_empty() {
        return Err(Refusal::invalid("owner", "an owner is needed, so that others can be told who holds the proxy"));
    }
    for (field, text) in [("owner", &request.owner), ("reason", &request.reason)] {
        if text.chars().count() > MAX_TEXT {
            return Err(Refusal::invalid(field, format!("at most {MAX_TEXT} letters")));
        }
        if text.chars().any(char::is_control) {
            return Err(Refusal::invalid(field, "one line without control characters, for it is shown to others"));
        }
    }
    if request.proxies.is_empty() {
        return Err(Refusal::invalid("proxies", "a lease holds at least one proxy: name it"));
    }
    Ok(())
}

/// RFC 3339, as people read it.
pub(crate) fn to_the_second(moment: jiff::Timestamp) -> String {
    moment.round(jiff::Unit::Second).unwrap_or(moment).to_string()
}

#[cfg(test)]
mod tests {
    use super::LeaseBook;
    use crate::{access::Role, registry::Caller};
    use squall_wire::{LeaseId, LeaseRequest, ProxyName, Span};
    use std::time::Duration;
    use tokio::time::Instant;

    fn book() -> LeaseBook {
        LeaseBook::new(Duration::from_secs(300))
    }

    fn caller(who: &str, role: Role) -> Caller {
        Caller { who: who.into(), role, ..Caller::agent() }
    }

    fn ann() -> Caller {
        caller("ann", Role::Inject)
    }

    fn proxy(name: &str) -> ProxyName {
        name.parse().unwrap()
    }

    fn id(name: &str) -> LeaseId {
        name.parse().unwrap()
    }

    fn request(owner: &str, ttl: u64, proxies: &[&str]) -> LeaseRequest {
        LeaseRequest {
            owner: owner.into(),
            reason: "a test".into(),
            ttl: Span::from_secs(ttl),
            proxies: proxies.iter().map(|name| proxy(name)).collect(),
        }
    }

    #[test]
    fn a_proxy_is_held_by_one_lease_and_the_second_asker_is_told_whose() {
        let (mut book, now) = (book(), Instant::now());
        book.grant(request("ann", 30, &["a", "b"]), id("l1"), &ann(), now).unwrap();
        let refusal = book.grant(request("bob", 30, &["c", "b"]), id("l2"), &ann(), now).unwrap_err().to_string();
        assert!(refusal.contains("`b`") && refusal.contains("ann") && refusal.contains("a test"), "{refusal}");
        assert!(book.holder(&proxy("c")).is_none(), "a refused lease must hold nothing");
        book.end(&id("l1")).unwrap();
        book.grant(request("bob", 30, &["c", "b"]), id("l2"), &ann(), now).unwrap();
    }

    #[test]
    fn only_who_names_the_lease_that_holds_a_proxy_may_change_it() {
        let (mut book, now) = (book(), Instant::now());
        book.grant(request("ann", 30, &["a"]), id("l1"), &ann(), now).unwrap();
        book.grant(request("bob", 30, &["b"]), id("l2"), &ann(), now).unwrap();
        assert!(book.allow(&proxy("a"), Some(&id("l1")), &ann(), now).is_ok());
        assert!(book.allow(&proxy("free"), None, &ann(), now).is_ok());
        for (name, lease) in [("a", None), ("a", Some("l2")), ("a", Some("l9")), ("free", Some("l1"))] {
            assert!(book.allow(&proxy(name), lease.map(id).as_ref(), &ann(), now).is_err(), "{name} {lease:?}");
        }
    }

    #[test]
    fn a_lease_is_for_who_took_it_and_for_admins_whoever_else_has_read_its_id() {
        let (mut book, now) = (book(), Instant::now());
        book.grant(request("ann", 30, &["a"]), id("l1"), &ann(), now).unwrap();
        let thief = caller("bob", Role::Inject);
        let refusal = book.allow(&proxy("a"), Some(&id("l1")), &thief, now).unwrap_err().to_string();
        assert!(refusal.contains("`ann`") && refusal.contains("`admin`"), "{refusal}");
        assert!(book.renew(&id("l1"), None, &thief, now).is_err());
        let admin = caller("eve", Role::Admin);
        assert!(book.allow(&proxy("a"), Some(&id("l1")), &admin, now).is_ok());
        assert!(book.allow(&proxy("a"), None, &admin, now).is_err(), "even an admin says under which lease");
    }

    #[test]
    fn a_lease_ends_so_long_after_its_last_renewal_and_not_before() {
        let (mut book, start) = (book(), Instant::now());
        let at = |seconds: f64| start + Duration::from_secs_f64(seconds);
        book.grant(request("ann", 10, &["a"]), id("l1"), &ann(), start).unwrap();
        assert!(book.due(at(9.999)).is_empty());
        book.renew(&id("l1"), None, &ann(), at(9.0)).unwrap();
        assert!(book.due(at(18.999)).is_empty());
        assert_eq!(book.due(at(19.0)), [id("l1")]);
        book.renew(&id("l1"), Some(Span::from_secs(2)), &ann(), at(9.0)).unwrap();
        assert_eq!(book.next_end(), Some(at(11.0)));
    }

    #[test]
    fn a_lease_longer_than_the_agent_allows_is_refused_also_at_renewal() {
        let (mut book, now) = (book(), Instant::now());
        let refusal = book.grant(request("ann", 301, &["a"]), id("l1"), &ann(), now).unwrap_err().to_string();
        assert!(refusal.contains("max_lease (5m)"), "{refusal}");
        book.grant(request("ann", 300, &["a"]), id("l1"), &ann(), now).unwrap();
        assert!(book.renew(&id("l1"), Some(Span::from_secs(301)), &ann(), now).is_err());
        assert_eq!(book.next_end(), Some(now + Duration::from_secs(300)), "a refused renewal changes nothing");
    }

    #[test]
    fn a_lease_without_owner_time_or_proxies_is_refused() {
        let (mut book, now) = (book(), Instant::now());
        for bad in [request(" ", 30, &["a"]), request("ann", 0, &["a"]), request("ann", 30, &[])] {
            assert!(book.grant(bad.clone(), id("l1"), &ann(), now).is_err(), "{bad:?}");
        }
        assert_eq!(book.ids().count(), 0);
    }
}
