//! Every sample of a run, in memory, in the order in which they were done.
//!
//! ```text
//! traffic ─┐                 ┌─▶ window_by_start: phases      ┐
//! probes  ─┴─▶ push ─▶ log ──┼─▶ window_by_done: the guard    ├─▶ judge
//!                            └─▶ since(cursor): journal, live ┘
//! ```
//!
//! Its clock is the run's: times are since `started`. `traffic` is not a series of its own but the union of all
//! `traffic.*`. Neighbours: `probe` and `traffic` push, `judge` and the journal read.
//! Invariant: nothing is dropped in silence. Over `CAPACITY` samples `overflowed` says how many were not kept,
//! and a run that sees it above 0 must not conclude anything.

use crate::{groups::GroupReading, sample::Sample, under_way::UnderWay};
use parking_lot::RwLock;
use std::{collections::BTreeMap, ops::Range, sync::Arc, time::Duration};
use tokio::{sync::watch, time::Instant};

/// The name under which all `traffic.*` series are read together.
pub const TRAFFIC: &str = "traffic";
const TRAFFIC_PREFIX: &str = "traffic.";

/// Samples that are kept at most, all series together: 2 million are about 200 MB, and an hour of 500 a second.
pub const CAPACITY: usize = 2_000_000;

/// Cells of histograms that are kept at most, of 50 bytes or so each.
const GROUP_CELLS: usize = 2_000_000;

/// A series of this recorder's; made by [`Recorder::series`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeriesId(usize);

/// How far a reader of [`Recorder::since`] has come. Starts at the beginning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cursor(usize);

/// How many samples a series has, and how many of them failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// All of them.
    pub samples: u64,
    /// Those that are not `ok`.
    pub failed: u64,
}

/// All samples of a run.
#[derive(Debug)]
pub struct Recorder {
    started: Instant,
    names: Vec<Arc<str>>,
    by_name: BTreeMap<Arc<str>, usize>,
    capacity: usize,
    log: RwLock<Log>,
    pushed: watch::Sender<u64>,
    under_way: UnderWay,
    groups: RwLock<Groups>,
    left_out: RwLock<Vec<Range<Duration>>>,
}

/// What agents saw of those hit and those spared, by series.
#[derive(Debug, Default)]
struct Groups {
    readings: BTreeMap<usize, Vec<GroupReading>>,
    cells: usize,
}

#[derive(Debug, Default)]
struct Log {
    /// In the order of arrival, which is what cursors count in.
    samples: Vec<(usize, Sample)>,
    /// For each series, and last for their union `traffic`: places in `samples`, ordered by when they were done.
    orders: Vec<Order>,
    overflowed: u64,
}

#[derive(Debug, Clone, Default)]
struct Order {
    places: Vec<u32>,
    counts: Counts,
    first_at: Option<Duration>,
}

impl Recorder {
    /// A recorder for these series, whose clock starts now. Names that come twice are one series.
    #[must_use]
    pub fn new(series: impl IntoIterator<Item = String>) -> Arc<Self> {
        Self::with_capacity(series, CAPACITY)
    }

    fn with_capacity(series: impl IntoIterator<Item = String>, capacity: usize) -> Arc<Self> {
        let mut by_name = BTreeMap::new();
        let mut names: Vec<Arc<str>> = Vec::new();
        for name in series.into_iter().map(Arc::<str>::from) {
            by_name.entry(Arc::clone(&name)).or_insert_with(|| {
                names.push(name);
                names.len() - 1
            });
        }
        let log = Log { orders: vec![Order::default(); names.len() + 1], ..Log::default() };
        let started = Instant::now();
        Arc::new(Self {
            started,
            names,
            by_name,
            capacity,
            log: RwLock::new(log),
            pushed: watch::Sender::new(0),
            under_way: UnderWay::default(),
            groups: RwLock::default(),
            left_out: RwLock::default(),
        })
    }

    /// When the clock started.
    #[must_use]
    pub const fn started(&self) -> Instant {
        self.started
    }

