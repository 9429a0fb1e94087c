//! A live fault: its parameters, which can change; the units that it numbered; and the hits that it counted.
//!
//! `claim.rs` is one fault's hold on one unit (a connection, or on HTTP a request), `stage.rs` what a kind must be able
//! to do, `asked.rs` what one on an exchange of HTTP knows of it, and each other file one kind; `datagram/` has those
//! that work on datagrams. Which kinds work on links, beneath them or on the listener is said by `acts_on_links`,
//! `acts_on_connections` and `acts_on_listener`.
//!
//! Invariant: decisions depend on the seed and the unit's number alone, so the same seed and the same sequence of
//! connections, requests or datagrams are hit the same way; and a larger `percent` hits the same units and more.

mod asked;
mod bandwidth;
mod blackhole;
mod claim;
mod connection_limit;
mod corrupt;
mod cut;
mod datagram;
mod drip;
mod flap;
mod garbage;
mod hold;
mod http_answer;
mod http_body;
mod http_headers;
mod http_latency;
mod latency;
mod nonsense;
mod packet_loss;
mod reset;
mod slow_accept;
mod slow_close;
mod stage;
mod stall;
mod truncate;
mod unread;

pub(crate) use asked::{Asked, Together};
pub(crate) use claim::{Claim, ConnectionMark};
pub(crate) use connection_limit::{Comes, Turnstile};
pub(crate) use datagram::{DatagramContext, DatagramStage, datagram_stage};
pub(crate) use flap::{Outlook, outlook};
pub(crate) use packet_loss::{Instruction, Share, openings, segments, share_of};
pub(crate) use slow_accept::Arrivals;
pub(crate) use stage::{Ending, Item, Stage, StageContext};

use parking_lot::{Mutex, MutexGuard};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use squall_wire::{Direction, FaultKind, FaultName, FaultSpec, Percent, Where, fault::unit_draw};
use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

/// One live fault on one proxy.
pub struct ActiveFault {
    id: u64,
    name: FaultName,
    direction: Direction,
    only: Where,
    skip: u64,
    count: Option<u64>,
    seed: u64,
    since: Instant,
    tuning: Mutex<Tuning>,
    units: AtomicU64,
    hits: AtomicU64,
    buckets: bandwidth::SharedBuckets,
    turnstile: Mutex<Turnstile>,
}

/// What can change while the fault lives.
struct Tuning {
    kind: FaultKind,
    percent: Percent,
    revision: u64,
}

impl ActiveFault {
    /// A fault that lives from now on; `seed` is used whatever the specification says of one.
    #[must_use]
    pub fn new(name: FaultName, spec: &FaultSpec, seed: u64) -> Arc<Self> {
        static NEXT_ID: AtomicU64 = AtomicU64::new(0);
        Arc::new(Self {
            id: NEXT_ID.fetch_add(1, Relaxed),
            name,
            direction: spec.resolved_direction(),
            only: spec.only.clone(),
            skip: spec.skip,
            count: spec.count,
            seed,
            since: Instant::now(),
            tuning: Mutex::new(Tuning { kind: spec.fault.clone(), percent: spec.percent, revision: 0 }),
            units: AtomicU64::new(0),
            hits: AtomicU64::new(0),
            buckets: bandwidth::SharedBuckets::default(),
            turnstile: Mutex::default(),
        })
    }

    /// Its name, unique on its proxy.
    #[must_use]
    pub fn name(&self) -> &FaultName {
        &self.name
    }

    /// Its kind with the parameters of now.
    #[must_use]
    pub fn kind(&self) -> FaultKind {
        self.tuning.lock().kind.clone()
    }

    /// Which way it acts.
    #[must_use]
    pub fn direction(&self) -> Direction {
        // What a kind of HTTP acts on is one of its parameters, which can change.
        self.tuning.lock().kind.fixed_direction().unwrap_or(self.direction)
    }

    /// How many units are hit.
    #[must_use]
    pub fn percent(&self) -> Percent {
        self.tuning.lock().percent
    }

    /// Which units are hit.
    #[must_use]
    pub fn only(&self) -> &Where {
        &self.only
    }

    /// The first so many units are left alone.
    #[must_use]
    pub fn skip(&self) -> u64 {
        self.skip
    }

