//! The way in for datagrams: one bound socket, the task that reads it, and the sessions that it feeds.
//!
//! Above is `proxy/`, which says whether new sessions are taken; each is a task of `session.rs`. While none are taken,
//! datagrams of strangers are read and dropped, so that none lies in the kernel's queue for later.
//!
//! Answers leave from the bound address. Bound to a wildcard (`0.0.0.0`, `[::]`), the kernel chooses the source of an
//! answer, which on a machine with several addresses may not be the one that the client sent to.
//!
//! Invariant: the reading task waits for its socket only; the address is let go of when [`Door::close`] returns.

use super::{
    inbox::{Inbox, Put},
    session::{Seat, Session},
    socket,
};
use crate::{proxy::Shared, slots};
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    io::{self, ErrorKind},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use tokio::{
    net::UdpSocket,
    task::{JoinHandle, coop::consume_budget},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Datagrams that are read before other tasks get their turn.
const BURST: usize = 64;

/// How long to leave a socket alone that gives errors.
const PAUSE: Duration = Duration::from_millis(50);

/// A shortage is told once in so long.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// How long cancelled sessions may take to end; they end at once, so this only guards against a bug.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

/// The way in.
pub(crate) struct Door {
    hall: Arc<Hall>,
    reader: Option<JoinHandle<()>>,
}

/// What a door and its sessions share.
pub(super) struct Hall {
    pub(super) socket: UdpSocket,
    addr: SocketAddr,
    /// The kernel notes when datagrams come in.
    noted: AtomicBool,
    guests: Mutex<Guests>,
    tasks: TaskTracker,
    /// Sessions end as soon as nobody says anything any more.
    pub(super) retired: CancellationToken,
    /// Sessions end.
    pub(super) stop: CancellationToken,
}

/// Who is here, and whether others may come.
#[derive(Default)]
struct Guests {
    open: bool,
    // As many as `max_connections` at most.
    sessions: HashMap<SocketAddr, Arc<Inbox>>,
}

impl Door {
    /// Binds; nobody reads yet.
    pub(crate) fn bind(addr: SocketAddr) -> io::Result<Self> {
        let socket = socket::bind(addr)?;
        let hall = Hall {
            addr: socket.local_addr()?,
            socket,
            noted: AtomicBool::new(false),
            guests: Mutex::default(),
            tasks: TaskTracker::new(),
            retired: CancellationToken::new(),
            stop: CancellationToken::new(),
        };
        Ok(Self { hall: Arc::new(hall), reader: None })
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.hall.addr
    }

    /// Takes new sessions or takes none; those that are there go on either way. Where there are faults, they get to
    /// know when datagrams came in, which is before they are read.
    pub(crate) fn settle(&mut self, shared: &Arc<Shared>, open: bool, faulty: bool) {
        self.hall.guests.lock().open = open;
        if self.hall.noted.load(Relaxed) != faulty {
            self.hall.noted.store(socket::note_arrivals(&self.hall.socket, faulty), Relaxed);
        }
        self.reader.get_or_insert_with(|| {
            let reader = Reader { hall: Arc::clone(&self.hall), shared: Arc::clone(shared), told: None };
            tokio::spawn(reader.run())
        });
    }

    /// Takes no new sessions, and ends each that is there once it is quiet.
    pub(crate) fn retire(&self) {
        self.hall.guests.lock().open = false;
        self.hall.retired.cancel();
    }

    /// Ends the sessions and lets go of the address.
    pub(crate) async fn close(mut self) {
        self.hall.stop.cancel();
        if let Some(reader) = self.reader.take()
            && let Err(error) = reader.await
        {
            tracing::error!(%error, addr = %self.hall.addr, "the reader of datagrams ended badly");
        }
        self.hall.tasks.close();
        if tokio::time::timeout(CLOSE_LIMIT, self.hall.tasks.wait()).await.is_err() {
            tracing::error!(addr = %self.hall.addr, "sessions that were cancelled have not ended");
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.hall.stop.cancel();
    }
}

impl Hall {
    /// The session of this client has ended, unless another one has taken its place.
    pub(super) fn leave(&self, client: SocketAddr, inbox: &Arc<Inbox>) {
        let mut guests = self.guests.lock();
        if guests.sessions.get(&client).is_some_and(|current| Arc::ptr_eq(current, inbox)) {
            guests.sessions.remove(&client);
        }
    }
}

/// The task that reads the socket.
struct Reader {
    hall: Arc<Hall>,
    shared: Arc<Shared>,
    told: Option<Instant>,
}

impl Reader {
    async fn run(mut self) {
        let stop = self.hall.stop.clone();
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = self.read() => {}
        }
    }

    async fn read(&mut self) {
        loop {
            // A flood must not keep other tasks, or the stop, waiting.
            consume_budget().await;
            if let Err(error) = self.hall.socket.readable().await {
                return tracing::error!(%error, addr = %self.hall.addr, "the runtime is gone");
            }
            if let Err(error) = self.read_burst() {
                self.tell(&format!("failed to read datagrams: {error}; trying again"));
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    fn read_burst(&mut self) -> io::Result<()> {
        let hall = Arc::clone(&self.hall);
        let noted = hall.noted.load(Relaxed);
        for _ in 0..BURST {
            match socket::receive_from(&hall.socket, noted, |datagram, from, came| self.route(datagram, from, came)) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn route(&mut self, datagram: &[u8], from: SocketAddr, came: Instant) {
        let hall = Arc::clone(&self.hall);
        // Held while a session is let in, so that whoever closes the door and then ends all sessions ends this one.
        let mut guests = hall.guests.lock();
        let put = guests.sessions.get(&from).map_or(Put::Closed, |inbox| inbox.put(datagram, came));
        let begun = match put {
            Put::Taken => return,
            Put::Closed if guests.open => self.admit(&mut guests, datagram, from, came),
            Put::Closed | Put::Full => None,
        };
        drop(guests);
        match begun {
            // Not under the lock: a runtime that ends drops what is spawned, and a session that ends takes the lock.
            Some(session) => drop(tokio::spawn(session)),
            None => drop(self.shared.totals.datagrams_dropped.fetch_add(1, Relaxed)),
        }
    }

    /// Begins a session with its first datagram, if there is a slot for it.
    fn admit(
        &mut self,
        guests: &mut Guests,
        datagram: &[u8],
        from: SocketAddr,
        came: Instant,
    ) -> Option<impl Future<Output = ()> + Send + use<>> {
        let slot = match self.shared.plane.slots.try_take(slots::SESSION) {
            Ok(slot) => slot,
            Err(short) => {
                self.tell(&format!("{}: datagrams from new clients are dropped", short.told()));
                return None;
            }
        };
        let inbox = Arc::new(Inbox::default());
        // An empty inbox has room.
        inbox.put(datagram, came);
        guests.sessions.insert(from, Arc::clone(&inbox));
        let session = Box::new(Session::new(Seat::take(&self.shared, &self.hall, from, inbox, slot)));
        Some(self.shared.session_task(|stop| self.hall.tasks.track_future(session.run(stop))))
    }

    fn tell(&mut self, what: &str) {
        let now = Instant::now();
        if self.told.is_none_or(|told| now - told >= TELL_EVERY) {
            self.told = Some(now);
            tracing::warn!(addr = %self.hall.addr, "{what}");
        }
    }
}
