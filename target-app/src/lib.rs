//! The target of the experiments: an online shop that survives, and its five dependencies.
//!
//! ```text
//!  customers ─▶ shop ─┬─▶ inventory, payment                 critical
//!                     ├─▶ recommendations, reviews, facets   optional
//!                     └─▶ database
//! ```
//!
//! Read it downwards: `shop/` puts the patterns together, `api/` takes requests, `pages.rs` and `orders.rs` do
//! the work, `upstream.rs` calls dependencies through the patterns of `resilience/`, one file each. Each pattern can
//! be switched off ([`Pattern`]), so that an experiment can show what it is for.
//!
//! Invariant: no global state; everything listens where it is told and ends when it is told.

mod api;
mod compensation;
mod config;
mod dependency;
mod door;
mod error;
mod failure;
mod http_client;
mod metrics;
mod orders;
mod pages;
mod pattern;
mod resilience;
mod server;
mod shop;
mod store;
mod upstream;

pub use config::{AdminToken, FrontConfig, InvalidOrigin, Origin, ShopConfig, StorageConfig, WeakToken};
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
    rate_limiting::RateConfig,
    retry::RetryConfig,
    retry_budget::RetryBudgetConfig,
    supervision::SupervisionConfig,
    timeout_advice::AdviceConfig,
};
pub use shop::Shop;
