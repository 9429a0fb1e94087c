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
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

/// A request's head must be there within this, and a kept connection is closed when it idles for longer.
const HEAD_LIMIT: Duration = Duration::from_secs(15);
/// After a failed accept (out of file descriptors, mostly) the next try waits so long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Connections over the number that are told so at a time.
const REFUSALS: usize = 64;
/// Who is refused has so long to ask and to leave.
const REFUSAL_LIMIT: Duration = Duration::from_secs(1);
const REFUSAL: &str = "HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\n\
    content-type: application/json\r\ncontent-length: 64\r\n\r\n\
    {\"error\":{\"code\":\"overloaded\",\"message\":\"too many connections\"}}";

/// Who is at the other end of a connection; an extension of each request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// What is done about a connection over the number.
#[derive(Clone)]
pub(crate) enum Over {
    /// It waits in the listen queue.
    Waits,
    /// It is answered with 503 and closed; called once for each.
    Refused(Arc<dyn Fn() + Send + Sync>),
}

/// Limits of a server.
#[derive(Clone)]
pub(crate) struct Limits {
    /// Open connections, at most.
    pub(crate) connections: usize,
    /// What becomes of others.
    pub(crate) over: Over,
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
    let refusals = Arc::new(Semaphore::new(REFUSALS));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = end.drain.cancelled() => break,
            Some(_) = connections.join_next() => continue,
            accepted = accept(&listener, &slots, &limits.over) => accepted,
        };
        match accepted {
            Some((stream, peer, Some(slot))) => {
                let connection =
                    connection(stream, peer, app.clone(), limits.requests_per_connection, end.drain.clone());
                connections.spawn(async move {
                    connection.await;
                    drop(slot);
                });
            }
            Some((stream, _, None)) => {
                if let Over::Refused(count) = &limits.over {
                    count();
                }
                // Beyond so many, even a refusal is too much work: the connection is closed.
                if let Ok(place) = Arc::clone(&refusals).try_acquire_owned() {
                    connections.spawn(async move {
                        refuse(stream).await;
                        drop(place);
                    });
                }
            }
            None => {}
        }
    }
    drop(listener);
    tokio::select! {
        () = end.abort.cancelled() => connections.shutdown().await,
        () = async { while connections.join_next().await.is_some() {} } => {}
    }
}

type Accepted = (TcpStream, SocketAddr, Option<OwnedSemaphorePermit>);

async fn accept(listener: &TcpListener, slots: &Arc<Semaphore>, over: &Over) -> Option<Accepted> {
    let slot = match over {
        Over::Waits => Some(Arc::clone(slots).acquire_owned().await.ok()?),
        Over::Refused(_) => None,
    };
    match listener.accept().await {
        Ok((stream, peer)) => Some((stream, peer, slot.or_else(|| Arc::clone(slots).try_acquire_owned().ok()))),
        Err(error) => {
            tracing::warn!(%error, "failed to accept a connection");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

/// Answers the first request with 503, whatever it is, without reading it: parsing is work.
async fn refuse(mut stream: TcpStream) {
    let conversation = async {
        let mut some = [0; 1024];
        // A client may take an answer that comes before its question for nonsense.
        if stream.read(&mut some).await? == 0 {
            return Ok(());
        }
        stream.write_all(REFUSAL.as_bytes()).await?;
        stream.shutdown().await?;
        // Closing with bytes unread would be a reset, which takes the answer with it.
        while stream.read(&mut some).await? > 0 {}
        std::io::Result::Ok(())
    };
    // Whoever is refused is gone either way.
    let _ = tokio::time::timeout(REFUSAL_LIMIT, conversation).await;
}

async fn connection(stream: TcpStream, peer: SocketAddr, app: Router, requests: u64, drain: CancellationToken) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "failed to switch off Nagle's algorithm");
    }
    let served = Arc::new(AtomicU64::new(0));
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
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

#[cfg(test)]
mod tests {
    use super::REFUSAL;

    #[test]
    fn the_refusal_is_as_long_as_it_says() {
        let (head, body) = REFUSAL.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}", body.len())), "{} in {head}", body.len());
        assert!(serde_json::from_str::<serde_json::Value>(body).is_ok());
    }
}
