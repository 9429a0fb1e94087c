//! Why a message is refused, and what a proxy answers to it.
//!
//! A refusal always ends the stream that it is about: where the next message would begin is no longer known, and a
//! guess is how two programs come to read one stream as two different rows of messages.
//!
//! Invariant: a reason is about the bytes up to one place in the stream, however they were cut into reads.

use super::Side;

/// What outgrew its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece {
    /// The request line or the status line.
    StartLine,
    /// Start line and fields.
    Head,
    /// The size of a chunk with its extensions.
    ChunkLine,
    /// The fields after the last chunk.
    Trailers,
}

impl std::fmt::Display for Piece {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::StartLine => "start line",
            Self::Head => "head",
            Self::ChunkLine => "line of a chunk's size",
            Self::Trailers => "trailer section",
        })
    }
}

/// A message that cannot be passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadMessage {
    /// A part of it that must be held, or read line by line, has no end in sight.
    #[error("the {piece} has more than {limit} bytes")]
    TooLarge {
        /// Which part.
        piece: Piece,
        /// How many bytes it may have.
        limit: u32,
    },
    /// More fields than are looked at.
    #[error("the head has more than {0} fields")]
    TooManyFields(usize),
    /// A control byte where there is none in HTTP; most often the other side speaks another protocol.
    #[error("the head has the control byte {0:#04x}")]
    ControlByte(u8),
    /// RFC 9112 section 2.2 lets a recipient take it for a line's end; those that do and those that do not see two
    /// different messages.
    #[error("a line of the head ends by LF without CR")]
    BareLineFeed,
    /// RFC 9112 section 2.2.
    #[error("the head has a CR without LF")]
    BareCarriageReturn,
    /// The first line is no request line or status line.
    #[error("the start line is not HTTP")]
    StartLine,
    /// HTTP, but neither 1.0 nor 1.1.
    #[error("the version is neither HTTP/1.0 nor HTTP/1.1")]
    Version,
    /// RFC 9110 section 15.
    #[error("the status is not from 100 to 999")]
    Status,
    /// A name that is no token, white space before the colon (RFC 9112 section 5.1), or a folded line (5.2).
    #[error("a field's name is not a token directly before its colon")]
    FieldName,
    /// A byte that no value has.
    #[error("a field's value has a byte that is not allowed")]
    FieldValue,
    /// RFC 9112 section 6.3, item 5.
    #[error("Content-Length is not a number of bytes")]
    Length,
    /// RFC 9112 section 6.3, item 5.
    #[error("two values of Content-Length differ")]
    LengthsDiffer,
    /// RFC 9112 section 6.3, item 3.
    #[error("both Content-Length and Transfer-Encoding")]
    LengthAndCoding,
    /// RFC 9112 section 6.1.
    #[error("Transfer-Encoding in HTTP/1.0")]
    CodingInOldVersion,
    /// It is no list of codings, or `chunked` has parameters or is there twice.
    #[error("Transfer-Encoding is not a list of codings with chunked at most once")]
    Coding,
    /// RFC 9112 section 6.3, item 4.
    #[error("the last transfer coding of a request is not chunked")]
    ChunkedNotLast,
    /// RFC 9112 section 6.1.
    #[error("a transfer coding that is not known")]
    UnknownCoding,
    /// RFC 9112 section 7.1.
    #[error("a chunk's size is not a hexadecimal number")]
    ChunkSize,
    /// RFC 9112 section 7.1: a recipient must guard against it.
    #[error("a chunk's size does not fit into 64 bits")]
    ChunkTooLarge,
    /// RFC 9112 section 7.1.1.
    #[error("a chunk's extension is not written as one")]
    ChunkExtension,
    /// The data is not followed by CRLF.
    #[error("a chunk does not end where its size says")]
    ChunkEnd,
    /// RFC 9112 section 7.1.2.
    #[error("a line of the trailer section is not a field")]
    Trailer,
    /// A response that nobody asked for.
    #[error("bytes from the upstream while no response is due")]
    Unsolicited,
    /// RFC 9110 section 15.2.2: 101 answers a request that asked for it.
    #[error("101 to a request that asked for no upgrade")]
    UnaskedUpgrade,
    /// The stream ended in the middle of a message.
    #[error("the stream ended in the middle of a message")]
    CutOff,
    /// The stream ended before a response that is due began.
    #[error("the stream ended before a response that is due")]
    Unanswered,
}

impl BadMessage {
    /// The status that a proxy answers the client with: to a bad response always 502.
    pub(crate) fn status(self, side: Side) -> u16 {
        match (side, self) {
            (Side::Response, _) => 502,
            (Side::Request, Self::TooLarge { piece: Piece::StartLine, .. }) => 414,
            (Side::Request, Self::TooLarge { .. } | Self::TooManyFields(_)) => 431,
            (Side::Request, Self::UnknownCoding) => 501,
            (Side::Request, Self::Version) => 505,
            (Side::Request, _) => 400,
        }
    }
}
