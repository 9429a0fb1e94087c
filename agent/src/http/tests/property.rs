//! Properties over made and broken streams: no byte lost, none moved, and no cut that changes what is told.

use super::{Framer, GET, HEAD, Limits, ResponseTo, Transcript, expecting, tell};
use proptest::prelude::{Just, Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proptest::sample::Index;

/// A message as it was meant, and its bytes.
#[derive(Debug, Clone)]
struct Meant {
    bytes: Vec<u8>,
    payload: Vec<u8>,
    to: ResponseTo,
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..60)
}

fn chunked_body() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let extension = prop_oneof![Just(""), Just(";a"), Just(" ; a=\"b;c\"")];
    let chunk = (prop::collection::vec(any::<u8>(), 1..40), extension, any::<bool>());
    let trailers = prop_oneof![Just(""), Just("X: y\r\n"), Just("A:\r\nB: c d\r\n")];
    (prop::collection::vec(chunk, 0..4), trailers).prop_map(|(chunks, trailers)| {
        let (mut bytes, mut payload) = (Vec::new(), Vec::new());
        for (data, extension, upper) in chunks {
            let size = if upper { format!("{:X}", data.len()) } else { format!("0{:x}", data.len()) };
            bytes.extend_from_slice(format!("{size}{extension}\r\n").as_bytes());
            bytes.extend_from_slice(&data);
            bytes.extend_from_slice(b"\r\n");
            payload.extend_from_slice(&data);
        }
        bytes.extend_from_slice(format!("0\r\n{trailers}\r\n").as_bytes());
        (bytes, payload)
    })
}

fn with_start(start: &'static str, to: ResponseTo) -> impl Strategy<Value = Meant> {
    let plain = payload().prop_map(move |payload| {
        let mut bytes = format!("{start}Content-Length: {}\r\n\r\n", payload.len()).into_bytes();
        bytes.extend_from_slice(&payload);
        Meant { bytes, payload, to }
    });
    let chunked = chunked_body().prop_map(move |(body, payload)| {
        let mut bytes = format!("{start}Transfer-Encoding: chunked\r\n\r\n").into_bytes();
        bytes.extend_from_slice(&body);
        Meant { bytes, payload, to }
    });
    prop_oneof![plain, chunked]
}

fn bare(bytes: &'static str, to: ResponseTo) -> impl Strategy<Value = Meant> {
    Just(Meant { bytes: bytes.as_bytes().to_vec(), payload: Vec::new(), to })
}

fn request() -> impl Strategy<Value = Meant> {
    prop_oneof![
        with_start("POST /a HTTP/1.1\r\nHost: a\r\n", GET),
        with_start("\r\nPUT /b?c HTTP/1.1\r\nExpect: 100-continue\r\n", GET),
        bare("GET / HTTP/1.1\r\nHost: a\r\n\r\n", GET),
    ]
}

fn response() -> impl Strategy<Value = Meant> {
    prop_oneof![
        with_start("HTTP/1.1 200 OK\r\n", GET),
        with_start("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 500 No\r\n", GET),
        bare("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", HEAD),
        bare("HTTP/1.1 204 No Content\r\n\r\n", GET),
    ]
}

fn joined(messages: &[Meant]) -> (Vec<u8>, Vec<u8>, Vec<ResponseTo>) {
    let bytes = messages.iter().flat_map(|message| message.bytes.clone()).collect();
    let payload = messages.iter().flat_map(|message| message.payload.clone()).collect();
    (bytes, payload, messages.iter().map(|message| message.to).collect())
}

fn cuts() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![
        Just(vec![1; 4096]),
        prop::collection::vec(1_usize..9, 0..600),
        prop::collection::vec(1_usize..300, 0..20),
    ]
}

fn small() -> Limits {
    Limits { head: 120, chunk_line: 24, trailers: 40 }
}

fn both(mut make: impl FnMut() -> Framer, stream: &[u8], cuts: Vec<usize>) -> (Transcript, Transcript) {
    (tell(make(), stream, std::iter::empty()), tell(make(), stream, cuts.into_iter()))
}

proptest! {
    #[test]
    fn requests_come_out_as_they_were_meant(messages in prop::collection::vec(request(), 0..5), cuts in cuts()) {
        let (bytes, payload, asked) = joined(&messages);
        let (whole, cut) = both(|| Framer::requests(Limits::default()), &bytes, cuts);
        prop_assert_eq!(&whole, &cut);
        prop_assert_eq!(whole.error, None);
        prop_assert_eq!(&whole.raw, &bytes);
        prop_assert_eq!(&whole.payload, &payload);
        prop_assert_eq!(whole.parts.iter().filter(|part| *part == "end").count(), asked.len());
    }

    #[test]
    fn responses_come_out_as_they_were_meant(messages in prop::collection::vec(response(), 0..5), cuts in cuts()) {
        let (bytes, payload, asked) = joined(&messages);
        let (whole, cut) = both(|| expecting(&asked), &bytes, cuts);
        prop_assert_eq!(&whole, &cut);
        prop_assert_eq!(whole.error, None);
        prop_assert_eq!(&whole.raw, &bytes);
        prop_assert_eq!(&whole.payload, &payload);
    }

    #[test]
    fn no_cut_changes_what_is_told_of_a_broken_stream(
        messages in prop::collection::vec(prop_oneof![request(), response()], 1..4),
        breaks in prop::collection::vec((any::<Index>(), prop_oneof![any::<u8>(), Just(b'\n'), Just(b'\r'), Just(b' '), Just(b'0')]), 0..4),
        cuts in cuts(),
        tight in any::<bool>(),
    ) {
        let (mut bytes, _, asked) = joined(&messages);
        for (at, byte) in breaks {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let limits = if tight { small() } else { Limits::default() };
        let (whole, cut) = both(|| Framer::requests(limits), &bytes, cuts.clone());
        prop_assert_eq!(&whole, &cut);
        prop_assert!(bytes.starts_with(&whole.raw));
        let (whole, cut) = both(|| expecting(&asked), &bytes, cuts);
        prop_assert_eq!(&whole, &cut);
        prop_assert!(bytes.starts_with(&whole.raw));
    }
}
