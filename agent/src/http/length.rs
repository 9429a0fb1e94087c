//! How long a message's body is: RFC 9112 section 6.3, rule by rule.
//!
//! Where the RFC lets a recipient choose between refusing and repairing, a message that would have to be repaired
//! before it is passed on is refused: the proxy passes bytes on as they came.
//!
//! Invariant: nothing is passed on that two recipients who keep to the RFC could give two lengths.

use super::{
    error::BadMessage,
    head::{Fields, ResponseTo, Version, elements},
};

/// What follows a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyKind {
    /// Nothing; the message ends with its head.
    None,
    /// So many bytes.
    Length(u64),
    /// Chunks, then trailers.
    Chunked,
    /// Everything until the stream ends.
    UntilClose,
    /// Another protocol's bytes, for ever: after 101, or 2xx to CONNECT.
    Tunnel,
}

/// The last transfer coding of a message that has any.
enum Coding {
    Chunked,
    Other,
}

/// A request's body.
pub(super) fn of_request(version: Version, fields: &Fields) -> Result<BodyKind, BadMessage> {
    match (coding(version, fields, true)?, content_length(fields)?) {
        (Some(_), Some(_)) => Err(BadMessage::LengthAndCoding),
        (Some(Coding::Chunked), None) => Ok(BodyKind::Chunked),
        // Item 4: a request's length cannot be told without chunked at the end.
        (Some(Coding::Other), None) => Err(BadMessage::ChunkedNotLast),
        (None, Some(length)) => Ok(BodyKind::Length(length)),
        // Item 7.
        (None, None) => Ok(BodyKind::None),
    }
}

/// A response's body.
pub(super) fn of_response(
    version: Version,
    status: u16,
    fields: &Fields,
    to: ResponseTo,
) -> Result<BodyKind, BadMessage> {
    // Items 1 and 2 come first: here the fields do not count, whatever they say.
    match status {
        101 => return Ok(BodyKind::Tunnel),
        100..=199 | 204 | 304 => return Ok(BodyKind::None),
        _ if to.head => return Ok(BodyKind::None),
        200..=299 if to.connect => return Ok(BodyKind::Tunnel),
        _ => {}
    }
    match (coding(version, fields, false)?, content_length(fields)?) {
        (Some(_), Some(_)) => Err(BadMessage::LengthAndCoding),
        (Some(Coding::Chunked), None) => Ok(BodyKind::Chunked),
        (None, Some(length)) => Ok(BodyKind::Length(length)),
        // Items 4 and 8.
        (Some(Coding::Other) | None, None) => Ok(BodyKind::UntilClose),
    }
}

/// Item 5. The same number several times is let through as it came: all who read it read the same length.
fn content_length(fields: &Fields) -> Result<Option<u64>, BadMessage> {
    let mut length = None;
    for value in fields.all("content-length") {
        for number in value.split(|byte| *byte == b',') {
            let number = decimal(number.trim_ascii()).ok_or(BadMessage::Length)?;
            if *length.get_or_insert(number) != number {
                return Err(BadMessage::LengthsDiffer);
            }
        }
    }
    Ok(length)
}

/// RFC 9110 section 8.6: digits only, and a guard against overflow.
fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

/// RFC 9112 sections 6.1 and 7. The codings under chunked are not undone, so a response may have any; a request with one
/// that is not registered is answered with 501.
fn coding(version: Version, fields: &Fields, request: bool) -> Result<Option<Coding>, BadMessage> {
    if !fields.has("transfer-encoding") {
        return Ok(None);
    }
    if version == Version::Http10 {
        return Err(BadMessage::CodingInOldVersion);
    }
    let mut last = None;
    let mut chunked_before = false;
    for element in fields.all("transfer-encoding").flat_map(elements) {
        let name = element.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii_end();
        let is_chunked = name.eq_ignore_ascii_case(b"chunked");
        // Chunked has no parameters and comes once (section 7.1); a quoted parameter could hide a comma.
        if name.is_empty() || element.contains(&b'"') || (is_chunked && (chunked_before || element != name)) {
            return Err(BadMessage::Coding);
        }
        if request && !is_chunked && !is_registered(name) {
            return Err(BadMessage::UnknownCoding);
        }
        chunked_before |= is_chunked;
        last = Some(if is_chunked { Coding::Chunked } else { Coding::Other });
    }
    last.ok_or(BadMessage::Coding).map(Some)
}

fn is_registered(name: &[u8]) -> bool {
    ["gzip", "x-gzip", "deflate", "compress", "x-compress"]
        .iter()
        .any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
}
