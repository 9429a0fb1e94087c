//! `http_body`: the body of the request or of the response is replaced, cut, kept back or blown up.
//!
//! It is streamed, never collected; a chunked body is put into chunks anew where its payload changes, and its trailers
//! are lost. `Content-Length` follows, unless `mismatch`: then the length of before is told (or the last chunk is left
//! out, or more comes behind it), and since nobody knows where the message ends, the connection closes behind it, as the
//! stream to the upstream does behind a request. `replace` also drops `Content-Encoding`. `oversize` adds blanks. `hang`
//! holds the body back. A message that has no body by its nature (to HEAD, 204, 304, a GET, a tunnel) stays as it is.
//!
//! Acts (and counts a hit) when it changes the head or keeps the body back; when a body whose length was not told is cut.
//! When the fault goes, what was begun is ended so that the message stays whole; where more was promised than can come
//! then, the connection is reset.
//!
//! Invariant: without `mismatch`, what comes out is a well-formed message.

use super::{Asked, Ending, Item, Stage, StageContext, hold::Hold, http_headers::edited, http_latency::is_interim};
use crate::http::{BodyKind, Decoder, Edit, Head, LAST_CHUNK, chunk};
use bytes::Bytes;
use squall_wire::{FaultKind, fault::HttpBody};
use std::{collections::VecDeque, sync::Arc, time::Instant};

/// Blanks that are added at a time.
static BLANKS: [u8; 16 * 1024] = [b' '; 16 * 1024];

/// What becomes of the message under way.
enum State {
    /// Its head has not come.
    Before,
    /// It passes as it is.
    Passing,
    /// So much of its payload passes.
    Cutting { left: u64, decoder: Decoder },
    /// Nothing of it passes any more.
    Dropping,
    /// Nothing of it passes until the fault goes.
    Hanging,
    /// It passes, and more comes behind it.
    Growing { decoder: Decoder },
    /// More comes; then what ends the message.
    Padding { left: u64 },
}

/// Changes the body of one message.
pub(crate) struct Changer {
    body: HttpBody,
    asked: Option<Arc<Asked>>,
    upstream: bool,
    state: State,
    /// How the message was framed when it came.
    kind: BodyKind,
    hold: Hold,
    /// What comes after `hold`: behind the padding, or when nothing hangs any more.
    behind: Hold,
}

impl Changer {
    pub(crate) fn new(body: HttpBody, context: &StageContext<'_>) -> Self {
        Self {
            body,
            asked: context.asked.cloned(),
            upstream: context.upstream,
            state: State::Before,
            kind: BodyKind::None,
            hold: Hold::default(),
            behind: Hold::default(),
        }
    }

    fn is_chunked(&self) -> bool {
        self.kind == BodyKind::Chunked
    }

    /// Whether the length that is told will be wrong.
    fn lies(&self) -> bool {
        self.body.mismatch && self.kind != BodyKind::UntilClose
    }

    /// The length of a body of `length` once it is changed; none if it is not.
    fn length_after(&self, length: u64) -> Option<u64> {
        if let Some(text) = &self.body.replace {
            return Some(text.len() as u64);
        }
        if let Some(limit) = self.body.truncate {
            return (limit.get() < length).then_some(limit.get());
        }
        self.body.oversize.map(|more| length.saturating_add(more.get()))
    }

    /// Whether the head of such a message changes, or nothing follows it.
    fn acts_on(&self, head: &Head) -> bool {
        let told = match head.body() {
            BodyKind::None | BodyKind::Tunnel => return false,
            BodyKind::Length(length) => self.length_after(length).is_some(),
            BodyKind::Chunked | BodyKind::UntilClose => self.body.replace.is_some() || self.body.oversize.is_some(),
        };
        told || self.body.hang || self.body.content_type.is_some()
    }

