//! The method: what each step is, and what steps are together.
//!
//! Neighbours: `surge`, `ramp` and `steps` check what stands behind the other words, `radius` what may be touched.

use super::{Check, LONGEST};
use crate::{
    document::{AgentsDoc, InjectDoc, StepDoc},
    experiment::{AgentsChoice, Inject, Step},
    yaml::{Mark, Spot},
};
use squall_wire::{FaultSpec, Span};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

pub(super) const SHORTEST: Duration = Duration::from_millis(1);
const ACTIONS: [&str; 9] = ["inject", "surge", "wait", "parallel", "ramp", "run", "check", "pause", "repeat"];
/// Steps in steps, one inside the other.
const DEEPEST: usize = 8;

/// What is known of the steps before one: their names, where they stand, and whose output is there by then.
#[derive(Debug, Default)]
pub(super) struct Before {
    pub(super) names: BTreeMap<String, Mark>,
    /// Names of `run` steps that have ended.
    pub(super) outputs: BTreeSet<String>,
    depth: usize,
}

impl Check<'_, '_, '_> {
    pub(super) fn method(&mut self, before: &mut Before) -> Vec<Step> {
        let list = self.root.key("method");
        let Some(steps) = &self.doc.method else {
            self.missing(
                self.root,
                "method",
                "say what is done: `method: [{inject: {proxy: …, fault: {latency: {delay: 800ms}}}, for: 20s}]`",
            );
            return Vec::new();
        };
        if steps.is_empty() && !list.node().has_lost() {
            self.report.error(list.mark(), "the method is empty: nothing would be done");
        }
        let method = self.steps(steps, list, before);
        let acts = |step: &&Step| matches!(step, Step::Run(_) | Step::Ramp(_) | Step::Surge(_));
        let harmless = |step: &&Step| step.injections().is_empty() && !acts(step);
        let only_waits = method.iter().flat_map(Step::all).all(|step| harmless(&step));
        if only_waits && !method.is_empty() && self.report.is_clean() {
            let told = self.report.error(list.mark(), "the method injects nothing, so nothing would be learnt");
            told.help("write an `inject`, a `surge`, a `ramp` or a `run` step");
        }
        method
    }

    pub(super) fn steps(&mut self, steps: &[StepDoc], list: Spot<'_>, before: &mut Before) -> Vec<Step> {
        let mut found = Vec::new();
        for (index, doc) in steps.iter().enumerate() {
            found.extend(self.step(doc, list.item(index), before));
        }
        found
    }

    fn step(&mut self, doc: &StepDoc, spot: Spot<'_>, before: &mut Before) -> Option<Step> {
        let written: Vec<&str> = ACTIONS.into_iter().filter(|action| spot.node().had(action)).collect();
        match written.as_slice() {
            [_] => {}
            [] => {
                if !spot.node().had_nearly(&ACTIONS) {
                    let told = self.report.error(spot.key_mark(), "the step does nothing");
                    told.expected(crate::diagnostic::one_of(&ACTIONS));
                }
                return None;
            }
            [first, second, ..] => {
                let message = format!("a step does one thing: `{first}` or `{second}`, not both");
                let related = spot.key(first).key_mark();
                self.report.error(spot.key(second).key_mark(), message).related(related, "the other is here");
                return None;
            }
        }
        if spot.node().had("for") && !matches!(written.as_slice(), ["inject" | "surge"]) {
            let told = self.report.error(spot.key("for").key_mark(), "`for` goes with `inject` and `surge`");
            told.help(match written.as_slice() {
                ["wait"] => "write the time behind `wait`",
                ["ramp"] => "say how long each level is held by `hold`, inside `ramp`",
                ["repeat"] => "write it inside `repeat`",
                ["run" | "pause"] => "say how long it may take by `timeout`, inside it",
                ["check"] => "say over how long it looks back by `over`, inside `check`",
                _ => "give each inner step its own",
            });
        }
        before.depth += 1;
        let step = if before.depth > DEEPEST {
            self.report.error(spot.key_mark(), format!("more than {DEEPEST} steps stand inside one another here"));
            None
        } else {
            self.action(doc, spot, before)
        };
        before.depth -= 1;
        step
    }

    fn action(&mut self, doc: &StepDoc, spot: Spot<'_>, before: &mut Before) -> Option<Step> {
        if let Some(inject) = &doc.inject {
            let name =
                self.step_name(doc, spot, before, || format!("inject {} on {}", inject.fault.name(), inject.proxy));
            return self.inject(inject, doc.lasting, name, spot).map(Step::Inject);
        }
        if let Some(surge) = &doc.surge {
            return self.surge(surge, doc, spot, before).map(Step::Surge);
        }
        if let Some(wait) = doc.wait {
            let name = self.step_name(doc, spot, before, || format!("wait {wait}"));
            let lasting = self.duration(spot.key("wait"), "wait", Some(wait.get()), &(SHORTEST..=LONGEST))?;
            return Some(Step::Wait { name, lasting });
        }
        if let Some(ramp) = &doc.ramp {
            return self.ramp(ramp, doc, spot, before).map(Step::Ramp);
        }
        if let Some(run) = &doc.run {
            return self.run(run, doc, spot, before).map(Step::Run);
        }
        if let Some(check) = &doc.check {
            return self.check(check, doc, spot, before).map(Step::Check);
        }
        if let Some(pause) = &doc.pause {
            return self.pause(pause, doc, spot, before).map(Step::Pause);
        }
        if let Some(repeat) = &doc.repeat {
            return self.repeat(repeat, doc, spot, before).map(Step::Repeat);
        }
        self.parallel(doc, spot, before)
    }

    fn parallel(&mut self, doc: &StepDoc, spot: Spot<'_>, before: &mut Before) -> Option<Step> {
        let list = spot.key("parallel");
        let inner = doc.parallel.as_deref()?;
        if inner.is_empty() && !list.node().has_lost() {
            self.report.error(list.mark(), "`parallel` is empty");
        }
        let steps = self.side_by_side(inner, list, before);
        let all: Vec<&str> = steps.iter().map(Step::name).collect();
        let name = self.step_name(doc, spot, before, || all.join(" + "));
        self.refuse_clashes(&steps, list);
        self.refuse_two_loads(&steps, list);
        Some(Step::Parallel { name, steps })
    }

    /// Steps that start together know nothing of each other's output.
    fn side_by_side(&mut self, docs: &[StepDoc], list: Spot<'_>, before: &mut Before) -> Vec<Step> {
        let known = before.outputs.clone();
        let (mut steps, mut outputs) = (Vec::new(), known.clone());
        for (index, doc) in docs.iter().enumerate() {
            before.outputs.clone_from(&known);
            steps.extend(self.step(doc, list.item(index), before));
            outputs.append(&mut before.outputs);
        }
        before.outputs = outputs;
        steps
    }

    /// Two faults of one name cannot be on one proxy at the same time.
    fn refuse_clashes(&mut self, steps: &[Step], list: Spot<'_>) {
        let mut seen = BTreeSet::new();
        for inject in steps.iter().flat_map(Step::injections) {
            if let Some(name) = &inject.fault.name
                && inject.agents.is_none()
                && !seen.insert((inject.agent.clone(), inject.proxy.clone(), name.clone()))
            {
                let message = format!("two faults named `{name}` would be on `{}` at the same time", inject.proxy);
                self.report.error(list.mark(), message).help("give each a name of its own, or leave the names out");
            }
        }
    }

    /// The step's name, or one made up, which is made unique; one that is given must be.
    pub(super) fn step_name(
        &mut self,
        doc: &StepDoc,
        spot: Spot<'_>,
        before: &mut Before,
        made_up: impl FnOnce() -> String,
    ) -> String {
        let mark = spot.key("name").mark();
        if let Some(name) = &doc.name {
            if name.trim().is_empty() {
                self.report.error(mark, "the step's name is empty").help("write one, or leave it out");
            } else if let Some(first) = before.names.insert(name.clone(), mark) {
                self.report.error(mark, format!("two steps are named `{name}`")).related(first, "the first is here");
            }
            return name.clone();
        }
        let base = made_up();
        let mut name = base.clone();
        let mut number = 2;
        while before.names.contains_key(&name) {
            name = format!("{base} ({number})");
            number += 1;
        }
        before.names.insert(name.clone(), mark);
        name
    }

    fn inject(&mut self, doc: &InjectDoc, lasting: Option<Span>, name: String, spot: Spot<'_>) -> Option<Inject> {
        let at = spot.key("inject");
        let fault = self.fault(doc, at);
        self.stay_inside(doc, at);
        let agents = self.agents_choice(doc, at);
        let Some(lasting) = lasting else {
            self.missing(spot, "for", "say how long the fault stays: `for: 20s`");
            return None;
        };
        let lasting = self.duration(spot.key("for"), "for", Some(lasting.get()), &(SHORTEST..=LONGEST))?;
        Some(Inject { name, agent: doc.agent.clone(), agents, proxy: doc.proxy.clone(), fault, lasting })
    }

    /// The fault of an injection, without what the run sets.
    pub(super) fn fault(&mut self, doc: &InjectDoc, at: Spot<'_>) -> FaultSpec {
        let mut fault = FaultSpec::of(doc.fault.clone());
        fault.name.clone_from(&doc.name);
        fault.direction = doc.direction;
        fault.percent = doc.percent;
        fault.only = doc.only.clone();
        fault.skip = doc.skip;
        fault.count = doc.count;
        fault.seed = doc.seed;
        for mistake in fault.mistakes() {
            self.report.error(at.path(&mistake.field).mark(), mistake.message);
        }
        fault
    }

    /// Which agents, where a file chooses them.
    pub(super) fn agents_choice(&mut self, doc: &InjectDoc, at: Spot<'_>) -> Option<AgentsChoice> {
        let AgentsDoc { labels, percent } = doc.agents.as_ref()?;
        let spot = at.key("agents");
        if doc.agent.is_some() {
            let related = at.key("agent").key_mark();
            let told =
                self.report.error(spot.key_mark(), "name one agent by `agent`, or choose some by `agents`, not both");
            told.related(related, "the other is here");
        }
        if percent.is_some_and(|percent| percent.get() == 0.0) {
            self.report.error(spot.key("percent").mark(), "0 % of the agents are none").expected("more than 0");
        }
        let labels = labels.iter().flatten().map(|(label, value)| (label.clone(), value.to_string())).collect();
        Some(AgentsChoice { labels, percent: percent.unwrap_or_default() })
    }
}
