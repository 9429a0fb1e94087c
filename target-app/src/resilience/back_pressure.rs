//! Back pressure: who finds no room waits a little, then is told so, instead of standing in line for good.
//!
//! Every queue of the shop is bounded; here is for how long one waits for a request slot. After that the answer is 503,
//! which the caller can act on, while a line that only grows would move the overload to where nobody sees it. Switched off, the wait ends only with the request's deadline.
//!
//! Neighbour: `door.rs`. No crate is needed: it is tokio's time-out with one rule.
//!
//! Invariant: with the pattern on no wait for room is longer than `wait`, nor than the deadline.

use crate::resilience::timeout_budget::Deadline;
use std::time::Duration;

/// How patient waiting is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackPressureConfig {
    /// The wait for a slot, at most.
    pub wait: Duration,
}

impl Default for BackPressureConfig {
    fn default() -> Self {
        Self { wait: Duration::from_millis(100) }
    }
}

/// How long one waits for room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BackPressure {
    On(BackPressureConfig),
    Off,
}

/// No room in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoRoom;

impl BackPressure {
    /// The longest wait of a request with this deadline; `None` for ever.
    pub(crate) fn patience(self, deadline: Deadline) -> Option<Duration> {
        match (self, deadline.left()) {
            (Self::On(config), Some(left)) => Some(config.wait.min(left)),
            (Self::On(config), None) => Some(config.wait),
            (Self::Off, left) => left,
        }
    }

    /// Waits for room, as long as patience lasts.
    pub(crate) async fn wait<F: Future>(self, deadline: Deadline, room: F) -> Result<F::Output, NoRoom> {
        match self.patience(deadline) {
            Some(patience) => tokio::time::timeout(patience, room).await.map_err(|_| NoRoom),
            None => Ok(room.await),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{BackPressure, BackPressureConfig, NoRoom};
    use crate::resilience::timeout_budget::Deadline;
    use std::time::Duration;
    use tokio::time::Instant;

    const MS: Duration = Duration::from_millis(1);
    const ON: BackPressure = BackPressure::On(BackPressureConfig { wait: Duration::from_millis(100) });

    async fn waited(pressure: BackPressure, deadline: Deadline) -> Duration {
        let begun = Instant::now();
        assert_eq!(pressure.wait(deadline, std::future::pending::<()>()).await, Err(NoRoom));
        begun.elapsed()
    }

    fn within(time: Duration) -> Deadline {
        Deadline::At(Instant::now() + time)
    }

    #[tokio::test(start_paused = true)]
    async fn a_slot_must_come_within_a_hundred_milliseconds_and_within_the_deadline() {
        assert_eq!(waited(ON, within(1000 * MS)).await, 100 * MS);
        assert_eq!(waited(ON, within(30 * MS)).await, 30 * MS);
        assert_eq!(waited(ON, Deadline::Never).await, 100 * MS);
    }

    #[tokio::test(start_paused = true)]
    async fn switched_off_one_waits_until_the_deadline_or_for_ever() {
        assert_eq!(waited(BackPressure::Off, within(1000 * MS)).await, 1000 * MS);
        assert_eq!(BackPressure::Off.patience(Deadline::Never), None);
    }

    #[tokio::test(start_paused = true)]
    async fn who_finds_room_does_not_wait() {
        assert_eq!(ON.wait(Deadline::Never, async { 7 }).await, Ok(7));
    }
}
