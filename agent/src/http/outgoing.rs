//! What is ready for one peer, in order, whichever messages it is of.
//!
//! Filled by `conversation.rs` from the front of each direction, written by `connection.rs`.
//!
//! Invariant: what is taken off was put on, in order.

use bytes::{Buf, Bytes};
use std::collections::VecDeque;

/// Bytes that may wait to be written before messages are held up.
const LIMIT: usize = 128 * 1024;

/// A queue of bytes.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    // Bounded by `LIMIT` and what one pipeline holds, for nothing is put on while it is full.
    queue: VecDeque<Bytes>,
    bytes: usize,
}

impl Outgoing {
    pub(super) fn has_room(&self) -> bool {
        self.bytes < LIMIT
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.bytes
    }

    pub(super) fn put(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.bytes += bytes.len();
            self.queue.push_back(bytes);
        }
    }

    /// The pieces, in order.
    pub(crate) fn pieces(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.queue.iter().map(|bytes| &bytes[..])
    }

    /// So many bytes of it are gone.
    pub(super) fn take(&mut self, mut count: usize) {
        self.bytes = self.bytes.saturating_sub(count);
        while let Some(front) = self.queue.front_mut() {
            if front.len() > count {
                return front.advance(count);
            }
            count -= front.len();
            self.queue.pop_front();
        }
        // An idle connection holds no memory for it.
        if self.queue.capacity() > 64 {
            self.queue = VecDeque::new();
        }
    }
}
