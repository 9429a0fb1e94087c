//! `slow_accept`: a connection is left in the listen queue for a while, or for good.
//!
//! [`Arrivals`] is the agent's picture of the kernel's queue: who came when, and for how long each is held. Pure;
//! `listener.rs` tells it the queue's length and takes those that are due. Connections leave the queue in the order
//! in which they came, so one that is spared waits behind one that is held. Several such faults add up.
//!
//! Acts (and counts a hit) when a connection is found in the queue and left there.
//!
//! Invariant: a unit is an arrival, numbered in the order of the queue.

use super::{ActiveFault, Claim, ConnectionMark};
use squall_wire::{FaultKind, SpanOrForever};
use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

struct Arrival {
    at: Instant,
    mark: Arc<ConnectionMark>,
    claims: Vec<Arc<Claim>>,
}

/// Who waits in the listen queue.
#[derive(Default)]
pub(crate) struct Arrivals {
    faults: Vec<Arc<ActiveFault>>,
    // As long as the kernel's queue, so bounded by its backlog.
    waiting: VecDeque<Arrival>,
    last_taken: Option<Instant>,
}

impl Arrivals {
    /// Works by these faults from now on; those who wait already are numbered first.
    pub(crate) fn follow(&mut self, faults: &[Arc<ActiveFault>]) {
        self.faults = faults.to_vec();
        if faults.is_empty() {
            self.waiting.clear();
            self.last_taken = None;
        }
        for arrival in &mut self.waiting {
            arrival.claims.retain(|claim| faults.iter().any(|fault| fault.id() == claim.fault.id()));
            arrival.enrol(faults);
        }
    }

    /// How many are known to wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// The queue has this length now; those not known yet have just arrived.
    pub(crate) fn note(&mut self, length: usize, now: Instant, mark: impl Fn() -> Arc<ConnectionMark>) {
        while self.waiting.len() > length {
            self.waiting.pop_front();
        }
        while self.waiting.len() < length {
            let mut arrival = Arrival { at: now, mark: mark(), claims: Vec::new() };
            arrival.enrol(&self.faults);
            self.waiting.push_back(arrival);
        }
    }

    /// When the first in the queue may be taken; none when nobody waits, or it waits for good.
    pub(crate) fn due(&self) -> Option<Instant> {
        let head = self.waiting.front()?;
        let mut since = head.at;
        let mut delay = Duration::ZERO;
        for claim in head.claims.iter().filter(|claim| claim.is_live() && claim.act()) {
            let FaultKind::SlowAccept(slow) = claim.fault.kind() else { continue };
            match slow.delay {
                SpanOrForever::Forever => return None,
                SpanOrForever::Span(span) => delay = delay.saturating_add(span.get()),
            }
            if slow.one_at_a_time {
                since = self.last_taken.map_or(since, |taken| since.max(taken));
            }
        }
        since.checked_add(delay)
    }

    /// The first was taken. Its mark goes to the connection.
    pub(crate) fn taken(&mut self, now: Instant) -> Option<Arc<ConnectionMark>> {
        self.last_taken = Some(now);
        self.waiting.pop_front().map(|arrival| arrival.mark)
    }

    /// Nobody waits, whatever was thought.
    pub(crate) fn forget(&mut self) {
        self.waiting.clear();
    }
}

impl Arrival {
    fn enrol(&mut self, faults: &[Arc<ActiveFault>]) {
        for fault in faults {
            if self.claims.iter().all(|claim| claim.fault.id() != fault.id()) {
                let claim = Claim::enrol(Arc::clone(fault), Arc::clone(&self.mark));
                if claim.is_live() {
                    claim.act();
                }
                self.claims.push(claim);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Arrivals;
    use crate::fault::{ActiveFault, ConnectionMark};
    use std::{
        sync::{Arc, atomic::AtomicU64},
        time::{Duration, Instant},
    };

    fn fault(json: &str) -> Arc<ActiveFault> {
        let spec = serde_json::from_str(json).unwrap();
        ActiveFault::new("slow".parse().unwrap(), &spec, 1)
    }

    fn mark() -> Arc<ConnectionMark> {
        Arc::new(ConnectionMark::new(Arc::new(AtomicU64::new(0))))
    }

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn each_is_taken_its_delay_after_it_arrived() {
        let (mut arrivals, start) = (Arrivals::default(), Instant::now());
        let fault = fault(r#"{"fault": {"slow_accept": {"delay": "100ms"}}}"#);
        arrivals.follow(&[Arc::clone(&fault)]);
        arrivals.note(1, start, mark);
        arrivals.note(3, start + MS(30), mark);
        assert_eq!(arrivals.due(), Some(start + MS(100)));
        arrivals.taken(start + MS(100));
        assert_eq!(arrivals.due(), Some(start + MS(130)));
        assert_eq!(fault.hits(), Some(3));
    }

    #[test]
    fn one_at_a_time_takes_one_each_delay() {
        let (mut arrivals, start) = (Arrivals::default(), Instant::now());
        arrivals.follow(&[fault(r#"{"fault": {"slow_accept": {"delay": "1s", "one_at_a_time": true}}}"#)]);
        arrivals.note(2, start, mark);
        assert_eq!(arrivals.due(), Some(start + MS(1000)));
        arrivals.taken(start + MS(1000));
        assert_eq!(arrivals.due(), Some(start + MS(2000)));
    }

    #[test]
    fn forever_is_never_due_until_the_fault_is_gone() {
        let (mut arrivals, start) = (Arrivals::default(), Instant::now());
        arrivals.follow(&[fault(r#"{"fault": {"slow_accept": {"delay": "forever"}}}"#)]);
        arrivals.note(1, start, mark);
        assert_eq!((arrivals.due(), arrivals.len()), (None, 1));
        arrivals.follow(&[]);
        assert_eq!(arrivals.len(), 0);
    }

    #[test]
    fn skip_and_count_go_by_the_order_of_arrival() {
        let (mut arrivals, start) = (Arrivals::default(), Instant::now());
        let fault = fault(r#"{"fault": {"slow_accept": {"delay": "1s"}}, "skip": 1, "count": 1}"#);
        arrivals.follow(&[Arc::clone(&fault)]);
        arrivals.note(3, start, mark);
        let mut waits = Vec::new();
        while let Some(due) = arrivals.due() {
            waits.push(due - start);
            arrivals.taken(due);
        }
        assert_eq!(waits, [MS(0), MS(1000), MS(0)]);
        assert_eq!((fault.hits(), fault.units()), (Some(1), 3));
    }
}
