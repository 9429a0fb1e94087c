//! What a shop does beside its requests: it writes events, undoes orders, forgets and migrates.
//!
//! ```text
//! requests end ─▶ stop ─▶ events that were accepted are written, orders that failed are undone ─▶ gone
//! ```
//! Neighbours: `storage.rs` says what there is, `mod.rs` starts it with the server and finishes it after. Invariant: each
//! task is in one `JoinSet` or under the supervisor, and is waited for.

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
use tokio::task::JoinSet;
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
    tasks: JoinSet<()>,
    compensator: Option<Arc<Compensator>>,
    supervisor: Arc<Supervisor>,
}

impl Background {
    /// What begins anew from the database after a crash is supervised; at `abort` it is dropped where it is.
    pub(super) fn start(self, supervisor: &Arc<Supervisor>, abort: &CancellationToken) -> Working {
        let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
        if let Some(events) = self.events {
            tasks.spawn(events.run(stop.clone()));
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
            tasks.spawn(migrations.run(config, stop.clone()));
        }
        Working { stop, tasks, compensator: self.compensator, supervisor: Arc::clone(supervisor) }
    }
}

impl Working {
    /// Finishes what was begun; no request is left that could begin more.
    pub(super) async fn finish(mut self) {
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a background task failed");
            }
        }
        self.supervisor.end().await;
        if let Some(compensator) = self.compensator {
            compensator.finish().await;
        }
    }
}
