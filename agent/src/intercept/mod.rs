//! Transparent interception, on Linux: connections that programs of this machine open to a target come through a proxy
//! of the agent, and their configuration stays as it is.
//!
//! ```text
//!  program ──connect 10.0.0.2:80──▶ nftables: redirect ──▶ proxy ──marked──▶ 10.0.0.2:80
//!                                       ▲ table.rs                └─ what is marked is not redirected again
//!                    rules.rs ──▶ nft.rs (the program `nft`)
//!                    watchdog.rs: a process that takes the rules away when the agent dies
//! ```
//! `target.rs` says what is intercepted, as proxies. Above is `agent.rs`, which prepares, binds, starts and ends it.
//! What the data plane must know ([`Originals`]): which connections go back to where they were going, and the mark.
//!
//! Invariant: there are rules only while a watchdog lives that knows of them, and none that redirect while it is halted; and a
//! proxy that they lead to stays where it is.

mod nft;
mod original;
mod rules;
mod table;
mod target;
mod watchdog;

pub use nft::NftError;
pub(crate) use original::{Originals, set_mark};
pub use target::{InterceptTarget, InvalidTarget};
pub use watchdog::watch;

use crate::{
    events::{Received, Subscription},
    registry::Registry,
};
use rules::{Redirect, Rules};
use squall_wire::{EventKind, ProxyInfo, ProxySpec};
use std::{collections::BTreeSet, io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};
use table::Table;
use target::Leg;
use tokio_util::sync::CancellationToken;
use watchdog::Watchdog;

/// What the agent's own connections are marked with (`SO_MARK`), the same for all agents: two that intercept one
/// target on one machine must not send each other's connections in a circle. Small, for the higher bits are taken by
/// container networks.
const MARK: u32 = 0x51;

/// How long until rules that could not be laid or lifted are tried again.
const RETRY: Duration = Duration::from_secs(1);

/// What is to be intercepted.
#[derive(Debug, Clone)]
pub struct InterceptConfig {
    /// Where connections go that shall come through the agent.
    pub targets: Vec<InterceptTarget>,
    /// Users whose connections are left alone.
    pub exclude_uids: Vec<u32>,
    /// Whether connections are taken as well that others send through this machine. The proxies then listen on every
    /// address.
    pub forwarded: bool,
    /// The program that is run as the watchdog: this one.
    pub program: PathBuf,
}

