//! Waits for each request's time on a thread of its own, and hands it over.
//!
//! A thread, because the runtime's timer is a millisecond late on average, which would be measured as the
//! system's. It is never more than a nap from noticing that it should stop.
//! Neighbours: `schedule` says when, `traffic` takes over. Invariant: it never waits for anything but the clock, so
//! a system that does not answer cannot slow the load down.

use super::schedule::{Due, Schedule};
use crate::under_way::Started;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{Sender, error::TrySendError};
use tokio_util::sync::CancellationToken;

/// The longest that it sleeps at a time.
const NAP: Duration = Duration::from_millis(20);

/// A request and the sign that it is under way, which it keeps from before it is due until it is a sample.
pub(super) type Turn = (Due, Started);

/// Hands each request over when it is due, until the stop or until nobody takes them. Those that find the queue
/// full go to `turned_away`. When the thread itself is late, it catches up at once: what is due is due.
pub(super) fn pace(
    schedule: Schedule,
    start: Instant,
    queue: &Sender<Turn>,
    stop: &CancellationToken,
    under_way: impl Fn(Due) -> Started,
    has_come_due: impl Fn(),
    turned_away: impl Fn(Turn),
) {
    for due in schedule {
        let Some(time) = start.checked_add(due.after) else { return };
        let started = under_way(due);
        loop {
            if stop.is_cancelled() || queue.is_closed() {
                return;
            }
            match time.checked_duration_since(Instant::now()) {
                Some(left) if !left.is_zero() => std::thread::sleep(left.min(NAP)),
                _ => break,
            }
        }
        has_come_due();
        match queue.try_send((due, started)) {
            Ok(()) => {}
            Err(TrySendError::Full(turn)) => turned_away(turn),
            Err(TrySendError::Closed(_)) => return,
        }
    }
}
