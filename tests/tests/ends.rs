//! However a run ends, the agent is healed and the exit code tells the truth.

use rustix::process::Signal;
use squall_tests::{World, printed, wait_for};
use std::time::Duration;

const LONG: &[(&str, &str)] = &[("for: 2s", "for: 60s")];
const END: Duration = Duration::from_secs(20);

#[test]
fn a_hypothesis_that_stands_is_held_with_exit_0_and_leaves_a_report_and_a_journal() {
    let world = World::start();
    let output = world.run(&world.experiment("small.yaml", &[]));
    assert_eq!(output.status.code(), Some(0), "{}", printed(&output));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("HELD") && text.contains("p99") && text.contains("report"), "{text}");
    let reports = std::fs::read_dir(world.path("squall-runs")).unwrap().count();
    assert_eq!(reports, 1, "{text}");
    let shown = world.squall().args(["show", "last", "--output", "json"]).output().unwrap();
    let run: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(run["verdict"], "held", "{run}");
    assert!(run["faults"][0]["hits"].as_u64().unwrap() > 0, "{run}");
    assert!(world.proxy().faults.is_empty());
    assert_eq!(world.proxy().lease, None);
}

#[test]
fn a_tolerance_that_breaks_during_the_fault_is_deviated_with_exit_1() {
    let world = World::start();
    let changes = [("p99: \"< 900ms\"", "p99: \"< 400ms\""), ("delay: 100ms", "delay: 500ms")];
    let output = world.run(&world.experiment("small.yaml", &changes));
    assert_eq!(output.status.code(), Some(1), "{}", printed(&output));
    assert!(String::from_utf8_lossy(&output.stdout).contains("DEVIATED"), "{}", printed(&output));
}

#[test]
fn a_steady_state_that_does_not_hold_beforehand_is_exit_4_and_nothing_is_injected() {
    let world = World::start();
    let output = world.run(&world.experiment("small.yaml", &[("${web}/\"", "${web}/broken\"")]));
    assert_eq!(output.status.code(), Some(4), "{}", printed(&output));
    assert_eq!(world.proxy().counters.connections_hit, 0);
    assert!(!String::from_utf8_lossy(&output.stderr).contains("injected"), "{}", printed(&output));
}

#[test]
fn an_abort_condition_ends_the_run_at_once_with_exit_5() {
    let world = World::start();
    let changes = [("for: 2s", "for: 60s"), ("latency: {delay: 100ms}", "reset: {}")];
    let started = std::time::Instant::now();
    let output = world.run(&world.experiment("small.yaml", &changes));
    assert_eq!(output.status.code(), Some(5), "{}", printed(&output));
    assert!(started.elapsed() < Duration::from_secs(20), "it waited for the end of the step");
    assert!(world.proxy().faults.is_empty());
}

#[test]
fn a_fault_that_hit_nothing_is_inconclusive_with_exit_9() {
    let world = World::start();
    let changes = [("fault: {latency: {delay: 100ms}}", "fault: {latency: {delay: 100ms}}, percent: 0")];
    let output = world.run(&world.experiment("small.yaml", &changes));
    assert_eq!(output.status.code(), Some(9), "{}", printed(&output));
    assert!(String::from_utf8_lossy(&output.stdout).contains("hit nothing"), "{}", printed(&output));
}

#[test]
fn what_does_not_come_back_in_time_is_not_recovered_with_exit_6() {
    let world = World::start();
    let changes = [
        (
            "  - {probe: traffic.page, success_ratio: \">= 99%\", p99: \"< 900ms\"}",
            "  - {probe: traffic.page, p99: \"< 900ms\"}\n  - {probe: traffic.page, rate: \"< 10/s\", when: [after]}",
        ),
        ("within: 3s", "within: 1s"),
    ];
    let output = world.run(&world.experiment("small.yaml", &changes));
    assert_eq!(output.status.code(), Some(6), "{}", printed(&output));
}

#[test]
fn signals_heal_and_confirm_before_the_exit_with_128_and_their_number() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        let world = World::start();
        let mut run = world.spawn_run(&world.experiment("small.yaml", LONG));
        world.wait_for_fault();
        run.signal(signal);
        let status = run.wait(END);
        // Looked at without waiting: the exit itself promises that it is healed.
        assert!(world.proxy().faults.is_empty(), "{}", run.log());
        assert_eq!(status.code(), Some(code), "{}", run.log());
        assert!(run.log().contains("INTERRUPTED") && run.log().contains("confirms"), "{}", run.log());
    }
}

#[test]
fn a_second_ctrl_c_does_not_skip_healing() {
    let world = World::start();
    let mut run = world.spawn_run(&world.experiment("small.yaml", LONG));
    world.wait_for_fault();
    run.signal(Signal::INT);
    run.signal(Signal::INT);
    assert_eq!(run.wait(END).code(), Some(130), "{}", run.log());
    assert!(world.proxy().faults.is_empty());
}

