//! Transparent interception between network namespaces: clients that know nothing of the agent, and the rules that go
//! with it, however it ends.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod intercept_support;

use intercept_support::{Net, SERVER, SERVER_V6, Visit, cable, inside, ip, leads_a_session, run, send, wait_for};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::{process::Command, time::Duration};

const DELAY: Duration = Duration::from_millis(300);

#[test]
fn an_unmodified_client_feels_the_faults_of_its_proxy_and_connects_directly_afterwards() {
    let Some(net) = Net::new("an_unmodified_client_feels_the_faults") else { return };
    assert!(net.is_direct());
    let mut agent =
        net.agent(&["--to", &format!("web={SERVER}:{}", net.port), "--to", &format!("[{SERVER_V6}]:{}", net.port)]);
    let proxies = agent.call("GET", "/v1/proxies", &Value::Null);
    let named: Vec<_> = proxies["proxies"].as_array().unwrap().iter().map(|proxy| &proxy["name"]).collect();
    let v6 = format!("fd53-2-{}", net.port);
    assert_eq!(named, [&v6, "web"], "{proxies}");
    for (host, proxy) in [(SERVER, "web"), (SERVER_V6, v6.as_str())] {
        let mut before = net.visit(host);
        assert!(!before.is_direct, "it comes through the agent");
        let fault = json!({"name": "slow", "fault": {"latency": {"delay": "300ms"}}});
        agent.call("POST", &format!("/v1/proxies/{proxy}/faults"), &fault);
        let slow = net.visit(host);
        assert!(slow.took >= DELAY, "{host}: {:?}", slow.took);
        agent.call("DELETE", &format!("/v1/proxies/{proxy}/faults/slow"), &Value::Null);
        before.echoes();
        assert_eq!(agent.connections(proxy), 2, "the agent's own connection is not among them");
    }
    let mut open = net.visit(SERVER);
    agent.signal(Signal::TERM);
    wait_for(|| (!net.redirects()).then_some(()));
    open.echoes();
    drop(open);
    assert!(agent.wait().success());
    assert_eq!(net.tables(), Vec::<String>::new());
    assert!(net.is_direct() && net.visit(SERVER_V6).is_direct);
}

#[test]
fn an_agent_that_is_killed_leaves_no_rules() {
    let Some(net) = Net::new("an_agent_that_is_killed_leaves_no_rules") else { return };
    let mut agent = net.intercepting();
    assert!(!net.is_direct());
    agent.signal(Signal::KILL);
    assert!(!agent.wait().success());
    net.until_free();
    assert!(net.is_direct());
}

#[test]
fn the_watchdog_heeds_no_signal_of_a_terminal_and_is_replaced_when_it_is_killed() {
    let Some(net) = Net::new("the_watchdog_heeds_no_signal_of_a_terminal") else { return };
    let mut agent = net.intercepting();
    let first = agent.watchdog();
    assert!(leads_a_session(first), "what a terminal sends to the agent's session does not reach it");
    for signal in [Signal::INT, Signal::HUP, Signal::QUIT, Signal::TERM] {
        send(first, signal);
    }
    assert_eq!(agent.watchdog(), first);
    send(first, Signal::KILL);
    // Its successor is there a moment before it leaves the agent's session and watches.
    wait_for(|| Some(agent.watchdog()).filter(|pid| *pid != first && leads_a_session(*pid)));
    assert!(!net.is_direct(), "intercepted all the while");
    agent.signal(Signal::KILL);
    agent.wait();
    net.until_free();
    assert!(net.is_direct());
}

#[test]
fn a_halt_takes_the_rules_away_and_its_end_brings_them_back() {
    let Some(net) = Net::new("a_halt_takes_the_rules_away") else { return };
    let agent = net.intercepting();
    let mut open = net.visit(SERVER);
    agent.call("PUT", "/v1/halt", &json!({"reason": "the shop is down"}));
    wait_for(|| (!net.redirects()).then_some(()));
    assert!(net.is_direct());
    open.echoes();
    agent.call("DELETE", "/v1/halt", &Value::Null);
    wait_for(|| (!net.is_direct()).then_some(()));
}

#[test]
fn a_proxy_that_is_redirected_to_is_neither_moved_nor_deleted() {
    let Some(net) = Net::new("a_proxy_that_is_redirected_to") else { return };
    let agent = net.intercepting();
    let proxy = agent.call("GET", "/v1/proxies/web", &Value::Null);
    let upstream = proxy["upstream"].clone();
    for (method, path, body) in [
        ("DELETE", "/v1/proxies/web", Value::Null),
        ("DELETE", "/proxies/web", Value::Null),
        ("PATCH", "/v1/proxies/web", json!({"listen": "127.0.0.1:1"})),
        ("POST", "/proxies/web", json!({"listen": "127.0.0.1:1"})),
        ("POST", "/populate", json!([{"name": "web", "listen": "127.0.0.1:1", "upstream": upstream}])),
    ] {
        let (status, told) = agent.ask(method, path, &body);
        assert_eq!(status, 409, "{method} {path}: {told}");
        assert!(told.to_string().contains("takes in what is intercepted"), "{method} {path}: {told}");
    }
    assert_eq!(agent.call("GET", "/v1/proxies/web", &Value::Null)["listen"], proxy["listen"]);
    net.visit(SERVER).echoes();
    assert!(!net.is_direct());
    // Shut, it refuses whoever comes, as any proxy; what comes after is let in again.
    agent.call("PATCH", "/v1/proxies/web", &json!({"enabled": false}));
    agent.call("PATCH", "/v1/proxies/web", &json!({"enabled": true}));
    net.visit(SERVER).echoes();
}