    /// It stops after so many hits.
    #[must_use]
    pub fn count(&self) -> Option<u64> {
        self.count
    }

    /// The seed of every random choice.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Units on which it acted; `None` where the kernel acts and nobody can count.
    ///
    /// What acting means: see the opening of each kind's file. It is always seen in the traffic (a chunk was held
    /// back, thrown away, paced; an end was late; an RST was sent), so a fault that met no traffic has 0 hits.
    #[must_use]
    pub fn hits(&self) -> Option<u64> {
        self.tuning.lock().kind.counts_hits().then(|| self.hits.load(Relaxed))
    }

    /// Units that matched `where`, hit or spared.
    #[must_use]
    pub fn units(&self) -> u64 {
        self.units.load(Relaxed)
    }

    /// Takes new parameters of the same kind; false, and nothing is changed, when the kind is another.
    pub(crate) fn tune(&self, kind: Option<FaultKind>, percent: Option<Percent>) -> bool {
        let mut tuning = self.tuning.lock();
        if kind.as_ref().is_some_and(|kind| kind.name() != tuning.kind.name()) {
            return false;
        }
        if let Some(kind) = kind {
            tuning.kind = kind;
        }
        if let Some(percent) = percent {
            tuning.percent = percent;
        }
        tuning.revision += 1;
        true
    }

    /// Distinguishes this fault from every other one, also from an earlier one of the same name.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// When it was set.
    pub(crate) fn since(&self) -> Instant {
        self.since
    }

    /// Goes up with every change of parameters.
    pub(crate) fn revision(&self) -> u64 {
        self.tuning.lock().revision
    }

    /// What all connections share when a rate is the proxy's.
    fn buckets(&self) -> &bandwidth::SharedBuckets {
        &self.buckets
    }

    /// Who is let through and who waits, for a limit of connections. The roster holds it for a moment only.
    pub(crate) fn turnstile(&self) -> MutexGuard<'_, Turnstile> {
        self.turnstile.lock()
    }

    /// Numbers the next unit.
    pub(crate) fn next_unit(&self) -> u64 {
        self.units.fetch_add(1, Relaxed)
    }

    /// Whether the unit of this number is chosen, `count` aside.
    pub(crate) fn chooses(&self, unit: u64) -> bool {
        unit >= self.skip && unit_draw(self.seed, unit) < self.percent().get()
    }

    /// Whether `count` is reached, which is for good.
    pub(crate) fn is_spent(&self) -> bool {
        self.count.is_some_and(|count| self.hits.load(Relaxed) >= count)
    }

    /// Counts one more unit that is hit; false when `count` is reached.
    pub(crate) fn count_hit(&self) -> bool {
        let limit = self.count.unwrap_or(u64::MAX);
        self.hits.fetch_update(Relaxed, Relaxed, |hits| (hits < limit).then_some(hits + 1)).is_ok()
    }
}

impl fmt::Debug for ActiveFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ActiveFault").field("name", &self.name).field("kind", &self.kind()).finish_non_exhaustive()
    }
}

/// The work of this claim's fault on one direction of its connection. None where the kind acts on the listener.
pub(crate) fn stage(context: &StageContext<'_>) -> Option<Box<dyn Stage>> {
    Some(match context.fault().kind() {
        FaultKind::Latency(latency) => Box::new(latency::DelayLine::new(latency, context)),
        FaultKind::Bandwidth(bandwidth) => Box::new(bandwidth::Pacer::new(&bandwidth, context)),
        FaultKind::SlowClose(slow) => Box::new(slow_close::LateEnd::new(slow)),
        FaultKind::Drip(drip) => Box::new(drip::Dripper::new(drip, context)),
        FaultKind::Stall(stall) => Box::new(stall::Freezer::new(stall, context)),
        FaultKind::Blackhole(blackhole) => Box::new(blackhole::Hole::new(blackhole, context)),
        FaultKind::Unread(_) => Box::new(unread::Wall::default()),
        FaultKind::Reset(reset) => Box::new(reset::Resetter::new(reset, context)),
        FaultKind::Truncate(truncate) => Box::new(truncate::Truncation::new(truncate, context)),
        FaultKind::ConnectionLimit(_) => Box::new(connection_limit::Barrier::new(context)),
        FaultKind::Flap(flap) => Box::new(flap::Fall::new(flap, context)),
        FaultKind::Garbage(_) if context.upstream => Box::new(garbage::Ear::new(context)),
        FaultKind::Garbage(garbage) => Box::new(garbage::Mouth::new(garbage, context)),
        FaultKind::Corrupt(corrupt) => Box::new(corrupt::Corruption::new(corrupt, context)),
        FaultKind::HttpStatus(_) | FaultKind::HttpUnauthorized(_) if context.upstream => {
            Box::new(http_answer::Catcher::new(context))
        }
        kind @ (FaultKind::HttpStatus(_) | FaultKind::HttpUnauthorized(_)) => {
            Box::new(http_answer::Speaker::new(kind, context)?)
        }
        FaultKind::HttpLatency(latency) => Box::new(http_latency::Gate::new(latency, context)),
        FaultKind::HttpHeaders(headers) => Box::new(http_headers::Editor::new(headers, context)),
        FaultKind::HttpBody(body) => Box::new(http_body::Changer::new(body, context)),
        FaultKind::SlowAccept(_)
        | FaultKind::Refuse(_)
        | FaultKind::PacketLoss(_)
        | FaultKind::Loss(_)
        | FaultKind::Duplicate(_)
        | FaultKind::Reorder(_) => return None,
    })
}

