//! The words of the command line, and the configurations that they stand for.
//!
//! Neighbour: `run.rs` acts on the commands. Wrong usage ends in clap with exit code 2.

use crate::{
    run::RunError,
    storage_args::{MigrateStep, StorageArgs},
};
use clap::{Args, Parser, Subcommand};
use squall_shop::{AdminToken, DatabaseUrl, DependencyConfig, DependencyKind, NamedRule, Origin, Pattern, ShopConfig};
use squall_wire::Span;
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};
use tracing_subscriber::EnvFilter;

/// The target of chaos experiments: a shop with every resilience pattern, each with a switch.
#[derive(Debug, Parser)]
#[command(name = "squall-shop", version, about)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// What to log, as in `info,squall_shop=debug`.
    #[arg(long, global = true, env = "SQUALL_SHOP_LOG", default_value = "info")]
    log: String,
    /// Log lines as JSON.
    #[arg(long, global = true)]
    log_json: bool,
}

impl Cli {
    /// Logs to standard error from now on.
    pub(crate) fn log(&self) {
        let logs = tracing_subscriber::fmt().with_env_filter(EnvFilter::new(&self.log)).with_writer(std::io::stderr);
        if self.log_json {
            logs.json().init();
        } else {
            logs.init();
        }
    }
}

/// What to run.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the shop, with its dependencies elsewhere.
    Serve {
        #[command(flatten)]
        shop: ShopArgs,
        #[command(flatten)]
        dependencies: Addresses,
        #[command(flatten)]
        ready: Ready,
    },
    /// Run one dependency: inventory, payment, recommendations, reviews or facets.
    Dependency {
        /// Which one.
        name: DependencyKind,
        /// Where to listen; port 0 takes a free one.
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: SocketAddr,
        /// Time to answer, up to a half more; the kind's own when absent.
        #[arg(long)]
        latency: Option<Span>,
        /// Close a connection after so many answers, 0 for never; the kind's own when absent.
        #[arg(long)]
        requests_per_connection: Option<u64>,
        /// Pieces of each product in stock (inventory).
        #[arg(long)]
        stock: Option<u32>,
        #[command(flatten)]
        ready: Ready,
    },
    /// Take a step of the change of the orders table.
    Migrate {
        /// Which one.
        step: MigrateStep,
        /// FILE, sqlite:FILE or postgres://USER:PASSWORD@HOST:PORT/DATABASE.
        #[arg(long, value_name = "URL", env = "SQUALL_SHOP_DATABASE", hide_env_values = true)]
        database: DatabaseUrl,
    },
    /// Run the shop and its dependencies, on free loopback ports.
    All {
        #[command(flatten)]
        shop: ShopArgs,
        #[command(flatten)]
        ready: Ready,
    },
}

/// Who waits for the start reads it from a file.
#[derive(Debug, Args)]
pub(crate) struct Ready {
    /// Write the bound addresses to this file, as JSON, once all are bound.
    #[arg(long, value_name = "FILE")]
    pub(crate) ready_file: Option<PathBuf>,
}

/// The shop itself.
#[derive(Debug, Args)]
pub(crate) struct ShopArgs {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Switch a pattern off; may be given often, or with a comma between names.
    #[arg(long, value_name = "PATTERN", value_delimiter = ',')]
    without: Vec<Pattern>,
    /// An order may take so long: three tenths for inventory, five for payment, two for the database.
    #[arg(long, default_value = "10s")]
    order_budget: Span,
    /// An optional part of a page may take so long.
    #[arg(long, default_value = "150ms")]
    optional_share: Span,
    /// Requests worked on at a time.
    #[arg(long)]
    request_slots: Option<usize>,
    /// Requests that may wait for a slot.
    #[arg(long)]
    queue: Option<usize>,
    /// Connections of customers open at a time.
    #[arg(long)]
    connections: Option<usize>,
    /// Requests of one client a second, and twice as many at once.
    #[arg(long)]
    client_rate: Option<u32>,
    /// Orders a second in all, and as many at once.
    #[arg(long)]
    order_rate: Option<u32>,
    /// Hurt a share of an operation from the start, for a day at most; may be given often. A bottleneck of 200 pages a
    /// second is `product:latency_ms=40,lanes=8,for_s=3600`.
    #[arg(long, value_name = "RULE")]
    chaos: Vec<NamedRule>,
    /// What /admin asks for, in a file; without one it answers the loopback only.
    #[arg(long, value_name = "FILE")]
    admin_token_file: Option<PathBuf>,
    /// Calls to one dependency under way at a time.
    #[arg(long)]
    pool_size: Option<usize>,
    /// Calls under way at a time over all dependencies, without the bulkhead.
    #[arg(long)]
    common_pool_size: Option<usize>,
    /// A breaker stays open for so long.
    #[arg(long)]
    breaker_open_for: Option<Span>,
    /// Between turning unready and refusing connections.
    #[arg(long)]
    shutdown_pause: Option<Span>,
    /// Open requests have so long to finish.
    #[arg(long)]
    drain_limit: Option<Span>,
    #[command(flatten)]
    storage: StorageArgs,
}

