//! Both ends of a connection brought up: a client that was accepted, and the upstream that is dialled for it.
//!
//! Neighbours: `connection.rs` runs what comes of it; `socket` dials, `tls` encrypts, `proxy` says where to and how.
//! Invariant: within `dial_timeout` each ends in a [`Stream`] that is ready for bytes, or in an error that says why not.

use crate::{
    intercept::Originals,
    policy::Forbidden,
    proxy::Shared,
    socket::{self, Call, OwnAddress},
    stream::Stream,
    timer::Timer,
    traffic::Meter,
};
use std::{
    future::Future,
    io::{self, ErrorKind},
    net::SocketAddr,
    time::Instant,
};
use tokio::net::TcpStream;

/// A client that was accepted. [`welcome`] comes before its first byte.
pub(crate) fn accepted(shared: &Shared, socket: TcpStream) -> io::Result<Stream> {
    // What `socket::prepare` does, it has from the socket that listens.
    shared.tls().accepted(socket)
}

/// Agrees with the client on keys, where TLS ends here. [`ErrorKind::NotConnected`]: it went without a word.
pub(crate) async fn welcome(shared: &Shared, client: &Stream) -> io::Result<()> {
    let limit = shared.plane.limits.dial_timeout;
    let late = "the client did not finish its TLS handshake in time";
    within(&shared.plane.timer, Instant::now() + limit, shaken(client), late).await
}

/// The address that a client meant which was redirected on its way to the upstream.
pub(crate) fn meant(shared: &Shared, client: &Stream) -> Option<SocketAddr> {
    let originals = shared.plane.intercepted.as_ref()?;
    originals.of(client.tcp(), &shared.upstream())
}

/// Reaches the upstream as the proxy has it now, at `only` this one of its addresses if one was [`meant`], and tells the meter how
/// long that took.
pub(crate) async fn dial(shared: &Shared, only: Option<SocketAddr>, meter: &Meter) -> io::Result<Stream> {
    let (target, tls) = shared.target();
    let began = Instant::now();
    let until = began + shared.plane.limits.dial_timeout;
    let call = Call { target: &target, only, rules: &shared.plane.limits.upstreams, own: shared.listen() };
    let mark = shared.plane.intercepted.as_ref().map(Originals::mark);
    let dialled = socket::dial(call, mark);
    let socket = within(&shared.plane.timer, until, dialled, "the upstream did not answer in time").await?;
    let upstream = tls.dialled(socket, &target)?;
    if upstream.plain().is_none() {
        let late = "the upstream did not finish its TLS handshake in time";
        within(&shared.plane.timer, until, shaken(&upstream), late).await?;
    }
    meter.reached(began.elapsed());
    Ok(upstream)
}

/// Says why the upstream could not be reached, as loudly as the reason deserves.
pub(crate) fn tell_unreached(shared: &Shared, error: &io::Error) {
    let (upstream, plane) = (shared.upstream(), &shared.plane);
    if is_of_tls(error) {
        plane.tell_tls_failure(error, &upstream, "failed to reach the upstream");
    } else if is_shortage(error) {
        if let Some(left_out) = plane.short.lets_through(Instant::now()) {
            tracing::warn!(%error, upstream, left_out, "no descriptor was left to reach the upstream");
        }
    } else if error.get_ref().is_none_or(|inner| !inner.is::<Forbidden>() && !inner.is::<OwnAddress>()) {
        tracing::debug!(%error, upstream, "failed to reach the upstream");
    } else if let Some(left_out) = plane.refused.lets_through(Instant::now()) {
        tracing::warn!(%error, upstream, left_out, "a connection was refused its upstream");
    }
}

/// Whether this process or the machine has no descriptor left.
fn is_shortage(error: &io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::MFILE, Errno::NFILE].iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// Gives up at `until`. By our own timer, which one more deadline in its far future does not wake.
async fn within<T>(
    timer: &Timer,
    until: Instant,
    attempt: impl Future<Output = io::Result<T>>,
    late: &'static str,
) -> io::Result<T> {
    tokio::select! {
        biased;
        result = attempt => result,
        () = timer.sleep_until(until) => Err(io::Error::new(ErrorKind::TimedOut, late)),
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

async fn shaken(stream: &Stream) -> io::Result<()> {
    stream.shake_hands().await.map_err(|error| io::Error::new(error.kind(), HandshakeError(error)))
}
