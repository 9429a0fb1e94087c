//! Watches the steady state before anything is injected. When it does not hold, nothing is.

use super::Run;
use crate::{
    event::{Phase, What},
    experiment::When,
    judge,
    record::{Outcome, RowResult},
};

/// What the baseline showed.
#[derive(Debug, Clone, Default)]
pub struct Baseline {
    /// The `before` rows, judged.
    pub rows: Vec<RowResult>,
    /// Every check's own value over the baseline, for `within N% of baseline`.
    pub values: judge::Baselines,
}

impl Baseline {
    /// Whether every row held.
    #[must_use]
    pub fn held(&self) -> bool {
        self.rows.iter().all(|row| row.outcome == Outcome::Held)
    }
}

/// Waits for the baseline's length and judges it; `None` when the run was stopped meanwhile.
pub async fn watch(run: &Run) -> Option<Baseline> {
    let lasting = run.experiment.baseline;
    run.log.tell(What::Phase { phase: Phase::Baseline, lasting: Some(lasting) }).await;
    let from = run.log.now();
    if !run.stop.wait(lasting).await {
        return None;
    }
    let window = from..run.log.now();
    if !run.settled(window.end).await {
        return None;
    }
    let steady = &run.experiment.steady_state;
    let values = judge::baselines(steady, &run.recorder, &window);
    let rows = judge::judge_rows(steady, When::Before, &run.recorder, &window, &values);
    Some(Baseline { rows, values })
}
