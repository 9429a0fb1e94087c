//! What the tests of the API share: an agent on a free port, an HTTP client, and an upstream that echoes.
//!
//! Each test has its own agent, so nothing is shared but code. Neighbours: every `api_*.rs`.
//! Invariant: whatever waits here has a limit, so that a broken agent fails a test and does not hang it.

#![allow(dead_code, reason = "each test binary uses some of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use reqwest::Method;
use serde_json::{Value, json};
use squall_agent::{Agent, AgentConfig, AgentError};
use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

/// Nothing here takes this long on any machine, unless it is broken.
pub(crate) const LONG: Duration = Duration::from_secs(20);

/// An agent that runs.
pub(crate) struct Running {
    pub(crate) addr: SocketAddr,
    http: reqwest::Client,
    stop: CancellationToken,
    task: JoinHandle<Result<(), AgentError>>,
}

/// A configuration with a free port.
pub(crate) fn config() -> AgentConfig {
    AgentConfig { listen: "127.0.0.1:0".parse().unwrap(), drain: Duration::from_millis(200), ..AgentConfig::default() }
}

pub(crate) fn client() -> reqwest::Client {
    // The second of two tests in one process finds it installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // A connection for each request: agents with short patience close idle ones, perhaps as the next request is sent.
    reqwest::Client::builder().timeout(LONG).pool_max_idle_per_host(0).build().unwrap()
}

impl Running {
    pub(crate) async fn new() -> Self {
        Self::with(config()).await
    }

    pub(crate) async fn with(config: AgentConfig) -> Self {
        Self::of(Agent::bind(config).await.unwrap())
    }

    /// An agent that was bound already.
    pub(crate) fn of(agent: Agent) -> Self {
        let addr = agent.local_addr();
        let stop = CancellationToken::new();
        let task = tokio::spawn(agent.run(stop.clone()));
        Self { addr, http: client(), stop, task }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, self.url(path))
    }

    pub(crate) async fn call(&self, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let request = self.request(method, path);
        answer(if let Some(body) = body { request.json(&body) } else { request }).await
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        self.call(Method::GET, path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.call(Method::POST, path, Some(body)).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> (u16, Value) {
        self.call(Method::PUT, path, Some(body)).await
    }

    pub(crate) async fn patch(&self, path: &str, body: Value) -> (u16, Value) {
        self.call(Method::PATCH, path, Some(body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> (u16, Value) {
        self.call(Method::DELETE, path, None).await
    }

    /// A proxy before `upstream`; answers where it listens.
    pub(crate) async fn proxy(&self, name: &str, upstream: SocketAddr) -> SocketAddr {
        let (status, info) = self.post("/v1/proxies", json!({"name": name, "upstream": upstream})).await;
        assert_eq!(status, 201, "{info}");
        info["listen"].as_str().unwrap().parse().unwrap()
    }

    /// A fault that must be accepted.
    pub(crate) async fn fault(&self, proxy: &str, fault: Value) -> Value {
        let (status, info) = self.post(&format!("/v1/proxies/{proxy}/faults"), fault).await;
        assert_eq!(status, 201, "{info}");
        info
    }

    /// A lease that must be granted; answers its id.
    pub(crate) async fn lease(&self, owner: &str, ttl: &str, proxies: &[&str]) -> String {
        let body = json!({"owner": owner, "reason": "a test", "ttl": ttl, "proxies": proxies});
        let (status, lease) = self.post("/v1/leases", body).await;
        assert_eq!(status, 201, "{lease}");
        lease["id"].as_str().unwrap().to_owned()
    }

    /// Waits until a call answers so.
    pub(crate) async fn until(&self, path: &str, so: impl Fn(u16, &Value) -> bool) -> Value {
        let start = Instant::now();
        loop {
            let (status, value) = self.get(path).await;
            if so(status, &value) {
                return value;
            }
            assert!(start.elapsed() < LONG, "{path} still answers {status} {value}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Shuts down in order; answers how long that took.
    pub(crate) async fn stop(self) -> Duration {
        let start = Instant::now();
        self.stop.cancel();
        timeout(LONG, self.task).await.expect("the agent must end").unwrap().unwrap();
        start.elapsed()
    }
}

/// Status and body; null when there is none.
pub(crate) async fn answer(request: reqwest::RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    (status, if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap_or(Value::String(text)) })
}

/// An upstream that sends back what it gets, after its own letter.
pub(crate) async fn echo(letter: u8) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut buffer = [0; 1024];
                while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                    let answer = [&[letter], &buffer[..read]].concat();
                    if stream.write_all(&answer).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    addr
}

/// Sends a ping and reads what comes back.
pub(crate) async fn ping(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    timeout(LONG, async {
        stream.write_all(b"ping").await?;
        let mut buffer = vec![0; 5];
        stream.read_exact(&mut buffer).await?;
        Ok(buffer)
    })
    .await
    .expect("an answer or an error must come")
}

pub(crate) async fn connect(addr: SocketAddr) -> TcpStream {
    TcpStream::connect(addr).await.unwrap()
}
