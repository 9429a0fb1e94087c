//! Questions that take many runs, end to end: matrices, limits, comparisons, the load alone, a first experiment.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use rustix::process::Signal;
use squall_tests::{LONG, Running, World, printed, squall_in, wait_for};
use std::{path::Path, process::Output, time::Duration};

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

/// The small experiment with its delay as a variable, and a fault long enough to compare seconds.
fn with_delay(world: &World) -> std::path::PathBuf {
    let changes = [
        ("delay: 100ms", "delay: \"${delay}\""),
        ("for: 2s", "for: 4s"),
        ("traffic:\n  rate", "variables:\n  delay: {default: 100ms, max: 3s}\ntraffic:\n  rate"),
    ];
    world.experiment("delay.yaml", &changes)
}

#[test]
fn the_limit_of_a_delay_is_found_and_the_runs_at_its_two_sides_differ_by_more_than_noise() {
    let world = World::start();
    let file = with_delay(&world);
    let limit = |more: &[&str]| {
        let mut command = world.squall();
        command.arg("limit").arg(&file).arg("--env").arg(world.path("world.yaml")).args(more).output().unwrap()
    };
    let told = limit(&["--vary", "delay=10ms..5s"]);
    assert_eq!(told.status.code(), Some(3), "5s is over the variable's max: {}", printed(&told));
    let told = limit(&["--vary", "dely=10ms..2s"]);
    assert_eq!(told.status.code(), Some(3), "{}", printed(&told));
    assert_eq!(world.proxy().counters.connections, 0, "nothing was run");

    let found = limit(&[
        "--vary",
        "delay=10ms..2s",
        "--steps",
        "1",
        "--no-confirm",
        "--json",
        "limit.json",
        "--at-least",
        "1ms",
    ]);
    assert_eq!(found.status.code(), Some(0), "{}", printed(&found));
    let result = json(&world.path("limit.json"));
    // Requests time out after a second, and 900 ms are promised.
    assert_eq!(
        (result["last_safe"].as_str(), result["first_broken"].as_str()),
        (Some("140ms"), Some("2s")),
        "{result}"
    );
    assert_eq!(result["tries"].as_array().unwrap().len(), 3, "{result}");
    assert!(stdout(&found).contains("holds up to delay=140ms, and breaks from delay=2s"), "{}", printed(&found));
    assert!(world.path("squall-runs/limit-small-delay.html").exists());

    let run = |number: usize| result["tries"][number]["end"]["run"].as_str().unwrap();
    let compare = |one: &str, other: &str| {
        let mut command = world.squall();
        command.args(["compare", one, other, "--check", "--html", "compare.html"]).output().unwrap()
    };
    // The last try was not aborted, so both have the whole time of the fault.
    let worse = compare(run(0), run(2));
    assert_eq!(worse.status.code(), Some(1), "{}", printed(&worse));
    assert!(stdout(&worse).contains("variable delay: 10ms, then 140ms"), "{}", printed(&worse));
    let page = std::fs::read_to_string(world.path("compare.html")).unwrap();
    assert!(page.contains("latency · web") && page.contains("Over each other"));
    // Only what the fault does is sure: a busy machine may slow the recovery of either run.
    let better = compare(run(2), run(0));
    let text = stdout(&better);
    let during: Vec<&str> = text.lines().filter(|line| line.contains(" during ")).collect();
    assert!(during.iter().any(|line| line.contains("✓ better")), "{}", printed(&better));
    assert!(!during.iter().any(|line| line.contains("✕ worse")), "{}", printed(&better));
    let same = compare(run(0), run(0));
    assert_eq!(same.status.code(), Some(2), "{}", printed(&same));
}

