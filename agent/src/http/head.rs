//! The heads of requests and responses: what their bytes say, beside the bytes themselves.
//!
//! `httparse` reads the syntax; `length.rs` reads how long the body is. `framing.rs` makes these once `scan.rs` has
//! found a head's end.
//!
//! Invariant: `raw` is what came, byte for byte; names and values are places in it, never copies that could differ.

use super::{
    Side,
    error::BadMessage,
    length::{self, BodyKind},
};
use bytes::Bytes;
use httparse::{Header, ParserConfig, Status};
use std::{mem::MaybeUninit, ops::Range};

/// Fields of a head that are looked at; a head that comes with more is refused.
pub(crate) const MOST_FIELDS: usize = 128;

/// Room for the fields of a head that came.
type Room<'a> = [MaybeUninit<Header<'a>>; MOST_FIELDS];

/// The protocol's minor version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Version {
    /// `HTTP/1.0`
    Http10,
    /// `HTTP/1.1`
    Http11,
}

impl Version {
    fn from_minor(minor: Option<u8>) -> Result<Self, BadMessage> {
        match minor {
            Some(0) => Ok(Self::Http10),
            Some(1) => Ok(Self::Http11),
            _ => Err(BadMessage::Version),
        }
    }
}

/// A place in the raw bytes of a head.
pub(super) type Place = Range<u32>;

/// The bytes of a head, and where its fields are in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fields {
    pub(super) raw: Bytes,
    pub(super) places: Vec<(Place, Place)>,
}

impl Fields {
    fn new(raw: Bytes, parsed: &[Header<'_>]) -> Self {
        let places =
            parsed.iter().map(|field| (place_of(&raw, field.name.as_bytes()), place_of(&raw, field.value))).collect();
        Self { raw, places }
    }

    fn bytes(&self, place: &Place) -> &[u8] {
        &self.raw[place.start as usize..place.end as usize]
    }

    fn text(&self, place: &Place) -> &str {
        // Names, methods and targets were checked to be text when they were parsed.
        std::str::from_utf8(self.bytes(place)).unwrap_or_default()
    }

    /// Names and values in order, values without the white space around them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.places.iter().map(|(name, value)| (self.text(name), self.bytes(value)))
    }

    /// The values of all fields of this name, in order.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let named = move |place: &Place| self.bytes(place).eq_ignore_ascii_case(name.as_bytes());
        self.places.iter().filter(move |(name, _)| named(name)).map(|(_, value)| self.bytes(value))
    }

    /// Whether there is a field of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.all(name).next().is_some()
    }

    /// Whether a field of this name has this element in its comma-separated list.
    pub(crate) fn lists(&self, name: &str, element: &str) -> bool {
        self.all(name).flat_map(elements).any(|found| found.eq_ignore_ascii_case(element.as_bytes()))
    }
}

/// The elements of a comma-separated list, without white space and without the empty ones (RFC 9110 section 5.6.1.2).
pub(super) fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|element| !element.is_empty())
}

/// Where `piece`, a part of `raw`, is in it. A head is far smaller than 4 GiB.
fn place_of(raw: &[u8], piece: &[u8]) -> Place {
    let start = (piece.as_ptr() as usize).saturating_sub(raw.as_ptr() as usize).min(raw.len());
    let end = (start + piece.len()).min(raw.len());
    let narrow = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
    narrow(start)..narrow(end)
}

/// A request's head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RequestHead {
    fields: Fields,
    method: Place,
    target: Place,
    /// The protocol that the client speaks.
    pub(crate) version: Version,
    /// What follows the head.
    pub(crate) body: BodyKind,
    /// Whether the client waits for `100 Continue` before it sends the body (RFC 9110 section 10.1.1).
    pub(crate) expect_continue: bool,
    /// Whether the client asks for another protocol (RFC 9110 section 7.8).
    pub(crate) upgrade: bool,
    /// Whether another request may follow on this connection (RFC 9112 section 9.3).
    pub(crate) keep_alive: bool,
}

impl RequestHead {
    /// Reads a whole head.
    pub(super) fn parse(raw: Bytes) -> Result<Self, BadMessage> {
        let mut room: Room<'_> = [const { MaybeUninit::uninit() }; MOST_FIELDS];
        Self::parse_into(&mut room, &raw)
    }

    /// Reads a head that we wrote, however many fields that gave it.
    pub(super) fn parse_written(raw: &Bytes, most_fields: usize) -> Result<Self, BadMessage> {
        Self::parse_into(&mut vec![MaybeUninit::uninit(); most_fields], raw)
    }

    fn parse_into<'a>(room: &mut [MaybeUninit<Header<'a>>], raw: &'a Bytes) -> Result<Self, BadMessage> {
        let mut parsed = httparse::Request::new(&mut []);
        whole(parsed.parse_with_uninit_headers(raw, room), raw)?;
        let version = Version::from_minor(parsed.version)?;
        let place = |text: Option<&str>| place_of(raw, text.unwrap_or_default().as_bytes());
        let (method, target) = (place(parsed.method), place(parsed.path));
        let fields = Fields::new(raw.clone(), parsed.headers);
        let body = length::of_request(version, &fields)?;
        let modern = version == Version::Http11;
        Ok(Self {
            method,
            target,
            version,
            body,
            // RFC 9110 sections 10.1.1 and 7.8: both are ignored in a request of HTTP/1.0.
            expect_continue: modern && fields.lists("expect", "100-continue"),
            upgrade: modern && fields.has("upgrade") && fields.lists("connection", "upgrade"),
            keep_alive: persists(version, &fields),
            fields,
        })
    }

    /// The method as it was written; methods know upper and lower case.
    pub(crate) fn method(&self) -> &str {
        self.fields.text(&self.method)
    }

    /// The request target as it was written.
    pub(crate) fn target(&self) -> &str {
        self.fields.text(&self.target)
    }

    /// The fields.
    pub(crate) fn fields(&self) -> &Fields {
        &self.fields
    }

    /// The head as it came, with empty lines before it and the one that ends it.
    pub(crate) fn raw(&self) -> &Bytes {
        &self.fields.raw
    }

    /// Whether the connection becomes a tunnel if the upstream says 2xx.
    pub(crate) fn is_connect(&self) -> bool {
        self.method() == "CONNECT"
    }

    /// What the framer of the responses has to know of this request.
    pub(crate) fn response_to(&self) -> ResponseTo {
        ResponseTo { head: self.method() == "HEAD", connect: self.is_connect(), upgrade: self.upgrade }
    }
}