impl ShopArgs {
    /// The configuration, without addresses of dependencies.
    pub(crate) fn config(self) -> Result<ShopConfig, RunError> {
        let mut config = ShopConfig {
            listen: self.listen,
            without: self.without.into_iter().collect(),
            order_budget: self.order_budget.get(),
            ..ShopConfig::default()
        };
        let duration = |span: Option<Span>, usual: Duration| span.map_or(usual, Span::get);
        config.storage = self.storage.config();
        config.front.optional_share = self.optional_share.get();
        config.front.request_slots = self.request_slots.unwrap_or(config.front.request_slots);
        config.bulkhead.size = self.pool_size.unwrap_or(config.bulkhead.size);
        config.bulkhead.common_size = self.common_pool_size.unwrap_or(config.bulkhead.common_size);
        config.breaker.open_for = duration(self.breaker_open_for, config.breaker.open_for);
        config.shutdown.pause = duration(self.shutdown_pause, config.shutdown.pause);
        config.shutdown.drain = duration(self.drain_limit, config.shutdown.drain);
        let front = &mut config.front;
        front.shedding.queue = self.queue.unwrap_or(front.shedding.queue);
        front.connections = self.connections.unwrap_or(front.connections);
        front.rate.client = self.client_rate.unwrap_or(front.rate.client);
        front.rate.client_burst = self.client_rate.map_or(front.rate.client_burst, |rate| rate.saturating_mul(2));
        front.rate.orders = self.order_rate.unwrap_or(front.rate.orders);
        front.rate.orders_burst = self.order_rate.unwrap_or(front.rate.orders_burst);
        front.chaos = self.chaos;
        front.admin_token = self.admin_token_file.as_deref().map(admin_token).transpose()?;
        Ok(config)
    }
}

fn admin_token(path: &Path) -> Result<AdminToken, RunError> {
    let unreadable = |source| RunError::TokenFile { path: path.to_owned(), source };
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    text.parse().map_err(|source| RunError::WeakToken { path: path.to_owned(), source })
}

/// Where the dependencies are.
#[derive(Debug, Args)]
pub(crate) struct Addresses {
    /// `HOST:PORT` or `http://HOST:PORT`.
    #[arg(long, value_name = "URL")]
    inventory: Origin,
    /// `HOST:PORT` or `http://HOST:PORT`.
    #[arg(long, value_name = "URL")]
    payment: Origin,
    /// `HOST:PORT` or `http://HOST:PORT`.
    #[arg(long, value_name = "URL")]
    recommendations: Origin,
    /// `HOST:PORT` or `http://HOST:PORT`.
    #[arg(long, value_name = "URL")]
    reviews: Origin,
    /// `HOST:PORT` or `http://HOST:PORT`.
    #[arg(long, value_name = "URL")]
    facets: Origin,
}

impl Addresses {
    /// By kind.
    pub(crate) fn by_kind(self) -> impl Iterator<Item = (DependencyKind, Origin)> {
        [
            (DependencyKind::Inventory, self.inventory),
            (DependencyKind::Payment, self.payment),
            (DependencyKind::Recommendations, self.recommendations),
            (DependencyKind::Reviews, self.reviews),
            (DependencyKind::Facets, self.facets),
        ]
        .into_iter()
    }
}

/// The configuration of one dependency.
pub(crate) fn dependency(
    kind: DependencyKind,
    listen: SocketAddr,
    latency: Option<Span>,
    requests_per_connection: Option<u64>,
    stock: Option<u32>,
) -> DependencyConfig {
    let usual = DependencyConfig::new(kind);
    DependencyConfig {
        listen,
        latency: latency.map_or(usual.latency, Span::get),
        requests_per_connection: requests_per_connection.unwrap_or(usual.requests_per_connection),
        stock: stock.unwrap_or(usual.stock),
        ..usual
    }
}

#[cfg(test)]
mod tests {
    use super::{Cli, Command};
    use clap::{CommandFactory as _, Parser as _};
    use squall_shop::Pattern;

    #[test]
    fn the_words_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn patterns_are_switched_off_by_repeating_and_by_commas() {
        let words = ["squall-shop", "all", "--without", "retry,bulkhead", "--without", "idempotency"];
        let Command::All { shop, .. } = Cli::parse_from(words).command else { panic!("the command is `all`") };
        let without: Vec<_> = shop.config().unwrap().without.into_iter().collect();
        assert_eq!(without, [Pattern::Retry, Pattern::Bulkhead, Pattern::Idempotency]);
    }

    #[test]
    fn an_unknown_pattern_is_told_its_neighbour() {
        let message = Cli::try_parse_from(["squall-shop", "all", "--without", "bulkhed"]).unwrap_err().to_string();
        assert!(message.contains("did you mean `bulkhead`?"), "{message}");
    }
}
