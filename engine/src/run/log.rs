//! What happened, in order: into memory, into the journal, to whoever listens. One writer, many listeners.
//!
//! A journal can be slow, or away: only an intent (to inject, or to do what is owed to be undone) waits for it, and not when the run has been asked to stop.
//! Everything else is written meanwhile, in order, so that no healing is late for it; `written` waits for that.
//!
//! Invariant: an intent is in the journal, or durably in its spool, when `tell` says so. A journal that fails stops the run.

use super::stop::{Stop, StopReason};
use crate::{
    event::{Event, What},
    experiment::Secrets,
    journal::Journal,
};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{Mutex, broadcast, oneshot},
    task::JoinSet,
    time::Instant,
};

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
    written: Mutex<Written>,
    /// One for each event that is not in the journal yet: tens at most, as steps and agents are.
    writing: parking_lot::Mutex<JoinSet<()>>,
}

/// How far the journal has come.
#[derive(Debug, Default)]
struct Written {
    events: usize,
    failed: bool,
}

impl Log {
    /// A log for the run with this id.
    #[must_use]
    pub fn new(run: String, started: Instant, journal: Journal, secrets: Secrets, stop: Stop) -> Self {
        let (listeners, _) = broadcast::channel(LISTENER_BACKLOG);
        Self {
            shared: Arc::new(Shared {
                run,
                started,
                journal,
                secrets,
                stop,
                events: Default::default(),
                listeners,
                written: Mutex::default(),
                writing: Default::default(),
            }),
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

    /// Tells the listeners, and writes it down; only an intent waits for that. False when an intent is not known to be
    /// written, because that failed or because the run has been asked to stop: then nothing may be injected on the
    /// strength of it.
    pub async fn tell(&self, what: What) -> bool {
        let Shared { stop, events, listeners, writing, secrets, .. } = &*self.shared;
        let is_waited_for = matches!(what, What::Intent { .. } | What::UndoOwed { .. });
        let event = Event { at: self.now(), what: redacted(what, secrets) };
        let so_far = {
            let mut events = events.lock();
            events.push(event.clone());
            // No listener is a normal state: a run without a screen.
            let _ = listeners.send(event);
            events.len()
        };
        let (done, is_done) = oneshot::channel();
        {
            let mut writing = writing.lock();
            while writing.try_join_next().is_some() {}
            writing.spawn(self.clone().write(so_far, done));
        }
        if !is_waited_for {
            return true;
        }
        tokio::select! {
            biased;
            () = stop.stopped() => false,
            written = is_done => written.unwrap_or(false),
        }
    }

    /// Waits until everything that was told is written, or has failed to be.
    pub async fn written(&self) {
        let mut writing = std::mem::take(&mut *self.shared.writing.lock());
        while writing.join_next().await.is_some() {}
    }

    /// Brings the events into the journal, in their order, up to this many.
    async fn write(self, so_far: usize, done: oneshot::Sender<bool>) {
        let Shared { run, journal, stop, events, written, .. } = &*self.shared;
        let mut written = written.lock().await;
        while written.events < so_far {
            let event = events.lock()[written.events].clone();
            if let Err(error) = journal.event(run, &event).await {
                tracing::error!(%error, "failed to write to the journal");
                stop.stop(StopReason::Failed(format!("the journal cannot be written: {error}")));
                written.failed = true;
            }
            written.events += 1;
        }
        // Who asked may have gone on, because of a stop.
        let _ = done.send(!written.failed);
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

#[cfg(test)]
mod tests {
    use super::{Log, Stop, StopReason};
    use crate::{
        event::{Phase, What},
        experiment::Secrets,
        journal::Journal,
        record::RunStart,
    };
    use sqlx::{Connection, SqliteConnection};
    use squall_wire::FaultSpec;
    use std::{path::Path, time::Duration};
    use tokio::time::{Instant, timeout};

    async fn log(path: &Path, stop: &Stop) -> (Log, Journal) {
        let journal = Journal::open(path).await.unwrap();
        let start: RunStart = serde_json::from_value(serde_json::json!({
            "id": "one", "experiment": "e", "hypothesis": "h", "owner": null, "tags": [],
            "source": {"path": "e.yaml", "text": ""}, "variables": {}, "environment": "sandbox", "agents": [],
            "started_at": "2026-01-01T00:00:00Z", "version": "0", "host": "here", "pid": 1,
            "recovery_within": {"secs": 1, "nanos": 0}, "recovery_hold": {"secs": 1, "nanos": 0},
        }))
        .unwrap();
        journal.start_run(&start).await.unwrap();
        (Log::new("one".into(), Instant::now(), journal.clone(), Secrets::default(), stop.clone()), journal)
    }

    fn intent() -> What {
        let fault = FaultSpec::of(serde_json::from_str(r#"{"latency": {"delay": "1s"}}"#).unwrap());
        What::Intent { step: "first".into(), agent: "main".into(), proxy: "payment".parse().unwrap(), fault }
    }

    #[tokio::test]
    async fn a_run_that_stops_does_not_wait_for_a_locked_journal_and_nothing_is_lost() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal.db");
        let stop = Stop::default();
        let (log, journal) = log(&path, &stop).await;
        let mut other = SqliteConnection::connect(&path.display().to_string()).await.unwrap();
        let lock = other.begin_with("BEGIN IMMEDIATE").await.unwrap();
        let telling = tokio::spawn({
            let log = log.clone();
            async move { log.tell(intent()).await }
        });
        while log.events().is_empty() {
            tokio::task::yield_now().await;
        }
        let quickly = Duration::from_secs(1);
        let heal = What::Phase { phase: Phase::Heal, lasting: None };
        assert!(timeout(quickly, log.tell(heal)).await.unwrap(), "only an intent waits");
        stop.stop(StopReason::Failed("enough".into()));
        assert!(!timeout(quickly, telling).await.unwrap().unwrap(), "it is not in the journal");
        assert!(!timeout(quickly, log.tell(intent())).await.unwrap(), "it is not in the journal");
        lock.rollback().await.unwrap();
        log.written().await;
        assert_eq!(journal.load("one").await.unwrap().events, log.events());
    }
}
