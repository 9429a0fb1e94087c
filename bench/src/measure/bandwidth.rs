//! How exact `bandwidth` is: any second of a paced stream against the rate, and its bursts.
//!
//! Bytes are timed when the kernel had them for the server. Of what one read takes, the kernel tells the time of the last
//! segment only, so a reader that the machine keeps waiting still sees bursts that were never sent: the figures are an
//! upper bound, and say most on an idle machine. Below is `stats`.
//!
//! Invariant: the sender always has more to send, so that only the fault sets the pace.

use super::bare;
use crate::{
    contestant::{Contestant, Discipline},
    error::{BenchError, Tried},
    figures::{Figures, Promise, Versus},
    lab::{Lab, Line},
    stats::{self, Arrival},
};
use squall_agent::inside::{note_arrivals, read_noted};
use squall_wire::{
    ByteRate, FaultKind,
    fault::{Bandwidth, RateScope},
};
use std::{
    io::Write,
    net::{Shutdown, TcpStream},
    time::{Duration, Instant},
};

/// Bytes a second.
const RATES: [(u64, &str); 3] = [(10_000, "10 KB/s"), (1_000_000, "1 MB/s"), (100_000_000, "100 MB/s")];

/// What is promised: within 1 % over any second, 5 % over any 100 ms, and never more than 20 ms' worth at once.
const SECOND: Duration = Duration::from_secs(1);
const TENTH: Duration = Duration::from_millis(100);
const BURST: Duration = Duration::from_millis(20);

const CHUNK: usize = 64 * 1024;

pub(super) fn run(lab: &Lab, figures: &mut Figures) -> Result<(), BenchError> {
    for (rate, shown) in RATES {
        let id = |what: &str| format!("bandwidth.{rate}.{what}");
        let any_second = format!("bandwidth {shown}, any second off by");
        figures.declare_promised(id("any_second"), any_second, "%", Versus::Nothing, Promise::AtMost(1.0));
        let tenth = format!("bandwidth {shown}, any 100 ms off by");
        figures.declare_promised(id("any_100ms"), tenth, "%", Versus::Nothing, Promise::AtMost(5.0));
        let burst = format!("bandwidth {shown}, largest burst");
        figures.declare_promised(id("burst"), burst, "ms worth", Versus::Nothing, Promise::AtMost(20.0));
        // Within a span of 20 ms, the largest burst may come on top of what those 20 ms allow.
        let within = format!("bandwidth {shown}, most in any 20 ms");
        figures.declare_promised(id("within_20ms"), within, "ms worth", Versus::Nothing, Promise::AtMost(40.0));
        let fault =
            FaultKind::Bandwidth(Bandwidth { rate: ByteRate::new(rate), burst: None, scope: RateScope::Connection });
        lab.in_turn(Discipline::Faults, |contestant| {
            lab.through(contestant, std::slice::from_ref(&fault), |line| {
                let arrivals = watch(line, lab.scale.paced)?;
                let per_second = rate as f64;
                let millis = |bytes: f64| bytes / per_second * 1e3;
                let name = contestant.name();
                for (what, window) in [("any_second", SECOND), ("any_100ms", TENTH)] {
                    let off = stats::worst_rate_error(&arrivals, window, per_second);
                    let off = off.ok_or_else(|| BenchError::Missing(id(what)))?;
                    figures.record(&id(what), name, off * 100.0)?;
                }
                figures.record(&id("burst"), name, millis(stats::largest_burst(&arrivals, per_second)))?;
                figures.record(&id("within_20ms"), name, millis(stats::most_within(&arrivals, BURST) as f64))
            })
        })?;
    }
    let length = lab.scale.paced.as_secs_f64();
    let name = format!("beside it, the longest that a thread which never sleeps did not run within {length} s");
    figures.declare("bandwidth.pause", name, "ms", Versus::Nothing);
    (0..lab.scale.rounds).try_for_each(|_| {
        figures.record("bandwidth.pause", Contestant::Direct.name(), bare::longest_pause(lab.scale.paced))
    })
}

/// What arrives while the client sends as fast as it can.
fn watch(line: &Line<'_>, length: Duration) -> Result<Vec<Arrival>, BenchError> {
    let pair = line.connect_one()?.blocking()?;
    std::thread::scope(|scope| {
        let feeder = scope.spawn(|| feed(&pair.client));
        let arrivals = receive(&pair.server, length);
        // Wakes the feeder, which is stuck in a write.
        let ended = pair.client.shutdown(Shutdown::Both).tried("end a paced stream");
        feeder.join().map_err(|_| BenchError::Panicked("feed a paced stream"))?;
        ended?;
        arrivals
    })
}

fn feed(mut client: &TcpStream) {
    let chunk = vec![0x5a; CHUNK];
    // Ends when the connection is shut down.
    while client.write_all(&chunk).is_ok() {}
}

fn receive(server: &TcpStream, length: Duration) -> Result<Vec<Arrival>, BenchError> {
    note_arrivals(server, true).tried("have arrivals noted")?;
    let mut chunk = vec![0; CHUNK];
    let mut arrivals = Vec::new();
    let mut first = None;
    loop {
        let (bytes, came) = read_noted(server, &mut chunk).tried("read a paced stream")?;
        let (bytes, came) = (bytes as u64, came.unwrap_or_else(Instant::now));
        let at = came - *first.get_or_insert(came);
        if at > length {
            return Ok(arrivals);
        }
        if bytes == 0 {
            return Err(BenchError::Agent { what: "pace a stream".into(), why: "the stream ended".into() });
        }
        arrivals.push(Arrival { at, bytes });
    }
}
