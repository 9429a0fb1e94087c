//! One run among many: quietly to its verdict, tried again while the machine gives no steady state.
//!
//! Neighbours: `trial` runs the file; `commands::{matrix, ablation, limit}` ask for run after run.
//! Invariant: after a signal, or a fault that may be left somewhere, no further run begins; those under way heal first.

use crate::{
    cli::RunChoice,
    exit::Failure,
    output,
    signals::Listening,
    trial::{self, Variant},
};
use squall_engine::{
    record::RunRecord,
    report::case::{Case, Ending, heavier},
    run::stop::Signal,
    search::cell::CellEnd,
};
use std::{path::Path, time::Duration};
use tokio_util::sync::CancellationToken;

/// Before a run without a steady state is tried again: whatever kept the machine busy may be over then.
const BREATH: Duration = Duration::from_secs(2);

/// What all runs of a question share.
pub struct Tries {
    listening: Listening,
    ending: CancellationToken,
    ended: parking_lot::Mutex<Option<u8>>,
    retries: u32,
}

impl Tries {
    /// Listens for signals from now on.
    pub fn start(retries: u32) -> Result<Self, Failure> {
        let (ending, ended) = (CancellationToken::new(), parking_lot::Mutex::default());
        Ok(Self { listening: Listening::start()?, ending, ended, retries })
    }

    /// No further run is to begin.
    pub fn end(&self) {
        self.ending.cancel();
    }

    /// The heaviest exit code among the runs that ended everything, if one did; that of a signal which came between two.
    pub fn ended(&self) -> Option<u8> {
        let ended = *self.ended.lock();
        ended.or_else(|| self.listening.caught().map(Signal::exit_code))
    }

    /// Runs the file, or this text in its place, to an answer; none when everything is to end. `label` is what it is called
    /// when it has to be tried again.
    pub async fn run(
        &self,
        label: &str,
        file: &Path,
        choice: &RunChoice,
        text: Option<&str>,
    ) -> Option<(CellEnd, Option<RunRecord>)> {
        let mut tries = 0;
        loop {
            if self.listening.caught().is_some() || self.ending.is_cancelled() {
                return None;
            }
            tries += 1;
            let variant = Variant { text, quiet: true };
            let case = match trial::run_variant(file, choice, variant, self.listening.next_stop()).await {
                Ok(finished) => finished.case(file),
                Err(failure) => prevented(file, failure),
            };
            let end = CellEnd::of(&case, tries);
            if end.ends_everything() {
                let mut ended = self.ended.lock();
                *ended = Some(ended.map_or(end.exit_code, |code| heavier(code, end.exit_code)));
                self.end();
            }
            if !end.is_worth_another_try() || tries > self.retries {
                let record = match case.ending {
                    Ending::Ran { record, .. } => Some(*record),
                    _ => None,
                };
                return Some((end, record));
            }
            output::progress(&format!("      {label}: no steady state to begin with; again"));
            tokio::time::sleep(BREATH).await;
        }
    }
}

/// A line about a run that has ended: which it was, what came of it, and why.
pub fn tell(number: &str, label: &str, end: &CellEnd) {
    let shown = squall_engine::report::grid::Slot::of(end, false).shown();
    let took = end.took.map_or_else(String::new, |took| format!(" {took:.1} s"));
    let reason = if end.reason.is_empty() { String::new() } else { format!("  {}", end.reason) };
    output::progress(&output::coloured_marks(&format!("[{number}] {label}: {shown}{took}{reason}")));
}

/// A case without a run.
fn prevented(file: &Path, failure: Failure) -> Case {
    let Failure { code, message, mistakes, .. } = failure;
    let ending = Ending::Prevented { exit_code: code.number(), message, mistakes };
    Case { file: file.display().to_string(), ending }
}
