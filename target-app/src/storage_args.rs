//! The words of the command line about the database.
//!
//! Neighbour: `cli.rs` takes them in. Invariant: what is not given is as in the library's defaults.

use clap::{Args, ValueEnum};
use squall_shop::{DatabaseConfig, DatabaseUrl, Schema, StorageConfig, maintenance};
use squall_wire::Span;
use std::time::Duration;

/// The database, and what is done with it.
#[derive(Debug, Args)]
pub(crate) struct StorageArgs {
    /// FILE, sqlite:FILE or postgres://USER:PASSWORD@HOST:PORT/DATABASE; a temporary file when absent.
    #[arg(long, value_name = "URL", env = "SQUALL_SHOP_DATABASE", hide_env_values = true)]
    database: Option<DatabaseUrl>,
    /// Connections to the database, at most.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
    database_connections: Option<u32>,
    /// The database gives up a statement after this.
    #[arg(long)]
    statement_limit: Option<Span>,
    /// Which columns of the orders to know: old, both or new.
    #[arg(long, default_value_t = Schema::Both)]
    schema: Schema,
    /// Events of one write.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1000))]
    event_batch: Option<u16>,
    /// An event waits so long for others.
    #[arg(long)]
    event_wait: Option<Span>,
    /// Products asked after at a time for a report.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=256))]
    report_workers: Option<u16>,
    /// Keep answers to idempotency keys for so long.
    #[arg(long)]
    keep_keys: Option<Span>,
    /// Keep the ids of messages for so long.
    #[arg(long)]
    keep_messages: Option<Span>,
    /// Keep events for so long.
    #[arg(long)]
    keep_events: Option<Span>,
    /// Look so often for what is old.
    #[arg(long)]
    purge_every: Option<Span>,
}

impl StorageArgs {
    pub(crate) fn config(self) -> StorageConfig {
        let mut config = StorageConfig::default();
        let duration = |span: Option<Span>, usual: Duration| span.map_or(usual, Span::get);
        config.database.url = self.database;
        config.database.schema = self.schema;
        config.database.connections = self.database_connections.unwrap_or(config.database.connections);
        config.database.statement_limit = self.statement_limit.map(Span::get).or(config.database.statement_limit);
        config.events.size = self.event_batch.map_or(config.events.size, usize::from);
        config.events.wait = duration(self.event_wait, config.events.wait);
        config.report.workers = self.report_workers.map_or(config.report.workers, usize::from);
        config.retention.keys = duration(self.keep_keys, config.retention.keys);
        config.retention.messages = duration(self.keep_messages, config.retention.messages);
        config.retention.events = duration(self.keep_events, config.retention.events);
        config.retention.every = duration(self.purge_every, config.retention.every);
        config
    }
}

/// A step of the change of the orders table.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum MigrateStep {
    /// How far it is.
    Status,
    /// Migrate every order that is left.
    Backfill,
    /// Drop the old column; refused while an order has only that.
    Contract,
}

impl From<MigrateStep> for maintenance::Step {
    fn from(step: MigrateStep) -> Self {
        match step {
            MigrateStep::Status => Self::Status,
            MigrateStep::Backfill => Self::Backfill,
            MigrateStep::Contract => Self::Contract,
        }
    }
}

/// The database of the command `migrate`: an old statement may take its time.
pub(crate) fn to_migrate(url: DatabaseUrl) -> DatabaseConfig {
    DatabaseConfig {
        url: Some(url),
        connections: 1,
        statement_limit: None,
        schema: Schema::Both,
        ..DatabaseConfig::default()
    }
}
