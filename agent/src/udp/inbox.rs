//! What a client sent and its session has not looked at yet.
//!
//! The door (`door.rs`) puts in, one session (`session.rs`) takes out. It is a queue as a network has it: what comes
//! when it is full is dropped.
//!
//! Invariant: a datagram that was taken in is taken out by a session, unless the session was told to end.

use bytes::Bytes;
use parking_lot::Mutex;
use std::{collections::VecDeque, time::Instant};
use tokio::sync::Notify;

/// Datagrams that may wait for one session: a burst, for a session that runs takes each at once.
const DATAGRAMS: usize = 1024;

/// Bytes that may wait for one session; a datagram always finds room in an empty inbox.
const BYTES: usize = 1024 * 1024;

/// What became of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Put {
    /// It waits.
    Taken,
    /// There was no room.
    Full,
    /// The session has ended: another must take it.
    Closed,
}

#[derive(Debug, Default)]
struct Waiting {
    // Bounded by `DATAGRAMS` and `BYTES`.
    queue: VecDeque<(Instant, Bytes)>,
    bytes: usize,
    closed: bool,
}

/// One session's inbox.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    waiting: Mutex<Waiting>,
    bell: Notify,
}

impl Inbox {
    /// Puts in a datagram that came in then.
    pub(super) fn put(&self, datagram: &[u8], came: Instant) -> Put {
        let mut waiting = self.waiting.lock();
        if waiting.closed {
            return Put::Closed;
        }
        let full = waiting.queue.len() >= DATAGRAMS || waiting.bytes + datagram.len() > BYTES;
        if full && !waiting.queue.is_empty() {
            return Put::Full;
        }
        waiting.bytes += datagram.len();
        waiting.queue.push_back((came, Bytes::copy_from_slice(datagram)));
        drop(waiting);
        self.bell.notify_one();
        Put::Taken
    }

    /// The next datagram and when it arrived.
    pub(super) fn take(&self) -> Option<(Instant, Bytes)> {
        let mut waiting = self.waiting.lock();
        let next = waiting.queue.pop_front()?;
        waiting.bytes -= next.1.len();
        if waiting.queue.is_empty() && waiting.queue.capacity() > 64 {
            // Memory is given back after a burst.
            waiting.queue = VecDeque::new();
        }
        Some(next)
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.lock().queue.is_empty()
    }

    /// Returns when something may have come.
    pub(super) async fn filled(&self) {
        self.bell.notified().await;
    }

    /// Takes nothing in any more, if nothing waits.
    pub(super) fn close_if_empty(&self) -> bool {
        let mut waiting = self.waiting.lock();
        waiting.closed |= waiting.queue.is_empty();
        waiting.closed
    }

    /// Takes nothing in any more; answers how many waited in vain.
    pub(super) fn close(&self) -> usize {
        let mut waiting = self.waiting.lock();
        waiting.closed = true;
        waiting.bytes = 0;
        std::mem::take(&mut waiting.queue).len()
    }
}

#[cfg(test)]
mod tests {
    use super::{BYTES, DATAGRAMS, Inbox, Put};
    use std::time::Instant;

    fn put(inbox: &Inbox, datagram: &[u8]) -> Put {
        inbox.put(datagram, Instant::now())
    }

    #[test]
    fn what_is_put_in_comes_out_in_order_and_a_full_one_drops_what_comes() {
        let inbox = Inbox::default();
        let taken = (0..DATAGRAMS + 10).map(|n| put(&inbox, &n.to_le_bytes())).filter(|put| *put == Put::Taken).count();
        assert_eq!(taken, DATAGRAMS);
        for n in 0..DATAGRAMS {
            assert_eq!(*inbox.take().unwrap().1, n.to_le_bytes());
        }
        assert!(inbox.take().is_none() && put(&inbox, &[]) == Put::Taken, "an empty datagram is one");
    }

    #[test]
    fn bytes_are_bounded_as_well_and_given_back() {
        let inbox = Inbox::default();
        let large = vec![0; 65_507];
        let taken = (0..100).filter(|_| put(&inbox, &large) == Put::Taken).count();
        assert_eq!(taken, BYTES / large.len());
        inbox.take().unwrap();
        assert_eq!((put(&inbox, &large), put(&inbox, &large)), (Put::Taken, Put::Full));
    }

    #[test]
    fn one_that_is_closed_takes_nothing_and_one_with_something_in_it_does_not_close_by_itself() {
        let inbox = Inbox::default();
        put(&inbox, b"x");
        assert!(!inbox.close_if_empty());
        inbox.take().unwrap();
        assert!(inbox.close_if_empty());
        assert_eq!((put(&inbox, b"y"), inbox.close()), (Put::Closed, 0));
    }
}
