//! The program itself: what it prints, where it listens, how it ends.
//!
//! Each test starts its own process and stops that one. Ports are always 0 and told by the ready file.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use crate::process_support::{LONG, Process, get, log, output, text};
use serde_json::Value;
use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    path::PathBuf,
    time::{Duration, Instant},
};

#[test]
fn help_names_every_option_and_its_variable() {
    let help = output(&["--help"]);
    assert!(help.status.success());
    let help = text(&help.stdout);
    for option in [
        "listen",
        "toxiproxy",
        "config",
        "tokens",
        "tls-cert",
        "tls-key",
        "client-ca",
        "state",
        "proxy",
        "name",
        "label",
        "drain",
        "max-fault-duration",
        "max-lease",
        "busy-poll",
        "log",
    ] {
        assert!(help.contains(&format!("--{option}")), "--{option} is not in the help");
        let variable = format!("SQUALL_AGENT_{}", option.to_uppercase().replace('-', "_"));
        assert!(help.contains(&variable), "{variable} is not in the help");
    }
}

#[test]
fn check_tells_every_mistake_and_exits_with_2() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("agent.yaml");
    let check = |yaml: &str| {
        std::fs::write(&path, yaml).unwrap();
        let output = output(&["check", "--config", path.to_str().unwrap()]);
        (output.status.code(), text(&output.stderr))
    };
    assert_eq!(check("listen: 127.0.0.1:0\nproxies: [{name: a, upstream: 'b:1'}]\n").0, Some(0));
    let (code, told) = check("max_lease: 0s\nlisten: 0.0.0.0:1\nproxies: [{name: a, upstream: b}]\n");
    assert_eq!(code, Some(2));
    for part in ["3 mistakes", "max_lease:", "--insecure", "proxies[0].upstream:"] {
        assert!(told.contains(part), "{part} is not in: {told}");
    }
    let (code, told) = check("proxies: [{name: a, upstream: 'b:1'}]\nfaults:\n  a:\n  - fault: {latncy: {}}\n  - {}\n");
    assert_eq!(code, Some(2));
    assert!(told.contains("2 mistakes") && told.contains("line 4") && told.contains("latency"), "{told}");
    let policy = "policy: {listen: {allowed: [127.0.0.0/8]}}\n";
    let (code, told) = check(&format!("{policy}proxies:\n- {{name: a, listen: '0.0.0.0:0', upstream: 'b:1'}}\n"));
    assert_eq!(code, Some(2));
    assert!(told.contains("line 3: proxies[0].listen: policy.listen.allowed: "), "{told}");
    let started = output(&["--listen", "127.0.0.1:0", "--config", path.to_str().unwrap()]);
    assert_eq!(started.status.code(), Some(2), "the start says the same: {}", text(&started.stderr));
    let (code, told) = check("name: a\nstate: /nowhere/state.json\n");
    assert_eq!(code, Some(2));
    assert!(told.contains("line 2: state: failed to write /nowhere/state.json"), "{told}");
    let (code, told) = check("drian: 5s\nmax_lease: 0s\n");
    assert_eq!(code, Some(2));
    assert!(told.contains("2 mistakes") && told.contains("line 2: max_lease: must be longer"), "{told}");
    let (code, told) = check("drian: 5s\n");
    assert_eq!(code, Some(2));
    assert!(told.contains("line 1") && told.contains("did you mean `drain`?"), "{told}");
    let (_, told) = check("max_lease: 5m\nproxies: [{name: a, upstrem: 'b:1'}]\n");
    assert!(told.contains(&format!("--> {}:2:", path.display())), "the place as an editor takes it: {told}");
    let missing = output(&["check", "--config", "/nowhere/agent.yaml"]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(text(&missing.stderr).contains("failed to read /nowhere/agent.yaml"));
}

#[test]
fn an_address_beyond_the_loopback_is_refused_with_what_to_type() {
    let refused = output(&["--listen", "0.0.0.0:0"]);
    assert_eq!(refused.status.code(), Some(2));
    let told = text(&refused.stderr);
    assert!(told.contains("not a loopback address") && told.contains("type --insecure"), "{told}");
}

