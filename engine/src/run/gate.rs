//! The gate before each step of the method: a person may shut it, and the run waits there until it is opened again.
//!
//! Faults of the step under way end as planned, traffic and probes go on, the leases are renewed. Neighbours: `method`
//! passes it, the live view shuts and opens it. Invariant: a stop passes the gate at once, and a gate that nobody
//! opens lets go after [`LONGEST`].

use super::{log::Log, stop::Stop};
use crate::event::What;
use std::{sync::Arc, time::Duration};
use tokio::sync::watch;

/// So long a run waits for a person at most.
pub const LONGEST: Duration = Duration::from_secs(30 * 60);

/// The gate of one run; clones share it.
#[derive(Debug, Clone)]
pub struct Gate {
    state: Arc<watch::Sender<State>>,
}

/// Whether it is shut, and whether the run stands before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum State {
    /// The run goes on.
    #[default]
    Open,
    /// It will wait before its next step.
    Shut,
    /// It waits.
    Waiting,
}

impl Default for Gate {
    fn default() -> Self {
        Self { state: Arc::new(watch::Sender::new(State::default())) }
    }
}

impl Gate {
    /// Shuts it, or opens it again; tells what it is now.
    pub fn turn(&self) -> State {
        self.state.send_modify(|state| *state = if *state == State::Open { State::Shut } else { State::Open });
        self.state()
    }

    /// What it is now.
    #[must_use]
    pub fn state(&self) -> State {
        *self.state.borrow()
    }

    /// Waits before this step while it is shut; what happens is told. Ends at once when the run is asked to stop.
    pub async fn pass(&self, step: &str, log: &Log, stop: &Stop) {
        let is_shut = self.state.send_if_modified(|state| {
            let shut = *state == State::Shut;
            if shut {
                *state = State::Waiting;
            }
            shut
        });
        if !is_shut {
            return;
        }
        let since = log.now();
        log.tell(What::Note { text: format!("paused by a person before the step “{step}”") }).await;
        let mut state = self.state.subscribe();
        let opened = async { while state.wait_for(|state| *state != State::Waiting).await.is_err() {} };
        tokio::select! {
            () = stop.stopped() => {}
            () = opened => {}
            () = tokio::time::sleep(LONGEST) => {}
        }
        self.state.send_replace(State::Open);
        let waited = log.now().saturating_sub(since).as_secs_f64();
        log.tell(What::Note { text: format!("goes on after a pause of {waited:.1} s") }).await;
    }
}
