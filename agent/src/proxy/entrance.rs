//! A proxy's way in: the port, the task that takes connections while it listens, and the one that flaps it.
//!
//! ```text
//!  settle ──▶ take the door back ──▶ open or shut it ──▶ hand it to a flapper, when a fault flaps
//! ```
//! Owned by `proxy/mod.rs`, which says when faults or the switch change; `listener.rs` does the work on the socket,
//! and `fault/flap.rs` says when a door that flaps opens and shuts.
//!
//! Invariant: one holds the door at a time, so a flapper never shuts what was just healed.

use super::Shared;
use crate::{
    fault::{ActiveFault, Outlook, outlook},
    listener::{Acceptor, Port, backlog_for},
};
use squall_wire::FaultKind;
use std::{
    future::pending,
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long until a flapper that could not open or shut the door tries again.
const RETRY: Duration = Duration::from_millis(100);

/// The way in.
pub(super) struct Entrance {
    door: Door,
    flapper: Option<Flapper>,
}

/// A port, and who takes connections from it while it listens.
struct Door {
    port: Arc<Port>,
    acceptor: Option<Acceptor>,
}

impl Entrance {
    /// Of a port that does not listen yet.
    pub(super) fn new(port: Port) -> Self {
        Self { door: Door { port: Arc::new(port), acceptor: None }, flapper: None }
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.door.port.addr()
    }

    /// Brings it to where `faults` and the switch want it. After a failure it flaps as before, if it did.
    pub(super) async fn settle(
        &mut self,
        shared: &Arc<Shared>,
        enabled: bool,
        faults: &[Arc<ActiveFault>],
    ) -> io::Result<()> {
        let flapped = self.take_back().await;
        let refused = faults.iter().any(|fault| matches!(fault.kind(), FaultKind::Refuse(_)));
        let reachable = enabled && !refused;
        let outlook = outlook(faults, Instant::now());
        let settled = if reachable && !outlook.is_some_and(|outlook| outlook.down) {
            self.door.open(shared, faults)
        } else {
            self.door.shut().await
        };
        match settled {
            Ok(()) if reachable && outlook.is_some() => self.hand_over(shared, faults.to_vec()),
            Err(_) if flapped => self.hand_over(shared, shared.roster.lock().faults().to_vec()),
            _ => {}
        }
        settled
    }

    /// Makes a flapper look at its faults anew.
    pub(super) async fn look_again(&mut self, shared: &Arc<Shared>) {
        if self.take_back().await {
            self.hand_over(shared, shared.roster.lock().faults().to_vec());
        }
    }

    /// Stops listening and lets go of the address.
    pub(super) async fn close(mut self) {
        self.take_back().await;
        if let Err(error) = self.door.shut().await {
            tracing::warn!(%error, addr = %self.addr(), "failed to close the listener at once");
        }
    }

    /// Ends the flapper, if there is one, and waits for it; it waits for nobody.
    async fn take_back(&mut self) -> bool {
        let Some(flapper) = &mut self.flapper else { return false };
        // It stays ours until it has ended, so that a call that is given up here loses nothing.
        self.door.acceptor = flapper.end().await;
        self.flapper = None;
        true
    }

    fn hand_over(&mut self, shared: &Arc<Shared>, faults: Vec<Arc<ActiveFault>>) {
        let door = Door { port: Arc::clone(&self.door.port), acceptor: self.door.acceptor.take() };
        self.flapper = Some(Flapper::start(door, Arc::clone(shared), faults));
    }
}

impl Door {
    /// Listens. One that does already gets the length of its queue and the faults anew.
    fn open(&mut self, shared: &Arc<Shared>, faults: &[Arc<ActiveFault>]) -> io::Result<()> {
        self.port.lose_openings(faults)?;
        self.port.listen(backlog_for(faults))?;
        match &self.acceptor {
            Some(acceptor) => acceptor.follow(faults),
            None => self.acceptor = Some(Acceptor::start(&self.port, shared, faults)?),
        }
        Ok(())
    }

    /// Refuses.
    async fn shut(&mut self) -> io::Result<()> {
        let Some(acceptor) = self.acceptor.take() else { return Ok(()) };
        acceptor.cancel();
        let refused = self.port.refuse();
        acceptor.end().await;
        refused
    }
}

/// The task that opens and shuts the door as its faults say.
struct Flapper {
    stop: CancellationToken,
    task: JoinHandle<Option<Acceptor>>,
}

impl Flapper {
    fn start(door: Door, shared: Arc<Shared>, faults: Vec<Arc<ActiveFault>>) -> Self {
        let stop = CancellationToken::new();
        Self { task: tokio::spawn(flap(door, shared, faults, stop.clone())), stop }
    }

    async fn end(&mut self) -> Option<Acceptor> {
        self.stop.cancel();
        (&mut self.task).await.unwrap_or_else(|error| {
            tracing::error!(%error, "the flapper ended badly");
            None
        })
    }
}

impl Drop for Flapper {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Answers who takes connections when it is stopped.
async fn flap(
    mut door: Door,
    shared: Arc<Shared>,
    faults: Vec<Arc<ActiveFault>>,
    stop: CancellationToken,
) -> Option<Acceptor> {
    loop {
        let now = Instant::now();
        let Some(Outlook { down, until }) = outlook(&faults, now) else { return door.acceptor };
        let moved = match &door.acceptor {
            Some(_) if down => door.shut().await,
            None if !down => door.open(&shared, &faults),
            _ => Ok(()),
        };
        let mut next = until;
        if let Err(error) = moved {
            tracing::warn!(%error, addr = %door.port.addr(), down, "failed to flap; trying again");
            next = next.into_iter().chain(now.checked_add(RETRY)).min();
        }
        let wake = async {
            match next {
                Some(next) => shared.plane.timer.sleep_until(next).await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => return door.acceptor,
            () = wake => {}
        }
    }
}
