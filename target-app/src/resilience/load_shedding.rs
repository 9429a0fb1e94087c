//! Load shedding: a request over the number of slots is refused before any work is done for it.
//!
//! The slots are finite in any case, as a real service's threads are. With the pattern, a request that finds none is
//! told 503 and when to come back; without, it stands in line for as long as its client does.
//!
//! Invariant: at most `slots` requests are worked on at a time.

use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What a request gets at the door.
#[derive(Debug, Clone)]
pub(crate) struct Shedder {
    slots: Arc<Semaphore>,
    size: usize,
    queues: bool,
}

/// There is no slot for this request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shed;

impl Shedder {
    /// Refuses what finds no slot.
    pub(crate) fn on(slots: usize) -> Self {
        Self { slots: Arc::new(Semaphore::new(slots)), size: slots, queues: false }
    }

    /// Lets everybody wait.
    pub(crate) fn off(slots: usize) -> Self {
        Self { queues: true, ..Self::on(slots) }
    }

    /// A slot for a request, until it is dropped.
    pub(crate) async fn enter(&self) -> Result<OwnedSemaphorePermit, Shed> {
        let slots = Arc::clone(&self.slots);
        if self.queues {
            slots.acquire_owned().await.map_err(|_| Shed)
        } else {
            slots.try_acquire_owned().map_err(|_| Shed)
        }
    }

    pub(crate) fn size(&self) -> usize {
        self.size
    }

    pub(crate) fn in_use(&self) -> usize {
        self.size - self.slots.available_permits()
    }
}

#[cfg(test)]
mod tests {
    use super::{Shed, Shedder};
    use futures::FutureExt as _;

    #[tokio::test]
    async fn a_request_over_the_slots_is_refused_at_once_and_served_when_one_is_free() {
        let door = Shedder::on(1);
        let slot = door.enter().await;
        assert_eq!(door.enter().await.err(), Some(Shed));
        drop(slot);
        assert!(door.enter().await.is_ok());
    }

    #[tokio::test]
    async fn switched_off_it_waits_in_line() {
        let door = Shedder::off(1);
        let slot = door.enter().await;
        let mut second = Box::pin(door.enter());
        assert!((&mut second).now_or_never().is_none());
        drop(slot);
        assert!(second.await.is_ok());
    }
}
