//! Waits for each request's time on a thread of its own, and hands it over.
//!
//! A thread, because the runtime's timer is a millisecond late on average, which would be measured as the
//! system's. It is never more than a nap from noticing that it should stop.
//! A rate that grows counts at once, also for the request that is waited for.
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
    mut schedule: Schedule,
    start: Instant,
    queue: &Sender<Turn>,
    stop: &CancellationToken,
    under_way: impl Fn(Due) -> Started,
    has_come_due: impl Fn(),
    turned_away: impl Fn(Turn),
) {
    while let Some(mut due) = schedule.next() {
        let mut started = under_way(due);
        loop {
            if stop.is_cancelled() || queue.is_closed() {
                return;
            }
            let now = start.elapsed();
            if let Some(sooner) = schedule.sooner(due, now) {
                // The new sign before the old one goes, or there would be a moment with nothing under way.
                (due, started) = (sooner, under_way(sooner));
            }
            match due.after.saturating_sub(now) {
                Duration::ZERO => break,
                left => std::thread::sleep(left.min(NAP)),
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