/// What decides, beside the response itself, how a response ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct ResponseTo {
    /// It answers HEAD.
    pub(crate) head: bool,
    /// It answers CONNECT.
    pub(crate) connect: bool,
    /// The request asked for another protocol.
    pub(crate) upgrade: bool,
}

/// A response's head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ResponseHead {
    fields: Fields,
    /// From 100 to 999.
    pub(crate) status: u16,
    /// The protocol that the server speaks.
    pub(crate) version: Version,
    /// What follows the head.
    pub(crate) body: BodyKind,
    /// Whether another response may follow on this connection (RFC 9112 section 9.3).
    pub(crate) keep_alive: bool,
}

impl ResponseHead {
    /// Reads a whole head.
    pub(super) fn parse(raw: Bytes, to: ResponseTo) -> Result<Self, BadMessage> {
        let mut room: Room<'_> = [const { MaybeUninit::uninit() }; MOST_FIELDS];
        Self::parse_into(&mut room, &raw, to)
    }

    /// Reads a head that we wrote, however many fields that gave it.
    pub(super) fn parse_written(raw: &Bytes, to: ResponseTo, most_fields: usize) -> Result<Self, BadMessage> {
        Self::parse_into(&mut vec![MaybeUninit::uninit(); most_fields], raw, to)
    }

    fn parse_into<'a>(
        room: &mut [MaybeUninit<Header<'a>>],
        raw: &'a Bytes,
        to: ResponseTo,
    ) -> Result<Self, BadMessage> {
        let mut parsed = httparse::Response::new(&mut []);
        let strict = ParserConfig::default();
        whole(strict.parse_response_with_uninit_headers(&mut parsed, raw, room), raw)?;
        let version = Version::from_minor(parsed.version)?;
        let status = parsed.code.filter(|code| *code >= 100).ok_or(BadMessage::Status)?;
        let fields = Fields::new(raw.clone(), parsed.headers);
        if status == 101 && !to.upgrade {
            return Err(BadMessage::UnaskedUpgrade);
        }
        let body = length::of_response(version, status, &fields, to)?;
        let ends_by_itself = !matches!(body, BodyKind::UntilClose | BodyKind::Tunnel);
        let keep_alive = ends_by_itself && persists(version, &fields);
        Ok(Self { fields, status, version, body, keep_alive })
    }

    /// The fields.
    pub(crate) fn fields(&self) -> &Fields {
        &self.fields
    }

    /// The head as it came, with the empty line that ends it.
    pub(crate) fn raw(&self) -> &Bytes {
        &self.fields.raw
    }

    /// Whether another response to the same request follows: 1xx other than 101.
    pub(crate) fn is_interim(&self) -> bool {
        self.status < 200 && self.status != 101
    }
}

/// RFC 9112 section 9.3. A proxy in front of one upstream is a gateway: it keeps connections of HTTP/1.0 as a server.
fn persists(version: Version, fields: &Fields) -> bool {
    !fields.lists("connection", "close") && (version == Version::Http11 || fields.lists("connection", "keep-alive"))
}

/// Says early whether the first line can be one; what follows it is not there yet.
pub(super) fn check_start_line(line: &[u8], side: Side) -> Result<(), BadMessage> {
    let result = match side {
        Side::Request => httparse::Request::new(&mut []).parse(line),
        Side::Response => httparse::Response::new(&mut []).parse(line),
    };
    result.map(|_| ()).map_err(|error| reason(error, line))
}

fn whole(result: httparse::Result<usize>, raw: &[u8]) -> Result<(), BadMessage> {
    match result {
        Ok(Status::Complete(length)) if length == raw.len() => Ok(()),
        // The two disagree about where the head ends, which is what must never be passed on.
        Ok(_) => Err(BadMessage::FieldName),
        Err(error) => Err(reason(error, raw)),
    }
}

fn reason(error: httparse::Error, raw: &[u8]) -> BadMessage {
    match error {
        httparse::Error::Version if names_a_version(raw) => BadMessage::Version,
        httparse::Error::Status => BadMessage::Status,
        httparse::Error::HeaderName => BadMessage::FieldName,
        httparse::Error::HeaderValue => BadMessage::FieldValue,
        httparse::Error::TooManyHeaders => BadMessage::TooManyFields(MOST_FIELDS),
        httparse::Error::Version | httparse::Error::NewLine | httparse::Error::Token => BadMessage::StartLine,
    }
}

/// Whether a word of the start line is a version, as in RFC 9112 section 2.3; other words there are no HTTP at all.
fn names_a_version(raw: &[u8]) -> bool {
    let line = raw.trim_ascii_start().split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ');
    words.any(|word| {
        matches!(word.strip_prefix(b"HTTP/"), Some([major, b'.', minor]) if major.is_ascii_digit() && minor.is_ascii_digit())
    })
}
