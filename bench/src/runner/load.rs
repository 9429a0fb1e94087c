//! Load generators beside each other: how many requests a second against one nginx, and how true their latencies are when
//! the server freezes for a second.
//!
//! A generator that sends the next request only when the last has come back sends nothing while the server is frozen, so
//! what it shows is how the server is when it is well: coordinated omission. At an even rate the truth can be calculated:
//! of `T` seconds, the requests due in the one second wait for what is left of it.
//! Invariant: every generator has the same number of connections, the same server and the same time.

use super::{Row, Sizes, abort::parse, table::Table};
use crate::{
    error::{BenchError, Tried},
    peers,
    process::{Process, Stop},
    stats,
};
use squall_engine::{experiment::TrafficPlan, recorder::Recorder, traffic};
use std::{
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

const CONNECTIONS: usize = 64;

/// More than any generator reaches here: what is not sent in time is no success.
const TOO_MANY: u32 = 200_000;

/// The even rate against the server that freezes.
const RATE: u32 = 500;

/// The server freezes so long after its first request, for so long.
const FREEZE: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(1)];

/// What a generator says of one load: answers a second, and quantiles in milliseconds.
struct Said {
    rate: f64,
    p50: f64,
    p99: f64,
}

pub(super) fn measure(
    runtime: &Runtime,
    oha: Option<&Path>,
    sizes: &Sizes,
    table: &mut Table,
) -> Result<(), BenchError> {
    let wrk = peers::find("wrk");
    if wrk.is_none() {
        table.leave_out("wrk (not installed)".to_owned());
    }
    if oha.is_none() {
        table.leave_out("oha (`cargo install oha`, or --oha PATH)".to_owned());
    }
    let ours = |url: &str, rate: u32, clients: usize| squall(runtime, url, rate, clients, sizes.seconds);
    match peers::find("nginx") {
        None => table.leave_out("requests a second (nginx is not installed)".to_owned()),
        Some(nginx) => {
            let (mut by_squall, mut by_wrk, mut by_oha) = (Vec::new(), Vec::new(), Vec::new());
            let server = peers::nginx_http(&nginx)?;
            let url = format!("http://{}/", server.address);
            for _ in 0..sizes.rounds {
                by_squall.push(ours(&url, TOO_MANY, CONNECTIONS)?.rate);
                if let Some(wrk) = &wrk {
                    by_wrk.push(wrk_says(wrk, &url, sizes.seconds)?.rate);
                }
                if let Some(oha) = oha {
                    by_oha.push(oha_says(oha, &url, sizes.seconds, &[])?.rate);
                }
            }
            for (who, values) in [("squall", by_squall), ("wrk", by_wrk), ("oha", by_oha)] {
                if !values.is_empty() {
                    let figure = format!("load: answers a second of nginx, {CONNECTIONS} connections");
                    table.add(Row { figure, who: who.into(), unit: "1/s", values, promise: None })?;
                }
            }
        }
    }
    frozen(sizes, &ours, wrk.as_deref(), oha, table)
}

/// Against a server that freezes: what each says, beside what was.
fn frozen(
    sizes: &Sizes,
    ours: &dyn Fn(&str, u32, usize) -> Result<Said, BenchError>,
    wrk: Option<&Path>,
    oha: Option<&Path>,
    table: &mut Table,
) -> Result<(), BenchError> {
    let rate = RATE.to_string();
    let mut says: Vec<(&str, Vec<Said>)> =
        ["squall", "wrk", "oha -q", "oha -q --latency-correction"].map(|who| (who, Vec::new())).into();
    for _ in 0..sizes.rounds {
        says[0].1.push(with_server(|url| ours(url, RATE, 1024))?);
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
        let errors = values.iter().map(|p99| (p99 / truth - 1.0) * 100.0).collect();
        let figure = "load: error of that p99".to_owned();
        table.add(Row { figure, who: who.into(), unit: "%", values: errors, promise: None })?;
        let figure = "load: p50 of the same".to_owned();
        let values = said.iter().map(|said| said.p50).collect();
        table.add(Row { figure, who: who.into(), unit: "ms", values, promise: None })?;
    }
    Ok(())
}

