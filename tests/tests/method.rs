//! The steps of a method end to end: ramps, programs and requests with what takes them back, checks, questions, rounds,
//! several agents; and how a run ends otherwise.

use rustix::process::Signal;
use squall_tests::{Agent, LONG, World, printed, wait_for};
use std::time::Duration;

const END: Duration = Duration::from_secs(20);

/// The small experiment with these steps in its method's stead.
fn with_steps(world: &World, steps: &str) -> std::path::PathBuf {
    let whole = "method:\n  - name: the network is slow\n    inject: {proxy: web, fault: {latency: {delay: 100ms}}}\n    for: 2s\n";
    world.experiment("steps.yaml", &[(whole, &format!("method:\n{steps}"))])
}

/// From 50 ms by a factor of four: 50, 200, 800 ms and 2 s, of which the last two are longer than the tolerance.
const RAMP: &str = "  - name: how late\n    ramp: {inject: {proxy: web, fault: {latency: {delay: 50ms}}}, vary: delay, to: 2s, factor: 4, hold: 1s EXPECT}\n";

#[test]
fn a_ramp_finds_the_last_safe_level_and_the_first_that_breaks() {
    let world = World::start();
    for (expect, code) in [(", expect: \">= 200ms\"", 0), (", expect: \">= 1s\"", 1), ("", 1)] {
        let steps = RAMP.replace(" EXPECT", expect);
        let changes = ["p99: \"< 900ms\"", "p99: \"< 600ms\""];
        let file = with_steps(&world, &steps);
        let text = std::fs::read_to_string(&file).unwrap().replace(changes[0], changes[1]);
        let output = world.run(&world.write("ramp.yaml", &text));
        let text = printed(&output);
        assert_eq!(output.status.code(), Some(code), "{expect}: {text}");
        assert!(text.contains("delay is safe up to 200ms and breaks the steady state at 800ms"), "{text}");
        let run = world.last_run();
        assert_eq!(
            (&run["ramps"][0]["last_safe"], &run["ramps"][0]["first_broken"]),
            (&"200ms".into(), &"800ms".into())
        );
        assert_eq!(run["faults"].as_array().unwrap().len(), 1, "one fault is changed: {run}");
        let levels: Vec<_> = world.last_events().into_iter().filter(|event| event["kind"] == "level").collect();
        assert_eq!(levels.len(), 3, "2s is never set: {levels:?}");
    }
    assert!(world.proxy().faults.is_empty());
}

#[test]
fn a_ramp_of_the_traffic_raises_the_rate_and_brings_it_back() {
    let world = World::start();
    let steps = "  - ramp: {vary: traffic.rate, to: 200/s, steps: 2, hold: 1s}\n";
    let output = world.run(&with_steps(&world, steps));
    let text = printed(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("safe at every level that was tried, up to 200/s"), "{text}");
    let run = world.last_run();
    let during = run["rows"].as_array().unwrap().iter().find(|row| row["when"] == "during").unwrap();
    // A second at 50/s and one at 200/s.
    assert!(during["samples"].as_u64().unwrap() > 150, "{during}");
}