    /// Time since the clock started.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// The series of that name, to push to. `traffic` itself is none: it is the union of all `traffic.*`.
    #[must_use]
    pub fn series(&self, name: &str) -> Option<SeriesId> {
        self.by_name.get(name).copied().map(SeriesId)
    }

    /// The names of all series, in the order given, without the union.
    #[must_use]
    pub fn names(&self) -> &[Arc<str>] {
        &self.names
    }

    /// Keeps a sample. Over the capacity it is counted in `overflowed` and not kept.
    ///
    /// # Panics
    /// With a series of another recorder.
    pub fn push(&self, series: SeriesId, sample: Sample) {
        let union = self.names[series.0].starts_with(TRAFFIC_PREFIX).then_some(self.names.len());
        {
            let mut log = self.log.write();
            if log.samples.len() < self.capacity {
                for order in [Some(series.0), union].into_iter().flatten() {
                    log.insert(order, &sample);
                }
                log.samples.push((series.0, sample));
            } else {
                log.overflowed += 1;
            }
        }
        self.pushed.send_modify(|count| *count += 1);
    }

    /// Keeps what an agent saw of those hit and those spared. Over the capacity it counts as `overflowed`.
    pub fn push_groups(&self, series: SeriesId, reading: GroupReading) {
        let mut groups = self.groups.write();
        groups.cells += reading.weight();
        if groups.cells > GROUP_CELLS {
            self.log.write().overflowed += 1;
        } else {
            groups.readings.entry(series.0).or_default().push(reading);
        }
    }

    /// All readings of both groups of a series, in their order, without those that are even partly left out.
    #[must_use]
    pub fn groups(&self, name: &str) -> Vec<GroupReading> {
        let left_out = self.left_out.read();
        let counts =
            |reading: &&GroupReading| !left_out.iter().any(|out| out.start < reading.to && reading.from < out.end);
        let groups = self.groups.read();
        let readings = self.by_name.get(name).and_then(|index| groups.readings.get(index));
        readings.map_or_else(Vec::new, |readings| readings.iter().filter(counts).cloned().collect())
    }

    /// What has started and is no sample yet.
    #[must_use]
    pub const fn under_way(&self) -> &UnderWay {
        &self.under_way
    }

    /// Everything that was due before this time has become a sample.
    #[must_use]
    pub fn settled(&self) -> Duration {
        self.under_way.settled(self.now())
    }

