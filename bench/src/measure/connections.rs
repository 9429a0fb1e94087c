//! New connections a second: connect, one byte there and one back, close; four clients at once.
//!
//! The byte makes sure that the whole way was there, and not only its first half.
//! Invariant: every connection that was opened got its byte back, or the run fails.

use crate::{
    contestant::Discipline,
    error::{BenchError, Tried},
    figures::{Figures, Promise, Versus},
    lab::{Lab, Line},
};
use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

const CLIENTS: usize = 4;

/// The longest that all connections of one round may take.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) fn run(lab: &Lab, figures: &mut Figures) -> Result<(), BenchError> {
    let promise = Promise::AtLeastBest(1.0, &["haproxy"]);
    figures.declare_promised("connections.per_second", "new connections, 4 clients", "1/s", Versus::Ratio, promise);
    lab.in_turn(Discipline::Plain, |contestant| {
        lab.through(contestant, &[], |line| {
            let each = lab.scale.connects.div_ceil(CLIENTS);
            let took = lab.runtime.block_on(all(line, each))?;
            let per_second = (each * CLIENTS) as f64 / took.as_secs_f64();
            figures.record("connections.per_second", contestant.name(), per_second)
        })
    })
}

/// How long all clients took together.
async fn all(line: &Line<'_>, each: usize) -> Result<Duration, BenchError> {
    let start = Instant::now();
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        clients.spawn(client(line.address(), each));
    }
    let finish = async {
        while let Some(ended) = clients.join_next().await {
            ended.map_err(|_| BenchError::Panicked("connect"))?.tried("open a connection and use it")?;
        }
        Ok(start.elapsed())
    };
    tokio::select! {
        took = finish => took,
        failed = serve(&line.upstream) => Err(failed).tried("accept"),
        () = tokio::time::sleep(PATIENCE) => Err(BenchError::Late { what: "new connections".into(), limit: PATIENCE }),
    }
}

async fn client(address: SocketAddr, count: usize) -> io::Result<()> {
    for _ in 0..count {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(b"?").await?;
        stream.read_exact(&mut [0]).await?;
    }
    Ok(())
}

/// Echoes one byte on each connection, until it is dropped.
async fn serve(upstream: &TcpListener) -> io::Error {
    let mut tasks = JoinSet::new();
    loop {
        let mut stream = match upstream.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => return error,
        };
        // As many as there are clients are at work; the finished ones are let go of.
        while tasks.try_join_next().is_some() {}
        tasks.spawn(async move {
            let mut byte = [0];
            stream.read_exact(&mut byte).await?;
            stream.write_all(&byte).await?;
            // Until the client has closed.
            stream.read(&mut byte).await.map(drop)
        });
    }
}
