//! HTTP proxies over TLS: an HTTPS client, an HTTPS server, and the faults of both requests and bytes between them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use crate::api_support::{LONG, Running};
use crate::tls_support::{ALL_SIDES, Certificates, Sides};
use serde_json::json;
use std::net::SocketAddr;
use tokio::{net::TcpListener, task::JoinSet};

/// More than the buffers of a connection hold.
const LARGE: usize = 20_000_000;

/// A web server: answers `GET /small`, `GET /large`, and says how long the body of a `POST` was.
async fn web(acceptor: Option<tokio_rustls::TlsAcceptor>) -> (SocketAddr, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let bound = listener.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            connections.spawn(async move {
                let wire: crate::tls_support::Wire = match acceptor {
                    Some(acceptor) => match acceptor.accept(tcp).await {
                        Ok(stream) => Box::pin(stream),
                        Err(_) => return,
                    },
                    None => Box::pin(tcp),
                };
                let service = hyper::service::service_fn(answer);
                let io = hyper_util::rt::TokioIo::new(wire);
                // A fault may end it in the middle.
                let _ = hyper::server::conn::http1::Builder::new().serve_connection(io, service).await;
            });
        }
    });
    (bound, tasks)
}

async fn answer(request: hyper::Request<hyper::body::Incoming>) -> Result<hyper::Response<String>, hyper::Error> {
    use http_body_util::BodyExt;
    let large = request.uri().path() == "/large";
    let body = request.into_body().collect().await?.to_bytes();
    Ok(hyper::Response::new(if large { "x".repeat(LARGE) } else { format!("ok {}", body.len()) }))
}

struct Rig {
    agent: Running,
    client: reqwest::Client,
    url: String,
    _server: JoinSet<()>,
}

impl Rig {
    async fn new(sides: Sides) -> Self {
        let (agent, certificates) = (Running::new().await, Certificates::new());
        let (server, tasks) = web(sides.upstream().then(|| certificates.server("server", false))).await;
        let mut spec = json!({"name": "web", "upstream": server, "protocol": "http"});
        if sides.client() {
            spec["listen_tls"] = certificates.listen_tls();
        }
        if sides.upstream() {
            spec["upstream_tls"] = certificates.upstream_tls();
        }
        let (status, info) = agent.post("/v1/proxies", spec).await;
        assert_eq!(status, 201, "{info}");
        let listen: SocketAddr = info["listen"].as_str().unwrap().parse().unwrap();
        let authority = reqwest::Certificate::from_pem(&std::fs::read(certificates.path("ca.pem")).unwrap()).unwrap();
        let client = reqwest::Client::builder().tls_certs_only([authority]).timeout(LONG).build().unwrap();
        let scheme = if sides.client() { "https" } else { "http" };
        let url = format!("{scheme}://localhost:{}", listen.port());
        Self { agent, client, url, _server: tasks }
    }

    async fn get(&self, path: &str) -> reqwest::Result<(u16, Vec<u8>)> {
        let response = self.client.get(format!("{}{path}", self.url)).send().await?;
        Ok((response.status().as_u16(), response.bytes().await?.to_vec()))
    }

    async fn heal(&self) {
        assert_eq!(self.agent.delete("/v1/faults").await.0, 200);
    }
}

#[tokio::test]
async fn requests_and_large_bodies_pass_both_ways_on_one_connection() {
    for sides in ALL_SIDES {
        let rig = Rig::new(sides).await;
        for _ in 0..3 {
            assert_eq!(rig.get("/small").await.unwrap(), (200, b"ok 0".to_vec()), "{sides:?}");
        }
        let (status, body) = rig.get("/large").await.unwrap();
        assert!(status == 200 && body == vec![b'x'; LARGE], "{sides:?}");
        let sent = rig.client.post(format!("{}/up", rig.url)).body(vec![b'y'; LARGE]).send().await.unwrap();
        assert_eq!(sent.text().await.unwrap(), format!("ok {LARGE}"), "{sides:?}");
        let (_, info) = rig.agent.get("/v1/proxies/web").await;
        assert_eq!(info["counters"]["connections"], json!(1), "{sides:?}: kept alive");
    }
}

#[tokio::test]
async fn faults_of_requests_see_through_tls() {
    for sides in ALL_SIDES {
        let rig = Rig::new(sides).await;
        rig.agent.fault("web", json!({"fault": {"http_status": {"status": 503}}, "where": {"path": "/sma*"}})).await;
        assert_eq!(rig.get("/small").await.unwrap().0, 503, "{sides:?}");
        assert_eq!(rig.get("/other").await.unwrap(), (200, b"ok 0".to_vec()), "{sides:?}");
        rig.heal().await;
        rig.agent.fault("web", json!({"fault": {"http_body": {"oversize": "20MB"}}})).await;
        assert_eq!(rig.get("/small").await.unwrap().1.len(), 20_000_004, "{sides:?}");
        rig.heal().await;
        assert_eq!(rig.get("/small").await.unwrap(), (200, b"ok 0".to_vec()), "{sides:?}");
    }
}

#[tokio::test]
async fn faults_of_bytes_end_a_response_over_tls_as_they_should() {
    for sides in ALL_SIDES {
        let rig = Rig::new(sides).await;
        rig.agent.fault("web", json!({"fault": {"reset": {"after_bytes": "1MB"}}})).await;
        let error = rig.get("/large").await.unwrap_err();
        assert!(format!("{error:?}").contains("ConnectionReset"), "{sides:?}: {error:?}");
        rig.heal().await;
        rig.agent.fault("web", json!({"fault": {"truncate": {"bytes": "1MB", "then": "close"}}})).await;
        let error = rig.get("/large").await.unwrap_err();
        assert!(error.is_body() || error.is_decode(), "{sides:?}: {error:?}");
        rig.heal().await;
        assert_eq!(rig.get("/small").await.unwrap(), (200, b"ok 0".to_vec()), "{sides:?}");
    }
}
