//! Answers that come from the proxy and not from the upstream: those of faults, and those to messages that are refused.
//!
//! Neighbours: `fault/http_answer.rs` and `conversation.rs` say when.
//!
//! Invariant: an answer has the body that its head tells of, and says `close` whenever the connection closes behind it.

use super::{
    BodyKind, Version,
    head::{RequestHead, ResponseHead},
};
use axum::http::StatusCode;
use bytes::Bytes;
use std::fmt::Write;

/// What an answer has to know of what it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AnswerTo<'a> {
    /// A request that could be read.
    Request(&'a RequestHead),
    /// One that could not; nothing can follow it.
    Unread,
}

/// A whole answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// Its head.
    pub(crate) head: Bytes,
    /// Its body, as it is on the wire.
    pub(crate) body: Bytes,
    /// Whether the connection closes behind it.
    pub(crate) closes: bool,
}

impl Answer {
    /// With this status, these fields beside those that it needs, and this body.
    pub(crate) fn new(status: u16, fields: &[(&str, &str)], body: &str, to: AnswerTo<'_>) -> Self {
        let has = |name: &str| fields.iter().any(|(field, _)| field.eq_ignore_ascii_case(name));
        let is_connection = |name: &str| name.eq_ignore_ascii_case("connection");
        let told = |element: &str| fields.iter().any(|(name, value)| is_connection(name) && lists(value, element));
        let closes = told("close") || closes_behind(to, status);
        let is_old = matches!(to, AnswerTo::Request(request) if request.version == Version::Http10);
        // What `Connection` has to say, whatever it is told to.
        let own = if closes { Some("close") } else { is_old.then_some("keep-alive") };
        let mut head = format!("HTTP/1.1 {status} {}\r\n", reason(status));
        let mut write = |name: &str, value: &str| {
            // Writing to a string cannot fail.
            let _ = write!(head, "{name}: {value}\r\n");
        };
        // RFC 9110 sections 15.3.5, 15.3.6 and 15.4.5.
        let bodyless = matches!(status, 204 | 304);
        let body = if matches!(status, 204 | 205 | 304) { "" } else { body };
        if !body.is_empty() && !has("content-type") {
            write("Content-Type", "text/plain; charset=utf-8");
        }
        if !bodyless {
            write("Content-Length", &body.len().to_string());
        }
        let against = |value: &str| own.is_some_and(|own| !lists(value, own));
        let kept = fields.iter().filter(|(name, value)| !(is_connection(name) && against(value)));
        kept.for_each(|(name, value)| write(name, value));
        if let Some(own) = own.filter(|own| !told(own)) {
            write("Connection", own);
        }
        head.push_str("\r\n");
        let to_head = matches!(to, AnswerTo::Request(request) if request.method() == "HEAD");
        let body = if to_head { Bytes::new() } else { Bytes::copy_from_slice(body.as_bytes()) };
        Self { head: head.into(), body, closes }
    }

    /// To a message that is refused, or a response that is.
    pub(crate) fn refusal(status: u16, why: &impl std::fmt::Display, to: AnswerTo<'_>) -> Self {
        let closing = [("Connection", "close")];
        Self::new(status, &closing, &format!("{status} {}: {why}\n", reason(status)), to)
    }

    /// The head, read.
    pub(crate) fn parsed(&self, request: &RequestHead) -> Option<ResponseHead> {
        ResponseHead::parse(self.head.clone(), request.response_to()).ok()
    }
}

/// The words that go with a status.
pub(crate) fn reason(status: u16) -> &'static str {
    StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or("Unknown")
}

/// A client that waits for `100 Continue` may send its body or leave it out once it has the answer, so where its next
/// request begins is not known (RFC 9110 section 10.1.1).
/// And one whose CONNECT was granted sends what is no HTTP.
fn closes_behind(to: AnswerTo<'_>, status: u16) -> bool {
    match to {
        AnswerTo::Unread => true,
        AnswerTo::Request(request) => {
            !request.keep_alive
                || (request.expect_continue && request.body != BodyKind::None)
                || (request.is_connect() && status < 300)
        }
    }
}

fn lists(value: &str, element: &str) -> bool {
    value.split(',').any(|listed| listed.trim().eq_ignore_ascii_case(element))
}

#[cfg(test)]
mod tests {
    use super::{Answer, AnswerTo, RequestHead};

    fn to(request: &'static str, status: u16, fields: &[(&str, &str)]) -> (String, bool) {
        let request = RequestHead::parse(request.into()).unwrap();
        let answer = Answer::new(status, fields, "no\n", AnswerTo::Request(&request));
        (String::from_utf8([&answer.head[..], &answer.body[..]].concat()).unwrap(), answer.closes)
    }

    #[test]
    fn an_answer_fits_what_it_answers() {
        insta::assert_debug_snapshot!([
            to("GET / HTTP/1.1\r\n\r\n", 503, &[("Retry-After", "5")]),
            to("HEAD / HTTP/1.1\r\n\r\n", 503, &[]),
            to("GET / HTTP/1.1\r\n\r\n", 204, &[]),
            to("GET / HTTP/1.1\r\n\r\n", 205, &[]),
            to("GET / HTTP/1.1\r\n\r\n", 304, &[("ETag", "\"a\"")]),
            to("GET / HTTP/1.1\r\nConnection: close\r\n\r\n", 500, &[("content-type", "a/b")]),
            to("GET / HTTP/1.1\r\n\r\n", 599, &[("connection", "x, Close")]),
            to("GET / HTTP/1.0\r\n\r\n", 500, &[]),
            to("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 500, &[]),
            to("PUT / HTTP/1.1\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n", 500, &[]),
        ]);
    }

    #[test]
    fn what_the_framing_says_of_the_connection_is_said_once() {
        let connection = |request, fields: &[(&str, &str)]| {
            let (answer, closes) = to(request, 500, fields);
            let is_one = |line: &&str| line.to_ascii_lowercase().starts_with("connection:");
            (answer.lines().filter(is_one).map(str::to_owned).collect::<Vec<_>>(), closes)
        };
        let (last, old) =
            ("GET / HTTP/1.1\r\nConnection: close\r\n\r\n", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        let said = |line: &str| vec![line.to_owned()];
        assert_eq!(connection(last, &[("Connection", "keep-alive")]), (said("Connection: close"), true));
        assert_eq!(connection(last, &[("connection", "x, close")]), (said("connection: x, close"), true));
        assert_eq!(connection(old, &[("Connection", "x")]), (said("Connection: keep-alive"), false));
        let kept = [("Connection", "keep-alive")];
        assert_eq!(connection("GET / HTTP/1.1\r\n\r\n", &kept), (said("Connection: keep-alive"), false));
        let both = [("CONNECTION", "keep-alive"), ("Connection", "close")];
        assert_eq!(connection("GET / HTTP/1.1\r\n\r\n", &both), (said("Connection: close"), true));
    }
}
