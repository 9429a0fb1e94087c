//! Watches the return to normal: from the confirmation that the faults are gone, the `after` rows must hold over a
//! sliding window of `hold`, and that window must start within `within`. A window is judged when everything that was due
//! in it has come back: what still hangs would be missing.

use super::{Run, baseline::Baseline};
use crate::{
    event::{Phase, What},
    experiment::When,
    judge,
    record::{Outcome, RowResult},
};
use std::time::Duration;

const PACE: Duration = Duration::from_millis(100);

/// What recovery showed.
#[derive(Debug, Clone, Default)]
pub struct Recovered {
    /// The `after` rows over the window that was judged last.
    pub rows: Vec<RowResult>,
    /// From the confirmation to the start of the window that held; none: it did not hold in time.
    pub after: Option<Duration>,
}

/// Watches; `None` when somebody would not wait for it.
pub async fn watch(run: &Run, baseline: &Baseline) -> Option<Recovered> {
    let recovery = run.experiment.recovery;
    let longest = recovery.within + recovery.hold;
    run.log.tell(What::Phase { phase: Phase::Recovery, lasting: Some(longest) }).await;
    let from = run.log.now();
    if !run.stop.wait_patiently(recovery.hold).await {
        return None;
    }
    loop {
        let end = run.recorder.settled();
        if end < from + recovery.hold {
            if !run.stop.wait_patiently(PACE).await {
                return None;
            }
            continue;
        }
        let window = end - recovery.hold..end;
        let rows =
            judge::judge_rows(&run.experiment.steady_state, When::After, &run.recorder, &window, &baseline.values);
        if rows.iter().all(|row| row.outcome == Outcome::Held) {
            return Some(Recovered { rows, after: Some(window.start.saturating_sub(from)) });
        }
        if window.start >= from + recovery.within {
            return Some(Recovered { rows, after: None });
        }
        if !run.stop.wait_patiently(PACE).await {
            return None;
        }
    }
}
