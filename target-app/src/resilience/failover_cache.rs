//! Fail-over cache: fresh from upstream within a short time, else the last known value, marked stale.
//!
//! It never saves a call: upstream is always asked, and the cache is only what remains when that fails. When there
//! is an old value to fall back on, upstream gets less time to answer. The short time is part of the timeout
//! budget: without that pattern, nothing here cuts a call short either.
//!
//! Invariant: bounded in entries and in age; a value is served stale only for failures that allow it
//! (`CallError::allows_stale`).

use crate::{failure::CallError, metrics::Metrics, resilience::timeout_budget::Deadline};
use moka::future::Cache;
use std::{sync::Arc, time::Duration};

/// Bounds of the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheConfig {
    /// With an old value at hand, a fresh one must come within this.
    pub fresh_within: Duration,
    /// Entries of one part, at most.
    pub entries: u64,
    /// Older values are never served.
    pub max_age: Duration,
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self { fresh_within: Duration::from_millis(100), entries: 2000, max_age: Duration::from_secs(600) }
    }
}

/// A value, and whether it is an old one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Served<V> {
    pub(crate) value: Arc<V>,
    pub(crate) stale: bool,
}

/// The last known values of one optional part.
pub(crate) enum FailoverCache<V> {
    On { part: &'static str, values: Cache<i64, Arc<V>>, fresh_within: Duration, metrics: Arc<Metrics> },
    Off,
}

impl<V: Send + Sync + 'static> FailoverCache<V> {
    pub(crate) fn on(part: &'static str, config: CacheConfig, metrics: Arc<Metrics>) -> Self {
        let values = Cache::builder().max_capacity(config.entries).time_to_live(config.max_age).build();
        Self::On { part, values, fresh_within: config.fresh_within, metrics }
    }

    /// Asks upstream by `fetch`, which is given its deadline, and falls back on the last known value.
    pub(crate) async fn get<F>(
        &self,
        key: i64,
        deadline: Deadline,
        fetch: impl FnOnce(Deadline) -> F,
    ) -> Result<Served<V>, CallError>
    where
        F: Future<Output = Result<V, CallError>>,
    {
        let Self::On { part, values, fresh_within, metrics } = self else {
            return fetch(deadline).await.map(|value| Served { value: Arc::new(value), stale: false });
        };
        let known = values.get(&key).await;
        let deadline = if known.is_some() { deadline.tightened(*fresh_within) } else { deadline };
        match (fetch(deadline).await, known) {
            (Ok(value), _) => {
                let value = Arc::new(value);
                values.insert(key, Arc::clone(&value)).await;
                metrics.cache(part, "fresh");
                Ok(Served { value, stale: false })
            }
            (Err(error), Some(value)) if error.allows_stale() => {
                metrics.cache(part, "stale");
                Ok(Served { value, stale: true })
            }
            (Err(error), _) => {
                metrics.cache(part, "miss");
                Err(error)
            }
        }
    }

    pub(crate) fn entries(&self) -> u64 {
        match self {
            Self::On { values, .. } => values.entry_count(),
            Self::Off => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{CacheConfig, FailoverCache, Served};
    use crate::{failure::CallError, metrics::Metrics, resilience::timeout_budget::Deadline};
    use std::time::Duration;
    use tokio::time::Instant;

    const MS: Duration = Duration::from_millis(1);

    fn cache(max_age: Duration) -> FailoverCache<u8> {
        FailoverCache::on("reviews", CacheConfig { max_age, ..CacheConfig::default() }, Metrics::new())
    }

    fn soon() -> Deadline {
        Deadline::At(Instant::now() + 150 * MS)
    }

    async fn hang(deadline: Deadline) -> Result<u8, CallError> {
        let timed_out = |_| CallError::Timeout { service: "reviews" };
        deadline.run(std::future::pending()).await.map_err(timed_out)
    }

    #[tokio::test(start_paused = true)]
    async fn with_an_old_value_at_hand_a_slow_upstream_is_given_a_hundred_milliseconds() {
        let cache = cache(Duration::from_secs(60));
        cache.get(1, soon(), async |_| Ok(7)).await.unwrap();
        let begun = Instant::now();
        let served = cache.get(1, soon(), hang).await.unwrap();
        assert_eq!((*served.value, served.stale, begun.elapsed()), (7, true, 100 * MS));
    }

    #[tokio::test(start_paused = true)]
    async fn without_an_old_value_it_may_use_its_whole_share() {
        let begun = Instant::now();
        assert!(cache(Duration::from_secs(60)).get(1, soon(), hang).await.is_err());
        assert_eq!(begun.elapsed(), 150 * MS);
    }

    #[tokio::test(start_paused = true)]
    async fn nonsense_is_not_covered_by_an_old_value() {
        let cache = cache(Duration::from_secs(60));
        cache.get(1, soon(), async |_| Ok(7)).await.unwrap();
        let nonsense = CallError::Malformed { service: "reviews", cause: "not JSON".into() };
        assert_eq!(cache.get(1, soon(), async |_| Err(nonsense.clone())).await, Err(nonsense.clone()));
    }

    #[tokio::test]
    async fn a_value_past_its_age_is_gone() {
        let cache = cache(Duration::ZERO);
        cache.get(1, soon(), async |_| Ok(7)).await.unwrap();
        assert!(
            cache.get(1, Deadline::Never, async |_| Err(CallError::PoolFull { service: "reviews" })).await.is_err()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn switched_off_there_is_only_upstream() {
        let off = FailoverCache::<u8>::Off;
        let fresh = off.get(1, soon(), async |_| Ok(7)).await.unwrap();
        assert_eq!(fresh, Served { value: 7.into(), stale: false });
        assert!(off.get(1, soon(), hang).await.is_err());
    }
}
