//! The commands by hand, as a person types them: against a real agent, a real journal, a real sandbox.

#![expect(clippy::unwrap_used, reason = "a test that cannot start must fail loudly")]

use rustix::process::Signal;
use squall_tests::{Running, World, has_postgres, printed, squall_in, wait_for};
use std::{
    path::{Path, PathBuf},
    process::Output,
    time::Duration,
};

fn squall(world: &World, arguments: &[&str]) -> Output {
    world.squall().args(arguments).env("SQUALL_AGENT", &world.agent_url).output().unwrap()
}

/// Runs it, expects success, gives its standard output.
fn said(world: &World, arguments: &[&str]) -> String {
    let output = squall(world, arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", printed(&output));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_plan_shows_what_would_be_touched_and_touches_nothing() {
    let world = World::start();
    let file = world.experiment("small.yaml", &[]);
    let output = world.squall().arg("plan").arg(&file).arg("--env").arg(world.path("world.yaml")).output().unwrap();
    let text = printed(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    for part in ["web", "latency", "100 %", "blast radius", "nothing was touched", "the network is slow"] {
        assert!(text.contains(part), "no `{part}` in {text}");
    }
    assert_eq!(world.proxy().counters.connections, 0);
    assert!(world.proxy().lease.is_none());
}

#[test]
fn a_plan_is_refused_while_somebody_else_holds_the_proxy() {
    let world = World::start();
    let file = world.experiment("small.yaml", &[("for: 2s", "for: 60s")]);
    let mut run = world.spawn_run(&file);
    world.wait_for_fault();
    let output = world.squall().arg("plan").arg(&file).arg("--env").arg(world.path("world.yaml")).output().unwrap();
    assert_eq!(output.status.code(), Some(10), "{}", printed(&output));
    run.signal(Signal::TERM);
    assert_eq!(run.wait(Duration::from_secs(20)).code(), Some(143));
}

#[test]
fn proxies_are_made_shown_switched_and_removed() {
    let world = World::start();
    let upstream = world.web.address().to_string();
    assert!(said(&world, &["proxy", "set", "second", "--upstream", &upstream]).contains("second"));
    assert!(said(&world, &["proxy", "list"]).contains("web"));
    assert!(said(&world, &["proxy", "disable", "second"]).contains("disabled"));
    assert!(said(&world, &["proxy", "enable", "second"]).contains("enabled"));
    assert!(said(&world, &["agents"]).contains("second"));
    said(&world, &["proxy", "remove", "second"]);
    assert!(!said(&world, &["proxy", "list"]).contains("second"));
    let gone = squall(&world, &["proxy", "remove", "second"]);
    assert_eq!(gone.status.code(), Some(2), "{}", printed(&gone));
}

#[test]
fn a_fault_by_hand_is_listed_changed_and_healed_by_name() {
    let world = World::start();
    let mut command = world.squall();
    command.args(["fault", "set", "web", "{latency: {delay: 1s}}", "--agent", &world.agent_url]);
    let mut held = Running::spawn(command, &world.path("held.log"));
    world.wait_for_fault();
    assert!(said(&world, &["fault", "list"]).contains("latency-1"));
    let lease = world.proxy().lease.unwrap().to_string();
    let changed = said(&world, &["fault", "change", "web", "latency-1", "--percent", "30", "--lease", &lease]);
    assert!(changed.contains("30 %"), "{changed}");
    assert!(said(&world, &["heal", "web/latency-1"]).contains("removed latency-1 from web"));
    assert!(world.proxy().faults.is_empty());
    held.signal(Signal::INT);
    assert_eq!(held.wait(Duration::from_secs(20)).code(), Some(0), "{}", held.log());
}

#[test]
fn a_fault_by_hand_ends_after_its_time() {
    let world = World::start();
    let text = said(&world, &["fault", "set", "web", "{reset: {}}", "--for", "300ms"]);
    assert!(text.contains("reset-1"), "{text}");
    assert!(world.proxy().faults.is_empty() && world.proxy().lease.is_none());
}

#[test]
fn a_bad_fault_by_hand_is_told_as_in_a_file() {
    let world = World::start();
    let output = squall(&world, &["fault", "set", "web", "{latncy: {delay: 1s}}"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(printed(&output).contains("did you mean `latency`?"), "{}", printed(&output));
    assert!(world.proxy().lease.is_none());
}

#[test]
fn the_journal_is_listed_shown_and_rendered_again() {
    let world = World::start();
    let run = world.run(&world.experiment("small.yaml", &[]));
    assert_eq!(run.status.code(), Some(0), "{}", printed(&run));
    let history = said(&world, &["history"]);
    assert!(history.contains("small") && history.contains("held"), "{history}");
    let id = history.lines().nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
    assert!(said(&world, &["show", &id]).contains("traffic.page"));
    said(&world, &["report", &id, "-o", "again.html"]);
    let html = std::fs::read_to_string(world.path("again.html")).unwrap();
    assert!(html.contains("<svg") && html.contains("traffic.page"));
    let json: serde_json::Value = serde_json::from_str(&said(&world, &["report", &id, "--format", "json"])).unwrap();
    assert_eq!(json["verdict"], "held");
    let unknown = squall(&world, &["show", "ffffffff"]);
    assert!(matches!(unknown.status.code(), Some(2 | 7)), "{}", printed(&unknown));
}

#[test]
fn a_sandbox_that_stays_can_be_used_as_an_environment() {
    let directory = tempfile::tempdir().unwrap();
    let environment = directory.path().join("sandbox.yaml");
    let mut command = squall_in(directory.path());
    command.arg("sandbox").arg("--write-env").arg(&environment);
    let mut sandbox = Running::spawn(command, &directory.path().join("sandbox.log"));
    wait_for("the sandbox's environment file", || environment.exists().then_some(()));
    let agents = squall_in(directory.path()).arg("agents").arg("--env").arg(&environment).output().unwrap();
    let text = printed(&agents);
    assert_eq!(agents.status.code(), Some(0), "{text}");
    for dependency in ["inventory", "payment", "recommendations", "reviews", "facets"] {
        assert!(text.contains(dependency), "{text}");
    }
    sandbox.signal(Signal::INT);
    assert_eq!(sandbox.wait(Duration::from_secs(20)).code(), Some(0), "{}", sandbox.log());
    assert!(!environment.exists(), "the file names what is gone");
    let after = squall_in(directory.path()).args(["agents", "--agent", "http://127.0.0.1:1"]).output().unwrap();
    assert_eq!(after.status.code(), Some(7));
}

/// The directory of the PostgreSQL server that the sandbox of this process has.
fn directory_of_postgres(sandbox: u32) -> Option<PathBuf> {
    let prefix = format!("squall-sandbox-{sandbox}-postgres-");
    let entries = std::fs::read_dir(std::env::temp_dir()).unwrap().flatten();
    let is_it = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with(&prefix);
    entries.map(|entry| entry.path()).find(is_it)
}

#[test]
fn a_sandbox_with_a_postgres_of_its_own_has_it_behind_the_agent_and_leaves_nothing() {
    if !has_postgres() {
        eprintln!(
            "SKIPPED a_sandbox_with_a_postgres_of_its_own…: PostgreSQL is not installed (Debian's package postgresql)"
        );
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let environment = directory.path().join("sandbox.yaml");
    for signal in [Signal::INT, Signal::KILL] {
        let mut command = squall_in(directory.path());
        command.args(["sandbox", "--postgres", "--write-env"]).arg(&environment);
        let mut sandbox = Running::spawn(command, &directory.path().join("sandbox.log"));
        wait_for("the sandbox's environment file", || environment.exists().then_some(()));
        let agents = squall_in(directory.path()).args(["agents", "--env"]).arg(&environment).output().unwrap();
        assert!(printed(&agents).contains("database"), "{}", printed(&agents));
        let text = std::fs::read_to_string(&environment).unwrap();
        assert!(text.contains("database: postgres://shop:"), "{text}");
        let server = directory_of_postgres(sandbox.id()).unwrap();
        let pid = std::fs::read_to_string(server.join("data/postmaster.pid")).unwrap();
        let pid = format!("/proc/{}", pid.lines().next().unwrap());
        sandbox.signal(signal);
        sandbox.wait(Duration::from_secs(20));
        // The shell that holds the server may outlive a squall that was killed by a moment.
        wait_for("the end of the server", || (!Path::new(&pid).exists() && !server.exists()).then_some(()));
        let _gone_unless_it_was_killed = std::fs::remove_file(&environment);
    }
}

#[test]
fn a_pattern_that_does_not_exist_is_named_with_its_neighbour() {
    let directory = tempfile::tempdir().unwrap();
    let output = squall_in(directory.path()).args(["sandbox", "--without", "bulkheda"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", printed(&output));
    assert!(printed(&output).contains("bulkhead"), "{}", printed(&output));
}

#[test]
fn watching_agents_tells_what_happens_until_it_is_interrupted() {
    let world = World::start();
    let mut command = world.squall();
    command.args(["agents", "watch", "--output", "json", "--every", "1s"]).env("SQUALL_AGENT", &world.agent_url);
    let mut watching = Running::spawn(command, &world.path("watch.log"));
    let lines = |watching: &Running| -> Vec<serde_json::Value> {
        watching.log().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    };
    let has = |watching: &Running, so: &dyn Fn(&serde_json::Value) -> bool| lines(watching).iter().any(so);
    wait_for("that it follows", || has(&watching, &|line| line["following"].is_string()).then_some(()));
    let upstream = world.web.address().to_string();
    said(&world, &["proxy", "set", "second", "--upstream", &upstream]);
    wait_for("the event", || {
        has(&watching, &|line| line["event"]["kind"] == "proxy_created" && line["event"]["proxy"] == "second")
            .then_some(())
    });
    wait_for("a summary", || has(&watching, &|line| line["summary"]["errors"] == 0).then_some(()));
    watching.signal(Signal::INT);
    assert_eq!(watching.wait(Duration::from_secs(20)).code(), Some(0), "{}", watching.log());
    let refused = world.squall().args(["agents", "watch", "--every", "10ms"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(2), "{}", printed(&refused));
}
