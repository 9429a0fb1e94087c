//! A framer over the life of a connection: pauses, tunnels, limits, and what it holds.

use super::{BadMessage, Framer, GET, HEAD, Limits, ResponseTo, Transcript, expecting, requests, responses, tell};
use crate::http::{LAST_CHUNK, chunk, error::Piece};
use bytes::Bytes;

const UPGRADE: &str = "GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

fn fed(stream: &str) -> (Framer, Transcript) {
    let mut framer = Framer::requests(Limits::default());
    let mut told = Transcript::default();
    framer.push(Bytes::copy_from_slice(stream.as_bytes()));
    told.take_all(&mut framer);
    (framer, told)
}

#[test]
fn behind_a_switch_everything_passes_however_it_looks() {
    let (mut framer, mut told) = fed(&format!("{UPGRADE}GET / HTTP/9\n\0"));
    assert!(framer.is_paused());
    framer.tunnel();
    told.take_all(&mut framer);
    framer.push(Bytes::from_static(b"\r\n\r\n"));
    told.take_all(&mut framer);
    told.take_end(&mut framer);
    assert_eq!(told.to_string(), "GET / none keeps upgrades | end | body GET / HTTP/9\n\0\r\n\r\n | end");
    assert!(framer.is_closed());
}

#[test]
fn behind_a_refused_switch_requests_go_on() {
    let (mut framer, mut told) = fed(&format!("{UPGRADE}GET /b HTTP/1.1\r\n\r\n"));
    framer.resume();
    told.take_all(&mut framer);
    assert_eq!(told.to_string(), "GET / none keeps upgrades | end | GET /b none keeps | end");
    assert!(framer.is_idle());
}

#[test]
fn a_switch_may_be_refused_before_the_request_is_whole() {
    let (mut framer, mut told) =
        fed("POST / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: x\r\nContent-Length: 2\r\n\r\na");
    framer.resume();
    framer.push(Bytes::from_static(b"bGET / HTTP/1.1\r\n\r\n"));
    told.take_all(&mut framer);
    assert_eq!(told.to_string(), "POST / length=2 keeps upgrades | body ab | end | GET / none keeps | end");
}

#[test]
fn a_last_request_stays_the_last_when_its_switch_is_refused() {
    let (mut framer, mut told) = fed("CONNECT a:1 HTTP/1.1\r\nConnection: close\r\n\r\nGET / HTTP/1.1\r\n\r\n");
    assert!(framer.is_paused());
    framer.resume();
    told.take_all(&mut framer);
    assert_eq!(told.to_string(), "CONNECT a:1 none | end");
    assert!(framer.is_closed());
}

#[test]
fn nothing_but_a_request_for_a_switch_can_make_a_tunnel() {
    let (mut framer, mut told) = fed("GET / HTTP/1.1\r\n\r\n");
    framer.tunnel();
    framer.push(Bytes::from_static(b"\0"));
    told.take_all(&mut framer);
    assert_eq!(told.to_string(), "GET / none keeps | end | error ControlByte(0)");
}

#[test]
fn responses_answer_in_the_order_of_the_requests() {
    let stream = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";
    assert_eq!(
        responses(stream, &[HEAD, GET]).to_string(),
        "200 none keeps | end | 200 length=3 keeps | body abc | end"
    );
    assert_eq!(responses(stream, &[HEAD, GET, GET]).error, Some(BadMessage::Unanswered));
}

#[test]
fn so_many_responses_may_be_due_and_no_more() {
    let mut framer = expecting(&[GET; 1024]);
    assert!(!framer.expect(GET));
    assert_eq!(framer.awaited(), 1024);
    framer.push(Bytes::from_static(b"HTTP/1.1 204 No Content\r\n\r\n"));
    Transcript::default().take_all(&mut framer);
    assert!(framer.expect(ResponseTo::default()));
}

#[test]
fn limits_are_met_to_the_byte() {
    let limits = Limits { head: 40, chunk_line: 6, trailers: 9 };
    let error = |stream: &str| tell(Framer::requests(limits), stream.as_bytes(), std::iter::repeat(1)).error;
    let head = |more: usize| format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "a".repeat(17 + more));
    assert_eq!(head(0).len(), 40);
    assert_eq!(error(&head(0)), None);
    assert_eq!(error(&head(1)), Some(BadMessage::TooLarge { piece: Piece::Head, limit: 40 }));
    let limits = Limits { head: 1000, ..limits };
    let error = |body: &str| {
        let stream = format!("PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
        tell(Framer::requests(limits), stream.as_bytes(), std::iter::repeat(1)).error
    };
    let line = BadMessage::TooLarge { piece: Piece::ChunkLine, limit: 6 };
    let trailers = BadMessage::TooLarge { piece: Piece::Trailers, limit: 9 };
    assert_eq!(error("1;ab\r\nx\r\n1;ab\r\nx\r\n0\r\nX: ab\r\n\r\n"), None);
    assert_eq!(error("1;abc\r\nx\r\n0\r\n\r\n"), Some(line));
    assert_eq!(error("1\r\nx\r\n1;abc\r\nx\r\n0\r\n\r\n"), Some(line));
    assert_eq!(error("0\r\nX: abc\r\n\r\n"), Some(trailers));
}

#[test]
fn what_lies_behind_the_last_message_is_not_kept() {
    let (mut framer, mut told) = fed("GET / HTTP/1.0\r\n\r\nrest");
    framer.push(Bytes::from_static(b"more"));
    told.take_all(&mut framer);
    told.take_end(&mut framer);
    assert_eq!((told.to_string().as_str(), framer.is_closed()), ("GET / none | end", true));
}

#[test]
fn payload_that_is_put_into_chunks_comes_out_again() {
    let mut stream = b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for payload in ["hello", "", "a long piece of payload, longer than sixteen"] {
        for bytes in chunk(Bytes::from_static(payload.as_bytes())) {
            stream.extend_from_slice(&bytes);
        }
    }
    stream.extend_from_slice(LAST_CHUNK);
    let told = requests(&stream);
    assert_eq!(told.payload, b"helloa long piece of payload, longer than sixteen");
    assert_eq!((told.error, told.raw), (None, stream));
}
