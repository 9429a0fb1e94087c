//! The real `squall` with its journal on a real PostgreSQL that goes away, and with listeners that hang: the run goes on.

#[path = "../../engine/tests/journal_places/mod.rs"]
mod journal_places;

use journal_places::Postgres;
use rustix::process::Signal;
use squall_tests::{Running, World, printed};
use std::{
    io::{Read, Write},
    net::TcpListener,
    path::Path,
    process::{Command, Output},
    time::Duration,
};

const END: Duration = Duration::from_secs(60);

fn server(test: &str) -> Option<Postgres> {
    Postgres::start().map_err(|why| eprintln!("SKIPPED {test}: {why}")).ok()
}

/// `squall` with its journal there, as a user with a password that nobody may see.
fn squall(world: &World, journal: &str) -> Command {
    let mut command = world.squall();
    command.env("SQUALL_JOURNAL", journal.replace("squall@", "squall:hunter2@"));
    command
}

fn run(world: &World, journal: &str, file: &Path) -> Command {
    let mut command = squall(world, journal);
    command.arg("run").arg(file).arg("--env").arg(world.path("world.yaml"));
    command
}

fn said(output: &Output) -> String {
    let text = printed(output);
    assert!(!text.contains("hunter2"), "{text}");
    text
}

#[test]
fn a_database_that_crashes_in_the_middle_changes_no_verdict_and_has_everything_afterwards() {
    let Some(mut server) = server("a_database_that_crashes_in_the_middle") else { return };
    let world = World::start();
    let journal = server.database().to_string();
    let file = world.experiment("small.yaml", &[("for: 2s", "for: 6s")]);
    let mut command = run(&world, &journal, &file);
    command.args(["--output", "json"]);
    let mut running = Running::spawn(command, &world.path("run.log"));
    world.wait_for_fault();
    server.tell("stop");
    squall_tests::wait_for("the note", || running.log().contains("the journal is away").then_some(()));
    assert_eq!(running.wait(END).code(), Some(0), "{}", running.log());
    assert!(world.proxy().faults.is_empty());
    let log = running.log();
    assert!(log.contains("is away; the run waits in") && log.contains("\"held\""), "{log}");
    assert!(!log.contains("hunter2"), "{log}");
    let report = std::fs::read_dir(world.path("squall-runs")).unwrap().flatten();
    let report = report.map(|one| one.path()).find(|path| path.extension().is_some_and(|end| end == "html")).unwrap();
    let report = std::fs::read_to_string(report).unwrap();
    assert!(!report.contains("hunter2"));
    assert!(report.contains("journal is away"), "{}", running.log());

    let refused = run(&world, &journal, &file).output().unwrap();
    assert_eq!(refused.status.code(), Some(7), "{}", said(&refused));
    assert!(said(&refused).contains("failed to open the journal `postgres://squall:***@127.0.0.1:"));

    server.tell("start");
    let recovered = squall(&world, &journal).arg("recover").output().unwrap();
    assert_eq!(recovered.status.code(), Some(0), "{}", said(&recovered));
    let text = said(&recovered);
    assert!(
        text.contains("that had waited for the journal are in it now") && text.contains("nothing to recover"),
        "{text}"
    );
    let shown = squall(&world, &journal).args(["show", "last", "--output", "json"]).output().unwrap();
    let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(shown["verdict"], "held", "{shown}");
    let database = journal.rsplit_once('/').unwrap().1;
    let numbers = server.sql(database, "SELECT COUNT(*) = MAX(seq) AND MIN(seq) = 1 FROM events");
    assert_eq!(numbers, "t", "each event once, none missing");
    let numbers = server
        .sql(database, "SELECT bool_and(n = m) FROM (SELECT COUNT(*) n, MAX(seq) m FROM samples GROUP BY series_id) s");
    assert_eq!(numbers, "t", "each sample once, none missing");

    let gate = |file: &Path| {
        let mut command = squall(&world, &journal);
        command.arg("gate").arg(file).args(["--against", "last-held", "--margin", "1000%", "--env"]);
        command.arg(world.path("world.yaml")).output().unwrap()
    };
    let gated = gate(&world.experiment("small.yaml", &[]));
    assert_eq!(gated.status.code(), Some(0), "{}", said(&gated));
    assert!(!said(&gated).contains("no earlier run that held"), "{}", said(&gated));
    let pruned = squall(&world, &journal).args(["history", "prune", "--keep", "1"]).output().unwrap();
    assert!(said(&pruned).contains("removed 1 run; the journal takes"), "{}", said(&pruned));
    let history = squall(&world, &journal).arg("history").output().unwrap();
    assert_eq!(said(&history).matches("held").count(), 1, "{}", said(&history));
}

