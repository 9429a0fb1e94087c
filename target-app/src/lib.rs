//! The target of the experiments: an online shop that survives, and its five dependencies.
//!
//! ```text
//!  customers ─▶ shop ─┬─▶ inventory, payment                 critical
//!                     ├─▶ recommendations, reviews, facets   optional
//!                     └─▶ database
//! ```
//!
//! Read it downwards: `shop/` puts the patterns together, `api/` takes requests, `pages.rs` and `orders.rs` do
//! the work with `events.rs` and `reports.rs`, `upstream.rs` calls dependencies through the patterns of `resilience/`, one file each. Each pattern can
//! be switched off ([`Pattern`]), so that an experiment can show what it is for.
//!
//! Invariant: no global state; everything listens where it is told and ends when it is told.

// The support of tests names the crate as tests from outside do.
#[cfg(test)]
extern crate self as squall_shop;

mod api;
mod config;
mod dependency;
mod door;
mod error;
mod events;
mod failure;
mod http_client;
pub mod local_postgres;
pub mod maintenance;
mod metrics;
mod orders;
mod pages;
mod pattern;
mod reports;
mod resilience;
mod server;
mod shop;
mod storage_metrics;
mod store;
mod upstream;

pub use config::{AdminToken, FrontConfig, InvalidOrigin, Origin, ReportConfig, ShopConfig, StorageConfig, WeakToken};
pub use dependency::{Dependency, DependencyConfig, DependencyKind, UnknownDependency};
pub use error::ShopError;
pub use pattern::{Pattern, UnknownPattern};
pub use resilience::{
    adaptive_concurrency::AdaptiveConfig,
    back_pressure::BackPressureConfig,
    bulkhead::BulkheadConfig,
    chaos::{ChaosRule, InvalidRule, NamedRule},
    circuit_breaker::BreakerConfig,
    failover_cache::CacheConfig,
    graceful_shutdown::ShutdownConfig,
    health_checks::HealthConfig,
    load_shedding::SheddingConfig,
    micro_batching::BatchConfig,
    migrations::MigrationConfig,
    rate_limiting::RateConfig,
    retry::RetryConfig,
    retry_budget::RetryBudgetConfig,
    steady_state::RetentionConfig,
    supervision::SupervisionConfig,
    timeout_advice::AdviceConfig,
};
pub use shop::Shop;
pub use store::{DatabaseConfig, DatabaseUrl, InvalidDatabase, Schema, UnknownSchema};