#[test]
fn a_surge_changes_the_load_for_its_time_and_what_was_set_up_outlasts_recovery() {
    let world = World::start();
    let file = with_steps(&world, "  - name: rush\n    surge: {rate: 300/s}\n    for: 2s\n");
    let setup = r#"setup:
  - name: seed
    run: {command: [sh, -c, "echo made > made.txt"], undo: {command: [sh, -c, "echo undone >> made.txt"]}}
"#;
    let text = std::fs::read_to_string(&file).unwrap().replace("method:\n", &format!("{setup}method:\n"));
    let output = world.run(&world.write("surge.yaml", &text));
    let printed_text = printed(&output);
    assert_eq!(output.status.code(), Some(0), "{printed_text}");
    assert!(printed_text.contains("the load is 300/s: rush, normally 50/s"), "{printed_text}");
    assert!(printed_text.contains("the load is back at 50/s: rush is over"), "{printed_text}");
    // Two seconds at the normal rate would be 100.
    let run = world.last_run();
    let during = run["rows"].as_array().unwrap().iter().find(|row| row["when"] == "during").unwrap();
    assert!(during["samples"].as_u64().unwrap() > 500, "{during}");
    let told: Vec<String> = world.last_events().iter().map(|event| event["kind"].as_str().unwrap().into()).collect();
    let wanted = ["undo_owed", "ran", "surged", "subsided", "undone", "verdict"];
    let found: Vec<_> = told.iter().filter(|kind| wanted.contains(&kind.as_str())).collect();
    assert_eq!(found, wanted, "{told:?}");
    let place = |kind: &str| told.iter().rposition(|told| told == kind).unwrap();
    // Setup, baseline, method, heal, recovery, and then what was set up is taken back.
    assert_eq!(told[..place("undone")].iter().filter(|kind| *kind == "phase").count(), 5, "{told:?}");

    let made = || std::fs::read_to_string(world.path("made.txt")).unwrap_or_default();
    assert_eq!(made(), "made\nundone\n");
    let longer = world.write("surge.yaml", &text.replace("for: 2s", "for: 1m"));
    let mut run = world.spawn_run(&longer);
    wait_for("the surge", || run.log().contains("the load is 300/s").then_some(()));
    run.signal(Signal::INT);
    assert_eq!(run.wait(END).code(), Some(130), "{}", run.log());
    assert!(run.log().contains("the load is back at 50/s"), "{}", run.log());
    assert_eq!(made(), "made\nundone\n");

    let mut run = world.spawn_run(&longer);
    wait_for("the surge", || run.log().contains("the load is 300/s").then_some(()));
    run.signal(Signal::KILL);
    run.wait(END);
    assert_eq!(made(), "made\n");
    let recovered = world.squall().arg("recover").output().unwrap();
    assert_eq!(recovered.status.code(), Some(0), "{}", printed(&recovered));
    assert_eq!(made(), "made\nundone\n", "{}", printed(&recovered));
}

#[test]
fn a_program_is_run_its_output_used_and_it_is_taken_back_however_the_run_ends() {
    let world = World::start();
    let steps = r#"  - name: make
    run: {command: [sh, -c, "echo made > made.txt; echo '{\"id\": 7}'"], undo: {command: [sh, -c, "echo undone ${steps.make.output:$.id} >> made.txt"]}}
  - name: ask
    run: {http: {url: "${web}/?id=${steps.make.output:$.id}", method: GET}, expect: {status: 200, contains: ok}}
  - inject: {proxy: web, fault: {latency: {delay: 100ms}}}
    for: 2s
"#;
    let made = || std::fs::read_to_string(world.path("made.txt")).unwrap_or_default();
    let output = world.run(&with_steps(&world, steps));
    assert_eq!(output.status.code(), Some(0), "{}", printed(&output));
    assert_eq!(made(), "made\nundone 7\n", "{}", printed(&output));

    let longer = steps.replace("for: 2s", "for: 60s");
    let mut run = world.spawn_run(&with_steps(&world, &longer));
    world.wait_for_fault();
    run.signal(Signal::INT);
    assert_eq!(run.wait(END).code(), Some(130), "{}", run.log());
    assert_eq!(made(), "made\nundone 7\n", "{}", run.log());

    let mut run = world.spawn_run(&with_steps(&world, &longer));
    world.wait_for_fault();
    run.signal(Signal::KILL);
    run.wait(END);
    assert_eq!(made(), "made\n");
    let elsewhere = tempfile::tempdir().unwrap();
    let recovered = world.squall().arg("recover").current_dir(elsewhere.path()).output().unwrap();
    assert_eq!(recovered.status.code(), Some(0), "{}", printed(&recovered));
    assert_eq!(made(), "made\nundone 7\n", "{}", printed(&recovered));
}

