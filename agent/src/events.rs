//! The bus of one agent: every change is put on it once, and whoever follows the agent reads it from there.
//!
//! ```text
//! registry::audit ──publish──▶ Events ──▶ Subscription ──▶ an event stream, a test
//!                                 └─ the last ones are kept, for who comes back
//! ```
//! Neighbours: `registry::audit` publishes changes, `sampler` sums up what happens too often to be told each time.
//! Invariant: publishing never waits. A subscriber that is too slow loses the oldest events, and is told how many.

use parking_lot::Mutex;
use squall_wire::{Event, EventKind, FaultName, LeaseId, ProxyName};
use std::{collections::VecDeque, sync::Arc};
use tokio::sync::{
    OwnedSemaphorePermit, Semaphore,
    broadcast::{self, error::RecvError},
};

/// Events that wait for a slow subscriber, and that are kept for one who comes back; the oldest go first.
const CAPACITY: usize = 1024;

/// Subscribers at once: each may hold a connection of the API for long.
pub const MAX_SUBSCRIBERS: usize = 32;

/// What happened; the bus adds number and time.
#[derive(Debug, Clone)]
pub(crate) struct News {
    pub(crate) kind: EventKind,
    pub(crate) proxy: Option<ProxyName>,
    pub(crate) fault: Option<FaultName>,
    pub(crate) lease: Option<LeaseId>,
    pub(crate) who: String,
    pub(crate) from: String,
    pub(crate) detail: Option<String>,
}

/// What happened so often since it was last told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) kind: EventKind,
    pub(crate) proxy: ProxyName,
    pub(crate) fault: Option<FaultName>,
    pub(crate) lease: Option<LeaseId>,
    pub(crate) count: u64,
    pub(crate) detail: Option<String>,
}

/// The bus.
#[derive(Debug)]
pub struct Events {
    line: Mutex<Line>,
    seats: Arc<Semaphore>,
}

#[derive(Debug)]
struct Line {
    last: u64,
    recent: VecDeque<Arc<Event>>,
    /// None once the agent has shut down.
    sender: Option<broadcast::Sender<Arc<Event>>>,
}

/// What a subscriber gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// The next event.
    Event(Arc<Event>),
    /// So many were lost, because they were not taken in time.
    Missed(u64),
}

/// One who follows the agent; its seat is free again when it is dropped.
#[derive(Debug)]
pub struct Subscription {
    backlog: VecDeque<Received>,
    receiver: broadcast::Receiver<Arc<Event>>,
    _seat: OwnedSemaphorePermit,
}

impl Events {
    pub(crate) fn new() -> Arc<Self> {
        let line = Line { last: 0, recent: VecDeque::new(), sender: Some(broadcast::Sender::new(CAPACITY)) };
        Arc::new(Self { line: Mutex::new(line), seats: Arc::new(Semaphore::new(MAX_SUBSCRIBERS)) })
    }

    /// Tells everybody, in one order for all.
    pub(crate) fn publish(&self, news: News) {
        let mut line = self.line.lock();
        let Some(sender) = line.sender.clone() else { return };
        line.last += 1;
        let News { kind, proxy, fault, lease, who, from, detail } = news;
        let at = jiff::Timestamp::now().to_string();
        let event = Arc::new(Event { id: line.last, at, kind, proxy, fault, lease, who, from, count: None, detail });
        if line.recent.len() == CAPACITY {
            line.recent.pop_front();
        }
        line.recent.push_back(Arc::clone(&event));
        // Nobody may be listening.
        let _ = sender.send(event);
    }

    /// Tells those who follow the agent now what happened so often since it was last told. It is not kept.
    pub(crate) fn publish_sample(&self, sample: Sample) {
        let line = self.line.lock();
        let Some(sender) = line.sender.as_ref().filter(|sender| sender.receiver_count() > 0) else { return };
        let Sample { kind, proxy, fault, lease, count, detail } = sample;
        let (at, by) = (jiff::Timestamp::now().to_string(), "agent".to_owned());
        let (proxy, count) = (Some(proxy), Some(count));
        let event = Event { id: line.last, at, kind, proxy, fault, lease, who: by.clone(), from: by, count, detail };
        // The last of them may have gone meanwhile.
        let _ = sender.send(Arc::new(event));
    }

    /// Follows the agent from now on, or from the event after the one with this id. None when all seats are taken or
    /// the agent has shut down.
    #[must_use]
    pub fn subscribe(&self, after: Option<u64>) -> Option<Subscription> {
        let seat = Arc::clone(&self.seats).try_acquire_owned().ok()?;
        let line = self.line.lock();
        let receiver = line.sender.as_ref()?.subscribe();
        let backlog = after.map(|after| line.since(after)).unwrap_or_default();
        Some(Subscription { backlog, receiver, _seat: seat })
    }

