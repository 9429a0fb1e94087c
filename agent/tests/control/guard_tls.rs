//! TLS of the API: whom the agent believes, whom it does not, and that a bad handshake holds up nobody.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use crate::api_support::{LONG, Running, answer, config, connect};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use reqwest::Method;
use serde_json::json;
use squall_agent::{
    Agent, AgentConfig,
    access::{Role, TlsFiles},
};
use std::{
    net::SocketAddr,
    path::PathBuf,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

/// An authority and what it signed, in files.
struct Pki {
    directory: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Pki {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.distinguished_name.push(DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let pki = Self { directory: tempfile::tempdir().unwrap(), issuer };
        pki.write("ca.pem", &pki.issuer.pem());
        pki
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Certificate and key for `name`, as PEM.
    fn sign(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    /// The agent's files; `asks` for client certificates of this authority.
    fn files(&self, asks: bool) -> TlsFiles {
        let (cert, key) = self.sign("agent");
        let client_ca = asks.then(|| self.directory.path().join("ca.pem"));
        TlsFiles { cert: self.write("agent.pem", &cert), key: self.write("agent.key", &key), client_ca }
    }

    fn client(&self, identity: Option<(String, String)>) -> reqwest::Client {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let ca = reqwest::Certificate::from_pem(self.issuer.pem().as_bytes()).unwrap();
        let builder = reqwest::Client::builder().timeout(LONG).pool_max_idle_per_host(0).tls_certs_only([ca]);
        let identity = identity.map(|(cert, key)| reqwest::Identity::from_pem((cert + &key).as_bytes()).unwrap());
        match identity {
            Some(identity) => builder.identity(identity),
            None => builder,
        }
        .build()
        .unwrap()
    }
}

fn url(addr: SocketAddr, path: &str) -> String {
    format!("https://{addr}{path}")
}

async fn ask(client: &reqwest::Client, agent: &Running, method: Method, path: &str) -> (u16, serde_json::Value) {
    answer(client.request(method, url(agent.addr, path))).await
}

#[tokio::test]
async fn the_api_is_served_by_tls_and_plain_http_is_told_so() {
    let pki = Pki::new("ca");
    let agent = Running::with(AgentConfig { tls: Some(pki.files(false)), ..config() }).await;
    let (status, info) = answer(pki.client(None).get(url(agent.addr, "/v1/agent"))).await;
    assert_eq!((status, &info["version"]), (200, &json!(env!("CARGO_PKG_VERSION"))));
    assert!(Pki::new("other").client(None).get(url(agent.addr, "/v1/agent")).send().await.is_err());
    let (status, told) = agent.get("/v1/agent").await;
    assert_eq!(status, 400);
    assert!(told["error"]["message"].as_str().unwrap().contains("https://"), "{told}");
}

#[tokio::test]
async fn a_client_is_known_by_its_certificate_and_has_the_role_of_its_name() {
    let pki = Pki::new("ca");
    let client_roles = [("ops".to_owned(), Role::Admin), ("*".to_owned(), Role::Read)].into();
    let agent = Agent::bind(AgentConfig { tls: Some(pki.files(true)), client_roles, ..config() }).await.unwrap();
    let mut bus = agent.events().subscribe(None).unwrap();
    let agent = Running::of(agent);
    let (ops, ci, nobody) = (pki.client(Some(pki.sign("ops"))), pki.client(Some(pki.sign("ci"))), pki.client(None));

    assert_eq!(ask(&nobody, &agent, Method::GET, "/health/live").await.0, 200);
    assert_eq!(ask(&nobody, &agent, Method::GET, "/v1/agent").await.0, 401);
    assert_eq!(ask(&ci, &agent, Method::GET, "/v1/agent").await.0, 200);
    let (status, told) = ask(&ci, &agent, Method::DELETE, "/v1/faults").await;
    assert_eq!(status, 403);
    let message = told["error"]["message"].as_str().unwrap();
    assert!(message.contains("`cert:ci`") && message.contains("`read`") && message.contains("`inject`"), "{message}");
    let halt = ops.put(url(agent.addr, "/v1/halt")).json(&json!({"reason": "a test"}));
    assert_eq!(answer(halt).await.0, 200);
    match bus.next().await {
        Some(squall_agent::events::Received::Event(event)) => assert_eq!(event.who, "cert:ops"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_no_identity_at_all() {
    let (pki, other) = (Pki::new("ca"), Pki::new("ca"));
    let agent = Running::with(AgentConfig { tls: Some(pki.files(true)), ..config() }).await;
    let forged = pki.client(Some(other.sign("ops")));
    assert!(forged.get(url(agent.addr, "/health/live")).send().await.is_err(), "the handshake must fail");
}

#[tokio::test]
async fn where_both_are_asked_for_a_token_or_a_certificate_is_enough_and_a_wrong_token_is_not_made_good() {
    let pki = Pki::new("ca");
    let tokens = pki.write("tokens.yaml", "- {name: eye, role: read, token: the-token-of-the-reader}");
    let agent = AgentConfig { tls: Some(pki.files(true)), tokens: Some(tokens), ..config() };
    let agent = Running::with(agent).await;
    let (known, unknown) = (pki.client(Some(pki.sign("ci"))), pki.client(None));
    let get = |client: &reqwest::Client| client.get(url(agent.addr, "/v1/agent"));
    assert_eq!(answer(get(&known)).await.0, 200);
    assert_eq!(answer(get(&unknown).bearer_auth("the-token-of-the-reader")).await.0, 200);
    assert_eq!(answer(get(&unknown)).await.0, 401);
    assert_eq!(answer(get(&known).bearer_auth("a-wrong-token-of-them")).await.0, 401);
    let heal = known.delete(url(agent.addr, "/v1/faults")).bearer_auth("the-token-of-the-reader");
    assert_eq!(answer(heal).await.0, 403, "the token counts where there is one");
}

#[tokio::test]
async fn a_handshake_that_never_ends_costs_its_client_the_connection_and_nobody_else() {
    const PATIENCE: Duration = Duration::from_millis(500);
    let pki = Pki::new("ca");
    let limits = AgentConfig { api_timeout: PATIENCE, max_api_connections: 16, ..config() };
    let agent = Running::with(AgentConfig { tls: Some(pki.files(false)), ..limits }).await;
    let mut stalled = Vec::new();
    for half in [&b""[..], b"\x16", b"\x16\x03\x01\x02\x00\x01"] {
        let mut stream = connect(agent.addr).await;
        stream.write_all(half).await.unwrap();
        stalled.push(stream);
    }
    let start = Instant::now();
    assert_eq!(ask(&pki.client(None), &agent, Method::GET, "/health/live").await.0, 200);
    assert!(start.elapsed() < PATIENCE * 10, "others were delayed by {:?}", start.elapsed());
    for stream in &mut stalled {
        let mut words = Vec::new();
        // A reset ends it as well.
        let _ = timeout(LONG, stream.read_to_end(&mut words)).await.expect("the agent must close the connection");
    }
}

#[tokio::test]
async fn certificates_that_are_read_again_count_from_the_next_connection_on() {
    let (old, new) = (Pki::new("old"), Pki::new("new"));
    let files = old.files(false);
    let agent = Agent::bind(AgentConfig { tls: Some(files.clone()), ..config() }).await.unwrap();
    let reloader = agent.reloader();
    let agent = Running::of(agent);
    let (cert, key) = new.sign("agent");
    std::fs::write(&files.cert, cert).unwrap();
    assert!(reloader.reload().unwrap_err().to_string().contains("tls.key"), "a certificate without its key");
    assert_eq!(ask(&old.client(None), &agent, Method::GET, "/v1/agent").await.0, 200);
    std::fs::write(&files.key, key).unwrap();
    reloader.reload().unwrap();
    assert_eq!(ask(&new.client(None), &agent, Method::GET, "/v1/agent").await.0, 200);
    assert!(old.client(None).get(url(agent.addr, "/v1/agent")).send().await.is_err());
}

#[tokio::test]
async fn a_bad_file_keeps_the_agent_from_starting_and_is_named() {
    let pki = Pki::new("ca");
    let files = pki.files(true);
    let junk = pki.write("junk.pem", "secret");
    for (wrong, field, path) in [
        (TlsFiles { cert: junk.clone(), ..files.clone() }, "tls.cert", "junk.pem"),
        (TlsFiles { key: "/nowhere/key.pem".into(), ..files.clone() }, "tls.key", "/nowhere/key.pem"),
        (TlsFiles { client_ca: Some(junk), ..files }, "tls.client_ca", "junk.pem"),
    ] {
        let error = Agent::bind(AgentConfig { tls: Some(wrong), ..config() }).await.unwrap_err().to_string();
        assert!(error.contains(field) && error.contains(path) && !error.contains("secret"), "{error}");
    }
}
