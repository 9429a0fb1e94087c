//! Load generators beside each other: how many requests a second against one nginx, and how true their latencies are when
//! the server freezes for a second.
//!
//! A generator that sends the next request only when the last has come back sends nothing while the server is frozen, so
//! what it shows is how the server is when it is well: coordinated omission. At an even rate the truth can be calculated:
//! of `T` seconds, the requests due in the one second wait for what is left of it. Who makes up for it, and how well, is measured:
//! wrk 4 adds requests to its figures afterwards, oha does with `--latency-correction` only.
//! Neighbour: `most` finds what our own can do. Invariant: every generator has the same number of connections, the same server and the same time.

use super::{Budget, Row, Sizes, most, peer, table::Table};
use crate::{
    error::{BenchError, Tried},
    peers,
    process::{Process, Stop},
};
use squall_engine::search::surge::Level;
use std::{
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};
use tokio::runtime::Runtime;

/// Of each generator, where nothing else is said.
pub(super) const CONNECTIONS: usize = 64;

/// Ours may have more against the server that freezes: it is the rate that it keeps, not a number of connections.
const ENOUGH: usize = 1024;

/// The even rate against the server that freezes.
const RATE: u32 = 500;

/// The server freezes so long after its first request, for so long.
const FREEZE: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(1)];

/// What a load takes beyond the time that it was told.
const MARGIN: Duration = Duration::from_secs(30);

/// How far off our own p99 may be, in percent.
const MOST_OFF: f64 = 5.0;

/// What a generator says of one load: answers a second, and quantiles in milliseconds.
#[derive(Debug)]
struct Said {
    rate: f64,
    p50: f64,
    p99: f64,
}

pub(super) fn measure(
    runtime: &Runtime,
    oha: Option<&Path>,
    sizes: &Sizes,
    budget: &Budget,
    table: &mut Table,
) -> Result<(), BenchError> {
    let wrk = peers::find("wrk");
    if wrk.is_none() {
        table.leave_out("wrk (not installed)".to_owned());
    }
    if oha.is_none() {
        table.leave_out("oha (`cargo install oha`, or --oha PATH)".to_owned());
    }
    // First what is shorter and matters more: whether what is said is true.
    frozen(runtime, sizes, budget, (wrk.as_deref(), oha), table)?;
    match peers::find("nginx") {
        None => table.leave_out("requests a second (nginx is not installed)".to_owned()),
        Some(nginx) => fastest(runtime, sizes, budget, (&nginx, wrk.as_deref(), oha), table)?,
    }
    Ok(())
}

/// How many answers a second each gets out of one nginx.
fn fastest(
    runtime: &Runtime,
    sizes: &Sizes,
    budget: &Budget,
    (nginx, wrk, oha): (&Path, Option<&Path>, Option<&Path>),
    table: &mut Table,
) -> Result<(), BenchError> {
    let [mut by_squall, mut beyond, mut by_wrk, mut by_oha] = [const { Vec::new() }; 4];
    let server = peers::nginx_http(nginx)?;
    let url = format!("http://{}/", server.address);
    for round in 0..sizes.rounds {
        if round > 0 && !budget.goes_on(round, sizes.rounds) {
            break;
        }
        if let Some(wrk) = wrk {
            by_wrk.push(wrk_says(wrk, &url, sizes.seconds)?.rate);
        }
        if let Some(oha) = oha {
            by_oha.push(oha_says(oha, &url, sizes.seconds, &[])?.rate);
        }
        let most = most::find(runtime, &url, sizes)?;
        by_squall.push(most.rate);
        beyond.push(most.beyond);
    }
    let figure = format!("load: the most of nginx, {CONNECTIONS} connections");
    let row = |figure: &str, who: &str, values| Row {
        figure: figure.into(),
        who: who.into(),
        unit: "1/s",
        values,
        promise: None,
    };
    for (who, values) in [("squall", by_squall), ("wrk", by_wrk), ("oha", by_oha)] {
        if !values.is_empty() {
            table.add(row(&figure, who, values))?;
        }
    }
    table.add(row("load: answered beyond it, at twice that rate", "squall", beyond))
}

