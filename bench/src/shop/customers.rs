//! Customers: each with a connection of its own, asking again as soon as it is answered.
//!
//! Invariant: whoever cannot connect or is not answered fails the run.

use crate::error::BenchError;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};
use tokio::{net::TcpStream, task::JoinSet};

/// What one request was answered, and when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) took: Duration,
}

/// What is asked, the nth time.
pub(super) type Ask = fn(u64) -> Request<Full<Bytes>>;

pub(super) fn get(path: &str) -> Request<Full<Bytes>> {
    request("GET", path, None, Bytes::new())
}

pub(super) fn post(path: &str, key: Option<&str>, body: String) -> Request<Full<Bytes>> {
    request("POST", path, key, body.into())
}

fn request(method: &str, path: &str, key: Option<&str>, body: Bytes) -> Request<Full<Bytes>> {
    let mut request = Request::builder().method(method).uri(path).header("host", "shop");
    request = request.header("content-type", "application/json");
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    #[expect(clippy::expect_used, reason = "paths and keys are those of this program")]
    request.body(Full::new(body)).expect("a request of fixed words is one")
}

/// One customer.
pub(super) struct Customer {
    sender: http1::SendRequest<Full<Bytes>>,
    /// Ends with the customer.
    _connection: JoinSet<()>,
}

fn failed(what: &str, why: impl std::fmt::Display) -> BenchError {
    BenchError::Peer { who: "the shop", what: what.to_owned(), why: why.to_string() }
}

impl Customer {
    pub(super) async fn connect(shop: SocketAddr) -> Result<Self, BenchError> {
        let stream = TcpStream::connect(shop).await.map_err(|e| failed("take a connection", e))?;
        stream.set_nodelay(true).map_err(|e| failed("take a connection", e))?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|e| failed("speak HTTP", e))?;
        let mut task = JoinSet::new();
        task.spawn(async move {
            let _ = connection.await;
        });
        Ok(Self { sender, _connection: task })
    }

    pub(super) async fn ask(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, BenchError> {
        let begun = Instant::now();
        self.sender.ready().await.map_err(|e| failed("keep the connection", e))?;
        let response = self.sender.send_request(request).await.map_err(|e| failed("answer", e))?;
        let status = response.status().as_u16();
        response.into_body().collect().await.map_err(|e| failed("finish its answer", e))?;
        Ok(Answer { status, took: begun.elapsed() })
    }
}

/// So many customers, each asking for so long; what each request was answered.
pub(super) async fn crowd(
    shop: SocketAddr,
    customers: u64,
    length: Duration,
    ask: Ask,
) -> Result<Vec<Answer>, BenchError> {
    let mut crowd = JoinSet::new();
    for number in 0..customers {
        crowd.spawn(async move {
            let mut customer = Customer::connect(shop).await?;
            let (begun, mut answers) = (Instant::now(), Vec::new());
            while begun.elapsed() < length {
                let nth = answers.len() as u64 * customers + number;
                answers.push(customer.ask(ask(nth)).await?);
            }
            Ok::<_, BenchError>(answers)
        });
    }
    let mut all = Vec::new();
    while let Some(answers) = crowd.join_next().await {
        all.extend(answers.map_err(|_| BenchError::Panicked("ask the shop"))??);
    }
    Ok(all)
}

/// Answers a second that were good; the run fails when most were not.
pub(super) fn per_second(answers: &[Answer], length: Duration, what: &str) -> Result<f64, BenchError> {
    let good = answers.iter().filter(|answer| answer.status < 300).count();
    if good * 10 < answers.len() * 9 {
        return Err(failed(what, format!("only {good} of {} answers were good", answers.len())));
    }
    Ok(good as f64 / length.as_secs_f64())
}
