//! What a shop is told when it is made.
//!
//! Every limit has a default that suits a laptop and the experiments; the command line sets the few that matter.
//! Neighbours: `shop/` builds from it; `front.rs` has what is about requests, `storage.rs` what is about the database,
//! and each pattern's part is defined beside the pattern.
//!
//! Invariant: nothing is read from the environment or from files here; two shops share nothing through it.

mod front;
mod origin;
mod storage;

use crate::{
    dependency::DependencyKind,
    pattern::Pattern,
    resilience::{
        bulkhead::BulkheadConfig, circuit_breaker::BreakerConfig, failover_cache::CacheConfig,
        graceful_shutdown::ShutdownConfig, health_checks::HealthConfig, retry::RetryConfig,
        retry_budget::RetryBudgetConfig, supervision::SupervisionConfig, timeout_advice::AdviceConfig,
    },
};
pub use front::{AdminToken, FrontConfig, WeakToken};
pub use origin::{InvalidOrigin, Origin};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};
pub use storage::{ReportConfig, StorageConfig};

/// A shop to be made.
#[derive(Debug, Clone)]
pub struct ShopConfig {
    /// Where customers connect; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where each dependency is; all of them are needed.
    pub dependencies: BTreeMap<DependencyKind, Origin>,
    /// The database.
    pub storage: StorageConfig,
    /// How requests are taken.
    pub front: FrontConfig,
    /// Patterns that are switched off.
    pub without: BTreeSet<Pattern>,
    /// An order may take so long in all: three tenths for inventory, five for payment, two for the database.
    pub order_budget: Duration,
    /// Tries and pauses.
    pub retry: RetryConfig,
    /// Retries as a share of calls.
    pub retry_budget: RetryBudgetConfig,
    /// The circuit breakers.
    pub breaker: BreakerConfig,
    /// The pools.
    pub bulkhead: BulkheadConfig,
    /// The fail-over cache.
    pub cache: CacheConfig,
    /// The health checks.
    pub health: HealthConfig,
    /// The end.
    pub shutdown: ShutdownConfig,
    /// Restarts of background workers.
    pub supervision: SupervisionConfig,
    /// What time-outs are advised from.
    pub advice: AdviceConfig,
}

impl Default for ShopConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            dependencies: BTreeMap::new(),
            storage: StorageConfig::default(),
            front: FrontConfig::default(),
            without: BTreeSet::new(),
            order_budget: Duration::from_secs(10),
            retry: RetryConfig::default(),
            retry_budget: RetryBudgetConfig::default(),
            breaker: BreakerConfig::default(),
            bulkhead: BulkheadConfig::default(),
            cache: CacheConfig::default(),
            health: HealthConfig::default(),
            shutdown: ShutdownConfig::default(),
            supervision: SupervisionConfig::default(),
            advice: AdviceConfig::default(),
        }
    }
}
