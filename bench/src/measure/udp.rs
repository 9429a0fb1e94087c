//! Datagrams through a proxy: how many come there and back in a second, and what it adds to one round trip.
//!
//! Datagrams may be lost where a queue is full, direct loopback included; what is lost is sent again after a while and
//! not counted. Client and server are plain blocking threads. Invariant: only datagrams that came back count.

use crate::{
    contestant::Discipline,
    error::{BenchError, Tried},
    figures::{Figures, Versus},
    lab::Lab,
    pinned::Pinned,
};
use std::{
    io::ErrorKind,
    net::{SocketAddr, UdpSocket},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::{Duration, Instant},
};

const BYTES: usize = 64;
const QUANTILES: [(&str, f64); 2] = [("p50", 0.5), ("p99", 0.99)];
const WARM_UP: usize = 50;

/// Clients that send at once, each from an address of its own, with so many datagrams under way.
const CLIENTS: usize = 8;
const UNDER_WAY: usize = 16;

/// After so long, what has not come back is lost.
const LOST: Duration = Duration::from_millis(100);

pub(super) fn run(lab: &Lab, figures: &mut Figures) -> Result<(), BenchError> {
    for (suffix, _) in QUANTILES {
        let name = format!("round trip of a datagram of 64 B, one CPU, {suffix}");
        figures.declare(format!("udp.round_trip.{suffix}"), name, "us", Versus::Added);
    }
    lab.in_turn(Discipline::Datagrams, |contestant| {
        // Before the contestant's process is started, which inherits it.
        let _pinned = Pinned::here()?;
        let mut micros = echoed(lab, contestant, |address| ping_pong(address, lab.scale.round_trips / 2))?;
        figures.record_quantiles("udp.round_trip", contestant.name(), &mut micros, &QUANTILES)
    })?;
    let name = format!("datagrams of 64 B there and back, {CLIENTS} clients");
    figures.declare("udp.per_second", name, "1/s", Versus::Ratio);
    lab.in_turn(Discipline::Datagrams, |contestant| {
        let count = echoed(lab, contestant, |address| flood(address, lab.scale.transfer))?;
        figures.record("udp.per_second", contestant.name(), count as f64 / lab.scale.transfer.as_secs_f64())
    })
}

/// Works with the address of a server that echoes, through the contestant.
fn echoed<T>(
    lab: &Lab,
    contestant: &crate::contestant::Contestant,
    work: impl FnOnce(SocketAddr) -> Result<T, BenchError>,
) -> Result<T, BenchError> {
    let server = bound()?;
    let address = server.local_addr().tried("ask for the port that was bound")?;
    let way = lab.lead_datagrams(contestant, address)?;
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let echo = scope.spawn(|| echo(&server, &done));
        let outcome = work(way.address);
        done.store(true, Relaxed);
        echo.join().map_err(|_| BenchError::Panicked("echo datagrams"))??;
        outcome
    })
}

/// A socket on loopback that waits for [`LOST`] at most.
fn bound() -> Result<UdpSocket, BenchError> {
    let socket = UdpSocket::bind("127.0.0.1:0").tried("bind a loopback port for datagrams")?;
    socket.set_read_timeout(Some(LOST)).tried("limit a wait for datagrams")?;
    Ok(socket)
}

/// What came, or nothing when the wait was over.
fn waited<T>(received: std::io::Result<T>) -> Result<Option<T>, BenchError> {
    match received {
        Ok(received) => Ok(Some(received)),
        // Refused: the other end of the way is not there yet.
        Err(error)
            if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::ConnectionRefused) =>
        {
            Ok(None)
        }
        Err(error) => Err(error).tried("receive a datagram"),
    }
}

fn echo(server: &UdpSocket, done: &AtomicBool) -> Result<(), BenchError> {
    let mut message = [0; BYTES];
    while !done.load(Relaxed) {
        if let Some((bytes, from)) = waited(server.recv_from(&mut message))? {
            // A client that is gone is not waited for.
            let _ = server.send_to(&message[..bytes], from);
        }
    }
    Ok(())
}

/// How long each round trip took, in microseconds.
fn ping_pong(address: SocketAddr, count: usize) -> Result<Vec<f64>, BenchError> {
    let client = bound()?;
    client.connect(address).tried("aim a socket")?;
    let mut micros = Vec::with_capacity(count);
    let until = Instant::now() + Duration::from_secs(30);
    while micros.len() < WARM_UP + count {
        if Instant::now() > until {
            return Err(BenchError::Late { what: "datagrams to come back".into(), limit: Duration::from_secs(30) });
        }
        let start = Instant::now();
        client.send(&[0x5a; BYTES]).tried("send a datagram")?;
        if waited(client.recv(&mut [0; BYTES]))?.is_some() {
            micros.push(start.elapsed().as_secs_f64() * 1e6);
        }
    }
    Ok(micros.split_off(WARM_UP))
}

/// How many came back in so long, of all clients together.
fn flood(address: SocketAddr, length: Duration) -> Result<usize, BenchError> {
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(|| keep_under_way(address, length))).collect();
        clients.into_iter().map(|client| client.join().map_err(|_| BenchError::Panicked("send datagrams"))?).sum()
    })
}

fn keep_under_way(address: SocketAddr, length: Duration) -> Result<usize, BenchError> {
    let client = bound()?;
    client.connect(address).tried("aim a socket")?;
    let (until, mut back) = (Instant::now() + length, 0);
    let mut to_send = UNDER_WAY;
    while Instant::now() < until {
        for _ in 0..to_send {
            // One that is refused is lost like any other.
            let _ = client.send(&[0x5a; BYTES]);
        }
        let came = waited(client.recv(&mut [0; BYTES]))?.is_some();
        back += usize::from(came);
        // After a wait in vain all of them are lost.
        to_send = if came { 1 } else { UNDER_WAY };
    }
    Ok(back)
}
