//! Token bucket: so many a second on the mean, and a burst at once.
//!
//! Three ways to take a token: `allow` (now or not at all), `reserve` (a token of the future, with the time until it is
//! due, which may be given back), `wait` (reserve and sleep). Used for the orders that the shop takes in all; clients
//! have governor's buckets of their own (`rate_limiting.rs`), which know no reservations.
//!
//! `Tokens` is pure, it is handed the time. Invariant: over any time `t`, at most `burst + rate·t` tokens become due.

use parking_lot::Mutex;
use std::time::Duration;
use tokio::time::Instant;

/// The account as a pure value. Below zero, tokens of the future are promised.
#[derive(Debug, Clone)]
pub(crate) struct Tokens {
    rate: f64,
    burst: f64,
    tokens: f64,
    at: Instant,
}

impl Tokens {
    /// A full bucket.
    pub(crate) fn new(rate: f64, burst: u32, now: Instant) -> Self {
        let burst = f64::from(burst.max(1));
        Self { rate: rate.max(f64::MIN_POSITIVE), burst, tokens: burst, at: now }
    }

    fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + passed * self.rate).min(self.burst);
        self.at = self.at.max(now);
    }

    /// Promises a token that is due within `most`, and says when; or says how long to stay away.
    pub(crate) fn reserve(&mut self, now: Instant, most: Duration) -> Result<Duration, Duration> {
        self.refill(now);
        let missing = (1.0 - self.tokens).max(0.0);
        let due = Duration::try_from_secs_f64(missing / self.rate).unwrap_or(Duration::MAX);
        if due > most {
            return Err(due - most);
        }
        self.tokens -= 1.0;
        Ok(due)
    }

    /// Gives a promised token back.
    pub(crate) fn cancel(&mut self) {
        self.tokens = (self.tokens + 1.0).min(self.burst);
    }
}

/// A bucket that many take from.
#[derive(Debug)]
pub(crate) struct TokenBucket(Mutex<Tokens>);

/// No token in time: come back after so long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoToken {
    pub(crate) retry_after: Duration,
}

impl TokenBucket {
    pub(crate) fn new(rate: f64, burst: u32) -> Self {
        Self(Mutex::new(Tokens::new(rate, burst, Instant::now())))
    }

    /// Takes a token that is there now.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "the shop's orders may wait a little; reference of the third way")
    )]
    pub(crate) fn allow(&self) -> Result<(), NoToken> {
        self.reserve(Duration::ZERO).map(|reservation| reservation.keep())
    }

    /// Promises a token that is due within `most`. Dropped before it is kept, it goes back.
    pub(crate) fn reserve(&self, most: Duration) -> Result<Reservation<'_>, NoToken> {
        match self.0.lock().reserve(Instant::now(), most) {
            Ok(due) => Ok(Reservation { bucket: self, due: Instant::now() + due, kept: false }),
            Err(retry_after) => Err(NoToken { retry_after }),
        }
    }

    /// Takes a token that is due within `most`, and waits for it.
    pub(crate) async fn wait(&self, most: Duration) -> Result<(), NoToken> {
        let reservation = self.reserve(most)?;
        tokio::time::sleep_until(reservation.due).await;
        reservation.keep();
        Ok(())
    }
}

/// A promised token.
#[must_use]
#[derive(Debug)]
pub(crate) struct Reservation<'a> {
    bucket: &'a TokenBucket,
    pub(crate) due: Instant,
    kept: bool,
}

impl Reservation<'_> {
    /// The token is used.
    pub(crate) fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        if !self.kept {
            self.bucket.0.lock().cancel();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{NoToken, TokenBucket, Tokens};
    use proptest::prelude::*;
    use std::time::Duration;
    use tokio::time::Instant;

    const MS: Duration = Duration::from_millis(1);

    #[tokio::test(start_paused = true)]
    async fn a_burst_passes_at_once_and_then_one_each_interval() {
        let bucket = TokenBucket::new(10.0, 3);
        for _ in 0..3 {
            assert_eq!(bucket.allow(), Ok(()));
        }
        assert_eq!(bucket.allow(), Err(NoToken { retry_after: 100 * MS }));
        tokio::time::advance(100 * MS).await;
        assert_eq!((bucket.allow(), bucket.allow().is_err()), (Ok(()), true));
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_wait_are_served_one_after_the_other_and_the_last_not_at_all() {
        let bucket = TokenBucket::new(10.0, 1);
        let begun = Instant::now();
        let wait = async || (bucket.wait(250 * MS).await, begun.elapsed());
        let (a, b, c, d) = tokio::join!(wait(), wait(), wait(), wait());
        assert_eq!(
            [a, b, c].map(|(result, at)| (result.is_ok(), at.as_millis() / 10)),
            [(true, 0), (true, 10), (true, 20)]
        );
        assert_eq!(d.0, Err(NoToken { retry_after: 50 * MS }));
    }

    #[tokio::test(start_paused = true)]
    async fn a_reservation_that_is_not_kept_goes_back() {
        let bucket = TokenBucket::new(10.0, 1);
        drop(bucket.reserve(MS).unwrap());
        assert!(tokio::time::timeout(MS, bucket.wait(MS)).await.is_ok(), "the token is there");
        let reservation = bucket.reserve(100 * MS).unwrap();
        assert_eq!(reservation.due - Instant::now(), 100 * MS);
        assert!(bucket.reserve(100 * MS).is_err());
        drop(reservation);
        assert!(bucket.reserve(100 * MS).is_ok());
    }

    proptest! {
        #[test]
        fn never_more_than_the_burst_and_the_rate_become_due(
            rate in 1.0f64..1000.0, burst in 1u32..50,
            asks in proptest::collection::vec((0u64..50, 0u64..100, any::<bool>()), 1..300),
        ) {
            let begun = Instant::now();
            let (mut now, mut tokens, mut due) = (begun, Tokens::new(rate, burst, begun), Vec::new());
            for (later, most, gives_back) in asks {
                now += Duration::from_millis(later);
                if let Ok(wait) = tokens.reserve(now, Duration::from_millis(most)) {
                    prop_assert!(wait <= Duration::from_millis(most));
                    if gives_back { tokens.cancel(); } else { due.push(now + wait); }
                }
            }
            due.sort();
            for (count, at) in due.iter().enumerate() {
                let allowed = f64::from(burst) + rate * (*at - begun).as_secs_f64();
                prop_assert!((count + 1) as f64 <= allowed + 1e-6, "{} by {:?}", count + 1, *at - begun);
            }
        }
    }
}
