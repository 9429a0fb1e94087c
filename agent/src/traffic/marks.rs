//! The marks from which traffic is counted: each a snapshot of the proxies that somebody read.
//!
//! Neighbours: `api::traffic` reads and marks, `super::tally` has the snapshots.
//! Invariant: what all marks hold is bounded. The oldest go first, and who comes with one that went is told so.

use super::Snapshot;
use parking_lot::Mutex;
use squall_wire::{Mark, ProxyName, ProxyTraffic, Traffic};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

/// Marks at once: a reading each second by four readers for a minute.
const MOST: usize = 256;
/// Cells of histograms that all marks hold together, of 16 bytes each: 16 MiB.
const CELLS: usize = 1 << 20;

/// All marks of one agent.
#[derive(Debug)]
pub(crate) struct Marks {
    /// Tells this life of the agent from others.
    instance: String,
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    last: u64,
    marks: VecDeque<Held>,
    weight: usize,
}

#[derive(Debug)]
struct Held {
    number: u64,
    /// Whether it is of all proxies that there were.
    whole: bool,
    proxies: Arc<BTreeMap<ProxyName, Snapshot>>,
    weight: usize,
}

/// From when to count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Since {
    /// Since each proxy was made.
    Beginning,
    /// Since this mark.
    Mark(Mark),
}

/// Why a mark is no good.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MarkError {
    /// It is too old, or another agent's.
    #[error("this agent does not remember the mark `{0}`: it is too old, or from another life of the agent")]
    Forgotten(Mark),
    /// The reading that made it was of other proxies.
    #[error("the mark `{mark}` is not of proxy `{proxy}`: ask for the proxies that it was made with")]
    OfOthers {
        /// It.
        mark: Mark,
        /// What it does not know.
        proxy: ProxyName,
    },
}

impl Marks {
    /// None yet. `instance` tells this life of the agent from others.
    pub(crate) fn new(instance: &str) -> Self {
        Self { instance: instance.to_owned(), book: Mutex::default() }
    }

    /// What came since, and a new mark. `whole`: these are all proxies.
    pub(crate) fn read(
        &self,
        now: BTreeMap<ProxyName, Snapshot>,
        since: &Since,
        whole: bool,
    ) -> Result<Traffic, MarkError> {
        let before = match since {
            Since::Beginning => Arc::default(),
            Since::Mark(mark) => self.before(mark, &now)?,
        };
        let told = |(name, snapshot): (&ProxyName, &Snapshot)| {
            let [all, hit, spared] = snapshot.since(before.get(name));
            ProxyTraffic { proxy: name.clone(), all, hit, spared }
        };
        let proxies = now.iter().map(told).collect();
        let number = self.book.lock().put(now, whole);
        Ok(Traffic { mark: self.mark(number), proxies })
    }

    fn before(
        &self,
        mark: &Mark,
        now: &BTreeMap<ProxyName, Snapshot>,
    ) -> Result<Arc<BTreeMap<ProxyName, Snapshot>>, MarkError> {
        let book = self.book.lock();
        let found = book.marks.iter().find(|held| self.mark(held.number) == *mark);
        let held = found.ok_or_else(|| MarkError::Forgotten(mark.clone()))?;
        // One that is not in a mark of all was not there yet, and counts from its beginning.
        match now.keys().find(|name| !held.whole && !held.proxies.contains_key(*name)) {
            Some(proxy) => Err(MarkError::OfOthers { mark: mark.clone(), proxy: proxy.clone() }),
            None => Ok(Arc::clone(&held.proxies)),
        }
    }

    fn mark(&self, number: u64) -> Mark {
        Mark::new(&self.instance, number)
    }
}

impl Book {
    fn put(&mut self, proxies: BTreeMap<ProxyName, Snapshot>, whole: bool) -> u64 {
        self.last += 1;
        let weight = proxies.values().map(Snapshot::weight).sum();
        self.weight += weight;
        self.marks.push_back(Held { number: self.last, whole, proxies: Arc::new(proxies), weight });
        // The newest stays, whatever it weighs: who got it will come with it.
        while self.marks.len() > MOST || (self.weight > CELLS && self.marks.len() > 1) {
            let Some(oldest) = self.marks.pop_front() else { break };
            self.weight -= oldest.weight;
        }
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::{MOST, MarkError, Marks, Since, Snapshot};
    use squall_wire::ProxyName;
    use std::collections::BTreeMap;

    fn proxies(names: &[&str]) -> BTreeMap<ProxyName, Snapshot> {
        names.iter().map(|name| (name.parse().unwrap(), Snapshot::default())).collect()
    }

    #[test]
    fn so_many_marks_are_remembered_and_an_older_one_is_said_to_be_forgotten() {
        let marks = Marks::new("0f3a-22e1-9");
        let mark = |since: Since| marks.read(proxies(&["a"]), &since, true).map(|traffic| traffic.mark);
        let first = mark(Since::Beginning).unwrap();
        assert_eq!(first.to_string(), "0f3a22e1-1");
        assert!(mark(Since::Mark(first.clone())).is_ok());
        for _ in 0..MOST {
            mark(Since::Beginning).unwrap();
        }
        assert_eq!(mark(Since::Mark(first.clone())), Err(MarkError::Forgotten(first)));
        let foreign = "ffffffff-3".parse().unwrap();
        assert!(matches!(mark(Since::Mark(foreign)), Err(MarkError::Forgotten(_))), "another life's");
    }

    #[test]
    fn a_mark_of_some_proxies_is_no_mark_of_others() {
        let marks = Marks::new("12345678");
        let some = marks.read(proxies(&["a"]), &Since::Beginning, false).unwrap().mark;
        let refused = marks.read(proxies(&["a", "b"]), &Since::Mark(some.clone()), false);
        assert!(matches!(refused, Err(MarkError::OfOthers { proxy, .. }) if proxy.as_str() == "b"));
        let all = marks.read(proxies(&["a"]), &Since::Beginning, true).unwrap().mark;
        let later = marks.read(proxies(&["a", "new"]), &Since::Mark(all), true).unwrap();
        assert_eq!(later.proxies.len(), 2, "a proxy that came since counts from its beginning");
    }
}
