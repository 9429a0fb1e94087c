//! The guarded program: when it starts, what it warns of, what a hangup does, and that no token is in its log.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use crate::process_support::{LONG, Process, output, text};
use std::{
    fs::Permissions,
    io::{Read, Write},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

const TOKEN: &str = "the-secret-of-the-admin";

fn token_file(directory: &Path, token: &str) -> PathBuf {
    let path = directory.join("tokens.yaml");
    std::fs::write(&path, format!("- {{name: ops, role: admin, token: {token}}}\n")).unwrap();
    path
}

/// Sends a request by hand; answers its status.
fn status(addr: &str, request: &str, token: &str) -> u16 {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    let head = format!("Host: {addr}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\nContent-Length: 0\r\n");
    write!(stream, "{request} HTTP/1.1\r\n{head}\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn another_address_than_the_loopback_needs_tokens_or_certificates_or_to_be_insecure() {
    let directory = tempfile::tempdir().unwrap();
    let refused = output(&["--listen", "0.0.0.0:0"]);
    assert_eq!(refused.status.code(), Some(2));
    let told = text(&refused.stderr);
    assert!(told.contains("--tokens") && told.contains("--client-ca") && told.contains("--insecure"), "{told}");
    let tokens = token_file(directory.path(), TOKEN);
    let agent = Process::start(directory.path(), |command| {
        command.args(["--listen", "0.0.0.0:0", "--tokens"]).arg(&tokens);
    });
    let addr = agent.api().replace("0.0.0.0", "127.0.0.1");
    assert_eq!(status(&addr, "GET /v1/agent", TOKEN), 200);
    assert_eq!(status(&addr, "GET /v1/agent", "another"), 401);
}

#[test]
fn a_hangup_makes_it_read_its_tokens_again_and_no_token_is_ever_in_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let tokens = token_file(directory.path(), TOKEN);
    std::fs::set_permissions(&tokens, Permissions::from_mode(0o644)).unwrap();
    let mut agent = Process::start(directory.path(), |command| {
        command.env("RUST_LOG", "trace").arg("--tokens").arg(&tokens);
    });
    let addr = agent.api().to_owned();
    let warned = agent.log_until("chmod 600");
    assert!(warned.contains("WARN") && warned.contains("tokens.yaml"), "{warned}");
    assert_eq!(status(&addr, "DELETE /v1/faults", TOKEN), 200);
    assert_eq!(status(&addr, "DELETE /v1/faults", "a-wrong-secret-of-them"), 401);
    let refused = agent.log_until("access refused");
    assert!(
        refused.contains("unknown") && refused.contains("/v1/faults") && refused.contains("127.0.0.1:"),
        "{refused}"
    );

    token_file(directory.path(), "another-secret-of-ops");
    agent.signal("HUP");
    agent.log_until("read tokens and certificates again");
    assert_eq!(status(&addr, "GET /v1/agent", TOKEN), 401);
    assert_eq!(status(&addr, "GET /v1/agent", "another-secret-of-ops"), 200);
    std::fs::write(&tokens, "- {name: ops, token: a-secret-in-a-broken-file}").unwrap();
    agent.signal("HUP");
    let kept = agent.log_until("kept the tokens");
    assert!(kept.contains("token 1: `role`") && !kept.contains("secret"), "{kept}");
    assert_eq!(status(&addr, "GET /v1/agent", "another-secret-of-ops"), 200);

    agent.signal("TERM");
    assert_eq!(agent.wait().code(), Some(0));
    assert!(!agent.log_read().contains("secret"), "a token is in the log: {}", agent.log_read());
}

#[test]
fn a_hangup_ends_an_agent_that_has_nothing_to_read_again_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let mut agent = Process::start(directory.path(), |_| {});
    agent.signal("HUP");
    agent.log_until("healed and drained");
    assert_eq!(agent.wait().code(), Some(0));
}

#[test]
fn check_tells_every_mistake_in_shape_and_in_the_files_that_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("agent.yaml");
    let check = |yaml: &str| {
        std::fs::write(&path, yaml).unwrap();
        let output = output(&["check", "--config", path.to_str().unwrap()]);
        (output.status.code(), text(&output.stderr))
    };
    let (code, told) = check("drian: 5s\nmax_lease: 300\nproxies:\n- {name: a, upstrem: 'b:1'}\n- {nam: b}\n");
    assert_eq!(code, Some(2));
    for part in ["4 mistakes", "line 1", "`drain`", "line 2", "`300s`", "line 4", "`upstream`", "line 5", "`name`"] {
        assert!(told.contains(part), "{part} is not in: {told}");
    }
    let yaml = "tokens: /nowhere/tokens.yaml\ntls: {cert: /nowhere/c.pem, key: /nowhere/k.pem}\n\
                policy: {kinds: [latncy]}\nclient_roles: {ops: admin}\n";
    let (code, told) = check(yaml);
    assert_eq!(code, Some(2));
    for part in ["4 mistakes", "tokens: ", "tls.cert: ", "policy.kinds[0]: ", "client_roles: "] {
        assert!(told.contains(part), "{part} is not in: {told}");
    }
}

#[test]
fn certificates_of_clients_need_a_certificate_of_the_agent() {
    let refused = output(&["--listen", "127.0.0.1:0", "--client-ca", "/nowhere/ca.pem"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("--tls-cert"), "{}", text(&refused.stderr));
}
