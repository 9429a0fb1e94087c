//! The one writer of proxies, faults and leases.
//!
//! ```text
//!  api ──change──▶ ┌──────────────────────────────┐      proxies.rs  create, replace, change, delete
//!                  │ Registry: one lock over      │      faults.rs   set, change, heal
//!  keeper ─due───▶ │   proxies · faults · leases  │ ───▶ leases.rs   take, renew, end
//!                  └──────────────┬───────────────┘      keeper.rs   what is due, by the monotonic clock
//!                                 │                       halt.rs     the big red switch
//!                                 │                       home.rs     what a lease's holder changed comes back
//!                                 ▼                       snapshot.rs what it looks like, for answers
//!                       Proxy (the data plane), state file      toxics.rs  the same, in Toxiproxy's words
//! ```
//!
//! Invariant: a change happens wholly or not at all, and holding the lock never waits for a peer, a name server
//! or the disk. Every fault in here has a moment at which it goes.

mod audit;
mod entry;
mod faults;
mod halt;
mod home;
mod keeper;
mod leases;
mod proxies;
mod refusal;
mod saving;
mod snapshot;
mod toxics;

pub(crate) use audit::Caller;
pub(crate) use faults::made_up;
pub(crate) use proxies::First;
pub(crate) use refusal::Refusal;
pub(crate) use snapshot::{Overview, to_the_milli};

use crate::{DataPlane, events::Events, lease::LeaseBook, policy::Policy, timer::Timer};
use audit::{About, Change};
use entry::Entry;
use saving::Saving;
use squall_wire::{Halt, ProxyName};
use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};
use tokio::{
    sync::{Mutex, MutexGuard, Notify, Semaphore},
    time::Instant,
};
use tokio_util::task::TaskTracker;

/// Proxies at once, at most: each has a socket, a task and some metrics.
const MAX_PROXIES: usize = 1_000;
/// Faults on one proxy at once, at most: each is a stage that every chunk passes.
pub(crate) const MAX_FAULTS: usize = 100;
/// Stopping a proxy that was drained takes milliseconds; this is the limit on a machine in trouble.
const STOP_LIMIT: Duration = Duration::from_secs(12);
/// Changes that wait for the lock at once, at most; further ones wait in their connections.
const MAX_CHANGES: usize = 64;

/// What the registry is told at its start.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    pub(crate) max_fault_duration: Duration,
    pub(crate) max_lease: Duration,
    pub(crate) policy: Arc<Policy>,
}

/// All proxies, faults and leases of one agent.
#[derive(Debug)]
pub(crate) struct Registry {
    inner: Mutex<Inner>,
    /// Tells the keeper that something is due earlier than it knew.
    sooner: Notify,
    plane: Arc<DataPlane>,
    limits: Limits,
    saving: Option<Saving>,
    events: Arc<Events>,
    changes: TaskTracker,
    places: Arc<Semaphore>,
}

/// What the lock guards.
#[derive(Debug)]
struct Inner {
    proxies: BTreeMap<ProxyName, Entry>,
    leases: LeaseBook,
    policy: Arc<Policy>,
    halt: Option<Halt>,
    events: Arc<Events>,
    /// Has the proxies that connections are redirected to.
    plane: Arc<DataPlane>,
    /// False once the agent shuts down: nothing may be set any more.
    open: bool,
}

impl Registry {
    /// `halt`: the one that the state file remembers.
    pub(crate) fn new(plane: Arc<DataPlane>, limits: Limits, state: Option<PathBuf>, halt: Option<Halt>) -> Arc<Self> {
        let (leases, events) = (LeaseBook::new(limits.max_lease), Events::new());
        let policy = Arc::clone(&limits.policy);
        let inner = Inner {
            proxies: BTreeMap::new(),
            leases,
            policy,
            halt,
            events: Arc::clone(&events),
            plane: Arc::clone(&plane),
            open: true,
        };
        Arc::new(Self {
            inner: Mutex::new(inner),
            sooner: Notify::new(),
            plane,
            limits,
            saving: state.map(Saving::new),
            events,
            changes: TaskTracker::new(),
            places: Arc::new(Semaphore::new(MAX_CHANGES)),
        })
    }