    /// Changes with each sample pushed, for those who wait for the next.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.pushed.subscribe()
    }

    /// From now on no phase is judged by what was due in this stretch: a ramp went on until something broke, on
    /// purpose. Stretches must not overlap.
    pub fn leave_out(&self, stretch: Range<Duration>) {
        self.left_out.write().push(stretch);
    }

    /// How long the window is, without what is left out.
    #[must_use]
    pub fn length(&self, window: &Range<Duration>) -> Duration {
        let overlap = |out: &Range<Duration>| out.end.min(window.end).saturating_sub(out.start.max(window.start));
        let left_out = self.left_out.read().iter().map(overlap).sum();
        window.end.saturating_sub(window.start).saturating_sub(left_out)
    }

    /// The samples that were due to start in the window, in the order in which they were done: for judging phases.
    /// Requests that are still under way are not in it, nor what is left out.
    #[must_use]
    pub fn window_by_start(&self, name: &str, window: &Range<Duration>) -> Vec<Sample> {
        // What started in the window was done after its start, so the search need not begin earlier.
        let left_out = self.left_out.read();
        let counts = |at: &Duration| window.contains(at) && !left_out.iter().any(|out| out.contains(at));
        self.read(name, |log, order| {
            let first = log.first_done_from(order, window.start);
            let samples = order.places[first..].iter().map(|&place| log.sample(place));
            samples.filter(|sample| counts(&sample.at)).cloned().collect()
        })
        .unwrap_or_default()
    }

    /// The samples that were done in the window, in that order: for the guard.
    #[must_use]
    pub fn window_by_done(&self, name: &str, window: &Range<Duration>) -> Vec<Sample> {
        self.read(name, |log, order| {
            let first = log.first_done_from(order, window.start);
            let end = log.first_done_from(order, window.end).max(first);
            order.places[first..end].iter().map(|&place| log.sample(place).clone()).collect()
        })
        .unwrap_or_default()
    }

    /// Shows the samples of a series, the one done last first, for as long as `wanted` says yes.
    pub(crate) fn newest_while(&self, name: &str, mut wanted: impl FnMut(&Sample) -> bool) {
        self.read(name, |log, order| {
            order.places.iter().rev().all(|&place| wanted(log.sample(place)));
        });
    }

    /// The sample that was done last.
    #[must_use]
    pub fn last(&self, name: &str) -> Option<Sample> {
        self.read(name, |log, order| order.places.last().map(|&place| log.sample(place).clone())).flatten()
    }

    /// When the last sample was done.
    #[must_use]
    pub fn last_done(&self, name: &str) -> Option<Duration> {
        self.read(name, |log, order| order.places.last().map(|&place| log.sample(place).done())).flatten()
    }

    /// The earliest time at which a sample was due to start: since then the series is watched.
    #[must_use]
    pub fn watched_since(&self, name: &str) -> Option<Duration> {
        self.read(name, |_, order| order.first_at).flatten()
    }

    /// How many samples a series has. None: there is no such series.
    #[must_use]
    pub fn counts(&self, name: &str) -> Option<Counts> {
        self.read(name, |_, order| order.counts)
    }

    /// What arrived since the cursor, in the order of arrival; moves the cursor on.
    #[must_use]
    pub fn since(&self, cursor: &mut Cursor) -> Vec<(Arc<str>, Sample)> {
        let log = self.log.read();
        let new = log.samples.iter().skip(cursor.0);
        let new: Vec<_> = new.map(|(series, sample)| (Arc::clone(&self.names[*series]), sample.clone())).collect();
        cursor.0 += new.len();
        new
    }

    /// How many samples did not fit. Above 0 the run's figures are incomplete and nothing may be concluded.
    #[must_use]
    pub fn overflowed(&self) -> u64 {
        self.log.read().overflowed
    }

    fn read<T>(&self, name: &str, look: impl FnOnce(&Log, &Order) -> T) -> Option<T> {
        let index = match self.by_name.get(name) {
            Some(&index) => index,
            None if name == TRAFFIC => self.names.len(),
            None => return None,
        };
        let log = self.log.read();
        Some(look(&log, &log.orders[index]))
    }
}

impl Log {
    fn sample(&self, place: u32) -> &Sample {
        &self.samples[place as usize].1
    }

    fn first_done_from(&self, order: &Order, time: Duration) -> usize {
        order.places.partition_point(|&place| self.sample(place).done() < time)
    }

    /// Enters the sample that is about to be pushed. Samples arrive nearly in order, so this looks from the end.
    fn insert(&mut self, order: usize, sample: &Sample) {
        // Fits: the capacity is far below 2^32.
        #[expect(clippy::cast_possible_truncation, reason = "the capacity is far below 2^32")]
        let place = self.samples.len() as u32;
        let Self { samples, orders, .. } = self;
        let order = &mut orders[order];
        let later = order.places.iter().rev().take_while(|&&p| samples[p as usize].1.done() > sample.done()).count();
        order.places.insert(order.places.len() - later, place);
        order.counts.samples += 1;
        order.counts.failed += u64::from(!sample.ok);
        order.first_at = Some(order.first_at.map_or(sample.at, |first| first.min(sample.at)));
    }
}

#[cfg(test)]
mod tests {
    use super::{Counts, Cursor, Recorder};
    use crate::sample::Sample;
    use std::{sync::Arc, time::Duration};

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn sample(at: u64, took: u64) -> Sample {
        Sample { at: ms(at), took: ms(took), ok: true, status: None, value: None, text: None }
    }

    fn recorder(capacity: usize) -> Arc<Recorder> {
        let names = ["traffic.browse", "traffic.checkout", "ready"];
        Recorder::with_capacity(names.map(str::to_owned), capacity)
    }

    fn push(recorder: &Recorder, name: &str, sample: Sample) {
        recorder.push(recorder.series(name).unwrap(), sample);
    }

    fn starts(samples: &[Sample]) -> Vec<u128> {
        samples.iter().map(|sample| sample.at.as_millis()).collect()
    }

