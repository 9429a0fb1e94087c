//! Servers for the runner's figures: one that can be switched to fail, and one that answers after a time and freezes once.
//!
//! The freezing one is a process of its own (`serve-freezing`), so that no load generator shares a scheduler with it. Its
//! clock starts with the first request. Invariant: while it is frozen it answers nobody, and afterwards everybody.

use crate::error::{BenchError, Tried};
use http_body_util::Full;
use hyper::{Response, body::Bytes, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use std::{
    convert::Infallible,
    future::Future,
    io::{Read as _, Write as _},
    net::SocketAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{net::TcpListener, runtime::Runtime, time::Instant};

/// A server that answers 200 or 503.
pub(super) struct Switch {
    pub(super) address: SocketAddr,
    is_well: Arc<AtomicBool>,
}

impl Switch {
    pub(super) fn start(runtime: &Runtime) -> Result<Self, BenchError> {
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).tried("bind a loopback port")?;
        let address = listener.local_addr().tried("ask for the port that was bound")?;
        let is_well = Arc::new(AtomicBool::new(true));
        let answers = Arc::clone(&is_well);
        // It ends with the runtime.
        runtime.spawn(answer(listener, move || {
            let status = if answers.load(Ordering::Relaxed) { 200 } else { 503 };
            async move { status }
        }));
        Ok(Self { address, is_well })
    }

    pub(super) fn set(&self, well: bool) {
        self.is_well.store(well, Ordering::Relaxed);
    }
}

/// Answers every request with the status that comes of it.
async fn answer<F>(listener: TcpListener, status: impl Fn() -> F + Clone + Send + 'static)
where
    F: Future<Output = u16> + Send,
{
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let status = status.clone();
        tokio::spawn(async move {
            let service = service_fn(move |_| {
                let status = status();
                async move {
                    let mut response = Response::new(Full::new(Bytes::from_static(b"ok")));
                    *response.status_mut() = status.await.try_into().unwrap_or_default();
                    Ok::<_, Infallible>(response)
                }
            });
            // A client may go whenever it likes.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// Serves until standard input ends, having said on standard output where. Each answer takes `delay`; from `freeze_at` after
/// the first request on, all wait until `freeze_for` is over.
pub(crate) fn serve(delay: Duration, freeze_at: Duration, freeze_for: Duration) -> Result<(), BenchError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().tried("start the runtime")?;
    let watcher = std::thread::spawn(|| drop(std::io::stdin().read_to_end(&mut Vec::new())));
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).tried("bind a loopback port")?;
    let address = listener.local_addr().tried("ask for the port that was bound")?;
    writeln!(std::io::stdout(), "{address}").tried("say where the server listens")?;
    let first = Arc::new(OnceLock::new());
    runtime.spawn(answer(listener, move || {
        let now = Instant::now();
        let frozen = *first.get_or_init(|| now) + freeze_at;
        async move {
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            if (frozen..frozen + freeze_for).contains(&Instant::now()) {
                tokio::time::sleep_until(frozen + freeze_for).await;
            }
            200
        }
    }));
    runtime.block_on(async {
        while !watcher.is_finished() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    Ok(())
}
