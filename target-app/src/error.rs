//! Why a request got no good answer, and why a shop could not be made.
//!
//! Neighbours: `pages.rs` and `orders.rs` return `RequestError`, `api/answer.rs` gives it its status in one match.

use crate::{dependency::DependencyKind, failure::CallError, store::StoreError};
use std::{io, net::SocketAddr, time::Duration};

/// Why a shop or a dependency could not be started.
#[derive(Debug, thiserror::Error)]
pub enum ShopError {
    /// The address is taken or not this machine's.
    #[error("failed to listen on {address}: choose another address, or port 0 for a free one")]
    Bind {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The database could not be opened or brought up to date.
    #[error(
        "failed to open the database {database}: check that it can be reached and written, or leave it out for a temporary file"
    )]
    Database {
        /// Which one.
        database: String,
        /// What it said.
        source: sqlx::Error,
    },
    /// The orders table is in a step of its change in which this shop cannot run.
    #[error("{0}")]
    Schema(String),
    /// An address is missing.
    #[error("no address for {0}: give one for each dependency")]
    NoAddress(DependencyKind),
}

/// Why a request got no good answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestError {
    #[error("{0}")]
    Call(#[from] CallError),
    #[error("{0}")]
    Store(#[from] StoreError),
    #[error("not done within the time for this request")]
    Late,
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    Invalid(String),
    #[error("not enough pieces of this product are in stock")]
    SoldOut,
    #[error("the payment was declined")]
    Declined,
    #[error("an order needs the header `Idempotency-Key`: send a new UUID with each order, the same with each repeat")]
    NoKey,
    #[error("this idempotency key was used for another order: use a new one")]
    KeyReused,
    #[error("a request with this idempotency key is under way: ask again")]
    KeyBusy,
    #[error("too many requests are under way: come back later")]
    Shed,
    #[error("too many requests from here ({limiter}): come back later")]
    Limited { limiter: &'static str, retry_after: Duration },
    #[error("the shop is in degraded mode and makes no reports: come back later")]
    Degraded,
    #[error("the database did not take it: send it again with the same id")]
    NotStored,
}
