//! Keep-alive HTTP requests a second through a proxy: a small GET and a small answer, again and again on many
//! connections at once.
//!
//! Client and server are a few lines each, so that the proxy is what is measured. [`PROTOCOLS`] says how the proxy is
//! asked to see the traffic. Invariant: every answer is the server's, to the byte, or the run fails.

use crate::{
    contestant::{Course, Discipline},
    error::{BenchError, Tried},
    figures::{Figures, Promise, Versus},
    lab::{Lab, Line},
};
use squall_wire::Protocol;
use std::{
    io::{self, ErrorKind},
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

/// How a proxy sees the traffic, its name in ids and for people, and what is promised.
const PROTOCOLS: [(Protocol, &str, Promise); 2] = [
    (Protocol::Tcp, "tcp", Promise::AtLeastBest(1.0, &["nginx"])),
    (Protocol::Http, "http", Promise::AtLeastBest(0.5, &["nginx"])),
];

const CONNECTIONS: usize = 32;

/// The longest that all requests of one round may take.
const PATIENCE: Duration = Duration::from_secs(60);

const REQUEST: &[u8] = b"GET /thing HTTP/1.1\r\nhost: upstream\r\naccept: */*\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 14\r\n\r\nhello, world.\n";

pub(super) fn run(lab: &Lab, figures: &mut Figures) -> Result<(), BenchError> {
    for (protocol, name, promise) in PROTOCOLS {
        let id = format!("http.{name}.per_second");
        let shown = format!("HTTP keep-alive requests through a {name} proxy, {CONNECTIONS} connections");
        figures.declare_promised(&id, shown, "1/s", Versus::Ratio, promise);
        lab.in_turn(Discipline::Plain, |contestant| {
            lab.through_course(contestant, Course::of(protocol), &[], |line| {
                let each = lab.scale.requests.div_ceil(CONNECTIONS);
                let took = all(lab, line, each)?;
                figures.record(&id, contestant.name(), (each * CONNECTIONS) as f64 / took.as_secs_f64())
            })
        })?;
    }
    Ok(())
}

/// How long all clients took together.
fn all(lab: &Lab, line: &Line<'_>, each: usize) -> Result<Duration, BenchError> {
    let pairs = line.connect(CONNECTIONS)?;
    lab.runtime.block_on(async {
        let (mut servers, mut clients) = (JoinSet::new(), JoinSet::new());
        let start = Instant::now();
        for pair in pairs {
            let adopt = |end| TcpStream::from_std(end).tried("take over a socket");
            servers.spawn(serve(adopt(pair.server)?));
            clients.spawn(ask(adopt(pair.client)?, each));
        }
        let finish = async {
            while let Some(ended) = clients.join_next().await {
                ended.map_err(|_| BenchError::Panicked("ask by HTTP"))?.tried("ask by HTTP")?;
            }
            Ok(start.elapsed())
        };
        let late = |_| BenchError::Late { what: "HTTP requests".into(), limit: PATIENCE };
        tokio::time::timeout(PATIENCE, finish).await.map_err(late)?
    })
}

/// So many requests, one after the other.
pub(super) async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin, count: usize) -> io::Result<()> {
    let mut answer = [0; ANSWER.len()];
    for _ in 0..count {
        stream.write_all(REQUEST).await?;
        stream.read_exact(&mut answer).await?;
        if answer != *ANSWER {
            return Err(io::Error::new(ErrorKind::InvalidData, "the answer is not the server's"));
        }
    }
    Ok(())
}

/// Answers each request, until the client ends.
pub(super) async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let mut request = [0; REQUEST.len()];
    // An end or an error ends it; whoever misses an answer says so.
    while stream.read_exact(&mut request).await.is_ok() && request == *REQUEST {
        if stream.write_all(ANSWER).await.is_err() {
            return;
        }
    }
}