/// Against a server that freezes: what each says, beside what was.
fn frozen(
    runtime: &Runtime,
    sizes: &Sizes,
    budget: &Budget,
    (wrk, oha): (Option<&Path>, Option<&Path>),
    table: &mut Table,
) -> Result<(), BenchError> {
    let rate = RATE.to_string();
    let mut says: Vec<(&str, Vec<Said>)> =
        ["squall", "wrk", "oha -q", "oha -q --latency-correction"].map(|who| (who, Vec::new())).into();
    for round in 0..sizes.rounds {
        if round > 0 && !budget.goes_on(round, sizes.rounds) {
            break;
        }
        let time = Duration::from_secs(sizes.seconds.into());
        says[0].1.push(with_server(|url| ours(&most::drive(runtime, url, RATE.into(), ENOUGH, time)?))?);
        if let Some(wrk) = wrk {
            says[1].1.push(with_server(|url| wrk_says(wrk, url, sizes.seconds))?);
        }
        if let Some(oha) = oha {
            says[2].1.push(with_server(|url| oha_says(oha, url, sizes.seconds, &["-q", &rate]))?);
            let corrected = ["-q", &rate, "--latency-correction"];
            says[3].1.push(with_server(|url| oha_says(oha, url, sizes.seconds, &corrected))?);
        }
    }
    let truth = truth(sizes.seconds);
    let figure = format!("load: p99 of {} s with a server frozen for 1 s, {RATE}/s", sizes.seconds);
    let row = |who: &str, values| Row { figure: figure.clone(), who: who.into(), unit: "ms", values, promise: None };
    table.add(row("the truth", vec![truth]))?;
    for (who, said) in says.into_iter().filter(|(_, said)| !said.is_empty()) {
        let values: Vec<_> = said.iter().map(|said| said.p99).collect();
        table.add(row(who, values.clone()))?;
        let off = values.iter().map(|p99| (p99 / truth - 1.0).abs() * 100.0).collect();
        let figure = "load: how far off that p99 is".to_owned();
        let promise = (who == "squall").then_some((1.0, MOST_OFF));
        table.add(Row { figure, who: who.into(), unit: "%", values: off, promise })?;
        let medians = said.iter().map(|said| said.p50).collect();
        let figure = "load: p50 of that load".to_owned();
        table.add(Row { figure, who: who.into(), unit: "ms", values: medians, promise: None })?;
    }
    Ok(())
}

/// What an even load sees at p99: the requests due in the frozen second wait for what is left of it.
fn truth(seconds: u32) -> f64 {
    let (freeze, total) = (FREEZE[1].as_secs_f64(), f64::from(seconds));
    // One in a hundred waits longer: that share of all is this much of the frozen second.
    ((freeze - total * 0.01) * 1e3).max(0.0)
}

fn with_server<T>(drive: impl FnOnce(&str) -> Result<T, BenchError>) -> Result<T, BenchError> {
    let us = std::env::current_exe().tried("find our own executable")?;
    let mut command = Command::new(us);
    let millis = |time: Duration| time.as_millis().to_string();
    command.args(["serve-freezing", "--freeze-at", &millis(FREEZE[0]), "--freeze-for", &millis(FREEZE[1])]);
    let mut process = Process::start(command.stdout(Stdio::piped()), Stop::Input)?;
    let line = process.first_line()?;
    let address: SocketAddr = line.trim().parse().map_err(|_| BenchError::Missing("the server's address".into()))?;
    drive(&format!("http://{address}/"))
}