#[test]
fn after_kill_9_of_squall_the_agent_heals_itself_and_recover_closes_the_run() {
    let world = World::start();
    let mut run = world.spawn_run(&world.experiment("small.yaml", LONG));
    world.wait_for_fault();
    run.signal(Signal::KILL);
    run.wait(END);
    assert!(!world.proxy().faults.is_empty(), "the lease had run out already: the test shows nothing");
    let took = world.wait_for_healing();
    assert!(took < Duration::from_secs(4), "the lease is 2s, but healing took {took:?}");

    let history = world.squall().args(["history", "--output", "json"]).output().unwrap();
    let runs: serde_json::Value = serde_json::from_slice(&history.stdout).unwrap();
    assert!(runs[0]["verdict"].is_null(), "{runs}");
    let recovered = world.squall().arg("recover").output().unwrap();
    assert_eq!(recovered.status.code(), Some(0), "{}", printed(&recovered));
    assert!(String::from_utf8_lossy(&recovered.stdout).contains("closed as interrupted"), "{}", printed(&recovered));
    let again = world.squall().arg("recover").output().unwrap();
    assert!(String::from_utf8_lossy(&again.stdout).contains("nothing to recover"), "{}", printed(&again));
}

#[test]
fn recover_heals_what_a_dead_run_has_left_before_its_lease_runs_out() {
    let world = World::start();
    let mut run =
        world.spawn_run(&world.experiment("small.yaml", &[("for: 2s", "for: 60s"), ("lease: 2s", "lease: 1m")]));
    world.wait_for_fault();
    run.signal(Signal::KILL);
    run.wait(END);
    let recovered = world.squall().arg("recover").output().unwrap();
    assert_eq!(recovered.status.code(), Some(0), "{}", printed(&recovered));
    assert!(world.proxy().faults.is_empty());
    assert_eq!(world.proxy().lease, None);
}

#[test]
fn after_kill_9_of_the_agent_the_verdict_is_never_held() {
    let world = World::start();
    let mut run = world.spawn_run(&world.experiment(
        "small.yaml",
        &[
            ("for: 2s", "for: 60s"),
            ("  - {probe: traffic, success_ratio: \"< 50%\", for: 1s}", "  - {probe_silent: 30s}"),
        ],
    ));
    world.wait_for_fault();
    world.agent.signal(Signal::KILL);
    let code = run.wait(END).code();
    assert!(matches!(code, Some(7 | 8)), "exit {code:?}: {}", run.log());
    assert!(run.log().contains("squall heal --agent") || code == Some(7), "{}", run.log());
}

#[test]
fn a_second_run_that_wants_the_same_proxy_is_refused_and_the_first_is_untouched() {
    let world = World::start();
    let file = world.experiment("small.yaml", &[("for: 2s", "for: 6s")]);
    let mut first = world.spawn_run(&file);
    world.wait_for_fault();
    let second = world.run(&file);
    assert_eq!(second.status.code(), Some(10), "{}", printed(&second));
    assert!(String::from_utf8_lossy(&second.stderr).contains("is held by squall on"), "{}", printed(&second));
    assert!(!world.proxy().faults.is_empty(), "the second run lifted the first one's fault");
    assert_eq!(first.wait(END).code(), Some(0), "{}", first.log());
}

#[test]
fn a_fault_that_somebody_takes_away_is_an_error_not_a_success() {
    let world = World::start();
    let mut run = world.spawn_run(&world.experiment("small.yaml", &[]));
    world.wait_for_fault();
    let healed = world.squall().args(["heal", "--agent", &world.agent_url]).output().unwrap();
    assert_eq!(healed.status.code(), Some(0), "{}", printed(&healed));
    assert_eq!(run.wait(END).code(), Some(7), "{}", run.log());
    assert!(run.log().contains("taken away by somebody else"), "{}", run.log());
}

#[test]
fn an_agent_that_is_not_there_is_exit_7_and_named() {
    let world = World::start();
    let file = world.experiment("small.yaml", &[]);
    world.write(
        "world.yaml",
        "agents:\n  edge-7: {url: \"http://127.0.0.1:1\"}\nvariables: {web: \"http://127.0.0.1:1\"}\n",
    );
    let output = world.run(&file);
    assert_eq!(output.status.code(), Some(7), "{}", printed(&output));
    let text = printed(&output);
    assert!(text.contains("edge-7") && text.contains("127.0.0.1:1") && text.contains("refused"), "{text}");
}

#[test]
fn a_journal_that_cannot_be_written_is_noticed_before_anything_is_injected() {
    let world = World::start();
    let file = world.experiment("small.yaml", &[]);
    world.write("not-a-directory", "");
    let output = world.run_command(&file).args(["--journal", "not-a-directory/journal.db"]).output().unwrap();
    assert_eq!(output.status.code(), Some(7), "{}", printed(&output));
    assert!(String::from_utf8_lossy(&output.stderr).contains("not-a-directory"), "{}", printed(&output));
    assert_eq!(world.proxy().counters.connections, 0);
}

#[test]
fn a_fault_set_by_hand_lives_while_it_is_held() {
    let world = World::start();
    let mut command = world.squall();
    command.args(["fault", "set", "web", "{latency: {delay: 100ms}}", "--agent", &world.agent_url]);
    let mut held = squall_tests::Running::spawn(command, &world.path("fault.log"));
    world.wait_for_fault();
    held.signal(Signal::INT);
    assert_eq!(held.wait(END).code(), Some(0), "{}", held.log());
    assert!(world.proxy().faults.is_empty());
    wait_for("the lease to be gone", || world.proxy().lease.is_none().then_some(()));
}
