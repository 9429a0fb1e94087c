//! One session: the datagrams of one client address, through both lines, and a socket of its own to the upstream.
//!
//! ```text
//!  first datagram ──▶ reaching the upstream ──▶ relaying ──▶ idle for `udp_idle`, or told to end
//! ```
//! Made by `door.rs`, one task each, owned by the proxy's tracker; `line.rs` decides what becomes of a datagram. An
//! upstream that refuses (ICMP) is counted as an error, and the session goes on.
//!
//! Invariant: it ends when it is told to, whatever its peers do, and not while a fault holds something of it back.

use super::{
    door::Hall,
    inbox::Inbox,
    line::Line,
    plan::Plan,
    socket::{connect, note_arrivals, receive, refusal},
};
use crate::{
    fault::ConnectionMark,
    proxy::{Shared, Totals},
    reach,
    slots::Slot,
    socket::Call,
    traffic::Meter,
};
use std::{
    future::pending,
    io::{self, ErrorKind},
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};
use tokio::{
    io::Interest,
    net::UdpSocket,
    task::coop::consume_budget,
    time::{Sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

/// How long a session that is to end waits for another datagram: long enough for an answer that is under way.
const QUIET: Duration = Duration::from_secs(1);

/// How often a datagram is sent anew when the kernel tells of an earlier refusal in its place.
const RETRIES: usize = 3;

/// A session's place among the guests and in the roster, and its slot of `max_connections`; given back when dropped.
pub(super) struct Seat {
    id: u64,
    client: SocketAddr,
    inbox: Arc<Inbox>,
    plan: Arc<Plan>,
    mark: Arc<ConnectionMark>,
    hall: Arc<Hall>,
    shared: Arc<Shared>,
    _slot: Slot,
}

impl Seat {
    pub(super) fn take(
        shared: &Arc<Shared>,
        hall: &Arc<Hall>,
        client: SocketAddr,
        inbox: Arc<Inbox>,
        slot: Slot,
    ) -> Self {
        let mark = shared.new_mark();
        let (id, plan) = shared.begin_session(client.ip(), &mark);
        Self { id, client, inbox, plan, mark, hall: Arc::clone(hall), shared: Arc::clone(shared), _slot: slot }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let in_vain = self.inbox.close();
        self.shared.totals.datagrams_dropped.fetch_add(in_vain as u64, Relaxed);
        self.hall.leave(self.client, &self.inbox);
        self.shared.roster.lock().leave(self.id);
    }
}

/// One session between its first datagram and its end.
pub(super) struct Session {
    seat: Seat,
    up: Line,
    down: Line,
    /// The version of the plan that the lines follow.
    seen: u64,
    /// The kernel notes when answers come in.
    noted: bool,
    /// When a datagram came or went last.
    active: Instant,
    retiring: bool,
}

/// Why the loop woke.
enum Woke {
    /// Something is to be moved.
    Work,
    /// It may have been idle for long enough.
    Idle,
    /// It is to end once it is quiet.
    Retired,
}

impl Session {
    pub(super) fn new(seat: Seat) -> Self {
        let mark = &seat.mark;
        let budget = &seat.shared.plane.budget;
        Self {
            up: Line::new(true, budget, mark),
            down: Line::new(false, budget, mark),
            seat,
            seen: 0,
            noted: false,
            active: Instant::now(),
            retiring: false,
        }
    }

    pub(super) async fn run(mut self: Box<Self>, stop: CancellationToken) {
        let closed = self.seat.hall.stop.clone();
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = closed.cancelled() => {}
            () = self.serve() => {}
        }
    }

    async fn serve(&mut self) {
        let shared = Arc::clone(&self.seat.shared);
        let (target, limits) = (shared.upstream(), &shared.plane.limits);
        let call = Call { target: &target, only: None, rules: &limits.upstreams, own: shared.listen() };
        match Box::pin(connect(call, limits.dial_timeout)).await {
            Ok(upstream) => self.relay(&upstream).await,
            Err(error) => {
                reach::tell_unreached(&shared, &error);
                shared.totals.connection_errors.fetch_add(1, Relaxed);
                self.seat.mark.meter.fail();
            }
        }
    }

    async fn relay(&mut self, upstream: &UdpSocket) {
        let mut idle = Box::pin(sleep_until((self.active + self.patience()).into()));
        loop {
            // A busy session must not keep its stop and all other tasks of this thread waiting.
            consume_budget().await;
            if self.turn(upstream) {
                continue;
            }
            match self.wait(upstream, idle.as_mut()).await {
                Woke::Work => {}
                Woke::Idle => match self.ends_at() {
                    None => return,
                    Some(at) => idle.as_mut().reset(at.into()),
                },
                Woke::Retired => {
                    self.retiring = true;
                    idle.as_mut().reset((self.active + QUIET).into());
                }
            }
        }
    }

    /// Moves what can be moved now, within bounds; answers whether more waits in the inbox.
    fn turn(&mut self, upstream: &UdpSocket) -> bool {
        self.follow_plan(upstream, Instant::now());
        while self.up.has_room()
            && let Some((arrived, datagram)) = self.seat.inbox.take()
        {
            self.active = arrived;
            self.seat.mark.meter.receive(true, datagram.len());
            self.up.push(datagram, arrived);
        }
        self.read(upstream);
        let now = Instant::now();
        self.up.advance(now);
        self.down.advance(now);
        let Seat { hall, client, mark, shared, .. } = &self.seat;
        let (totals, meter) = (&shared.totals, &mark.meter);
        let sent = [
            flush(&mut self.up, true, (meter, totals), |datagram| upstream.try_send(datagram)),
            flush(&mut self.down, false, (meter, totals), |datagram| hall.socket.try_send_to(datagram, *client)),
        ];
        if sent.contains(&true) {
            self.active = now;
        }
        self.up.has_room() && !self.seat.inbox.is_empty()
    }

    fn follow_plan(&mut self, upstream: &UdpSocket, now: Instant) {
        let version = self.seat.plan.version();
        if version != self.seen {
            self.seen = version;
            let faults = self.seat.plan.faults();
            self.up.follow(&faults, now);
            self.down.follow(&faults, now);
            if self.noted == faults.is_empty() {
                self.noted = note_arrivals(upstream, !faults.is_empty());
            }
        }
    }

    /// Reads answers, and refusals, as far as there is room for them.
    fn read(&mut self, upstream: &UdpSocket) {
        let (totals, meter) = (&self.seat.shared.totals, &self.seat.mark.meter);
        while let Some(error) = refusal(upstream) {
            note_refusal((meter, totals), &error);
        }
        while self.down.has_room() {
            match receive(upstream, self.noted) {
                Ok((datagram, came)) => {
                    self.active = came;
                    meter.receive(false, datagram.len());
                    self.down.push(datagram, came);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    note_refusal((meter, totals), &error);
                    return;
                }
            }
        }
    }

    async fn wait(&self, upstream: &UdpSocket, idle: Pin<&mut Sleep>) -> Woke {
        let wake = [self.up.next_wake(), self.down.next_wake()].into_iter().flatten().min();
        let Seat { inbox, plan, hall, .. } = &self.seat;
        tokio::select! {
            biased;
            () = plan.changed() => Woke::Work,
            () = hall.retired.cancelled(), if !self.retiring => Woke::Retired,
            () = self.sleep_until(wake), if wake.is_some() => Woke::Work,
            _ = upstream.writable(), if self.up.front().is_some() => Woke::Work,
            _ = hall.socket.writable(), if self.down.front().is_some() => Woke::Work,
            () = inbox.filled(), if self.up.has_room() => Woke::Work,
            _ = upstream.ready(Interest::READABLE | Interest::ERROR), if self.down.has_room() => Woke::Work,
            () = idle => Woke::Idle,
        }
    }

    async fn sleep_until(&self, wake: Option<Instant>) {
        match wake {
            Some(wake) => self.seat.shared.plane.timer.sleep_until(wake).await,
            None => pending().await,
        }
    }

    /// How long nobody says anything before it ends.
    fn patience(&self) -> Duration {
        let idle = self.seat.shared.plane.limits.udp_idle;
        if self.retiring { idle.min(QUIET) } else { idle }
    }

    /// When to ask again whether it ends; none, when it ends now.
    fn ends_at(&self) -> Option<Instant> {
        let (now, end) = (Instant::now(), self.active + self.patience());
        if end > now {
            return Some(end);
        }
        let held = !(self.up.is_empty() && self.down.is_empty());
        (held || !self.seat.inbox.close_if_empty()).then(|| now + self.patience())
    }
}

/// What ICMP told of a datagram that was sent.
fn note_refusal((meter, totals): (&Meter, &Totals), error: &io::Error) {
    tracing::debug!(%error, "the upstream did not take a datagram");
    meter.fail();
    totals.connection_errors.fetch_add(1, Relaxed);
}

/// Sends what the socket takes; answers whether anything went.
fn flush(
    line: &mut Line,
    upstream: bool,
    (meter, totals): (&Meter, &Totals),
    send: impl Fn(&[u8]) -> io::Result<usize>,
) -> bool {
    let (mut sent, mut refused) = (false, 0);
    while let Some(datagram) = line.front() {
        match send(datagram) {
            Ok(bytes) => {
                meter.deliver(upstream, bytes);
                totals.datagrams[usize::from(!upstream)].fetch_add(1, Relaxed);
                sent = true;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == ErrorKind::ConnectionRefused && refused < RETRIES => {
                // The kernel tells of an earlier datagram, and has not sent this one.
                note_refusal((meter, totals), &error);
                refused += 1;
                continue;
            }
            Err(error) => {
                // Too large for that network, or no way there: it is lost, as it would be without us.
                tracing::debug!(%error, "failed to send a datagram");
                meter.fail();
                totals.connection_errors.fetch_add(1, Relaxed);
                totals.datagrams_dropped.fetch_add(1, Relaxed);
            }
        }
        refused = 0;
        line.pop();
    }
    totals.datagrams_dropped.fetch_add(line.take_dropped(), Relaxed);
    sent
}
