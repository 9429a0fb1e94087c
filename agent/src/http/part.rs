//! What a framer says of a stream: heads, pieces of bodies, ends.
//!
//! Made by `framing.rs`. A piece carries its bytes as they came; for a fault that changes bodies it finds their
//! payload again, so that nobody pays for it who passes them on.

use super::{
    chunk::{ChunkLimits, Chunks},
    head::{Fields, RequestHead, ResponseHead},
    length::BodyKind,
};
use bytes::Bytes;

/// The head of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Head {
    /// Of a request.
    Request(RequestHead),
    /// Of a response.
    Response(ResponseHead),
}

impl Head {
    /// Its fields.
    pub(crate) fn fields(&self) -> &Fields {
        match self {
            Self::Request(head) => head.fields(),
            Self::Response(head) => head.fields(),
        }
    }

    /// What follows it.
    pub(crate) fn body(&self) -> BodyKind {
        match self {
            Self::Request(head) => head.body,
            Self::Response(head) => head.body,
        }
    }

    /// The head as it came.
    pub(crate) fn raw(&self) -> &Bytes {
        match self {
            Self::Request(head) => head.raw(),
            Self::Response(head) => head.raw(),
        }
    }
}

/// A piece of a body, cut where a read happened to end.
#[derive(Debug, Clone)]
pub(crate) struct Body {
    raw: Bytes,
    /// Where in a chunked body the piece begins.
    chunks: Option<Chunks>,
}

impl Body {
    pub(super) fn plain(raw: Bytes) -> Self {
        Self { raw, chunks: None }
    }

    pub(super) fn chunked(raw: Bytes, from: Chunks) -> Self {
        Self { raw, chunks: Some(from) }
    }

    /// The piece as it came, with the framing of chunks and with trailers.
    pub(crate) fn raw(&self) -> &Bytes {
        &self.raw
    }

    /// The payload in it, in order, without copying; none if all of it is framing.
    pub(crate) fn payload(&self) -> Payload {
        Payload { rest: self.raw.clone(), chunks: self.chunks }
    }
}

/// The runs of payload in a piece of a body.
#[derive(Debug)]
pub(crate) struct Payload {
    rest: Bytes,
    chunks: Option<Chunks>,
}

impl Iterator for Payload {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        while !self.rest.is_empty() {
            let Some(chunks) = &mut self.chunks else { return Some(std::mem::take(&mut self.rest)) };
            // The framer passed these bytes, so nothing in them is wrong and every run moves on.
            let (run, _) = chunks.run(&self.rest);
            if run.length == 0 {
                return None;
            }
            let bytes = self.rest.split_to(run.length);
            if run.payload {
                return Some(bytes);
            }
        }
        None
    }
}

/// Finds the payload of a whole body, piece by piece. The framer has passed these bytes before.
#[derive(Debug, Clone)]
pub(crate) struct Decoder {
    chunks: Option<Chunks>,
}

impl Decoder {
    /// For a body of this kind.
    pub(crate) fn of(body: BodyKind) -> Self {
        let limits = ChunkLimits { line: u32::MAX, trailers: u32::MAX };
        Self { chunks: (body == BodyKind::Chunked).then(|| Chunks::new(limits)) }
    }

    /// The payload in the next piece, in order, without copying.
    pub(crate) fn payload(&mut self, raw: Bytes) -> Vec<Bytes> {
        let mut runs = Payload { rest: raw, chunks: self.chunks };
        let payload = runs.by_ref().collect();
        self.chunks = runs.chunks;
        payload
    }
}

/// What comes next in a stream.
#[derive(Debug, Clone)]
pub(crate) enum Part {
    /// A message begins.
    Head(Head),
    /// A piece of its body.
    Body(Body),
    /// It is whole. An interim response is a message of its own, with an end of its own.
    End,
}
