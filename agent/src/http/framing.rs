//! Cuts a stream into messages, as the bytes come.
//!
//! Fed by whoever reads the connection, asked by whoever passes messages on. Holds at most a head that is not whole;
//! everything else leaves as it came. `scan.rs`, `head.rs`, `length.rs` and `chunk.rs` know the syntax, this file
//! knows what follows what.
//!
//! Invariant: the parts are the same however the stream was cut into reads, but for where pieces of a body end; an
//! error comes at the same byte, and nothing comes after it.

use super::{
    Side,
    chunk::{ChunkLimits, Chunks},
    error::BadMessage,
    head::{RequestHead, ResponseHead, ResponseTo},
    length::BodyKind,
    part::{Body, Head, Part},
    scan::Scan,
};
use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;

/// Responses that may be due at once; who pipelines deeper waits.
pub(super) const MOST_AWAITED: usize = 1024;

/// How large the parts may be that have to be held or have no end of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Bytes of a head, with the empty lines before a request.
    pub(crate) head: usize,
    /// Bytes of the line that opens a chunk.
    pub(crate) chunk_line: u32,
    /// Bytes of a trailer section.
    pub(crate) trailers: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { head: 64 * 1024, chunk_line: 4 * 1024, trailers: 16 * 1024 }
    }
}

/// Where in a message the stream is.
#[derive(Debug)]
enum State {
    /// Before or in a head.
    Head(Scan),
    /// In a body.
    Body(Rest),
    /// The message is whole, and nobody was told yet.
    End,
    /// Behind a request whose response decides what its stream carries from now on.
    Paused,
    /// Behind the last message.
    Closed,
    /// A message was refused.
    Failed(BadMessage),
}

/// What is still to come of a body.
#[derive(Debug)]
enum Rest {
    Bytes(u64),
    Chunks(Chunks),
    Everything,
}

/// What comes after the message that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Message,
    /// It is not known before the response; `last` if the request was the last one anyhow.
    Verdict {
        last: bool,
    },
    Tunnel,
    Nothing,
}

/// One direction of a connection.
#[derive(Debug)]
pub(crate) struct Framer {
    side: Side,
    limits: Limits,
    input: Bytes,
    state: State,
    next: Next,
    /// What the responses that are due answer, in order; at most [`MOST_AWAITED`].
    awaited: VecDeque<ResponseTo>,
}

impl Framer {
    /// For what comes from a client.
    pub(crate) fn requests(limits: Limits) -> Self {
        Self::new(Side::Request, limits)
    }

    /// For what comes from an upstream.
    pub(crate) fn responses(limits: Limits) -> Self {
        Self::new(Side::Response, limits)
    }

    fn new(side: Side, limits: Limits) -> Self {
        Self {
            side,
            limits,
            input: Bytes::new(),
            state: State::Head(Scan::default()),
            next: Next::Message,
            awaited: VecDeque::new(),
        }
    }

    /// Takes what was read. To be called when [`Self::next`] had nothing more to say, so that no more than a head is
    /// ever held. What comes behind the last message, or behind one that was refused, is no message's and is dropped.
    pub(crate) fn push(&mut self, bytes: Bytes) {
        if matches!(self.state, State::Closed | State::Failed(_)) {
            return;
        }
        if self.input.is_empty() {
            self.input = bytes;
            return;
        }
        let held = std::mem::take(&mut self.input);
        // Usually its only owner: then it grows in place, and a head in many pieces is not copied for each of them.
        let mut joined = held.try_into_mut().unwrap_or_else(|held| BytesMut::from(&held[..]));
        joined.extend_from_slice(&bytes);
        self.input = joined.freeze();
    }

    /// Says what the next response answers: once for each request, in order, before the request is sent. Whether
    /// there is room: where not, the request has to wait for a response.
    #[must_use]
    pub(crate) fn expect(&mut self, to: ResponseTo) -> bool {
        let room = self.awaited.len() < MOST_AWAITED;
        if room {
            self.awaited.push_back(to);
        }
        room
    }

    /// How many responses are due.
    #[cfg(test)]
    pub(crate) fn awaited(&self) -> usize {
        self.awaited.len()
    }

    /// Whether the stream is between two messages, with nothing of the next one there.
    pub(crate) fn is_idle(&self) -> bool {
        matches!(&self.state, State::Head(scan) if scan.is_before_message(&self.input))
    }

    /// Whether it waits for [`Self::resume`] or [`Self::tunnel`]. Nothing is to be read meanwhile: it would be held.
    pub(crate) fn is_paused(&self) -> bool {
        matches!(self.state, State::Paused)
    }

