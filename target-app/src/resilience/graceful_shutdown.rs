//! Graceful shutdown: ready turns 503, a pause for the load balancer to notice, then open requests finish.
//!
//! ```text
//! running ──request()──▶ leaving (ready: 503, still serving) ──pause──▶ draining (no new connections) ──▶ gone
//! ```
//!
//! Neighbours: `server.rs` does what the two tokens say, `shop.rs` walks through the steps, `/admin/shutdown` and
//! signals begin them. Switched off, the end is at once, in the middle of whatever is under way.

use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Limits of the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShutdownConfig {
    /// Between turning unready and refusing connections.
    pub pause: Duration,
    /// Open requests have so long to finish.
    pub drain: Duration,
}

impl Default for ShutdownConfig {
    fn default() -> Self {
        Self { pause: Duration::from_millis(500), drain: Duration::from_secs(10) }
    }
}

/// Where the process is on its way out.
#[derive(Debug, Clone)]
pub(crate) struct Lifecycle {
    requested: CancellationToken,
    /// No new connections; idle ones close, others after their answer.
    pub(crate) drain: CancellationToken,
    /// Everything ends now.
    pub(crate) abort: CancellationToken,
}

impl Lifecycle {
    /// Begins to leave when `requested` is cancelled, by whomever.
    pub(crate) fn new(requested: CancellationToken) -> Self {
        Self { requested, drain: CancellationToken::new(), abort: CancellationToken::new() }
    }

    /// Asks the process to leave.
    pub(crate) fn request(&self) {
        self.requested.cancel();
    }

    /// Cancelling it is asking the process to leave.
    pub(crate) fn on_request(&self) -> CancellationToken {
        self.requested.clone()
    }

    pub(crate) fn is_leaving(&self) -> bool {
        self.requested.is_cancelled()
    }

    pub(crate) async fn requested(&self) {
        self.requested.cancelled().await;
    }

    /// From the request to the moment when no more connections are to be taken.
    pub(crate) async fn until_drain(&self, config: Option<ShutdownConfig>) {
        self.requested().await;
        match config {
            Some(config) => tokio::time::sleep(config.pause).await,
            None => self.abort.cancel(),
        }
        self.drain.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::{Lifecycle, ShutdownConfig};
    use tokio::time::Instant;
    use tokio_util::sync::CancellationToken;

    #[tokio::test(start_paused = true)]
    async fn it_is_unready_for_the_pause_before_connections_are_refused() {
        let life = Lifecycle::new(CancellationToken::new());
        assert!(!life.is_leaving());
        life.request();
        assert!(life.is_leaving() && !life.drain.is_cancelled());
        let begun = Instant::now();
        life.until_drain(Some(ShutdownConfig::default())).await;
        assert_eq!(begun.elapsed(), ShutdownConfig::default().pause);
        assert!(life.drain.is_cancelled() && !life.abort.is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn switched_off_it_ends_at_once() {
        let life = Lifecycle::new(CancellationToken::new());
        life.request();
        let begun = Instant::now();
        life.until_drain(None).await;
        assert!(begun.elapsed().is_zero() && life.abort.is_cancelled());
    }
}