/// Why nothing can be intercepted.
#[derive(Debug, thiserror::Error)]
pub enum InterceptError {
    /// A target makes no sense on this machine.
    #[error("--to {0}")]
    Target(#[from] InvalidTarget),
    /// The rules cannot be read or written.
    #[error(transparent)]
    Nft(#[from] NftError),
    /// The agent's own connections cannot be told from others.
    #[error("failed to mark a socket: {0}; intercepting needs Linux and the capability CAP_NET_ADMIN: run as root")]
    Mark(io::Error),
    /// No name for a table is to be had.
    #[error("failed to claim a name for a table: {0}")]
    Claim(io::Error),
    /// The process that takes the rules away after a crash does not run.
    #[error("failed to start the watchdog: {0}; nothing is intercepted without it")]
    Watchdog(io::Error),
    /// Two proxies would have one name.
    #[error("--to: there is another proxy `{0}`: give this one a name of its own, as in --to NAME=HOST:PORT")]
    NameTaken(String),
    /// A proxy for a target is not there.
    #[error("there is no proxy `{0}` to send connections to")]
    NoProxy(String),
}

/// What is known before anything is bound.
#[derive(Debug)]
pub(crate) struct Plan {
    config: InterceptConfig,
    legs: Vec<Leg>,
    table: Table,
}

impl Plan {
    /// Resolves the targets, sees that rules can be written here, and takes away those that dead agents left.
    pub(crate) async fn prepare(config: &InterceptConfig, proxies: &[ProxySpec]) -> Result<Self, InterceptError> {
        let legs = target::resolve(&config.targets, config.forwarded).await?;
        let mut names: BTreeSet<_> = proxies.iter().map(|proxy| &proxy.name).collect();
        if let Some(leg) = legs.iter().find(|leg| !names.insert(&leg.spec.name)) {
            return Err(InterceptError::NameTaken(leg.spec.name.to_string()));
        }
        original::try_mark(MARK).map_err(InterceptError::Mark)?;
        for stale in table::remove_stale().await? {
            tracing::warn!(table = stale, "removed the rules of an agent that is dead");
        }
        let table = Table::claim().map_err(InterceptError::Claim)?;
        Ok(Self { config: config.clone(), legs, table })
    }

    /// A proxy for each target, and for each family of addresses that it has.
    pub(crate) fn proxies(&self) -> impl Iterator<Item = &ProxySpec> {
        self.legs.iter().map(|leg| &leg.spec)
    }

    /// What the data plane must know.
    pub(crate) fn originals(&self) -> Originals {
        let mut originals = Originals::new(MARK);
        for leg in &self.legs {
            originals.add(&leg.spec, &leg.addresses);
        }
        originals
    }

    /// Starts the watchdog, and redirects unless the agent is `halted`.
    pub(crate) async fn start(self, bound: &[ProxyInfo], halted: bool) -> Result<Interception, InterceptError> {
        let redirects: Result<Vec<_>, _> = self.legs.iter().map(|leg| redirect(leg, bound)).collect();
        let rules = Rules {
            table: self.table.name().to_owned(),
            mark: MARK,
            exclude_uids: self.config.exclude_uids.iter().copied().collect(),
            redirects: redirects?,
            forwarded: self.config.forwarded,
        };
        let watchdog = Watchdog::start(&self.config.program, &rules.table).await.map_err(InterceptError::Watchdog)?;
        let program = self.config.program;
        let mut interception =
            Interception { program, rules, _table: self.table, watchdog: Some(watchdog), laid: false };
        if !halted {
            interception.lay().await?;
        }
        Ok(interception)
    }
}

fn redirect(leg: &Leg, bound: &[ProxyInfo]) -> Result<Redirect, InterceptError> {
    let proxy = bound.iter().find(|proxy| proxy.name == leg.spec.name);
    let address: Option<SocketAddr> = proxy.and_then(|proxy| proxy.listen.parse().ok());
    let port = address.ok_or_else(|| InterceptError::NoProxy(leg.spec.name.to_string()))?.port();
    Ok(Redirect { addresses: leg.addresses.clone(), port })
}

/// Rules that can be laid and lifted, and who takes them away when the agent cannot.
#[derive(Debug)]
pub(crate) struct Interception {
    program: PathBuf,
    rules: Rules,
    /// Its name is ours for as long as this lives.
    _table: Table,
    /// None when it died and no other could be started: then nothing is intercepted.
    watchdog: Option<Watchdog>,
    /// Whether the rules are there, as far as is known.
    laid: bool,
}

/// What happened meanwhile.
enum Woke {
    Stop,
    HaltChanged,
    WatchdogDied,
    Again,
}

impl Interception {
    async fn lay(&mut self) -> Result<(), NftError> {
        nft::apply(&self.rules.laid()).await?;
        self.laid = true;
        let targets: BTreeSet<_> = self.rules.redirects.iter().flat_map(|redirect| &redirect.addresses).collect();
        tracing::info!(table = self.rules.table, ?targets, "intercepting");
        Ok(())
    }

    /// Redirects until stopped, but while the agent is halted. [`Self::end`] comes when open connections have ended.
    pub(crate) async fn run(mut self, registry: &Arc<Registry>, stop: &CancellationToken) -> Self {
        let mut events = registry.events().subscribe(None);
        loop {
            let wanted = self.watchdog.is_some() && registry.halt_info().await.halt.is_none();
            match (self.laid, wanted) {
                (false, true) => {
                    if let Err(error) = self.lay().await {
                        tracing::error!(%error, "failed to intercept again; trying again");
                    }
                }
                (true, false) => self.lift().await,
                _ => {}
            }
            match self.wait(&mut events, stop, self.laid != wanted).await {
                Woke::Stop => break,
                Woke::HaltChanged | Woke::Again => {}
                Woke::WatchdogDied => self.watch_again().await,
            }
        }
        if self.laid {
            self.lift().await;
        }
        self
    }

    /// Takes the table away, and lets the watchdog go. What it could not do, the watchdog does.
    pub(crate) async fn end(mut self) {
        let table = &self.rules.table;
        let removed = nft::remove(table).await;
        if let Err(error) = &removed {
            tracing::error!(%error, "failed to take the rules away: type `nft delete table inet {table}`");
        }
        if let Some(watchdog) = self.watchdog.take() {
            watchdog.dismiss(removed.is_ok()).await;
        }
    }

    async fn wait(&mut self, events: &mut Option<Subscription>, stop: &CancellationToken, again: bool) -> Woke {
        tokio::select! {
            biased;
            () = stop.cancelled() => Woke::Stop,
            () = watchdog::died(&mut self.watchdog) => Woke::WatchdogDied,
            () = halt_changed(events) => Woke::HaltChanged,
            () = tokio::time::sleep(RETRY), if again => Woke::Again,
        }
    }

    async fn lift(&mut self) {
        let table = &self.rules.table;
        match nft::apply(&self.rules.lifted()).await {
            Ok(()) => {
                self.laid = false;
                tracing::info!(table, "intercepting no more; connections that are open go on");
            }
            Err(error) => tracing::error!(%error, table, "failed to stop intercepting"),
        }
    }

    async fn watch_again(&mut self) {
        self.watchdog = Watchdog::start(&self.program, &self.rules.table)
            .await
            .inspect(|_| tracing::warn!("the watchdog died: another one took its place"))
            .inspect_err(|error| tracing::error!(%error, "the watchdog died, and no other can be started"))
            .ok();
    }
}

/// Returns when the agent may have been halted, or a halt lifted.
async fn halt_changed(events: &mut Option<Subscription>) {
    while let Some(subscription) = events {
        match subscription.next().await {
            Some(Received::Event(event)) if matches!(event.kind, EventKind::Halted | EventKind::Resumed) => return,
            Some(Received::Missed(_)) => return,
            Some(Received::Event(_)) => {}
            None => *events = None,
        }
    }
    std::future::pending().await
}