#[test]
fn arguments_that_make_no_sense_are_refused_before_anything_is_bound() {
    for arguments in [&["--drain", "10"][..], &["--proxy", "a"], &["--label", "zone"], &["--lisen", "127.0.0.1:0"]] {
        assert_eq!(output(arguments).status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn an_address_that_is_taken_exits_with_1_and_names_it() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let failed = output(&["--listen", &address]);
    assert_eq!(failed.status.code(), Some(1));
    assert!(text(&failed.stderr).contains(&format!("API on {address}")), "{}", text(&failed.stderr));
}

#[test]
fn the_ready_file_tells_every_address_and_sigterm_ends_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let mut agent = Process::start(directory.path(), |command| {
        command.args(["--proxy", "db=127.0.0.1:0->127.0.0.1:9", "--name", "edge", "--label", "zone=a"]);
        command.env("SQUALL_AGENT_MAX_LEASE", "77s").args(["--log", "json"]);
    });
    let answer = get(agent.api(), "/v1/agent");
    for part in ["HTTP/1.1 200 OK", "\"name\":\"edge\"", "\"zone\":\"a\"", "\"max_lease\":\"77s\""] {
        assert!(answer.contains(part), "{part} is not in: {answer}");
    }
    let proxy = agent.ready["proxies"]["db"].as_str().unwrap().to_owned();
    TcpStream::connect(&proxy).unwrap();
    assert_eq!(agent.ready["pid"], agent.child.id());

    agent.signal("TERM");
    assert_eq!(agent.wait().code(), Some(0));
    assert!(TcpStream::connect(&proxy).is_err());
    let log = log(&mut agent.child);
    for line in log.lines() {
        let _: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
    }
    assert!(log.contains(&proxy) && log.contains(agent.api()), "every address is in the log: {log}");
    let created = log.lines().find(|line| line.contains("proxy created")).expect("changes are in the audit trail");
    let created: Value = serde_json::from_str(created).unwrap();
    assert_eq!((&created["fields"]["proxy"], &created["fields"]["from"]), (&"db".into(), &"agent".into()));
}

#[test]
fn an_agent_that_polls_busily_serves_with_one_worker_and_delays_as_the_file_says() {
    let directory = tempfile::tempdir().unwrap();
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let path = directory.path().join("agent.yaml");
    let proxy = format!("{{name: db, listen: '127.0.0.1:0', upstream: '{}'}}", upstream.local_addr().unwrap());
    let faults = "faults: {db: [{fault: {latency: {delay: 150ms}}, direction: upstream}]}";
    std::fs::write(&path, format!("busy_poll: 10ms\nproxies: [{proxy}]\n{faults}\n")).unwrap();
    let mut agent = Process::start(directory.path(), |command| {
        command.args(["--config", path.to_str().unwrap()]);
    });
    let mut client = TcpStream::connect(agent.ready["proxies"]["db"].as_str().unwrap()).unwrap();
    let (mut accepted, _) = upstream.accept().unwrap();
    let start = Instant::now();
    client.write_all(b"a").unwrap();
    accepted.read_exact(&mut [0]).unwrap();
    assert!(start.elapsed() >= Duration::from_millis(150), "{:?}", start.elapsed());
    let threads = std::fs::read_dir(format!("/proc/{}/task", agent.child.id())).unwrap();
    let names = threads.filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("comm")).ok());
    assert_eq!(names.filter(|name| name.starts_with("tokio-r")).count(), 1);
    agent.signal("TERM");
    assert_eq!(agent.wait().code(), Some(0));
}

#[test]
fn a_name_that_leads_a_proxy_to_itself_is_refused_at_the_connection() {
    let directory = tempfile::tempdir().unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    // A resolver reads a form of the loopback out of it that is no address by itself.
    let own = format!("127.1:{}", free.port());
    let mut agent = Process::start(directory.path(), |command| {
        command.args([
            "--proxy",
            &format!("a={free}->{own}"),
            "--proxy",
            &format!("u=udp://0.0.0.0:{}->{own}", free.port()),
        ]);
    });
    let mut client = TcpStream::connect(free).unwrap();
    client.set_read_timeout(Some(LONG)).unwrap();
    assert!(!client.read(&mut [0]).is_ok_and(|read| read > 0));
    let told = agent.log_until("refused its upstream");
    assert!(told.contains("WARN") && told.contains(&format!("the proxy itself listens on {free}")), "{told}");
    std::net::UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"a", free).unwrap();
    agent.log_until("refused its upstream");
    for proxy in ["a", "u"] {
        let answer = get(agent.api(), &format!("/v1/proxies/{proxy}"));
        assert!(answer.contains("\"connections\":1,"), "no other was opened: {answer}");
    }
}

