//! Any bytes as a stream of requests and as a stream of responses, whole and cut.
//!
//! Above `http`. What is promised: no panic; the bytes that come out are those that went in, up to an error or the
//! last message; no cut changes what is said; payload put into chunks comes out of them again.

use super::Transcript;
use crate::http::{Framer, Head, LAST_CHUNK, Limits, Part, ResponseTo, chunk};
use bytes::Bytes;

/// What a response may answer, as far as it matters for where it ends.
const ASKED: [ResponseTo; 4] = [
    ResponseTo { head: false, connect: false, upgrade: false },
    ResponseTo { head: true, connect: false, upgrade: false },
    ResponseTo { head: false, connect: true, upgrade: false },
    ResponseTo { head: false, connect: false, upgrade: true },
];

/// So tight that streams of a few hundred bytes come to them.
const TIGHT: Limits = Limits { head: 200, chunk_line: 24, trailers: 40 };

/// Checks the framing of a stream in every way there is.
pub fn http_framing(stream: &[u8]) {
    (0..WAYS).for_each(|way| check_way(stream, way));
}

/// Checks it in one of the ways, which the stream decides: for a fuzzer, who tries many streams.
pub fn http_framing_once(stream: &[u8]) {
    check_way(stream, (hash(stream) >> 16) as usize % WAYS);
}

/// Either limits with either verdict on requests, or with either of the [`ASKED`].
const WAYS: usize = 2 * (2 + ASKED.len());

fn check_way(stream: &[u8], way: usize) {
    let limits = if way.is_multiple_of(2) { Limits::default() } else { TIGHT };
    match way / 2 {
        0 => check(&|| Framer::requests(limits), stream, Framer::tunnel),
        1 => check(&|| Framer::requests(limits), stream, Framer::resume),
        asked => check(&|| responses_to(ASKED[asked - 2], limits), stream, Framer::tunnel),
    }
}

fn responses_to(asked: ResponseTo, limits: Limits) -> Framer {
    let mut framer = Framer::responses(limits);
    while framer.expect(asked) {}
    framer
}

fn check(make: &dyn Fn() -> Framer, stream: &[u8], verdict: fn(&mut Framer)) {
    let mut framer = make();
    let whole = Transcript::of(&mut framer, stream, std::iter::empty(), verdict);
    assert!(stream.starts_with(&whole.raw), "other bytes came out than went in");
    if whole.error.is_none() && !framer.is_closed() {
        let rest = &stream[whole.raw.len()..];
        assert!(rest.chunks(2).all(|line| line == b"\r\n"), "bytes were lost between messages");
    }
    for cut in [bytewise(), scattered(stream)] {
        assert_eq!(Transcript::of(&mut make(), stream, cut, verdict), whole, "a cut changes what is said");
    }
    in_chunks(&whole.payload);
}

fn bytewise() -> Box<dyn Iterator<Item = usize>> {
    Box::new(std::iter::repeat(1))
}

/// Lengths from 1 to 16 that depend on the stream, so that a fuzzer finds cuts too.
fn scattered(stream: &[u8]) -> Box<dyn Iterator<Item = usize>> {
    let mut state = hash(stream);
    Box::new(std::iter::from_fn(move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        Some((state >> 28) as usize + 1)
    }))
}

fn hash(stream: &[u8]) -> u32 {
    stream.iter().fold(1, |sum: u32, byte| sum.wrapping_mul(0x0100_0193) ^ u32::from(*byte))
}

fn in_chunks(payload: &[u8]) {
    let mut stream = b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for piece in payload.chunks(19) {
        chunk(Bytes::copy_from_slice(piece)).iter().for_each(|bytes| stream.extend_from_slice(bytes));
    }
    stream.extend_from_slice(LAST_CHUNK);
    let mut framer = Framer::requests(Limits::default());
    let told = Transcript::of(&mut framer, &stream, std::iter::empty(), Framer::tunnel);
    assert!(told.error.is_none() && told.raw == stream && told.payload == payload, "chunks lost payload");
}

/// A stream of requests that is only counted; for measurements.
#[derive(Debug)]
pub struct RequestCounter {
    framer: Framer,
    /// Bytes of targets, so that heads are really looked into.
    targets: usize,
}

impl Default for RequestCounter {
    fn default() -> Self {
        Self { framer: Framer::requests(Limits::default()), targets: 0 }
    }
}

impl RequestCounter {
    /// Takes what was read; how many requests ended in it. A bad one ends the count.
    pub fn push(&mut self, bytes: Bytes) -> usize {
        self.framer.push(bytes);
        let mut ended = 0;
        while let Ok(Some(part)) = self.framer.next() {
            match part {
                Part::Head(Head::Request(head)) => self.targets += head.target().len(),
                Part::Head(Head::Response(_)) | Part::Body(_) => {}
                Part::End => ended += 1,
            }
        }
        ended
    }

    /// Bytes of the targets of all requests.
    #[must_use]
    pub fn targets(&self) -> usize {
        self.targets
    }
}
