//! What was done under which key: the memory behind "the same key, once".
//!
//! Invariant: bounded; the oldest keys are forgotten first, long after anybody would repeat them.

use std::collections::{HashMap, VecDeque};

/// Keys remembered; at a hundred orders a second, a quarter of an hour's.
const CAPACITY: usize = 100_000;

#[derive(Debug)]
pub(super) struct Ledger<V> {
    entries: HashMap<String, V>,
    order: VecDeque<String>,
    capacity: usize,
}

impl<V> Default for Ledger<V> {
    fn default() -> Self {
        Self { entries: HashMap::new(), order: VecDeque::new(), capacity: CAPACITY }
    }
}

impl<V> Ledger<V> {
    pub(super) fn get(&self, key: &str) -> Option<&V> {
        self.entries.get(key)
    }

    /// Remembers a value under a key, in place of the one before, which is returned.
    pub(super) fn set(&mut self, key: &str, value: V) -> Option<V> {
        let before = self.entries.insert(key.to_owned(), value);
        if before.is_none() {
            self.order.push_back(key.to_owned());
        }
        while self.order.len() > self.capacity {
            if let Some(oldest) = self.order.pop_front() {
                self.entries.remove(&oldest);
            }
        }
        before
    }
}

#[cfg(test)]
mod tests {
    use super::Ledger;

    #[test]
    fn it_forgets_the_oldest_first() {
        let mut ledger = Ledger { capacity: 2, ..Ledger::default() };
        for key in ["a", "b", "a", "c"] {
            ledger.set(key, key.len());
        }
        assert_eq!((ledger.get("a"), ledger.get("b"), ledger.get("c")), (None, Some(&1), Some(&1)));
    }
}
