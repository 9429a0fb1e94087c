//! The sums of one `http` proxy's requests, in two groups: those that faults spared, and those that they hit.
//!
//! Neighbours: `http::count` tells each request when it ends, `super::tally` has the connections, and takes a snapshot of
//! this along with its own. Invariant: every number but those of requests under way only goes up.

use super::{
    Side,
    timed::{Cells, Timed},
};
use squall_wire::RequestGroup;
use std::time::Duration;

/// The sums of a proxy's requests.
#[derive(Debug, Default)]
pub(crate) struct RequestTally {
    /// Those spared, then those hit.
    groups: [Group; 2],
    /// Requests that are under way, or were.
    begun: u64,
    /// Of those that are over, how many a fault of requests hit.
    over_hit: u64,
}

#[derive(Debug, Default)]
struct Group {
    ended: u64,
    errors: u64,
    first_byte: Timed,
    duration: Timed,
}

/// One request that is over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ended {
    /// Whether a fault of requests hit it.
    pub(crate) hit: bool,
    /// Whether a fault of connections acted on its connection while it was under way.
    pub(crate) touched: bool,
    /// Whether it was answered by a failure, or not at all.
    pub(crate) failed: bool,
    /// How soon the first byte of its response left, if one did, and whether it was hit by then.
    pub(crate) first_byte: Option<(Duration, bool)>,
    /// How long it was under way.
    pub(crate) lasted: Duration,
}

/// The sums of one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct RequestSnapshot {
    groups: [GroupSnapshot; 2],
}

#[derive(Debug, Clone, Default, PartialEq)]
struct GroupSnapshot {
    open: u64,
    ended: u64,
    errors: u64,
    first_byte: Cells,
    duration: Cells,
}

impl RequestTally {
    /// A request comes.
    pub(crate) fn begin(&mut self) {
        self.begun += 1;
    }

    /// A request is over.
    pub(crate) fn end(&mut self, ended: &Ended) {
        let side = |hit: bool| if hit || ended.touched { Side::Hit } else { Side::Spared };
        self.over_hit += u64::from(ended.hit);
        if let Some((after, hit)) = ended.first_byte {
            self.groups[side(hit) as usize].first_byte.record(after);
        }
        let group = &mut self.groups[side(ended.hit) as usize];
        group.ended += 1;
        group.errors += u64::from(ended.failed);
        group.duration.record(ended.lasted);
    }

    /// The sums as they are. `hit`: how many requests were hit so far, those under way among them.
    pub(crate) fn snapshot(&self, hit: u64) -> RequestSnapshot {
        let ended: u64 = self.groups.iter().map(|group| group.ended).sum();
        let open = self.begun.saturating_sub(ended);
        let open_hit = hit.saturating_sub(self.over_hit).min(open);
        let group = |side: Side, open: u64| {
            let group = &self.groups[side as usize];
            GroupSnapshot {
                open,
                ended: group.ended,
                errors: group.errors,
                first_byte: group.first_byte.cells(),
                duration: group.duration.cells(),
            }
        };
        RequestSnapshot { groups: [group(Side::Spared, open - open_hit), group(Side::Hit, open_hit)] }
    }
}

impl RequestSnapshot {
    /// What came between an earlier one and this: all, those hit, those spared.
    pub(super) fn since(&self, before: Option<&Self>) -> [RequestGroup; 3] {
        let none = Self::default();
        let before = before.unwrap_or(&none);
        let [spared, hit] = [0, 1].map(|side| self.groups[side].since(&before.groups[side]));
        [spared.with(&hit).told(), hit.told(), spared.told()]
    }

    /// How much it holds, in cells.
    pub(super) fn weight(&self) -> usize {
        self.groups.iter().map(|group| group.first_byte.len() + group.duration.len()).sum()
    }
}

impl GroupSnapshot {
    fn since(&self, before: &Self) -> Self {
        Self {
            open: self.open,
            ended: self.ended.saturating_sub(before.ended),
            errors: self.errors.saturating_sub(before.errors),
            first_byte: self.first_byte.since(&before.first_byte),
            duration: self.duration.since(&before.duration),
        }
    }

    fn with(&self, other: &Self) -> Self {
        Self {
            open: self.open + other.open,
            ended: self.ended + other.ended,
            errors: self.errors + other.errors,
            first_byte: self.first_byte.with(&other.first_byte),
            duration: self.duration.with(&other.duration),
        }
    }

    fn told(&self) -> RequestGroup {
        RequestGroup {
            open: self.open,
            ended: self.ended,
            errors: self.errors,
            first_byte: self.first_byte.summary(),
            duration: self.duration.summary(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Ended, RequestTally};
    use std::time::Duration;

    const SPARED: Ended = Ended {
        hit: false,
        touched: false,
        failed: false,
        first_byte: Some((Duration::from_millis(2), false)),
        lasted: Duration::from_millis(3),
    };

    #[test]
    fn a_request_belongs_to_those_hit_if_a_fault_acted_on_it_or_on_its_connection() {
        let mut tally = RequestTally::default();
        for _ in 0..5 {
            tally.begin();
        }
        tally.end(&SPARED);
        tally.end(&Ended { hit: true, failed: true, first_byte: None, ..SPARED });
        tally.end(&Ended { touched: true, ..SPARED });
        let [all, hit, spared] = tally.snapshot(2).since(None);
        assert_eq!((all.open, hit.open, spared.open), (2, 1, 1), "one of two under way was hit");
        assert_eq!((all.ended, hit.ended, spared.ended), (3, 2, 1));
        assert_eq!((all.errors, hit.errors, spared.errors), (1, 1, 0));
        assert_eq!((hit.first_byte.count, spared.first_byte.count, all.duration.count), (1, 1, 3));
    }

    #[test]
    fn a_first_byte_before_the_hit_is_none_of_the_faults_doing() {
        let mut tally = RequestTally::default();
        tally.begin();
        let before = tally.snapshot(0);
        tally.end(&Ended { hit: true, ..SPARED });
        let [_, hit, spared] = tally.snapshot(1).since(Some(&before));
        assert_eq!((hit.ended, hit.first_byte.count, hit.duration.count), (1, 0, 1));
        assert_eq!((spared.ended, spared.first_byte.count, spared.duration.count), (0, 1, 0));
    }
}