/// A random stream of its own for each seed, unit and purpose.
fn random_stream(seed: u64, unit: u64, purpose: u8) -> ChaCha8Rng {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&unit.to_le_bytes());
    key[16] = purpose;
    ChaCha8Rng::from_seed(key)
}

/// Whether this kind needs to see both directions, whichever it acts on.
pub(crate) const fn watches_both_ways(kind: &FaultKind) -> bool {
    answers(kind)
}

/// Whether this kind answers in the upstream's place.
pub(crate) const fn answers(kind: &FaultKind) -> bool {
    matches!(kind, FaultKind::Garbage(_) | FaultKind::HttpStatus(_) | FaultKind::HttpUnauthorized(_))
}

/// Whether this kind works on messages of HTTP, and not on bytes.
pub(crate) const fn reads_messages(kind: &FaultKind) -> bool {
    matches!(
        kind,
        FaultKind::HttpStatus(_)
            | FaultKind::HttpLatency(_)
            | FaultKind::HttpHeaders(_)
            | FaultKind::HttpBody(_)
            | FaultKind::HttpUnauthorized(_)
    )
}

/// Whether this kind's unit is the connection on every protocol, for it lets connections in, takes all down, or
/// is beneath whatever they say.
pub(crate) const fn counts_connections(kind: &FaultKind) -> bool {
    matches!(kind, FaultKind::ConnectionLimit(_) | FaultKind::Flap(_) | FaultKind::PacketLoss(_))
}

/// Whether this kind works on the listening socket.
pub(crate) const fn acts_on_listener(kind: &FaultKind) -> bool {
    match kind {
        FaultKind::PacketLoss(lossy) => lossy.syn_only,
        kind => matches!(kind, FaultKind::Refuse(_) | FaultKind::SlowAccept(_) | FaultKind::Flap(_)),
    }
}

/// Whether this kind works on the bytes or the end of connections that are open.
pub(crate) const fn acts_on_links(kind: &FaultKind) -> bool {
    !matches!(
        kind,
        FaultKind::Refuse(_)
            | FaultKind::SlowAccept(_)
            | FaultKind::PacketLoss(_)
            | FaultKind::Loss(_)
            | FaultKind::Duplicate(_)
            | FaultKind::Reorder(_)
    )
}

/// Whether this kind works on connections that are open: on their links, or beneath them, in the kernel.
pub(crate) const fn acts_on_connections(kind: &FaultKind) -> bool {
    match kind {
        FaultKind::PacketLoss(lossy) => !lossy.syn_only,
        kind => acts_on_links(kind),
    }
}

/// Why this agent, on this machine, cannot set a fault of this kind.
pub(crate) fn unavailable(kind: &FaultKind) -> Option<String> {
    unavailable_kinds().remove(kind.name())
}

/// The kinds that this agent, on this machine, cannot set, and why.
pub(crate) fn unavailable_kinds() -> BTreeMap<String, String> {
    let packet_loss = crate::sieve::unavailable().map(|why| ("packet_loss".to_owned(), why.to_owned()));
    packet_loss.into_iter().collect()
}
