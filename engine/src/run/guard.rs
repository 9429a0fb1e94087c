//! Watches `abort_when` on its own task, over sliding windows, from the first fault on. A breach stops the run at once.
//!
//! It only decides and asks to stop; whoever waits is woken by that, and healing follows without another wait.

use super::{
    log::Log,
    stop::{Stop, StopReason},
};
use crate::{event::What, experiment::AbortRow, judge, recorder::Recorder};
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// How often the windows are looked at: with healing, well under the 250 ms that an abort may take.
const PACE: Duration = Duration::from_millis(25);

/// Watches until a breach, or until it is cancelled.
pub(super) async fn watch(
    rows: Vec<AbortRow>,
    baselines: judge::Baselines,
    recorder: Arc<Recorder>,
    log: Log,
    stop: Stop,
    done: CancellationToken,
) {
    let since = log.now();
    let mut pace = tokio::time::interval(PACE);
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = done.cancelled() => return,
            _ = pace.tick() => {}
        }
        let now = log.now();
        let breach = rows.iter().find_map(|row| judge::breach(row, &recorder, since, now, &baselines));
        if let Some(judge::Breach { condition, measured }) = breach {
            stop.stop(StopReason::Abort { condition: condition.clone(), measured: measured.clone() });
            log.tell(What::Breach { condition, measured }).await;
            return;
        }
    }
}
