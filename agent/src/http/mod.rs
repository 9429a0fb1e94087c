//! HTTP/1.1 on a proxied stream: what each run of its bytes is, without changing one.
//!
//! ```text
//!  bytes ──▶ framing ──▶ scan (where the head ends) ──▶ head (what it says) ──▶ length (how the body ends)
//!               │
//!               ├──────▶ chunk (where a chunked body ends, and which of its bytes are payload)
//!               ▼
//!            parts: head, pieces of the body, end; the next message
//! ```
//! Pure like a pipeline: it is fed and asked, and neither reads, writes nor waits. One [`Framer`] reads one direction
//! of one connection. `conversation` puts two of them, and the faults of each `exchange`, between a client and its
//! upstream; `ending` is how that ends, `count` what is known of each request afterwards; `connection` reads and writes for it. `edit` changes heads, `answer` makes
//! answers that no upstream gave.
//!
//! Invariant: heads and pieces of bodies together are the stream, byte for byte, and after a message that is refused
//! there is no other.

mod answer;
mod chunk;
mod connection;
mod conversation;
mod count;
mod edit;
mod ending;
mod error;
mod exchange;
mod framing;
mod head;
mod length;
mod outgoing;
mod part;
mod scan;

pub(crate) use answer::{Answer, AnswerTo, reason};
pub(crate) use chunk::{LAST_CHUNK, chunk};
pub(crate) use connection::HttpConnection;
pub(crate) use count::RequestTotals;
pub(crate) use edit::Edit;
pub(crate) use error::BadMessage;
pub(crate) use framing::{Framer, Limits};
pub(crate) use head::{MOST_FIELDS, RequestHead, ResponseHead, ResponseTo, Version};
pub(crate) use length::BodyKind;
pub(crate) use part::{Decoder, Head, Part};

/// Which messages a stream carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// Requests, from the client.
    Request,
    /// Responses, from the upstream.
    Response,
}

#[cfg(test)]
mod tests;
