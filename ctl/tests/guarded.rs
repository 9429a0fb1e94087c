//! `squall` against agents that ask who it is: by token, by certificate, over TLS; and against one that is halted.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot start must fail loudly")]

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair};
use squall_agent::{
    Agent, AgentConfig,
    access::{Role, TlsFiles},
    policy::Policy,
};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    runtime::Runtime,
};
use tokio_util::sync::CancellationToken;

const TOKEN: &str = "the-secret-token-of-squall";

/// A guarded agent with a proxy before a web server, and files for whoever may use it.
struct World {
    runtime: Runtime,
    stop: CancellationToken,
    running: Vec<tokio::task::JoinHandle<()>>,
    api: SocketAddr,
    web: String,
    directory: TempDir,
}

impl World {
    fn start() -> Self {
        Self::with(Policy::default())
    }

    fn with(policy: Policy) -> Self {
        let runtime = Runtime::new().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let tls = certificates(directory.path());
        let tokens = directory.path().join("tokens.yaml");
        std::fs::write(&tokens, format!("- {{name: squall, role: inject, token: {TOKEN}}}\n")).unwrap();
        let upstream = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let proxy = format!(r#"{{"name": "web", "upstream": "{}"}}"#, upstream.local_addr().unwrap());
        let config = AgentConfig {
            listen: "127.0.0.1:0".parse().unwrap(),
            drain: Duration::from_millis(200),
            proxies: vec![serde_json::from_str(&proxy).unwrap()],
            tls: Some(tls),
            tokens: Some(tokens),
            policy,
            client_roles: [("ops".to_owned(), Role::Admin)].into(),
            ..AgentConfig::default()
        };
        let agent = runtime.block_on(Agent::bind(config)).unwrap();
        let (api, web) = (agent.local_addr(), agent.proxies()[0].listen.clone());
        let stop = CancellationToken::new();
        let until = stop.clone();
        let running =
            vec![runtime.spawn(async move { agent.run(until).await.unwrap() }), runtime.spawn(serve(upstream))];
        let world = Self { runtime, stop, running, api, web, directory };
        world.write("small.yaml", EXPERIMENT);
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        std::fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    /// An environment in which the agent is described so.
    fn environment(&self, agent: &str) -> PathBuf {
        let Self { api, web, .. } = self;
        let text = format!("agents:\n  main: {{url: 'https://{api}'{agent}}}\nvariables: {{web: 'http://{web}'}}\n");
        self.write("world.yaml", &text)
    }

    fn squall(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_squall"));
        command.args(arguments).current_dir(self.directory.path());
        for variable in ["SQUALL_ENV", "SQUALL_AGENT", "SQUALL_JOURNAL", "SQUALL_TOKEN", "RUST_LOG"] {
            command.env_remove(variable);
        }
        // What is said at the most must not say a token either.
        command.env("RUST_LOG", "trace").output().unwrap()
    }

    fn run(&self) -> Output {
        self.squall(&["run", "small.yaml", "--env", "world.yaml", "--yes"])
    }

    /// Everything that was written in the directory, but what holds the secrets.
    fn left_behind(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut found = Vec::new();
        let mut directories = vec![self.path("squall-runs")];
        while let Some(directory) = directories.pop() {
            for entry in std::fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    directories.push(path);
                } else {
                    let bytes = std::fs::read(&path).unwrap();
                    found.push((path, bytes));
                }
            }
        }
        found
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
        self.running[1].abort();
        let agent = self.running.remove(0);
        let _ = self.runtime.block_on(async { tokio::time::timeout(Duration::from_secs(20), agent).await });
    }
}

/// Answers every request, and keeps the connection for the next.
async fn serve(listener: TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            let (mut buffer, mut head) = ([0; 4096], Vec::new());
            while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                head.extend_from_slice(&buffer[..read]);
                if head.ends_with(b"\r\n\r\n") {
                    head.clear();
                    if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.is_err() {
                        return;
                    }
                }
            }
        });
    }
}

