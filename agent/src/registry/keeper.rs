//! The keeper: one task that sleeps until something is due, and ends it: faults, leases, and what went wrong before.
//!
//! Neighbours: `agent` runs it; each change that could make something due earlier wakes it.
//! Invariant: it never polls, and it counts by the monotonic clock: setting the wall clock moves nothing.

use super::{Caller, Change, Inner, Registry, entry::End, home::Home};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

impl Registry {
    /// Ends what is due until it is told to stop.
    pub(crate) async fn keep(&self, stop: CancellationToken) {
        loop {
            let next = self.next_due().await;
            let due = async {
                match next {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.sooner.notified() => {}
                () = due => self.end_what_is_due().await,
            }
        }
    }

    async fn next_due(&self) -> Option<Instant> {
        let due = self.inner.lock().await.next_due();
        due.into_iter().chain(self.saving.as_ref().and_then(|saving| saving.next_try())).min()
    }

    async fn end_what_is_due(&self) {
        let now = Instant::now();
        self.inner.lock().await.end_what_is_due(now).await;
        if self.saving.as_ref().and_then(|saving| saving.next_try()).is_some_and(|at| at <= now) {
            // The failure is logged and kept for the next try.
            let _ = self.save().await;
        }
    }
}

impl Inner {
    fn next_due(&self) -> Option<Instant> {
        let faults = self.proxies.values().flat_map(|entry| &entry.faults).map(|terms| terms.end.at());
        let away = self.proxies.values().filter_map(|entry| entry.away.as_ref()?.due).map(End::at);
        faults.chain(away).chain(self.leases.next_end()).min()
    }

    /// Ends leases and faults whose time is up. What cannot be healed has logged it, and is due again a little later.
    pub(super) async fn end_what_is_due(&mut self, now: Instant) {
        let caller = Caller::agent();
        for id in self.leases.due(now) {
            let _ = self.end_lease(&id, Change::LeaseRanOut, &caller).await;
        }
        if self.proxies.values().flat_map(|entry| &entry.faults).any(|terms| terms.end.at() <= now) {
            let _ = self.heal_where(Change::FaultRanOut, &caller, |terms| terms.end.at() <= now).await;
        }
        let is_due = |home: &Home| home.due.is_some_and(|due| due.at() <= now);
        if self.proxies.values().filter_map(|entry| entry.away.as_ref()).any(is_due) {
            self.bring_home(&caller, is_due).await;
        }
    }
}
