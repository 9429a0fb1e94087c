//! Migrations: a table changes its shape under shops that run, old ones and new ones side by side.
//!
//! Expand (columns are added that nobody must know), migrate (on access, and by the batch job here), contract (what nobody
//! needs any more is dropped: `squall-shop migrate contract`). The steps and the real example, the price of an order, are in
//! `store/schema.rs`. The files of SQL are applied by sqlx; what none does is to go row by row while others write.
//!
//! Invariant: a batch is one short statement. Switched off, a new shop reads only what is already new, as if the change
//! had been made in one night: rows that an old shop writes are errors to it.

use crate::{
    metrics::Metrics,
    store::{Order, Store},
};
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// How fast the batch job goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MigrationConfig {
    /// Rows of one statement.
    pub batch: u32,
    /// After each statement.
    pub pause: Duration,
    /// When all rows are migrated; an old shop may still write some.
    pub every: Duration,
}

impl Default for MigrationConfig {
    fn default() -> Self {
        Self { batch: 200, pause: Duration::from_millis(20), every: Duration::from_secs(5) }
    }
}

/// Whether rows are migrated.
#[derive(Clone)]
pub(crate) enum Migrations {
    On { store: Arc<Store>, metrics: Arc<Metrics> },
    Off,
}

impl Migrations {
    /// Migrates a row that was just read. It has its answer already, so a failure is the batch job's.
    pub(crate) async fn on_access(&self, order: &Order) {
        let Self::On { store, metrics } = self else { return };
        if order.migrated {
            return;
        }
        match store.migrate_order(&order.id).await {
            Ok(rows) => metrics.storage.migrated("access", rows),
            Err(error) => tracing::debug!(order = order.id, %error, "left to the batch job"),
        }
    }

    /// The batch job, until stopped.
    pub(crate) async fn run(self, config: MigrationConfig, stop: CancellationToken) {
        let Self::On { store, metrics } = self else { return };
        let migrating = async {
            loop {
                let moved = store.migrate_batch(i64::from(config.batch.max(1))).await.unwrap_or_else(|error| {
                    tracing::warn!(%error, "failed to migrate orders");
                    0
                });
                metrics.storage.migrated("batch", moved);
                tokio::time::sleep(if moved > 0 { config.pause } else { config.every }).await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = migrating => {}
        }
    }
}
