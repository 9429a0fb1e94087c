//! Shops to be measured: each with its dependencies, on free ports, and gone when it is closed.
//!
//! Invariant: a stage ends everything that it started before the next begins.

use super::postgres::Postgres;
use crate::error::{BenchError, Tried};
use squall_shop::{Dependency, DependencyConfig, DependencyKind, Origin, Shop, ShopConfig, ShutdownConfig};
use std::{net::SocketAddr, path::PathBuf, time::Duration};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Where databases are.
pub(super) struct Site {
    directory: TempDir,
    pub(super) postgres: Result<Postgres, String>,
}

impl Site {
    pub(super) fn open() -> Result<Self, BenchError> {
        Ok(Self { directory: tempfile::tempdir().tried("make a directory")?, postgres: Postgres::start() })
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

/// A shop that is open.
pub(super) struct Stage {
    pub(super) shop: SocketAddr,
    stop: CancellationToken,
    serving: JoinSet<()>,
    after: CancellationToken,
    dependencies: JoinSet<()>,
}

fn failed(error: impl std::fmt::Display) -> BenchError {
    BenchError::Peer { who: "the shop", what: "start".to_owned(), why: error.to_string() }
}

impl Stage {
    /// With dependencies of which each takes so long to answer, or as long as is usual.
    pub(super) async fn open(mut config: ShopConfig, latency: Option<Duration>) -> Result<Self, BenchError> {
        let (after, mut dependencies) = (CancellationToken::new(), JoinSet::new());
        for kind in DependencyKind::ALL {
            let usual = DependencyConfig::new(kind);
            let latency = latency.unwrap_or(usual.latency);
            // New connections for each call would measure the system's sockets.
            let dependency = Dependency::bind(DependencyConfig { latency, requests_per_connection: 0, ..usual }).await;
            let dependency = dependency.map_err(failed)?;
            config.dependencies.insert(kind, Origin::from(dependency.local_addr()));
            dependencies.spawn(dependency.serve(after.clone()));
        }
        // All customers come from one address, and none of them is to be turned away for that.
        config.front.rate.address = 1_000_000;
        // Customers who ask as fast as they can take all of the machine that they share with the shop; to shed for that would be to
        // measure them.
        config.front.shedding.cpu_from = 10.0;
        config.shutdown = ShutdownConfig { pause: Duration::ZERO, ..ShutdownConfig::default() };
        let shop = Shop::bind(config).await.map_err(failed)?;
        let (address, stop, mut serving) = (shop.local_addr(), CancellationToken::new(), JoinSet::new());
        serving.spawn(shop.serve(stop.clone()));
        Ok(Self { shop: address, stop, serving, after, dependencies })
    }

    pub(super) async fn close(mut self) {
        self.stop.cancel();
        while self.serving.join_next().await.is_some() {}
        self.after.cancel();
        while self.dependencies.join_next().await.is_some() {}
    }
}
