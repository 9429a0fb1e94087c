//! What was seen of exchanges and of the API, counted; and what must not have been seen, with examples.
//!
//! `load/*` and `chaos` write it, `report` shows it. Invariant: a finding is never only counted: the first few of each
//! kind are told in words.

use parking_lot::Mutex;
use serde::Serialize;
use squall_wire::Protocol;
use std::collections::BTreeMap;

/// Findings that are told in words, at most; more are counted.
const TOLD: usize = 20;

/// How an exchange ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// Everything came back as it was sent.
    Whole,
    /// A beginning of it came back, or an error: as faults do.
    Cut,
    /// Something else came back.
    Other(String),
}

/// Counts of exchanges on proxies of one protocol.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Exchanges {
    pub(crate) whole: u64,
    pub(crate) cut: u64,
    /// Something else came back, where faults may change what passes.
    pub(crate) changed: u64,
    /// Something else came back, where none may.
    pub(crate) wrong: u64,
    pub(crate) bytes: u64,
}

/// Everything that was counted.
#[derive(Debug, Default, Clone, Serialize)]
pub(crate) struct Counts {
    pub(crate) exchanges: BTreeMap<&'static str, Exchanges>,
    /// Calls to the agent by what was wanted, and how many were refused.
    pub(crate) calls: BTreeMap<&'static str, [u64; 2]>,
    /// Faults that were set, by kind.
    pub(crate) faults: BTreeMap<String, u64>,
    pub(crate) findings: u64,
    pub(crate) told: Vec<String>,
}

/// The counts, shared.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<Counts>);

impl Ledger {
    /// An exchange of so many bytes on a proxy; `exact`: nothing may change what passes there.
    pub(crate) fn exchange(&self, protocol: Protocol, exact: bool, ended: Ended, bytes: u64) {
        let mut counts = self.0.lock();
        let row = counts.exchanges.entry(protocol.name()).or_default();
        row.bytes += bytes;
        match ended {
            Ended::Whole => row.whole += 1,
            Ended::Cut => row.cut += 1,
            Ended::Other(_) if !exact => row.changed += 1,
            Ended::Other(what) => {
                row.wrong += 1;
                counts.find(format!("{protocol}: {what}"));
            }
        }
    }

    /// A call that the agent did, or refused with good reason.
    pub(crate) fn call(&self, wanted: &'static str, refused: bool) {
        self.0.lock().calls.entry(wanted).or_default()[usize::from(refused)] += 1;
    }

    /// A fault was set.
    pub(crate) fn fault(&self, kind: &str) {
        *self.0.lock().faults.entry(kind.to_owned()).or_default() += 1;
    }

    /// Something that must not be.
    pub(crate) fn find(&self, what: String) {
        self.0.lock().find(what);
    }

    pub(crate) fn counts(&self) -> Counts {
        self.0.lock().clone()
    }
}

impl Counts {
    fn find(&mut self, what: String) {
        self.findings += 1;
        if self.told.len() < TOLD {
            crate::report::tell(&format!("FOUND {what}"));
            self.told.push(what);
        }
    }
}
