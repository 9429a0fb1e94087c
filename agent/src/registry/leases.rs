//! Taking, renewing and ending leases. When one ends, its faults go, and what its holder changed comes back.
//!
//! Neighbours: `crate::lease` is the book, `keeper.rs` ends what is not renewed, `api::leases` calls it.
//! Invariant: no fault lives under a lease that has ended; one that could not be healed is tried until it can.

use super::{About, Caller, Change, Inner, Refusal, Registry};
use squall_wire::{Healed, Lease, LeaseId, LeaseRenewal, LeaseRequest};
use tokio::time::Instant;

impl Registry {
    /// Takes a lease on proxies that nobody else holds.
    pub(crate) async fn take_lease(&self, request: LeaseRequest, caller: &Caller) -> Result<Lease, Refusal> {
        let id = new_id();
        let mut inner = self.open().await?;
        if let Some(unknown) = request.proxies.iter().find(|name| !inner.proxies.contains_key(*name)) {
            return Err(inner.unknown(unknown));
        }
        inner.not_halted()?;
        for proxy in &request.proxies {
            inner.policy.allow_touching(proxy)?;
            if inner.leases.holder(proxy).is_none() {
                inner.is_clean(proxy)?;
            }
        }
        let now = Instant::now();
        let id = inner.leases.grant(request, id, caller, now)?;
        let lease = inner.lease_info(&id, now)?;
        let held: Vec<_> = lease.proxies.iter().map(AsRef::as_ref).collect();
        let detail = format!("{} for {}: {}", held.join(", "), lease.ttl, lease.reason);
        let about = About { lease: Some(&id), detail: Some(&detail), ..About::default() };
        inner.audit(Change::LeaseTaken, caller, &about);
        self.sooner.notify_one();
        Ok(lease)
    }

    /// Counts a lease's time to live anew.
    pub(crate) async fn renew_lease(
        &self,
        id: &LeaseId,
        renewal: LeaseRenewal,
        caller: &Caller,
    ) -> Result<Lease, Refusal> {
        let mut inner = self.open().await?;
        let now = Instant::now();
        inner.leases.renew(id, renewal.ttl, caller, now)?;
        inner.audit(Change::LeaseRenewed, caller, &About { lease: Some(id), ..About::default() });
        self.sooner.notify_one();
        inner.lease_info(id, now)
    }

    /// Ends a lease; answers which faults went with it.
    pub(crate) async fn end_lease(&self, id: &LeaseId, caller: &Caller) -> Result<Healed, Refusal> {
        let mut inner = self.open().await?;
        inner.leases.check_holder(id, caller)?;
        let outcome = inner.end_lease(id, Change::LeaseEnded, caller).await;
        self.sooner.notify_one();
        outcome
    }
}

#[expect(clippy::expect_used, reason = "a UUID is 36 letters of hexadecimal digits and hyphens, and so a name")]
fn new_id() -> LeaseId {
    uuid::Uuid::new_v4().to_string().parse().expect("a UUID is a name")
}

impl Inner {
    /// Heals what lives under a lease, brings back what was changed under it, then strikes it out, so that nobody takes the proxy while its faults are on.
    pub(super) async fn end_lease(&mut self, id: &LeaseId, change: Change, caller: &Caller) -> Result<Healed, Refusal> {
        let caller = Caller { lease: Some(id.clone()), ..caller.clone() };
        let mut healing = self.heal_faults(|terms| terms.lease.as_ref() == Some(id)).await;
        healing = healing.and(self.bring_home(&caller, |home| home.lease == *id).await);
        let outcome = self.healed(healing, Change::FaultRemovedWithLease, &caller);
        self.audit(change, &caller, &About { lease: Some(id), ..About::default() });
        self.leases.end(id)?;
        // What could not be healed still names it, for who asks whether it is gone; the keeper has it.
        outcome
    }
}
