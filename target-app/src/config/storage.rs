//! The part of a shop's configuration that is about its database.

use std::path::PathBuf;

/// Where orders are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageConfig {
    /// The SQLite file; a temporary one, gone with the shop, when absent.
    pub database: Option<PathBuf>,
    /// Connections to the database, at most.
    pub connections: u32,
}

impl Default for StorageConfig {
    fn default() -> Self {
        Self { database: None, connections: 8 }
    }
}