    fn begin(&mut self, head: Box<Head>) {
        if is_interim(&head) {
            return self.hold.push(Item::Head(head));
        }
        self.kind = head.body();
        let decoder = Decoder::of(self.kind);
        let state = match self.kind {
            BodyKind::None | BodyKind::Tunnel => State::Passing,
            _ if self.body.replace.is_some() => State::Dropping,
            _ if self.body.hang => State::Hanging,
            _ if self.body.oversize.is_some() => State::Growing { decoder },
            BodyKind::Length(length) if self.length_after(length).is_none() => State::Passing,
            _ => self.body.truncate.map_or(State::Passing, |limit| State::Cutting { left: limit.get(), decoder }),
        };
        let head = if self.acts_on(&head) { self.changed(head) } else { Ok(head) };
        // A body that changes behind a head that does not would be no message.
        self.state = if head.is_ok() { state } else { State::Passing };
        self.hold.push(Item::Head(head.unwrap_or_else(|as_it_was| as_it_was)));
        match self.body.replace.clone() {
            Some(text) if matches!(self.state, State::Dropping) => self.put_in_place(text),
            _ => self.cut_if_full(),
        }
    }

    /// The head with the new length and type; as it was, where that cannot be.
    fn changed(&self, head: Box<Head>) -> Result<Box<Head>, Box<Head>> {
        let length = match self.kind {
            BodyKind::Length(length) => self.length_after(length),
            _ => self.body.replace.as_ref().map(|text| text.len() as u64),
        };
        let length = length.filter(|_| !self.lies()).map(|length| length.to_string());
        let mut edit = Edit::default();
        if self.body.replace.is_some() {
            edit.remove.push("content-encoding");
            if length.is_some() {
                edit.remove.extend(["transfer-encoding", "trailer"]);
            }
        }
        edit.set.extend(length.as_deref().map(|length| ("Content-Length", length)));
        edit.set.extend(self.body.content_type.as_deref().map(|value| ("Content-Type", value)));
        if edit.changes(head.fields()) { edited(&head, &edit, self.asked.as_ref()).ok_or(head) } else { Ok(head) }
    }

    fn put_in_place(&mut self, text: String) {
        let text = Bytes::from(text);
        if self.lies() && self.is_chunked() {
            self.emit_chunk(text);
        } else {
            self.hold.push(Item::Bytes(text));
        }
        if self.lies() {
            self.close();
        }
    }

    fn emit_chunk(&mut self, payload: Bytes) {
        chunk(payload).into_iter().filter(|part| !part.is_empty()).for_each(|part| self.hold.push(Item::Bytes(part)));
    }

    fn emit(&mut self, payload: Bytes) {
        if self.is_chunked() { self.emit_chunk(payload) } else { self.hold.push(Item::Bytes(payload)) }
    }

    /// Nothing can follow, for nobody knows where the message ends.
    fn close(&mut self) {
        self.hold.push(Item::End(if self.upstream { Ending::Eof } else { Ending::Close }));
    }

    /// Passes what is within the limit, and ends the message where it is exceeded.
    fn cut(&mut self, raw: Bytes) {
        let State::Cutting { left, decoder } = &mut self.state else { return };
        let mut passing = Vec::new();
        let mut exceeded = false;
        for mut payload in decoder.payload(raw) {
            let room = usize::try_from(*left).unwrap_or(usize::MAX);
            exceeded |= payload.len() > room;
            payload.truncate(room);
            *left -= payload.len() as u64;
            passing.push(payload);
        }
        passing.into_iter().filter(|payload| !payload.is_empty()).for_each(|payload| self.emit(payload));
        if exceeded {
            self.end_cut();
        } else {
            self.cut_if_full();
        }
    }

    /// A body whose length was told is known to be longer, so its cut needs no byte more.
    fn cut_if_full(&mut self) {
        if matches!((&self.state, self.kind), (State::Cutting { left: 0, .. }, BodyKind::Length(_))) {
            self.end_cut();
        }
    }

    fn end_cut(&mut self) {
        self.state = State::Dropping;
        if self.is_chunked() && !self.lies() {
            self.hold.push(Item::Bytes(Bytes::from_static(LAST_CHUNK)));
        }
        if self.lies() || self.kind == BodyKind::UntilClose {
            self.close();
        }
    }

    /// Whether more payload comes in these bytes than may pass.
    fn exceeds(&self, raw: &Bytes) -> bool {
        let State::Cutting { left, decoder } = &self.state else { return false };
        // Of a body whose length was told, the head has acted already.
        !matches!(self.kind, BodyKind::Length(_))
            && decoder.clone().payload(raw.clone()).iter().map(|payload| payload.len() as u64).sum::<u64>() > *left
    }

    fn grow(&mut self, raw: Bytes) {
        let State::Growing { decoder } = &mut self.state else { return };
        if self.kind != BodyKind::Chunked || self.body.mismatch {
            return self.hold.push(Item::Bytes(raw));
        }
        decoder.payload(raw).into_iter().for_each(|payload| self.emit_chunk(payload));
    }

