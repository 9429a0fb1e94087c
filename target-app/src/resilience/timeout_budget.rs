//! Timeout budget: a request's deadline is split over its calls and passed down.
//!
//! A request gets one deadline when it arrives; each step gets a share of it and never more than is left. The time
//! left travels with each call as `X-Request-Deadline` (milliseconds), so that nobody works for a caller that has
//! gone. Work over its deadline is dropped, which closes its connection.
//!
//! Invariant: a tightened deadline is never later than the one it came from. Switched off, there is no deadline
//! anywhere: a call waits as long as the dependency makes it wait.

use axum::http::{HeaderMap, HeaderName};
use std::time::Duration;
use tokio::time::Instant;

/// The header that carries the time left, in whole milliseconds.
pub(crate) const HEADER: HeaderName = HeaderName::from_static("x-request-deadline");

/// When something must be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deadline {
    /// At this moment.
    At(Instant),
    /// The pattern is switched off.
    Never,
}

/// The deadline passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exceeded;

impl Deadline {
    /// A deadline that is at most so far away, and never later than this one.
    pub(crate) fn tightened(self, within: Duration) -> Self {
        match self {
            Self::At(end) => Self::At(end.min(Instant::now() + within)),
            Self::Never => Self::Never,
        }
    }

    /// The time left, zero when it has passed; `None` without a deadline.
    pub(crate) fn left(self) -> Option<Duration> {
        match self {
            Self::At(end) => Some(end.saturating_duration_since(Instant::now())),
            Self::Never => None,
        }
    }

    /// Does the work until the deadline, then drops it.
    pub(crate) async fn run<F: Future>(self, work: F) -> Result<F::Output, Exceeded> {
        match self {
            Self::At(end) => tokio::time::timeout_at(end, work).await.map_err(|_| Exceeded),
            Self::Never => Ok(work.await),
        }
    }
}

/// Gives requests their deadline.
#[derive(Debug, Clone, Copy)]
pub(crate) enum TimeoutBudget {
    On,
    Off,
}

impl TimeoutBudget {
    /// The deadline of a request that may take so long, or less if its caller says so.
    pub(crate) fn deadline(self, own: Duration, headers: &HeaderMap) -> Deadline {
        match self {
            Self::On => Deadline::At(Instant::now() + asked(headers).map_or(own, |asked| asked.min(own))),
            Self::Off => Deadline::Never,
        }
    }
}

/// The time left that a caller states.
pub(crate) fn asked(headers: &HeaderMap) -> Option<Duration> {
    headers.get(HEADER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_millis)
}

/// How an order's budget is split: inventory 3, payment 5, database 2 parts of ten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OrderShares {
    pub(crate) inventory: Duration,
    pub(crate) payment: Duration,
    pub(crate) database: Duration,
}

impl OrderShares {
    pub(crate) fn of(budget: Duration) -> Self {
        Self { inventory: budget * 3 / 10, payment: budget * 5 / 10, database: budget * 2 / 10 }
    }
}

#[cfg(test)]
mod tests {
    use super::{Deadline, Exceeded, OrderShares, TimeoutBudget};
    use axum::http::HeaderMap;
    use std::time::Duration;
    use tokio::time::Instant;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_step_over_its_share_fails_at_its_share_and_not_at_the_total() {
        let deadline = TimeoutBudget::On.deadline(10 * SECOND, &HeaderMap::new());
        let begun = Instant::now();
        assert_eq!(deadline.tightened(3 * SECOND).run(std::future::pending::<()>()).await, Err(Exceeded));
        assert_eq!(begun.elapsed(), 3 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn the_total_is_never_exceeded_however_large_the_shares() {
        let deadline = TimeoutBudget::On.deadline(10 * SECOND, &HeaderMap::new());
        let begun = Instant::now();
        for _ in 0..3 {
            let _ = deadline.tightened(6 * SECOND).run(std::future::pending::<()>()).await;
        }
        assert_eq!(begun.elapsed(), 10 * SECOND);
        assert_eq!(deadline.left(), Some(Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_may_ask_for_less_but_not_for_more() {
        let mut headers = HeaderMap::new();
        headers.insert(super::HEADER, "250".parse().unwrap());
        let left = |headers: &HeaderMap| TimeoutBudget::On.deadline(SECOND, headers).left();
        assert_eq!(left(&headers), Some(Duration::from_millis(250)));
        headers.insert(super::HEADER, "99999".parse().unwrap());
        assert_eq!(left(&headers), Some(SECOND));
    }

    #[tokio::test(start_paused = true)]
    async fn switched_off_there_is_no_deadline_at_all() {
        let deadline = TimeoutBudget::Off.deadline(SECOND, &HeaderMap::new()).tightened(SECOND);
        assert_eq!(deadline, Deadline::Never);
        assert_eq!(deadline.run(tokio::time::sleep(1000 * SECOND)).await, Ok(()));
    }

    #[test]
    fn an_order_of_ten_seconds_gives_three_five_and_two() {
        let shares = OrderShares::of(10 * SECOND);
        assert_eq!((shares.inventory, shares.payment, shares.database), (3 * SECOND, 5 * SECOND, 2 * SECOND));
    }
}
