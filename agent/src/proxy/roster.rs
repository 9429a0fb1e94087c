//! Who is here: a proxy's faults in the order of their addition, its live connections in the order of their
//! arrival, and which fault is in the way of which connection.
//!
//! Held by `proxy/mod.rs` under a short mutex. A connection reads its plan from its [`Membership`], which the
//! roster rewrites, and is woken for it.
//!
//! Invariant: a fault numbers its units in the order of the connections, those first that were there before it.

use crate::{
    fault::{ActiveFault, Claim, Comes, ConnectionMark, acts_on_connections, counts_connections},
    traffic::{Meter, Snapshot, Tally},
    udp::Plan,
};
use futures::task::AtomicWaker;
use parking_lot::Mutex;
use squall_wire::{FaultKind, Protocol};
use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

/// What a connection has of its proxy: the faults that are in its way, and the bell that tells of others.
#[derive(Debug, Default)]
pub(crate) struct Membership {
    plan: Mutex<Arc<[Arc<Claim>]>>,
    /// Those that number requests, on `http`; the connection numbers its own as they come.
    for_requests: Mutex<Arc<[Arc<ActiveFault>]>>,
    version: AtomicU64,
    /// Of which version each direction's socket filter is; 0 while nobody looks after it.
    sifted: [AtomicU64; 2],
    bells: [Bell; 2],
}

/// Rung once for whoever listens, now or later. A link waits for several things at once with one waker, so this has
/// no future of its own that each idle connection would hold.
#[derive(Debug, Default)]
struct Bell {
    rung: AtomicBool,
    listener: AtomicWaker,
}

impl Bell {
    fn ring(&self) {
        self.rung.store(true, Ordering::Release);
        self.listener.wake();
    }