#[test]
fn what_cannot_be_taken_back_is_not_healed() {
    let world = World::start();
    let steps = "  - name: make\n    run: {command: [\"true\"], undo: {command: [sh, -c, \"echo locked >&2; exit 4\"]}}\n  - inject: {proxy: web, fault: {latency: {delay: 100ms}}}\n    for: 1s\n";
    let output = world.run(&with_steps(&world, steps));
    let text = printed(&output);
    assert_eq!(output.status.code(), Some(8), "{text}");
    assert!(text.contains("step `make` could not be taken back by `sh`: exit code 4: locked; do it by hand"), "{text}");
    assert!(world.proxy().faults.is_empty());
}

#[test]
fn what_was_not_there_to_be_deleted_is_taken_back() {
    let world = World::start();
    let url = format!("{}/v1/proxies/nobody", world.agent_url);
    let steps = format!(
        "  - name: make\n    run: {{command: [\"true\"], undo: {{http: {{url: \"{url}\", method: METHOD}}}}}}\n  - inject: {{proxy: web, fault: {{latency: {{delay: 100ms}}}}}}\n    for: 1s\n"
    );
    // Whoever deletes has what he wants; whoever asks for it has not.
    for (method, code) in [("DELETE", 0), ("GET", 8)] {
        let output = world.run(&with_steps(&world, &steps.replace("METHOD", method)));
        assert_eq!(output.status.code(), Some(code), "{method}: {}", printed(&output));
    }
}

#[test]
fn a_program_that_runs_is_killed_when_the_run_is_stopped() {
    let world = World::start();
    let file = with_steps(&world, "  - run: {command: [sh, -c, \"echo $$ > pid.txt; sleep 600\"], timeout: 15m}\n");
    let text = std::fs::read_to_string(&file).unwrap().replace("duration: 2m", "duration: 1h");
    let mut run = world.spawn_run(&world.write("steps.yaml", &text));
    let pid: String = wait_for("the program", || {
        std::fs::read_to_string(world.path("pid.txt")).ok().filter(|pid| pid.ends_with('\n'))
    });
    run.signal(Signal::TERM);
    assert_eq!(run.wait(END).code(), Some(143), "{}", run.log());
    wait_for("its end", || (!std::path::Path::new(&format!("/proc/{}", pid.trim())).exists()).then_some(()));
}

#[test]
fn a_check_that_does_not_hold_is_deviated_and_can_end_the_method() {
    let world = World::start();
    let steps = "  - parallel:\n      - inject: {proxy: web, fault: {latency: {delay: 700ms}}}\n        for: 3s\n      - repeat: {times: 1, steps: [{wait: 2s}, {name: look, check: {over: 1s, on_failure: stop}}]}\n  - wait: 50s\n";
    let file = with_steps(&world, steps);
    let text = std::fs::read_to_string(&file).unwrap().replace("p99: \"< 900ms\"", "p99: \"< 600ms\"");
    let output = world.run(&world.write("check.yaml", &text));
    let text = printed(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("check `look`: not steady") && text.contains("p99 was"), "{text}");
    assert!(!text.contains("step: wait 50s"), "the method went on: {text}");
}

#[test]
fn a_check_with_rows_of_its_own_is_judged_by_them() {
    let world = World::start();
    // What the steady state allows, the check does not.
    let check = |limit: &str| {
        format!(
            "  - parallel:\n      - inject: {{proxy: web, fault: {{latency: {{delay: 300ms}}}}}}\n        for: 4s\n      \
             - repeat: {{times: 1, steps: [{{wait: 2s}}, {{name: look, check: {{over: 1s, rows: [{{probe: traffic.page, \
             p50: \"{limit}\", min_samples: 1}}]}}}}]}}\n"
        )
    };
    let output = world.run(&with_steps(&world, &check("< 200ms")));
    assert_eq!(output.status.code(), Some(1), "{}", printed(&output));
    assert!(printed(&output).contains("check `look`: not steady: traffic.page p50"), "{}", printed(&output));
    let output = world.run(&with_steps(&world, &check("> 200ms")));
    assert_eq!(output.status.code(), Some(0), "{}", printed(&output));
}

