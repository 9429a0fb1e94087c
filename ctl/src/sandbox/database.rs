//! The database of the sandbox's shop: a file, a PostgreSQL server of its own, or one that there is. A server is put behind
//! the agent's proxy `database`, so that faults reach it.
//!
//! Neighbours: `sandbox` puts it together, `squall_shop::local_postgres` starts and ends the server. Invariant: a server that
//! was started here ends with the sandbox, however that ends.

use crate::exit::Failure;
use squall_engine::environment::{OwnDatabase, ShopDatabase};
use squall_shop::{DatabaseUrl, local_postgres::LocalPostgres};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

/// The name of the proxy before it.
pub(super) const PROXY: &str = "database";
/// Nothing of the sandbox outlives it, so nothing has to be on disk; and a small server starts faster.
const OPTIONS: [&str; 6] = ["-c", "fsync=off", "-c", "shared_buffers=32MB", "-c", "autovacuum_naptime=10s"];

/// A database that is there.
pub(super) struct Database {
    /// Where it is without a proxy; with its password.
    url: String,
    parsed: DatabaseUrl,
    server: Option<LocalPostgres>,
}

impl Database {
    /// Starts what has to be started. A server's directory begins with this prefix.
    pub(super) async fn start(wanted: &ShopDatabase, file: PathBuf, prefix: &Path) -> Result<Self, Failure> {
        let of = |url: String, server| {
            let parsed = url.parse::<DatabaseUrl>().map_err(|e| super::broken(PROXY, &e))?;
            Ok(Self { url, parsed, server })
        };
        match wanted {
            ShopDatabase::Own(OwnDatabase::Sqlite) => of(format!("sqlite:{}", file.display()), None),
            ShopDatabase::Own(OwnDatabase::Postgres) => {
                let prefix = prefix.to_owned();
                let start = move || LocalPostgres::start(&prefix, &OPTIONS);
                let started = tokio::task::spawn_blocking(start).await.map_err(|e| super::broken(PROXY, &e))?;
                let server = started.map_err(|error| {
                    Failure::failed(format!(
                        "failed to start the sandbox's database: {error}; install PostgreSQL (Debian: apt-get install \
                         postgresql), or name a server that runs by --database postgres://USER:PASSWORD@HOST:PORT/DATABASE"
                    ))
                })?;
                of(server.url("postgres"), Some(server))
            }
            ShopDatabase::At(url) => {
                let database = of(url.to_string(), None)?;
                if database.server().is_none() {
                    let message =
                        "the agent reaches a database over TCP only: name its HOST and PORT, not a Unix socket";
                    return Err(Failure::usage(message));
                }
                Ok(database)
            }
        }
    }

    /// The upstream of its proxy; none: it is a file.
    pub(super) fn server(&self) -> Option<String> {
        self.parsed.server().map(|(host, port)| format!("{host}:{port}"))
    }

    /// What the shop is told: the proxy's address where there is one.
    pub(super) fn through(&self, proxy: Option<SocketAddr>) -> DatabaseUrl {
        proxy.map_or_else(|| self.parsed.clone(), |proxy| self.parsed.through(proxy))
    }

    /// Its address without a proxy, so that what reads it is not hurt with the shop. With its password.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Ends the server, if it is ours.
    pub(super) async fn stop(self) {
        let ended = tokio::task::spawn_blocking(move || drop(self.server)).await;
        if let Err(error) = ended {
            tracing::warn!(%error, "failed to end the sandbox's database");
        }
    }
}
