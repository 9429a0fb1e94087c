//! `flap`: the proxy is reachable for a while, then refused and its open connections reset, again and again.
//!
//! ```text
//!        since      up              up + down       2 up + down
//!          ├─ reachable ─┤─── refused ───┤─ reachable ─┤── …      each change ± jitter, drawn from seed and number
//! ```
//! [`outlook`] says so to `proxy/entrance.rs`, which closes and opens the listener; [`Fall`] says it to each link, which
//! resets its connection. Both follow the same clock, and parameters that are changed count from when the fault was
//! set. It is down as long as any of several is.
//!
//! Acts when it resets a connection; refused ones are refused by the kernel, so no hits are told.
//!
//! Invariant: pure over `now`; changes never cross, for `jitter` is at most half of the shorter span.

use super::{ActiveFault, Ending, Item, Stage, StageContext, hold::Hold, random_stream};
use rand::RngExt;
use squall_wire::{FaultKind, fault::Flap};
use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

/// How things stand, and until when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outlook {
    /// Refused, not reachable.
    pub(crate) down: bool,
    /// When to look again; none when that is beyond all clocks.
    pub(crate) until: Option<Instant>,
}

/// How these faults together want the listener; none when no one of them flaps.
pub(crate) fn outlook(faults: &[Arc<ActiveFault>], now: Instant) -> Option<Outlook> {
    let each = faults.iter().filter_map(|fault| Some(Rhythm::of(fault)?.at(now)));
    each.reduce(|one, other| Outlook {
        down: one.down || other.down,
        until: [one.until, other.until].into_iter().flatten().min(),
    })
}

/// The ups and downs of one fault.
#[derive(Debug, Clone, Copy)]
struct Rhythm {
    flap: Flap,
    since: Instant,
    seed: u64,
}

impl Rhythm {
    fn of(fault: &ActiveFault) -> Option<Self> {
        match fault.kind() {
            FaultKind::Flap(flap) => Some(Self { flap, since: fault.since(), seed: fault.seed() }),
            _ => None,
        }
    }

    fn at(&self, now: Instant) -> Outlook {
        let (up, cycle) = (self.flap.up.get().as_nanos(), self.cycle());
        let elapsed = now.saturating_duration_since(self.since).as_nanos();
        let due = 2 * (elapsed / cycle) + u128::from(elapsed % cycle >= up);
        // With its jitter, the last change that is due may be still to come, and the next one may have been.
        let come = [due + 1, due].into_iter().find(|number| self.change(*number).is_some_and(|at| at <= now));
        let last = come.unwrap_or(due.saturating_sub(1));
        Outlook { down: last % 2 == 1, until: self.change(last + 1) }
    }

    /// When change `number` comes: odd ones take the proxy down, even ones bring it up again.
    fn change(&self, number: u128) -> Option<Instant> {
        let up = if number % 2 == 1 { self.flap.up.get().as_nanos() } else { 0 };
        let nanos = u64::try_from((number / 2).checked_mul(self.cycle())?.checked_add(up)?).ok()?;
        let at = self.since.checked_add(Duration::from_nanos(nanos))?;
        let jitter = self.flap.jitter.get();
        if jitter.is_zero() || number == 0 {
            return Some(at);
        }
        let spread = random_stream(self.seed, u64::try_from(number).ok()?, 3).random_range(0.0..=2.0);
        at.checked_add(jitter.mul_f64(spread))?.checked_sub(jitter)
    }

    fn cycle(&self) -> u128 {
        (self.flap.up.get().as_nanos() + self.flap.down.get().as_nanos()).max(1)
    }
}

/// The fall of one connection, seen from one direction.
#[derive(Debug)]
pub(crate) struct Fall {
    rhythm: Rhythm,
    /// When the proxy goes down; at once for a connection that slipped in while it is.
    at: Option<Instant>,
    hold: Hold,
}

impl Fall {
    pub(crate) fn new(flap: Flap, context: &StageContext<'_>) -> Self {
        let fault = context.fault();
        let rhythm = Rhythm { flap, since: fault.since(), seed: fault.seed() };
        Self { rhythm, at: next_fall(&rhythm, context.now), hold: Hold::default() }
    }
}

fn next_fall(rhythm: &Rhythm, now: Instant) -> Option<Instant> {
    let outlook = rhythm.at(now);
    if outlook.down { Some(now) } else { outlook.until }
}

impl Stage for Fall {
    fn accepts(&self) -> bool {
        !self.hold.is_full()
    }

    fn touches(&self, _: &Item, _: Instant) -> bool {
        false
    }

    fn push(&mut self, item: Item, _: Instant) {
        self.hold.push(item);
    }

