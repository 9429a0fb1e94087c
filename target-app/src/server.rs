//! Serves a router on a bound listener, for the shop and for each dependency.
//!
//! hyper's HTTP/1 server with a limit for reading a request's head (also for how long a kept connection may idle), a
//! bounded number of connections, and an end in two steps. Neighbour: `graceful_shutdown.rs` says when.
//!
//! Invariant: `serve` returns only when every connection that it took is closed.

use axum::{
    Router,
    body::Body,
    http::{HeaderValue, Request, Response, header},
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

/// A request's head must be there within this, and a kept connection is closed when it idles for longer.
const HEAD_LIMIT: Duration = Duration::from_secs(15);
/// After a failed accept (out of file descriptors, mostly) the next try waits so long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Limits of a server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Open connections, at most; others wait in the listen queue.
    pub(crate) connections: usize,
    /// After so many answers a connection is closed; 0 for never.
    pub(crate) requests_per_connection: u64,
}

/// How a server is told to end.
#[derive(Debug, Clone)]
pub(crate) struct End {
    /// Take no more connections; close each after its answer.
    pub(crate) drain: CancellationToken,
    /// Close everything now.
    pub(crate) abort: CancellationToken,
}

/// Serves until told to end.
pub(crate) async fn serve(listener: TcpListener, app: Router, limits: Limits, end: End) {
    let slots = Arc::new(Semaphore::new(limits.connections));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = end.drain.cancelled() => break,
            Some(_) = connections.join_next() => continue,
            accepted = accept(&listener, &slots) => accepted,
        };
        if let Some((stream, slot)) = accepted {
            let connection = connection(stream, app.clone(), limits.requests_per_connection, end.drain.clone());
            connections.spawn(async move {
                connection.await;
                drop(slot);
            });
        }
    }
    drop(listener);
    tokio::select! {
        () = end.abort.cancelled() => connections.shutdown().await,
        () = async { while connections.join_next().await.is_some() {} } => {}
    }
}

async fn accept(listener: &TcpListener, slots: &Arc<Semaphore>) -> Option<(TcpStream, impl Sized + Send + 'static)> {
    let slot = Arc::clone(slots).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, slot)),
        Err(error) => {
            tracing::warn!(%error, "failed to accept a connection");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

async fn connection(stream: TcpStream, app: Router, requests: u64, drain: CancellationToken) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "failed to switch off Nagle's algorithm");
    }
    let served = Arc::new(AtomicU64::new(0));
    let service = service_fn(move |request: Request<Incoming>| {
        let last = requests != 0 && served.fetch_add(1, Ordering::Relaxed) + 1 >= requests;
        answer(app.clone(), request, last)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = drain.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::trace!(%error, "a connection ended early");
    }
}

async fn answer(app: Router, request: Request<Incoming>, last: bool) -> Result<Response<Body>, Infallible> {
    let mut response = app.oneshot(request).await?;
    if last {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}
