//! Items that a stage holds back, in order, with their bytes counted.
//!
//! Used by every kind that delays or cuts; the delay line of `latency.rs` has its own queue, with times.
//!
//! Invariant: what is taken out is what was put in, in order.

use super::{Ending, Item};
use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;

/// Bytes that a stage holds before it is full, when its kind does not say otherwise. One more chunk still comes in.
pub(crate) const HOLD_LIMIT: usize = 64 * 1024;

/// A queue of items.
#[derive(Debug, Default)]
pub(crate) struct Hold {
    // Bounded by `HOLD_LIMIT` and a chunk, for a stage that holds as much accepts no more.
    items: VecDeque<Item>,
    bytes: usize,
}

impl Hold {
    pub(crate) fn push(&mut self, item: Item) {
        self.bytes += item.len();
        self.items.push_back(item);
    }

    pub(crate) fn extend(&mut self, items: impl IntoIterator<Item = Item>) {
        items.into_iter().for_each(|item| self.push(item));
    }

    pub(crate) fn pop(&mut self) -> Option<Item> {
        let item = self.items.pop_front()?;
        self.bytes -= item.len();
        Some(item)
    }

    pub(crate) fn front(&self) -> Option<&Item> {
        self.items.front()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn is_full(&self) -> bool {
        self.bytes >= HOLD_LIMIT
    }

    /// The end that stands first, if one does.
    pub(crate) fn pop_end(&mut self) -> Option<Ending> {
        match self.items.front()? {
            Item::End(ending) => {
                let ending = *ending;
                self.items.pop_front();
                Some(ending)
            }
            Item::Head(_) | Item::Bytes(_) => None,
        }
    }

    /// Up to so many bytes in one piece, gathered from as many items as it takes.
    pub(crate) fn take(&mut self, limit: usize) -> Bytes {
        let Some(Item::Bytes(front)) = self.items.front_mut() else { return Bytes::new() };
        if front.len() > limit {
            self.bytes -= limit;
            return front.split_to(limit);
        }
        let Some(Item::Bytes(first)) = self.pop() else { return Bytes::new() };
        if first.len() == limit || !matches!(self.items.front(), Some(Item::Bytes(_))) {
            return first;
        }
        let mut piece = BytesMut::from(first);
        while piece.len() < limit {
            let Some(Item::Bytes(next)) = self.items.front_mut() else { break };
            let part = next.split_to(next.len().min(limit - piece.len()));
            let emptied = next.is_empty();
            self.bytes -= part.len();
            piece.extend_from_slice(&part);
            if emptied {
                self.items.pop_front();
            }
        }
        piece.freeze()
    }

    pub(crate) fn release(&mut self) -> VecDeque<Item> {
        self.bytes = 0;
        std::mem::take(&mut self.items)
    }
}

#[cfg(test)]
mod tests {
    use super::Hold;
    use crate::fault::{Ending, Item};
    use bytes::Bytes;

    #[test]
    fn pieces_are_gathered_over_items_and_stop_at_an_end() {
        let mut hold = Hold::default();
        for part in ["ab", "c", "defgh"] {
            hold.push(Item::Bytes(Bytes::from_static(part.as_bytes())));
        }
        hold.push(Item::End(Ending::Eof));
        assert_eq!(hold.bytes(), 8);
        assert_eq!(hold.take(1), "a");
        assert_eq!(hold.take(4), "bcde");
        assert_eq!(hold.pop_end(), None);
        assert_eq!(hold.take(100), "fgh");
        assert_eq!(hold.take(100), "");
        assert_eq!((hold.bytes(), hold.pop_end()), (0, Some(Ending::Eof)));
        assert!(hold.is_empty());
    }
}
