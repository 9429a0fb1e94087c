//! SIGINT, SIGTERM and SIGHUP: each asks the run to stop, and healing goes on. A second one only means hurry.

use squall_engine::run::stop::{Signal, Stop, StopReason};
use tokio::signal::unix::{SignalKind, signal};

/// Listens until the task is dropped.
///
/// # Errors
/// When the system lets no handler be set.
pub fn listen(stop: Stop) -> std::io::Result<tokio::task::JoinHandle<()>> {
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
            stop.stop(StopReason::Signal(signal));
        }
    }))
}