#[test]
fn a_run_that_dies_while_its_database_is_away_is_recovered_from_its_spool() {
    let Some(mut server) = server("a_run_that_dies_while_its_database_is_away") else { return };
    let world = World::start();
    let journal = server.database().to_string();
    // The intent of the second step goes to the spool, for the journal is away by then.
    let steps =
        "    for: 1s\n  - name: and again\n    inject: {proxy: web, fault: {bandwidth: {rate: 1MB/s}}}\n    for: 60s";
    let file = world.experiment("small.yaml", &[("    for: 2s", steps)]);
    let mut running = Running::spawn(run(&world, &journal, &file), &world.path("run.log"));
    world.wait_for_fault();
    server.tell("stop");
    squall_tests::wait_for("the second fault", || {
        world.proxy().faults.iter().any(|fault| fault.name.as_str().starts_with("bandwidth")).then_some(())
    });
    running.signal(Signal::KILL);
    running.wait(END);
    server.tell("start");
    let recovered = squall(&world, &journal).args(["recover", "--env"]).arg(world.path("world.yaml")).output().unwrap();
    assert_eq!(recovered.status.code(), Some(0), "{}", said(&recovered));
    assert!(said(&recovered).contains("healed and closed as interrupted"), "{}", said(&recovered));
    assert!(world.proxy().faults.is_empty());
    let database = journal.rsplit_once('/').unwrap().1;
    assert_eq!(server.sql(database, "SELECT COUNT(*) FROM events WHERE kind = 'intent'"), "2");
    assert_eq!(server.sql(database, "SELECT verdict FROM runs"), "interrupted");
}

