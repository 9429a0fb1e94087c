//! The part of a shop's configuration that is about its database, and what is done with it.

use crate::{
    resilience::{micro_batching::BatchConfig, migrations::MigrationConfig, steady_state::RetentionConfig},
    store::DatabaseConfig,
};
use std::time::Duration;

/// Where orders are kept, and how.
#[derive(Debug, Clone, Default)]
pub struct StorageConfig {
    /// The database.
    pub database: DatabaseConfig,
    /// How events are written.
    pub events: BatchConfig,
    /// What is forgotten when.
    pub retention: RetentionConfig,
    /// How fast rows are migrated.
    pub migration: MigrationConfig,
    /// How the sales report is made.
    pub report: ReportConfig,
}

/// How the sales report is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReportConfig {
    /// It may take so long in all.
    pub budget: Duration,
    /// Products asked after at a time.
    pub workers: usize,
    /// Products in each channel between two stages.
    pub capacity: usize,
    /// Products of one page of the database.
    pub page: u32,
}

impl Default for ReportConfig {
    fn default() -> Self {
        Self { budget: Duration::from_secs(5), workers: 8, capacity: 16, page: 50 }
    }
}