/// The p99 of requests at an even rate, where those of one second wait for what is left of it, in milliseconds.
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

/// Our own generator, in this process.
fn squall(runtime: &Runtime, url: &str, rate: u32, clients: usize, seconds: u32) -> Result<Said, BenchError> {
    let text = format!(
        "version: 1\nname: load\nhypothesis: It is driven.\n\
         traffic: {{rate: {rate}/s, clients: {clients}, timeout: 5s, requests: [{{name: get, get: \"{url}\"}}]}}\n\
         steady_state:\n  - {{probe: traffic.get, success_ratio: \">= 0%\"}}\n\
         method:\n  - {{inject: {{proxy: none, fault: {{latency: {{delay: 1s}}}}}}, for: 1s}}\n\
         blast_radius: {{proxies: [none], percent: 100, duration: 1m}}\n"
    );
    let plan: TrafficPlan =
        parse(&text)?.traffic.ok_or_else(|| BenchError::Missing("the traffic of the experiment".into()))?;
    let recorder = Recorder::new(["traffic.get".to_owned()]);
    let stop = CancellationToken::new();
    runtime.block_on(async {
        let load = tokio::spawn(traffic::run(plan, 1, recorder.clone(), stop.clone()));
        tokio::time::sleep(Duration::from_secs(seconds.into())).await;
        stop.cancel();
        load.await.map_err(|_| BenchError::Panicked("drive the load"))
    })?;
    let whole = Duration::ZERO..Duration::MAX;
    let samples = recorder.window_by_start("traffic.get", &whole);
    let well = samples.iter().filter(|sample| sample.ok);
    let mut took: Vec<_> = well.map(|sample| sample.took.as_secs_f64() * 1e3).collect();
    let rate = took.len() as f64 / f64::from(seconds);
    let missing = || BenchError::Missing("an answer to our own load".into());
    let p50 = stats::quantile(&mut took, 0.5).ok_or_else(missing)?;
    let p99 = stats::quantile(&mut took, 0.99).ok_or_else(missing)?;
    Ok(Said { rate, p50, p99 })
}

fn wrk_says(wrk: &Path, url: &str, seconds: u32) -> Result<Said, BenchError> {
    let connections = CONNECTIONS.to_string();
    let duration = format!("{seconds}s");
    let said = output("wrk", wrk, &["-t2", "-c", &connections, "-d", &duration, "--timeout", "5s", "--latency", url])?;
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
    let said = output("oha", oha, &arguments)?;
    let read = || {
        let value: serde_json::Value = serde_json::from_str(&said).ok()?;
        Some(Said {
            rate: value["summary"]["requestsPerSec"].as_f64()?,
            p50: value["latencyPercentiles"]["p50"].as_f64()? * 1e3,
            p99: value["latencyPercentiles"]["p99"].as_f64()? * 1e3,
        })
    };
    read().ok_or_else(|| BenchError::Peer { who: "oha", what: "say how it was".into(), why: said.clone() })
}

fn output(who: &'static str, program: &Path, arguments: &[&str]) -> Result<String, BenchError> {
    let done = Command::new(program).args(arguments).stdin(Stdio::null()).output().tried(&format!("start {who}"))?;
    if !done.status.success() {
        let why = String::from_utf8_lossy(&done.stderr).into_owned();
        return Err(BenchError::Peer { who, what: arguments.join(" "), why });
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::{truth, wrk_read};

    #[test]
    fn what_wrk_says_is_understood() {
        let said = "  Latency Distribution\n     50%  812.00us\n     75%    1.01ms\n     99%    1.02s \n\
                    Requests/sec:  70123.45\nTransfer/sec:     10.0MB\n";
        let said = wrk_read(said).unwrap();
        assert_eq!((said.rate, said.p50, said.p99), (70_123.45, 0.812, 1_020.0));
    }

    #[test]
    fn the_truth_is_what_is_left_of_the_frozen_second() {
        assert_eq!(truth(10), 900.0);
        assert_eq!(truth(3), 970.0);
    }
}
