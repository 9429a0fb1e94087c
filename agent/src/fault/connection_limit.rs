//! `connection_limit`: so many connections are open at most; more are closed at once or left waiting.
//!
//! ```text
//!  roster ── arrives, leaves, plan changes ──▶ Turnstile: through | barred ──▶ Barrier in both links of a barred one
//! ```
//! Those that were open when the fault came, and those that it spares (`percent`, `skip`, `count`), are let through
//! and count as open. One that waits is accepted but not read, nor is its upstream dialled; it comes through in the
//! order of arrival, when another ends, the limit is raised or the fault goes. One that is turned away is closed in
//! order. A limit that is lowered closes none that was let through.
//!
//! Acts (and counts a hit) when a connection arrives over the limit.
//!
//! Invariant: a connection that was let through stays so, and nobody waits while there is room.

use super::{Claim, Ending, Item, Stage, StageContext, hold::Hold};
use squall_wire::{
    FaultKind,
    fault::{ConnectionLimit, LimitThen},
};
use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    time::Instant,
};

/// When a connection came, seen from the fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comes {
    /// It was open before.
    Before,
    /// It arrives, or is known already.
    Since,
}

/// Who of a proxy's connections is let through, by their numbers in the order of arrival.
#[derive(Debug, Default)]
pub(crate) struct Turnstile {
    // Both hold connections of the roster only, so `max_connections` at most.
    through: BTreeSet<u64>,
    waiting: BTreeSet<u64>,
}

impl Turnstile {
    /// Whether connection `id` is barred: it waits, or is turned away. To be asked in the order of arrival.
    pub(crate) fn bars(&mut self, id: u64, claim: &Claim, limit: ConnectionLimit, comes: Comes) -> bool {
        if claim.is_raised() || self.through.contains(&id) {
            return claim.is_raised();
        }
        let free = comes == Comes::Before || self.has_room(limit.max);
        if free || !claim.is_live() || !claim.act() {
            self.waiting.remove(&id);
            self.through.insert(id);
            return false;
        }
        match limit.then {
            LimitThen::Queue => {
                self.waiting.insert(id);
            }
            LimitThen::Refuse => {
                self.waiting.remove(&id);
                claim.raise();
            }
        }
        true
    }

    /// Connection `id` is gone. Answers who comes through in its place.
    pub(crate) fn leave(&mut self, id: u64, max: u64) -> Vec<u64> {
        self.through.remove(&id);
        self.waiting.remove(&id);
        let mut next = Vec::new();
        while self.has_room(max)
            && let Some(first) = self.waiting.pop_first()
        {
            self.through.insert(first);
            next.push(first);
        }
        next
    }

    fn has_room(&self, max: u64) -> bool {
        (self.through.len() as u64) < max
    }
}

/// Stands in the way of a connection that is barred.
pub(crate) struct Barrier {
    claim: Arc<Claim>,
    since: Instant,
    closed: bool,
    hold: Hold,
}

impl Barrier {
    pub(crate) fn new(context: &StageContext<'_>) -> Self {
        Self { claim: Arc::clone(context.claim), since: context.now, closed: false, hold: Hold::default() }
    }
}

impl Stage for Barrier {
    fn accepts(&self) -> bool {
        false
    }

    fn forbids_reading(&self) -> bool {
        true
    }

    fn replaces_upstream(&self) -> bool {
        true
    }

    fn touches(&self, _: &Item, _: Instant) -> bool {
        true
    }

    fn push(&mut self, item: Item, _: Instant) {
        self.hold.push(item);
    }

    fn pull(&mut self, now: Instant) -> Option<Item> {
        self.alarm().filter(|alarm| *alarm <= now)?;
        self.closed = true;
        Some(Item::End(Ending::Close))
    }

    fn due(&self, _: Instant) -> Option<Instant> {
        None
    }

    fn alarm(&self) -> Option<Instant> {
        // The turnstile turned it away.
        (self.claim.is_raised() && !self.closed).then_some(self.since)
    }

    // Who is barred is the turnstile's to say.
    fn change(&mut self, _: &FaultKind, _: Instant) {}

    fn release(&mut self) -> VecDeque<Item> {
        self.hold.release()
    }
}

#[cfg(test)]
mod tests {
    use super::{Comes, Turnstile};
    use crate::fault::{ActiveFault, Claim, ConnectionMark};
    use squall_wire::fault::{ConnectionLimit, LimitThen};
    use std::sync::{Arc, atomic::AtomicU64};

    struct Gate {
        turnstile: Turnstile,
        fault: Arc<ActiveFault>,
        limit: ConnectionLimit,
        claims: Vec<Arc<Claim>>,
    }

