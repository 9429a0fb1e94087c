//! How much earlier than a deadline the timer asks to be woken, so that it is awake when the deadline comes.
//!
//! The kernel wakes a thread late by what an idle processor takes to come back and what the scheduler lets it wait. That
//! is learned: the lead moves to where nineteen wake-ups of twenty are in time. What is left of it when the timer is
//! awake is spun away, so both are bounded: a spin by [`Lead::MOST`], all of them by a share of the time. `timer.rs`
//! is the user.
//!
//! Invariant: over any longer time, spinning takes at most a tenth of one core; beyond that there is no lead.

use std::time::{Duration, Instant};

/// What the lead shrinks by with each wake-up that was in time, and so many times as much it grows by with each other.
const STEP: Duration = Duration::from_nanos(200);
const GROWTH: u32 = 19;

/// So many times the length of a spin have to pass for the next one.
const REST: u32 = 10;

/// Spins that may come one after the other before that counts.
const SAVED: Duration = Duration::from_millis(20);

#[derive(Debug, Clone, Copy)]
pub(super) struct Lead {
    lead: Duration,
    /// Until when spinning is paid for; past when none is owed.
    paid: Option<Instant>,
}

impl Default for Lead {
    fn default() -> Self {
        Self { lead: Duration::from_micros(50), paid: None }
    }
}

impl Lead {
    /// The longest that it can be: a machine that is later than this is busy, and has better to do.
    pub(super) const MOST: Duration = Duration::from_micros(100);

    /// When to be woken for this deadline.
    pub(super) fn before(&self, deadline: Instant, now: Instant) -> Instant {
        let overdrawn = self.paid.is_some_and(|paid| paid > now + SAVED);
        if overdrawn { deadline } else { deadline.checked_sub(self.lead).unwrap_or(deadline) }
    }

    /// A wake-up was so late.
    pub(super) fn learn(&mut self, late: Duration) {
        let learned = if late > self.lead { self.lead + STEP * GROWTH } else { self.lead.saturating_sub(STEP) };
        self.lead = learned.min(Self::MOST);
    }

    /// So long was spun, up to now.
    pub(super) fn has_spun(&mut self, spun: Duration, now: Instant) {
        self.paid = Some(self.paid.map_or(now, |paid| paid.max(now)) + spun * REST);
    }
}

#[cfg(test)]
mod tests {
    use super::{Lead, SAVED};
    use std::time::{Duration, Instant};

    const MICROSECOND: Duration = Duration::from_micros(1);

    #[test]
    fn the_lead_is_what_nearly_all_wake_ups_need_and_never_more_than_the_most() {
        let mut lead = Lead::default();
        // One of ten takes 80 us, the others 20 to 28.
        (0..20_000_u32).for_each(|n| lead.learn(MICROSECOND * if n % 10 == 0 { 80 } else { 20 + n % 9 }));
        assert!((70..90).contains(&lead.lead.as_micros()), "{lead:?}");
        (0..20_000_u32).for_each(|n| lead.learn(MICROSECOND * (20 + n % 9)));
        assert!((25..35).contains(&lead.lead.as_micros()), "{lead:?}");
        (0..1_000).for_each(|_| lead.learn(Duration::from_secs(1)));
        assert_eq!(lead.lead, Lead::MOST);
    }

    #[test]
    fn spinning_takes_a_tenth_of_the_time_at_most() {
        let (mut lead, start) = (Lead::default(), Instant::now());
        let (mut now, mut spun) = (start, Duration::ZERO);
        while now < start + Duration::from_secs(2) {
            let deadline = now + Duration::from_micros(60);
            let wait = deadline - lead.before(deadline, now);
            if !wait.is_zero() {
                spun += wait;
                lead.has_spun(wait, deadline);
            }
            now = deadline;
        }
        assert!(spun <= Duration::from_millis(200) + SAVED, "{spun:?}");
        assert!(spun > Duration::from_millis(150), "and it is used: {spun:?}");
    }
}
