//! The sums of one proxy, in two groups: connections that faults spared, and those that they hit.
//!
//! Held by the proxy's roster, under its lock. A snapshot has the sums of those that ended and what those that are
//! open have done so far. Neighbours: `super::meter` settles into it, `super::marks` subtracts snapshots.
//! Invariant: every number but that of the open connections only goes up.

use super::{
    Meter, Side, TIMINGS, Timing,
    requests::RequestSnapshot,
    timed::{Cells, Timed},
};
use squall_wire::TrafficGroup;
use std::time::Duration;

/// The sums of a proxy's connections.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Those spared, then those hit.
    groups: [Group; 2],
    /// Bytes read from clients and from the upstream by connections that are over.
    received: [u64; 2],
}

#[derive(Debug, Default)]
struct Group {
    ended: u64,
    errors: u64,
    /// To the upstream, and to clients.
    bytes: [u64; 2],
    timings: [Timed; TIMINGS],
}

/// The sums of one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Snapshot {
    /// Distinguishes a proxy from an earlier one of the same name.
    pub(super) proxy: u64,
    groups: [GroupSnapshot; 2],
    /// None of a proxy that knows no requests.
    requests: Option<RequestSnapshot>,
}

#[derive(Debug, Clone, Default, PartialEq)]
struct GroupSnapshot {
    open: u64,
    ended: u64,
    errors: u64,
    bytes: [u64; 2],
    timings: [Cells; TIMINGS],
}

impl Tally {
    pub(super) fn time(&mut self, side: Side, timing: Timing, took: Duration) {
        self.groups[side as usize].timings[timing as usize].record(took);
    }

    pub(super) fn ended(&mut self, side: Side, failed: bool, bytes: [[u64; 2]; 2], received: [u64; 2]) {
        let group = &mut self.groups[side as usize];
        group.ended += 1;
        group.errors += u64::from(failed);
        for (group, bytes) in self.groups.iter_mut().zip(bytes) {
            add(&mut group.bytes, bytes);
        }
        add(&mut self.received, received);
    }

    /// Bytes delivered both ways by connections that are over.
    pub(crate) fn delivered(&self) -> [u64; 2] {
        [0, 1].map(|way| self.groups.iter().map(|group| group.bytes[way]).sum())
    }

    /// Bytes read both ways by connections that are over.
    pub(crate) fn received(&self) -> [u64; 2] {
        self.received
    }

    /// Connections that are over: spared, hit, and with an error.
    pub(crate) fn ends(&self) -> [u64; 3] {
        let [spared, hit] = &self.groups;
        [spared.ended, hit.ended, spared.errors + hit.errors]
    }

    /// The sums as they are, with what the open connections have done.
    pub(crate) fn snapshot<'a>(&mut self, proxy: u64, open: impl Iterator<Item = &'a Meter>) -> Snapshot {
        let (mut counts, mut bytes) = ([0; 2], [[0; 2]; 2]);
        for meter in open {
            meter.settle_beginning(self);
            counts[meter.side() as usize] += 1;
            for (sum, more) in bytes.iter_mut().zip(meter.bytes()) {
                add(sum, more);
            }
        }
        let group = |side: usize| {
            let group = &self.groups[side];
            let mut sum = bytes[side];
            add(&mut sum, group.bytes);
            GroupSnapshot {
                open: counts[side],
                ended: group.ended,
                errors: group.errors,
                bytes: sum,
                timings: group.timings.each_ref().map(Timed::cells),
            }
        };
        Snapshot { proxy, groups: [group(0), group(1)], requests: None }
    }
}

fn add(sum: &mut [u64; 2], more: [u64; 2]) {
    sum.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
}

impl Snapshot {
    /// What came between an earlier one and this: all, those hit, those spared.
    pub(super) fn since(&self, before: Option<&Self>) -> [TrafficGroup; 3] {
        let none = Self::default();
        // A proxy that was made anew under an old name has nothing to do with the old one.
        let before = before.filter(|before| before.proxy == self.proxy).unwrap_or(&none);
        let [spared, hit] = [0, 1].map(|side| self.groups[side].since(&before.groups[side]));
        let mut told = [merged(&spared, &hit).told(), hit.told(), spared.told()];
        if let Some(requests) = &self.requests {
            let [all, hit, spared] = requests.since(before.requests.as_ref());
            told.iter_mut().zip([all, hit, spared]).for_each(|(told, requests)| told.requests = Some(requests));
        }
        told
    }

    /// How much it holds, in cells.
    pub(super) fn weight(&self) -> usize {
        let connections = self.groups.iter().flat_map(|group| &group.timings).map(Cells::len).sum::<usize>();
        connections + self.requests.as_ref().map_or(0, RequestSnapshot::weight) + 1
    }

    /// The same with what its requests did.
    pub(crate) fn with_requests(self, requests: RequestSnapshot) -> Self {
        Self { requests: Some(requests), ..self }
    }
}

impl GroupSnapshot {
    fn since(&self, before: &Self) -> Self {
        Self {
            open: self.open,
            ended: self.ended.saturating_sub(before.ended),
            errors: self.errors.saturating_sub(before.errors),
            bytes: [0, 1].map(|way| self.bytes[way].saturating_sub(before.bytes[way])),
            timings: std::array::from_fn(|timing| self.timings[timing].since(&before.timings[timing])),
        }
    }

