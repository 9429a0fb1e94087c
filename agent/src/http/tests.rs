//! The framer from outside: fed a stream in pieces, asked for all of its parts.

mod exchange;
mod property;
mod rules;

use super::{BadMessage, BodyKind, Framer, Head, Limits, Part, RequestHead, ResponseHead, ResponseTo, Side};
use bytes::Bytes;
use std::fmt::Write;

/// What a framer said of a stream, with the pieces of each body put together again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Told {
    /// One line a part.
    parts: Vec<String>,
    /// All bytes that came out.
    raw: Vec<u8>,
    /// The payload of all bodies.
    payload: Vec<u8>,
    error: Option<BadMessage>,
}

impl Told {
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
                assert!(!body.raw().is_empty(), "a piece without bytes");
                self.raw.extend_from_slice(body.raw());
                let before = self.payload.len();
                body.payload().for_each(|run| self.payload.extend_from_slice(&run));
                let payload = self.payload[before..].iter().map(|byte| char::from(*byte)).collect::<String>();
                match self.parts.last_mut().filter(|last| last.starts_with("body ")) {
                    Some(last) => last.push_str(&payload),
                    None => self.parts.push(format!("body {payload}")),
                }
            }
            Part::End => self.parts.push("end".to_owned()),
        }
    }

    /// The parts and the error in one line.
    fn line(&self) -> String {
        let mut line = self.parts.join(" | ");
        if let Some(error) = self.error {
            let _ = write!(line, "{}error {error:?}", if line.is_empty() { "" } else { " | " });
        }
        line
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

fn drain(framer: &mut Framer, told: &mut Told) {
    loop {
        match framer.next() {
            Ok(Some(part)) => told.take(&part),
            Ok(None) => return,
            Err(bad) => {
                assert_eq!(framer.next().err(), Some(bad), "an error stays");
                told.error = Some(bad);
                return;
            }
        }
    }
}

fn finish(framer: &mut Framer, told: &mut Told) {
    while told.error.is_none() {
        match framer.end() {
            Ok(Some(part)) => told.take(&part),
            Ok(None) => return,
            Err(bad) => told.error = Some(bad),
        }
    }
}

/// Feeds a stream to a framer, cut after so many bytes each, and ends it.
fn tell(mut framer: Framer, stream: &[u8], mut cuts: impl Iterator<Item = usize>) -> Told {
    let mut told = Told::default();
    let mut rest = Bytes::copy_from_slice(stream);
    while !rest.is_empty() {
        let length = cuts.next().unwrap_or(usize::MAX).clamp(1, rest.len());
        framer.push(rest.split_to(length));
        drain(&mut framer, &mut told);
    }
    finish(&mut framer, &mut told);
    told
}

fn requests(stream: &[u8]) -> Told {
    tell(Framer::requests(Limits::default()), stream, std::iter::empty())
}

fn responses(stream: &[u8], asked: &[ResponseTo]) -> Told {
    tell(expecting(asked), stream, std::iter::empty())
}

fn expecting(asked: &[ResponseTo]) -> Framer {
    let mut framer = Framer::responses(Limits::default());
    for to in asked {
        assert!(framer.expect(*to));
    }
    framer
}

const GET: ResponseTo = ResponseTo { head: false, connect: false, upgrade: false };
const HEAD: ResponseTo = ResponseTo { head: true, connect: false, upgrade: false };
const CONNECT: ResponseTo = ResponseTo { head: false, connect: true, upgrade: false };
const UPGRADE: ResponseTo = ResponseTo { head: false, connect: false, upgrade: true };
