//! The audit trail: each change is one structured line of the log and one event on the bus.
//!
//! Neighbours: every file of `registry` that changes something calls [`Inner::audit`], under the lock, so the lines
//! stand in the order in which things happened. `crate::events` is the bus, `crate::access` says who somebody is.
//! Invariant: who, what, when, from where and under which lease; never a token or a key.

use super::Inner;
use crate::{access::Role, events::News};
use squall_wire::{EventKind, LeaseId, ProxyName};
use std::sync::Arc;

/// Who asks for a change.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// The name of a token, `cert:` and the name in a certificate, `anonymous`, or `agent` for the agent's own doing.
    pub(crate) who: Arc<str>,
    /// What they may do.
    pub(crate) role: Role,
    /// The peer's address; `agent` for the agent's own doing.
    pub(crate) from: String,
    /// The lease under which the caller acts.
    pub(crate) lease: Option<LeaseId>,
}

impl Caller {
    /// The agent itself.
    pub(crate) fn agent() -> Self {
        Self { who: "agent".into(), role: Role::Admin, from: "agent".into(), lease: None }
    }

    /// Whether it is the agent itself: no peer has such an address.
    pub(crate) fn is_agent(&self) -> bool {
        self.from == "agent"
    }
}

/// What changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    FaultSet,
    FaultChanged,
    FaultRemoved,
    FaultRanOut,
    FaultRemovedWithLease,
    FaultRemovedWithProxy,
    EverythingHealed,
    ToxicSet,
    ToxicChanged,
    LeaseTaken,
    LeaseRenewed,
    LeaseEnded,
    LeaseRanOut,
    ProxyCreated,
    ProxyChanged,
    ProxyRestored,
    ProxyDeleted,
    Halted,
    FaultRemovedByHalt,
    Resumed,
}

impl Change {
    /// As the log tells it.
    const fn told(self) -> &'static str {
        match self {
            Self::FaultSet => "fault set",
            Self::FaultChanged => "fault changed",
            Self::FaultRemoved => "fault removed",
            Self::FaultRanOut => "fault ran out",
            Self::FaultRemovedWithLease => "fault removed with its lease",
            Self::FaultRemovedWithProxy => "fault removed with its proxy",
            Self::EverythingHealed => "everything healed",
            Self::ToxicSet => "toxic set",
            Self::ToxicChanged => "toxic changed",
            Self::LeaseTaken => "lease taken",
            Self::LeaseRenewed => "lease renewed",
            Self::LeaseEnded => "lease ended",
            Self::LeaseRanOut => "lease ran out",
            Self::ProxyCreated => "proxy created",
            Self::ProxyChanged => "proxy changed",
            Self::ProxyRestored => "proxy brought back",
            Self::ProxyDeleted => "proxy deleted",
            Self::Halted => "halted",
            Self::FaultRemovedByHalt => "fault removed by a halt",
            Self::Resumed => "resumed",
        }
    }

    /// As the bus tells it; none where another event has told it.
    const fn kind(self) -> Option<EventKind> {
        Some(match self {
            Self::FaultSet => EventKind::FaultSet,
            Self::FaultChanged | Self::ToxicChanged => EventKind::FaultChanged,
            Self::FaultRemoved
            | Self::FaultRanOut
            | Self::FaultRemovedWithLease
            | Self::FaultRemovedWithProxy
            | Self::FaultRemovedByHalt
            | Self::EverythingHealed => EventKind::FaultHealed,
            // Its fault is told of by itself.
            Self::ToxicSet => return None,
            Self::LeaseTaken => EventKind::LeaseTaken,
            Self::LeaseRenewed => EventKind::LeaseRenewed,
            Self::LeaseEnded | Self::LeaseRanOut => EventKind::LeaseEnded,
            Self::ProxyCreated => EventKind::ProxyCreated,
            Self::ProxyChanged | Self::ProxyRestored => EventKind::ProxyChanged,
            Self::ProxyDeleted => EventKind::ProxyRemoved,
            Self::Halted => EventKind::Halted,
            Self::Resumed => EventKind::Resumed,
        })
    }
}

/// What a change was about.
#[derive(Debug, Default)]
pub(super) struct About<'a> {
    pub(super) proxy: Option<&'a ProxyName>,
    pub(super) fault: Option<&'a str>,
    pub(super) lease: Option<&'a LeaseId>,
    pub(super) detail: Option<&'a str>,
}

impl Inner {
    /// Something changed: a line in the log, and an event.
    pub(super) fn audit(&self, change: Change, caller: &Caller, about: &About<'_>) {
        let lease = about.lease.or(caller.lease.as_ref());
        let owner = lease.and_then(|id| self.leases.get(id)).map(|held| held.owner.as_str());
        let told = change.told();
        // A run renews its leases every few seconds: that would be most of the log.
        if change == Change::LeaseRenewed {
            tracing::debug!(target: "squall_agent::audit", change = told, who = &*caller.who, from = %caller.from,
                lease = lease.map(LeaseId::as_str), "{told}");
        } else {
            tracing::info!(
                target: "squall_agent::audit",
                change = told,
                who = &*caller.who,
                from = %caller.from,
                owner,
                lease = lease.map(LeaseId::as_str),
                proxy = about.proxy.map(ProxyName::as_str),
                fault = about.fault,
                detail = about.detail,
                "{told}"
            );
        }
        // A toxic that does nothing has no fault.
        let kind = change.kind().filter(|kind| *kind != EventKind::FaultChanged || about.fault.is_some());
        let Some(kind) = kind else { return };
        let detail = match (kind, about.detail) {
            // Why it is gone is in the words of the change.
            (EventKind::FaultHealed | EventKind::LeaseEnded, None) => Some(told.to_owned()),
            (EventKind::FaultHealed | EventKind::LeaseEnded, Some(detail)) => Some(format!("{told}, {detail}")),
            (_, detail) => detail.map(str::to_owned),
        };
        self.events.publish(News {
            kind,
            proxy: about.proxy.cloned(),
            fault: about.fault.and_then(|name| name.parse().ok()),
            lease: lease.cloned(),
            who: caller.who.to_string(),
            from: caller.from.clone(),
            detail,
        });
    }
}