    #[test]
    fn a_slow_request_belongs_to_the_phase_in_which_it_was_due() {
        let recorder = recorder(10);
        push(&recorder, "traffic.browse", sample(95, 2));
        push(&recorder, "traffic.browse", sample(100, 2));
        push(&recorder, "traffic.browse", sample(205, 1));
        push(&recorder, "traffic.browse", sample(199, 500));
        let window = ms(100)..ms(200);
        assert_eq!(starts(&recorder.window_by_start("traffic.browse", &window)), [100, 199]);
        assert_eq!(starts(&recorder.window_by_done("traffic.browse", &window)), [100]);
    }

    #[test]
    fn samples_that_arrive_out_of_order_are_kept_in_the_order_done() {
        let recorder = recorder(10);
        for (at, took) in [(0, 30), (1, 9), (2, 18), (40, 1), (5, 30)] {
            push(&recorder, "ready", sample(at, took));
        }
        let all = ms(0)..ms(1000);
        assert_eq!(starts(&recorder.window_by_done("ready", &all)), [1, 2, 0, 5, 40]);
        assert_eq!(starts(&recorder.window_by_start("ready", &all)), [1, 2, 0, 5, 40]);
        assert_eq!(recorder.last("ready").unwrap().at, ms(40));
        assert_eq!(recorder.last_done("ready"), Some(ms(41)));
        assert_eq!(recorder.watched_since("ready"), Some(ms(0)));
    }

    #[test]
    fn traffic_is_the_union_of_its_requests_and_nothing_else() {
        let recorder = recorder(10);
        push(&recorder, "traffic.browse", sample(1, 1));
        push(&recorder, "ready", sample(2, 1));
        push(&recorder, "traffic.checkout", Sample { ok: false, ..sample(3, 1) });
        let all = ms(0)..ms(10);
        assert_eq!(starts(&recorder.window_by_done("traffic", &all)), [1, 3]);
        assert_eq!(recorder.counts("traffic"), Some(Counts { samples: 2, failed: 1 }));
        assert_eq!(recorder.counts("nobody"), None);
        assert!(recorder.series("traffic").is_none());
    }

    #[test]
    fn a_cursor_sees_each_sample_once() {
        let recorder = recorder(10);
        let mut cursor = Cursor::default();
        for at in 0..3 {
            push(&recorder, "ready", sample(at, 1));
        }
        assert_eq!(recorder.since(&mut cursor).len(), 3);
        push(&recorder, "ready", sample(3, 1));
        push(&recorder, "ready", sample(4, 1));
        let rest = recorder.since(&mut cursor);
        assert_eq!(
            rest.iter().map(|(name, s)| (&**name, s.at)).collect::<Vec<_>>(),
            [("ready", ms(3)), ("ready", ms(4))]
        );
        assert!(recorder.since(&mut cursor).is_empty());
    }

    #[test]
    fn what_does_not_fit_is_counted_not_forgotten() {
        let recorder = recorder(2);
        for at in 0..5 {
            push(&recorder, "ready", sample(at, 1));
        }
        assert_eq!(recorder.counts("ready").unwrap().samples, 2);
        assert_eq!(recorder.overflowed(), 3);
    }

    #[test]
    fn what_is_left_out_counts_neither_as_samples_nor_as_time() {
        let recorder = recorder(10);
        for at in [10, 20, 30, 40] {
            push(&recorder, "ready", sample(at, 1));
        }
        recorder.leave_out(ms(15)..ms(35));
        let window = ms(0)..ms(30);
        assert_eq!(starts(&recorder.window_by_start("ready", &window)), [10]);
        assert_eq!(recorder.length(&window), ms(15));
        assert_eq!(recorder.length(&(ms(40)..ms(50))), ms(10));
    }

    #[tokio::test]
    async fn a_push_wakes_those_who_wait() {
        let recorder = recorder(2);
        let mut changes = recorder.changes();
        push(&recorder, "ready", sample(0, 1));
        tokio::time::timeout(Duration::from_secs(5), changes.changed()).await.unwrap().unwrap();
    }
}