#[test]
fn the_load_alone_is_measured_and_its_bounds_are_the_exit_code() {
    let world = World::start();
    let load = |more: &[&str]| {
        let mut command = world.squall();
        command.args(["load", "--url", &format!("{}/", world.proxy_url), "--for", "1s", "--output", "json"]);
        let output = command.args(more).output().unwrap();
        let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        (output.status.code(), value, printed(&output))
    };
    let (code, result, shown) = load(&["--rate", "40/s"]);
    assert!(matches!(code, Some(0 | 9)), "9 on a machine that is too busy: {shown}");
    let requests = result["level"]["requests"].as_u64().unwrap();
    assert!((35..=60).contains(&requests), "{shown}");
    assert_eq!(result["level"]["ok"], requests, "{shown}");

    let (code, result, shown) = load(&["--rate", "40/s", "--expect", "201", "--max-errors", "1%"]);
    assert!(matches!(code, Some(1 | 9)), "{shown}");
    assert!(result["level"]["errors"]["answered 200"].as_u64().unwrap() >= 35, "{shown}");

    let (code, result, shown) = load(&["--rate", "20/s", "--max-rate", "40/s", "--find-limit", "--p99", "3s"]);
    assert!(matches!(code, Some(0 | 9)), "{shown}");
    assert!(result["generator_limited"] == true || result["holds"] == 40.0, "{shown}");
    let (code, _, shown) = load(&["--rate", "50/s", "--max-rate", "40/s"]);
    assert_eq!(code, Some(2), "{shown}");
    let (code, _, shown) = load(&["--header", "nothing"]);
    assert_eq!(code, Some(2), "{shown}");
}

#[test]
fn a_first_experiment_is_written_from_what_was_seen_and_can_be_planned_as_it_is() {
    let world = World::start();
    let init = |more: &[&str]| {
        let mut command = world.squall();
        command.args(["init", "--agent", &world.agent_url, "--service", &world.proxy_url, "--for", "2s"]);
        command.args(more).output().unwrap()
    };
    let written = init(&[]);
    assert_eq!(written.status.code(), Some(0), "{}", printed(&written));
    let text = std::fs::read_to_string(world.path("first.yaml")).unwrap();
    assert!(text.contains("proxy: web") && text.contains("of the baseline went through it"), "{text}");
    for command in ["validate", "plan"] {
        let output = world.squall().args([command, "first.yaml", "--env", "first"]).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", printed(&output));
    }
    std::fs::write(world.path("first.yaml"), "mine").unwrap();
    let refused = init(&[]);
    assert_eq!(refused.status.code(), Some(2), "{}", printed(&refused));
    assert!(printed(&refused).contains("--force"), "{}", printed(&refused));
    assert_eq!(std::fs::read_to_string(world.path("first.yaml")).unwrap(), "mine");
    let nobody = init(&["--get", "/nowhere\u{7f}", "--name", "second"]);
    assert_ne!(nobody.status.code(), Some(0), "{}", printed(&nobody));
}

#[test]
fn a_first_experiment_of_the_sandbox_is_written_validated_and_run_to_its_verdict() {
    let directory = tempfile::tempdir().unwrap();
    let squall = |arguments: &[&str]| squall_in(directory.path()).args(arguments).output().unwrap();
    // A baseline is measured on a machine that is as busy as it will be; it may be measured again, as a person would.
    let held = (0..3).any(|_| {
        let written = squall(&["init", "--for", "4s", "--force"]);
        assert_eq!(written.status.code(), Some(0), "{}", printed(&written));
        let valid = squall(&["validate", "first.yaml"]);
        assert_eq!(valid.status.code(), Some(0), "{}", printed(&valid));
        let run = squall(&["run", "first.yaml"]);
        eprintln!("{}", printed(&run));
        assert!(matches!(run.status.code(), Some(0 | 1 | 4 | 6 | 9)), "{}", printed(&run));
        run.status.code() == Some(0)
    });
    assert!(held, "three times it did not hold");
    let last = squall(&["show", "last", "--output", "json"]);
    let last: serde_json::Value = serde_json::from_slice(&last.stdout).unwrap();
    assert_eq!(last["verdict"], "held");
    assert!(last["faults"].as_array().unwrap().iter().all(|fault| fault["hits"].as_u64().unwrap() > 0), "{last}");
}

/// Interrupts it once its log has this, and gives the log of how it ended.
fn interrupted(world: &World, mut command: std::process::Command, seen: &str) -> String {
    command.arg("--env").arg(world.path("world.yaml"));
    let mut running = Running::spawn(command, &world.path("many.log"));
    wait_for(seen, || running.log().contains(seen).then_some(()));
    world.wait_for_fault();
    running.signal(Signal::INT);
    let status = running.wait(Duration::from_secs(30));
    assert_eq!(status.code(), Some(130), "{}", running.log());
    let proxy = world.proxy();
    assert!(proxy.faults.is_empty() && proxy.lease.is_none(), "{}", running.log());
    running.log()
}

