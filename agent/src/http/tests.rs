//! The framer from outside: fed a stream in pieces, asked for all of its parts; and conversations, with both peers played.

mod conversation;
mod exchange;
mod property;
mod rules;

use super::{BadMessage, Framer, Limits, ResponseTo, Side};
use crate::inside::Transcript;

/// Feeds a stream to a framer, cut after so many bytes each, and ends it; what waits for a verdict goes on waiting.
fn tell(mut framer: Framer, stream: &[u8], cuts: impl Iterator<Item = usize>) -> Transcript {
    Transcript::of(&mut framer, stream, cuts, |_| {})
}

fn requests(stream: &[u8]) -> Transcript {
    tell(Framer::requests(Limits::default()), stream, std::iter::empty())
}

fn responses(stream: &[u8], asked: &[ResponseTo]) -> Transcript {
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