#[test]
fn without_a_terminal_a_question_has_its_default_at_once() {
    let world = World::start();
    let ask = |default: &str| {
        format!(
            "  - inject: {{proxy: web, fault: {{latency: {{delay: 100ms}}}}}}\n    for: 1s\n  - name: look\n    pause: {{question: Is it green?, timeout: 1m, default: {default}}}\n"
        )
    };
    let output = world.run(&with_steps(&world, &ask("continue")));
    assert_eq!(output.status.code(), Some(0), "{}", printed(&output));
    let output = world.run(&with_steps(&world, &ask("stop")));
    let text = printed(&output);
    assert_eq!(output.status.code(), Some(130), "{text}");
    assert!(text.contains("stopped at `look` (nobody is there to ask, so the default)"), "{text}");
}

#[test]
fn steps_are_repeated_and_every_round_must_be_felt() {
    let world = World::start();
    let steps = "  - repeat: {times: 3, steps: [{inject: {proxy: web, fault: {latency: {delay: 100ms}}}, for: 500ms}, {wait: 100ms}]}\n";
    let output = world.run(&with_steps(&world, steps));
    assert_eq!(output.status.code(), Some(0), "{}", printed(&output));
    let faults = world.last_run()["faults"].as_array().unwrap().clone();
    assert_eq!(faults.len(), 3, "{faults:?}");
    assert!(faults.iter().all(|fault| fault["hits"].as_u64().unwrap() > 0), "{faults:?}");
}

#[test]
fn one_step_sets_its_fault_on_every_agent_with_a_label_and_heals_it_on_all() {
    let world = World::start();
    let second = Agent::start(&world, "second", &["--label", "zone=a"]);
    world.with_agents(&[("main", &world.agent_url, "{zone: a}"), ("second", &second.url, "")]);
    let both = "inject: {agents: {labels: {zone: a}}, proxy: web,";
    let traffic = format!("requests:\n    - {{name: other, get: \"{}/\"}}", second.proxy_url);
    let changes = [LONG, &[("inject: {proxy: web,", both), ("requests:", traffic.as_str())]].concat();
    let mut run = world.spawn_run(&world.experiment("both.yaml", &changes));
    world.wait_for_fault();
    wait_for("a fault on the second", || (!second.proxy().faults.is_empty()).then_some(()));
    run.signal(Signal::INT);
    assert_eq!(run.wait(END).code(), Some(130), "{}", run.log());
    assert!(world.proxy().faults.is_empty() && second.proxy().faults.is_empty());
    assert_eq!(world.last_run()["faults"].as_array().unwrap().len(), 2);

    let changes =
        [("inject: {proxy: web,", both), ("percent: 100, duration", "percent: 100, agents_percent: 50, duration")];
    let output = world.run(&world.experiment("limit.yaml", &changes));
    let text = printed(&output);
    assert_eq!(output.status.code(), Some(10), "{text}");
    assert!(text.contains("touches 2 of 2 agents (main, second), more than the 50 % that it allows"), "{text}");
}

#[test]
fn healing_does_not_wait_for_a_call_that_hangs() {
    let world = World::start();
    // In front of the agent's API, one that lets the removal of a fault hang, and nothing else.
    let front = Agent::start_before(&world, "front", world.agent_url.trim_start_matches("http://"), "http");
    world.with_agents(&[("main", &front.proxy_url, "")]);
    let hang = "{fault: {http_latency: {delay: 60s, at: request}}, where: {method: [DELETE], path: \"/v1/proxies/*\"}}";
    let mut command = world.squall();
    command.args(["fault", "set", "web", hang, "--agent", &front.url]);
    let mut held = squall_tests::Running::spawn(command, &world.path("hang.log"));
    wait_for("the hanging", || (!front.proxy().faults.is_empty()).then_some(()));
    let mut run = world.spawn_run(
        &world.experiment("small.yaml", &[LONG, &[("for: 60s", "for: 200ms"), ("lease: 2s", "lease: 1m")]].concat()),
    );
    wait_for("the removal to hang", || (front.proxy().faults[0].hits > Some(0)).then_some(()));
    run.signal(Signal::INT);
    assert_eq!(run.wait(END).code(), Some(130), "{}", run.log());
    assert!(world.proxy().faults.is_empty(), "{}", run.log());
    let events = world.last_events();
    let time = |kind: &str| events.iter().find(|event| event["kind"] == kind).unwrap()["at_ms"].as_f64().unwrap();
    let took = time("heal_confirmed") - time("stopped");
    assert!(took < 2500.0, "the call's own limit is 5 s, and healing took {took} ms");
    held.signal(Signal::INT);
    held.wait(END);
}

