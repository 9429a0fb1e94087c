//! What a shop does beside its requests: it writes events, undoes orders, forgets and migrates.
//!
//! ```text
//! requests end ─▶ stop ─▶ events that were accepted are written, orders that failed are undone ─▶ gone
//! ```
//! Neighbours: `storage.rs` says what there is, `mod.rs` starts it with the server and finishes it after. Invariant: each
//! worker is under the supervisor, begins anew after a crash from the database or its queue, and is waited for.

use crate::{
    events::EventWriter,
    metrics::Metrics,
    resilience::{
        compensation::Compensator,
        migrations::{MigrationConfig, Migrations},
        steady_state::{self, RetentionConfig},
        supervision::{Importance, Supervisor},
    },
    store::Store,
};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// What is to be started; what is switched off is absent.
#[derive(Default)]
pub(super) struct Background {
    pub(super) compensator: Option<Arc<Compensator>>,
    pub(super) events: Option<EventWriter>,
    pub(super) retention: Option<(RetentionConfig, Arc<Store>, Arc<Metrics>)>,
    pub(super) migrations: Option<(Migrations, MigrationConfig)>,
}

/// What was started.
pub(super) struct Working {
    stop: CancellationToken,
    compensator: Option<Arc<Compensator>>,
    supervisor: Arc<Supervisor>,
}

impl Background {
    /// At `abort` each is dropped where it is: the database knows what was done, and nobody waits for an event any more.
    pub(super) fn start(self, supervisor: &Arc<Supervisor>, abort: &CancellationToken) -> Working {
        let stop = CancellationToken::new();
        if let Some(events) = self.events {
            let (events, stop, abort) = (Arc::new(events), stop.clone(), abort.clone());
            supervisor.start("events", Importance::Vital, move |_| {
                let (events, stop, abort) = (Arc::clone(&events), stop.clone(), abort.clone());
                async move {
                    abort.run_until_cancelled(events.run(stop)).await;
                }
            });
        }
        if let Some(compensator) = &self.compensator {
            let (compensator, stop) = (Arc::clone(compensator), stop.clone());
            let abort = abort.clone();
            supervisor.start("outbox", Importance::Vital, move |_| {
                let (compensator, stop, abort) = (Arc::clone(&compensator), stop.clone(), abort.clone());
                async move {
                    abort.run_until_cancelled(compensator.run(stop)).await;
                }
            });
        }
        if let Some((config, store, metrics)) = self.retention {
            let (stop, abort) = (stop.clone(), abort.clone());
            supervisor.start("retention", Importance::Helpful, move |_| {
                let purging = steady_state::run(config, Arc::clone(&store), Arc::clone(&metrics), stop.clone());
                let abort = abort.clone();
                async move {
                    abort.run_until_cancelled(purging).await;
                }
            });
        }
        if let Some((migrations, config)) = self.migrations {
            let (stop, abort) = (stop.clone(), abort.clone());
            supervisor.start("migrations", Importance::Helpful, move |_| {
                let (migrating, abort) = (migrations.clone().run(config, stop.clone()), abort.clone());
                async move {
                    abort.run_until_cancelled(migrating).await;
                }
            });
        }
        Working { stop, compensator: self.compensator, supervisor: Arc::clone(supervisor) }
    }
}

impl Working {
    /// Finishes what was begun; no request is left that could begin more.
    pub(super) async fn finish(self) {
        self.stop.cancel();
        self.supervisor.end().await;
        if let Some(compensator) = self.compensator {
            compensator.finish().await;
        }
    }
}