    /// Whether no message will follow.
    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed | State::Failed(_))
    }

    /// The request that asked for another protocol was answered, and not by a switch: requests go on.
    pub(crate) fn resume(&mut self) {
        if let Next::Verdict { last } = self.next {
            self.decide(if last { Next::Nothing } else { Next::Message });
        }
    }

    /// It was answered by a switch: from its end on the stream carries something else.
    pub(crate) fn tunnel(&mut self) {
        if matches!(self.next, Next::Verdict { .. }) {
            self.decide(Next::Tunnel);
        }
    }

    fn decide(&mut self, next: Next) {
        // The response may come while the request's body is still under way.
        self.next = next;
        if self.is_paused() {
            self.follow();
        }
    }

    /// The next part, as far as what was pushed tells.
    pub(crate) fn next(&mut self) -> Result<Option<Part>, BadMessage> {
        match &mut self.state {
            State::Failed(bad) => Err(*bad),
            State::Closed | State::Paused => Ok(None),
            State::Head(_) => self.head(),
            State::Body(_) => self.body(),
            State::End => {
                self.follow();
                Ok(Some(Part::End))
            }
        }
    }

    /// The next part, now that nothing more comes; to be called until there is none.
    pub(crate) fn end(&mut self) -> Result<Option<Part>, BadMessage> {
        if let Some(part) = self.next()? {
            return Ok(Some(part));
        }
        match &self.state {
            State::Body(Rest::Everything) => {
                self.state = State::Closed;
                Ok(Some(Part::End))
            }
            State::Head(_) | State::Closed if self.is_closed() || self.is_idle() => match self.awaited.is_empty() {
                true => Ok(None),
                false => self.fail(BadMessage::Unanswered),
            },
            State::Head(_) | State::Body(_) => self.fail(BadMessage::CutOff),
            State::End | State::Paused | State::Closed | State::Failed(_) => Ok(None),
        }
    }

    fn fail<T>(&mut self, bad: BadMessage) -> Result<T, BadMessage> {
        self.state = State::Failed(bad);
        self.input = Bytes::new();
        Err(bad)
    }

    fn follow(&mut self) {
        self.state = match self.next {
            Next::Message => State::Head(Scan::default()),
            Next::Verdict { .. } => State::Paused,
            Next::Tunnel => State::Body(Rest::Everything),
            Next::Nothing => State::Closed,
        };
        if self.is_closed() {
            self.input = Bytes::new();
        }
    }

    fn head(&mut self) -> Result<Option<Part>, BadMessage> {
        if self.input.is_empty() {
            return Ok(None);
        }
        match self.read_head() {
            Ok(head) => Ok(head.map(Part::Head)),
            Err(bad) => self.fail(bad),
        }
    }

    fn read_head(&mut self) -> Result<Option<Head>, BadMessage> {
        let to = self.awaited.front().copied();
        if self.side == Side::Response && to.is_none() {
            return Err(BadMessage::Unsolicited);
        }
        let State::Head(scan) = &mut self.state else { return Ok(None) };
        let Some(length) = scan.end_of_head(&self.input, self.side, self.limits.head)? else { return Ok(None) };
        let raw = self.input.split_to(length);
        let (head, body) = match self.side {
            Side::Request => {
                let head = RequestHead::parse(raw)?;
                self.next = after_request(&head);
                let body = head.body;
                (Head::Request(head), body)
            }
            Side::Response => {
                let head = ResponseHead::parse(raw, to.unwrap_or_default())?;
                self.next = self.after_response(&head);
                let body = head.body;
                (Head::Response(head), body)
            }
        };
        self.state = match body {
            BodyKind::None | BodyKind::Length(0) => State::End,
            BodyKind::Length(length) => State::Body(Rest::Bytes(length)),
            BodyKind::Chunked => State::Body(Rest::Chunks(Chunks::new(ChunkLimits {
                line: self.limits.chunk_line,
                trailers: self.limits.trailers,
            }))),
            BodyKind::UntilClose | BodyKind::Tunnel => State::Body(Rest::Everything),
        };
        Ok(Some(head))
    }

    fn after_response(&mut self, head: &ResponseHead) -> Next {
        if head.is_interim() {
            return Next::Message;
        }
        self.awaited.pop_front();
        if head.keep_alive { Next::Message } else { Next::Nothing }
    }

    fn body(&mut self) -> Result<Option<Part>, BadMessage> {
        let State::Body(rest) = &mut self.state else { return Ok(None) };
        if self.input.is_empty() {
            return Ok(None);
        }
        let body = match rest {
            Rest::Everything => Body::plain(std::mem::take(&mut self.input)),
            Rest::Bytes(left) => {
                let length = usize::try_from(*left).unwrap_or(usize::MAX).min(self.input.len());
                *left -= length as u64;
                if *left == 0 {
                    self.state = State::End;
                }
                Body::plain(self.input.split_to(length))
            }
            Rest::Chunks(chunks) => {
                let from = *chunks;
                let (length, bad) = chunks.pass(&self.input);
                if chunks.is_done() {
                    self.state = State::End;
                }
                let raw = self.input.split_to(length);
                match bad {
                    Some(bad) if raw.is_empty() => return self.fail(bad),
                    // What is right goes out all the same, so that the error is at one byte however they came.
                    Some(bad) => {
                        self.state = State::Failed(bad);
                        self.input = Bytes::new();
                    }
                    None => {}
                }
                Body::chunked(raw, from)
            }
        };
        Ok(Some(Part::Body(body)))
    }
}

/// RFC 9112 section 9.6: behind a request with `close` no other is looked at. RFC 9110 sections 7.8 and 9.3.6: what
/// follows CONNECT, or a request for another protocol, depends on the response.
fn after_request(head: &RequestHead) -> Next {
    if head.is_connect() || head.upgrade {
        Next::Verdict { last: !head.keep_alive }
    } else if head.keep_alive {
        Next::Message
    } else {
        Next::Nothing
    }
}
