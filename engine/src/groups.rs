//! What a proxy's agent saw of the two groups of its connections or requests, reading by reading: those that a fault hit,
//! and those that it spared, which are their control.
//!
//! Both are of the same proxy and the same time, so that whatever else went on touched both alike.
//! Neighbours: the `agent` probe brings them, `recorder` keeps them, `judge::control` compares.
//! Invariant: a reading that is only partly in a window is not in it, nor one in which nothing was hit: what was spared then
//! had no contemporaries.

use crate::significance::Values;
use std::{collections::BTreeMap, ops::Range, time::Duration};

/// One group over some time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Group {
    /// Connections or requests that ended.
    pub ended: u64,
    /// Of these, those that ended with an error.
    pub errors: u64,
    /// Times in microseconds, each with how many took it.
    pub times: BTreeMap<u64, u64>,
}

/// Both groups between two readings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupReading {
    /// When the reading before was made, since the run started.
    pub from: Duration,
    /// When this one was.
    pub to: Duration,
    /// Those hit.
    pub hit: Group,
    /// Those spared.
    pub spared: Group,
}

impl Group {
    /// Adds another one's.
    pub fn add(&mut self, other: &Self) {
        self.ended += other.ended;
        self.errors += other.errors;
        for (micros, count) in &other.times {
            *self.times.entry(*micros).or_default() += count;
        }
    }

    /// Its times in seconds.
    #[must_use]
    pub fn seconds(&self) -> Values {
        Values::new(self.times.iter().map(|(micros, count)| (*micros as f64 / 1e6, *count)))
    }

    fn is_empty(&self) -> bool {
        self.ended == 0 && self.times.is_empty()
    }
}

impl GroupReading {
    /// How much room it takes, in cells of its histograms.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.hit.times.len() + self.spared.times.len() + 1
    }
}

/// Those hit and those spared over the whole of a window.
#[must_use]
pub fn over(readings: &[GroupReading], window: &Range<Duration>) -> (Group, Group) {
    let (mut hit, mut spared) = (Group::default(), Group::default());
    let inside = |reading: &&GroupReading| reading.from >= window.start && reading.to <= window.end;
    for reading in readings.iter().filter(inside).filter(|reading| !reading.hit.is_empty()) {
        hit.add(&reading.hit);
        spared.add(&reading.spared);
    }
    (hit, spared)
}

#[cfg(test)]
mod tests {
    use super::{Group, GroupReading, over};
    use std::{collections::BTreeMap, time::Duration};

    fn group(ended: u64) -> Group {
        let times = if ended > 0 { BTreeMap::from([(1000, ended)]) } else { BTreeMap::new() };
        Group { ended, errors: 0, times }
    }

    #[test]
    fn readings_count_that_are_wholly_in_the_window_and_have_somebody_hit() {
        let second = Duration::from_secs;
        let reading = |from, hit, spared| GroupReading {
            from: second(from),
            to: second(from + 1),
            hit: group(hit),
            spared: group(spared),
        };
        let readings = [reading(0, 1, 10), reading(1, 2, 20), reading(2, 0, 40), reading(3, 4, 80), reading(4, 8, 160)];
        let (hit, spared) = over(&readings, &(second(1)..Duration::from_millis(4500)));
        assert_eq!((hit.ended, spared.ended), (6, 100));
        assert_eq!(spared.seconds().count(), 100);
    }
}
