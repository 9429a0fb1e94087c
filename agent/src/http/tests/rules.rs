//! What RFC 9110 and RFC 9112 say, row by row: the stream, and what it must be taken for.

use super::{BadMessage, CONNECT, GET, HEAD, ResponseTo, Side, UPGRADE, requests, responses};

const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\n";

/// Section, what follows the fields that every row has, what must be said.
const REQUESTS: &[(&str, &str, &str)] = &[
    ("9112 6.3 item 7: no length, no body", "\r\n", "POST / none keeps | end"),
    ("9112 6.3 item 6", "Content-Length: 5\r\n\r\nhello", "POST / length=5 keeps | body hello | end"),
    ("an empty body", "Content-Length: 0\r\n\r\n", "POST / length=0 keeps | end"),
    (
        "9112 6.3 item 6: fewer bytes than that",
        "Content-Length: 5\r\n\r\nhell",
        "POST / length=5 keeps | body hell | error CutOff",
    ),
    (
        "9112 6.3 item 5: the same length in a list",
        "Content-Length: 5, 5\r\n\r\nhello",
        "POST / length=5 keeps | body hello | end",
    ),
    (
        "9112 6.3 item 5: the same length twice",
        "Content-Length: 5\r\ncontent-length:5\r\n\r\nhello",
        "POST / length=5 keeps | body hello | end",
    ),
    ("9112 6.3 item 5: two lengths", "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", "error LengthsDiffer"),
    ("9112 6.3 item 5: two lengths in a list", "Content-Length: 5, 6\r\n\r\nhello", "error LengthsDiffer"),
    ("9110 8.6: digits only", "Content-Length: +5\r\n\r\nhello", "error Length"),
    ("9110 8.6: digits only, no sign", "Content-Length: -5\r\n\r\nhello", "error Length"),
    ("9110 8.6: not hexadecimal", "Content-Length: 0x5\r\n\r\nhello", "error Length"),
    ("9110 8.6: not empty", "Content-Length:\r\n\r\nhello", "error Length"),
    ("9110 8.6: no list with a hole", "Content-Length: 5,\r\n\r\nhello", "error Length"),
    ("9110 8.6: no space inside", "Content-Length: 1 0\r\n\r\nhello", "error Length"),
    ("9110 8.6: overflow", "Content-Length: 18446744073709551616\r\n\r\n", "error Length"),
    (
        "9112 6.3 item 3: both",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "error LengthAndCoding",
    ),
    (
        "9112 6.3 item 3: both, the other way round",
        "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\n",
        "error LengthAndCoding",
    ),
    (
        "9112 7.1",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=\"y;z\"\r\n world\r\n0\r\nX: y\r\n\r\n",
        "POST / chunked keeps | body hello world | end",
    ),
    (
        "9110 5.6.1.2: empty elements are ignored",
        "Transfer-Encoding: , Chunked ,\r\n\r\n0\r\n\r\n",
        "POST / chunked keeps | body  | end",
    ),
    ("9112 6.1: no coding at all", "Transfer-Encoding: ,\r\n\r\n", "error Coding"),
    (
        "9112 6.1: chunked last",
        "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "POST / chunked keeps | body  | end",
    ),
    (
        "9112 6.1: chunked last, over two lines",
        "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / chunked keeps | body  | end",
    ),
    ("9112 6.3 item 4: chunked not last", "Transfer-Encoding: chunked, gzip\r\n\r\n", "error ChunkedNotLast"),
    ("9112 6.3 item 4: no chunked", "Transfer-Encoding: gzip\r\n\r\n", "error ChunkedNotLast"),
    ("9112 6.1: unknown", "Transfer-Encoding: xchunked\r\n\r\n", "error UnknownCoding"),
    ("9112 7.3: identity is gone", "Transfer-Encoding: identity\r\n\r\n", "error UnknownCoding"),
    ("9112 6.1: chunked twice", "Transfer-Encoding: chunked, chunked\r\n\r\n", "error Coding"),
    ("9112 7.1: chunked has no parameters", "Transfer-Encoding: chunked;q=1\r\n\r\n", "error Coding"),
    ("a comma in quotes is no comma", "Transfer-Encoding: gzip;x=\"a, chunked\"\r\n\r\n", "error Coding"),
    ("9112 7.1: no size", "Transfer-Encoding: chunked\r\n\r\n\r\n", "POST / chunked keeps | error ChunkSize"),
    (
        "9112 7.1: not hexadecimal",
        "Transfer-Encoding: chunked\r\n\r\n5g\r\n",
        "POST / chunked keeps | body  | error ChunkSize",
    ),
    ("9112 7.1: no sign", "Transfer-Encoding: chunked\r\n\r\n-1\r\n", "POST / chunked keeps | error ChunkSize"),
    (
        "9112 7.1: no prefix",
        "Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n",
        "POST / chunked keeps | body  | error ChunkSize",
    ),
    (
        "9112 7.1: no white space",
        "Transfer-Encoding: chunked\r\n\r\n5 \r\nhello\r\n",
        "POST / chunked keeps | body  | error ChunkSize",
    ),
    (
        "9112 7.1.1: white space before an extension",
        "Transfer-Encoding: chunked\r\n\r\n5 ;a\r\nhello\r\n0\r\n\r\n",
        "POST / chunked keeps | body hello | end",
    ),
    (
        "9112 7.1.1: an extension has a name",
        "Transfer-Encoding: chunked\r\n\r\n5;\r\nhello\r\n",
        "POST / chunked keeps | body  | error ChunkExtension",
    ),
    (
        "9112 7.1.1: no LF in an extension",
        "Transfer-Encoding: chunked\r\n\r\n5;a\nhello\r\n",
        "POST / chunked keeps | body  | error ChunkExtension",
    ),
    (
        "9112 7.1.1: no CR in an extension",
        "Transfer-Encoding: chunked\r\n\r\n5;a\rb\r\nhello\r\n",
        "POST / chunked keeps | body  | error ChunkSize",
    ),
    (
        "9112 7.1: CRLF, not LF",
        "Transfer-Encoding: chunked\r\n\r\n5\nhello\n0\n\n",
        "POST / chunked keeps | body  | error ChunkSize",
    ),
    (
        "9112 7.1: the largest size",
        "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nx",
        "POST / chunked keeps | body x | error CutOff",
    ),
    (
        "9112 7.1: overflow",
        "Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n",
        "POST / chunked keeps | body  | error ChunkTooLarge",
    ),
    (
        "9112 7.1: more data than the size",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello!\r\n",
        "POST / chunked keeps | body hello | error ChunkEnd",
    ),
    (
        "9112 7.1: less data than the size",
        "Transfer-Encoding: chunked\r\n\r\n6\r\nhello\r\n0\r\n\r\n",
        "POST / chunked keeps | body hello\r | error ChunkEnd",
    ),
    (
        "9112 8: cut off before the last chunk",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "POST / chunked keeps | body hello | error CutOff",
    ),
    (
        "9112 8: cut off in the trailers",
        "Transfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n",
        "POST / chunked keeps | body  | error CutOff",
    ),
    (
        "9112 7.1.2: a folded trailer",
        "Transfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n z\r\n\r\n",
        "POST / chunked keeps | body  | error Trailer",
    ),
    (
        "9112 7.1.2: white space before the colon",
        "Transfer-Encoding: chunked\r\n\r\n0\r\nX : y\r\n\r\n",
        "POST / chunked keeps | body  | error Trailer",
    ),
    (
        "9112 7.1.2: no request among trailers",
        "Transfer-Encoding: chunked\r\n\r\n0\r\nGET / HTTP/1.1\r\n\r\n",
        "POST / chunked keeps | body  | error Trailer",
    ),
    ("9112 5.1: white space before the colon", "Content-Length : 5\r\n\r\nhello", "error FieldName"),
    ("9112 5.2: a folded field", "X: a\r\n b\r\n\r\n", "error FieldName"),
    ("9112 5.1: no name", ": a\r\n\r\n", "error FieldName"),
    ("9112 5.1: no colon", "X\r\n\r\n", "error FieldName"),
    ("9110 5.5: NUL", "X: a\0b\r\n\r\n", "error ControlByte(0)"),
    ("9110 5.5: obs-text is opaque", "X: \u{e9}\r\n\r\n", "POST / none keeps | end"),
    ("9112 2.2: bare LF", "X: a\nContent-Length: 5\r\n\r\nhello", "error BareLineFeed"),
    ("9112 2.2: bare CR", "X: a\rContent-Length: 5\r\n\r\nhello", "error BareCarriageReturn"),
    ("9112 2.2: an end without CR", "\n", "error BareLineFeed"),
    ("9112 2.2: an end with too many CR", "\r\r\n", "error BareCarriageReturn"),
    ("9112 8: cut off in the head", "X: a\r\n", "error CutOff"),
    (
        "9112 9.3: pipelined",
        "\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST / none keeps | end | GET /b none keeps | end",
    ),
    ("9112 9.6: nothing behind close", "Connection: x, Close\r\n\r\nGET /b HTTP/1.1\r\n\r\n", "POST / none | end"),
    ("9112 2.2: an empty line behind a body", "Content-Length: 1\r\n\r\nx\r\n", "POST / length=1 keeps | body x | end"),
    (
        "9110 10.1.1",
        "Expect: 100-Continue\r\nContent-Length: 2\r\n\r\nhi",
        "POST / length=2 keeps waits | body hi | end",
    ),
    (
        "9110 7.8: what follows depends on the response",
        "Connection: Upgrade\r\nUpgrade: h2c\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        "POST / none keeps upgrades | end",
    ),
    ("9110 7.8: not listed in Connection", "Upgrade: h2c\r\n\r\n", "POST / none keeps | end"),
];