    /// Nothing comes any more: every subscription ends when it has been read out.
    pub(crate) fn close(&self) {
        self.line.lock().sender = None;
    }
}

impl Line {
    /// Those that came after the event with this id; an id from another life of the agent counts as 0.
    fn since(&self, after: u64) -> VecDeque<Received> {
        let after = if after > self.last { 0 } else { after };
        let kept_from = self.recent.front().map_or(self.last + 1, |event| event.id);
        let missed = kept_from.saturating_sub(after + 1);
        let lost = (missed > 0).then_some(Received::Missed(missed));
        let kept = self.recent.iter().filter(|event| event.id > after).cloned().map(Received::Event);
        lost.into_iter().chain(kept).collect()
    }
}

impl Subscription {
    /// The next thing; None when the agent has shut down. May be given up while it waits, and asked again.
    pub async fn next(&mut self) -> Option<Received> {
        if let Some(kept) = self.backlog.pop_front() {
            return Some(kept);
        }
        match self.receiver.recv().await {
            Ok(event) => Some(Received::Event(event)),
            Err(RecvError::Lagged(missed)) => Some(Received::Missed(missed)),
            Err(RecvError::Closed) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{CAPACITY, Events, MAX_SUBSCRIBERS, News, Received, Subscription};
    use squall_wire::EventKind;

    fn news(detail: usize) -> News {
        News {
            kind: EventKind::Resumed,
            proxy: None,
            fault: None,
            lease: None,
            who: "ann".into(),
            from: "127.0.0.1:1".into(),
            detail: Some(detail.to_string()),
        }
    }

    async fn id(subscription: &mut Subscription) -> u64 {
        match subscription.next().await {
            Some(Received::Event(event)) => event.id,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn every_subscriber_gets_every_event_once_and_in_order() {
        let events = Events::new();
        let (mut a, mut b) = (events.subscribe(None).unwrap(), events.subscribe(None).unwrap());
        (0..3).for_each(|n| events.publish(news(n)));
        for subscription in [&mut a, &mut b] {
            assert_eq!([id(subscription).await, id(subscription).await, id(subscription).await], [1, 2, 3]);
        }
        events.close();
        assert_eq!((a.next().await, b.next().await), (None, None));
        assert!(events.subscribe(None).is_none());
    }

    #[tokio::test]
    async fn who_comes_back_gets_what_came_meanwhile() {
        let events = Events::new();
        (0..5).for_each(|n| events.publish(news(n)));
        let mut back = events.subscribe(Some(3)).unwrap();
        events.publish(news(6));
        assert_eq!([id(&mut back).await, id(&mut back).await, id(&mut back).await], [4, 5, 6]);
        // An id that this agent never gave is one of the agent that ran before.
        assert_eq!(id(&mut events.subscribe(Some(99)).unwrap()).await, 1);
    }

    #[tokio::test]
    async fn who_is_too_slow_is_told_how_many_were_lost() {
        let events = Events::new();
        let mut slow = events.subscribe(None).unwrap();
        (0..CAPACITY + 7).for_each(|n| events.publish(news(n)));
        assert_eq!(slow.next().await, Some(Received::Missed(7)));
        assert_eq!(id(&mut slow).await, 8);
        let mut back = events.subscribe(Some(2)).unwrap();
        assert_eq!(back.next().await, Some(Received::Missed(5)));
        assert_eq!(id(&mut back).await, 8);
    }

    #[tokio::test]
    async fn a_sample_is_told_to_those_who_listen_and_not_kept() {
        let events = Events::new();
        let sample = || super::Sample {
            kind: EventKind::FaultHit,
            proxy: "db".parse().unwrap(),
            fault: None,
            lease: None,
            count: 3,
            detail: None,
        };
        events.publish_sample(sample());
        events.publish(news(0));
        let mut bus = events.subscribe(None).unwrap();
        events.publish_sample(sample());
        let Some(Received::Event(event)) = bus.next().await else { panic!("the sample") };
        assert_eq!((event.id, event.kind, event.count), (1, EventKind::FaultHit, Some(3)));
        events.publish(news(1));
        assert_eq!(id(&mut bus).await, 2, "a sample takes no id");
        assert_eq!(id(&mut events.subscribe(Some(1)).unwrap()).await, 2, "nor a place");
    }

    #[test]
    fn there_are_so_many_seats_and_each_is_free_again() {
        let events = Events::new();
        let mut all: Vec<_> = (0..MAX_SUBSCRIBERS).map(|_| events.subscribe(None).unwrap()).collect();
        assert!(events.subscribe(None).is_none());
        all.pop();
        assert!(events.subscribe(None).is_some());
    }
}