/// An authority, a certificate for the agent, and client certificates for `ops` and `ci`.
fn certificates(directory: &Path) -> TlsFiles {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    std::fs::write(directory.join("ca.pem"), issuer.pem()).unwrap();
    for name in ["agent", "ops", "ci"] {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.signed_by(&key, &issuer).unwrap();
        std::fs::write(directory.join(format!("{name}.pem")), certificate.pem()).unwrap();
        std::fs::write(directory.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }
    let file = |name: &str| directory.join(name);
    TlsFiles { cert: file("agent.pem"), key: file("agent.key"), client_ca: Some(file("ca.pem")) }
}

const EXPERIMENT: &str = "\
version: 1
name: small
hypothesis: 10 ms more are no harm
probes:
  answers: {http: {url: '${web}/'}, every: 50ms, timeout: 5s}
  hit: {agent: {proxy: web, read: connections_hit}, every: 50ms, timeout: 5s}
steady_state:
  - {probe: answers, min_samples: 5, success_ratio: '>= 99%', p99: '< 2s'}
  - {probe: hit, min_samples: 5, success_ratio: '>= 99%'}
baseline: 1s
method:
  - {inject: {proxy: web, fault: {latency: {delay: 10ms}}}, for: 3s}
recovery: {within: 10s}
blast_radius: {proxies: [web], duration: 3s}
";

fn printed(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_run_against_an_agent_with_tls_a_token_and_a_client_certificate_holds_and_leaves_no_secret() {
    let world = World::start();
    world.write("token", &format!("{TOKEN}\n"));
    world.environment(", token: '${file:token}', ca: ca.pem, cert: ci.pem, key: ci.key");
    let output = world.run();
    assert_eq!(output.status.code(), Some(0), "{}", printed(&output));
    let left = world.left_behind();
    assert!(left.len() >= 2, "a journal and a report: {left:?}");
    let key = std::fs::read_to_string(world.path("ci.key")).unwrap();
    let key = key.lines().nth(1).unwrap();
    for (path, bytes) in left.iter().chain([&(PathBuf::from("output"), printed(&output).into_bytes())]) {
        for secret in [TOKEN, key] {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "a secret is in {}", path.display());
        }
    }
}

#[test]
fn a_certificate_alone_is_enough_and_so_is_a_token_from_the_variable() {
    let world = World::start();
    world.environment(", ca: ca.pem, cert: ops.pem, key: ops.key");
    let output = world.run();
    assert_eq!(output.status.code(), Some(0), "{}", printed(&output));
    let mut command = Command::new(env!("CARGO_BIN_EXE_squall"));
    let url = format!("https://{}", world.api);
    command.args(["agents", "--agent", &url, "--ca", "ca.pem"]).env("SQUALL_TOKEN", TOKEN);
    let output = command.current_dir(world.directory.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", printed(&output));
}

#[test]
fn who_is_not_known_is_refused_with_exit_10_and_what_to_do() {
    let world = World::start();
    world.environment(", ca: ca.pem");
    let output = world.run();
    assert_eq!(output.status.code(), Some(10), "{}", printed(&output));
    assert!(printed(&output).contains("--token-file"), "{}", printed(&output));
    // An agent that is not believed is not reached at all.
    world.environment(", token: x");
    let output = world.run();
    assert_eq!(output.status.code(), Some(7), "{}", printed(&output));
    assert!(printed(&output).contains("certificate"), "{}", printed(&output));
}

#[test]
fn what_the_policy_forbids_is_refused_before_anything_is_touched_and_the_rule_is_named() {
    for (rule, policy) in [
        ("policy.max_percent", r#"{"max_percent": 50}"#),
        ("policy.kinds", r#"{"kinds": ["reset"]}"#),
        ("policy.protected", r#"{"protected": ["web"]}"#),
    ] {
        let world = World::with(serde_json::from_str(policy).unwrap());
        world.environment(", ca: ca.pem, cert: ci.pem, key: ci.key");
        let output = world.run();
        assert_eq!(output.status.code(), Some(10), "{}", printed(&output));
        assert!(
            printed(&output).contains(rule) && !printed(&output).contains("lease on agent"),
            "{}",
            printed(&output)
        );
    }
}

#[test]
fn wrong_files_are_mistakes_of_the_environment_with_their_place() {
    let world = World::start();
    for (agent, told) in [
        (", ca: none.pem", "none.pem: No such file"),
        (", ca: small.yaml", "no `BEGIN CERTIFICATE`"),
        (", cert: ci.pem", "write `key:` too"),
        (", cert: small.yaml, key: ci.key", "small.yaml"),
    ] {
        world.environment(agent);
        let output = world.run();
        assert_eq!(output.status.code(), Some(3), "{agent}: {}", printed(&output));
        assert!(printed(&output).contains(told), "{told} is not in: {}", printed(&output));
    }
}

#[test]
fn a_halt_refuses_runs_until_it_is_lifted_and_takes_an_admin() {
    let world = World::start();
    world.environment(", ca: ca.pem, cert: ci.pem, key: ci.key");
    let halt = |arguments: &[&str]| world.squall(&[&["halt", "--env", "world.yaml"], arguments].concat());
    let as_ops = ["--cert", "ops.pem", "--key", "ops.key"];
    let refused = halt(&["--reason", "an incident"]);
    assert_eq!(refused.status.code(), Some(8), "{}", printed(&refused));
    assert!(printed(&refused).contains("`admin`"), "{}", printed(&refused));

    let halted = halt(&[&["--reason", "an incident", "--output", "json"], &as_ops[..]].concat());
    assert_eq!(halted.status.code(), Some(0), "{}", printed(&halted));
    let told: serde_json::Value = serde_json::from_slice(&halted.stdout).unwrap();
    assert_eq!((&told[0]["agent"], &told[0]["halt"]["reason"]), (&"main".into(), &"an incident".into()));
    let output = world.run();
    assert_eq!(output.status.code(), Some(10), "{}", printed(&output));
    assert!(printed(&output).contains("halted by cert:ops"), "{}", printed(&output));
    let shown = world.squall(&["agents", "--env", "world.yaml"]);
    assert!(printed(&shown).contains("an incident"), "{}", printed(&shown));

    assert_eq!(halt(&["--lift"]).status.code(), Some(10));
    let lifted = halt(&[&["--lift"], &as_ops[..]].concat());
    assert_eq!(lifted.status.code(), Some(0), "{}", printed(&lifted));
    assert!(printed(&lifted).contains("main: takes faults"), "{}", printed(&lifted));
    let output = world.run();
    assert_eq!(output.status.code(), Some(0), "{}", printed(&output));
}
