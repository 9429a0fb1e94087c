//! The gate as CI runs it: every file to its end, one line each, the heaviest exit code, and the files that CI reads.

use rustix::process::Signal;
use squall_tests::{Running, World, printed};
use std::{
    path::PathBuf,
    process::{Command, Output},
    time::Duration,
};

fn gate(world: &World, files: &[PathBuf], more: &[&str]) -> Command {
    let mut command = world.squall();
    command.arg("gate").args(files).arg("--env").arg(world.path("world.yaml")).args(more);
    command
}

fn lines(output: &Output) -> Vec<String> {
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

/// Longer than the agent lets a fault live.
const TOO_LONG: &[(&str, &str)] = &[("for: 2s", "for: 2h"), ("duration: 2m", "duration: 3h")];

#[test]
fn every_file_is_run_whatever_becomes_of_the_others_and_the_heaviest_code_is_the_gates() {
    let world = World::start();
    let files = [
        world.experiment("wrong.yaml", &[("latency:", "latncy:")]),
        world.experiment("broken.yaml", &[("p99: \"< 900ms\"", "p99: \"< 50ms\""), ("name: small", "name: broken")]),
        world.experiment("long.yaml", TOO_LONG),
        world.path("absent.yaml"),
        world.experiment("small.yaml", &[]),
    ];
    world.write("summary.md", "what was there\n");
    let more = ["--junit", "ci/junit.xml", "--summary", "summary.md", "--json", "gate.json", "--annotations", "github"];
    let output = gate(&world, &files, &more).output().unwrap();
    // Invalid weighs more than refused, and that more than deviated.
    assert_eq!(output.status.code(), Some(3), "{}", printed(&output));
    let lines = lines(&output);
    let expected = ["✗ invalid", "✗ deviated", "✗ refused", "✗ invalid", "✓ held"];
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.trim_start().starts_with(expected), "{line}\n{}", printed(&output));
    }
    let marks: Vec<&String> = lines[expected.len()..].iter().collect();
    assert!(marks.iter().all(|line| line.starts_with("::error file=")), "{marks:?}");
    assert!(
        marks.iter().any(|line| line.contains("did you mean `latency`?") && line.contains(",line=14,col=")),
        "{marks:?}"
    );
    // The row of the steady state that promised it.
    let row = marks.iter().find(|line| line.contains("broken%3A deviated")).unwrap();
    assert!(row.contains("broken.yaml,line=11,") && row.contains("p99 was"), "{row}");

    let xml = std::fs::read_to_string(world.path("ci/junit.xml")).unwrap();
    assert!(xml.contains("tests=\"5\"") && xml.contains("failures=\"1\"") && xml.contains("errors=\"3\""), "{xml}");
    let summary = std::fs::read_to_string(world.path("summary.md")).unwrap();
    assert!(summary.starts_with("what was there\n## Squall: 1 of 5 held"), "{summary}");
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(world.path("gate.json")).unwrap()).unwrap();
    assert_eq!(json["exit_code"], 3);
    assert_eq!(json["cases"][4]["run"]["verdict"], "held", "{json}");
    let page = json["cases"][4]["report"].as_str().unwrap();
    assert!(world.path(page).exists(), "{page}");
    assert!(world.proxy().faults.is_empty() && world.proxy().lease.is_none());
}

#[test]
fn a_gate_passes_only_when_all_are_held() {
    let world = World::start();
    let held = world.experiment("small.yaml", &[]);
    let idle = world.experiment("idle.yaml", &[("100ms}}", "100ms}}, percent: 0")]);
    let output = gate(&world, std::slice::from_ref(&held), &["--annotations", "github"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", printed(&output));
    assert_eq!(lines(&output).len(), 1, "{}", printed(&output));
    let output = gate(&world, &[held, idle], &["--output", "json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(9), "{}", printed(&output));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (json["cases"][0]["outcome"].as_str(), json["cases"][1]["outcome"].as_str()),
        (Some("held"), Some("inconclusive"))
    );
}

#[test]
fn what_held_and_got_slower_fails_against_the_last_run_that_held() {
    let world = World::start();
    let against = ["--against", "last-held", "--margin", "50%"];
    let first = gate(&world, &[world.experiment("small.yaml", &[])], &against).output().unwrap();
    assert_eq!(first.status.code(), Some(0), "{}", printed(&first));
    assert!(printed(&first).contains("no earlier run that held"), "{}", printed(&first));
    let slower = world.experiment("slower.yaml", &[("delay: 100ms", "delay: 400ms")]);
    let second = gate(&world, std::slice::from_ref(&slower), &against).output().unwrap();
    assert_eq!(second.status.code(), Some(1), "{}", printed(&second));
    assert!(lines(&second)[0].contains("regressed") && lines(&second)[0].contains("p99"), "{}", printed(&second));
    let unasked = gate(&world, &[slower], &[]).output().unwrap();
    assert_eq!(unasked.status.code(), Some(0), "{}", printed(&unasked));
}

#[test]
fn a_stopped_gate_heals_and_leaves_the_rest_alone() {
    let world = World::start();
    let files = [world.experiment("long.yaml", &[("for: 2s", "for: 60s")]), world.experiment("small.yaml", &[])];
    let mut running = Running::spawn(gate(&world, &files, &["--junit", "junit.xml"]), &world.path("gate.log"));
    world.wait_for_fault();
    running.signal(Signal::TERM);
    assert_eq!(running.wait(Duration::from_secs(20)).code(), Some(143), "{}", running.log());
    assert!(world.proxy().faults.is_empty());
    assert!(running.log().contains("✗ not_run"), "{}", running.log());
    let xml = std::fs::read_to_string(world.path("junit.xml")).unwrap();
    assert!(xml.contains("type=\"interrupted\"") && xml.contains("<skipped"), "{xml}");
}

#[test]
fn results_that_cannot_be_written_are_told_before_anything_is_run() {
    let world = World::start();
    let file = world.experiment("small.yaml", &[]);
    world.write("a-file", "");
    let output = gate(&world, &[file], &["--junit", "a-file/junit.xml"]).output().unwrap();
    assert_eq!(output.status.code(), Some(7), "{}", printed(&output));
    assert!(printed(&output).contains("a-file/junit.xml"), "{}", printed(&output));
    assert_eq!(world.proxy().counters.connections, 0);
}

#[test]
fn a_run_of_the_journal_is_rendered_for_ci_again() {
    let world = World::start();
    let run = world.run(&world.experiment("small.yaml", &[]));
    assert_eq!(run.status.code(), Some(0), "{}", printed(&run));
    for (format, part) in [("md", "## Squall: 1 of 1 held"), ("junit", "<testcase name=\"small\"")] {
        let output = world.squall().args(["report", "last", "--format", format]).output().unwrap();
        assert!(String::from_utf8_lossy(&output.stdout).contains(part), "{}", printed(&output));
    }
}

#[test]
fn a_program_and_a_port_are_probes_of_a_real_run() {
    let world = World::start();
    world.write("number", "7");
    let address = world.web.address().to_string();
    let probes = format!(
        "probes:\n  port: {{tcp: {{address: \"{address}\"}}, every: 20ms}}\n  count: {{command: {{run: [cat, number], read: \
         number}}, every: 200ms, timeout: 5s}}\nsteady_state:\n  - {{probe: port, success_ratio: \">= 99%\", when: [before, \
         during]}}\n  - {{probe: count, value: \"== 7\", when: [before, during]}}\n"
    );
    let file = world.experiment("probes.yaml", &[("steady_state:\n", &probes)]);
    let output = gate(&world, &[file], &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", printed(&output));
}
