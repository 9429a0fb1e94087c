//! A proxy that ends TLS with its clients, and one that starts it with its upstream: whole handshakes a second, bytes a
//! second on one connection, and keep-alive requests a second on many.
//!
//! ```text
//!  ended    client ══TLS══▶ contestant ──plain──▶ server        direct: client ══TLS══▶ server, for both
//!  started  client ──plain──▶ contestant ══TLS══▶ server
//! ```
//! Above is `encrypted`. Invariant: no session is resumed, on either side of any contestant, as far as we are a side.

use super::http;
use crate::{
    contestant::{Contestant, Course, Discipline, Tls},
    encrypted::{Certificates, Wire},
    error::{BenchError, Tried},
    figures::{Figures, Versus},
    lab::{Lab, Line},
};
use squall_wire::Protocol;
use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinSet,
};

const CLIENTS: usize = 4;
const CONNECTIONS: usize = 32;
const CHUNK: usize = 64 * 1024;

/// What a chunk begins with that others follow, and the last one. Not every proxy passes half of an end on.
const MORE: u8 = 0x5a;
const LAST: u8 = 0xff;

/// The longest that one part of a round may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a server does with a connection.
#[derive(Debug, Clone, Copy)]
enum Service {
    /// Echoes one byte, and waits for the end.
    Byte,
    /// Takes whole chunks in, and says after the last one how many there were.
    Count,
    /// Answers requests.
    Answers,
}

/// Who speaks TLS in one line.
struct Ends {
    files: Arc<Certificates>,
    client: bool,
    server: bool,
}

pub(super) fn run(lab: &Lab, figures: &mut Figures) -> Result<(), BenchError> {
    let files = Arc::new(Certificates::new()?);
    for (way, does) in [("ended", "ends"), ("started", "starts")] {
        let id = |what: &str| format!("tls.{way}.{what}");
        let shown = |what: &str| format!("TLS that a proxy {does}: {what}");
        let handshakes = shown(&format!("new connections, {CLIENTS} clients"));
        figures.declare(id("handshakes"), handshakes, "1/s", Versus::Ratio);
        figures.declare(id("throughput"), shown("throughput, 1 stream"), "MB/s", Versus::Ratio);
        let requests = shown(&format!("HTTP keep-alive requests, {CONNECTIONS} connections"));
        figures.declare(id("requests"), requests, "1/s", Versus::Ratio);
        lab.in_turn(Discipline::Plain, |contestant| {
            let ended = way == "ended";
            let tls = if ended { Tls::Ended(&files) } else { Tls::Started(&files) };
            let direct = *contestant == Contestant::Direct;
            let ends = Ends { files: Arc::clone(&files), client: ended || direct, server: !ended || direct };
            lab.through_course(contestant, Course { protocol: Protocol::Tcp, tls }, &[], |line| {
                let [handshakes, megabytes, requests] = lab.runtime.block_on(measured(lab, line, &ends))?;
                figures.record(&id("handshakes"), contestant.name(), handshakes)?;
                figures.record(&id("throughput"), contestant.name(), megabytes)?;
                figures.record(&id("requests"), contestant.name(), requests)
            })
        })?;
    }
    Ok(())
}

/// Handshakes a second, megabytes a second, requests a second.
async fn measured(lab: &Lab, line: &Line<'_>, ends: &Ends) -> Result<[f64; 3], BenchError> {
    let (address, server) = (line.address(), &line.upstream);
    let each = lab.scale.handshakes.div_ceil(CLIENTS);
    let clients = (0..CLIENTS).map(|_| greet(Arc::clone(&ends.files), ends.client, address, each));
    let took = served(server, ends, Service::Byte, all(clients)).await?;
    let handshakes = (each * CLIENTS) as f64 / took.as_secs_f64();

    let feed = lab.scale.transfer.mul_f64(0.3);
    let sent = served(server, ends, Service::Count, send(ends, address, feed)).await?;

    let each = lab.scale.requests.div_ceil(4 * CONNECTIONS);
    let mut wires = Vec::new();
    let opened = served(server, ends, Service::Answers, async {
        for _ in 0..CONNECTIONS {
            wires.push(ends.files.connect(address, ends.client).await?);
        }
        // Only then it counts.
        let start = Instant::now();
        all(wires.into_iter().map(|wire| http::ask(wire, each))).await?;
        Ok(start.elapsed())
    });
    let took = opened.await?;
    Ok([handshakes, sent, (each * CONNECTIONS) as f64 / took.as_secs_f64()])
}

