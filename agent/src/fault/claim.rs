//! One fault's hold on one unit: the connection's number for that fault, and whether the fault acted on it.
//!
//! Both links of a connection share the claim, so a unit counts once. `pipeline.rs` asks [`Claim::act`] at the
//! moment the fault first acts, and lets the traffic pass when `count` is spent.
//!
//! Invariant: a claim's answer never changes: once hit, hit; once refused, spared for good.

use super::ActiveFault;
use crate::traffic::Meter;
use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

/// Whether any fault acted on a connection, or on a request, which its meter knows; the first one to do so counts it.
#[derive(Debug)]
pub(crate) struct ConnectionMark {
    pub(crate) meter: Meter,
    total: Arc<AtomicU64>,
    /// Of the connection, where this is of one of its requests.
    of: Option<Arc<ConnectionMark>>,
}

impl ConnectionMark {
    /// A connection that was not hit yet; `total` counts those that were.
    pub(crate) fn new(total: Arc<AtomicU64>) -> Self {
        Self { meter: Meter::start(), total, of: None }
    }

    /// A request on this connection; `total` counts requests that were hit.
    pub(crate) fn request(self: &Arc<Self>, total: Arc<AtomicU64>) -> Self {
        Self { meter: Meter::start(), total, of: Some(Arc::clone(self)) }
    }

    /// Whether a fault acted on it.
    pub(crate) fn is_set(&self) -> bool {
        self.meter.was_hit()
    }

    /// A fault acted on it.
    pub(crate) fn set(&self) {
        if self.meter.hit() {
            self.total.fetch_add(1, Relaxed);
        }
        if let Some(connection) = &self.of {
            connection.set();
        }
    }
}

/// One fault's hold on one unit.
#[derive(Debug)]
pub(crate) struct Claim {
    pub(crate) fault: Arc<ActiveFault>,
    pub(crate) unit: u64,
    granted: OnceLock<bool>,
    signal: AtomicBool,
    mark: Arc<ConnectionMark>,
}

impl Claim {
    /// Numbers a new unit of this fault. One that comes when `count` is spent is spared from the first, for some
    /// kinds are in the way before they act.
    pub(crate) fn enrol(fault: Arc<ActiveFault>, mark: Arc<ConnectionMark>) -> Arc<Self> {
        let unit = fault.next_unit();
        let granted = if fault.is_spent() { OnceLock::from(false) } else { OnceLock::new() };
        Arc::new(Self { fault, unit, granted, signal: AtomicBool::new(false), mark })
    }

    /// Whether the fault may act now, or acts already. The first call that may, counts the hit.
    pub(crate) fn act(&self) -> bool {
        *self.granted.get_or_init(|| {
            let granted = self.fault.count_hit();
            if granted {
                self.mark.set();
            }
            granted
        })
    }

    /// Whether it acted already.
    pub(crate) fn has_acted(&self) -> bool {
        self.granted.get() == Some(&true)
    }

    /// Tells the fault's stage on the other direction that it is its turn. The link rings the bell.
    pub(crate) fn raise(&self) {
        self.signal.store(true, Relaxed);
    }

    /// Whether the other direction's stage said so.
    pub(crate) fn is_raised(&self) -> bool {
        self.signal.load(Relaxed)
    }

    /// Whether `count` was spent before it could act.
    pub(crate) fn was_refused(&self) -> bool {
        self.granted.get() == Some(&false)
    }

    /// Whether the fault is to be in this unit's way: chosen by number and share, and not refused by `count`.
    pub(crate) fn is_live(&self) -> bool {
        !self.was_refused() && self.fault.chooses(self.unit)
    }
}
