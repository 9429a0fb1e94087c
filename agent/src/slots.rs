//! Slots: what a connection must have before it is taken in, one of `max_connections` and the descriptors that it needs.
//!
//! The kernel gives a process so many descriptors. Some of them are kept from connections, so that whoever wants to heal or halt
//! still gets into the API when clients have taken all others. Neighbours: `plane` has them, `listener` and `udp/door`
//! take them, `proxy` takes one for what listens.
//!
//! Invariant: a slot gives back all that it took when it is dropped.

use rustix::process::{Resource, getrlimit};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Descriptors that are kept from connections: for the API, the log, and the pipes of bulk. At most half of all.
const KEPT: u64 = 256;

/// A connection has its client's socket and its upstream's.
pub(crate) const CONNECTION: u32 = 2;

/// A session of datagrams has its upstream's.
pub(crate) const SESSION: u32 = 1;

/// Why there is no slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Short {
    Connections,
    Descriptors,
}

impl Short {
    /// For the log.
    pub(crate) fn told(self) -> &'static str {
        match self {
            Self::Connections => "`max_connections` are open",
            Self::Descriptors => "the limit of open files is reached (`ulimit -n`)",
        }
    }
}

/// One connection's place.
#[derive(Debug)]
pub(crate) struct Slot {
    _connection: OwnedSemaphorePermit,
    _descriptors: OwnedSemaphorePermit,
}

/// All that there are.
#[derive(Debug)]
pub(crate) struct Slots {
    connections: Arc<Semaphore>,
    descriptors: Arc<Semaphore>,
}

impl Slots {
    /// So many connections, and the descriptors that this process may open.
    pub(crate) fn new(connections: usize) -> Self {
        Self::of(connections, getrlimit(Resource::Nofile).current)
    }

    fn of(connections: usize, limit: Option<u64>) -> Self {
        let free = limit.map_or(u64::MAX, |limit| limit - KEPT.min(limit / 2));
        let free = usize::try_from(free).unwrap_or(usize::MAX).clamp(CONNECTION as usize, Semaphore::MAX_PERMITS);
        Self {
            connections: Arc::new(Semaphore::new(connections.clamp(1, Semaphore::MAX_PERMITS))),
            descriptors: Arc::new(Semaphore::new(free)),
        }
    }

    /// A slot with so many descriptors, if there is one.
    pub(crate) fn try_take(&self, descriptors: u32) -> Result<Slot, Short> {
        let connection = Arc::clone(&self.connections).try_acquire_owned().map_err(|_| Short::Connections)?;
        let descriptors = Arc::clone(&self.descriptors).try_acquire_many_owned(descriptors);
        Ok(Slot { _connection: connection, _descriptors: descriptors.map_err(|_| Short::Descriptors)? })
    }

    /// A slot, as soon as there is one.
    pub(crate) async fn take(&self, descriptors: u32) -> Slot {
        let connection = Arc::clone(&self.connections).acquire_owned().await;
        let descriptors = Arc::clone(&self.descriptors).acquire_many_owned(descriptors).await;
        match (connection, descriptors) {
            (Ok(connection), Ok(descriptors)) => Slot { _connection: connection, _descriptors: descriptors },
            // Nobody closes them.
            _ => std::future::pending().await,
        }
    }

    /// The descriptor of something that listens. It is there whether or not one is free.
    pub(crate) fn listening(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.descriptors).try_acquire_owned().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::{CONNECTION, KEPT, SESSION, Short, Slots};

    fn taken(slots: &Slots, descriptors: u32) -> (usize, Short) {
        let mut all = Vec::new();
        loop {
            match slots.try_take(descriptors) {
                Ok(slot) => all.push(slot),
                Err(short) => return (all.len(), short),
            }
        }
    }

    #[test]
    fn some_descriptors_are_kept_and_everything_comes_back() {
        for _ in 0..2 {
            assert_eq!(
                taken(&Slots::of(50_000, Some(20_000)), CONNECTION),
                ((20_000 - KEPT as usize) / 2, Short::Descriptors)
            );
        }
        let slots = Slots::of(50_000, Some(64));
        let listening = slots.listening();
        assert_eq!(taken(&slots, SESSION), (31, Short::Descriptors));
        drop(listening);
        assert_eq!(taken(&slots, SESSION), (32, Short::Descriptors));
        assert_eq!(taken(&Slots::of(10, None), CONNECTION), (10, Short::Connections));
    }
}
