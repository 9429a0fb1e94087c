//! Waits for each request's time on a thread of its own, and hands it over.
//!
//! A thread, because the runtime's timer is a millisecond late on average, which would be measured as the
//! system's. It is never more than a nap from noticing that it should stop.
//! Neighbours: `schedule` says when, `traffic` takes over. Invariant: it never waits for anything but the clock, so
//! a system that does not answer cannot slow the load down.

use super::schedule::{Due, Schedule};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{Sender, error::TrySendError};
use tokio_util::sync::CancellationToken;

/// The longest that it sleeps at a time.
const NAP: Duration = Duration::from_millis(20);

/// Hands each request over when it is due, until the stop or until nobody takes them. Those that find the queue
/// full go to `turned_away`. When the thread itself is late, it catches up at once: what is due is due.
pub(super) fn pace(
    schedule: Schedule,
    start: Instant,
    queue: &Sender<Due>,
    stop: &CancellationToken,
    turned_away: impl Fn(Due),
) {
    for due in schedule {
        let Some(time) = start.checked_add(due.after) else { return };
        loop {
            if stop.is_cancelled() || queue.is_closed() {
                return;
            }
            match time.checked_duration_since(Instant::now()) {
                Some(left) if !left.is_zero() => std::thread::sleep(left.min(NAP)),
                _ => break,
            }
        }
        match queue.try_send(due) {
            Ok(()) => {}
            Err(TrySendError::Full(due)) => turned_away(due),
            Err(TrySendError::Closed(_)) => return,
        }
    }
}
