//! Why and when a run must stop before its method is done. The first reason counts; everything that waits, waits
//! here as well, so that a stop pre-empts it.

use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// Why a run stops early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StopReason {
    /// An abort condition was met.
    Abort {
        /// The condition as text.
        condition: String,
        /// What was measured.
        measured: String,
    },
    /// A signal or a person.
    Signal(Signal),
    /// A question was answered with `stop`.
    Answered {
        /// The step that asked.
        step: String,
        /// Who answered, or why the default was taken.
        by: String,
    },
    /// Something failed.
    Failed(String),
}

/// The signals that end a run in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Ctrl-C.
    Int,
    /// The system asks it to end.
    Term,
    /// The terminal has gone.
    Hup,
}

impl Signal {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Int => "SIGINT",
            Self::Term => "SIGTERM",
            Self::Hup => "SIGHUP",
        }
    }

    /// The exit code of a process that it ended: 128 and its number.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Int => 130,
            Self::Term => 143,
            Self::Hup => 129,
        }
    }
}

/// The run's one stop switch; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    token: CancellationToken,
    reason: Arc<parking_lot::Mutex<Option<StopReason>>>,
    hurry: CancellationToken,
}

impl Stop {
    /// Asks the run to stop. The first reason is kept. A signal also means hurry: only healing goes on.
    pub fn stop(&self, reason: StopReason) {
        let is_signal = matches!(reason, StopReason::Signal(_));
        self.reason.lock().get_or_insert(reason);
        if is_signal {
            self.hurry.cancel();
        }
        self.token.cancel();
    }

    /// Why it was asked to stop, if it was.
    #[must_use]
    pub fn reason(&self) -> Option<StopReason> {
        self.reason.lock().clone()
    }

    /// Whether it was asked to stop.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Ends when it is asked to stop.
    pub async fn stopped(&self) {
        self.token.cancelled().await;
    }

    /// Whether somebody wants it to end: only healing goes on.
    #[must_use]
    pub fn is_impatient(&self) -> bool {
        self.hurry.is_cancelled()
    }

    /// What comes of this, or none when the run is asked to stop before: then it is dropped, and nobody waits for it.
    pub async fn unless<T>(&self, action: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.token.cancelled() => None,
            outcome = action => Some(outcome),
        }
    }

    /// Waits so long, or until it is asked to stop; true when the time was waited out.
    pub async fn wait(&self, lasting: Duration) -> bool {
        tokio::select! {
            () = self.token.cancelled() => false,
            () = tokio::time::sleep(lasting) => true,
        }
    }

    /// Waits so long although it was asked to stop, unless by somebody who wants it to end.
    pub async fn wait_patiently(&self, lasting: Duration) -> bool {
        tokio::select! {
            () = self.hurry.cancelled() => false,
            () = tokio::time::sleep(lasting) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Signal, Stop, StopReason};

    #[tokio::test(start_paused = true)]
    async fn the_first_reason_counts_and_a_signal_means_hurry() {
        let stop = Stop::default();
        stop.stop(StopReason::Failed("first".into()));
        assert!(!stop.is_impatient());
        stop.stop(StopReason::Signal(Signal::Int));
        assert_eq!(stop.reason(), Some(StopReason::Failed("first".into())));
        assert!(stop.is_impatient());
        assert!(!stop.wait_patiently(std::time::Duration::from_secs(1)).await);
    }
}
