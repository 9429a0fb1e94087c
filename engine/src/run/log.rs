//! What happened, in order: into memory, into the journal, to whoever listens. One writer, many listeners.
//!
//! Invariant: an event is in the journal when `tell` returns, unless the journal has failed, which stops the run.

use super::stop::{Stop, StopReason};
use crate::{
    event::{Event, What},
    experiment::Secrets,
    journal::Journal,
};
use std::{sync::Arc, time::Duration};
use tokio::{sync::broadcast, time::Instant};

/// Events that a slow listener may lag behind before it misses some; it is told how many.
const LISTENER_BACKLOG: usize = 1024;

/// The log of one run; clones share it.
#[derive(Debug, Clone)]
pub struct Log {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    run: String,
    started: Instant,
    journal: Journal,
    secrets: Secrets,
    stop: Stop,
    events: parking_lot::Mutex<Vec<Event>>,
    listeners: broadcast::Sender<Event>,
}

impl Log {
    /// A log for the run with this id.
    #[must_use]
    pub fn new(run: String, started: Instant, journal: Journal, secrets: Secrets, stop: Stop) -> Self {
        let (listeners, _) = broadcast::channel(LISTENER_BACKLOG);
        Self {
            shared: Arc::new(Shared { run, started, journal, secrets, stop, events: Default::default(), listeners }),
        }
    }

    /// Hears every event from now on.
    #[must_use]
    pub fn listen(&self) -> broadcast::Receiver<Event> {
        self.shared.listeners.subscribe()
    }

    /// Time since the run started.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.shared.started.elapsed()
    }

    /// Writes it down and tells the listeners. False when the journal could not take it: then the run stops, and
    /// nothing may be injected on the strength of it.
    pub async fn tell(&self, what: What) -> bool {
        let event = Event { at: self.now(), what: redacted(what, &self.shared.secrets) };
        self.shared.events.lock().push(event.clone());
        // No listener is a normal state: a run without a screen.
        let _ = self.shared.listeners.send(event.clone());
        match self.shared.journal.event(&self.shared.run, &event).await {
            Ok(()) => true,
            Err(error) => {
                tracing::error!(%error, "failed to write to the journal");
                self.shared.stop.stop(StopReason::Failed(format!("the journal cannot be written: {error}")));
                false
            }
        }
    }

    /// Everything so far.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        self.shared.events.lock().clone()
    }
}

/// Causes and measured texts can repeat what a system said, so they can repeat a secret.
fn redacted(what: What, secrets: &Secrets) -> What {
    match what {
        What::Failed { message } => What::Failed { message: secrets.redact(&message) },
        What::Note { text } => What::Note { text: secrets.redact(&text) },
        What::Breach { condition, measured } => What::Breach { condition, measured: secrets.redact(&measured) },
        What::HealFailed { agent, cause, remedy } => {
            What::HealFailed { agent, cause: secrets.redact(&cause), remedy: secrets.redact(&remedy) }
        }
        other => other,
    }
}
