//! What tests ask over HTTP: an agent's API, and the server behind a proxy, with a limit on each request.

use reqwest::Method;
use serde_json::Value;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// A client that keeps its connections, with a runtime of its own.
pub struct WebClient {
    runtime: Runtime,
    http: reqwest::Client,
}

impl WebClient {
    /// One that gives a request up after so long, and a connect after three quarters of that, so that one can tell.
    ///
    /// # Panics
    /// When there can be no runtime.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test without its client must fail loudly")]
    pub fn new(limit: Duration) -> Self {
        // Somebody else in this process may have installed it first, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = reqwest::Client::builder().timeout(limit).connect_timeout(limit * 3 / 4);
        let http = builder.build().expect("a client");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        Self { runtime, http }
    }

    /// Sends a request and reads the whole answer: its status and body, or what went wrong; and how long it took.
    pub fn send(
        &self,
        method: Method,
        url: &str,
        body: Option<Vec<u8>>,
    ) -> (Result<(u16, Vec<u8>), reqwest::Error>, Duration) {
        let since = Instant::now();
        let outcome = self.runtime.block_on(async {
            let request = self.http.request(method, url);
            let request = body.into_iter().fold(request, reqwest::RequestBuilder::body);
            let response = request.send().await?;
            let status = response.status().as_u16();
            Ok((status, response.bytes().await?.to_vec()))
        });
        (outcome, since.elapsed())
    }

    /// GET.
    pub fn get(&self, url: &str) -> (Result<(u16, Vec<u8>), reqwest::Error>, Duration) {
        self.send(Method::GET, url, None)
    }

    /// Sends JSON and reads JSON; null where the answer has no body.
    ///
    /// # Panics
    /// When nobody answers in time, or not in JSON.
    #[expect(clippy::expect_used, reason = "an API that does not answer must fail the test loudly")]
    pub fn call(&self, method: Method, url: &str, body: &Value) -> (u16, Value) {
        self.runtime.block_on(async {
            let response = self.http.request(method, url).json(body).send().await.expect("the agent answers");
            let status = response.status().as_u16();
            let text = response.bytes().await.expect("the agent answers to the end");
            let value = if text.is_empty() { Value::Null } else { serde_json::from_slice(&text).expect("JSON") };
            (status, value)
        })
    }
}
