//! What a proxy adds to a small request and its answer: 64 bytes there and back, one at a time; with everything on one
//! processor, and on all of them.
//!
//! On one processor nothing runs beside, so the figure is what the way itself costs; on several, waking another core up
//! is in it. Client and server are plain blocking threads. Invariant: each round trip waits for the one before.

use crate::{
    contestant::Discipline,
    error::{BenchError, Tried},
    figures::{Figures, Promise, Versus},
    lab::{Lab, Line},
    pinned::Pinned,
};
use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    time::Instant,
};

const BYTES: usize = 64;
const QUANTILES: [(&str, f64); 2] = [("p50", 0.5), ("p99", 0.99)];

/// Round trips before those that count.
pub(super) const WARM_UP: usize = 50;

pub(super) fn run(lab: &Lab, figures: &mut Figures) -> Result<(), BenchError> {
    let promise = Promise::AtMostBest(1.0, &["haproxy"]);
    for (id, pinned, promise) in [("one_cpu", true, promise), ("all_cpus", false, Promise::None)] {
        let id = format!("round_trip.{id}");
        let on = if pinned { "one CPU" } else { "all CPUs" };
        for (suffix, _) in QUANTILES {
            let name = format!("round trip of 64 B, {on}, {suffix}");
            figures.declare_promised(format!("{id}.{suffix}"), name, "us", Versus::Added, promise);
        }
        lab.in_turn(Discipline::Plain, |contestant| {
            // Before the contestant's process is started, which inherits it.
            let _pinned = pinned.then(Pinned::here).transpose()?;
            lab.through(contestant, &[], |line| {
                let mut micros = ping_pong(line, lab.scale.round_trips)?;
                figures.record_quantiles(&id, contestant.name(), &mut micros, &QUANTILES)
            })
        })?;
    }
    Ok(())
}

/// How long each round trip took, in microseconds.
pub(super) fn ping_pong(line: &Line<'_>, count: usize) -> Result<Vec<f64>, BenchError> {
    let pair = line.connect_one()?.blocking()?;
    std::thread::scope(|scope| {
        let echo = scope.spawn(|| echo(&pair.server));
        let micros = (0..WARM_UP + count).map(|_| ping(&pair.client)).skip(WARM_UP).collect();
        pair.client.shutdown(Shutdown::Write).tried("end a connection")?;
        echo.join().map_err(|_| BenchError::Panicked("echo"))??;
        micros
    })
}

fn ping(mut client: &TcpStream) -> Result<f64, BenchError> {
    let mut message = [0x5a; BYTES];
    let start = Instant::now();
    client.write_all(&message).and_then(|()| client.read_exact(&mut message)).tried("make a round trip")?;
    Ok(start.elapsed().as_secs_f64() * 1e6)
}

fn echo(mut server: &TcpStream) -> Result<(), BenchError> {
    let mut message = [0; BYTES];
    loop {
        match server.read(&mut message).tried("read what to echo")? {
            0 => return Ok(()),
            read => server.write_all(&message[..read]).tried("echo")?,
        }
    }
}
