//! SIGINT, SIGTERM and SIGHUP: each asks the run to stop, and only healing goes on.

use crate::exit::Failure;
use squall_engine::run::stop::{Signal, Stop, StopReason};
use std::sync::Arc;
use tokio::{
    signal::unix::{SignalKind, signal},
    task::JoinHandle,
};

/// Listens for several runs, one after the other or side by side, each with a stop switch of its own: what stopped one is
/// no reason to stop another, but for a signal, which is meant for all.
pub struct Listening {
    current: Arc<parking_lot::Mutex<Current>>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Current {
    /// The switches of all runs so far, those that are over included: to stop them again does nothing.
    stops: Vec<Stop>,
    caught: Option<Signal>,
}

impl Listening {
    /// Listens until it is dropped.
    pub fn start() -> Result<Self, Failure> {
        let current = Arc::new(parking_lot::Mutex::new(Current::default()));
        let hears = {
            let current = Arc::clone(&current);
            move |signal| current.lock().hear(signal)
        };
        let task = spawn(hears).map_err(|e| Failure::failed(format!("failed to listen for signals: {e}")))?;
        Ok(Self { current, task })
    }

    /// The switch of the next run; stopped already when a signal has come.
    pub fn next_stop(&self) -> Stop {
        self.current.lock().next()
    }

    /// The first signal that has come.
    pub fn caught(&self) -> Option<Signal> {
        self.current.lock().caught
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Current {
    fn hear(&mut self, signal: Signal) {
        self.caught.get_or_insert(signal);
        self.stops.iter().for_each(|stop| stop.stop(StopReason::Signal(signal)));
    }

    fn next(&mut self) -> Stop {
        let stop = Stop::default();
        if let Some(signal) = self.caught {
            stop.stop(StopReason::Signal(signal));
        }
        self.stops.push(stop.clone());
        stop
    }
}

/// Listens until the task is dropped.
///
/// # Errors
/// When the system lets no handler be set.
pub fn listen(stop: Stop) -> std::io::Result<JoinHandle<()>> {
    spawn(move |signal| stop.stop(StopReason::Signal(signal)))
}

fn spawn(hears: impl Fn(Signal) + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    let mut int = signal(SignalKind::interrupt())?;
    let mut term = signal(SignalKind::terminate())?;
    let mut hup = signal(SignalKind::hangup())?;
    Ok(tokio::spawn(async move {
        loop {
            let signal = tokio::select! {
                _ = int.recv() => Signal::Int,
                _ = term.recv() => Signal::Term,
                _ = hup.recv() => Signal::Hup,
            };
            hears(signal);
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::{Current, Signal, StopReason};

    #[test]
    fn what_stopped_one_run_does_not_stop_the_next_but_a_signal_does() {
        let mut current = Current::default();
        let first = current.next();
        first.stop(StopReason::Failed("its agent is gone".into()));
        let second = current.next();
        assert!(!second.is_stopped());
        current.hear(Signal::Int);
        assert_eq!(second.reason(), Some(StopReason::Signal(Signal::Int)));
        assert_eq!(first.reason(), Some(StopReason::Failed("its agent is gone".into())));
        let third = current.next();
        assert_eq!(third.reason(), Some(StopReason::Signal(Signal::Int)));
    }
}
