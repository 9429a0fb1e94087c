//! `bandwidth`: bytes are paced to a rate, evenly.
//!
//! [`Bucket`] is a virtual clock (GCRA) that hands out departure times; a stage asks it for a millisecond's worth
//! at a time. The bucket saves up 1 ms worth at most, or `burst` where that is given: so any second is within 1 % and
//! any 100 ms within 5 %, of which 2 % are ours and 3 % are left for what wake-ups are late. What is held and was to leave
//! already catches up to 16 ms, so a late wake-up loses nothing. With `scope: proxy`, all connections ask one bucket, a
//! piece each in turn, one bucket for each direction. A rate of 0 lets nothing pass.
//!
//! Acts (and counts a hit) when the first bytes are paced.
//!
//! Invariant: in any span of time, at most `depth` bytes more pass than the rate allows, and what was caught up with.

use super::{ActiveFault, Item, Stage, StageContext, hold::Hold};
use parking_lot::Mutex;
use squall_wire::{
    FaultKind,
    fault::{Bandwidth, RateScope},
};
use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

/// What an idle bucket saves up, when no burst is given: a share of a second.
const SAVED_SHARE: u64 = 1000;

/// What leaves in one piece, at most: a share of a second.
const PIECE_SHARE: u64 = 1000;

/// How late a wake-up may be without a loss: with what is saved up, the 20 ms' worth that may leave at once.
const LATE: Duration = Duration::from_millis(16);

/// The share of a second that is held, so that there is something to catch up with; and the most bytes of it.
const HELD_SHARE: u64 = 50;
const HELD_MOST: u64 = 4 * 1024 * 1024;

const NANOS: u128 = 1_000_000_000;

/// The pace that a bucket keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pace {
    rate: u64,
    depth: u64,
    piece: u64,
    /// What may be caught up with. A burst that was given is kept to, whatever a late wake-up loses.
    late: Duration,
}

impl Pace {
    pub(super) fn of(bandwidth: &Bandwidth) -> Self {
        let rate = bandwidth.rate.get();
        let depth = bandwidth.burst.map_or(rate / SAVED_SHARE, |burst| burst.get()).max(1);
        let late = if bandwidth.burst.is_some() { Duration::ZERO } else { LATE };
        Self { rate, depth, piece: (rate / PIECE_SHARE).clamp(1, depth), late }
    }

    /// Whether nothing ever leaves.
    pub(super) fn is_standstill(&self) -> bool {
        self.rate == 0
    }

