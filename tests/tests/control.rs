//! Experiments on a share of the requests, judged against those that were spared at the same time: the real agent counts both
//! groups of an `http` proxy, and `no worse than control` decides.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use reqwest::Method;
use serde_json::{Value, json};
use squall_tests::{WebClient, World, printed};
use std::time::Duration;

/// Forty requests a second on keep-alive connections for four seconds, a third of them hit.
fn experiment(world: &World, url: &str, fault: &str) -> std::path::PathBuf {
    let text = format!(
        r#"version: 1
name: control
hypothesis: Requests that meet the fault are answered as soon as those that do not.
traffic:
  rate: 40/s
  clients: 16
  requests: [{{name: page, get: "{url}"}}]
probes:
  proxy: {{agent: {{proxy: http, read: first_byte_p50}}, every: 200ms}}
steady_state:
  - {{probe: traffic, success_ratio: ">= 99%"}}
  - {{probe: proxy, p50: "no worse than control by 20ms", p90: "no worse than control by 100ms",
     error_ratio: "no worse than control"}}
method:
  - {{inject: {{proxy: http, fault: {fault}, percent: 33}}, for: 5s}}
blast_radius: {{proxies: [http], duration: 1m}}
baseline: 2s
recovery: {{within: 5s, hold: 1s}}
"#
    );
    world.write("control.yaml", &text)
}

/// Runs it, and gives back the exit code and the rows that were compared.
fn run(fault: &str) -> (Option<i32>, Vec<Value>, String) {
    let world = World::start();
    let spec = json!({"name": "http", "upstream": world.web.address(), "protocol": "http"});
    let proxies = format!("{}/v1/proxies", world.agent_url);
    let (status, made) = WebClient::new(Duration::from_secs(20)).call(Method::POST, &proxies, &spec);
    assert_eq!(status, 201, "{made}");
    let url = format!("http://{}/", made["listen"].as_str().unwrap());
    let output = world.run_command(&experiment(&world, &url, fault)).args(["--output", "json"]).output().unwrap();
    let record: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", printed(&output)));
    let rows = record["rows"].as_array().unwrap().iter().filter(|row| !row["control"].is_null()).cloned().collect();
    (output.status.code(), rows, printed(&output))
}

#[test]
fn requests_that_are_slow_beside_their_control_deviate_from_it() {
    let (code, rows, printed) = run("{latency: {delay: 150ms}}");
    assert_eq!(code, Some(1), "{printed}");
    let outcomes: Vec<&str> = rows.iter().map(|row| row["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["held", "broken", "broken"], "{rows:#?}");
    assert!(rows.iter().all(|row| row["when"] == "during"), "{rows:#?}");
    let control = &rows[1]["control"];
    assert_eq!(control["test"], "mann_whitney");
    let number = |key: &str| control[key].as_f64().unwrap();
    assert!(number("hit") >= 0.15 && number("spared") < 0.15, "{control}");
    assert!(number("hit_samples") >= 20.0 && number("spared_samples") > number("hit_samples"), "{control}");
    assert!(number("p_adjusted") < 0.001, "{control}");
    assert!(rows[1]["shown"].as_str().unwrap().contains("hit, "), "{rows:#?}");
}

#[test]
fn requests_that_a_fault_hits_without_harm_are_no_worse_than_their_control() {
    let (code, rows, printed) = run("{bandwidth: {rate: 1GB/s}}");
    assert_eq!(code, Some(0), "{printed}");
    assert_eq!(rows.len(), 3);
    for row in &rows {
        assert_eq!(row["outcome"], "held", "{row}");
        assert!(row["control"]["hit_samples"].as_u64().unwrap() >= 20, "{row}");
    }
}
