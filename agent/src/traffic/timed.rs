//! How something that is timed spreads: a histogram while it is counted, its cells in a snapshot, quantiles when told.
//!
//! Neighbours: `super::tally` times connections, `super::requests` requests.
//! Invariant: what is told is at most 1 % too long, and never too short.

use hdrhistogram::Histogram;
use squall_wire::{Span, TimingInfo};
use std::time::Duration;

/// Digits that a histogram keeps: 1 %.
const DIGITS: u8 = 2;
/// In microseconds; what takes longer counts as this.
const LONGEST: u64 = 24 * 3600 * 1_000_000;

/// What took so long, each time. Made when it is first needed: most proxies of a large agent are idle.
#[derive(Debug, Default)]
pub(super) struct Timed(Option<Histogram<u32>>);

/// The recorded values of a [`Timed`], ascending, each with its count.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Cells(Vec<(u64, u64)>);

impl Timed {
    pub(super) fn record(&mut self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(LONGEST).clamp(1, LONGEST);
        if self.0.is_none() {
            // Fails only on digits that are not from 0 to 5.
            self.0 = Histogram::new(DIGITS).ok();
        }
        if let Some(histogram) = &mut self.0 {
            // It resizes itself, so no value is out of its range; and the value is bounded, so its memory is.
            let _ = histogram.record(micros);
        }
    }

    pub(super) fn cells(&self) -> Cells {
        let Some(histogram) = &self.0 else { return Cells::default() };
        let cell = histogram.iter_recorded();
        Cells(cell.map(|step| (step.value_iterated_to(), u64::from(step.count_at_value()))).collect())
    }
}

impl Cells {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// What came since an earlier snapshot of the same. It only grows, so every value of that one is in this one.
    pub(super) fn since(&self, before: &Self) -> Self {
        let mut earlier = before.0.iter().peekable();
        let mut left = Vec::new();
        for (value, count) in &self.0 {
            while earlier.next_if(|(other, _)| other < value).is_some() {}
            let old = earlier.next_if(|(other, _)| other == value).map_or(0, |(_, count)| *count);
            if *count > old {
                left.push((*value, count - old));
            }
        }
        Self(left)
    }

    /// Both together.
    pub(super) fn with(&self, other: &Self) -> Self {
        let mut all = [self.0.as_slice(), &other.0].concat();
        all.sort_unstable_by_key(|(value, _)| *value);
        Self(all)
    }

    pub(super) fn summary(&self) -> TimingInfo {
        let count: u64 = self.0.iter().map(|(_, count)| count).sum();
        // Each value is the upper end of its cell.
        let quantile = |share: f64| {
            let rank = ((count as f64 * share).ceil() as u64).max(1);
            let mut seen = 0;
            let found = self.0.iter().find(|(_, count)| {
                seen += count;
                seen >= rank
            });
            found.map(|(micros, _)| Span::from(Duration::from_micros(*micros)))
        };
        TimingInfo {
            count,
            p50: quantile(0.5),
            p90: quantile(0.9),
            p99: quantile(0.99),
            p999: quantile(0.999),
            max: quantile(1.0),
            times: Some(self.0.clone()),
        }
    }
}
