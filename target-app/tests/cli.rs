//! The binary: its ready file, its end by signal, and what it says of wrong words.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a helper of a test fails the test")]

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_squall-shop");

/// Killed when the test is over, however it ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    fn start(words: &[&str], ready: &Path) -> (Self, BTreeMap<String, String>) {
        let mut command = Command::new(PROGRAM);
        let command = command.args(words).arg("--ready-file").arg(ready).stderr(Stdio::null());
        let mut running = Self(command.spawn().unwrap());
        let end = Instant::now() + Duration::from_secs(20);
        while !ready.exists() {
            assert_eq!(running.0.try_wait().unwrap(), None, "it ended before it was ready");
            assert!(Instant::now() < end, "it was never ready");
            std::thread::sleep(Duration::from_millis(20));
        }
        // The file appears whole, so one read is enough.
        let addresses = serde_json::from_slice(&std::fs::read(ready).unwrap()).unwrap();
        (running, addresses)
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([format!("-{name}"), self.0.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    fn exit_code(&mut self) -> Option<i32> {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < end, "it never ended");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn file(directory: &tempfile::TempDir, name: &str) -> PathBuf {
    directory.path().join(name)
}

fn output(words: &[&str]) -> Output {
    Command::new(PROGRAM).args(words).output().unwrap()
}

#[test]
fn the_whole_shop_runs_from_one_command_and_ends_in_order_on_both_signals() {
    for signal in ["TERM", "INT"] {
        let directory = tempfile::tempdir().unwrap();
        let (mut shop, addresses) = Running::start(&["all", "--shutdown-pause", "0s"], &file(&directory, "ready.json"));
        let names: Vec<_> = addresses.keys().map(String::as_str).collect();
        assert_eq!(names, ["facets", "inventory", "payment", "recommendations", "reviews", "shop"]);
        assert!(get(&addresses["shop"], "/products/7").starts_with("HTTP/1.1 200"));
        assert!(get(&addresses["payment"], "/health").contains(r#"{"status":"up"}"#));
        shop.signal(signal);
        assert_eq!(shop.exit_code(), Some(0), "{signal}");
    }
}

#[test]
fn the_shop_and_its_dependencies_can_run_apart_and_the_database_outlives_the_shop() {
    let directory = tempfile::tempdir().unwrap();
    let database = file(&directory, "shop.sqlite");
    let parts = ["inventory", "payment", "recommendations", "reviews", "facets"];
    let (running, addresses): (Vec<_>, Vec<_>) = parts
        .iter()
        .map(|name| {
            let ready = file(&directory, &format!("{name}.json"));
            let (running, addresses) = Running::start(&["dependency", name, "--latency", "0ms"], &ready);
            (running, [format!("--{name}"), format!("http://{}", addresses[*name])])
        })
        .unzip();
    let mut words = vec!["serve", "--shutdown-pause", "0s", "--without", "retry,bulkhead"];
    words.extend(["--database", database.to_str().unwrap()]);
    words.extend(addresses.iter().flatten().map(String::as_str));
    let (mut shop, addresses) = Running::start(&words, &file(&directory, "shop.json"));
    let health = get(&addresses["shop"], "/health");
    assert!(health.contains(r#""without":["retry","bulkhead"]"#), "{health}");
    shop.signal("TERM");
    assert_eq!(shop.exit_code(), Some(0));
    assert!(database.exists());
    drop(running);
}

#[test]
fn wrong_words_are_told_the_right_ones() {
    let unknown = output(&["all", "--without", "circuit-braker"]);
    assert_eq!(unknown.status.code(), Some(2));
    let message = String::from_utf8(unknown.stderr).unwrap();
    assert!(message.contains("did you mean `circuit-breaker`?"), "{message}");
    assert!(message.contains("graceful-shutdown"), "the list is there: {message}");
    assert_eq!(output(&["dependency", "database"]).status.code(), Some(2));
    assert_eq!(output(&["serve"]).status.code(), Some(2), "the addresses are needed");
}

#[test]
fn a_port_that_is_taken_is_an_error_with_a_cause() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let failed = output(&["dependency", "reviews", "--listen", &listen]);
    assert_eq!(failed.status.code(), Some(1));
    let message = String::from_utf8(failed.stderr).unwrap();
    assert!(message.contains("failed to listen on") && message.contains("in use"), "{message}");
}
