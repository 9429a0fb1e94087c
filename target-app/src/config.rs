//! What a shop is told when it is made.
//!
//! Every limit has a default that suits a laptop and the experiments; the command line sets the few that matter.
//! Neighbours: `shop.rs` builds from it, each pattern's part is defined beside the pattern.
//!
//! Invariant: nothing is read from the environment or from files here; two shops share nothing through it.

use crate::{
    dependency::DependencyKind,
    pattern::Pattern,
    resilience::{
        bulkhead::BulkheadConfig, circuit_breaker::BreakerConfig, failover_cache::CacheConfig,
        graceful_shutdown::ShutdownConfig, health_checks::HealthConfig, retry::RetryConfig,
        retry_budget::RetryBudgetConfig,
    },
};
use axum::http::{Uri, uri::Authority};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

/// Where a dependency is: `HOST:PORT` or `http://HOST:PORT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(Authority);

/// A text that is not an origin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an address: write `127.0.0.1:8080` or `http://payment:8080`, without a path")]
pub struct InvalidOrigin(String);

impl Origin {
    /// The URL of a path there.
    pub(crate) fn join(&self, path: &str) -> Result<Uri, axum::http::Error> {
        Uri::builder().scheme("http").authority(self.0.clone()).path_and_query(path).build()
    }
}

impl FromStr for Origin {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        let invalid = || InvalidOrigin(text.to_owned());
        let rest = text.trim();
        let rest = rest.strip_prefix("http://").unwrap_or(rest);
        let authority: Authority = rest.strip_suffix('/').unwrap_or(rest).parse().map_err(|_| invalid())?;
        match authority.port_u16() {
            Some(_) if !authority.host().is_empty() => Ok(Self(authority)),
            Some(_) | None => Err(invalid()),
        }
    }
}

impl From<SocketAddr> for Origin {
    fn from(address: SocketAddr) -> Self {
        #[expect(clippy::expect_used, reason = "a socket address is always written as host:port")]
        let authority = address.to_string().parse().expect("a socket address is an authority");
        Self(authority)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.0)
    }
}

/// A shop to be made.
#[derive(Debug, Clone)]
pub struct ShopConfig {
    /// Where customers connect; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where each dependency is; all of them are needed.
    pub dependencies: BTreeMap<DependencyKind, Origin>,
    /// The SQLite file; a temporary one, gone with the shop, when absent.
    pub database: Option<PathBuf>,
    /// Connections to the database, at most.
    pub database_connections: u32,
    /// Patterns that are switched off.
    pub without: BTreeSet<Pattern>,
    /// An order may take so long in all: three tenths for inventory, five for payment, two for the database.
    pub order_budget: Duration,
    /// A page or a search may take so long in all.
    pub page_budget: Duration,
    /// An optional part of a page may take so long.
    pub optional_share: Duration,
    /// Requests worked on at a time.
    pub request_slots: usize,
    /// Connections of customers open at a time; more wait in the listen queue.
    pub connections: usize,
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
}

impl Default for ShopConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            dependencies: BTreeMap::new(),
            database: None,
            database_connections: 8,
            without: BTreeSet::new(),
            order_budget: Duration::from_secs(10),
            page_budget: Duration::from_secs(1),
            optional_share: Duration::from_millis(150),
            request_slots: 128,
            connections: 1024,
            retry: RetryConfig::default(),
            retry_budget: RetryBudgetConfig::default(),
            breaker: BreakerConfig::default(),
            bulkhead: BulkheadConfig::default(),
            cache: CacheConfig::default(),
            health: HealthConfig::default(),
            shutdown: ShutdownConfig::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Origin;
    use std::net::SocketAddr;

    #[test]
    fn an_origin_is_a_host_and_a_port_with_or_without_scheme() {
        let address: SocketAddr = "127.0.0.1:80".parse().unwrap();
        for text in ["127.0.0.1:80", "http://127.0.0.1:80", "http://127.0.0.1:80/"] {
            assert_eq!(text.parse(), Ok(Origin::from(address)), "{text}");
        }
        assert!("[::1]:80".parse::<Origin>().is_ok());
    }

    #[test]
    fn what_is_not_an_origin_is_refused() {
        for text in ["", "localhost", ":80", "https://a:1", "http://a:1/path", "a b:1"] {
            assert!(text.parse::<Origin>().is_err(), "{text}");
        }
    }
}
