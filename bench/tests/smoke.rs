//! The harness itself, with tiny sizes: every figure is taken, and is a number.
//!
//! How large a figure is says nothing here: the build is not optimised, and the machine has other tests to run.

#![expect(clippy::unwrap_used, reason = "a test whose harness did not run must fail loudly")]

use serde_json::Value;
use std::{collections::BTreeSet, path::Path, process::Command};

/// The figures of a quick run that are taken of direct loopback as well.
const BOTH: [&str; 35] = [
    "throughput.streams_1",
    "throughput.streams_8",
    "round_trip.one_cpu.p50",
    "round_trip.one_cpu.p99",
    "round_trip.all_cpus.p50",
    "round_trip.all_cpus.p99",
    "http.tcp.per_second",
    "http.http.per_second",
    "connections.per_second",
    "latency.connections_1.p50",
    "latency.connections_1.p99",
    "latency.connections_8.p50",
    "latency.connections_8.p99",
    "latency.connections_24.p50",
    "latency.connections_24.p99",
    "pipelined.faults_1.p50",
    "pipelined.faults_1.p99",
    "pipelined.faults_1.max",
    "pipelined.faults_2.p50",
    "pipelined.faults_2.p99",
    "pipelined.faults_2.max",
    "bulk.latency_10ms",
    "bulk.latency_100ms",
    "bulk.latency_1000ms",
    "bulk.latency_10ms.emptiest",
    "bulk.latency_100ms.emptiest",
    "tls.ended.handshakes",
    "tls.ended.throughput",
    "tls.ended.requests",
    "tls.started.handshakes",
    "tls.started.throughput",
    "tls.started.requests",
    "udp.round_trip.p50",
    "udp.round_trip.p99",
    "udp.per_second",
];

/// Those that there are only with an agent.
const SQUALL_ONLY: [&str; 48] = [
    "throughput.streams_1.cpu",
    "throughput.streams_8.cpu",
    "bulk.latency_10ms.memory",
    "bulk.latency_100ms.memory",
    "bulk.latency_1000ms.memory",
    "bandwidth.10000.any_second",
    "bandwidth.10000.any_100ms",
    "bandwidth.10000.burst",
    "bandwidth.10000.within_20ms",
    "bandwidth.1000000.any_second",
    "bandwidth.1000000.any_100ms",
    "bandwidth.1000000.burst",
    "bandwidth.1000000.within_20ms",
    "bandwidth.100000000.any_second",
    "bandwidth.100000000.any_100ms",
    "bandwidth.100000000.burst",
    "bandwidth.100000000.within_20ms",
    "live.connections_20.set",
    "live.connections_20.felt",
    "live.connections_20.removed",
    "live.connections_20.released",
    "live.connections_60.set",
    "live.connections_60.felt",
    "live.connections_60.removed",
    "live.connections_60.released",
    "memory.idle",
    "memory.idle_delayed",
    "many.start",
    "many.start_proxies",
    "many.proxy_memory",
    "many.create",
    "many.create_linear",
    "many.faults_0",
    "many.faults_2",
    "many.faults_4",
    "many.faults_linear",
    "many.faults_0.cpu",
    "many.faults_2.cpu",
    "many.faults_4.cpu",
    "jitter.uniform",
    "jitter.normal",
    "jitter.exponential",
    "jitter.pareto",
    "crowd.taken",
    "crowd.memory",
    "crowd.memory_each",
    "crowd.felt",
    // Of direct as well, but how even a stream is has no place beside another's.
    "bulk.latency_1000ms.emptiest",
];

/// What the machine does by itself, which no contestant is asked for.
const OF_THE_MACHINE: [&str; 7] = [
    "bandwidth.pause",
    "latency.connections_1.timer.p50",
    "latency.connections_1.timer.p99",
    "latency.connections_8.timer.p50",
    "latency.connections_8.timer.p99",
    "latency.connections_24.timer.p50",
    "latency.connections_24.timer.p99",
];

