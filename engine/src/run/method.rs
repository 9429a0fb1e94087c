//! Carries out the steps, in order and side by side. A stop pre-empts any wait and any step.
//!
//! Neighbours: `inject`, `surge`, `ramp` and `steps` do what a step is; `heal` takes back what is left. Invariant: what is set
//! here is taken away here or by `heal`.

use super::{Run, baseline::Baseline, inject, ramp, steps, surge, undo::Done};
use crate::{
    event::{Phase, What},
    experiment::{Repeat, Rounds, Step},
};
use futures::future::{BoxFuture, FutureExt, join_all};
use std::ops::ControlFlow;

/// Whether the method goes on after a step, or ends there.
pub(super) type Flow = ControlFlow<()>;

/// What comes before the load and the baseline, in order, until the end or until the run is stopped.
pub async fn set_up(run: &Run) {
    let setup = &run.experiment.setup;
    if setup.is_empty() || run.stop.is_stopped() {
        return;
    }
    let lasting = setup.iter().map(Step::duration).sum();
    run.log.tell(What::Phase { phase: Phase::Setup, lasting: Some(lasting) }).await;
    for step in setup {
        if run.stop.is_stopped() {
            return;
        }
        run.log.tell(What::StepStarted { step: step.name().to_owned(), lasting: step.duration() }).await;
        match step {
            Step::Run(step) => steps::run(run, step, Done::InSetup).await,
            // `validate` lets nothing else in that takes time.
            other => _ = run.stop.wait(other.duration()).await,
        }
        if !run.stop.is_stopped() {
            run.log.tell(What::StepEnded { step: step.name().to_owned() }).await;
        }
    }
}

/// Every step in order, until the end or until the run is stopped.
pub async fn carry_out(run: &Run, baseline: &Baseline) {
    let lasting = run.experiment.method.iter().map(Step::duration).sum();
    run.log.tell(What::Phase { phase: Phase::Method, lasting: Some(lasting) }).await;
    if in_order(run, &run.experiment.method, baseline).await.is_break() && !run.stop.is_stopped() {
        run.log.tell(What::Note { text: "the method ends here, as a check asks for".into() }).await;
    }
}

async fn in_order(run: &Run, steps: &[Step], baseline: &Baseline) -> Flow {
    for step in steps {
        run.gate.pass(step.name(), &run.log, &run.stop).await;
        if run.stop.is_stopped() {
            return Flow::Break(());
        }
        carry_out_step(run, step, baseline).await?;
    }
    Flow::Continue(())
}

fn carry_out_step<'a>(run: &'a Run, step: &'a Step, baseline: &'a Baseline) -> BoxFuture<'a, Flow> {
    async move {
        let started = What::StepStarted { step: step.name().to_owned(), lasting: step.duration() };
        run.log.tell(started).await;
        let mut flow = Flow::Continue(());
        match step {
            Step::Wait { lasting, .. } => {
                run.stop.wait(*lasting).await;
            }
            Step::Parallel { steps, .. } => {
                let ended = join_all(steps.iter().map(|step| carry_out_step(run, step, baseline))).await;
                flow = ended.into_iter().find(Flow::is_break).unwrap_or(flow);
            }
            Step::Inject(inject) => inject::carry_out(run, inject).await,
            Step::Surge(surge) => surge::carry_out(run, surge).await,
            Step::Ramp(ramp) => ramp::carry_out(run, ramp, baseline).await,
            Step::Run(step) => steps::run(run, step, Done::InMethod).await,
            Step::Check(check) => flow = steps::check(run, check, baseline).await,
            Step::Pause(pause) => steps::pause(run, pause).await,
            Step::Repeat(repeat) => flow = again_and_again(run, repeat, baseline).await,
        }
        if !run.stop.is_stopped() {
            run.log.tell(What::StepEnded { step: step.name().to_owned() }).await;
        }
        flow
    }
    .boxed()
}

async fn again_and_again(run: &Run, repeat: &Repeat, baseline: &Baseline) -> Flow {
    let since = run.log.now();
    let mut number = 0;
    loop {
        let of = match repeat.rounds {
            Rounds::Times(times) => Some(usize::try_from(times).unwrap_or(usize::MAX)),
            Rounds::Lasting(_) => None,
        };
        let over = match repeat.rounds {
            Rounds::Times(_) => of.is_some_and(|of| number >= of),
            Rounds::Lasting(lasting) => run.log.now().saturating_sub(since) >= lasting,
        };
        if over || run.stop.is_stopped() {
            return Flow::Continue(());
        }
        number += 1;
        run.log.tell(What::Round { step: repeat.name.clone(), number, of }).await;
        in_order(run, &repeat.steps, baseline).await?;
    }
}
