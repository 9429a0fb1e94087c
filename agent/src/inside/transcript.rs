//! What a framer says of a whole stream, written down: to compare one way of cutting the stream with another, and a
//! stream with what it was meant to be.
//!
//! Invariant: two transcripts are equal when the framer said the same, wherever pieces of bodies were cut.

use crate::http::{BadMessage, BodyKind, Framer, Head, Part, RequestHead, ResponseHead};
use bytes::Bytes;
use std::fmt::Write;

/// All parts of a stream, with the pieces of each body put together again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Transcript {
    /// One line a part.
    pub(crate) parts: Vec<String>,
    /// All bytes that came out.
    pub(crate) raw: Vec<u8>,
    /// The payload of all bodies.
    pub(crate) payload: Vec<u8>,
    /// What ended it before its time.
    pub(crate) error: Option<BadMessage>,
}

impl Transcript {
    /// Feeds a stream to a framer, cut after so many bytes each, and ends it. `verdict` says what becomes of a stream
    /// behind a request for another protocol.
    pub(crate) fn of(
        framer: &mut Framer,
        stream: &[u8],
        mut cuts: impl Iterator<Item = usize>,
        verdict: fn(&mut Framer),
    ) -> Self {
        let mut told = Self::default();
        let mut rest = Bytes::copy_from_slice(stream);
        while !rest.is_empty() {
            let length = cuts.next().unwrap_or(usize::MAX).clamp(1, rest.len());
            framer.push(rest.split_to(length));
            told.take_all(framer);
            while framer.is_paused() {
                verdict(framer);
                if framer.is_paused() {
                    break;
                }
                told.take_all(framer);
            }
        }
        told.take_end(framer);
        told
    }

    /// Everything that the framer has to say now.
    pub(crate) fn take_all(&mut self, framer: &mut Framer) {
        loop {
            match framer.next() {
                Ok(Some(part)) => self.take(&part),
                Ok(None) => return,
                Err(bad) => {
                    assert_eq!(framer.next().err(), Some(bad), "an error stays");
                    self.error = Some(bad);
                    return;
                }
            }
        }
    }

    /// Everything that it has to say at the stream's end.
    pub(crate) fn take_end(&mut self, framer: &mut Framer) {
        while self.error.is_none() {
            match framer.end() {
                Ok(Some(part)) => self.take(&part),
                Ok(None) => return,
                Err(bad) => self.error = Some(bad),
            }
        }
    }

    fn take(&mut self, part: &Part) {
        match part {
            Part::Head(head) => {
                self.raw.extend_from_slice(head.raw());
                self.parts.push(match head {
                    Head::Request(head) => request_line(head),
                    Head::Response(head) => response_line(head),
                });
            }
            Part::Body(body) => {
                assert!(!body.raw().is_empty(), "a piece of a body without bytes");
                self.raw.extend_from_slice(body.raw());
                let before = self.payload.len();
                body.payload().for_each(|run| self.payload.extend_from_slice(&run));
                let payload: String = self.payload[before..].iter().map(|byte| char::from(*byte)).collect();
                match self.parts.last_mut().filter(|last| last.starts_with("body ")) {
                    Some(last) => last.push_str(&payload),
                    None => self.parts.push(format!("body {payload}")),
                }
            }
            Part::End => self.parts.push("end".to_owned()),
        }
    }
}

impl std::fmt::Display for Transcript {
    /// The parts and the error in one line.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.parts.join(" | "))?;
        match self.error {
            Some(error) if self.parts.is_empty() => write!(out, "error {error:?}"),
            Some(error) => write!(out, " | error {error:?}"),
            None => Ok(()),
        }
    }
}

fn request_line(head: &RequestHead) -> String {
    let mut line = format!("{} {} {}", head.method(), head.target(), body(head.body));
    for (flag, name) in [(head.keep_alive, "keeps"), (head.expect_continue, "waits"), (head.upgrade, "upgrades")] {
        if flag {
            let _ = write!(line, " {name}");
        }
    }
    line
}

fn response_line(head: &ResponseHead) -> String {
    format!("{} {}{}", head.status, body(head.body), if head.keep_alive { " keeps" } else { "" })
}

fn body(kind: BodyKind) -> String {
    match kind {
        BodyKind::None => "none".to_owned(),
        BodyKind::Length(length) => format!("length={length}"),
        BodyKind::Chunked => "chunked".to_owned(),
        BodyKind::UntilClose => "until-close".to_owned(),
        BodyKind::Tunnel => "tunnel".to_owned(),
    }
}
