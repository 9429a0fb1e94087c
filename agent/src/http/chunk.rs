//! Chunked bodies: which of their bytes are payload, and how payload is put into chunks.
//!
//! A state machine that looks at each byte of the framing once and skips over payload; it holds no bytes, so a body
//! is streamed however it is chunked. `framing.rs` runs it over what came; a fault that changes a body runs it again
//! over the pieces for their payload.
//!
//! Invariant: it stops at the first byte that RFC 9112 section 7.1 does not allow there, and says so for ever.

use super::error::{BadMessage, Piece};
use bytes::Bytes;

/// The end of a chunked body without trailers.
pub(crate) const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Payload as one chunk; nothing for no payload, since an empty chunk would end the body.
pub(crate) fn chunk(payload: Bytes) -> [Bytes; 3] {
    if payload.is_empty() {
        return [Bytes::new(), Bytes::new(), Bytes::new()];
    }
    [Bytes::from(format!("{:x}\r\n", payload.len())), payload, Bytes::from_static(b"\r\n")]
}

/// How long lines of the framing may be, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChunkLimits {
    /// A chunk's size with its extensions.
    pub(crate) line: u32,
    /// The whole trailer section.
    pub(crate) trailers: u32,
}

/// What the next byte is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// The first digit of a size.
    Size,
    /// Another digit, or what ends them.
    Digits,
    /// White space before an extension.
    Blank,
    /// White space before an extension's name, or its first byte.
    ExtensionName,
    Extension,
    SizeLineFeed,
    Data,
    DataReturn,
    DataLineFeed,
    /// The first byte of a trailer, or of the empty line that ends the body.
    Line,
    Name,
    Value,
    LineLineFeed,
    LastLineFeed,
    Done,
}

/// A row of bytes of one sort.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    /// How many.
    pub(crate) length: usize,
    /// Whether they are payload.
    pub(crate) payload: bool,
}

/// Where in a chunked body a stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chunks {
    at: At,
    /// Of the chunk under way; counted down as its payload passes.
    size: u64,
    /// Bytes that the line, or the trailer section, may still have.
    room: u32,
    limits: ChunkLimits,
}

impl Chunks {
    /// Before the first byte of a chunked body.
    pub(crate) fn new(limits: ChunkLimits) -> Self {
        Self { at: At::Size, size: 0, room: limits.line, limits }
    }

    /// Whether the body is whole.
    pub(crate) fn is_done(&self) -> bool {
        self.at == At::Done
    }

    /// The first row of bytes of one sort in `input`, and what is wrong with the byte after it. No row, of length
    /// zero, when the body is done or nothing is left.
    pub(crate) fn run(&mut self, input: &[u8]) -> (Run, Option<BadMessage>) {
        if self.at == At::Data {
            let length = usize::try_from(self.size).unwrap_or(usize::MAX).min(input.len());
            self.size -= length as u64;
            if self.size == 0 {
                self.at = At::DataReturn;
            }
            return (Run { length, payload: true }, None);
        }
        let mut length = 0;
        let framing = |length| Run { length, payload: false };
        while let Some(&byte) = input.get(length) {
            if matches!(self.at, At::Data | At::Done) {
                break;
            }
            if let Err(bad) = self.step(byte) {
                return (framing(length), Some(bad));
            }
            length += 1;
        }
        (framing(length), None)
    }

    /// How many bytes of `input` belong to the body, and what is wrong with the byte after them.
    pub(crate) fn pass(&mut self, input: &[u8]) -> (usize, Option<BadMessage>) {
        let mut passed = 0;
        while passed < input.len() && !self.is_done() {
            let (run, bad) = self.run(&input[passed..]);
            passed += run.length;
            if bad.is_some() {
                return (passed, bad);
            }
        }
        (passed, None)
    }

    fn step(&mut self, byte: u8) -> Result<(), BadMessage> {
        self.spend()?;
        self.at = match self.at {
            At::Size | At::Digits if byte.is_ascii_hexdigit() => self.digit(byte)?,
            At::Size => return Err(BadMessage::ChunkSize),
            At::Digits | At::Blank => match byte {
                b' ' | b'\t' => At::Blank,
                b';' => At::ExtensionName,
                // White space is for extensions only: some stop at it, some skip it.
                b'\r' if self.at == At::Digits => At::SizeLineFeed,
                _ => return Err(BadMessage::ChunkSize),
            },
            At::ExtensionName | At::Extension => self.extension(byte)?,
            At::SizeLineFeed => match (byte, self.size) {
                (b'\n', 0) => self.renew(self.limits.trailers, At::Line),
                (b'\n', _) => self.renew(self.limits.line, At::Data),
                _ => return Err(BadMessage::ChunkSize),
            },
            At::DataReturn if byte == b'\r' => At::DataLineFeed,
            At::DataLineFeed if byte == b'\n' => self.renew(self.limits.line, At::Size),
            At::DataReturn | At::DataLineFeed => return Err(BadMessage::ChunkEnd),
            At::Line | At::Name | At::Value | At::LineLineFeed | At::LastLineFeed => self.trailer(byte)?,
            At::Data | At::Done => return Ok(()),
        };
        Ok(())
    }

    fn digit(&mut self, byte: u8) -> Result<At, BadMessage> {
        // At a line's start the size is 0: that is how the last chunk's payload left it.
        let digit = char::from(byte).to_digit(16).map_or(0, u64::from);
        self.size = self.size.checked_mul(16).ok_or(BadMessage::ChunkTooLarge)? + digit;
        Ok(At::Digits)
    }

    fn extension(&self, byte: u8) -> Result<At, BadMessage> {
        match (self.at, byte) {
            (At::ExtensionName, b' ' | b'\t') => Ok(At::ExtensionName),
            (At::ExtensionName, _) if !is_token(byte) => Err(BadMessage::ChunkExtension),
            (At::Extension, b'\r') => Ok(At::SizeLineFeed),
            _ if is_text(byte) => Ok(At::Extension),
            _ => Err(BadMessage::ChunkExtension),
        }
    }

    /// RFC 9112 section 7.1.2: fields as in a head, without folded lines and white space before the colon.
    fn trailer(&self, byte: u8) -> Result<At, BadMessage> {
        match (self.at, byte) {
            (At::Line, b'\r') => Ok(At::LastLineFeed),
            (At::Name, b':') => Ok(At::Value),
            (At::Line | At::Name, _) if is_token(byte) => Ok(At::Name),
            (At::Value, b'\r') => Ok(At::LineLineFeed),
            (At::Value, _) if is_text(byte) => Ok(At::Value),
            (At::LineLineFeed, b'\n') => Ok(At::Line),
            (At::LastLineFeed, b'\n') => Ok(At::Done),
            _ => Err(BadMessage::Trailer),
        }
    }

    /// A new line or section begins with the next byte.
    fn renew(&mut self, room: u32, at: At) -> At {
        self.room = room;
        at
    }

    fn spend(&mut self) -> Result<(), BadMessage> {
        let in_trailers = matches!(self.at, At::Line | At::Name | At::Value | At::LineLineFeed | At::LastLineFeed);
        let (piece, limit) = match in_trailers {
            true => (Piece::Trailers, self.limits.trailers),
            false => (Piece::ChunkLine, self.limits.line),
        };
        self.room = self.room.checked_sub(1).ok_or(BadMessage::TooLarge { piece, limit })?;
        Ok(())
    }
}

/// RFC 9110 section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// What a line may hold: everything but control bytes, and the tab.
pub(super) fn is_text(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~' | 0x80..)
}