#[test]
fn a_user_who_is_excluded_is_left_alone() {
    let Some(net) = Net::new("a_user_who_is_excluded_is_left_alone") else { return };
    let _agent = net.agent(&["--to", &format!("{SERVER}:{}", net.port), "--exclude-uid", "4242"]);
    let server = format!("{SERVER}:{}", net.port).parse().unwrap();
    let as_user = |uid: u32| {
        inside(&net.client, || {
            rustix::thread::set_thread_uid(rustix::process::Uid::from_raw(uid)).unwrap();
            Visit::to(server).is_direct
        })
    };
    assert!(as_user(4242) && !as_user(4243));
}

#[test]
fn rules_of_the_dead_are_removed_at_the_next_start_and_those_of_the_living_are_not() {
    let Some(net) = Net::new("rules_of_the_dead_are_removed") else { return };
    let living = net.intercepting();
    let table = format!("{}", living.pid());
    let script = "table inet squall_1 { chain output { type nat hook output priority -105; }; }";
    run(&["ip", "netns", "exec", &net.client, "nft", script]).unwrap();
    run(&["ip", "netns", "exec", &net.client, "nft", "add table inet squall_of_others"]).unwrap();
    let next = net.agent(&["--to", &format!("other={SERVER}:9")]);
    let mut expected = [table, next.pid().to_string(), "of_others".to_owned()];
    let mut tables = net.tables();
    expected.sort();
    tables.sort();
    assert_eq!(tables, expected);
    assert!(!net.is_direct());
}

#[test]
fn two_agents_on_one_target_do_not_send_connections_in_a_circle() {
    let Some(net) = Net::new("two_agents_on_one_target") else { return };
    let (first, second) = (net.intercepting(), net.intercepting());
    net.visit(SERVER).echoes();
    assert_eq!(first.connections("web") + second.connections("web"), 1);
}

#[test]
fn a_target_of_this_very_machine_is_intercepted() {
    let Some(net) = Net::new("a_target_of_this_very_machine_is_intercepted") else { return };
    let listener = inside(&net.client, || std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let address = listener.local_addr().unwrap();
    let agent = net.agent(&["--to", &format!("own={address}")]);
    let (client, server) = inside(&net.client, || {
        let client = std::net::TcpStream::connect(address).unwrap();
        let (server, seen) = listener.accept().unwrap();
        assert_ne!(seen, client.local_addr().unwrap());
        (client, server)
    });
    drop((client, server));
    assert_eq!(agent.connections("own"), 1);
}

#[test]
fn what_others_send_through_the_machine_is_intercepted_on_demand() {
    let Some(net) = Net::new("what_others_send_through_the_machine") else { return };
    let third = Third::new(&net);
    let server = format!("{SERVER}:{}", net.port);
    let agent = net.agent(&["--to", &format!("web={server}"), "--forwarded"]);
    let visit = Visit::from(&third.0, server.parse().unwrap());
    assert!(!visit.is_direct && !net.is_direct());
    assert_eq!(agent.connections("web"), 2);
}

/// A namespace that reaches the server through the client's.
struct Third(String);

impl Third {
    fn new(net: &Net) -> Self {
        let third = Self(net.client.replace("client", "third"));
        ip(&["netns", "add", &third.0]).unwrap();
        cable(&third.0, "10.124.0.1/24", "fd54::1/64", &net.client, "10.124.0.2/24", "fd54::2/64");
        ip(&["-n", &third.0, "route", "add", "default", "via", "10.124.0.2"]).unwrap();
        ip(&["-n", &net.server, "route", "add", "10.124.0.0/24", "via", "10.123.0.1"]).unwrap();
        let forward = "echo 1 > /proc/sys/net/ipv4/ip_forward";
        run(&["ip", "netns", "exec", &net.client, "sh", "-c", forward]).unwrap();
        let server = format!("{SERVER}:{}", net.port).parse().unwrap();
        assert!(Visit::from(&third.0, server).is_direct, "the machine forwards");
        third
    }
}

impl Drop for Third {
    fn drop(&mut self) {
        let _ = ip(&["netns", "del", &self.0]);
    }
}

/// What an agent says that does not start.
fn refused(mut command: Command) -> String {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn intercept() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_squall-agent"));
    command.args(["intercept", "--listen", "127.0.0.1:0", "--to", "127.0.0.1:9"]);
    command
}

#[test]
fn without_nft_the_agent_says_what_to_install() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED without_nft_the_agent_says_what_to_install: it takes root to come so far");
        return;
    }
    let mut command = intercept();
    command.env("PATH", "/nowhere");
    let said = refused(command);
    assert!(said.contains("install the package nftables"), "{said}");
}

#[test]
fn without_the_capability_the_agent_says_how_to_get_it() {
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set=-net_admin", "--inh-caps=-all"]);
    let works = Command::new("setpriv").args(["--bounding-set=-net_admin", "--inh-caps=-all", "true"]).status();
    if !works.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED without_the_capability_the_agent_says_how_to_get_it: setpriv does not work here");
        return;
    }
    let inner = intercept();
    command.arg(inner.get_program()).args(inner.get_args());
    let said = refused(command);
    assert!(said.contains("CAP_NET_ADMIN"), "{said}");
}