    /// Finer than the runtime's, and free while sockets are waited for.
    pub(crate) fn timer(&self) -> &Timer {
        &self.plane.timer
    }

    /// Runs a change to its end, even when the one who asked for it hangs up in the middle.
    pub(crate) async fn to_the_end<T: Send + 'static>(
        &self,
        change: impl Future<Output = Result<T, Refusal>> + Send + 'static,
    ) -> Result<T, Refusal> {
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| Refusal::Closed)?;
        let task = self.changes.spawn(async move {
            let _place = place;
            change.await
        });
        match task.await {
            Ok(outcome) => outcome,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Err(Refusal::Closed),
        }
    }

    /// The lock, for a change: refused when the agent shuts down; what is overdue has gone before.
    async fn open(&self) -> Result<MutexGuard<'_, Inner>, Refusal> {
        let mut inner = self.inner.lock().await;
        if !inner.open {
            return Err(Refusal::Closed);
        }
        inner.end_what_is_due(Instant::now()).await;
        Ok(inner)
    }

    /// The bus on which every change is told.
    pub(crate) fn events(&self) -> &Arc<Events> {
        &self.events
    }

    /// Takes no more changes, heals everything, and lets connections finish for up to `drain`.
    /// Answers how many had to be cut.
    pub(crate) async fn shut_down(&self, drain: Duration) -> usize {
        let proxies: Vec<_> = {
            let mut inner = self.inner.lock().await;
            inner.open = false;
            for (name, entry) in &inner.proxies {
                if let Err(refusal) = entry::bounded(entry.proxy.take_no_more()).await {
                    tracing::warn!(proxy = %name, %refusal, "shutting a listener");
                }
            }
            // A fault that cannot be healed here dies with its socket a moment later.
            if let Err(refusal) = inner.heal_everything(&Caller::agent()).await {
                tracing::warn!(%refusal, "healing at shutdown");
            }
            inner.proxies.values().map(|entry| Arc::clone(&entry.proxy)).collect()
        };
        self.changes.close();
        self.events.close();
        let draining = futures::future::join_all(proxies.iter().map(|proxy| proxy.drain(drain)));
        let cut = tokio::time::timeout(drain.saturating_add(STOP_LIMIT), draining).await.unwrap_or_else(|_| {
            tracing::error!("proxies did not stop after their time to drain; leaving them");
            Vec::new()
        });
        // Changes under way hold the lock for moments; more than this would be a bug, and must not keep us here.
        if tokio::time::timeout(Duration::from_secs(2), self.changes.wait()).await.is_err() {
            tracing::error!("a change was still under way at the end of the shutdown");
        }
        cut.into_iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::{Limits, Registry};
    use crate::{DataPlane, PlaneLimits};
    use std::{sync::Arc, time::Duration};
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn a_change_goes_on_when_the_one_who_asked_for_it_hangs_up() {
        let limits = Limits {
            max_fault_duration: Duration::from_secs(1),
            max_lease: Duration::from_secs(1),
            policy: Arc::default(),
        };
        let registry = Registry::new(DataPlane::new(PlaneLimits::default()), limits, None, None);
        let (go, gone) = oneshot::channel::<()>();
        let (done, finished) = oneshot::channel::<()>();
        let mut asking = Box::pin(registry.to_the_end(async move {
            gone.await.unwrap();
            done.send(()).unwrap();
            Ok(())
        }));
        assert!(futures::poll!(&mut asking).is_pending(), "the change waits in the middle");
        drop(asking);
        go.send(()).unwrap();
        tokio::time::timeout(Duration::from_secs(10), finished).await.unwrap().unwrap();
    }
}
