//! The command line as scripts meet it: exit codes, where output goes, no colour on a pipe.

#![expect(clippy::unwrap_used, reason = "a test that cannot start must fail loudly")]

mod live;

use std::{
    io::{BufRead, BufReader},
    net::TcpListener,
    process::{Command, Output, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

fn squall(arguments: &[&str]) -> Output {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_squall"));
    command.args(arguments).current_dir(directory.path());
    for variable in ["SQUALL_ENV", "SQUALL_AGENT", "SQUALL_JOURNAL"] {
        command.env_remove(variable);
    }
    command.output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn help_names_every_command_and_the_exit_codes() {
    let output = squall(&["--help"]);
    assert_eq!(output.status.code(), Some(0));
    let text = stdout(&output);
    for word in [
        "run",
        "gate",
        "plan",
        "validate",
        "schema",
        "faults",
        "agents",
        "proxy",
        "fault",
        "heal",
        "halt",
        "history",
        "show",
        "report",
        "sandbox",
        "recover",
        "completions",
        "Exit codes",
        "10 refused",
    ] {
        assert!(text.contains(word), "{word} is not in\n{text}");
    }
}

#[test]
fn watching_agents_ends_quietly_when_its_reader_has_gone() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut watching = Command::new(env!("CARGO_BIN_EXE_squall"))
        .args(["agents", "watch", "--every", "1h"])
        .env("SQUALL_AGENT", format!("http://{nobody}"))
        .env_remove("SQUALL_ENV")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(watching.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("away, trying again"), "{line}");
    // The pipe is closed now, as by `head -1`, and there is nothing more to tell for an hour.
    let start = Instant::now();
    while watching.try_wait().unwrap().is_none() && start.elapsed() < Duration::from_secs(20) {
        sleep(Duration::from_millis(20));
    }
    // No more than it takes to end it, should it still run.
    let _ = watching.kill();
    let output = watching.wait_with_output().unwrap();
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
}

#[test]
fn a_fault_of_which_nothing_is_said_is_a_mistake_in_an_experiment_too() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gone.yaml");
    let text = include_str!("../../experiments/payment-gone.yaml");
    assert!(text.contains("{blackhole: {}}"));
    for (text, code) in [(text.to_owned(), 0), (text.replace("{blackhole: {}}", "{blackhole: }"), 3)] {
        std::fs::write(&path, text).unwrap();
        let output = squall(&["validate", path.to_str().unwrap()]);
        let told = format!("{}{}", stdout(&output), stderr(&output));
        assert_eq!((output.status.code(), told.contains("write `{}`")), (Some(code), code != 0), "{told}");
    }
}

#[test]
fn wrong_usage_is_exit_2_with_a_suggestion() {
    let output = squall(&["rum", "x.yaml"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("'run'"), "{}", stderr(&output));
    assert_eq!(squall(&["run"]).status.code(), Some(2));
    let output = squall(&["faults", "latncy"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("did you mean `latency`?"), "{}", stderr(&output));
}

#[test]
fn every_fault_is_listed_and_explained() {
    let list = stdout(&squall(&["faults"]));
    for kind in squall_wire::FaultKind::CATALOGUE {
        assert!(list.contains(kind.name), "{} is not in\n{list}", kind.name);
        let explained = stdout(&squall(&["faults", kind.name]));
        assert!(explained.contains(kind.example), "{explained}");
    }
}

#[test]
fn results_for_programs_are_json_and_carry_no_colour() {
    let output = squall(&["faults", "--output", "json"]);
    let kinds: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(kinds.as_array().unwrap().len(), squall_wire::FaultKind::CATALOGUE.len());
    let schema: serde_json::Value = serde_json::from_slice(&squall(&["schema"]).stdout).unwrap();
    assert!(schema["properties"]["steady_state"].is_object(), "{schema}");
    let failed = squall(&["show", "--output", "json"]);
    assert_eq!(failed.status.code(), Some(2));
    let error: serde_json::Value = serde_json::from_slice(&failed.stdout).unwrap();
    assert_eq!(error["error"]["exit_code"], 2);
    assert!(!stderr(&failed).contains('\u{1b}'), "{:?}", stderr(&failed));
}

#[test]
fn completions_are_there_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let output = squall(&["completions", shell]);
        assert!(output.status.success() && stdout(&output).contains("squall"), "{shell}");
    }
}

#[test]
fn commands_by_hand_say_which_agent_is_missing() {
    let output = squall(&["agents"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("--agent http://"), "{}", stderr(&output));
    let output = squall(&["agents", "--agent", "http://127.0.0.1:1"]);
    assert_eq!(output.status.code(), Some(7));
    assert!(stderr(&output).contains("127.0.0.1:1"), "{}", stderr(&output));
}

#[test]
fn a_closed_pipe_is_no_panic() {
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("{} schema | head -1; true", env!("CARGO_BIN_EXE_squall")));
    let output = command.output().unwrap();
    assert!(!stderr(&output).contains("panicked"), "{}", stderr(&output));
}

/// The command lines in a template, continued lines joined, as they follow `squall `.
fn squall_lines(template: &str) -> Vec<String> {
    let joined = template.replace("\\\n", " ");
    let lines = joined.lines().filter_map(|line| line.trim().trim_start_matches("- ").strip_prefix("squall "));
    lines.map(str::to_owned).collect()
}

#[test]
fn the_templates_for_ci_type_what_the_gate_understands() {
    for template in [include_str!("../../ci/github-action/action.yml"), include_str!("../../ci/gitlab-ci.yml")] {
        let lines = squall_lines(template);
        assert_eq!(lines.len(), 1, "{template}");
        let words = lines[0].split_whitespace().map(|word| {
            let plain = word.trim_matches('"');
            plain.replace("$REPORTS", "runs").replace("$GITHUB_STEP_SUMMARY", "step.md").replace('$', "missing-")
        });
        let words: Vec<String> = words.collect();
        let output = squall(&words.iter().map(String::as_str).collect::<Vec<_>>());
        // 2 would be a word that is not understood; 3 says that the file, which is not there, was gone after.
        assert_eq!(output.status.code(), Some(3), "{words:?}\n{}", stderr(&output));
        assert!(stdout(&output).contains("✗ invalid"), "{}", stdout(&output));
    }
}

#[test]
fn an_agent_that_does_not_answer_is_one_json_document_and_exit_7() {
    let output = squall(&["agents", "--agent", "http://127.0.0.1:1", "--output", "json"]);
    assert_eq!(output.status.code(), Some(7));
    let result: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(result["error"]["exit_code"], 7);
}
