//! How one direction comes to its end: what it waits for first, and what it says to its sink.
//!
//! Part of `link.rs`, whose state it reads. Invariant: what a client sent before it was gone leaves first, if time alone
//! brings it out.

use super::{Between, Link, Peer};
use crate::fault::Ending;
use std::{sync::atomic::Ordering::Relaxed, time::Instant};

impl Link {
    /// The client is gone altogether. What it sent before is let out as it is due, as a network would; what nothing
    /// brings out by itself is not waited for, or the connection would stay as long as the fault.
    pub(super) fn has_been_left(&self, sink: Peer<'_>) -> bool {
        self.vanished && self.pipeline.next_wake(Instant::now()).is_none() && !self.is_writing(sink)
    }

    /// The peer that we write to is gone. What is still read is thrown away; its own direction ends the connection.
    pub(super) fn lose_sink(&mut self, between: &Between) {
        self.sink_gone = true;
        between.failed.store(true, Relaxed);
        between.reset[usize::from(self.upstream)].store(true, Relaxed);
        self.membership.wake();
    }

    /// Whether the connection is over, once what was to be written is.
    pub(super) fn conclude(&mut self, sink: Peer<'_>, between: &Between) -> Option<Ending> {
        let finished = |upstream: bool| between.finished[usize::from(upstream)].load(Relaxed);
        if self.sink_gone && finished(!self.upstream) {
            // That peer has closed altogether and answers with RST to whatever comes; so do we.
            return Some(Ending::Reset);
        }
        let ending = self.pipeline.ending()?;
        // What a fault lets pass before it ends the connection waits for the dial; what a client left that is gone
        // does not.
        let unheard = self.source_reset || between.reset[usize::from(!self.upstream)].load(Relaxed);
        if ending == Ending::Abort || (ending != Ending::Eof && unheard && matches!(sink, Peer::Pending)) {
            return Some(ending);
        }
        if self.is_writing(sink) {
            return None;
        }
        if ending != Ending::Eof {
            return Some(ending);
        }
        let lost = between.reset.iter().any(|reset| reset.load(Relaxed));
        if !self.sink_shut {
            let is_last = finished(!self.upstream) && !lost && !self.source_cut_off;
            match sink {
                // Nobody will hear the end, and the client is gone: it need not be kept for a dial to come.
                Peer::Pending => return between.reset[0].load(Relaxed).then_some(Ending::Reset),
                // Whoever ends last closes both sockets right after this, which says the same.
                Peer::Open(stream) if is_last && stream.plain().is_some() => {}
                Peer::Open(stream) if !self.sink_gone && !self.source_cut_off => stream.shut_down(),
                Peer::Open(stream) if !self.sink_gone && !stream.cut_off() => {
                    // Clients commonly leave TLS so, which is no error of theirs.
                    between.failed.fetch_or(!self.upstream, Relaxed);
                    return Some(Ending::Reset);
                }
                _ => {}
            }
            self.sink_shut = true;
        }
        // Over TLS the end is something to send, too.
        if self.is_pending(sink) {
            return None;
        }
        if finished(!self.upstream) {
            return Some(if lost { Ending::Reset } else { Ending::Eof });
        }
        if !between.finished[usize::from(self.upstream)].swap(true, Relaxed) {
            self.membership.wake();
        }
        None
    }
}
