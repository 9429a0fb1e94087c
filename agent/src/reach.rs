//! Both ends of a connection brought up: a client that was accepted, and the upstream that is dialled for it.
//!
//! Neighbours: `connection.rs` runs what comes of it; `socket` dials, `tls` encrypts, `proxy` says where to and how.
//! Invariant: within `dial_timeout` each ends in a [`Stream`] that is ready for bytes, or in an error that says why not.

use crate::{
    intercept::Originals,
    policy::Forbidden,
    proxy::Shared,
    socket::{self, Call},
    stream::Stream,
};
use std::{
    io::{self, ErrorKind},
    time::{Duration, Instant},
};
use tokio::{net::TcpStream, time::timeout};

/// A client that was accepted. [`welcome`] comes before its first byte.
pub(crate) fn accepted(shared: &Shared, socket: TcpStream) -> io::Result<Stream> {
    socket::prepare(&socket);
    shared.tls().accepted(socket)
}

/// Agrees with the client on keys, where TLS ends here.
pub(crate) async fn welcome(shared: &Shared, client: &Stream) -> io::Result<()> {
    shaken(client, shared.plane.limits.dial_timeout, "the client did not finish its TLS handshake in time").await
}

/// Reaches the upstream as the proxy has it now; for a client that was redirected, the address that it meant.
pub(crate) async fn dial(shared: &Shared, client: &Stream) -> io::Result<Stream> {
    let (target, tls) = shared.target();
    let (limit, since) = (shared.plane.limits.dial_timeout, Instant::now());
    let intercepted = shared.plane.intercepted.as_ref();
    let call = Call {
        target: &target,
        only: intercepted.and_then(|originals| originals.of(client.tcp(), &target)),
        rules: &shared.plane.limits.upstreams,
    };
    let socket = socket::dial(call, limit, intercepted.map(Originals::mark)).await?;
    let upstream = tls.dialled(socket, &target)?;
    let left = limit.saturating_sub(since.elapsed());
    shaken(&upstream, left, "the upstream did not finish its TLS handshake in time").await?;
    Ok(upstream)
}

/// Says why the upstream could not be reached, as loudly as the reason deserves.
pub(crate) fn tell_unreached(shared: &Shared, error: &io::Error) {
    let (upstream, plane) = (shared.upstream(), &shared.plane);
    if is_of_tls(error) {
        plane.tell_tls_failure(error, &upstream, "failed to reach the upstream");
    } else if error.get_ref().is_none_or(|inner| !inner.is::<Forbidden>()) {
        tracing::debug!(%error, upstream, "failed to reach the upstream");
    } else if let Some(left_out) = plane.refused.lets_through(Instant::now()) {
        tracing::warn!(%error, upstream, left_out, "a connection was refused its upstream by the policy");
    }
}

/// Whether an error is one of TLS, and no mere socket's.
pub(crate) fn is_of_tls(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>() || inner.is::<HandshakeError>())
}

/// What kept the two sides from agreeing on keys.
#[derive(Debug, thiserror::Error)]
#[error("the TLS handshake failed: {0}")]
struct HandshakeError(io::Error);

async fn shaken(stream: &Stream, limit: Duration, late: &'static str) -> io::Result<()> {
    match timeout(limit, stream.shake_hands()).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(io::Error::new(error.kind(), HandshakeError(error))),
        Err(_) => Err(io::Error::new(ErrorKind::TimedOut, late)),
    }
}
