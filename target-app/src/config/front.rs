//! The part of a shop's configuration that is about requests: who is let in, how many, for how long.

use std::time::Duration;

/// How a shop takes requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrontConfig {
    /// Requests worked on at a time.
    pub request_slots: usize,
    /// Connections of customers open at a time; more wait in the listen queue.
    pub connections: usize,
    /// A page or a search may take so long in all.
    pub page_budget: Duration,
    /// An optional part of a page may take so long.
    pub optional_share: Duration,
}

impl Default for FrontConfig {
    fn default() -> Self {
        Self {
            request_slots: 128,
            connections: 1024,
            page_budget: Duration::from_secs(1),
            optional_share: Duration::from_millis(150),
        }
    }
}
