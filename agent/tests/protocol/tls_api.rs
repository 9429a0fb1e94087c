//! TLS of proxies over the API: what is wrong is said when a proxy is made, and what is right survives a restart.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use crate::api_support::{Running, config, echo};
use crate::common::{connect, expect_reset, read_all, until};
use crate::tls_support::{Certificates, shake_hands};
use reqwest::Method;
use serde_json::{Value, json};
use std::{
    net::SocketAddr,
    process::{Child, Command},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinSet,
};

/// Where a proxy listens, as it was answered.
fn listens(info: &Value) -> SocketAddr {
    info["listen"].as_str().unwrap().parse().unwrap()
}

/// Sends a ping over TLS and reads what the echo makes of it.
async fn ping_over_tls(address: SocketAddr, certificates: &Certificates) -> std::io::Result<Vec<u8>> {
    let mut client = shake_hands(connect(address).await, certificates.client(), "localhost").await?;
    client.write_all(b"ping").await?;
    let mut back = vec![0; 5];
    client.read_exact(&mut back).await?;
    Ok(back)
}

#[tokio::test]
async fn what_is_wrong_with_a_file_is_a_400_with_its_field_and_nothing_is_made() {
    let (agent, certificates) = (Running::new().await, Certificates::new());
    let path = |file: &str| certificates.path(file);
    let listen = |cert: &str, key: &str| json!({"listen_tls": {"cert": path(cert), "key": path(key)}});
    let upstream = |tls: Value| json!({"upstream_tls": tls});
    std::fs::write(path("empty.pem"), "").unwrap();
    let wrong = [
        (listen("nowhere.pem", "server.key"), "listen_tls.cert", "failed to read"),
        (listen("empty.pem", "server.key"), "listen_tls.cert", "has no certificate"),
        (listen("server.pem", "nowhere.key"), "listen_tls.key", "failed to read"),
        (listen("server.pem", "ca.pem"), "listen_tls.key", "has no private key"),
        (listen("server.pem", "other.key"), "listen_tls.key", "does not belong to"),
        (upstream(json!({"ca": path("nowhere.pem")})), "upstream_tls.ca", "failed to read"),
        (upstream(json!({"ca": path("server.key")})), "upstream_tls.ca", "has no certificate"),
        (
            upstream(json!({"ca": path("ca.pem"), "cert": path("client.pem"), "key": path("server.key")})),
            "upstream_tls.key",
            "does not belong to",
        ),
        (upstream(json!({"ca": path("ca.pem"), "cert": path("client.pem")})), "upstream_tls", "give both or neither"),
        (
            upstream(json!({"ca": path("ca.pem"), "server_name": "not a name"})),
            "upstream_tls.server_name",
            "no name that a certificate could have",
        ),
    ];
    for (mut spec, field, words) in wrong {
        (spec["name"], spec["upstream"]) = (json!("p"), json!("127.0.0.1:1"));
        for (method, route) in [(Method::POST, "/v1/proxies"), (Method::PUT, "/v1/proxies/p")] {
            let (status, error) = agent.call(method, route, Some(spec.clone())).await;
            assert_eq!((status, &error["error"]["field"]), (400, &json!(field)), "{spec} {error}");
            assert!(error["error"]["message"].as_str().unwrap().contains(words), "{error}");
        }
    }
    assert_eq!(agent.get("/v1/proxies").await.1, json!({"proxies": []}));
}

#[tokio::test]
async fn a_proxy_shows_its_tls_and_put_changes_it_for_new_connections_only() {
    let (agent, certificates) = (Running::new().await, Certificates::new());
    let upstream = echo(b'a').await;
    let plain = json!({"name": "p", "upstream": upstream});
    let encrypted = json!({"name": "p", "upstream": upstream, "listen_tls": certificates.listen_tls()});
    let (_, info) = agent.post("/v1/proxies", plain.clone()).await;
    assert!(info.get("listen_tls").is_none(), "{info}");
    let listen = listens(&info);
    let mut open = connect(listen).await;
    assert_eq!(crate::api_support::ping(&mut open).await.unwrap(), b"aping");

    let (status, info) = agent.put("/v1/proxies/p", encrypted.clone()).await;
    assert_eq!((status, &info["listen_tls"], listens(&info)), (200, &certificates.listen_tls(), listen));
    assert_eq!(ping_over_tls(listen, &certificates).await.unwrap(), b"aping");
    assert_eq!(crate::api_support::ping(&mut open).await.unwrap(), b"aping", "an open connection goes on as it was");

    let (status, _) = agent
        .put(
            "/v1/proxies/p",
            json!({"name": "p", "upstream": upstream, "listen_tls": {"cert": "/nowhere", "key": "/nowhere"}}),
        )
        .await;
    assert_eq!(status, 400);
    assert_eq!(ping_over_tls(listen, &certificates).await.unwrap(), b"aping", "a refused change changes nothing");

    let (status, info) = agent.put("/v1/proxies/p", plain).await;
    assert!(status == 200 && info.get("listen_tls").is_none(), "{info}");
    assert_eq!(crate::api_support::ping(&mut connect(listen).await).await.unwrap(), b"aping");
}