/// What the clients come to while the server serves.
async fn served<T>(
    server: &TcpListener,
    ends: &Ends,
    service: Service,
    clients: impl Future<Output = io::Result<T>>,
) -> Result<T, BenchError> {
    tokio::select! {
        outcome = clients => outcome.tried("use a connection with TLS"),
        failed = serve(server, ends, service) => Err(failed).tried("accept"),
        () = tokio::time::sleep(PATIENCE) => Err(BenchError::Late { what: "connections with TLS".into(), limit: PATIENCE }),
    }
}

async fn serve(server: &TcpListener, ends: &Ends, service: Service) -> io::Error {
    let mut tasks = JoinSet::new();
    loop {
        let stream = match server.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => return error,
        };
        while tasks.try_join_next().is_some() {}
        let (files, encrypted) = (Arc::clone(&ends.files), ends.server);
        // Whoever misses an answer says so.
        tasks.spawn(async move {
            if let Ok(wire) = files.accept(stream, encrypted).await {
                let _ = attend(wire, service).await;
            }
        });
    }
}

async fn attend(mut wire: Wire, service: Service) -> io::Result<()> {
    match service {
        Service::Byte => {
            let mut byte = [0];
            wire.read_exact(&mut byte).await?;
            wire.write_all(&byte).await?;
            wire.flush().await?;
            wire.read(&mut byte).await.map(drop)
        }
        Service::Count => {
            let (mut chunk, mut count) = (vec![0; CHUNK], 0_u64);
            while chunk[0] != LAST {
                wire.read_exact(&mut chunk).await?;
                count += 1;
            }
            wire.write_all(&count.to_be_bytes()).await?;
            wire.flush().await?;
            // Until the client has closed, in order or not.
            wire.read(&mut chunk).await.map(drop)
        }
        Service::Answers => {
            http::serve(wire).await;
            Ok(())
        }
    }
}

/// How long they took together.
async fn all(
    clients: impl Iterator<Item = impl Future<Output = io::Result<()>> + Send + 'static>,
) -> io::Result<Duration> {
    let start = Instant::now();
    let mut tasks: JoinSet<io::Result<()>> = clients.collect();
    while let Some(ended) = tasks.join_next().await {
        ended.map_err(io::Error::other)??;
    }
    Ok(start.elapsed())
}

async fn greet(files: Arc<Certificates>, encrypted: bool, address: SocketAddr, count: usize) -> io::Result<()> {
    for _ in 0..count {
        let mut wire = files.connect(address, encrypted).await?;
        wire.write_all(b"?").await?;
        wire.flush().await?;
        wire.read_exact(&mut [0]).await?;
    }
    Ok(())
}

/// Megabytes a second, up to the server's word that it has all.
async fn send(ends: &Ends, address: SocketAddr, feed: Duration) -> io::Result<f64> {
    let mut wire = ends.files.connect(address, ends.client).await?;
    let mut chunk = vec![MORE; CHUNK];
    let (start, mut sent) = (Instant::now(), 0);
    while chunk[0] == MORE {
        if start.elapsed() >= feed {
            chunk[0] = LAST;
        }
        wire.write_all(&chunk).await?;
        sent += 1;
    }
    wire.flush().await?;
    let mut counted = [0; 8];
    wire.read_exact(&mut counted).await?;
    if u64::from_be_bytes(counted) != sent {
        return Err(io::Error::other("not all chunks arrived"));
    }
    Ok((sent as usize * CHUNK) as f64 / 1e6 / start.elapsed().as_secs_f64())
}
