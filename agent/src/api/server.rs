//! Connections to the API: accepted up to a limit, each with a limit on how long it may take to say what it wants
//! and to take the answer, and ended in order at shutdown.
//!
//! Neighbours: `super::router` answers the requests, `agent` runs this until it is told to stop.
//! hyper's server and not `axum::serve`, which lets a half-sent request stay open for good.
//! Invariant: a client that stalls costs one slot for `api_timeout`, and delays nobody else.

use super::Peer;
use axum::{Router, body::Body};
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{convert::Infallible, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt;

/// Requests under way at shutdown may take so long; then their connections are cut.
const GRACE: Duration = Duration::from_secs(2);
/// Out of file descriptors, accepting is tried again after so long.
const PAUSE: Duration = Duration::from_millis(100);
/// Bytes of a head, at most; also what one connection buffers.
const LARGEST_HEAD: usize = 64 * 1024;

/// A bound listener and what it serves.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) listener: TcpListener,
    pub(crate) router: Router,
    /// Connections at once; further ones wait in the listen queue.
    pub(crate) max_connections: usize,
    /// For the head of a request, and for an answer to be taken.
    pub(crate) patience: Duration,
}

impl Server {
    /// Serves until it is told to stop, and then what is under way for a moment.
    pub(crate) async fn serve(self, stop: CancellationToken) {
        let slots = Arc::new(Semaphore::new(self.max_connections.min(Semaphore::MAX_PERMITS)));
        let (connections, cut) = (TaskTracker::new(), CancellationToken::new());
        while let Some(slot) = stop.run_until_cancelled(Arc::clone(&slots).acquire_owned()).await {
            // The semaphore is never closed.
            let Ok(slot) = slot else { break };
            match stop.run_until_cancelled(self.listener.accept()).await {
                None => break,
                Some(Ok((stream, peer))) => {
                    connections
                        .spawn(cut.clone().run_until_cancelled_owned(self.connection(stream, peer, slot, &stop)));
                }
                Some(Err(error)) => {
                    tracing::warn!(%error, "failed to accept a connection to the API");
                    if is_shortage(&error) {
                        sleep(PAUSE).await;
                    }
                }
            }
        }
        drop(self.listener);
        connections.close();
        if timeout(GRACE, connections.wait()).await.is_err() {
            tracing::info!(connections = connections.len(), "cutting connections to the API that do not end");
            cut.cancel();
            connections.wait().await;
        }
    }

    fn connection(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        slot: OwnedSemaphorePermit,
        stop: &CancellationToken,
    ) -> impl Future<Output = ()> + Send + use<> {
        let (router, stop, patience) = (self.router.clone(), stop.clone(), self.patience);
        async move {
            let _slot = slot;
            if let Err(error) = bound_writes(&stream, patience) {
                tracing::debug!(%peer, %error, "failed to set up a connection to the API");
            }
            let service = service_fn(move |request: Request<Incoming>| answer(router.clone(), request, peer));
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(patience)
                .max_buf_size(LARGEST_HEAD)
                .serve_connection(TokioIo::new(stream), service);
            let mut connection = pin!(connection);
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = stop.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                tracing::debug!(%peer, %error, "a connection to the API ended early");
            }
        }
    }
}

async fn answer(
    router: Router,
    mut request: Request<Incoming>,
    peer: SocketAddr,
) -> Result<axum::response::Response, Infallible> {
    request.extensions_mut().insert(Peer(peer));
    router.oneshot(request.map(Body::new)).await
}

/// A client that does not take its answer is dropped by the kernel: `hyper` has a limit for reading only.
fn bound_writes(stream: &TcpStream, patience: Duration) -> io::Result<()> {
    stream.set_nodelay(true)?;
    #[cfg(target_os = "linux")]
    socket2::SockRef::from(stream).set_tcp_user_timeout(Some(patience))?;
    #[cfg(not(target_os = "linux"))]
    let _ = patience;
    Ok(())
}

/// Whether the machine, and not the one client, is the reason.
fn is_shortage(error: &io::Error) -> bool {
    !matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}
