//! What `garbage` says: made piece by piece, so that memory is bounded whatever its length.
//!
//! `http_noise`, `html` and `endless` open with a head that every HTTP client parses; what fails is the body: bytes
//! that are no chunks where chunks were promised, a page where data was expected, an array that never closes.
//!
//! Neighbour: `garbage.rs`, which says when.
//!
//! Invariant: the same seed and unit say the same.

use bytes::Bytes;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use squall_wire::fault::{Garbage, GarbageStyle};
use std::time::Duration;

/// Bytes made at a time.
const PART: u64 = 16 * 1024;

/// Between two parts of an endless body: 1.6 MB/s, enough to hurt a client that collects it.
const ENDLESS_PAUSE: Duration = Duration::from_millis(10);

const NOISE_HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";

const ENDLESS_HEAD: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n[\r\n";

/// One more chunk of the endless array: 16 bytes, so `10` in its head.
const ENDLESS_CHUNK: &str = "10\r\n\"storm\",\"storm\",\r\n";

const BANNER: &str = "SSH-2.0-OpenSSH_9.6\r\n";

const PAGE: &str = "<!DOCTYPE html>\n<html><head><title>Sign in to this network</title></head>\n<body><h1>Sign in to \
                    this network</h1><p>Accept the terms of use to go on.</p></body></html>\n";

/// A part of the answer, and how long to wait before the next; or that all is said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Part(Bytes, Duration),
    All,
}

enum Rest {
    Nothing,
    /// So many random bytes.
    Random(u64),
    /// So many blanks, to fill a page up.
    Blank(u64),
    /// More of it for ever.
    Endless,
}

/// One answer.
pub(crate) struct Nonsense {
    head: Option<Bytes>,
    rest: Rest,
    random: ChaCha8Rng,
}

impl Nonsense {
    pub(crate) fn new(garbage: &Garbage, random: ChaCha8Rng) -> Self {
        let bytes = garbage.bytes.get();
        let (head, rest) = match &garbage.style {
            GarbageStyle::Random => (Bytes::new(), Rest::Random(bytes)),
            // A chunk's length is written in hexadecimal digits; a bang is none, so the body fails at its first byte.
            GarbageStyle::HttpNoise => (Bytes::from(format!("{NOISE_HEAD}!")), Rest::Random(bytes.saturating_sub(1))),
            GarbageStyle::Html => html(bytes),
            GarbageStyle::Endless => (Bytes::from_static(ENDLESS_HEAD.as_bytes()), Rest::Endless),
            GarbageStyle::Banner => (Bytes::from_static(BANNER.as_bytes()), Rest::Nothing),
            GarbageStyle::Text(text) => (Bytes::from(text.clone()), Rest::Nothing),
        };
        Self { head: Some(head).filter(|head| !head.is_empty()), rest, random }
    }

    /// Says the next part.
    pub(crate) fn say(&mut self) -> Said {
        if let Some(head) = self.head.take() {
            return Said::Part(head, Duration::ZERO);
        }
        match &mut self.rest {
            Rest::Nothing | Rest::Random(0) | Rest::Blank(0) => Said::All,
            Rest::Random(left) => {
                let mut part = vec![0; part_of(left)];
                self.random.fill_bytes(&mut part);
                Said::Part(part.into(), Duration::ZERO)
            }
            Rest::Blank(left) => Said::Part(vec![b'\n'; part_of(left)].into(), Duration::ZERO),
            Rest::Endless => {
                let chunks = usize::try_from(PART).map_or(1, |part| part / ENDLESS_CHUNK.len());
                Said::Part(ENDLESS_CHUNK.repeat(chunks).into(), ENDLESS_PAUSE)
            }
        }
    }
}

fn part_of(left: &mut u64) -> usize {
    let part = (*left).min(PART);
    *left -= part;
    // At most `PART`, which fits everywhere.
    usize::try_from(part).unwrap_or(0)
}

fn html(bytes: u64) -> (Bytes, Rest) {
    let shown = usize::try_from(bytes).unwrap_or(usize::MAX).min(PAGE.len());
    let head =
        format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {bytes}\r\n\r\n{}", &PAGE[..shown]);
    (Bytes::from(head), Rest::Blank(bytes - shown as u64))
}

#[cfg(test)]
mod tests {
    use super::{Nonsense, Said};
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use squall_wire::fault::Garbage;

    fn says(json: &str, parts: usize) -> (Vec<u8>, bool) {
        let garbage: Garbage = serde_json::from_str(json).unwrap();
        let mut nonsense = Nonsense::new(&garbage, ChaCha8Rng::seed_from_u64(3));
        let mut all = Vec::new();
        for _ in 0..parts {
            match nonsense.say() {
                Said::Part(part, _) => all.extend_from_slice(&part),
                Said::All => return (all, true),
            }
        }
        (all, false)
    }

    #[test]
    fn random_is_as_long_as_asked_and_the_same_for_the_same_seed() {
        let json = r#"{"style": "random", "bytes": "100000B"}"#;
        let (all, ended) = says(json, 100);
        assert!(ended && all.len() == 100_000 && all == says(json, 100).0);
    }

    #[test]
    fn a_page_is_as_long_as_its_head_says() {
        for bytes in [10, 4096, 1_000_000] {
            let (all, ended) = says(&format!(r#"{{"style": "html", "bytes": "{bytes}B"}}"#), 1000);
            let text = String::from_utf8(all).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(ended && head.ends_with(&format!("Content-Length: {bytes}")) && body.len() == bytes);
        }
    }

    #[test]
    fn noise_is_no_chunk() {
        let (all, ended) = says(r#"{"style": "http_noise", "bytes": "100B"}"#, 10);
        let body = all.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        assert!(ended && all.len() - body == 100 && !all[body].is_ascii_hexdigit());
    }

    #[test]
    fn an_endless_body_is_made_of_whole_chunks_and_has_no_end() {
        let (all, ended) = says(r#"{"style": "endless"}"#, 50);
        let text = String::from_utf8(all).unwrap();
        let mut body = text.split_once("\r\n\r\n").unwrap().1;
        while let Some((size, rest)) = body.split_once("\r\n") {
            let size = usize::from_str_radix(size, 16).unwrap();
            assert!(size > 0 && &rest[size..size + 2] == "\r\n");
            body = &rest[size + 2..];
        }
        assert!(body.is_empty() && !ended);
    }
}
