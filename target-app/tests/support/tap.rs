//! A tap in front of a dependency: passes bytes on, or hurts them in one of a few ways.
//!
//! What a tap does can change at any time and takes hold of open connections too.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Pass,
    /// Answers come so much later.
    Late(Duration),
    /// Nothing comes back; what was sent is lost.
    Blackhole,
    /// Answers come a byte a second.
    Drip,
    /// Three connections in ten are reset at once.
    ResetThreeInTen,
    /// Every connection is reset at once.
    Reset,
    /// The answer is this.
    Say(&'static str),
}

#[derive(Clone)]
pub(crate) struct Tap {
    address: SocketAddr,
    mode: watch::Sender<Mode>,
    connections: Arc<AtomicUsize>,
}

impl Tap {
    pub(crate) async fn bind(upstream: SocketAddr, tasks: &mut JoinSet<()>, stop: CancellationToken) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (mode, seen) = watch::channel(Mode::Pass);
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        tasks.spawn(async move {
            let mut open = JoinSet::new();
            loop {
                let stream = tokio::select! {
                    () = stop.cancelled() => break,
                    Some(_) = open.join_next() => continue,
                    accepted = listener.accept() => accepted.unwrap().0,
                };
                let nth = counted.fetch_add(1, Ordering::Relaxed);
                open.spawn(connection(stream, upstream, nth, seen.clone()));
            }
        });
        Self { address, mode, connections }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

async fn connection(stream: TcpStream, upstream: SocketAddr, nth: usize, mode: watch::Receiver<Mode>) {
    stream.set_nodelay(true).unwrap();
    let now = *mode.borrow();
    match now {
        Mode::Reset => reset(stream),
        // Spread evenly, so that no run of luck decides a test.
        Mode::ResetThreeInTen if nth * 3 % 10 < 3 => reset(stream),
        _ => {
            let Ok(target) = TcpStream::connect(upstream).await else { return };
            target.set_nodelay(true).unwrap();
            let ((near_read, near_write), (far_read, far_write)) = (stream.into_split(), target.into_split());
            let up = upwards(near_read, far_write, mode.clone());
            let down = downwards(far_read, near_write, mode);
            tokio::join!(up, down);
        }
    }
}

fn reset(stream: TcpStream) {
    stream.set_zero_linger().unwrap();
}

async fn upwards(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mode: watch::Receiver<Mode>) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let lost = *mode.borrow() == Mode::Blackhole;
        if !lost && to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

async fn downwards(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut mode: watch::Receiver<Mode>) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let now = *mode.borrow();
        let passed = match now {
            Mode::Late(delay) => {
                tokio::time::sleep(delay).await;
                to.write_all(&buffer[..read]).await
            }
            Mode::Drip => drip(&buffer[..read], &mut to, &mut mode).await,
            Mode::Say(text) => {
                let _ = to.write_all(text.as_bytes()).await;
                return;
            }
            Mode::Blackhole => Ok(()),
            Mode::Pass | Mode::ResetThreeInTen | Mode::Reset => to.write_all(&buffer[..read]).await,
        };
        if passed.is_err() {
            return;
        }
    }
    // A connection that lost its bytes also loses its end, until the tap is healed.
    let _ = mode.wait_for(|mode| *mode != Mode::Blackhole).await;
}

async fn drip(bytes: &[u8], to: &mut OwnedWriteHalf, mode: &mut watch::Receiver<Mode>) -> std::io::Result<()> {
    for (n, byte) in bytes.iter().enumerate() {
        if *mode.borrow() != Mode::Drip {
            return to.write_all(&bytes[n..]).await;
        }
        to.write_all(&[*byte]).await?;
        let healed = mode.wait_for(|mode| *mode != Mode::Drip);
        let _ = tokio::time::timeout(Duration::from_secs(1), healed).await;
    }
    Ok(())
}