#[test]
fn what_was_found_until_a_signal_is_told_and_kept_and_everything_is_healed() {
    let world = World::start();
    // The second try lasts so long that there is one to be interrupted.
    let varied = [("name: small", "name: small\nvariables: {hold: {default: 2s}}"), ("for: 60s", "for: \"${hold}\"")];
    let file = world.experiment("limit.yaml", &[LONG, &varied].concat());
    let mut limit = world.squall();
    limit.arg("limit").arg(&file).args(["--vary", "hold=2s..40s", "--json", "limit.json"]);
    let log = interrupted(&world, limit, "[1] hold=2s: ✓ held");
    for told in ["last safe     hold=2s", "stopped at hold=40s, which was interrupted", "the search is not finished"] {
        assert!(log.contains(told), "{told}\n{log}");
    }
    let kept = json(&world.path("limit.json"));
    assert_eq!((&kept["last_safe"], &kept["exit_code"]), (&"2s".into(), &130.into()), "{kept}");
    let page = std::fs::read_to_string(world.path("squall-runs/limit-small-hold.html")).unwrap();
    assert!(page.contains("No answer") && page.contains("interrupted"), "{page}");

    let file = world.experiment("matrix.yaml", LONG);
    let mut matrix = world.squall();
    matrix.arg("matrix").arg(&file).args([
        "--for",
        "2s",
        "--json",
        "matrix.json",
        "--fault",
        "{latency: {delay: 10ms}}",
    ]);
    matrix.args(["--fault", "{latency: {delay: 20ms}}", "--fault", "{latency: {delay: 30ms}}"]);
    let log = interrupted(&world, matrix, "[1/3] ");
    let kept = json(&world.path("matrix.json"));
    let outcomes: Vec<_> = kept["cells"].as_array().unwrap().iter().map(|cell| &cell["outcome"]).collect();
    assert_eq!(outcomes[0], "held", "{log}");
    assert_eq!(outcomes[2], "not_run", "{log}");
    assert_eq!(kept["exit_code"], 130, "{kept}");
}

#[test]
fn a_table_of_missing_patterns_that_is_interrupted_keeps_its_answers_and_goes_on_from_there() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("garbage.yaml"), GARBAGE).unwrap();
    let mut command = squall_in(directory.path());
    command.args(["matrix", "--without-each", "garbage.yaml", "--resume", "kept.json", "--markdown", "patterns.md"]);
    let mut running = Running::spawn(command, &directory.path().join("many.log"));
    wait_for("the first answer", || running.log().contains("[1/").then_some(()));
    running.signal(Signal::INT);
    let status = running.wait(Duration::from_secs(30));
    let log = running.log();
    assert_eq!(status.code(), Some(130), "{log}");
    assert!(log.contains("runs have no answer yet") && !log.contains("no experiment here falls without"), "{log}");
    let kept = json(&directory.path().join("kept.json"));
    let first = &kept["cells"][0];
    assert!(first["end"]["exit_code"].as_u64().is_some_and(|code| code != 130), "{kept}");
    let markdown = std::fs::read_to_string(directory.path().join("patterns.md")).unwrap();
    assert!(markdown.contains("· not run"), "{markdown}");
}

#[test]
fn every_command_has_a_manual_page() {
    let directory = tempfile::tempdir().unwrap();
    let all = squall_in(directory.path()).args(["man", "--directory", "man"]).output().unwrap();
    assert_eq!(all.status.code(), Some(0), "{}", printed(&all));
    for page in ["squall.1", "squall-limit.1", "squall-fault-set.1"] {
        let text = std::fs::read_to_string(directory.path().join("man").join(page)).unwrap();
        assert!(text.contains(".TH") && text.contains("SYNOPSIS"), "{page}: {text}");
    }
    let one = squall_in(directory.path()).args(["man", "limit"]).output().unwrap();
    assert!(stdout(&one).contains("\\-\\-vary"), "{}", printed(&one));
    let wrong = squall_in(directory.path()).args(["man", "limits"]).output().unwrap();
    assert_eq!(wrong.status.code(), Some(2), "{}", printed(&wrong));
}
