//! What a proxy has bound: a port for connections, or a door for datagrams.
//!
//! Owned by `proxy/mod.rs`, which treats both alike; `entrance.rs` and `udp/door.rs` do the work.
//!
//! Invariant: no call here waits for a peer.

use super::{Shared, entrance::Entrance};
use crate::{fault::ActiveFault, listener::Port, udp::Door};
use squall_wire::Protocol;
use std::{io, net::SocketAddr, sync::Arc};

/// The way in.
pub(super) enum Gate {
    /// For connections.
    Streams(Entrance),
    /// For datagrams.
    Datagrams(Door),
}

impl Gate {
    /// Binds; nobody is taken in yet.
    pub(super) fn bind(protocol: Protocol, addr: SocketAddr) -> io::Result<Self> {
        Ok(match protocol {
            Protocol::Tcp | Protocol::Http => Self::Streams(Entrance::new(Port::bind(addr)?)),
            Protocol::Udp => Self::Datagrams(Door::bind(addr)?),
        })
    }

    pub(super) fn addr(&self) -> SocketAddr {
        match self {
            Self::Streams(entrance) => entrance.addr(),
            Self::Datagrams(door) => door.addr(),
        }
    }

    /// Brings it to where the switch, and faults that act on it, want it. No fault acts on a door.
    pub(super) async fn settle(
        &mut self,
        shared: &Arc<Shared>,
        enabled: bool,
        faults: &[Arc<ActiveFault>],
    ) -> io::Result<()> {
        match self {
            Self::Streams(entrance) => entrance.settle(shared, enabled, faults).await,
            Self::Datagrams(door) => {
                door.settle(shared, enabled, !faults.is_empty());
                Ok(())
            }
        }
    }

    /// Makes what it does over time look at its faults anew.
    pub(super) async fn look_again(&mut self, shared: &Arc<Shared>) {
        match self {
            Self::Streams(entrance) => entrance.look_again(shared).await,
            Self::Datagrams(_) => {}
        }
    }

    /// Takes nobody in any more; answers what must stay for those who are in.
    pub(super) async fn retire(self) -> Option<Self> {
        match self {
            Self::Streams(entrance) => {
                entrance.close().await;
                None
            }
            Self::Datagrams(door) => {
                door.retire();
                Some(Self::Datagrams(door))
            }
        }
    }

    /// Lets go of the address. Connections go on; sessions, which have no socket of their own to the client, end.
    pub(super) async fn close(self) {
        match self {
            Self::Streams(entrance) => entrance.close().await,
            Self::Datagrams(door) => door.close().await,
        }
    }
}
