//! Acts on a command: binds, tells the addresses, serves until a signal, drains.
//!
//! Neighbours: `cli.rs` has the words, the library does the rest.
//!
//! Invariant: the ready file appears whole, and only when everything is bound.

use crate::{
    cli::{self, Command, Ready},
    storage_args,
};
use squall_shop::{Dependency, DependencyConfig, DependencyKind, Origin, Shop, ShopConfig, ShopError, maintenance};
use std::{
    collections::BTreeMap,
    error::Error,
    fmt::Write as _,
    io::{self, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

/// Why the command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    /// The runtime or the signal handlers could not be set up.
    #[error("failed to start")]
    Start(#[source] io::Error),
    /// Something could not be bound or opened.
    #[error(transparent)]
    Shop(#[from] ShopError),
    /// The ready file could not be written.
    #[error("failed to write the ready file {path}")]
    ReadyFile { path: PathBuf, source: io::Error },
    /// The admin token could not be read.
    #[error("failed to read the admin token from {path}")]
    TokenFile { path: PathBuf, source: io::Error },
    /// The admin token is none.
    #[error("failed to use the admin token in {path}")]
    WeakToken { path: PathBuf, source: squall_shop::WeakToken },
}

/// An error with its causes, in one line.
pub(crate) fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Writing to a String cannot fail.
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}

/// Runs the command until it ends.
#[tokio::main]
pub(crate) async fn run(command: Command) -> Result<(), RunError> {
    let shutdown = CancellationToken::new();
    // Dropped with this function, which ends the one task in it.
    let mut signals = JoinSet::new();
    signals.spawn(on_signal(shutdown.clone())?);
    match command {
        Command::Serve { shop, dependencies, ready } => {
            let mut config = shop.config()?;
            config.dependencies = dependencies.by_kind().collect();
            let shop = Shop::bind(config).await?;
            tell(&ready, &[("shop", shop.local_addr())])?;
            shop.serve(shutdown).await;
        }
        Command::Dependency { name, listen, latency, requests_per_connection, stock, ready } => {
            let config = cli::dependency(name, listen, latency, requests_per_connection, stock);
            let dependency = Dependency::bind(config).await?;
            tell(&ready, &[(name.name(), dependency.local_addr())])?;
            dependency.serve(shutdown).await;
        }
        Command::Migrate { step, database } => {
            let said = maintenance::migrate(&storage_args::to_migrate(database), step.into()).await?;
            // Nobody may be reading; the exit code says it as well.
            let _ = writeln!(io::stdout(), "{said}");
        }
        Command::All { shop, ready } => all(shop.config()?, &ready, shutdown).await?,
    }
    Ok(())
}

/// The dependencies end after the shop: it may still need them for what it is finishing.
async fn all(mut config: ShopConfig, ready: &Ready, shutdown: CancellationToken) -> Result<(), RunError> {
    let (after, mut serving) = (CancellationToken::new(), JoinSet::new());
    let mut addresses = Vec::new();
    for kind in DependencyKind::ALL {
        let dependency = Dependency::bind(DependencyConfig::new(kind)).await?;
        addresses.push((kind.name(), dependency.local_addr()));
        config.dependencies.insert(kind, Origin::from(dependency.local_addr()));
        serving.spawn(dependency.serve(after.clone()));
    }
    let shop = Shop::bind(config).await?;
    addresses.insert(0, ("shop", shop.local_addr()));
    tell(ready, &addresses)?;
    shop.serve(shutdown).await;
    after.cancel();
    serving.join_all().await;
    Ok(())
}

/// Cancels the token on SIGINT or SIGTERM. The handlers are in place when this returns.
fn on_signal(shutdown: CancellationToken) -> Result<impl Future<Output = ()>, RunError> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(RunError::Start)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(RunError::Start)?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        shutdown.cancel();
    })
}

fn tell(ready: &Ready, addresses: &[(&str, SocketAddr)]) -> Result<(), RunError> {
    for (name, address) in addresses {
        tracing::info!(name, %address, "listening");
    }
    let Some(path) = &ready.ready_file else { return Ok(()) };
    write_whole(path, addresses).map_err(|source| RunError::ReadyFile { path: path.clone(), source })
}

fn write_whole(path: &Path, addresses: &[(&str, SocketAddr)]) -> io::Result<()> {
    let addresses: BTreeMap<_, _> = addresses.iter().map(|(name, address)| (*name, address.to_string())).collect();
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let file = tempfile::NamedTempFile::new_in(directory)?;
    serde_json::to_writer(&file, &addresses)?;
    file.persist(path)?;
    Ok(())
}