    fn time_of(&self, bytes: u64) -> Duration {
        let nanos = u128::from(bytes) * NANOS / u128::from(self.rate.max(1));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// Hands out departure times at a pace.
#[derive(Debug, Default)]
pub(crate) struct Bucket {
    /// When the bucket is full again; and the fraction of a nanosecond above it, in bytes times 10^9.
    full_at: Option<(Instant, u128)>,
    rate: u64,
}

impl Bucket {
    /// When this many bytes may leave; they are booked.
    pub(super) fn book(&mut self, bytes: u64, pace: &Pace, now: Instant) -> Instant {
        if self.rate != pace.rate {
            (self.rate, self.full_at) = (pace.rate, None);
        }
        let tolerance = pace.time_of(pace.depth.saturating_sub(bytes));
        let (full_at, fraction) = self.full_at.filter(|(full_at, _)| *full_at > now).unwrap_or((now, 0));
        let leave = full_at.checked_sub(tolerance).map_or(now, |leave| leave.max(now));
        let owed = u128::from(bytes) * NANOS + fraction;
        let rate = u128::from(pace.rate.max(1));
        let nanos = u64::try_from(owed / rate).unwrap_or(u64::MAX);
        self.full_at = Some((full_at + Duration::from_nanos(nanos), owed % rate));
        leave
    }
}

/// One bucket for each direction, shared by all connections of a proxy.
pub(crate) type SharedBuckets = [Mutex<Bucket>; 2];

/// The pacing of one direction.
pub(crate) struct Pacer {
    pace: Pace,
    /// The buckets of the connection.
    own: Arc<SharedBuckets>,
    /// Has the bucket of the proxy, if that is the scope.
    fault: Arc<ActiveFault>,
    shared: bool,
    upstream: bool,
    hold: Hold,
    /// So many bytes leave then.
    booked: Option<(Instant, u64)>,
}

impl Pacer {
    pub(crate) fn new(bandwidth: &Bandwidth, context: &StageContext<'_>) -> Self {
        Self {
            pace: Pace::of(bandwidth),
            own: context.buckets(),
            fault: Arc::clone(context.fault()),
            shared: bandwidth.scope == RateScope::Proxy,
            upstream: context.upstream,
            hold: Hold::default(),
            booked: None,
        }
    }

    /// Books the next piece, if there is one to book.
    fn book(&mut self, now: Instant) {
        if self.booked.is_some() || self.pace.is_standstill() || !matches!(self.hold.front(), Some(Item::Bytes(_))) {
            return;
        }
        let bytes = self.pace.piece.min(self.hold.bytes() as u64);
        let buckets = if self.shared { self.fault.buckets() } else { &self.own };
        let leave = buckets[usize::from(self.upstream)].lock().book(bytes, &self.pace, now);
        self.booked = Some((leave, bytes));
    }
}

impl Stage for Pacer {
    fn accepts(&self) -> bool {
        let catching_up = (self.pace.rate / HELD_SHARE).min(HELD_MOST);
        !self.hold.is_full() || (self.hold.bytes() as u64) < catching_up
    }

    fn touches(&self, item: &Item, _: Instant) -> bool {
        matches!(item, Item::Bytes(_))
    }

    fn push(&mut self, item: Item, now: Instant) {
        self.hold.push(item);
        self.book(now);
    }

    fn pull(&mut self, now: Instant) -> Option<Item> {
        if let Some(ending) = self.hold.pop_end() {
            return Some(Item::End(ending));
        }
        self.book(now);
        let (leave, bytes) = self.booked.take_if(|(leave, _)| *leave <= now)?;
        let piece = self.hold.take(usize::try_from(bytes).unwrap_or(usize::MAX));
        // What is held could have been booked when this piece was to leave.
        self.book(now.checked_sub(self.pace.late).map_or(leave, |earliest| leave.max(earliest)));
        Some(Item::Bytes(piece))
    }

    fn due(&self, now: Instant) -> Option<Instant> {
        match self.hold.front()? {
            Item::End(_) => Some(now),
            _ => self.booked.map(|(leave, _)| leave),
        }
    }

    fn change(&mut self, kind: &FaultKind, now: Instant) {
        let FaultKind::Bandwidth(bandwidth) = kind else { return };
        self.pace = Pace::of(bandwidth);
        self.booked = None;
        self.shared = bandwidth.scope == RateScope::Proxy;
        self.book(now);
    }

    fn release(&mut self) -> VecDeque<Item> {
        self.booked = None;
        self.hold.release()
    }
}

#[cfg(test)]
mod tests {
    use super::{Bucket, Pace};
    use squall_wire::fault::Bandwidth;
    use std::time::{Duration, Instant};

    fn pace(json: &str) -> Pace {
        Pace::of(&serde_json::from_str::<Bandwidth>(json).unwrap())
    }

    /// Departures of a sender that always has more, over so many seconds.
    fn departures(pace: &Pace, seconds: u64) -> Vec<(Duration, u64)> {
        let (mut bucket, start) = (Bucket::default(), Instant::now());
        let (mut now, mut left) = (start, Vec::new());
        while now - start < Duration::from_secs(seconds) {
            now = bucket.book(pace.piece, pace, now);
            left.push((now - start, pace.piece));
        }
        left
    }

    #[test]
    fn any_second_is_within_one_percent_and_any_tenth_within_five_from_ten_kilobytes_to_a_hundred_megabytes() {
        for rate in ["10KB/s", "37KB/s", "1MB/s", "33MB/s", "100MB/s"] {
            let pace = pace(&format!(r#"{{"rate": "{rate}"}}"#));
            let left = departures(&pace, 5);
            for (millis, allowed) in [(1000, 0.01), (100, 0.02)] {
                let worst = worst_window(&left, &pace, Duration::from_millis(millis));
                assert!(worst <= allowed, "{rate}: {worst:+.4} in some {millis} ms");
            }
        }
    }

    /// How far any window that begins with a departure is off the rate, at worst.
    fn worst_window(left: &[(Duration, u64)], pace: &Pace, window: Duration) -> f64 {
        let (mut end, mut within, mut worst) = (0, 0, 0.0_f64);
        for (from, bytes) in left {
            while end < left.len() && left[end].0 <= *from + window {
                within += left[end].1;
                end += 1;
            }
            if end == left.len() {
                break;
            }
            worst = worst.max((within as f64 / pace.rate as f64 / window.as_secs_f64() - 1.0).abs());
            within -= bytes;
        }
        assert!(end == left.len() && worst > 0.0);
        worst
    }

    #[test]
    fn a_burst_is_at_most_what_was_given() {
        for (json, burst) in [
            (r#"{"rate": "1MB/s", "burst": "64KiB"}"#, 65_536),
            (r#"{"rate": "1MB/s", "burst": "100B"}"#, 100),
            (r#"{"rate": "1MB/s"}"#, 20_000),
        ] {
            let pace = pace(json);
            let left = departures(&pace, 2);
            for span in [0, 1, 10, 100] {
                let span = Duration::from_millis(span);
                for (at, (from, _)) in left.iter().enumerate() {
                    let within: u64 =
                        left[at..].iter().take_while(|(when, _)| *when <= *from + span).map(|(_, bytes)| bytes).sum();
                    let allowed = burst + (pace.rate as f64 * span.as_secs_f64()) as u64;
                    assert!(within <= allowed, "{json}: {within} in {span:?}, allowed {allowed}");
                }
            }
        }
    }

    #[test]
    fn an_idle_second_saves_no_more_than_the_depth() {
        let pace = pace(r#"{"rate": "1MB/s"}"#);
        let (mut bucket, start) = (Bucket::default(), Instant::now());
        bucket.book(1, &pace, start);
        let later = start + Duration::from_secs(60);
        let mut at_once = 0;
        while bucket.book(1000, &pace, later) == later {
            at_once += 1000;
        }
        assert_eq!(at_once, pace.depth);
    }

    #[test]
    fn late_wake_ups_lose_nothing_of_what_is_held() {
        let pace = pace(r#"{"rate": "1MB/s"}"#);
        let (mut bucket, start) = (Bucket::default(), Instant::now());
        let (mut now, mut bytes, mut leave) = (start, 0, start);
        while now < start + Duration::from_secs(2) {
            // As a pacer does that has more to send.
            leave = bucket.book(pace.piece, &pace, leave.max(now.checked_sub(pace.late).unwrap_or(now)));
            if leave > now {
                // Waited for, in vain for 9 ms; whatever is due by then leaves at once.
                now = leave + Duration::from_millis(9);
            }
            bytes += pace.piece;
        }
        let off = bytes as f64 / (now - start).as_secs_f64() / 1e6 - 1.0;
        assert!(off.abs() < 0.01, "{off:+.4}");
    }
}
