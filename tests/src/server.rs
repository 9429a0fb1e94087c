//! A web server in the test's own process, on a thread with a runtime of its own.

use axum::{Router, routing::get};
use std::{net::SocketAddr, sync::mpsc};
use tokio::{net::TcpListener, sync::oneshot};

/// Answers `ok` to `GET /`, and `GET /broken` with 500.
pub struct WebServer {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl WebServer {
    /// Starts it on a free loopback port.
    ///
    /// # Panics
    /// When it cannot.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test without its server must fail loudly")]
    pub fn start() -> Self {
        let (bound, address) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port");
                bound.send(listener.local_addr().expect("a bound socket has an address")).expect("the test waits");
                let broken = || async { (axum::http::StatusCode::INTERNAL_SERVER_ERROR, "broken") };
                let router = Router::new().route("/", get(|| async { "ok" })).route("/broken", get(broken));
                tokio::select! {
                    _ = axum::serve(listener, router) => {}
                    _ = stopped => {}
                }
            });
        });
        let address = address.recv().expect("the server says where it is");
        Self { address, stop: Some(stop), thread: Some(thread) }
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for WebServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A server that panicked has told so already.
            let _ = thread.join();
        }
    }
}
