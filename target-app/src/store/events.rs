//! Analytics events, written one by one or many at once.
//!
//! Invariant: an event's id is stored once, however often it is sent.

use super::{Store, StoreError, on_pool};
use sqlx::QueryBuilder;

/// Something that a customer did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) product: Option<i64>,
    pub(crate) received_at_ms: i64,
}

impl Store {
    /// Stores events in one statement, those that are there already left out. All of them, or none.
    pub(crate) async fn insert_events(&self, events: &[Event]) -> Result<(), StoreError> {
        if events.is_empty() {
            return Ok(());
        }
        on_pool!(self, |pool| {
            let mut insert = QueryBuilder::new("INSERT INTO events (id, kind, product, received_at_ms) ");
            insert.push_values(events, |mut row, event| {
                row.push_bind(&event.id)
                    .push_bind(&event.kind)
                    .push_bind(event.product)
                    .push_bind(event.received_at_ms);
            });
            insert.push(" ON CONFLICT (id) DO NOTHING");
            insert.build().execute(pool).await?;
        });
        Ok(())
    }
}