    fn poll(&self, context: &Context<'_>) -> Poll<()> {
        // Most often nothing is new, and the listener is known from the time before.
        if !self.rung.load(Ordering::Acquire) {
            self.listener.register(context.waker());
        }
        if self.rung.swap(false, Ordering::AcqRel) { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Membership {
    /// The faults that are in this connection's way, in order.
    pub(crate) fn plan(&self) -> Arc<[Arc<Claim>]> {
        Arc::clone(&self.plan.lock())
    }

    /// The faults that may hit requests of this connection, in order; on `http` only.
    pub(crate) fn for_requests(&self) -> Arc<[Arc<ActiveFault>]> {
        Arc::clone(&self.for_requests.lock())
    }

    /// Goes up with every new plan; 0 is the empty one.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// The socket at which this direction's segments arrive drops as this version of the plan says.
    pub(crate) fn set_sifted(&self, upstream: bool, version: u64) {
        // One more, for 0 is taken.
        self.sifted[usize::from(upstream)].store(version + 1, Ordering::Release);
    }

    /// Whether a socket filter is of an older plan. One that nobody looks after yet will be of the newest.
    fn is_unsifted(&self) -> bool {
        let version = self.version();
        self.sifted.iter().map(|sifted| sifted.load(Ordering::Acquire)).any(|sifted| (1..=version).contains(&sifted))
    }

    /// Ready when the link of this direction has something new to look at. One task at a time listens.
    pub(crate) fn poll_changed(&self, upstream: bool, context: &Context<'_>) -> Poll<()> {
        self.bells[usize::from(upstream)].poll(context)
    }

    /// Wakes both links.
    pub(crate) fn wake(&self) {
        self.bells.iter().for_each(Bell::ring);
    }

    fn publish(&self, plan: Vec<Arc<Claim>>, for_requests: Vec<Arc<ActiveFault>>) {
        let (mut claims, mut faults) = (self.plan.lock(), self.for_requests.lock());
        if claims.is_empty() && plan.is_empty() && faults.is_empty() && for_requests.is_empty() {
            return;
        }
        *claims = plan.into();
        *faults = for_requests.into();
        drop((claims, faults));
        self.version.fetch_add(1, Ordering::Release);
        self.wake();
    }
}

struct Live {
    client: IpAddr,
    membership: Arc<Membership>,
    mark: Arc<ConnectionMark>,
    claims: BTreeMap<u64, Arc<Claim>>,
}

/// A session of datagrams. Faults number its datagrams and not itself, so it has no claims.
struct Session {
    client: IpAddr,
    plan: Arc<Plan>,
    mark: Arc<ConnectionMark>,
}

/// Faults and connections of one proxy.
#[derive(Default)]
pub(crate) struct Roster {
    faults: Vec<Arc<ActiveFault>>,
    // As many as `max_connections` at most.
    live: BTreeMap<u64, Live>,
    // The same, on a proxy for datagrams.
    sessions: BTreeMap<u64, Session>,
    next: u64,
    protocol: Protocol,
    /// What those did that are gone.
    tally: Tally,
}

impl Roster {
    /// Of a proxy that speaks this.
    pub(crate) fn of(protocol: Protocol) -> Self {
        Self { protocol, ..Self::default() }
    }

    /// The faults, in the order of their addition.
    pub(crate) fn faults(&self) -> &[Arc<ActiveFault>] {
        &self.faults
    }

    /// Puts these faults in place of all, and tells every connection.
    pub(crate) fn set_faults(&mut self, faults: Vec<Arc<ActiveFault>>) {
        self.faults = faults;
        self.refresh();
    }

    /// Works out every connection's plan anew, in their order, and wakes them.
    pub(crate) fn refresh(&mut self) {
        for (id, live) in &mut self.live {
            live.assign(*id, &self.faults, Comes::Before, self.protocol);
        }
        for session in self.sessions.values() {
            session.assign(&self.faults);
        }
    }

    /// Whether all socket filters are as the plans say.
    pub(crate) fn is_sifted(&self) -> bool {
        !self.live.values().any(|live| live.membership.is_unsifted())
    }

    /// A connection from `client` comes in.
    pub(crate) fn enter(&mut self, client: IpAddr, mark: Arc<ConnectionMark>) -> (u64, Arc<Membership>) {
        let membership = Arc::new(Membership::default());
        let mut live = Live { client, membership: Arc::clone(&membership), mark, claims: BTreeMap::new() };
        let id = self.next_id();
        live.assign(id, &self.faults, Comes::Since, self.protocol);
        self.live.insert(id, live);
        (id, membership)
    }

    /// A session of datagrams from `client` comes in.
    pub(crate) fn enter_session(&mut self, client: IpAddr, mark: Arc<ConnectionMark>) -> (u64, Arc<Plan>) {
        let session = Session { client, plan: Arc::default(), mark };
        session.assign(&self.faults);
        let (id, plan) = (self.next_id(), Arc::clone(&session.plan));
        self.sessions.insert(id, session);
        (id, plan)
    }

    fn next_id(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    /// It is gone, and others that waited for it come through.
    pub(crate) fn leave(&mut self, id: u64) {
        if let Some(gone) = self.sessions.remove(&id) {
            gone.mark.meter.settle(&mut self.tally);
        }
        let Some(gone) = self.live.remove(&id) else { return };
        gone.mark.meter.settle(&mut self.tally);
        for claim in gone.claims.values() {
            let FaultKind::ConnectionLimit(limit) = claim.fault.kind() else { continue };
            let next = claim.fault.turnstile().leave(id, limit.max);
            for id in next {
                if let Some(live) = self.live.get_mut(&id) {
                    live.assign(id, &self.faults, Comes::Since, self.protocol);
                }
            }
        }
    }

    /// How many connections, or sessions, are open.
    pub(crate) fn open(&self) -> usize {
        self.live.len() + self.sessions.len()
    }

    /// Bytes written to the server, and to clients.
    pub(crate) fn delivered(&self) -> [u64; 2] {
        self.summed(self.tally.delivered(), Meter::delivered)
    }

    /// Bytes read from clients, and from the server.
    pub(crate) fn received(&self) -> [u64; 2] {
        self.summed(self.tally.received(), Meter::received)
    }

    fn meters(&self) -> impl Iterator<Item = &Meter> {
        let sessions = self.sessions.values().map(|session| &session.mark);
        self.live.values().map(|live| &live.mark).chain(sessions).map(|mark| &mark.meter)
    }

    fn summed(&self, gone: [u64; 2], of: impl Fn(&Meter) -> [u64; 2]) -> [u64; 2] {
        self.meters().map(of).fold(gone, |sum, more| [sum[0] + more[0], sum[1] + more[1]])
    }

    /// What all did, those that are open included.
    pub(crate) fn traffic(&mut self, proxy: u64) -> Snapshot {
        let sessions = self.sessions.values().map(|session| &session.mark);
        let open = self.live.values().map(|live| &live.mark).chain(sessions);
        self.tally.snapshot(proxy, open.map(|mark| &mark.meter))
    }

    /// Connections that are over: spared, hit, and with an error.
    pub(crate) fn ends(&self) -> [u64; 3] {
        self.tally.ends()
    }
}

impl Session {
    fn assign(&self, faults: &[Arc<ActiveFault>]) {
        let meant = faults.iter().filter(|fault| fault.only().matches(self.client));
        self.plan.publish(meant.map(Arc::clone).collect());
    }
}

impl Live {
    /// `comes`: when this connection came, for faults that do not know it yet.
    fn assign(&mut self, id: u64, faults: &[Arc<ActiveFault>], comes: Comes, protocol: Protocol) {
        self.claims.retain(|id, _| faults.iter().any(|fault| fault.id() == *id));
        let (mut plan, mut for_requests) = (Vec::new(), Vec::new());
        for fault in faults {
            let kind = fault.kind();
            if !acts_on_connections(&kind) || !fault.only().matches(self.client) {
                continue;
            }
            if protocol == Protocol::Http && !counts_connections(&kind) {
                for_requests.push(Arc::clone(fault));
                continue;
            }
            let comes = if self.claims.contains_key(&fault.id()) { Comes::Since } else { comes };
            let claim = self
                .claims
                .entry(fault.id())
                .or_insert_with(|| Claim::enrol(Arc::clone(fault), Arc::clone(&self.mark)));
            let in_the_way = match kind {
                FaultKind::ConnectionLimit(limit) => fault.turnstile().bars(id, claim, limit, comes),
                _ => claim.is_live(),
            };
            if in_the_way {
                plan.push(Arc::clone(claim));
            }
        }
        self.membership.publish(plan, for_requests);
    }
}

#[cfg(test)]
mod tests {
    use super::Roster;
    use crate::fault::{ActiveFault, ConnectionMark};
    use squall_wire::{FaultSpec, Percent};
    use std::{
        net::IpAddr,
        sync::{Arc, atomic::AtomicU64},
    };

    fn fault(json: &str) -> Arc<ActiveFault> {
        let spec: FaultSpec = serde_json::from_str(json).unwrap();
        ActiveFault::new("f".parse().unwrap(), &spec, spec.seed.unwrap_or(7))
    }

    fn enter(roster: &mut Roster, client: &str) -> Arc<super::Membership> {
        let mark = Arc::new(ConnectionMark::new(Arc::new(AtomicU64::new(0))));
        roster.enter(client.parse::<IpAddr>().unwrap(), mark).1
    }

    fn hit(members: &[Arc<super::Membership>]) -> Vec<usize> {
        (0..members.len()).filter(|at| !members[*at].plan().is_empty()).collect()
    }

    #[test]
    fn the_same_seed_hits_the_same_connections_whether_they_were_there_before_or_came_later() {
        let json = r#"{"fault": {"unread": {}}, "percent": 40, "seed": 11}"#;
        let (mut before, mut after) = (Roster::default(), Roster::default());
        let early: Vec<_> = (0..200).map(|_| enter(&mut before, "127.0.0.1")).collect();
        before.set_faults(vec![fault(json)]);
        after.set_faults(vec![fault(json)]);
        let late: Vec<_> = (0..200).map(|_| enter(&mut after, "127.0.0.1")).collect();
        assert_eq!(hit(&early), hit(&late));
        assert!((50..110).contains(&hit(&early).len()), "{}", hit(&early).len());
    }

    #[test]
    fn a_larger_share_keeps_those_that_were_hit_and_a_smaller_one_takes_some_of_them() {
        let mut roster = Roster::default();
        let fault = fault(r#"{"fault": {"unread": {}}, "percent": 20}"#);
        roster.set_faults(vec![Arc::clone(&fault)]);
        let members: Vec<_> = (0..300).map(|_| enter(&mut roster, "127.0.0.1")).collect();
        let few = hit(&members);
        fault.tune(None, Some(Percent::new(60.0).unwrap()));
        roster.refresh();
        let many = hit(&members);
        assert!(many.len() > few.len() + 50 && few.iter().all(|at| many.contains(at)));
        fault.tune(None, Some(Percent::new(20.0).unwrap()));
        roster.refresh();
        assert_eq!(hit(&members), few);
        fault.tune(None, Some(Percent::new(0.0).unwrap()));
        roster.refresh();
        assert!(hit(&members).is_empty());
    }

    #[test]
    fn skip_leaves_the_first_alone_and_where_does_not_number_strangers() {
        let mut roster = Roster::default();
        let fault = fault(r#"{"fault": {"unread": {}}, "skip": 2, "where": {"client": ["10.0.0.0/8"]}}"#);
        roster.set_faults(vec![Arc::clone(&fault)]);
        let clients = ["10.0.0.1", "192.168.0.1", "10.0.0.1", "10.9.9.9", "::1", "10.0.0.2"];
        let members: Vec<_> = clients.iter().map(|client| enter(&mut roster, client)).collect();
        assert_eq!(hit(&members), [3, 5]);
        assert_eq!(fault.units(), 4);
        assert_eq!(fault.hits(), Some(0), "no traffic, no hit");
    }

    #[test]
    fn count_is_claimed_by_those_on_which_the_fault_acts_first() {
        let mut roster = Roster::default();
        let fault = fault(r#"{"fault": {"unread": {}}, "count": 2}"#);
        roster.set_faults(vec![Arc::clone(&fault)]);
        let members: Vec<_> = (0..4).map(|_| enter(&mut roster, "127.0.0.1")).collect();
        let claims: Vec<_> = members.iter().map(|member| Arc::clone(&member.plan()[0])).collect();
        assert!(claims[3].act() && claims[1].act() && claims[3].act(), "asking again counts once");
        assert!(!claims[0].act() && !claims[2].act());
        assert_eq!(fault.hits(), Some(2));
        roster.refresh();
        assert_eq!(hit(&members), [1, 3]);
    }
}
