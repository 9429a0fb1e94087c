//! The harness itself, with tiny sizes: every figure is taken, and is a number.
//!
//! How large a figure is says nothing here: the build is not optimised, and the machine has other tests to run.

#![expect(clippy::unwrap_used, reason = "a test whose harness did not run must fail loudly")]

use serde_json::Value;
use std::{collections::BTreeSet, process::Command};

/// The figures of a quick run that are taken of direct loopback as well.
const BOTH: [&str; 19] = [
    "throughput.streams_1",
    "throughput.streams_8",
    "round_trip.p50",
    "round_trip.p99",
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
];

/// Those that there are only with an agent.
const SQUALL_ONLY: [&str; 20] = [
    "throughput.streams_1.agent_cpu",
    "throughput.streams_8.agent_cpu",
    "bandwidth.10000.any_second",
    "bandwidth.10000.burst",
    "bandwidth.10000.within_20ms",
    "bandwidth.1000000.any_second",
    "bandwidth.1000000.burst",
    "bandwidth.1000000.within_20ms",
    "bandwidth.100000000.any_second",
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
    "memory.idle_connection",
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
    let expected: BTreeSet<&str> = BOTH.into_iter().chain(SQUALL_ONLY).collect();
    assert_eq!(there, expected);
    let table = String::from_utf8(output.stdout).unwrap();
    for figure in figures(&json) {
        let (id, results) = (figure["id"].as_str().unwrap(), &figure["results"]);
        assert!(is_a_number(&results["squall"]), "{id}: {figure}");
        if BOTH.contains(&id) {
            assert!(is_a_number(&results["direct"]), "{id}: {figure}");
            assert!(results["squall"]["against_direct"].as_f64().is_some_and(f64::is_finite), "{id}: {figure}");
        }
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
fn a_measurement_that_does_not_exist_is_refused_with_those_that_do() {
    let output = bench(&["--only", "speed"]);
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("throughput") && told.contains("memory"), "{told}");
}
