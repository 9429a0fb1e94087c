//! Takes back what `run` steps did: their `undo`s, the last first, however the run ends: those of the method when it heals,
//! those of the setup when recovery is over. After a crash `squall recover` does it.
//!
//! ```text
//! UndoOwed (in the journal) ─▶ the step ─▶ Ran (its output) ─▶ … ─▶ heal: undo ─▶ Undone
//! ```
//!
//! Neighbours: `steps` owes, `heal` takes back beside the agents. Invariant: once a step has begun, its `undo` is done
//! or is told to be left, with what to do; twice only when squall died between the doing and the journal.

use super::{Run, action};
use crate::{
    event::{Event, What},
    experiment::{Action, Experiment, RunExpect, Step, Undo},
};
use std::collections::{BTreeMap, BTreeSet};

/// Where a step was done, which says when it is taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Done {
    /// Before the baseline: after recovery, which is to what the setup made normal.
    InSetup,
    /// In the method: beside the faults.
    InMethod,
}

/// An `undo` that is owed.
#[derive(Debug, Clone)]
pub(super) struct Owed {
    pub(super) done: Done,
    pub(super) number: usize,
    pub(super) step: String,
    pub(super) undo: Undo,
    /// What steps had put out when its step had ended.
    pub(super) outputs: BTreeMap<String, String>,
}

/// Takes back everything that is owed of what was done there; gives a sentence for each that could not be.
pub(super) async fn take_back(run: &Run, done: Done) -> Vec<String> {
    let owed: Vec<Owed> = run.owed.lock().extract_if(.., |owed| owed.done == done).collect();
    let mut failures = Vec::new();
    for Owed { number, step, undo, outputs, .. } in owed.into_iter().rev() {
        let failed = perform(&undo, &outputs).await.err();
        let failed = failed.map(|why| run.outputs.clean(&why, &run.experiment.secrets));
        if let Some(why) = &failed {
            failures.push(sentence(&step, &undo, why));
        }
        run.log.tell(What::Undone { step, number, failed }).await;
    }
    failures
}

async fn perform(undo: &Undo, outputs: &BTreeMap<String, String>) -> Result<(), String> {
    let expect = RunExpect { codes: Vec::new(), contains: None };
    let done = action::perform(&undo.action, &expect, undo.timeout, &|step| outputs.get(step).cloned()).await;
    match done.failed {
        Some(why) if !is_gone(&undo.action, done.code) => Err(why),
        _ => Ok(()),
    }
}

/// Whether what was to be deleted was not there: its step made nothing, or somebody else took it back.
fn is_gone(action: &Action, status: Option<i32>) -> bool {
    matches!(action, Action::Http { method, .. } if method.eq_ignore_ascii_case("DELETE"))
        && matches!(status, Some(404 | 410))
}

fn sentence(step: &str, undo: &Undo, why: &str) -> String {
    format!("step `{step}` could not be taken back by `{}`: {why}; do it by hand", undo.action.shown())
}

/// What a dead run has left to take back: the events that say so, the last first.
#[must_use]
pub fn left(events: &[Event]) -> Vec<Left> {
    let mut outputs: BTreeMap<String, (String, bool)> = BTreeMap::new();
    let mut owed: Vec<Left> = Vec::new();
    let mut undone = BTreeSet::new();
    for event in events {
        match &event.what {
            What::UndoOwed { step, number, directory, .. } => {
                // An output of an earlier round is not this one's.
                outputs.remove(step);
                let (step, directory) = (step.clone(), directory.clone());
                owed.push(Left { step, number: *number, directory, outputs: outputs.clone() });
            }
            What::Ran { step, output, altered, .. } => {
                outputs.insert(step.clone(), (output.clone(), *altered));
                if let Some(last) = owed.iter_mut().rev().find(|left| left.step == *step) {
                    last.outputs.clone_from(&outputs);
                }
            }
            What::Undone { number, failed: None, .. } => {
                undone.insert(*number);
            }
            _ => {}
        }
    }
    owed.retain(|left| !undone.contains(&left.number));
    owed.reverse();
    owed
}

/// An `undo` that a dead run owes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// The step.
    pub step: String,
    /// Which of those owed.
    pub number: usize,
    /// The directory of the experiment's file.
    pub directory: String,
    /// What the steps had put out, and whether the journal has it altered.
    outputs: BTreeMap<String, (String, bool)>,
}

impl Left {
    /// Takes it back, as the experiment of the dead run says.
    ///
    /// # Errors
    /// Why not, and what to do.
    pub async fn take_back(&self, experiment: &Experiment) -> Result<(), String> {
        let step = &self.step;
        let steps = experiment.setup.iter().chain(&experiment.method).flat_map(Step::all);
        let undo = steps.into_iter().find_map(|known| match known {
            Step::Run(run) if run.name == *step => run.undo.as_ref(),
            _ => None,
        });
        let undo = undo.ok_or_else(|| format!("the experiment has no step `{step}` with an `undo`"))?;
        for needed in needs(&undo.action) {
            let why = match self.outputs.get(&needed) {
                None => "is not known, for squall died before it had ended",
                Some((_, true)) => "is not in the journal as it was, for it holds a secret",
                Some((_, false)) => continue,
            };
            return Err(sentence(step, undo, &format!("the output of step `{needed}` {why}")));
        }
        let outputs = self.outputs.iter().map(|(step, (output, _))| (step.clone(), output.clone())).collect();
        perform(undo, &outputs).await.map_err(|why| sentence(step, undo, &experiment.secrets.redact(&why)))
    }
}

fn needs(action: &Action) -> BTreeSet<String> {
    action.texts().into_iter().flat_map(|text| text.steps()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::left;
    use crate::event::{Event, What};
    use std::time::Duration;

    fn events(whats: Vec<What>) -> Vec<Event> {
        whats.into_iter().map(|what| Event { at: Duration::ZERO, what }).collect()
    }

    fn owed(step: &str, number: usize) -> What {
        What::UndoOwed { step: step.into(), number, undo: "rm".into(), directory: "/".into() }
    }

    fn ran(step: &str, output: &str) -> What {
        let (action, output) = ("touch".into(), output.into());
        What::Ran { step: step.into(), action, code: Some(0), failed: None, output, altered: false }
    }

    #[test]
    fn what_is_left_is_what_was_owed_and_not_undone_the_last_first_with_the_outputs_of_its_own_round() {
        let told = events(vec![
            owed("a", 1),
            ran("a", "one"),
            owed("a", 2),
            ran("a", "two"),
            owed("b", 3),
            What::Undone { step: "a".into(), number: 2, failed: None },
        ]);
        let left = left(&told);
        assert_eq!(left.iter().map(|left| left.number).collect::<Vec<_>>(), [3, 1]);
        assert_eq!(left[1].outputs["a"].0, "one");
        assert_eq!(left[0].outputs["a"].0, "two");
        assert!(!left[0].outputs.contains_key("b"));
    }
}
