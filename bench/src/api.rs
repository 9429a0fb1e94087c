//! The few calls of the agent's API that the harness makes, each timed without the connecting.
//!
//! Above are `contestant` (routes) and the measurements that set faults. The shapes are `squall-wire`'s.
//! Invariant: every call ends within [`PATIENCE`], and any answer but a success is an error with the agent's words.

use crate::error::BenchError;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, body::Bytes, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use squall_wire::{FaultInfo, FaultName, FaultSpec, Healed, ProxyInfo, ProxyName, ProxySpec};
use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};
use tokio::{net::TcpStream, runtime::Runtime};

/// The longest that a call may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// An answer, and when it was asked for and had.
pub(crate) struct Timed<T> {
    /// The answer.
    pub(crate) answer: T,
    /// When the request was sent.
    pub(crate) asked: Instant,
    /// From the request to the whole answer.
    pub(crate) took: Duration,
}

/// The API of one agent.
#[derive(Clone, Copy)]
pub(crate) struct Api<'a> {
    /// Runs the calls.
    pub(crate) runtime: &'a Runtime,
    /// Where the agent is.
    pub(crate) address: SocketAddr,
}

impl Api<'_> {
    /// Makes a proxy.
    pub(crate) fn create_proxy(&self, spec: &ProxySpec) -> Result<ProxyInfo, BenchError> {
        Ok(self.call(Method::POST, "/v1/proxies", Some(spec))?.answer)
    }

    /// Makes a proxy; how long that took, in seconds.
    pub(crate) fn create_proxy_timed(&self, spec: &ProxySpec) -> Result<f64, BenchError> {
        let timed: Timed<ProxyInfo> = self.call(Method::POST, "/v1/proxies", Some(spec))?;
        Ok(timed.took.as_secs_f64())
    }

    /// Sets a fault.
    pub(crate) fn set_fault(&self, proxy: &ProxyName, spec: &FaultSpec) -> Result<Timed<FaultInfo>, BenchError> {
        self.call(Method::POST, &format!("/v1/proxies/{proxy}/faults"), Some(spec))
    }

    /// How many faults the agent has.
    pub(crate) fn faults(&self) -> Result<usize, BenchError> {
        let timed: Timed<Vec<ProxyInfo>> = self.call(Method::GET, "/v1/proxies", None::<&()>)?;
        Ok(timed.answer.iter().map(|proxy| proxy.faults.len()).sum())
    }

    /// Removes a fault.
    pub(crate) fn remove_fault(&self, proxy: &ProxyName, fault: &FaultName) -> Result<Timed<Healed>, BenchError> {
        self.call(Method::DELETE, &format!("/v1/proxies/{proxy}/faults/{fault}"), None::<&()>)
    }

    /// Posts something to another program's API, whose answer only has to be a success.
    pub(crate) fn post(&self, path: &str, body: &serde_json::Value) -> Result<(), BenchError> {
        self.send(Method::POST, path, body.to_string().into()).map(drop)
    }

    fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<Timed<T>, BenchError> {
        let misread = |error: serde_json::Error| BenchError::Agent {
            what: format!("speak our language at {path}"),
            why: error.to_string(),
        };
        let body = body.map(serde_json::to_vec).transpose().map_err(misread)?.unwrap_or_default();
        let Timed { answer, asked, took } = self.send(method, path, body.into())?;
        Ok(Timed { answer: serde_json::from_slice(&answer).map_err(misread)?, asked, took })
    }

    fn send(&self, method: Method, path: &str, body: Bytes) -> Result<Timed<Bytes>, BenchError> {
        let what = format!("{method} {path}");
        let exchange = async { tokio::time::timeout(PATIENCE, exchange(self.address, method, path, body)).await };
        match self.runtime.block_on(exchange) {
            Ok(Ok(timed)) => Ok(timed),
            Ok(Err(why)) => Err(BenchError::Agent { what, why }),
            Err(_) => Err(BenchError::Late { what: format!("the answer to {what}"), limit: PATIENCE }),
        }
    }
}

/// One exchange on a connection of its own; why not, in words.
async fn exchange(address: SocketAddr, method: Method, path: &str, body: Bytes) -> Result<Timed<Bytes>, String> {
    let words = |error: &dyn std::fmt::Display| error.to_string();
    let stream = TcpStream::connect(address).await.map_err(|error| words(&error))?;
    stream.set_nodelay(true).map_err(|error| words(&error))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| words(&error))?;
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, address.to_string())
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(body))
        .map_err(|error| words(&error))?;
    let talk = async {
        let asked = Instant::now();
        let response = sender.send_request(request).await?;
        let status = response.status();
        let answer = response.into_body().collect().await?.to_bytes();
        Ok::<_, hyper::Error>((status, Timed { answer, asked, took: asked.elapsed() }))
    };
    // The connection is driven beside the exchange and dropped with it; when it fails, so does the exchange.
    let drive = async {
        drop(connection.await);
        std::future::pending::<()>().await;
    };
    let (status, timed) = tokio::select! {
        done = talk => done.map_err(|error| words(&error))?,
        () = drive => return Err("the connection ended".to_owned()),
    };
    if status.is_success() { Ok(timed) } else { Err(format!("{status}: {}", String::from_utf8_lossy(&timed.answer))) }
}
