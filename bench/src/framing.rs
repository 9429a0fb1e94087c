//! The choice of the HTTP framing, by measurement: requests a second by `squall_agent`'s own and by hyper's.
//!
//! ```text
//! Tape (the same requests again and again) ──▶ hyper's server      ──▶ an answer each, thrown away
//!                                          ──▶ read, frame, answer ──▶
//! ```
//! Both read from memory and answer into nothing, on one thread, so that nothing but the HTTP is compared. Stands by
//! itself beside `measure/*`, which compares whole processes over sockets.
//!
//! Invariant: both see the same bytes, and both have answered every request of them, or the run fails.

use crate::{
    error::{BenchError, Tried},
    stats,
};
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Bytes, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use squall_agent::inside::RequestCounter;
use std::{
    cell::Cell,
    io::{self, Write},
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

const GET: &str = "GET /products/42?page=2 HTTP/1.1\r\nHost: shop.example:8080\r\nUser-Agent: a-client/1.0\r\n\
    Accept: application/json\r\nAccept-Encoding: gzip\r\nX-Request-Id: 0190f5fe-7c00-7a00-8000-000000000000\r\n\r\n";
const POST_HEAD: &str = "POST /orders HTTP/1.1\r\nHost: shop.example:8080\r\nContent-Type: application/json\r\n\
    Transfer-Encoding: chunked\r\n\r\n";
const CHUNK_BYTES: usize = 256;
const CHUNKS: usize = 4;
/// As much as the agent reads at once.
const READ: usize = 16 * 1024;
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const ROUNDS: usize = 7;

/// A connection that brings the same bytes again and again, then ends, and throws away what it is given.
struct Tape {
    bytes: Bytes,
    at: usize,
    again: usize,
}

impl AsyncRead for Tape {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.at == self.bytes.len() && self.again > 0 {
            self.again -= 1;
            self.at = 0;
        }
        let length = into.remaining().min(READ).min(self.bytes.len() - self.at);
        into.put_slice(&self.bytes[self.at..self.at + length]);
        self.at += length;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tape {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Measures both and prints a row each.
pub(crate) fn run(quick: bool) -> Result<(), BenchError> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().tried("start the runtime")?;
    let passes = if quick { 2 } else { 400 };
    let mut out = std::io::stdout();
    for (name, request) in [("GET, 5 fields", GET.to_owned()), ("POST, 4 chunks of 256 bytes", post())] {
        // Not a round number of reads, so that requests are cut everywhere.
        let in_one = 1_000;
        let bytes = Bytes::from(request.repeat(in_one));
        let expected = in_one * passes;
        let tape = || Tape { bytes: bytes.clone(), at: 0, again: passes - 1 };
        let (mut own, mut hyper) = (Vec::new(), Vec::new());
        for _ in 0..if quick { 1 } else { ROUNDS } {
            own.push(timed(expected, || runtime.block_on(by_framer(tape())))?);
            hyper.push(timed(expected, || runtime.block_on(by_hyper(tape())))?);
        }
        let missing = || BenchError::Missing(name.to_owned());
        let (own, hyper) = (stats::median(&own).ok_or_else(missing)?, stats::median(&hyper).ok_or_else(missing)?);
        writeln!(out, "{name}: own framing {own:.0} requests/s, hyper {hyper:.0}; ratio {:.2}", own / hyper)
            .tried("print a row")?;
    }
    Ok(())
}

fn post() -> String {
    let chunk = format!("{CHUNK_BYTES:x}\r\n{}\r\n", "x".repeat(CHUNK_BYTES));
    format!("{POST_HEAD}{}0\r\n\r\n", chunk.repeat(CHUNKS))
}

/// Requests a second.
fn timed(expected: usize, work: impl FnOnce() -> io::Result<usize>) -> Result<f64, BenchError> {
    let start = Instant::now();
    let answered = work().tried("answer the requests")?;
    let seconds = start.elapsed().as_secs_f64();
    if answered != expected {
        return Err(BenchError::Missing(format!("{answered} of {expected} requests were answered")));
    }
    Ok(answered as f64 / seconds)
}

async fn by_framer(mut tape: Tape) -> io::Result<usize> {
    let mut counter = RequestCounter::default();
    let (mut answered, mut answers) = (0, Vec::new());
    loop {
        let mut buffer = Vec::with_capacity(READ);
        if tape.read_buf(&mut buffer).await? == 0 {
            return Ok(if counter.targets() > 0 { answered } else { 0 });
        }
        answers.clear();
        for _ in 0..counter.push(Bytes::from(buffer)) {
            answers.extend_from_slice(ANSWER);
            answered += 1;
        }
        tape.write_all(&answers).await?;
    }
}

async fn by_hyper(tape: Tape) -> io::Result<usize> {
    let answered = Cell::new(0);
    let answer = service_fn(async |request: Request<Incoming>| {
        request.into_body().collect().await?;
        answered.set(answered.get() + 1);
        Ok::<_, hyper::Error>(Response::new(Full::new(Bytes::from_static(b"ok"))))
    });
    let mut server = hyper::server::conn::http1::Builder::new();
    // The tape ends right behind the last request, before that one is answered.
    server.pipeline_flush(true).half_close(true);
    server.serve_connection(TokioIo::new(tape), answer).await.map_err(io::Error::other)?;
    Ok(answered.get())
}

#[cfg(test)]
mod tests {
    #[test]
    fn both_answer_every_request_of_the_tape() {
        super::run(true).unwrap();
    }
}