    impl Gate {
        fn new(max: u64, then: LimitThen, selection: &str) -> Self {
            let json = format!(r#"{{"fault": {{"connection_limit": {{"max": {max}}}}} {selection}}}"#);
            let fault = ActiveFault::new("gate".parse().unwrap(), &serde_json::from_str(&json).unwrap(), 3);
            Self { turnstile: Turnstile::default(), fault, limit: ConnectionLimit { max, then }, claims: Vec::new() }
        }

        fn come(&mut self, comes: Comes) -> bool {
            let mark = Arc::new(ConnectionMark::new(Arc::new(AtomicU64::new(0))));
            self.claims.push(Claim::enrol(Arc::clone(&self.fault), mark));
            self.ask(self.claims.len() - 1, comes)
        }

        fn ask(&mut self, id: usize, comes: Comes) -> bool {
            self.turnstile.bars(id as u64, &self.claims[id], self.limit, comes)
        }

        fn arrive(&mut self, count: usize) -> Vec<bool> {
            (0..count).map(|_| self.come(Comes::Since)).collect()
        }

        fn all(&mut self) -> Vec<bool> {
            (0..self.claims.len()).map(|id| self.ask(id, Comes::Since)).collect()
        }

        fn leave(&mut self, id: u64) -> Vec<u64> {
            self.turnstile.leave(id, self.limit.max)
        }
    }

    #[test]
    fn those_over_the_limit_wait_and_come_through_in_their_order_as_others_leave() {
        let mut gate = Gate::new(2, LimitThen::Queue, "");
        assert_eq!(gate.arrive(5), [false, false, true, true, true]);
        assert_eq!(gate.fault.hits(), Some(3));
        assert_eq!(gate.leave(3), [0; 0], "one that waited has given up");
        assert_eq!(gate.leave(0), [2]);
        assert_eq!(gate.leave(1), [4]);
        assert_eq!((gate.leave(2), gate.leave(4)), (vec![], vec![]));
        assert_eq!(gate.arrive(3), [false, false, true]);
    }

    #[test]
    fn a_raised_limit_lets_the_first_through_and_a_lowered_one_closes_nobody() {
        let mut gate = Gate::new(1, LimitThen::Queue, "");
        gate.arrive(4);
        gate.limit.max = 3;
        assert_eq!(gate.all(), [false, false, false, true]);
        gate.limit.max = 0;
        assert_eq!(gate.all(), [false, false, false, true]);
        assert_eq!((gate.leave(0), gate.leave(1), gate.leave(2)), (vec![], vec![], vec![]));
        assert_eq!(gate.fault.hits(), Some(3));
    }

    #[test]
    fn those_that_are_turned_away_stay_so_and_take_no_place() {
        let mut gate = Gate::new(1, LimitThen::Refuse, "");
        assert_eq!(gate.arrive(3), [false, true, true]);
        assert_eq!(gate.leave(0), [0; 0]);
        assert_eq!(gate.arrive(1), [false]);
        gate.limit = ConnectionLimit { max: 9, then: LimitThen::Queue };
        assert_eq!((gate.ask(1, Comes::Since), gate.ask(2, Comes::Since)), (true, true));
        assert_eq!(gate.turnstile.through.len(), 1);
    }

    #[test]
    fn those_who_wait_are_turned_away_when_the_limit_becomes_a_refusal() {
        let mut gate = Gate::new(1, LimitThen::Queue, "");
        gate.arrive(3);
        gate.limit.then = LimitThen::Refuse;
        assert_eq!(gate.all(), [false, true, true]);
        assert!(gate.claims[1].is_raised() && gate.claims[2].is_raised());
        assert_eq!((gate.leave(0), gate.fault.hits()), (vec![], Some(2)));
    }

    #[test]
    fn those_that_were_there_before_and_those_that_are_spared_count_as_open() {
        let mut gate = Gate::new(2, LimitThen::Queue, r#", "skip": 4, "count": 1"#);
        assert_eq!((0..3).map(|_| gate.come(Comes::Before)).collect::<Vec<_>>(), [false; 3]);
        // The fourth is skipped, the fifth hit, and then the count is spent.
        assert_eq!(gate.arrive(3), [false, true, false]);
        assert_eq!((gate.turnstile.through.len(), gate.fault.hits(), gate.fault.units()), (5, Some(1), 6));
        assert_eq!((0..4).map(|id| gate.leave(id)).collect::<Vec<_>>(), [vec![], vec![], vec![], vec![4]]);
    }
}
