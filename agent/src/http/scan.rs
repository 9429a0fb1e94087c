//! Finds the end of a head, byte by byte and each byte once.
//!
//! Refuses on its way what no head may hold, so that a client of another protocol is told at once and not when a
//! limit or a time-out is reached. Lines end by CRLF and by nothing else: RFC 9112 section 2.2 lets a recipient take
//! a bare LF too, but whoever passes it on unchanged would leave it to the next one to see another message there.
//!
//! Invariant: what is said depends on the bytes up to the place where it is said, not on how they came.

use super::{
    Side,
    chunk::is_text,
    error::{BadMessage, Piece},
    head,
};

/// How far a head has been looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Scan {
    /// The next byte to look at.
    at: usize,
    /// Where the line begins that it is in.
    line: usize,
    /// Lines that ended, without the empty ones before a request line.
    lines: usize,
}

impl Scan {
    /// Looks at what is new in `input`, which begins where the last head's message ended; the head's length once it
    /// is whole.
    pub(super) fn end_of_head(&mut self, input: &[u8], side: Side, limit: usize) -> Result<Option<usize>, BadMessage> {
        let end = input.len().min(limit);
        while self.at < end {
            let after_return = self.at > 0 && input[self.at - 1] == b'\r';
            if !after_return {
                self.at += input[self.at..end].iter().take_while(|byte| is_text(**byte)).count();
            }
            match (input[..end].get(self.at), after_return) {
                (None, _) => break,
                (Some(b'\n'), true) => {
                    if self.end_line(input, side)? {
                        return Ok(Some(self.at));
                    }
                }
                (Some(_), true) => return Err(BadMessage::BareCarriageReturn),
                (Some(b'\r'), false) => self.at += 1,
                (Some(b'\n'), false) => return Err(BadMessage::BareLineFeed),
                (Some(byte), false) => return Err(BadMessage::ControlByte(*byte)),
            }
        }
        if self.at < limit {
            return Ok(None);
        }
        let piece = if self.lines == 0 { Piece::StartLine } else { Piece::Head };
        Err(BadMessage::TooLarge { piece, limit: u32::try_from(limit).unwrap_or(u32::MAX) })
    }

    /// Steps over the LF that it stands on; whether the head ends with it.
    fn end_line(&mut self, input: &[u8], side: Side) -> Result<bool, BadMessage> {
        let empty = self.at == self.line + 1;
        self.at += 1;
        let line = std::mem::replace(&mut self.line, self.at);
        match (empty, self.lines, side) {
            // RFC 9112 section 2.2: a server ignores empty lines before a request line. Nothing is said of responses.
            (true, 0, Side::Request) => Ok(false),
            (true, 0, Side::Response) => Err(BadMessage::StartLine),
            (true, _, _) => Ok(true),
            (false, lines, _) => {
                if lines == 0 {
                    head::check_start_line(&input[line..self.at], side)?;
                }
                self.lines += 1;
                Ok(false)
            }
        }
    }

    /// Whether nothing of a message is there yet: no byte, or empty lines before a request line only.
    pub(super) fn is_before_message(&self, input: &[u8]) -> bool {
        self.lines == 0 && self.line == input.len()
    }
}
