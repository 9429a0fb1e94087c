//! What is counted on the database's side: events, messages, what is undone, forgotten and migrated.
//!
//! A part of `metrics.rs`, in its registry. Invariant: every series is there from the start, at zero.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct What {
    what: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct By {
    by: &'static str,
}

/// The counters of one shop's database side.
pub(crate) struct StorageMetrics {
    events: Family<Outcome, Counter>,
    batches: Histogram,
    messages: Family<Outcome, Counter>,
    outbox: Gauge,
    purged: Family<What, Counter>,
    migrated: Family<By, Counter>,
    reports: Family<Outcome, Counter>,
}

impl StorageMetrics {
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            events: Family::default(),
            // 1 to 512 events.
            batches: Histogram::new(exponential_buckets(1.0, 2.0, 10)),
            messages: Family::default(),
            outbox: Gauge::default(),
            purged: Family::default(),
            migrated: Family::default(),
            reports: Family::default(),
        };
        registry.register("events", "Events by what became of them", metrics.events.clone());
        registry.register("event_batch_size", "Events of one write", metrics.batches.clone());
        registry.register("messages", "Messages of the payment provider", metrics.messages.clone());
        registry.register("outbox_pending", "Orders under way or to be undone", metrics.outbox.clone());
        registry.register("purged_rows", "Rows that were old and are forgotten", metrics.purged.clone());
        registry.register("migrated_orders", "Orders whose price was migrated", metrics.migrated.clone());
        registry.register("sales_reports", "Sales reports by how they ended", metrics.reports.clone());
        metrics.zero();
        metrics
    }

    fn zero(&self) {
        for result in ["written", "failed", "refused"] {
            self.events.get_or_create_owned(&Outcome { result });
        }
        for result in ["processed", "repeated", "unknown_order"] {
            self.messages.get_or_create_owned(&Outcome { result });
        }
        for by in ["access", "batch"] {
            self.migrated.get_or_create_owned(&By { by });
        }
        for what in ["keys", "messages", "events", "intents"] {
            self.purged.get_or_create_owned(&What { what });
        }
    }

    pub(crate) fn event(&self, result: &'static str) {
        self.events.get_or_create(&Outcome { result }).inc();
    }

    pub(crate) fn batch(&self, size: usize) {
        self.batches.observe(size as f64);
    }

    pub(crate) fn message(&self, result: &'static str) {
        self.messages.get_or_create(&Outcome { result }).inc();
    }

    pub(crate) fn outbox(&self, pending: i64) {
        self.outbox.set(pending);
    }

    pub(crate) fn purged(&self, what: &'static str, rows: u64) {
        self.purged.get_or_create(&What { what }).inc_by(rows);
    }

    pub(crate) fn migrated(&self, by: &'static str, rows: u64) {
        self.migrated.get_or_create(&By { by }).inc_by(rows);
    }

    pub(crate) fn report(&self, result: &'static str) {
        self.reports.get_or_create(&Outcome { result }).inc();
    }
}
