//! What goes wrong in other tools when they run experiments, and what happens here. Each test is named after its case:
//!
//! | case | here |
//! | --- | --- |
//! | the steady state does not hold before the method | `not_steady`, 4 |
//! | the action cannot inject: connection refused, exits 1, agent gone | `error`, 7, names step, agent and cause |
//! | healing fails | `not_healed`, 8, says where and what to type |
//! | a misspelt key | 3: line, column, nearest word |
//! | a number with a fraction as tolerance | works |
//! | an unresolved variable | 3 |
//! | a list at the top of the file, or bad JSON | 3, plain message |
//! | the journal cannot be written | noticed before anything is injected |
//! | every sample is out of tolerance during the fault, and well before and after | `deviated`, 1 |
//! | an abort condition is met during a long step | lifted at once, and confirmed |
//! | SIGINT, SIGTERM or SIGHUP in the middle | healed, confirmed, 130, 143, 129 |
//! | a second SIGINT while healing | healing goes on |
//! | kill -9 of squall | healed within the lease, journal kept |
//! | a probe without a time-out against a hung server | it has one; the samples failed |
//! | two runs at once on one target | the second refused, 10 |
//! | a secret echoed by a step | redacted everywhere |
//! | colour in a pipe, `NO_COLOR` ignored | plain |
//! | a window that opens later than it closes | open over midnight |
//! | 20 % of two targets | rounding is stated; none chosen is refused, 10 |
//! | a fault runs without effect | `inconclusive`, 9 |
//! | a ratio over no samples | `inconclusive`, 9 |
//!
//! Cases of proxies are in the agent's own tests. Neighbours: `method.rs` has the steps, `files.rs` more of bad files.

use rustix::process::Signal;
use squall_tests::{Agent, LONG, World, everything_written, printed, refused, steady_output};
use std::{process::Output, time::Duration};

const END: Duration = Duration::from_secs(20);

#[test]
fn every_sample_is_out_of_tolerance_during_the_fault_and_well_before_and_after() {
    let world = World::start();
    let changes = [("p99: \"< 900ms\"", "p99: \"< 400ms\""), ("delay: 100ms", "delay: 500ms")];
    let output = world.run(&world.experiment("small.yaml", &changes));
    assert_eq!(output.status.code(), Some(1), "{}", printed(&output));
    assert!(String::from_utf8_lossy(&output.stdout).contains("DEVIATED"), "{}", printed(&output));
}

#[test]
fn the_steady_state_does_not_hold_before_the_method() {
    let world = World::start();
    let output = world.run(&world.experiment("small.yaml", &[("${web}/\"", "${web}/broken\"")]));
    assert_eq!(output.status.code(), Some(4), "{}", printed(&output));
    assert_eq!(world.proxy().counters.connections_hit, 0);
    assert!(!String::from_utf8_lossy(&output.stderr).contains("injected"), "{}", printed(&output));
}

#[test]
fn a_fault_runs_without_effect() {
    let world = World::start();
    let changes = [("fault: {latency: {delay: 100ms}}", "fault: {latency: {delay: 100ms}}, percent: 0")];
    let output = world.run(&world.experiment("small.yaml", &changes));
    assert_eq!(output.status.code(), Some(9), "{}", printed(&output));
    assert!(String::from_utf8_lossy(&output.stdout).contains("hit nothing"), "{}", printed(&output));
}