#[tokio::test]
async fn put_reads_the_files_again_and_a_certificate_that_did_not_change_is_no_change() {
    let (agent, certificates, renewed) = (Running::new().await, Certificates::new(), Certificates::new());
    let spec = json!({"name": "p", "upstream": echo(b'a').await, "listen_tls": certificates.listen_tls()});
    let listen = listens(&agent.put("/v1/proxies/p", spec.clone()).await.1);
    // Whoever holds a lease lets nobody change the proxy; what changes nothing is let through.
    let lease = agent.lease("me", "1m", &["p"]).await;
    assert_eq!(agent.put("/v1/proxies/p", spec.clone()).await.0, 200);
    for file in ["server.pem", "server.key"] {
        std::fs::copy(renewed.path(file), certificates.path(file)).unwrap();
    }
    assert_eq!(ping_over_tls(listen, &certificates).await.unwrap(), b"aping", "files are not read for each connection");
    assert_eq!(agent.put("/v1/proxies/p", spec.clone()).await.0, 409, "now it is a change");
    assert_eq!(agent.delete(&format!("/v1/leases/{lease}")).await.0, 200);
    assert_eq!(agent.put("/v1/proxies/p", spec).await.0, 200);
    assert!(ping_over_tls(listen, &certificates).await.is_err(), "the old authority did not sign the new one");
    assert_eq!(ping_over_tls(listen, &renewed).await.unwrap(), b"aping");
}