#[test]
fn who_listens_and_hangs_holds_up_neither_healing_nor_verdict() {
    let world = World::start();
    // Takes connections, and never answers.
    let hanging = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", hanging.local_addr().unwrap());
    let mut command = world.run_command(&world.experiment("small.yaml", &[]));
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", &url).args(["--grafana", &url]).env("GRAFANA_TOKEN", "hunter2");
    let output = command.output().unwrap();
    let text = said(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    for to in ["OTLP", "Grafana"] {
        let line = format!("note: the run could not be told to {to}: no answer within 3s; the verdict stands");
        assert_eq!(text.matches(&line).count(), 1, "{text}");
    }
    let mut wrong = world.run_command(&world.experiment("small.yaml", &[]));
    let output = wrong.args(["--otlp", "collector:4317"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("write one such as http://127.0.0.1:4318"), "{}", said(&output));
}

#[test]
fn requests_of_a_run_that_is_traced_name_its_trace() {
    let world = World::start();
    let target = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = target.local_addr().unwrap();
    let came = std::thread::spawn(move || {
        let (mut stream, _) = target.accept().unwrap();
        let mut request = [0; 4096];
        let length = stream.read(&mut request).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
        String::from_utf8_lossy(&request[..length]).into_owned()
    });
    let probe = format!("probes:\n  other: {{http: {{url: \"http://{address}/\"}}, every: 60s}}\nsteady_state:");
    let file = world.experiment("small.yaml", &[("steady_state:", &probe)]);
    // Nobody listens there any more, which is told at the end.
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut command = world.run_command(&file);
    command.args(["--otlp", &format!("http://{nobody}"), "--trace-requests", "--output", "json"]);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let run: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let trace = run["run"]["id"].as_str().unwrap().replace('-', "");
    let request = came.join().unwrap();
    assert!(request.contains(&format!("traceparent: 00-{trace}-")) && request.contains("-01\r\n"), "{request}");
}

#[test]
fn the_journal_is_reached_over_tls_and_a_server_that_is_another_is_refused() {
    let test = "the_journal_is_reached_over_tls";
    let names = || ["127.0.0.1".to_owned()];
    let own = rcgen::generate_simple_self_signed(names()).unwrap();
    let another = rcgen::generate_simple_self_signed(names()).unwrap();
    let server = Postgres::start_with(&own.cert.pem(), &own.signing_key.serialize_pem());
    let Ok(server) = server.map_err(|why| eprintln!("SKIPPED {test}: {why}")) else { return };
    let world = World::start();
    let journal = server.database().to_string();
    let [ca, wrong] = [("ca.pem", own), ("wrong.pem", another)]
        .map(|(name, one)| world.write(name, &one.cert.pem()).display().to_string());
    let with = |mode: &str| format!("{journal}?{mode}");

    let verified = with(&format!("sslmode=verify-full&sslrootcert={ca}"));
    let held = squall_tests::steady_output(|| run(&world, &verified, &world.experiment("small.yaml", &[])));
    assert_eq!(held.status.code(), Some(0), "{}", said(&held));
    // Every way to look at it again, from this journal as from a file.
    for (format, part) in [("html", "<!doctype html>"), ("md", "| "), ("junit", "<testsuite"), ("json", "\"verdict\"")]
    {
        let report = squall(&world, &verified).args(["report", "last", "--format", format]).output().unwrap();
        assert_eq!(report.status.code(), Some(0), "{}", said(&report));
        assert!(said(&report).to_lowercase().contains(part), "{format}: {}", said(&report));
    }
    let history = |journal: &str| squall(&world, journal).arg("history").output().unwrap();
    let required = history(&with("sslmode=require"));
    assert!(required.status.success() && said(&required).contains("held"), "{}", said(&required));

    for (mode, why) in
        [(format!("sslmode=verify-full&sslrootcert={wrong}"), "certificate"), ("sslmode=disable".to_owned(), "pg_hba")]
    {
        let before = world.proxy().counters;
        let refused = run(&world, &with(&mode), &world.experiment("small.yaml", &[])).output().unwrap();
        assert_eq!(refused.status.code(), Some(7), "{mode}: {}", said(&refused));
        let text = said(&refused).to_lowercase();
        assert!(text.contains("failed to open the journal") && text.contains(why), "{mode}: {text}");
        assert_eq!(world.proxy().counters, before, "{mode}: something was touched");
    }
}

#[test]
fn the_environments_file_says_who_hears_of_a_run_and_what_is_typed_comes_first() {
    let world = World::start();
    let listener = || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (heard, paths) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut request = vec![0; 1 << 16];
                let length = stream.read(&mut request).unwrap();
                let request = String::from_utf8_lossy(&request[..length]).into_owned();
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
                // It may have gone.
                let _ = stream.write_all(answer);
                let _ = heard.send(request);
            }
        });
        (url, paths)
    };
    let ((otlp, traces), (grafana, annotations), (typed, by_flag)) = (listener(), listener(), listener());
    let environment = std::fs::read_to_string(world.path("world.yaml")).unwrap();
    let telemetry =
        format!("telemetry: {{otlp: \"{otlp}\", grafana: \"{grafana}\", grafana_token: \"${{env:OURS}}\"}}\n");
    world.write("world.yaml", &format!("{environment}{telemetry}"));
    let file = world.experiment("small.yaml", &[]);
    let run = |more: &[&str]| {
        let mut command = world.run_command(&file);
        let output = command.env("OURS", "hunter2").args(more).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        assert!(!said(&output).contains("could not be told"), "{}", said(&output));
    };
    run(&[]);
    let heard: Vec<String> = traces.try_iter().collect();
    assert!(heard.iter().any(|request| request.starts_with("POST /v1/traces")), "{heard:?}");
    assert!(heard.iter().any(|request| request.starts_with("POST /v1/metrics")), "{heard:?}");
    let heard: Vec<String> = annotations.try_iter().collect();
    assert!(
        heard.iter().any(|one| one.starts_with("POST /api/annotations") && one.contains("Bearer hunter2")),
        "{heard:?}"
    );
    run(&["--otlp", &typed]);
    assert!(by_flag.try_iter().any(|request| request.starts_with("POST /v1/traces")));
    assert_eq!(traces.try_iter().count(), 0, "what is typed comes before the file");
}