    fn pull(&mut self, now: Instant) -> Option<Item> {
        if self.at.take_if(|at| *at <= now).is_some() {
            return Some(Item::End(Ending::Abort));
        }
        self.hold.pop()
    }

    fn due(&self, now: Instant) -> Option<Instant> {
        (!self.hold.is_empty()).then_some(now)
    }

    fn alarm(&self) -> Option<Instant> {
        self.at
    }

    fn change(&mut self, kind: &FaultKind, now: Instant) {
        if let FaultKind::Flap(flap) = kind {
            self.rhythm.flap = *flap;
            self.at = next_fall(&self.rhythm, now);
        }
    }

    fn release(&mut self) -> VecDeque<Item> {
        self.hold.release()
    }
}

#[cfg(test)]
mod tests {
    use super::{Outlook, Rhythm, outlook};
    use crate::fault::ActiveFault;
    use std::{sync::Arc, time::Duration};

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn fault(kind: &str, seed: u64) -> Arc<ActiveFault> {
        let spec = serde_json::from_str(&format!(r#"{{"fault": {kind}}}"#)).unwrap();
        ActiveFault::new("flap".parse().unwrap(), &spec, seed)
    }

    fn rhythm(kind: &str, seed: u64) -> Rhythm {
        Rhythm::of(&fault(kind, seed)).unwrap()
    }

    #[test]
    fn it_is_up_first_then_down_and_each_change_is_exact() {
        let rhythm = rhythm(r#"{"flap": {"up": "100ms", "down": "30ms"}}"#, 1);
        for (at, down, until) in [
            (0, false, 100),
            (99, false, 100),
            (100, true, 130),
            (129, true, 130),
            (130, false, 230),
            (13_100, true, 13_130),
        ] {
            let outlook = rhythm.at(rhythm.since + MS(at));
            assert_eq!(outlook, Outlook { down, until: Some(rhythm.since + MS(until)) }, "at {at} ms");
        }
        assert!(!rhythm.at(rhythm.since + MS(100) - Duration::from_nanos(1)).down);
    }

    #[test]
    fn with_jitter_each_change_is_near_its_time_and_followed_in_turn() {
        let kind = r#"{"flap": {"up": "100ms", "down": "40ms", "jitter": "20ms"}}"#;
        let rhythm = rhythm(kind, 7);
        let (mut now, mut shifts) = (rhythm.since, Vec::new());
        for number in 1..=2000_u64 {
            let outlook = rhythm.at(now);
            let nominal = 140 * (number / 2) + 100 * (number % 2);
            let next = outlook.until.unwrap();
            assert!(next > now, "change {number}");
            assert_eq!(outlook.down, number % 2 == 0, "before change {number}");
            let before = rhythm.at(next - Duration::from_nanos(1));
            assert_eq!(before, outlook, "until change {number}");
            shifts.push((next - rhythm.since).as_secs_f64() * 1e3 - nominal as f64);
            now = next;
        }
        assert!(shifts.iter().all(|shift| shift.abs() <= 20.001), "{shifts:?}");
        let mean = shifts.iter().sum::<f64>() / 2000.0;
        assert!(
            mean.abs() < 1.0 && shifts.iter().any(|shift| *shift > 15.0) && shifts.iter().any(|shift| *shift < -15.0)
        );
    }

    #[test]
    fn the_same_seed_gives_the_same_changes() {
        let kind = r#"{"flap": {"up": "1s", "down": "1s", "jitter": "500ms"}}"#;
        let changes = |seed| {
            let rhythm = rhythm(kind, seed);
            (1..20).map(|number| rhythm.change(number).unwrap() - rhythm.since).collect::<Vec<_>>()
        };
        assert_eq!(changes(5), changes(5));
        assert_ne!(changes(5), changes(6));
    }

    #[test]
    fn several_are_down_as_long_as_any_is_and_what_does_not_flap_has_no_say() {
        let short = fault(r#"{"flap": {"up": "10ms", "down": "10ms"}}"#, 1);
        let long = fault(r#"{"flap": {"up": "25ms", "down": "1s"}}"#, 1);
        let other = fault(r#"{"refuse": {}}"#, 1);
        let (begin, faults) = (long.since(), [Arc::clone(&other), short, long]);
        assert!(outlook(&faults, begin + MS(15)).unwrap().down, "the short one");
        assert!(outlook(&faults, begin + MS(45)).unwrap().down, "the long one");
        assert!(outlook(&faults, begin + MS(15)).unwrap().until < Some(begin + MS(25)));
        assert_eq!(outlook(&[other], begin), None);
    }
}
