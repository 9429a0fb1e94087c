//! Carries out the steps that are no faults: a program or a request, a check, a question to a person.
//!
//! Neighbours: `method` calls them, `action` does what is run, whoever shows the run asks the person. Invariant: a stop
//! pre-empts each of them at once, and what is taken back later is in the journal as owed before it is begun.

use super::{
    Run,
    action::{self, Done},
    baseline::Baseline,
    method::Flow,
    person::Question,
    stop::StopReason,
    undo::{Done as DoneIn, Owed},
};
use crate::{
    decide::{self, Finding},
    event::What,
    experiment::{Answer, CheckStep, OnFailure, Pause, RunStep, When},
    judge,
    record::Outcome,
};
use std::path::Path;

/// A program or a request.
pub(super) async fn run(run: &Run, step: &RunStep, done_in: DoneIn) {
    let owed = match owe(run, step, done_in).await {
        Ok(owed) => owed,
        Err(Stopped) => return,
    };
    if done_in == DoneIn::InMethod {
        run.act_now();
    }
    run.outputs.forget(&step.name);
    let known = |name: &str| run.outputs.get(name);
    let acting = action::perform(&step.action, &step.expect, step.timeout, &known);
    let done = run.stop.unless(acting).await;
    if let Some(Done { code, output, failed }) = done {
        // The output of a step that failed may be of use as well.
        run.outputs.keep(&step.name, &output, step.secret);
        tell(run, step, code, &output, failed).await;
    }
    if let Some(number) = owed {
        // From now on its own output is known to its `undo`.
        let outputs = run.outputs.all();
        run.owed
            .lock()
            .iter_mut()
            .filter(|owed| owed.number == number)
            .for_each(|owed| owed.outputs.clone_from(&outputs));
    }
}

/// The run was asked to stop before the step had begun.
struct Stopped;

/// Writes down what will have to be taken back.
async fn owe(run: &Run, step: &RunStep, done: DoneIn) -> Result<Option<usize>, Stopped> {
    let Some(undo) = &step.undo else { return Ok(None) };
    let number = {
        let mut numbers = run.undos.lock();
        *numbers += 1;
        *numbers
    };
    let directory = Path::new(&run.experiment.source.path).parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    let directory = std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned()).display().to_string();
    let told = What::UndoOwed { step: step.name.clone(), number, undo: undo.action.shown(), directory };
    if !run.log.tell(told).await || run.stop.is_stopped() {
        return Err(Stopped);
    }
    let (step, undo, outputs) = (step.name.clone(), undo.clone(), run.outputs.all());
    run.owed.lock().push(Owed { done, number, step, undo, outputs });
    Ok(Some(number))
}

async fn tell(run: &Run, step: &RunStep, code: Option<i32>, output: &str, failed: Option<String>) {
    let clean = |text: &str| run.outputs.clean(text, &run.experiment.secrets);
    let (shown, failed) = (clean(output), failed.map(|why| clean(&why)));
    let told = What::Ran {
        step: step.name.clone(),
        action: step.action.shown(),
        code,
        failed: failed.clone(),
        altered: shown != output,
        output: shown,
    };
    run.log.tell(told).await;
    if let (Some(why), OnFailure::Stop) = (failed, step.on_failure) {
        run.stop.stop(StopReason::Failed(format!("step `{}`: `{}` failed: {why}", step.name, step.action.shown())));
    }
}

/// The steady state, now.
pub(super) async fn check(run: &Run, check: &CheckStep, baseline: &Baseline) -> Flow {
    let end = run.log.now();
    let window = end.saturating_sub(check.over)..end;
    if !run.settled(window.end).await {
        return Flow::Break(());
    }
    let rows = judge::judge_rows(&run.experiment.steady_state, check.when, &run.recorder, &window, &baseline.values);
    let (outcome, reasons) = decide::summed_up(&rows);
    let step = check.name.clone();
    run.log.tell(What::Judged { step, level: None, outcome, reasons: reasons.clone() }).await;
    let why = if reasons.is_empty() { String::new() } else { format!(": {}", reasons.join("; ")) };
    let word = if check.when == When::After { "back to normal" } else { "steady" };
    let sentence = match outcome {
        Outcome::Held => format!("check `{}`: {word}", check.name),
        Outcome::Broken => format!("check `{}`: not {word}{why}", check.name),
        Outcome::Inconclusive => format!("check `{}`: too little to say{why}", check.name),
    };
    run.findings.lock().push(Finding { outcome, sentence });
    match (outcome, check.on_failure) {
        (Outcome::Broken, OnFailure::Stop) => Flow::Break(()),
        _ => Flow::Continue(()),
    }
}

/// A question; without a person, or without an answer in time, its default.
pub(super) async fn pause(run: &Run, pause: &Pause) {
    let step = pause.name.clone();
    let question = match pause.question.filled(|name| run.outputs.get(name)) {
        Ok(question) => run.outputs.clean(&question, &run.experiment.secrets),
        Err(why) => return run.stop.stop(StopReason::Failed(format!("step `{step}`: {why}"))),
    };
    let (timeout, default) = (pause.timeout, pause.default);
    run.log.tell(What::Asked { step: step.clone(), question: question.clone(), timeout, default }).await;
    let answer = run.person.ask(Question { step: step.clone(), question, default }, timeout);
    let Some((answer, by)) = run.stop.unless(answer).await else { return };
    run.log.tell(What::Answered { step: step.clone(), answer, by: by.clone() }).await;
    if answer == Answer::Stop {
        run.stop.stop(StopReason::Answered { step, by });
    }
}