#[test]
fn the_environments_proxies_are_shaped_under_the_runs_lease_or_not_at_all() {
    let world = World::start();
    let upstream = world.web.address();
    let environment = std::fs::read_to_string(world.path("world.yaml")).unwrap();
    let with = |proxies: &str| world.write("world.yaml", &format!("{environment}proxies: {proxies}\n"));
    with(&format!("[{{name: extra, upstream: \"{upstream}\"}}]"));
    let changes = [("inject: {proxy: web,", "inject: {proxy: extra,"), ("proxies: [web]", "proxies: [extra]")];
    let file = world.experiment("extra.yaml", &changes);
    let plan = world.squall().arg("plan").arg(&file).arg("--env").arg(world.path("world.yaml")).output().unwrap();
    assert_eq!(plan.status.code(), Some(0), "{}", printed(&plan));
    let made = || squall_tests::get(&format!("{}/v1/proxies/extra", world.agent_url)).unwrap()["name"] == "extra";
    assert!(!made(), "a plan made a proxy");
    // Nothing goes through it, so the fault hits nothing.
    assert_eq!(world.run(&file).status.code(), Some(9));
    assert!(made());

    let mut first = world.spawn_run(&world.experiment("long.yaml", LONG));
    world.wait_for_fault();
    with(&format!("[{{name: new, upstream: \"{upstream}\"}}, {{name: web, upstream: \"127.0.0.1:1\"}}]"));
    let second = world.run(&file);
    assert_eq!(second.status.code(), Some(10), "{}", printed(&second));
    assert_eq!(world.proxy().upstream, upstream.to_string(), "the proxy of another run was changed");
    assert!(squall_tests::get(&format!("{}/v1/proxies/new", world.agent_url)).unwrap()["name"] != "new", "half-done");
    first.signal(Signal::TERM);
    assert_eq!(first.wait(END).code(), Some(143));
}

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
fn what_does_not_come_back_in_time_is_not_recovered_with_exit_6() {
    let world = World::start();
    let changes = [
        (
            "  - {probe: traffic.page, min_samples: 5, success_ratio: \">= 99%\", p99: \"< 900ms\"}",
            "  - {probe: traffic.page, p99: \"< 900ms\"}\n  - {probe: traffic.page, rate: \"< 10/s\", when: [after]}",
        ),
        ("within: 3s", "within: 1s"),
    ];
    let output = world.run(&world.experiment("small.yaml", &changes));
    assert_eq!(output.status.code(), Some(6), "{}", printed(&output));
}

#[test]
fn a_fault_that_somebody_takes_away_is_an_error_not_a_success() {
    let world = World::start();
    let mut run = world.spawn_run(&world.experiment("small.yaml", &[LONG, &[("for: 60s", "for: 5s")]].concat()));
    world.wait_for_fault();
    let healed = world.squall().args(["heal", "--agent", &world.agent_url]).output().unwrap();
    assert_eq!(healed.status.code(), Some(0), "{}", printed(&healed));
    assert_eq!(run.wait(END).code(), Some(7), "{}", run.log());
    assert!(run.log().contains("taken away by somebody else"), "{}", run.log());
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

#[test]
fn recover_heals_what_a_dead_run_has_left_before_its_lease_runs_out() {
    let world = World::start();
    let mut run = world.spawn_run(&world.experiment("small.yaml", &[LONG, &[("lease: 2s", "lease: 1m")]].concat()));
    world.wait_for_fault();
    run.signal(Signal::KILL);
    run.wait(END);
    let recovered = world.squall().arg("recover").output().unwrap();
    assert_eq!(recovered.status.code(), Some(0), "{}", printed(&recovered));
    assert!(world.proxy().faults.is_empty());
    assert_eq!(world.proxy().lease, None);
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