#[test]
fn requests_are_framed_as_the_rfc_says() {
    for (rule, rest, expected) in REQUESTS {
        assert_eq!(requests(format!("{POST}{rest}").as_bytes()).to_string(), *expected, "{rule}");
    }
}

const START_LINES: &[(&str, &str, &str)] = &[
    ("9112 2.2: empty lines before it", "\r\n\r\nGET / HTTP/1.1\r\n\r\n", "GET / none keeps | end"),
    ("only empty lines", "\r\n\r\n", ""),
    ("an empty line without CR", "\nGET / HTTP/1.1\r\n\r\n", "error BareLineFeed"),
    ("9112 9.3: 1.0 ends", "GET / HTTP/1.0\r\n\r\nGET / HTTP/1.0\r\n\r\n", "GET / none | end"),
    ("9112 9.3: 1.0 may go on", "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", "GET / none keeps | end"),
    (
        "9112 6.1: coding in 1.0",
        "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "error CodingInOldVersion",
    ),
    (
        "9110 10.1.1 and 7.8: not in 1.0",
        "GET / HTTP/1.0\r\nExpect: 100-continue\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        "GET / none | end",
    ),
    ("9112 2.3: another major version", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "error Version"),
    ("no version", "GET /\r\n\r\n", "error StartLine"),
    ("lower case", "GET / http/1.1\r\n\r\n", "error StartLine"),
    ("9112 3: two spaces", "GET  / HTTP/1.1\r\n\r\n", "error StartLine"),
    ("9112 2.2: white space before the first field", "GET / HTTP/1.1\r\n X: a\r\n\r\n", "error FieldName"),
    ("another protocol's greeting is refused at its first line", "EHLO mail\r\n", "error StartLine"),
    ("TLS is refused at its first byte", "\u{16}\u{3}\u{1}", "error ControlByte(22)"),
    ("9112 3.2.3", "CONNECT a:1 HTTP/1.1\r\n\r\n\u{16}\u{3}", "CONNECT a:1 none keeps | end"),
    ("any target is passed", "OPTIONS * HTTP/1.1\r\n\r\n", "OPTIONS * none keeps | end"),
];

