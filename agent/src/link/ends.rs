//! What a link reads from and writes to, and what the two links of a connection know of each other.
//!
//! `connection.rs` makes both for `link.rs`. Invariant: whatever one link tells the other here is told once, and stays.

use crate::stream::Stream;
use std::{future::pending, sync::atomic::AtomicBool};
use tokio::{io::Interest, sync::Notify};

/// One end of a link.
#[derive(Clone, Copy)]
pub(crate) enum Peer<'a> {
    /// Not there yet: what is for it waits.
    Pending,
    /// Connected.
    Open(&'a Stream),
    /// Never to come: what is for it is thrown away.
    Gone,
}

impl<'a> Peer<'a> {
    pub(super) fn stream(self) -> Option<&'a Stream> {
        match self {
            Self::Open(stream) => Some(stream),
            Self::Pending | Self::Gone => None,
        }
    }

    /// Returns when it is worth looking at. What does not come, or never will, is waited for.
    pub(super) async fn ready(self, interest: Interest) {
        match self.stream() {
            // An error of the socket is seen by the read or the write that follows.
            Some(stream) => drop(stream.ready(interest).await),
            None => pending().await,
        }
    }
}

/// What the two links of a connection know of each other.
#[derive(Debug, Default)]
pub(crate) struct Between {
    /// The client's side, then the upstream's: that socket reported an RST, which is told once only.
    pub(super) reset: [AtomicBool; 2],
    /// Client to server, then server to client: the end was passed on.
    pub(super) finished: [AtomicBool; 2],
    /// Either side ended with an error that was not ours.
    pub(crate) failed: AtomicBool,
    /// A fault stopped answering in the upstream's place, or started to.
    pub(crate) replaced: AtomicBool,
    pub(crate) replaced_changed: Notify,
}