    fn end_message(&mut self) {
        match self.state {
            State::Cutting { .. } if self.is_chunked() => self.hold.push(Item::Bytes(Bytes::from_static(LAST_CHUNK))),
            State::Growing { .. } => {
                let left = self.body.oversize.map_or(0, |more| more.get());
                self.state = State::Padding { left };
                return;
            }
            _ => {}
        }
        self.hold.push(Item::End(Ending::Message));
    }

    /// The next of the bytes that are added, or what ends the message.
    fn pad(&mut self) {
        let State::Padding { left } = &mut self.state else { return };
        let length = usize::try_from(*left).unwrap_or(usize::MAX).min(BLANKS.len());
        *left -= length as u64;
        if length > 0 {
            let blanks = Bytes::from_static(&BLANKS[..length]);
            return if self.lies() { self.hold.push(Item::Bytes(blanks)) } else { self.emit(blanks) };
        }
        self.state = State::Passing;
        if self.is_chunked() && !self.lies() {
            self.hold.push(Item::Bytes(Bytes::from_static(LAST_CHUNK)));
        }
        self.hold.push(Item::End(Ending::Message));
        if self.lies() {
            self.close();
        }
        self.behind.release().into_iter().for_each(|item| self.hold.push(item));
    }
}

impl Stage for Changer {
    fn accepts(&self) -> bool {
        !self.hold.is_full() && !self.behind.is_full()
    }

    fn reads_heads(&self) -> bool {
        true
    }

    fn touches(&self, item: &Item, _: Instant) -> bool {
        match (&self.state, item) {
            (State::Before, Item::Head(head)) => !is_interim(head) && self.acts_on(head),
            (State::Cutting { .. }, Item::Bytes(raw)) => self.exceeds(raw),
            _ => false,
        }
    }

    fn push(&mut self, item: Item, _: Instant) {
        match (&self.state, item) {
            (State::Before, Item::Head(head)) => self.begin(head),
            (State::Hanging | State::Padding { .. }, item) => self.behind.push(item),
            (State::Dropping, Item::Bytes(_)) => {}
            (State::Cutting { .. }, Item::Bytes(raw)) => self.cut(raw),
            (State::Growing { .. }, Item::Bytes(raw)) => self.grow(raw),
            (_, Item::End(Ending::Message)) => self.end_message(),
            (_, item) => self.hold.push(item),
        }
    }

    fn pull(&mut self, _: Instant) -> Option<Item> {
        if self.hold.is_empty() {
            self.pad();
        }
        self.hold.pop()
    }

    fn due(&self, now: Instant) -> Option<Instant> {
        (!self.hold.is_empty() || matches!(self.state, State::Padding { .. })).then_some(now)
    }

    /// A message whose change has begun keeps it, but for one that hangs and shall not.
    fn change(&mut self, kind: &FaultKind, _: Instant) {
        let FaultKind::HttpBody(body) = kind else { return };
        match self.state {
            State::Before => self.body = body.clone(),
            State::Hanging if !body.hang => {
                self.state = State::Passing;
                self.behind.release().into_iter().for_each(|item| self.hold.push(item));
            }
            _ => {}
        }
    }

    fn stays(&mut self) -> bool {
        let chunked = self.is_chunked();
        match &mut self.state {
            State::Dropping => true,
            State::Cutting { left, .. } if chunked => {
                *left = u64::MAX;
                true
            }
            State::Growing { .. } if chunked && !self.body.mismatch => {
                self.body.oversize = None;
                true
            }
            State::Padding { left } if chunked && !self.body.mismatch => {
                *left = 0;
                true
            }
            _ => false,
        }
    }

    fn release(&mut self) -> VecDeque<Item> {
        let promised = matches!(self.state, State::Growing { .. } | State::Padding { .. });
        let cut_short = matches!(self.state, State::Cutting { .. });
        let told = matches!(self.kind, BodyKind::Length(_)) && !self.body.mismatch;
        let mut held = self.hold.release();
        if (promised || cut_short) && told {
            held.push_back(Item::End(Ending::Reset));
        } else if let State::Padding { .. } = self.state {
            held.push_back(Item::End(Ending::Message));
        }
        held.extend(self.behind.release());
        held
    }
}
