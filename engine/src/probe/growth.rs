//! How counters grew between two readings. Pure but for the times that it is told.
//!
//! A counter that is lower than before was reset, by a restart, and has grown from 0; one that was not there before
//! has grown from 0 as well: the first error of its kind counts.
//! Neighbours: `metrics` and `agent` keep one each.

use std::{collections::BTreeMap, time::Duration};
use tokio::time::Instant;

/// What is remembered from reading to reading. `K` tells counters apart.
#[derive(Debug)]
pub(super) struct Growth<K> {
    before: Option<(Instant, BTreeMap<K, f64>)>,
}

/// The growth of each counter, and over how long.
#[derive(Debug, PartialEq)]
pub(super) struct Grown<K> {
    pub(super) counters: BTreeMap<K, f64>,
    pub(super) over: Duration,
}

impl<K> Default for Growth<K> {
    fn default() -> Self {
        Self { before: None }
    }
}

impl<K: Ord + Clone> Growth<K> {
    /// The growth since the reading before; none at the first, which is only where it starts from.
    pub(super) fn since_before(&mut self, now: Instant, counters: BTreeMap<K, f64>) -> Option<Grown<K>> {
        let (then, before) = self.before.replace((now, counters.clone()))?;
        let grown = |(key, value): (K, f64)| {
            let old = before.get(&key).copied().filter(|old| *old <= value).unwrap_or(0.0);
            (key, value - old)
        };
        Some(Grown { counters: counters.into_iter().map(grown).collect(), over: now - then })
    }
}

impl<K> Grown<K> {
    /// All counters together, a second.
    pub(super) fn rate(&self) -> Option<f64> {
        (!self.over.is_zero()).then(|| self.counters.values().sum::<f64>() / self.over.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::Growth;
    use std::{collections::BTreeMap, time::Duration};
    use tokio::time::Instant;

    #[test]
    fn rates_survive_restarts_and_new_counters() {
        let (start, mut growth) = (Instant::now(), Growth::default());
        let mut read = |second: u64, counters: &[(&'static str, f64)]| {
            let counters = counters.iter().copied().collect::<BTreeMap<_, _>>();
            growth.since_before(start + Duration::from_secs(second), counters).and_then(|grown| grown.rate())
        };
        assert_eq!(read(0, &[("a", 100.0)]), None);
        assert_eq!(read(2, &[("a", 110.0)]), Some(5.0));
        assert_eq!(read(3, &[("a", 4.0)]), Some(4.0));
        assert_eq!(read(4, &[("a", 4.0), ("b", 3.0)]), Some(3.0));
    }
}
