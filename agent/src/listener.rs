//! The listening side of a proxy: a port that stays ours, and the task that takes connections from it.
//!
//! A port is one socket for as long as the proxy has the address. It refuses by being shut down, which the kernel
//! does at once and which keeps the address bound, and listens again by `listen(2)`. Above is `proxy/`, which says
//! when; each connection becomes a task of `connection.rs`. When to take one is decided by `fault/slow_accept.rs`.
//!
//! Invariant: the accept loop never dials, resolves or waits for a peer.

use crate::{
    fault::{ActiveFault, Arrivals, openings},
    proxy::Shared,
    sieve,
    slots::{self, Slot},
    socket,
};
use parking_lot::Mutex;
use rustix::net::{SocketFlags, acceptfrom_with};
use socket2::{Domain, Socket, Type};
use squall_wire::FaultKind;
use std::{
    io::{self, ErrorKind},
    net::{Shutdown, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    io::unix::AsyncFd,
    net::TcpStream,
    sync::Notify,
    task::{JoinHandle, coop::consume_budget},
};
use tokio_util::sync::CancellationToken;

/// How many connections may wait to be accepted when no fault says otherwise.
const BACKLOG: i32 = 1024;

/// How long to leave the queue alone when the process is out of file descriptors or memory.
const SHORTAGE_PAUSE: Duration = Duration::from_millis(50);

/// A shortage is told once in so long.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// The shortest queue that these faults ask for.
pub(crate) fn backlog_for(faults: &[Arc<ActiveFault>]) -> i32 {
    let asked = faults.iter().filter_map(|fault| match fault.kind() {
        FaultKind::SlowAccept(slow) => slow.backlog.map(i32::from),
        _ => None,
    });
    asked.min().unwrap_or(BACKLOG)
}

/// A bound address.
pub(crate) struct Port {
    socket: Socket,
    addr: SocketAddr,
}

impl Port {
    /// Binds without listening: connects are refused.
    pub(crate) fn bind(addr: SocketAddr) -> io::Result<Self> {
        let first = bound(addr)?;
        let found = local(&first)?;
        // A port that the kernel chose is lost when the socket stops listening; one that was asked for by number is
        // not. So it is bound again, by number, while the first socket still holds it.
        let socket = if addr.port() == 0 { bound(found)? } else { first };
        Ok(Self { socket, addr: found })
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Listens, or changes the length of the queue.
    pub(crate) fn listen(&self, backlog: i32) -> io::Result<()> {
        // Otherwise our own open connections would be in the way.
        self.socket.set_reuse_address(true)?;
        self.socket.listen(backlog)
    }

    /// Drops what asks for a connection as these faults say. Connections inherit the kernel's program for it, which
    /// then finds nothing to drop.
    pub(crate) fn lose_openings(&self, faults: &[Arc<ActiveFault>]) -> io::Result<()> {
        let program = openings(faults).transpose().map_err(io::Error::other)?;
        sieve::put(&self.socket, program.as_deref())
            .map_err(|error| io::Error::new(error.kind(), format!("a socket filter failed: {error}")))
    }

    /// Stops listening at once and keeps the address. Connections that wait to be accepted are reset.
    pub(crate) fn refuse(&self) -> io::Result<()> {
        // On a listening socket the kernel takes this as the end of listening (tcp_disconnect), on Linux.
        self.socket.shutdown(Shutdown::Read)?;
        // An address that is bound for reuse, with nobody listening on it, could be taken by any other program.
        self.socket.set_reuse_address(false)
    }
}

fn bound(addr: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
    // Without it, an address whose last connections are in TIME_WAIT could not be bound again.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    // Those that are accepted from it have the same.
    socket::prepare(&socket);
    socket.bind(&addr.into())?;
    Ok(socket)
}

fn local(socket: &Socket) -> io::Result<SocketAddr> {
    socket.local_addr()?.as_socket().ok_or_else(|| io::Error::new(ErrorKind::Unsupported, "not an IP address"))
}

/// Takes one that waits, non-blocking from the first: with what `bound` set, one call in place of seven.
fn accept(listener: &Socket) -> io::Result<(std::net::TcpStream, Option<SocketAddr>)> {
    let (socket, from) = acceptfrom_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)?;
    Ok((socket.into(), from.and_then(|from| from.try_into().ok())))
}

/// The task that takes connections in, for as long as the port listens.
pub(crate) struct Acceptor {
    orders: Arc<Orders>,
    task: JoinHandle<()>,
}

/// What the accept loop is told.
#[derive(Default)]
struct Orders {
    faults: Mutex<Vec<Arc<ActiveFault>>>,
    changed: Notify,
    stop: CancellationToken,
}

impl Acceptor {
    pub(crate) fn start(port: &Port, shared: &Arc<Shared>, faults: &[Arc<ActiveFault>]) -> io::Result<Self> {
        // A registration of its own each time, for the runtime never forgets that a descriptor was shut down.
        #[expect(deprecated, reason = "sound for a socket: it names one descriptor and closes it only when dropped")]
        let socket = AsyncFd::new(port.socket.try_clone()?)?;
        let orders = Arc::new(Orders::default());
        let acceptor_loop = AcceptLoop {
            socket,
            addr: port.addr,
            shared: Arc::clone(shared),
            orders: Arc::clone(&orders),
            arrivals: Arrivals::default(),
            again: false,
            told: None,
        };
        let acceptor = Self { orders, task: tokio::spawn(acceptor_loop.run()) };
        acceptor.follow(faults);
        Ok(acceptor)
    }

    /// Works by these faults from now on.
    pub(crate) fn follow(&self, faults: &[Arc<ActiveFault>]) {
        let slow = faults.iter().filter(|fault| matches!(fault.kind(), FaultKind::SlowAccept(_)));
        *self.orders.faults.lock() = slow.cloned().collect();
        self.orders.changed.notify_one();
    }

    /// Tells the task to end. To be said before the port is shut down, which looks like endless arrivals to it.
    pub(crate) fn cancel(&self) {
        self.orders.stop.cancel();
    }

    /// Ends the task and waits for it; it waits for nobody.
    pub(crate) async fn end(mut self) {
        self.cancel();
        if let Err(error) = (&mut self.task).await {
            tracing::error!(%error, "the accept loop ended badly");
        }
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        self.orders.stop.cancel();
    }
}

struct AcceptLoop {
    socket: AsyncFd<Socket>,
    addr: SocketAddr,
    shared: Arc<Shared>,
    orders: Arc<Orders>,
    arrivals: Arrivals,
    /// Some wait that a shortage kept from being taken, of whom the socket will not tell again.
    again: bool,
    told: Option<Instant>,
}

impl AcceptLoop {
    async fn run(mut self) {
        let stop = self.orders.stop.clone();
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = self.serve() => {}
        }
    }

    async fn serve(&mut self) {
        loop {
            // A flood of connections must not keep other tasks, or the stop, waiting.
            consume_budget().await;
            let due = self.arrivals.due();
            let timer = &self.shared.plane.timer;
            let again = std::mem::take(&mut self.again);
            tokio::select! {
                biased;
                () = self.orders.changed.notified() => {}
                () = async { if let Some(due) = due { timer.sleep_until(due).await } }, if due.is_some() && !again => {}
                ready = self.socket.readable() => match ready {
                    Ok(mut ready) => ready.clear_ready(),
                    Err(error) => return tracing::error!(%error, addr = %self.addr, "the runtime is gone"),
                },
                () = tokio::time::sleep(SHORTAGE_PAUSE), if again => {}
            }
            let faults = self.orders.faults.lock().clone();
            self.arrivals.follow(&faults);
            if faults.is_empty() {
                while self.take().await {}
            } else {
                self.take_due().await;
            }
        }
    }

    /// Takes those whose time in the queue is over.
    async fn take_due(&mut self) {
        let now = Instant::now();
        // Where the kernel does not tell, each wake-up is taken for one more arrival.
        let waiting = socket::queues(self.addr, None).map_or(self.arrivals.len() + 1, |queues| queues.receive as usize);
        self.arrivals.note(waiting, now, || self.shared.new_mark());
        while self.arrivals.due().is_some_and(|due| due <= now) {
            if !self.take().await {
                return;
            }
        }
    }

    /// Takes one connection, if one waits; false when there is none.
    async fn take(&mut self) -> bool {
        consume_budget().await;
        let slot = self.slot().await;
        match accept(self.socket.get_ref()) {
            Ok((socket, from)) => {
                let mark = self.arrivals.taken(Instant::now()).unwrap_or_else(|| self.shared.new_mark());
                self.admit(socket, from, mark, slot);
                true
            }
            Err(error) => self.recover(&error),
        }
    }

    fn admit(
        &self,
        socket: std::net::TcpStream,
        from: Option<SocketAddr>,
        mark: Arc<crate::fault::ConnectionMark>,
        slot: Slot,
    ) {
        match (TcpStream::from_std(socket), from) {
            (Ok(stream), Some(from)) => self.shared.admit(stream, from, mark, slot),
            (Err(error), _) => tracing::warn!(%error, addr = %self.addr, "failed to take over a connection"),
            (_, None) => tracing::warn!(addr = %self.addr, "a connection from no IP address"),
        }
    }

    /// A slot. While there is none, connections wait in the listen queue.
    async fn slot(&mut self) -> Slot {
        match self.shared.plane.slots.try_take(slots::CONNECTION) {
            Ok(slot) => slot,
            Err(short) => {
                self.tell(&format!("{}: open connections go on, new ones wait in the listen queue", short.told()));
                self.shared.plane.slots.take(slots::CONNECTION).await
            }
        }
    }

    /// Whether to go on taking after this error.
    fn recover(&mut self, error: &io::Error) -> bool {
        match error.kind() {
            ErrorKind::WouldBlock => {
                self.arrivals.forget();
                false
            }
            ErrorKind::ConnectionAborted | ErrorKind::Interrupted => true,
            // The port was shut down; the stop comes next.
            ErrorKind::InvalidInput => false,
            _ => {
                self.tell(&format!("failed to accept: {error}; open connections go on, new ones wait"));
                self.again = true;
                false
            }
        }
    }

    fn tell(&mut self, what: &str) {
        let now = Instant::now();
        if self.told.is_none_or(|told| now - told >= TELL_EVERY) {
            self.told = Some(now);
            tracing::warn!(addr = %self.addr, "{what}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Port, accept};
    use socket2::SockRef;
    use std::time::Duration;

    #[test]
    fn what_is_accepted_does_not_block_and_is_prepared_as_the_listener_is() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let port = Port::bind(address.parse().unwrap()).unwrap();
            port.listen(8).unwrap();
            let client = std::net::TcpStream::connect(port.addr()).unwrap();
            let (accepted, from) = accept(&port.socket).unwrap();
            assert_eq!(from, Some(client.local_addr().unwrap()));
            let socket = SockRef::from(&accepted);
            assert!(socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap() && socket.nonblocking().unwrap());
            assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(60));
            assert_eq!(accept(&port.socket).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
        }
    }
}
