//! The big red switch: heals everything, brings back what was changed under leases, and takes no new faults until it is switched back.
//!
//! Neighbours: `api::halt` calls it; `faults.rs`, `toxics.rs`, `leases.rs` and `proxies.rs` ask [`Inner::not_halted`].
//! `saving.rs` writes the halt down, so that a restarted agent is still halted.
//! Invariant: from the moment the switch is thrown no fault is set, also while old ones are still being healed.

use super::{About, Caller, Change, Inner, Refusal, Registry};
use crate::{access::Role, lease::to_the_second};
use squall_wire::{Halt, HaltInfo, HaltRequest, Healed};

/// Letters of a reason, at most: it is in every refusal.
const MAX_REASON: usize = 500;

impl Registry {
    /// Heals everything and refuses new faults. Halted already, it gets the new reason.
    pub(crate) async fn halt(&self, request: HaltRequest, caller: &Caller) -> Result<HaltInfo, Refusal> {
        may_halt(caller)?;
        let reason = request.reason.trim().to_owned();
        if reason.is_empty() {
            return Err(Refusal::invalid("reason", "a reason is needed, for those whose faults are refused"));
        }
        if reason.chars().count() > MAX_REASON {
            return Err(Refusal::invalid("reason", format!("at most {MAX_REASON} letters")));
        }
        if reason.chars().any(char::is_control) {
            return Err(Refusal::invalid("reason", "one line without control characters, for it is shown to others"));
        }
        let healed = {
            let mut inner = self.open().await?;
            let about = About { detail: Some(&reason), ..About::default() };
            inner.audit(Change::Halted, caller, &about);
            let since = to_the_second(jiff::Timestamp::now());
            inner.halt = Some(Halt { reason, who: caller.who.to_string(), since });
            let healing = inner.heal_faults(|_| true).await;
            let healing = healing.and(inner.bring_home(caller, |_| true).await);
            inner.healed(healing, Change::FaultRemovedByHalt, caller)
        };
        self.sooner.notify_one();
        if self.saving.is_none() {
            tracing::warn!("halted, but not beyond a restart: this agent has no --state file to remember it by");
        }
        let saved = self.save().await;
        let Healed { removed, restored } = healed?;
        saved?;
        Ok(HaltInfo { removed, restored, ..self.halt_info().await })
    }

    /// Takes faults again; answers as well when it was not halted.
    pub(crate) async fn resume(&self, caller: &Caller) -> Result<HaltInfo, Refusal> {
        may_halt(caller)?;
        let lifted = {
            let mut inner = self.open().await?;
            let lifted = inner.halt.take();
            if let Some(halt) = &lifted {
                let detail = format!("was halted since {} by {}: {}", halt.since, halt.who, halt.reason);
                inner.audit(Change::Resumed, caller, &About { detail: Some(&detail), ..About::default() });
            }
            lifted
        };
        if lifted.is_some() {
            self.save().await?;
        }
        Ok(self.halt_info().await)
    }

    /// Whether it is halted.
    pub(crate) async fn halt_info(&self) -> HaltInfo {
        let halt = self.inner.lock().await.halt.clone();
        // Where the last writing failed there may be no word of it in the file, or a word of one that was lifted.
        let survives_restart = self.saving.as_ref().is_some_and(|saving| saving.next_try().is_none());
        HaltInfo { halt, survives_restart, removed: Vec::new(), restored: Vec::new() }
    }
}

impl Inner {
    /// Refuses what would hurt while the agent is halted.
    pub(super) fn not_halted(&self) -> Result<(), Refusal> {
        let Some(Halt { reason, who, since }) = self.halt.clone() else { return Ok(()) };
        Err(Refusal::Halted { reason, who, since })
    }
}

fn may_halt(caller: &Caller) -> Result<(), Refusal> {
    if caller.role >= Role::Admin {
        return Ok(());
    }
    let message = format!("`{}` may not halt this agent, nor lift a halt", caller.who);
    Err(Refusal::Role { needed: Role::Admin, message })
}
