//! Idempotency: the same key gives the same answer once.
//!
//! Two layers. Answers that are final are stored in the database under their key (`store.rs`, with a unique
//! constraint underneath, so that even two processes make one order). Here is the other: requests under way. A
//! second one with the same key waits for the first and shares its answer; with another body it is a conflict.
//!
//! Invariant: at most one request leads for a key at a time; a leader that is dropped frees its key.

use parking_lot::Mutex;
use std::{collections::HashMap, sync::Arc};
use tokio::sync::watch;

/// What a key must look like: 1 to 128 visible characters.
pub(crate) fn is_valid_key(key: &str) -> bool {
    (1..=128).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic())
}

struct Entry<A> {
    fingerprint: String,
    answer: watch::Receiver<Option<A>>,
}

type Entries<A> = Arc<Mutex<HashMap<String, Entry<A>>>>;

/// The keys of requests under way; as many as there are request slots, at most.
pub(crate) struct InFlight<A> {
    entries: Entries<A>,
}

/// What a request is for its key.
pub(crate) enum Claim<A> {
    /// The first: it does the work.
    Lead(Lead<A>),
    /// A repeat of one that is under way: it waits for that one's answer.
    Follow(watch::Receiver<Option<A>>),
    /// The key is in use for something else.
    OtherBody,
}

impl<A: Clone> InFlight<A> {
    pub(crate) fn new() -> Self {
        Self { entries: Arc::default() }
    }

    /// Claims a key for a request whose content is `fingerprint`.
    pub(crate) fn claim(&self, key: &str, fingerprint: &str) -> Claim<A> {
        let mut entries = self.entries.lock();
        match entries.get(key) {
            Some(entry) if entry.fingerprint == fingerprint => Claim::Follow(entry.answer.clone()),
            Some(_) => Claim::OtherBody,
            None => {
                let (sender, answer) = watch::channel(None);
                entries.insert(key.to_owned(), Entry { fingerprint: fingerprint.to_owned(), answer });
                Claim::Lead(Lead { entries: Arc::clone(&self.entries), key: key.to_owned(), sender })
            }
        }
    }
}

/// The right to do the work for a key. Dropped without an answer, those who wait learn that there is none.
pub(crate) struct Lead<A> {
    entries: Entries<A>,
    key: String,
    sender: watch::Sender<Option<A>>,
}

impl<A> Lead<A> {
    /// Gives the answer to all who wait.
    pub(crate) fn finish(self, answer: A) {
        self.sender.send_replace(Some(answer));
    }
}

impl<A> Drop for Lead<A> {
    fn drop(&mut self) {
        self.entries.lock().remove(&self.key);
    }
}

/// The leader's answer; nothing if it was given up.
pub(crate) async fn follow<A: Clone>(mut answer: watch::Receiver<Option<A>>) -> Option<A> {
    answer.wait_for(Option::is_some).await.ok().and_then(|answer| answer.clone())
}

#[cfg(test)]
mod tests {
    use super::{Claim, InFlight, Lead, follow, is_valid_key};

    fn lead(keys: &InFlight<u16>, key: &str) -> Lead<u16> {
        match keys.claim(key, "body") {
            Claim::Lead(lead) => lead,
            Claim::Follow(_) | Claim::OtherBody => panic!("the key is free"),
        }
    }

    #[tokio::test]
    async fn a_second_request_waits_and_gets_the_first_ones_answer() {
        let keys = InFlight::new();
        let first = lead(&keys, "k");
        let Claim::Follow(second) = keys.claim("k", "body") else { panic!("the key is taken") };
        let (answer, ()) = tokio::join!(follow(second), async { first.finish(201) });
        assert_eq!(answer, Some(201));
    }

    #[tokio::test]
    async fn a_leader_that_is_dropped_frees_the_key_and_tells_those_who_wait() {
        let keys = InFlight::new();
        let first = lead(&keys, "k");
        let Claim::Follow(second) = keys.claim("k", "body") else { panic!("the key is taken") };
        drop(first);
        assert_eq!(follow(second).await, None);
        lead(&keys, "k").finish(201);
    }

    #[test]
    fn another_body_under_the_same_key_is_a_conflict() {
        let keys = InFlight::new();
        let _first = lead(&keys, "k");
        assert!(matches!(keys.claim("k", "other"), Claim::OtherBody));
        assert!(matches!(keys.claim("k2", "other"), Claim::Lead(_)));
    }

    #[test]
    fn keys_are_short_and_visible() {
        assert!(is_valid_key("018f-a"));
        for bad in ["", "a b", "ü", &"x".repeat(129)] {
            assert!(!is_valid_key(bad), "{bad}");
        }
    }
}
