//! Questions that take many runs, end to end: matrices, limits, comparisons, the load alone, a first experiment.

use squall_tests::{World, printed, squall_in};
use std::{path::Path, process::Output};

/// Recommendations are an optional part of a page; when they answer garbage, degradation leaves them out. Slow and tolerant,
/// so that a busy machine is no reason to fail.
const GARBAGE: &str = r#"version: 1
name: garbage
hypothesis: Pages come without recommendations when those answer garbage.
tags: [degradation, ci]
traffic:
  rate: 15/s
  clients: 32
  timeout: 10s
  requests:
    - {name: browse, get: "${shop}/products/{{ random(1, 500) }}"}
steady_state:
  - {probe: traffic.browse, success_ratio: ">= 70%"}
method:
  - inject: {proxy: recommendations, fault: {garbage: {style: http_noise}}}
    for: 3s
blast_radius: {proxies: [recommendations], percent: 100, duration: 1m}
baseline: 2s
recovery: {within: 10s, hold: 2s}
"#;

fn json(path: &Path) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn an_experiment_that_notices_its_missing_pattern_passes_the_check_and_is_not_run_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    std::fs::write(path("garbage.yaml"), GARBAGE).unwrap();
    std::fs::write(path("patterns.md"), "# Patterns\n<!-- squall matrix: begin --><!-- squall matrix: end -->\n")
        .unwrap();
    let matrix = || {
        let mut command = squall_in(directory.path());
        command.args(["matrix", "--without-each", "garbage.yaml", "--own", "--check", "--retries", "4"]);
        command.args(["--resume", "kept/results.json", "--markdown", "patterns.md", "--json", "matrix.json"]);
        command.output().unwrap()
    };
    let first = matrix();
    assert_eq!(first.status.code(), Some(0), "{}", printed(&first));
    assert!(
        stdout(&first).contains("garbage (degradation)") && stdout(&first).contains("✕ deviated"),
        "{}",
        printed(&first)
    );

    let markdown = std::fs::read_to_string(path("patterns.md")).unwrap();
    assert!(
        markdown.starts_with("# Patterns\n")
            && markdown.contains("| garbage (degradation) | ✓ held | **✕ deviated** |"),
        "{markdown}"
    );
    let result = json(&path("matrix.json"));
    assert_eq!(result["cells"].as_array().unwrap().len(), 2, "{result}");
    assert_eq!(result["complaints"].as_array().unwrap().len(), 0, "{result}");
    let page = std::fs::read_to_string(path("squall-runs/matrix.html")).unwrap();
    let report = result["cells"][1]["end"]["report"].as_str().unwrap();
    assert!(path(report).exists() && page.contains(Path::new(report).file_name().unwrap().to_str().unwrap()));

    // Everything has an answer: nothing is run, and the table is the same.
    let again = matrix();
    assert_eq!(again.status.code(), Some(0), "{}", printed(&again));
    assert!(
        printed(&again).contains("2 answers are taken over") && !printed(&again).contains("[1/"),
        "{}",
        printed(&again)
    );

    // Another text is another experiment: what was known of it no longer counts. One that holds either way proves nothing.
    std::fs::write(path("garbage.yaml"), GARBAGE.replace("\">= 70%\"", "\">= 0%\"")).unwrap();
    let weak = matrix();
    assert_eq!(weak.status.code(), Some(1), "{}", printed(&weak));
    assert!(printed(&weak).contains("holds without degradation as well"), "{}", printed(&weak));
}

#[test]
fn what_cannot_be_a_matrix_is_told_before_anything_is_run() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("garbage.yaml"), GARBAGE).unwrap();
    let told = |arguments: &[&str], code: i32, part: &str| {
        let output = squall_in(directory.path()).arg("matrix").arg("garbage.yaml").args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}\n{}", printed(&output));
        assert!(printed(&output).contains(part), "{arguments:?}\n{}", printed(&output));
        assert!(!printed(&output).contains("[1/"), "{}", printed(&output));
    };
    told(&["--without-each", "--pattern", "retri"], 2, "retry");
    told(&["--without-each", "--without", "retry"], 2, "leave --env and --without away");
    told(&["--without-each", "garbage.yaml"], 2, "both named `garbage`");
    told(&["--fault", "{latncy: {}}"], 2, "did you mean `latency`?");
    told(&["--proxy", "nowhere"], 2, "there is no proxy `nowhere`");
    told(&["--proxy", "payment"], 2, "there is nothing to run");
    told(&["--for", "2m"], 3, "cannot be run under this file");
}

#[test]
fn every_proxy_in_reach_meets_every_fault_and_the_heaviest_code_is_the_matrixs() {
    let world = World::start();
    let file = world.experiment("small.yaml", &[]);
    let mut command = world.squall();
    command
        .arg("matrix")
        .arg(&file)
        .arg("--env")
        .arg(world.path("world.yaml"))
        .args(["--for", "1s", "--json", "m.json"]);
    command.args(["--fault", "{latency: {delay: 50ms}}", "--fault", "{fault: {reset: {}}}", "--markdown", "m.md"]);
    let output = command.output().unwrap();
    assert!(matches!(output.status.code(), Some(1 | 5)), "{}", printed(&output));
    let result = json(&world.path("m.json"));
    assert_eq!(result["cells"][0]["outcome"], "held", "{result}");
    assert!(matches!(result["cells"][1]["outcome"].as_str(), Some("deviated" | "aborted")), "{result}");
    assert!(std::fs::read_to_string(world.path("m.md")).unwrap().contains("| web | ✓ held |"));
    // Each cell is a run of a file that says what was done, and never counts as a run of the experiment itself.
    let run = result["cells"][0]["end"]["run"].as_str().unwrap();
    let shown = world.squall().args(["show", run, "--output", "json"]).output().unwrap();
    let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(shown["run"]["experiment"], "small-matrix-latency-web");
    assert!(shown["source"]["text"].as_str().unwrap().contains("by squall matrix"), "{shown}");
    assert!(world.proxy().faults.is_empty() && world.proxy().lease.is_none());
}
