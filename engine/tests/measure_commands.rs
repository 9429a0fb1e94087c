//! Command probes with real programs: what they find, what is read of them, and that nothing of them stays.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use squall_engine::{
    experiment::{Check, CommandPlan, CommandRead, ProbeKind, ProbePlan, Secrets},
    judge::judge_check,
    probe,
    record::Outcome,
    recorder::Recorder,
    sample::{Metric, Sample},
    tolerance::Tolerance,
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{io::AsyncReadExt, net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(30);

/// A script for the shell, which here is a program like any other.
fn script(text: &str, read: CommandRead) -> CommandPlan {
    let arguments = vec!["-c".to_owned(), text.to_owned()];
    CommandPlan { program: "sh".into(), arguments, env: vec![], directory: ".".into(), read }
}

/// One reading.
async fn read_within(command: CommandPlan, timeout: Duration, secrets: Secrets) -> Sample {
    let _installed_before = rustls::crypto::ring::default_provider().install_default();
    let recorder = Recorder::new(["p".to_owned()]);
    let stop = CancellationToken::new();
    let mut tasks = JoinSet::new();
    let plan = ProbePlan { every: Duration::from_secs(600), timeout, kind: ProbeKind::Command(command) };
    tasks.spawn(probe::watch("p".into(), plan, Arc::default(), secrets, Arc::clone(&recorder), stop.clone()));
    let mut changes = recorder.changes();
    tokio::time::timeout(PATIENCE, changes.wait_for(|pushed| *pushed >= 1)).await.expect("a sample in time").unwrap();
    stop.cancel();
    tokio::time::timeout(PATIENCE, tasks.join_next()).await.expect("it stops when told to").unwrap().unwrap();
    recorder.last("p").unwrap()
}

async fn read(command: CommandPlan) -> Sample {
    read_within(command, PATIENCE, Secrets::default()).await
}

fn outcome(sample: &Sample, tolerance: &str) -> Outcome {
    let tolerance = Tolerance::parse(tolerance, Metric::Value).unwrap();
    let check = Check::new(Metric::Value, tolerance);
    judge_check(&check, std::slice::from_ref(sample), Duration::from_secs(1), None, None).outcome
}

#[tokio::test]
async fn an_exit_code_is_the_value_and_only_0_is_a_success() {
    let fine = read(script("echo said; exit 0", CommandRead::ExitCode)).await;
    assert_eq!((fine.ok, fine.value, fine.text.as_deref()), (true, Some(0.0), None));
    let failed = read(script("echo first >&2; echo ' the disk is full ' >&2; exit 3", CommandRead::ExitCode)).await;
    assert_eq!((failed.ok, failed.value), (false, Some(3.0)));
    assert_eq!(failed.text.as_deref(), Some("exit code 3: the disk is full"));
    assert_eq!([outcome(&failed, "== 0"), outcome(&failed, "3")], [Outcome::Broken, Outcome::Held]);
    let killed = read(script("kill -9 $$", CommandRead::ExitCode)).await;
    assert_eq!((killed.ok, killed.value), (false, None));
    assert!(killed.text.as_deref().unwrap().contains("signal: 9"), "{killed:?}");
    assert_eq!(outcome(&killed, "!= 0"), Outcome::Broken);
}

#[tokio::test]
async fn a_number_that_is_printed_is_the_value() {
    let fine = read(script("echo ' 12.5 '", CommandRead::Number)).await;
    assert_eq!((fine.ok, fine.value), (true, Some(12.5)));
    let mut told = Vec::new();
    for text in ["echo twelve", "true", "echo 5; exit 1", "echo inf", "echo 1 2"] {
        let sample = read(script(text, CommandRead::Number)).await;
        assert_eq!((sample.ok, sample.value), (false, None), "{text}");
        told.push(sample.text.unwrap().to_string());
    }
    let expected = [
        "it printed `twelve`, which is not a number",
        "it printed nothing, not a number",
        "exit code 1",
        "it printed `inf`, which is not a number",
        "it printed `1 2`, which is not a number",
    ];
    assert_eq!(told, expected);
}

#[tokio::test]
async fn arguments_are_read_by_no_shell_and_the_input_is_empty() {
    let plan = |program: &str, arguments: &[&str]| CommandPlan {
        program: program.into(),
        arguments: arguments.iter().map(|text| (*text).to_owned()).collect(),
        ..script("", CommandRead::Number)
    };
    let echoed = read(plan("echo", &["$((1+1)); exit 1"])).await;
    assert_eq!(echoed.text.as_deref(), Some("it printed `$((1+1)); exit 1`, which is not a number"));
    let counted = read(plan("wc", &["-c"])).await;
    assert_eq!((counted.ok, counted.value), (true, Some(0.0)));
    let absent = read(plan("no-such-program-here", &[])).await;
    assert_eq!(absent.text.as_deref(), Some("failed to start `no-such-program-here`: No such file or directory"));
}

#[tokio::test]
async fn a_program_finds_few_variables_and_those_that_it_is_given() {
    let mut plan = script("env | cut -d= -f1 | sort | tr '\\n' ' ' >&2; exit 1", CommandRead::ExitCode);
    plan.env = vec![("GIVEN".into(), "1".into())];
    let names = read(plan).await.text.unwrap();
    let names: Vec<&str> = names.strip_prefix("exit code 1: ").unwrap().split(' ').collect();
    assert!(names.contains(&"GIVEN") && names.contains(&"PATH"), "{names:?}");
    // Cargo gives the test itself many more, and a shell makes three of its own.
    let allowed = ["GIVEN", "PATH", "HOME", "LANG", "TMPDIR", "PWD", "SHLVL", "_", "OLDPWD"];
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
    assert!(names.iter().all(|name| allowed.contains(name)), "{names:?}");
}

#[tokio::test]
async fn a_relative_program_is_beside_its_file_and_runs_there() {
    let directory = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/bin/cat", directory.path().join("check")).unwrap();
    std::fs::write(directory.path().join("number"), "41").unwrap();
    let plan = CommandPlan {
        program: "./check".into(),
        arguments: vec!["number".into()],
        directory: directory.path().into(),
        ..script("", CommandRead::Number)
    };
    assert_eq!(read(plan).await.value, Some(41.0));
}

#[tokio::test]
async fn at_its_time_out_the_whole_group_is_killed() {
    // Whoever of the group lives holds a connection open; its end is the proof that all are gone.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let text = format!("exec 3<>/dev/tcp/127.0.0.1/{port}; (sleep 300 & sleep 300) & sleep 300; exit 0");
    let plan = CommandPlan { program: "bash".into(), ..script(&text, CommandRead::ExitCode) };
    let reading = tokio::spawn(read_within(plan, Duration::from_secs(2), Secrets::default()));
    let (mut held, _) = tokio::time::timeout(PATIENCE, listener.accept()).await.expect("it connects").unwrap();
    let sample = reading.await.unwrap();
    assert_eq!((sample.ok, sample.text.as_deref()), (false, Some("timed out after 2s")));
    let closed = tokio::time::timeout(PATIENCE, held.read_u8()).await.expect("nobody of the group is left");
    assert!(closed.is_err(), "{closed:?}");
}

#[tokio::test]
async fn what_is_left_in_the_background_with_the_output_open_has_not_ended() {
    let sample =
        read_within(script("sleep 300 & exit 0", CommandRead::ExitCode), Duration::from_secs(1), Secrets::default())
            .await;
    assert_eq!(sample.text.as_deref(), Some("timed out after 1s"));
}

#[tokio::test]
async fn too_much_output_is_a_failed_reading_and_ends_the_program() {
    let sample = read(script("yes", CommandRead::Number)).await;
    assert_eq!((sample.ok, sample.text.as_deref()), (false, Some("it printed more than 64 KiB")));
    let much = "i=0; while [ $i -lt 20000 ]; do echo 0123456789 >&2; i=$((i+1)); done; echo 7";
    assert_eq!(read(script(much, CommandRead::Number)).await.value, Some(7.0), "stderr is drained");
}

#[tokio::test]
async fn a_secret_that_a_program_prints_is_in_no_sample() {
    let mut secrets = Secrets::default();
    secrets.add("hunter2-hunter2");
    let mut plan = script("echo \"wrong password: $PASSWORD\" >&2; exit 1", CommandRead::ExitCode);
    plan.env = vec![("PASSWORD".into(), "hunter2-hunter2".into())];
    let sample = read_within(plan, PATIENCE, secrets).await;
    assert_eq!(sample.text.as_deref(), Some("exit code 1: wrong password: ***"));
}

#[test]
fn nothing_of_a_command_but_what_is_read_is_shown_to_programmers() {
    let plan = CommandPlan { program: "p".into(), ..script("hidden", CommandRead::Number) };
    let kinds = BTreeMap::from([("p", ProbeKind::Command(plan))]);
    assert!(!format!("{kinds:?}").contains("hidden"));
}