    fn told(&self) -> TrafficGroup {
        let [connect, first_byte, duration] = self.timings.each_ref().map(Cells::summary);
        TrafficGroup {
            open: self.open,
            ended: self.ended,
            errors: self.errors,
            bytes_upstream: self.bytes[0],
            bytes_downstream: self.bytes[1],
            connect,
            first_byte,
            duration,
            requests: None,
        }
    }
}

fn merged(a: &GroupSnapshot, b: &GroupSnapshot) -> GroupSnapshot {
    let mut bytes = a.bytes;
    add(&mut bytes, b.bytes);
    let timings = std::array::from_fn(|timing| a.timings[timing].with(&b.timings[timing]));
    GroupSnapshot { open: a.open + b.open, ended: a.ended + b.ended, errors: a.errors + b.errors, bytes, timings }
}

#[cfg(test)]
mod tests {
    use super::{Meter, Side, Snapshot, Tally, Timing};
    use std::time::Duration;

    fn snapshot(tally: &mut Tally, open: &[&Meter]) -> Snapshot {
        tally.snapshot(7, open.iter().copied())
    }

    #[test]
    fn a_connection_counts_as_spared_until_a_fault_acts_and_as_hit_from_then_on() {
        let (mut tally, meter) = (Tally::default(), Meter::start());
        meter.receive(true, 10);
        meter.deliver(true, 10);
        let [all, hit, spared] = snapshot(&mut tally, &[&meter]).since(None);
        assert_eq!((all.open, hit.open, spared.open, spared.bytes_upstream), (1, 0, 1, 10));
        assert!(meter.hit() && !meter.hit(), "the first hit counts");
        meter.deliver(true, 5);
        meter.fail();
        meter.settle(&mut tally);
        let [all, hit, spared] = snapshot(&mut tally, &[]).since(None);
        assert_eq!((hit.ended, hit.errors, hit.bytes_upstream), (1, 1, 5));
        assert_eq!((spared.ended, spared.errors, spared.bytes_upstream), (0, 0, 10));
        assert_eq!((all.ended, all.errors, all.bytes_upstream, all.duration.count), (1, 1, 15, 1));
        assert_eq!(tally.received(), [10, 0]);
    }

    #[test]
    fn the_time_to_the_first_byte_counts_once_and_from_the_question() {
        let (mut tally, meter) = (Tally::default(), Meter::start());
        meter.reached(Duration::from_millis(3));
        assert_eq!(snapshot(&mut tally, &[&meter]).since(None)[0].first_byte.count, 0, "not served yet");
        meter.receive(true, 1);
        meter.deliver(false, 1);
        for _ in 0..2 {
            let all = &snapshot(&mut tally, &[&meter]).since(None)[0];
            assert_eq!((all.connect.count, all.first_byte.count), (1, 1));
            assert!(all.connect.p50.unwrap().get() >= Duration::from_millis(3));
        }
        // It was served before the fault came, so how soon is none of the fault's doing.
        meter.hit();
        meter.settle(&mut tally);
        let [_, hit, spared] = snapshot(&mut tally, &[]).since(None);
        assert_eq!((spared.first_byte.count, spared.connect.count, spared.duration.count), (1, 1, 0));
        assert_eq!((hit.first_byte.count, hit.duration.count), (0, 1));
    }

    #[test]
    fn quantiles_are_of_what_came_since() {
        let mut tally = Tally::default();
        for millis in 1..=1000 {
            tally.time(Side::Hit, Timing::Duration, Duration::from_millis(millis));
        }
        let before = snapshot(&mut tally, &[]);
        for _ in 0..10 {
            tally.time(Side::Hit, Timing::Duration, Duration::from_secs(5));
        }
        let after = snapshot(&mut tally, &[]);
        let close =
            |told: squall_wire::Span, millis: f64| (told.get().as_secs_f64() * 1e3 / millis - 1.0).abs() < 0.011;
        let first = &before.since(None)[1].duration;
        assert_eq!(first.count, 1000);
        for (told, millis) in [(first.p50, 500.0), (first.p90, 900.0), (first.p99, 990.0), (first.max, 1000.0)] {
            assert!(close(told.unwrap(), millis), "{told:?} is not {millis} ms");
        }
        let since = &after.since(Some(&before))[1].duration;
        assert_eq!(since.count, 10);
        assert!(close(since.p50.unwrap(), 5000.0) && close(since.max.unwrap(), 5000.0), "{since:?}");
        let [all, _, spared] = after.since(Some(&after));
        assert_eq!((all.duration.count, all.duration.p50, spared.duration.max), (0, None, None));
    }

    #[test]
    fn a_proxy_made_anew_has_nothing_of_its_namesake() {
        let mut old = Tally::default();
        old.ended(Side::Spared, false, [[5; 2], [0; 2]], [5; 2]);
        let mut new = Tally::default();
        new.ended(Side::Spared, false, [[3; 2], [0; 2]], [3; 2]);
        let (old, new) = (old.snapshot(1, std::iter::empty()), new.snapshot(2, std::iter::empty()));
        assert_eq!(new.since(Some(&old))[2].bytes_upstream, 3);
    }
}