#[test]
fn request_lines_are_read_as_the_rfc_says() {
    for (rule, stream, expected) in START_LINES {
        assert_eq!(requests(stream.as_bytes()).to_string(), *expected, "{rule}");
    }
}

const RESPONSES: &[(&str, ResponseTo, &str, &str)] = &[
    ("9112 6.3 item 8: until the end", GET, "HTTP/1.1 200 OK\r\n\r\nabc", "200 until-close | body abc | end"),
    ("9112 6.3 item 6", GET, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", "200 length=3 keeps | body abc | end"),
    ("9112 4: no reason", GET, "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", "200 length=0 keeps | end"),
    ("9112 6.3 item 1: HEAD", HEAD, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", "200 none keeps | end"),
    (
        "9112 6.3 item 1: HEAD and chunked",
        HEAD,
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "200 none keeps | end",
    ),
    (
        "a body to HEAD is nobody's",
        HEAD,
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
        "200 none keeps | end | error Unsolicited",
    ),
    ("9112 6.3 item 1: 204", GET, "HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\n", "204 none keeps | end"),
    ("9112 6.3 item 1: 304", GET, "HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n", "304 none keeps | end"),
    (
        "9110 15.2: interim",
        GET,
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "100 none keeps | end | 103 none keeps | end | 200 length=0 keeps | end",
    ),
    (
        "9110 15.2: an interim response is not the last",
        GET,
        "HTTP/1.1 100 Continue\r\n\r\n",
        "100 none keeps | end | error Unanswered",
    ),
    ("9110 15.2.2", UPGRADE, "HTTP/1.1 101 Switching\r\nContent-Length: 1\r\n\r\nabc", "101 tunnel | body abc | end"),
    ("9110 15.2.2: not asked for", GET, "HTTP/1.1 101 Switching\r\n\r\nabc", "error UnaskedUpgrade"),
    (
        "an upgrade that is refused",
        UPGRADE,
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na",
        "200 length=1 keeps | body a | end",
    ),
    (
        "9112 6.3 item 2: 2xx to CONNECT",
        CONNECT,
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nabc",
        "200 tunnel | body abc | end",
    ),
    (
        "9112 6.3 item 2: not 2xx to CONNECT",
        CONNECT,
        "HTTP/1.1 502 Bad\r\nContent-Length: 1\r\n\r\na",
        "502 length=1 keeps | body a | end",
    ),
    (
        "9112 7.1",
        GET,
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n00\r\n\r\n",
        "200 chunked keeps | body a | end",
    ),
    (
        "9112 6.3 item 4: chunked not last",
        GET,
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, x\r\n\r\nabc",
        "200 until-close | body abc | end",
    ),
    (
        "9112 6.3 item 4: any coding under chunked",
        GET,
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: x, chunked\r\n\r\n0\r\n\r\n",
        "200 chunked keeps | body  | end",
    ),
    (
        "9112 6.3 item 3: both",
        GET,
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
        "error LengthAndCoding",
    ),
    (
        "9112 6.3 item 5: two lengths",
        GET,
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 1\r\n\r\n",
        "error LengthsDiffer",
    ),
    (
        "9112 6.1: coding in 1.0",
        GET,
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "error CodingInOldVersion",
    ),
    (
        "9112 9.3: close",
        GET,
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nabc",
        "200 length=1 | body a | end",
    ),
    ("9112 9.3: 1.0", GET, "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na", "200 length=1 | body a | end"),
    (
        "9112 9.3: 1.0 may go on",
        GET,
        "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\na",
        "200 length=1 keeps | body a | end",
    ),
    (
        "9112 8: cut off",
        GET,
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
        "200 length=9 keeps | body abc | error CutOff",
    ),
    ("no answer", GET, "", "error Unanswered"),
    ("half an answer", GET, "HTTP/1.1 2", "error CutOff"),
    (
        "nobody asked",
        GET,
        "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
        "204 none keeps | end | error Unsolicited",
    ),
    ("9112 2.2 is about requests", GET, "\r\nHTTP/1.1 204 No Content\r\n\r\n", "error StartLine"),
    ("9112 5.2: a folded field", GET, "HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n", "error FieldName"),
    ("another protocol's greeting is refused at its first line", GET, "220 mail ESMTP\r\n", "error StartLine"),
    ("9110 15: a status below 100", GET, "HTTP/1.1 099 X\r\n\r\n", "error Status"),
    ("9110 15: no number", GET, "HTTP/1.1 2x0 OK\r\n\r\n", "error Status"),
    ("9112 2.3: another major version", GET, "HTTP/2.0 200 OK\r\n\r\n", "error Version"),
];

#[test]
fn responses_are_framed_as_the_rfc_says() {
    for (rule, to, stream, expected) in RESPONSES {
        assert_eq!(responses(stream.as_bytes(), &[*to]).to_string(), *expected, "{rule}");
    }
}

#[test]
fn a_refusal_has_the_status_that_the_rfc_names() {
    let status = |stream: &str| requests(stream.as_bytes()).error.map(|bad| bad.status(Side::Request));
    assert_eq!(status("GET / HTTP/1.1\r\nX : a\r\n\r\n"), Some(400));
    assert_eq!(status("GET / HTTP/3.0\r\n\r\n"), Some(505));
    assert_eq!(status("GET / HTTP/1.1\r\nTransfer-Encoding: br\r\n\r\n"), Some(501));
    assert_eq!(status(&format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(70_000))), Some(414));
    assert_eq!(status(&format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "a".repeat(70_000))), Some(431));
    assert_eq!(status(&format!("GET / HTTP/1.1\r\n{}\r\n", "X: a\r\n".repeat(129))), Some(431));
    assert_eq!(BadMessage::Version.status(Side::Response), 502);
}
