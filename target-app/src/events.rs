//! Analytics events: taken from customers, written in batches.
//!
//! Neighbours: `api/storage.rs` asks, `resilience/micro_batching.rs` collects, `store/events.rs` writes.
//!
//! Invariant: an event is acknowledged when it is in the database, and not before; the same id is stored once.

use crate::{
    error::RequestError,
    metrics::Metrics,
    resilience::{
        idempotency::is_valid_key,
        micro_batching::{BatchConfig, Batcher, Batches, NotWritten, batching},
    },
    store::{Store, StoreError, events::Event, now_ms},
};
use serde::Deserialize;
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// One write may take so long, whatever the database does.
const WRITE_LIMIT: Duration = Duration::from_secs(3);
const LONGEST_KIND: usize = 64;

/// The body of `POST /events`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EventRequest {
    /// The same for each repeat; a new one when absent.
    id: Option<String>,
    kind: String,
    product: Option<i64>,
}

impl EventRequest {
    fn event(self) -> Result<Event, RequestError> {
        let id = self.id.unwrap_or_else(|| Uuid::now_v7().to_string());
        if !is_valid_key(&id) {
            return Err(RequestError::Invalid("`id` is 1 to 128 visible characters".to_owned()));
        }
        if !(1..=LONGEST_KIND).contains(&self.kind.len()) {
            return Err(RequestError::Invalid(format!("`kind` is 1 to {LONGEST_KIND} bytes")));
        }
        Ok(Event { id, kind: self.kind, product: self.product, received_at_ms: now_ms() })
    }
}

/// Where events go.
pub(crate) enum Events {
    Batched { batcher: Batcher<Event>, metrics: Arc<Metrics> },
    Single { store: Arc<Store>, metrics: Arc<Metrics> },
}

/// Writes the batches; to be run beside the server.
pub(crate) struct EventWriter {
    batches: Batches<Event>,
    store: Arc<Store>,
    metrics: Arc<Metrics>,
}

impl Events {
    pub(crate) fn batched(config: BatchConfig, store: Arc<Store>, metrics: Arc<Metrics>) -> (Self, EventWriter) {
        let (batcher, batches) = batching(config);
        (Self::Batched { batcher, metrics: Arc::clone(&metrics) }, EventWriter { batches, store, metrics })
    }

    /// Stores an event, and gives its id when it is stored.
    pub(crate) async fn accept(&self, request: EventRequest) -> Result<String, RequestError> {
        let event = request.event()?;
        let id = event.id.clone();
        match self {
            Self::Batched { batcher, metrics } => batcher.write(event).await.map_err(|error| {
                if error == NotWritten::Full {
                    metrics.storage.event("refused");
                }
                match error {
                    NotWritten::Full | NotWritten::Closed => RequestError::Shed,
                    NotWritten::Failed => RequestError::NotStored,
                }
            })?,
            Self::Single { store, metrics } => {
                write(store, metrics, vec![event]).await.map_err(|_| RequestError::NotStored)?;
            }
        }
        Ok(id)
    }
}

impl EventWriter {
    /// Until `close` is cancelled and everything accepted by then is written. May be run anew when it was dropped.
    pub(crate) async fn run(&self, close: CancellationToken) {
        let Self { batches, store, metrics } = self;
        batches.run(|batch| write(store, metrics, batch), close.cancelled()).await;
    }
}

async fn write(store: &Store, metrics: &Metrics, batch: Vec<Event>) -> Result<(), NotWritten> {
    metrics.storage.batch(batch.len());
    let written = tokio::time::timeout(WRITE_LIMIT, store.insert_events(&batch)).await;
    let result = if matches!(written, Ok(Ok(()))) { "written" } else { "failed" };
    batch.iter().for_each(|_| metrics.storage.event(result));
    match written {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(StoreError::Failed(error))) => tracing::error!(%error, events = batch.len(), "failed to write events"),
        Ok(Err(error)) => tracing::warn!(%error, events = batch.len(), "failed to write events"),
        Err(_) => tracing::warn!(events = batch.len(), "failed to write events in time"),
    }
    Err(NotWritten::Failed)
}