fn bench(arguments: &[&str]) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_squall-bench")).args(arguments).output().unwrap()
}

fn figures(json: &Value) -> &[Value] {
    json["figures"].as_array().unwrap()
}

fn is_a_number(result: &Value) -> bool {
    ["median", "min", "max"].iter().all(|key| result[key].as_f64().is_some_and(f64::is_finite))
        && result["rounds"].as_array().is_some_and(|rounds| !rounds.is_empty() && rounds.iter().all(Value::is_number))
}

#[test]
fn a_quick_run_has_every_figure_in_table_and_json_and_each_is_a_number() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("new/figures.json");
    let output = bench(&["--quick", "--json", file.to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let json: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();

    let there: BTreeSet<&str> = figures(&json).iter().map(|figure| figure["id"].as_str().unwrap()).collect();
    let expected: BTreeSet<&str> = BOTH.into_iter().chain(SQUALL_ONLY).chain(OF_THE_MACHINE).collect();
    assert_eq!(there, expected);
    let table = String::from_utf8(output.stdout).unwrap();
    for figure in figures(&json) {
        let (id, results) = (figure["id"].as_str().unwrap(), &figure["results"]);
        assert!(is_a_number(&results["squall"]) != OF_THE_MACHINE.contains(&id), "{id}: {figure}");
        if OF_THE_MACHINE.contains(&id) {
            assert!(is_a_number(&results["direct"]), "{id}: {figure}");
        }
        if BOTH.contains(&id) {
            assert!(is_a_number(&results["direct"]), "{id}: {figure}");
            let compared = results["squall"]["against_direct"].as_f64().is_some_and(f64::is_finite);
            assert!(compared || figure["against"].is_null(), "{id}: {figure}");
        }
        // Whoever polls busily takes part where something is due at a time.
        let due = ["latency", "pipelined", "bandwidth", "bulk"].into_iter().any(|part| id.starts_with(part));
        assert_eq!(
            is_a_number(&results["squall-busy"]),
            due && !OF_THE_MACHINE.contains(&id) || id == "memory.idle_delayed",
            "{id}: {figure}"
        );
        assert!(table.contains(figure["name"].as_str().unwrap()), "{id} is not in the table:\n{table}");
    }
    assert!(json["machine"]["cores"].as_u64().unwrap() > 0 && json["quick"] == true);
}

#[test]
fn what_cannot_be_less_than_its_fault_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("figures.json");
    let output = bench(&["--quick", "--only", "pipelined", "--only", "live", "--json", file.to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let json: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(figures(&json).len(), 6 + 8, "only what was asked for");
    for figure in figures(&json).iter().filter(|figure| figure["id"].as_str().unwrap().starts_with("pipelined")) {
        // A message that came before its delay was over would show a fault that was not set, or a clock that is not one.
        assert!(figure["results"]["squall"]["min"].as_f64().unwrap() > 0.0, "{figure}");
    }
}

#[test]
fn whoever_is_here_takes_part_and_whoever_is_not_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("figures.json");
    let output = bench(&["--quick", "--only", "http", "--json", file.to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let json: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let words = |key: &str| -> Vec<String> {
        json[key].as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect()
    };
    let (here, left_out) = (words("contestants"), words("left_out"));
    let told = String::from_utf8(output.stderr).unwrap();
    for peer in ["haproxy", "haproxy-splice", "nginx", "toxiproxy"] {
        let why = left_out.iter().find(|line| line.starts_with(&format!("{peer}:")));
        assert!(here.iter().any(|name| name == peer) != why.is_some(), "{peer}: {here:?}, {left_out:?}");
        assert!(why.is_none_or(|why| told.contains(&format!("left out: {why}"))), "{told}");
    }
    let results = &figures(&json)[0]["results"];
    assert_eq!(is_a_number(&results["nginx"]), here.iter().any(|name| name == "nginx"), "{results}");
}

#[test]
fn a_program_that_is_no_toxiproxy_ends_the_run_with_its_name() {
    let output = bench(&["--quick", "--only", "http", "--toxiproxy", "/bin/false"]);
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("toxiproxy failed to start"), "{told}");
}

#[test]
fn a_measurement_that_does_not_exist_is_refused_with_those_that_do() {
    let output = bench(&["--only", "speed"]);
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("throughput") && told.contains("memory"), "{told}");
}

#[test]
fn every_claim_about_the_shop_has_its_figure() {
    let directory = tempfile::tempdir().unwrap();
    let (file, document) = (directory.path().join("figures.json"), directory.path().join("figures.md"));
    let output =
        bench(&["shop", "--quick", "--json", file.to_str().unwrap(), "--markdown", document.to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let json: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let ids: BTreeSet<&str> = figures(&json).iter().map(|figure| figure["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), figures(&json).len(), "{ids:?}");
    for id in ["report.pipeline", "report.fan_out", "events.gain.SQLite", "page.degraded", "shed.p99", "patterns.cost"]
    {
        let figure = figures(&json).iter().find(|figure| figure["id"] == id).unwrap();
        assert!(figure["median"].as_f64().unwrap().is_finite() && figure["claim"].is_string(), "{figure}");
    }
    // PostgreSQL is measured, or named.
    let named = json["left_out"].as_array().unwrap().len() == 1;
    assert!(ids.contains("events.gain.PostgreSQL") != named, "{json}");
    assert!(std::fs::read_to_string(document).unwrap().contains("these figures mean nothing"));
}

#[test]
fn every_promise_of_the_runner_has_its_figure_and_the_load_tells_the_truth_of_a_server_that_freezes() {
    let directory = tempfile::tempdir().unwrap();
    let (file, document) = (directory.path().join("new/runner.json"), directory.path().join("runner.md"));
    // Built with the workspace's tests, as this one is; a build within a test would take longer than all of them.
    let squall = Path::new(env!("CARGO_BIN_EXE_squall-bench")).with_file_name("squall");
    if !squall.is_file() {
        eprintln!("SKIPPED the runner's figures: {} was not built (cargo test --workspace)", squall.display());
        return;
    }
    let [squall, to, markdown] = [&squall, &file, &document].map(|path| path.to_str().unwrap());
    let output = bench(&["runner", "--quick", "--squall", squall, "--to", to, "--markdown", markdown]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{told}");
    let json: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let rows = json["rows"].as_array().unwrap();
    let of = |figure: &str, who: &str| {
        let mut found = rows.iter().filter(|row| row["figure"].as_str().unwrap().starts_with(figure));
        found.find(|row| row["of"] == who).unwrap_or_else(|| panic!("{figure} of {who}: {json:#}"))
    };
    for figure in ["start: --help", "start: validate", "abort: ", "healed after kill -9", "load: how far off that p99"]
    {
        let row = of(figure, "squall");
        assert!(row["promise"]["at_most"].is_number() && row["met"].is_boolean(), "{row}");
    }
    for row in rows {
        let values = row["values"].as_array().unwrap();
        assert!(!values.is_empty() && values.iter().all(|value| value.as_f64().is_some_and(f64::is_finite)), "{row}");
    }
    // At 500/s a closed loop of 64 would show a p99 of a few milliseconds in place of 970.
    let said = of("load: p99 of 3 s", "squall")["values"][0].as_f64().unwrap();
    assert!(said > 800.0, "{said} ms");
    // Whoever is not here is named, in the table and while it runs.
    let left_out = json["left_out"].as_array().unwrap();
    for who in ["wrk", "oha", "chaos"] {
        let why = left_out.iter().filter_map(Value::as_str).find(|why| why.starts_with(who));
        let is_here = rows.iter().any(|row| row["of"].as_str().unwrap().starts_with(who));
        assert!(is_here != why.is_some(), "{who}: {json:#}");
        assert!(why.is_none_or(|why| told.contains(why)), "{told}");
    }
    assert!(told.contains("healing after kill -9"), "{told}");
    assert!(std::fs::read_to_string(document).unwrap().contains("A quick run"));
}