fn ours(level: &Level) -> Result<Said, BenchError> {
    use squall_engine::sample::Metric;
    let time = |metric| level.time(metric).map(|seconds| seconds * 1e3);
    let missing = || BenchError::Missing("an answer to our own load".into());
    let [p50, p99] = [time(Metric::P50), time(Metric::P99)];
    Ok(Said { rate: level.goodput, p50: p50.ok_or_else(missing)?, p99: p99.ok_or_else(missing)? })
}

fn wrk_says(wrk: &Path, url: &str, seconds: u32) -> Result<Said, BenchError> {
    let connections = CONNECTIONS.to_string();
    let duration = format!("{seconds}s");
    let arguments = ["-t2", "-c", &connections, "-d", &duration, "--timeout", "5s", "--latency", url];
    let said = peer::output("wrk", Command::new(wrk).args(arguments), limit(seconds))?;
    wrk_read(&said).ok_or_else(|| BenchError::Peer { who: "wrk", what: "say how it was".into(), why: said })
}

fn wrk_read(said: &str) -> Option<Said> {
    let after = |what: &str| said.lines().find_map(|line| line.trim().strip_prefix(what)).map(str::trim);
    Some(Said { rate: after("Requests/sec:")?.parse().ok()?, p50: millis(after("50%")?)?, p99: millis(after("99%")?)? })
}

/// `1.23ms`, `812.00us` or `1.02s`.
fn millis(text: &str) -> Option<f64> {
    let (number, factor) = match text {
        text if text.ends_with("us") => (text.strip_suffix("us")?, 1e-3),
        text if text.ends_with("ms") => (text.strip_suffix("ms")?, 1.0),
        text => (text.strip_suffix('s')?, 1e3),
    };
    Some(number.parse::<f64>().ok()? * factor)
}

fn oha_says(oha: &Path, url: &str, seconds: u32, more: &[&str]) -> Result<Said, BenchError> {
    let connections = CONNECTIONS.to_string();
    let duration = format!("{seconds}s");
    let mut arguments = vec!["-z", &duration, "-c", &connections, "--no-tui", "--output-format", "json"];
    arguments.extend(more);
    arguments.push(url);
    let said = peer::output("oha", Command::new(oha).args(&arguments), limit(seconds))?;
    oha_read(&said).ok_or_else(|| BenchError::Peer { who: "oha", what: "say how it was".into(), why: said })
}

fn oha_read(said: &str) -> Option<Said> {
    let value: serde_json::Value = serde_json::from_str(said).ok()?;
    let millis = |name: &str| Some(value["latencyPercentiles"][name].as_f64()? * 1e3);
    Some(Said { rate: value["summary"]["requestsPerSec"].as_f64()?, p50: millis("p50")?, p99: millis("p99")? })
}

fn limit(seconds: u32) -> Duration {
    Duration::from_secs(seconds.into()) + MARGIN
}

#[cfg(test)]
mod tests {
    use super::{oha_read, truth, wrk_read};

    #[test]
    fn what_wrk_says_is_understood() {
        let said = "  Latency Distribution\n     50%  812.00us\n     75%    1.01ms\n     99%    1.02s \n\
                    Requests/sec:  70123.45\nTransfer/sec:     10.0MB\n";
        let said = wrk_read(said).unwrap();
        assert_eq!((said.rate, said.p50, said.p99), (70_123.45, 0.812, 1_020.0));
    }

    #[test]
    fn what_oha_says_is_understood() {
        let said = r#"{"summary":{"successRate":1.0,"total":1.0,"requestsPerSec":49321.5},
            "latencyPercentiles":{"p10":0.0005,"p50":0.0125,"p99":0.25,"p99.99":0.5}}"#;
        let said = oha_read(said).unwrap();
        assert_eq!((said.rate, said.p50, said.p99), (49_321.5, 12.5, 250.0));
        assert!(oha_read("oha 1.0").is_none());
    }

    #[test]
    fn the_truth_is_what_is_left_of_the_frozen_second() {
        assert_eq!(truth(10), 900.0);
        assert_eq!(truth(3), 970.0);
    }
}