#[tokio::test]
async fn patching_the_upstream_keeps_the_tls_and_verifies_the_new_host() {
    let (agent, certificates) = (Running::new().await, Certificates::new());
    let acceptor = certificates.server("server", false);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        loop {
            let Ok(mut stream) = acceptor.accept(listener.accept().await.unwrap().0).await else { continue };
            let name = stream.get_ref().1.server_name().unwrap_or("nobody").to_owned();
            let _ = stream.write_all(name.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    let spec = json!({"name": "p", "upstream": "127.0.0.1:1", "upstream_tls": certificates.upstream_tls()});
    let listen = listens(&agent.post("/v1/proxies", spec).await.1);
    for (upstream, name) in [("127.0.0.1", "nobody"), ("localhost", "localhost")] {
        let (status, info) = agent.patch("/v1/proxies/p", json!({"upstream": format!("{upstream}:{port}")})).await;
        assert_eq!((status, &info["upstream_tls"]), (200, &certificates.upstream_tls()));
        assert_eq!(read_all(&mut connect(listen).await).await, name.as_bytes());
    }
}

#[tokio::test]
async fn tls_comes_back_at_a_restart_and_a_file_that_is_gone_by_then_is_told() {
    let certificates = Certificates::new();
    let state = certificates.path("state.json");
    let config = || squall_agent::AgentConfig { state: Some(state.clone().into()), ..config() };
    let agent = Running::with(config()).await;
    let spec = json!({"name": "p", "upstream": echo(b'a').await, "listen_tls": certificates.listen_tls()});
    let before = agent.post("/v1/proxies", spec).await.1;
    agent.stop().await;

    let agent = Running::with(config()).await;
    let after = agent.get("/v1/proxies/p").await.1;
    assert_eq!((&after["listen_tls"], &after["listen"]), (&before["listen_tls"], &before["listen"]));
    assert_eq!(ping_over_tls(listens(&after), &certificates).await.unwrap(), b"aping");
    agent.stop().await;

    std::fs::remove_file(certificates.path("server.key")).unwrap();
    let error = squall_agent::Agent::bind(config()).await.unwrap_err().to_string();
    assert!(error.contains("proxy `p`") && error.contains("listen_tls.key: failed to read"), "{error}");
}

/// What the agent says and how it ends, or where its proxy listens once it is ready. What a machine trusts is set by a
/// variable of its process, so it is a process of its own.
struct Process {
    child: Child,
    log: String,
}

impl Process {
    fn start(certificates: &Certificates, trusted: &str, upstream: SocketAddr) -> Self {
        let config = format!(
            "listen: 127.0.0.1:0\nproxies:\n- {{name: p, upstream: 'localhost:{}', upstream_tls: {{}}}}\n",
            upstream.port()
        );
        std::fs::write(certificates.path("agent.yaml"), config).unwrap();
        let log = certificates.path("agent.log");
        let mut command = Command::new(env!("CARGO_BIN_EXE_squall-agent"));
        command.args(["--config", &certificates.path("agent.yaml"), "--ready-file", &certificates.path("ready.json")]);
        command.env("SSL_CERT_FILE", certificates.path(trusted)).env_remove("SSL_CERT_DIR");
        Self { child: command.stderr(std::fs::File::create(&log).unwrap()).spawn().unwrap(), log }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    async fn listens(&self, certificates: &Certificates) -> SocketAddr {
        let read = || {
            let text = std::fs::read(certificates.path("ready.json")).ok()?;
            let ready: Value = serde_json::from_slice(&text).ok()?;
            Some(ready["proxies"]["p"].as_str()?.parse().unwrap())
        };
        until(|| read().is_some(), || self.log()).await;
        read().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn the_machines_own_authorities_are_trusted_when_none_is_named_and_no_others() {
    let certificates = Certificates::new();
    let (server, _tasks) = web(&certificates).await;
    {
        let agent = Process::start(&certificates, "ca.pem", server);
        let mut client = connect(agent.listens(&certificates).await).await;
        client.write_all(b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
        let answer = String::from_utf8(read_all(&mut client).await).unwrap();
        assert!(answer.ends_with("GET /x"), "{answer}");
    }
    std::fs::remove_file(certificates.path("ready.json")).unwrap();
    {
        let agent = Process::start(&certificates, "stranger.pem", server);
        expect_reset(&mut connect(agent.listens(&certificates).await).await).await;
        until(|| agent.log().contains("failed to reach the upstream"), || agent.log()).await;
        let log = agent.log();
        assert!(log.contains("the TLS handshake failed: invalid peer certificate"), "{log}");
    }
    let mut agent = Process::start(&certificates, "nowhere.pem", server);
    let status = tokio::task::spawn_blocking(move || (agent.child.wait().unwrap(), agent.log())).await.unwrap();
    assert_eq!(status.0.code(), Some(2), "{}", status.1);
    assert!(status.1.contains("proxies[0].upstream_tls.ca: this machine has no list of authorities"), "{}", status.1);
}

/// A web server over TLS: answers with what it was asked for, and with which `Host`.
async fn web(certificates: &Certificates) -> (SocketAddr, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (bound, acceptor) = (listener.local_addr().unwrap(), certificates.server("server", false));
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            connections.spawn(async move {
                let Ok(stream) = acceptor.accept(tcp).await else { return };
                let answer = |request: hyper::Request<hyper::body::Incoming>| async move {
                    let body = format!("{} {}", request.method(), request.uri());
                    Ok::<_, std::convert::Infallible>(hyper::Response::new(body))
                };
                let service = hyper::service::service_fn(answer);
                let io = hyper_util::rt::TokioIo::new(stream);
                // A fault may end it in the middle.
                let _ = hyper::server::conn::http1::Builder::new().serve_connection(io, service).await;
            });
        }
    });
    (bound, tasks)
}

#[tokio::test]
async fn an_https_client_talks_to_an_https_server_through_it_and_meets_its_faults() {
    let (agent, certificates) = (Running::new().await, Certificates::new());
    let (server, _tasks) = web(&certificates).await;
    let spec = json!({
        "name": "web", "upstream": server,
        "listen_tls": certificates.listen_tls(), "upstream_tls": certificates.upstream_tls(),
    });
    let listen = listens(&agent.post("/v1/proxies", spec).await.1);
    let authority = reqwest::Certificate::from_pem(&std::fs::read(certificates.path("ca.pem")).unwrap()).unwrap();
    let client =
        reqwest::Client::builder().tls_certs_only([authority]).timeout(crate::api_support::LONG).build().unwrap();
    let url = format!("https://localhost:{}/stock?id=7", listen.port());
    for _ in 0..3 {
        let response = client.get(&url).send().await.unwrap();
        assert_eq!(response.text().await.unwrap(), "GET /stock?id=7");
    }
    let (_, info) = agent.get("/v1/proxies/web").await;
    assert_eq!(info["counters"]["connections"], json!(1), "kept alive");

    agent.fault("web", json!({"fault": {"reset": {}}})).await;
    let error = client.get(&url).send().await.unwrap_err();
    assert!(format!("{error:?}").contains("ConnectionReset"), "{error:?}");
    assert_eq!(agent.delete("/v1/faults").await.0, 200);
    assert_eq!(client.get(&url).send().await.unwrap().text().await.unwrap(), "GET /stock?id=7");
}
