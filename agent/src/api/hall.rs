//! Who is connected to the API, and who has to go when there are too many: of one host, or altogether.
//!
//! Whoever does nothing is let go first, oldest first; so a host that opens connections and says nothing keeps nobody
//! out, and clients that keep idle connections for later lose those alone. Neighbours: `server` asks for each connection.
//! Invariant: no request that is under way is cut for a newcomer, and one host has at most its share.

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Bits of an IPv6 address that one host may choose from as it likes.
const OF_HOST: u32 = 64;

/// All connections to the API.
#[derive(Debug)]
pub(super) struct Hall {
    /// Connections at once.
    most: usize,
    guests: Mutex<Guests>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct Guests {
    next: u64,
    // `Hall::most` at most, by the order of their arrival.
    seated: BTreeMap<u64, Guest>,
    /// Told to go, and not gone yet; they hold what they hold.
    leaving: usize,
}

#[derive(Debug)]
struct Guest {
    host: IpAddr,
    /// Requests that are being answered.
    busy: Arc<AtomicUsize>,
    leave: CancellationToken,
}

/// A connection's place, given back when dropped.
#[derive(Debug)]
pub(super) struct Seat {
    id: u64,
    hall: Arc<Hall>,
    busy: Arc<AtomicUsize>,
    /// Cancelled when another needs the place.
    pub(super) leave: CancellationToken,
}

/// A request that is being answered, until dropped.
#[derive(Debug)]
pub(super) struct Busy(Arc<AtomicUsize>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// A body that keeps its connection busy until it is sent.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) body: Body,
    pub(super) _busy: Busy,
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Seat {
    /// For each request to say that it is being answered.
    pub(super) fn bell(&self) -> impl Fn() -> Busy + Clone + Send + use<> {
        let busy = Arc::clone(&self.busy);
        move || {
            busy.fetch_add(1, Relaxed);
            Busy(Arc::clone(&busy))
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut guests = self.hall.guests.lock();
        if guests.seated.remove(&self.id).is_none() {
            guests.leaving -= 1;
        }
        drop(guests);
        self.hall.freed.notify_one();
    }
}

impl Hall {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most: most.max(1), guests: Mutex::default(), freed: Notify::new() })
    }

    /// A place for a connection from there; waits for one while all are busy. None where its host has its share, all of it
    /// busy.
    pub(super) async fn enter(self: &Arc<Self>, from: IpAddr) -> Option<Seat> {
        let host = host_of(from);
        loop {
            // Before the look, so that what is given back meanwhile is not missed.
            let freed = self.freed.notified();
            match self.try_enter(host) {
                Entry::Seated(seat) => return Some(seat),
                Entry::Refused => return None,
                Entry::Full => freed.await,
            }
        }
    }

    fn try_enter(self: &Arc<Self>, host: IpAddr) -> Entry {
        let mut guests = self.guests.lock();
        let of_host = guests.seated.values().filter(|guest| guest.host == host).count();
        // Where there is but one place, one host may have it.
        if of_host >= self.share() && !guests.let_go(|guest| guest.host == host) {
            return Entry::Refused;
        }
        if guests.seated.len() + guests.leaving >= self.most {
            // One that leaves gives its place back in a moment.
            if guests.leaving == 0 {
                guests.let_go(|_| true);
            }
            return Entry::Full;
        }
        let (id, busy, leave) = (guests.next, Arc::default(), CancellationToken::new());
        guests.next += 1;
        guests.seated.insert(id, Guest { host, busy: Arc::clone(&busy), leave: leave.clone() });
        Entry::Seated(Seat { id, hall: Arc::clone(self), busy, leave })
    }

    /// How many connections one host may have.
    fn share(&self) -> usize {
        (self.most - self.most / 4).max(1)
    }
}

enum Entry {
    Seated(Seat),
    Full,
    Refused,
}

impl Guests {
    /// Tells the oldest idle one of these to go; false when all are busy.
    fn let_go(&mut self, of: impl Fn(&Guest) -> bool) -> bool {
        let idle = |(_, guest): &(&u64, &Guest)| of(guest) && guest.busy.load(Relaxed) == 0;
        let Some(id) = self.seated.iter().find(idle).map(|(id, _)| *id) else { return false };
        if let Some(guest) = self.seated.remove(&id) {
            self.leaving += 1;
            guest.leave.cancel();
        }
        true
    }
}

/// An IPv6 host has a whole network of addresses to come from.
fn host_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> OF_HOST << OF_HOST).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::{Hall, Seat};
    use futures::FutureExt;
    use std::{net::IpAddr, sync::Arc};

    fn enter(hall: &Arc<Hall>, from: &str) -> Option<Option<Seat>> {
        hall.enter(from.parse::<IpAddr>().unwrap()).now_or_never()
    }

    #[test]
    fn a_host_over_its_share_loses_its_own_oldest_idle_connection() {
        let hall = Hall::new(8);
        let mine: Vec<_> = (0..6).map(|_| enter(&hall, "10.0.0.1").unwrap().unwrap()).collect();
        let busy = mine[0].bell()();
        let other = enter(&hall, "10.0.0.2").unwrap().unwrap();
        let _seventh = enter(&hall, "10.0.0.1").unwrap().unwrap();
        let gone: Vec<_> = mine.iter().map(|seat| seat.leave.is_cancelled()).collect();
        assert_eq!(gone, [false, true, false, false, false, false], "the oldest that is not busy");
        assert!(!other.leave.is_cancelled());
        drop(busy);
    }

    #[test]
    fn a_host_whose_connections_are_all_busy_gets_no_more_and_others_do() {
        let hall = Hall::new(4);
        let mine: Vec<_> = (0..3).map(|_| enter(&hall, "2001:db8::1").unwrap().unwrap()).collect();
        let _busy: Vec<_> = mine.iter().map(|seat| seat.bell()()).collect();
        assert!(enter(&hall, "2001:db8::2").unwrap().is_none(), "it is of the same network");
        assert!(enter(&hall, "2001:db9::1").unwrap().is_some());
    }

    #[test]
    fn a_newcomer_takes_the_place_of_an_idle_one_and_waits_for_a_busy_one() {
        let hall = Hall::new(2);
        let one = enter(&hall, "10.0.0.1").unwrap().unwrap();
        let two = enter(&hall, "10.0.0.2").unwrap().unwrap();
        let busy = (one.bell()(), two.bell()());
        let mut waiting = Box::pin(hall.enter("10.0.0.3".parse().unwrap()));
        assert!((&mut waiting).now_or_never().is_none() && !one.leave.is_cancelled());
        drop((busy, two));
        let three = waiting.now_or_never().unwrap().unwrap();
        let mut waiting = Box::pin(hall.enter("10.0.0.4".parse().unwrap()));
        assert!((&mut waiting).now_or_never().is_none(), "until the one that was told to go is gone");
        assert!(one.leave.is_cancelled() && !three.leave.is_cancelled());
        drop(one);
        assert!(waiting.now_or_never().unwrap().is_some());
    }
}