#[test]
fn sigint_sigterm_or_sighup_in_the_middle() {
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
fn a_second_sigint_while_healing() {
    let world = World::start();
    let mut run = world.spawn_run(&world.experiment("small.yaml", LONG));
    world.wait_for_fault();
    run.signal(Signal::INT);
    run.signal(Signal::INT);
    assert_eq!(run.wait(END).code(), Some(130), "{}", run.log());
    assert!(world.proxy().faults.is_empty());
}

#[test]
fn kill_9_of_squall() {
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
fn healing_fails() {
    let world = World::start();
    let mut run = world.spawn_run(&world.experiment(
        "small.yaml",
        &[LONG, &[("  - {probe: traffic, success_ratio: \"< 50%\", for: 1s}", "  - {probe_silent: 30s}")]].concat(),
    ));
    world.wait_for_fault();
    world.agent.signal(Signal::KILL);
    assert_eq!(run.wait(END).code(), Some(8), "{}", run.log());
    let log = run.log();
    assert!(log.contains("agent `main` could not confirm") && log.contains("squall heal --agent http://"), "{log}");
}

#[test]
fn the_journal_cannot_be_written() {
    let world = World::start();
    let file = world.experiment("small.yaml", &[]);
    world.write("not-a-directory", "");
    let output = world.run_command(&file).args(["--journal", "not-a-directory/journal.db"]).output().unwrap();
    assert_eq!(output.status.code(), Some(7), "{}", printed(&output));
    assert!(String::from_utf8_lossy(&output.stderr).contains("not-a-directory"), "{}", printed(&output));
    assert_eq!(world.proxy().counters.connections, 0);
}

#[test]
fn two_runs_at_once_on_one_target() {
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
fn a_misspelt_key() {
    let world = World::start();
    let file = world.experiment("bad.yaml", &[("steady_state:", "steady_stat:")]);
    refused(&world, &file, &["bad.yaml:10:1", "steady_stat:", "^^^", "steady_state"]);
    let file = world.experiment("bad.yaml", &[("baseline: 1s", "rollback: []\nbaseline: 1s")]);
    refused(&world, &file, &["rollback", "unknown key"]);
    let file = world.experiment("bad.yaml", &[("latency:", "latncy:")]);
    refused(&world, &file, &["latncy", "did you mean `latency`?"]);
}

#[test]
fn an_unresolved_variable() {
    let world = World::start();
    let file = world.experiment("bad.yaml", &[("${web}/\"", "${wbe}/\"")]);
    refused(&world, &file, &["wbe", "did you mean `${web}`?"]);
}

#[test]
fn a_list_at_the_top_of_the_file_or_bad_json() {
    let world = World::start();
    refused(&world, &world.write("empty.yaml", ""), &["empty"]);
    refused(&world, &world.write("list.yaml", "- a\n- b\n"), &["list"]);
    refused(&world, &world.write("tab.yaml", "version: 1\ntraffic:\n\trate: 5/s\n"), &["tab.yaml:3", "tab"]);
    refused(&world, &world.write("broken.yaml", "version: 1\nname: [a, b\n"), &["broken.yaml"]);
    refused(&world, &world.write("json.yaml", "{\"version\": 1,"), &["json.yaml"]);
    let large = format!("version: 1\nname: x\nhypothesis: {}\n", "y".repeat(10 << 20));
    refused(&world, &world.write("large.yaml", &large), &["too large"]);
    std::fs::write(world.path("binary.yaml"), b"name: \x80\x81").unwrap();
    refused(&world, &world.path("binary.yaml"), &["not UTF-8"]);
    refused(&world, &world.path("absent.yaml"), &["absent.yaml", "failed to read"]);
}

#[test]
fn the_action_cannot_inject() {
    let world = World::start();
    // A request that nobody takes, and a program that ends with 1.
    let refused = "run: {http: {url: \"http://127.0.0.1:1/\"}}";
    let exits = "run: {command: [sh, -c, \"echo no database >&2; exit 1\"]}";
    for (step, cause) in [(refused, "refused"), (exits, "exit code 1: no database")] {
        let steps = format!("method:\n  - name: fail over\n    {step}\n  - name: the network");
        let file = world.experiment("small.yaml", &[("method:\n  - name: the network", &steps)]);
        let output = world.run(&file);
        let text = printed(&output);
        assert_eq!(output.status.code(), Some(7), "{text}");
        assert!(text.contains("step `fail over`") && text.contains(cause), "{text}");
        assert_eq!(world.proxy().counters.connections_hit, 0, "it went on\n{text}");
    }
    // An agent that refuses the fault, which the plan could not know: somebody took the name meanwhile.
    let file = world.experiment(
        "taken.yaml",
        &[("fault: {latency", "name: mine, fault: {latency"), ("  - name: the network", TWICE)],
    );
    let output = world.run(&file);
    let text = printed(&output);
    assert_eq!(output.status.code(), Some(7), "{text}");
    assert!(
        text.contains("step `inject latency on web") && text.contains("agent `main`") && text.contains("mine"),
        "{text}"
    );
    assert!(world.proxy().faults.is_empty());
}

/// The same fault once more, in a step beside it that chooses its agent another way.
const TWICE: &str = "  - parallel:\n      - inject: {agents: {}, proxy: web, name: mine, fault: {latency: {delay: 1ms}}}\n        for: 5s\n      - inject: {proxy: web, name: mine, fault: {latency: {delay: 1ms}}}\n        for: 5s\n  - name: the network";

#[test]
fn a_number_with_a_fraction_as_tolerance() {
    let world = World::start();
    let file = world.experiment("small.yaml", &[("\">= 99%\", p99: \"< 900ms\"", "\">= 0.985\", p99: \"< 0.9s\"")]);
    let output = world.run(&file);
    assert_eq!(output.status.code(), Some(0), "{}", printed(&output));
}

#[test]
fn an_abort_condition_is_met_during_a_long_step() {
    let world = World::start();
    let file = world.experiment("small.yaml", &[("for: 2s", "for: 60s"), ("latency: {delay: 100ms}", "reset: {}")]);
    let output = world.run(&file);
    assert_eq!(output.status.code(), Some(5), "{}", printed(&output));
    assert!(world.proxy().faults.is_empty());
    let events = world.last_events();
    let at = |kind: &str| events.iter().position(|event| event["kind"] == kind).unwrap();
    let time = |index: usize| events[index]["at_ms"].as_f64().unwrap();
    let (breach, confirmed) = (at("breach"), at("heal_confirmed"));
    // Nothing is waited for between the two: neither the step's end nor another window.
    assert!(
        breach < confirmed && events[breach..confirmed].iter().all(|event| event["kind"] != "step_ended"),
        "{events:?}"
    );
    let took = time(confirmed) - time(breach);
    eprintln!("from the breach to the confirmation: {took:.1} ms");
    assert!(took < 2000.0, "{took} ms");
    assert!(time(breach) < 20_000.0, "it waited for the end of the step");
}

#[test]
fn a_probe_without_a_time_out_against_a_hung_server() {
    let world = World::start();
    // It takes connections and never answers.
    let hung = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let probes = format!(
        "probes:\n  hung: {{http: {{url: \"http://{}/\"}}, every: 200ms}}\nsteady_state:\n  - {{probe: hung, status: 200}}\n",
        hung.local_addr().unwrap()
    );
    let output = world.run(&world.experiment("small.yaml", &[("steady_state:\n", &probes)]));
    let text = printed(&output);
    assert_eq!(output.status.code(), Some(4), "{text}");
    assert!(text.contains("timed out after 200ms"), "{text}");
    assert_eq!(world.proxy().counters.connections_hit, 0);
}

#[test]
fn a_secret_echoed_by_a_step() {
    let world = World::start();
    let steps = "method:\n  - name: login\n    run: {command: [sh, -c, \"echo token $TOKEN; echo complaint $TOKEN >&2\"], env: {TOKEN: \"${env:SHOP_TOKEN}\"}}\n\
         \x20 - name: made\n    run: {command: [echo, 'made-up-9c3a'], secret: true}\n\
         \x20 - name: used\n    run: {command: [echo, \"${steps.made.output}\", \"${env:SHOP_TOKEN}\"], expect: {exit_code: 3}, on_failure: continue}\n\
         \x20 - name: the network";
    let file = world.experiment("secret.yaml", &[("method:\n  - name: the network", steps)]);
    let output = steady_output(|| {
        let mut command = world.run_command(&file);
        command.env("SHOP_TOKEN", "hunter2-hunter2").args(["-v", "-v"]);
        command
    });
    let text = printed(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("token ***"), "the step has not run\n{text}");
    let everything = [text.into_bytes(), everything_written(&world)].concat();
    for secret in ["hunter2-hunter2", "made-up-9c3a\n", "made-up-9c3a ", ": made-up-9c3a"] {
        let found = everything.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!found, "{secret:?} was written somewhere");
    }
}

#[test]
fn colour_in_a_pipe_or_no_color_ignored() {
    let world = World::start();
    let file = world.experiment("bad.yaml", &[("latency:", "latncy:")]);
    let escapes = |output: &Output| [&output.stdout, &output.stderr].into_iter().any(|said| said.contains(&0x1b));
    let run = |variables: &[(&str, &str)]| world.run_command(&file).envs(variables.iter().copied()).output().unwrap();
    assert!(!escapes(&run(&[])), "a pipe got colours");
    assert!(escapes(&run(&[("CLICOLOR_FORCE", "1")])), "it never colours: the test shows nothing");
    assert!(!escapes(&run(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")])), "`NO_COLOR` was ignored");
}

#[test]
fn a_window_that_opens_later_than_it_closes() {
    let world = World::start();
    // Closed for one minute twelve hours from now, and open over midnight otherwise.
    let now = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC);
    let away = now.checked_add(jiff::SignedDuration::from_hours(12)).unwrap();
    let minute_later = away.checked_add(jiff::SignedDuration::from_mins(1)).unwrap();
    let window = |days: &str, from: &str, to: &str| {
        format!("windows: [{{days: {days}, from: \"{from}\", to: \"{to}\", zone: UTC}}]\nbaseline: 1s")
    };
    let time = |at: &jiff::Zoned| at.strftime("%H:%M").to_string();
    let open = window("mon-sun", &time(&minute_later), &time(&away));
    let output = world.run(&world.experiment("open.yaml", &[("baseline: 1s", &open)]));
    assert_eq!(output.status.code(), Some(0), "{}", printed(&output));

    let other_day =
        now.checked_add(jiff::SignedDuration::from_hours(72)).unwrap().strftime("%a").to_string().to_lowercase();
    let before = world.proxy().counters;
    let closed = world.experiment("closed.yaml", &[("baseline: 1s", &window(&other_day, "22:00", "04:00"))]);
    let output = world.run(&closed);
    let text = printed(&output);
    assert_eq!(output.status.code(), Some(10), "{text}");
    assert!(text.contains("opens next on") && text.contains("22:00 UTC"), "{text}");
    assert_eq!(world.proxy().counters, before, "something was touched");
    assert!(world.proxy().lease.is_none());
}

#[test]
fn twenty_percent_of_two_targets() {
    let world = World::start();
    let second = Agent::start(&world, "second", &["--label", "zone=b"]);
    world.with_agents(&[("main", &world.agent_url, "{zone: a}"), ("second", &second.url, "")]);
    let some = |percent: u32| format!("inject: {{agents: {{percent: {percent}}}, proxy: web,");
    let fifth = world.experiment("fifth.yaml", &[("inject: {proxy: web,", &some(20))]);
    for command in ["plan", "run"] {
        let output =
            world.squall().arg(command).arg(&fifth).arg("--env").arg(world.path("world.yaml")).output().unwrap();
        let text = printed(&output);
        assert_eq!(output.status.code(), Some(10), "{text}");
        assert!(text.contains("20 % of 2 agents are 0.4, rounded down to none; write 50 or more"), "{text}");
    }
    assert!(world.proxy().lease.is_none() && second.proxy().lease.is_none());
    let half = world.experiment("half.yaml", &[("inject: {proxy: web,", &some(50))]);
    let output = world
        .squall()
        .args(["plan", "--seed", "7"])
        .arg(&half)
        .arg("--env")
        .arg(world.path("world.yaml"))
        .output()
        .unwrap();
    let text = printed(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("50 % of 2 agents are 1; chosen by seed 7"), "{text}");
    let elsewhere = world
        .experiment("elsewhere.yaml", &[("inject: {proxy: web,", "inject: {agents: {labels: {zone: c}}, proxy: web,")]);
    let output = world.run(&elsewhere);
    let text = printed(&output);
    assert_eq!(output.status.code(), Some(10), "{text}");
    assert!(text.contains("there are zone=a (main), zone=b (second)"), "{text}");
}

#[test]
fn a_ratio_over_no_samples() {
    let world = World::start();
    let file = world.experiment("small.yaml", &[("rate: 50/s", "rate: 1/m")]);
    let output = world.run(&file);
    assert_eq!(output.status.code(), Some(9), "{}", printed(&output));
    assert_eq!(world.proxy().counters.connections_hit, 0, "nothing is injected without a steady state");
}