#[test]
fn a_second_signal_ends_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = format!("db=127.0.0.1:0->{}", upstream.local_addr().unwrap());
    let mut agent = Process::start(directory.path(), |command| {
        command.args(["--drain", "10m", "--proxy", &proxy]);
    });
    let listen = agent.ready["proxies"]["db"].as_str().unwrap().to_owned();
    let open = TcpStream::connect(&listen).unwrap();
    let (_accepted, _) = upstream.accept().unwrap();
    agent.signal("INT");
    // The listener is closed first: then the first signal has been taken.
    let start = Instant::now();
    while TcpStream::connect(&listen).is_ok() {
        assert!(start.elapsed() < LONG, "it still accepts");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(agent.child.try_wait().unwrap().is_none(), "it must be draining");
    agent.signal("INT");
    assert_eq!(agent.wait().code(), Some(130));
    let _ = open.shutdown(Shutdown::Both);
}

#[test]
fn toxiproxys_own_file_is_read_and_its_api_can_be_switched_off() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("toxiproxy.json");
    let list = r#"[{"name": "db", "listen": "127.0.0.1:0", "upstream": "127.0.0.1:9", "enabled": true,
        "toxics": [{"type": "latency", "attributes": {"latency": 5}}]}]"#;
    std::fs::write(&file, list).unwrap();
    let agent = Process::start(directory.path(), |command| {
        command.arg("-config").arg(&file);
    });
    assert!(agent.ready["proxies"]["db"].as_str().unwrap().starts_with("127.0.0.1:"));
    let answer = get(agent.api(), "/proxies/db/toxics");
    assert!(answer.contains(r#"[{"attributes":{"latency":5,"jitter":0},"name":"latency_downstream""#), "{answer}");
    drop(agent);

    std::fs::remove_file(directory.path().join("ready.json")).unwrap();
    let agent = Process::start(directory.path(), |command| {
        command.env("SQUALL_AGENT_TOXIPROXY", "off");
    });
    assert!(get(agent.api(), "/proxies").starts_with("HTTP/1.1 404"));
    assert!(get(agent.api(), "/v1/proxies").starts_with("HTTP/1.1 200"));
}

#[test]
fn an_address_off_the_loopback_needs_insecure_also_with_toxiproxys_flags() {
    let refused = output(&["-host=0.0.0.0", "-port=0"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("--insecure"), "{}", text(&refused.stderr));
}

#[test]
fn a_proxy_that_may_have_any_port_starts_with_another_when_its_own_was_taken_meanwhile() {
    let directory = tempfile::tempdir().unwrap();
    let state: PathBuf = directory.path().join("state.json");
    // Made by the command line, which names it again the next time, or by somebody's request, which does not.
    for again in [&["--proxy", "db=127.0.0.1:0->127.0.0.1:9"][..], &[]] {
        let mut first = Process::start(directory.path(), |command| {
            command.args(["--proxy", "db=127.0.0.1:0->127.0.0.1:9", "--state"]).arg(&state);
        });
        let had = first.ready["proxies"]["db"].as_str().unwrap().to_owned();
        first.signal("KILL");
        first.wait();
        std::fs::remove_file(directory.path().join("ready.json")).unwrap();
        let taken = TcpListener::bind(&had).unwrap();
        let mut second = Process::start(directory.path(), |command| {
            command.args(again).arg("--state").arg(&state);
        });
        let has = second.ready["proxies"]["db"].as_str().unwrap().to_owned();
        assert_ne!(has, had);
        TcpStream::connect(&has).unwrap();
        let told = second.log_until("another port");
        assert!(told.contains("WARN") && told.contains(&had), "{told}");
        drop(taken);
        second.signal("KILL");
        second.wait();
        std::fs::remove_file(directory.path().join("ready.json")).unwrap();
        let third = Process::start(directory.path(), |command| {
            command.args(again).arg("--state").arg(&state);
        });
        assert_eq!(third.ready["proxies"]["db"], has.as_str(), "what it has now is what it had");
        std::fs::remove_file(directory.path().join("ready.json")).unwrap();
        std::fs::remove_file(&state).unwrap();
    }
}

#[test]
fn proxies_survive_a_kill_and_come_back_healed() {
    let directory = tempfile::tempdir().unwrap();
    let state: PathBuf = directory.path().join("state.json");
    let mut first = Process::start(directory.path(), |command| {
        command.args(["--proxy", "db=127.0.0.1:0->127.0.0.1:9", "--state"]).arg(&state);
    });
    let before = first.ready["proxies"].clone();
    first.signal("KILL");
    first.wait();
    std::fs::remove_file(directory.path().join("ready.json")).unwrap();
    let second = Process::start(directory.path(), |command| {
        command.arg("--state").arg(&state);
    });
    assert_eq!(second.ready["proxies"], before);
    assert!(get(second.api(), "/v1/proxies/db").contains("\"faults\":[]"));
}
