//! The method and the blast radius that it must stay in.

use super::{Check, LONGEST};
use crate::{
    document::{InjectDoc, StepDoc},
    experiment::{BlastRadius, Inject, Step},
    yaml::{Mark, Spot},
};
use squall_wire::{FaultSpec, Percent, ProxyName, Span};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

const SHORTEST: Duration = Duration::from_millis(1);
const ACTIONS: [&str; 3] = ["inject", "wait", "parallel"];

impl Check<'_, '_, '_> {
    pub(super) fn method(&mut self) -> Vec<Step> {
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
        let mut names = BTreeMap::new();
        let method = self.steps(steps, list, &mut names);
        let only_waits = method.iter().all(|step| step.injections().is_empty());
        if only_waits && !method.is_empty() && self.report.is_clean() {
            let told = self.report.error(list.mark(), "the method injects nothing, so nothing would be learnt");
            told.help("write an `inject` step");
        }
        method
    }

    fn steps(&mut self, steps: &[StepDoc], list: Spot<'_>, names: &mut BTreeMap<String, Mark>) -> Vec<Step> {
        let mut found = Vec::new();
        for (index, doc) in steps.iter().enumerate() {
            found.extend(self.step(doc, list.item(index), names));
        }
        found
    }

    fn step(&mut self, doc: &StepDoc, spot: Spot<'_>, names: &mut BTreeMap<String, Mark>) -> Option<Step> {
        let written: Vec<&str> = ACTIONS.into_iter().filter(|action| spot.node().had(action)).collect();
        match written.as_slice() {
            [_] => {}
            [] => {
                if !spot.node().had_nearly(&ACTIONS) {
                    let told = self.report.error(spot.key_mark(), "the step does nothing");
                    told.expected("one of `inject`, `wait` and `parallel`");
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
        if spot.node().had("for") && written != ["inject"] {
            let told = self.report.error(spot.key("for").key_mark(), "`for` goes with `inject`");
            told.help(if written == ["wait"] {
                "write the time behind `wait`"
            } else {
                "give each inner step its own"
            });
        }
        if let Some(inject) = &doc.inject {
            let name =
                self.step_name(doc, spot, names, || format!("inject {} on {}", inject.fault.name(), inject.proxy));
            return self.inject(inject, doc.lasting, name, spot).map(Step::Inject);
        }
        if let Some(wait) = doc.wait {
            let name = self.step_name(doc, spot, names, || format!("wait {wait}"));
            let lasting = self.duration(spot.key("wait"), "wait", Some(wait.get()), &(SHORTEST..=LONGEST))?;
            return Some(Step::Wait { name, lasting });
        }
        self.parallel(doc, spot, names)
    }

    fn parallel(&mut self, doc: &StepDoc, spot: Spot<'_>, names: &mut BTreeMap<String, Mark>) -> Option<Step> {
        let list = spot.key("parallel");
        let inner = doc.parallel.as_deref()?;
        if inner.is_empty() && !list.node().has_lost() {
            self.report.error(list.mark(), "`parallel` is empty");
        }
        let steps = self.steps(inner, list, names);
        let all: Vec<&str> = steps.iter().map(Step::name).collect();
        let name = self.step_name(doc, spot, names, || all.join(" + "));
        self.refuse_clashes(&steps, list);
        Some(Step::Parallel { name, steps })
    }

    /// Two faults of one name cannot be on one proxy at the same time.
    fn refuse_clashes(&mut self, steps: &[Step], list: Spot<'_>) {
        let mut seen = BTreeSet::new();
        for inject in steps.iter().flat_map(Step::injections) {
            if let Some(name) = &inject.fault.name
                && !seen.insert((inject.agent.clone(), inject.proxy.clone(), name.clone()))
            {
                let message = format!("two faults named `{name}` would be on `{}` at the same time", inject.proxy);
                self.report.error(list.mark(), message).help("give each a name of its own, or leave the names out");
            }
        }
    }

    /// The step's name, or one made up, which is made unique; one that is given must be.
    fn step_name(
        &mut self,
        doc: &StepDoc,
        spot: Spot<'_>,
        names: &mut BTreeMap<String, Mark>,
        made_up: impl FnOnce() -> String,
    ) -> String {
        let mark = spot.key("name").mark();
        if let Some(name) = &doc.name {
            if name.trim().is_empty() {
                self.report.error(mark, "the step's name is empty").help("write one, or leave it out");
            } else if let Some(first) = names.insert(name.clone(), mark) {
                self.report.error(mark, format!("two steps are named `{name}`")).related(first, "the first is here");
            }
            return name.clone();
        }
        let base = made_up();
        let mut name = base.clone();
        let mut number = 2;
        while names.contains_key(&name) {
            name = format!("{base} ({number})");
            number += 1;
        }
        names.insert(name.clone(), mark);
        name
    }

    fn inject(&mut self, doc: &InjectDoc, lasting: Option<Span>, name: String, spot: Spot<'_>) -> Option<Inject> {
        let at = spot.key("inject");
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
        self.stay_inside(doc, at);
        let Some(lasting) = lasting else {
            self.missing(spot, "for", "say how long the fault stays: `for: 20s`");
            return None;
        };
        let lasting = self.duration(spot.key("for"), "for", Some(lasting.get()), &(SHORTEST..=LONGEST))?;
        Some(Inject { name, agent: doc.agent.clone(), proxy: doc.proxy.clone(), fault, lasting })
    }

    /// The proxy and the share of an injection must be inside the blast radius.
    fn stay_inside(&mut self, doc: &InjectDoc, at: Spot<'_>) {
        let Some(radius) = &self.doc.blast_radius else { return };
        let radius_at = self.root.key("blast_radius");
        if let Some(allowed) = &radius.proxies
            && !radius_at.key("proxies").node().has_lost()
            && !allowed.is_empty()
            && !allowed.contains(&doc.proxy)
        {
            let names = allowed.iter().map(ProxyName::as_str);
            let near = squall_wire::nearest::nearest(doc.proxy.as_str(), names.clone());
            let told =
                self.report.error(at.key("proxy").mark(), format!("`{}` is outside the blast radius", doc.proxy));
            told.related(radius_at.key("proxies").key_mark(), "these may be touched");
            match near {
                Some(near) => told.help(format!("did you mean `{near}`?")),
                None => told.help(format!("add `{}` to `blast_radius.proxies`, if that is meant", doc.proxy)),
            };
        }
        let most = radius.percent.unwrap_or(Percent::ALL);
        let unknown = at.node().had("percent") && at.node().get("percent").is_none();
        if doc.percent > most && !unknown {
            let spot = if at.node().had("percent") { at.key("percent") } else { at };
            let message = format!("{} % is over the blast radius's {most} %", doc.percent);
            let told = self.report.error(spot.mark(), message);
            told.related(radius_at.key("percent").mark(), "at most this share");
            told.help(format!("write `percent: {most}` or less beside `proxy`"));
        }
    }

    pub(super) fn blast_radius(&mut self, method: &[Step]) -> Option<BlastRadius> {
        let total: Duration = method.iter().map(Step::duration).sum();
        let spot = self.root.key("blast_radius");
        let Some(radius) = &self.doc.blast_radius else {
            let help = self.radius_to_write(method, total);
            self.missing(self.root, "blast_radius", &help);
            return None;
        };
        if radius.proxies.as_ref().is_none_or(Vec::is_empty) {
            match &radius.proxies {
                None => self.missing(spot, "proxies", "name the proxies that may be touched: `proxies: [payment]`"),
                Some(_) if spot.key("proxies").node().has_lost() => {}
                Some(_) => {
                    self.report.error(spot.key("proxies").mark(), "the blast radius holds no proxy");
                }
            }
        }
        let Some(duration) = radius.duration.map(Span::get) else {
            self.missing(
                spot,
                "duration",
                &format!("say how long the method may take: `duration: {}`", Span::from(total)),
            );
            return None;
        };
        if total > duration {
            // Steps that were wrong are not counted, so with them it is more.
            let exact = self.report.is_clean();
            let least = if exact { "" } else { "at least " };
            let (total, most) = (Span::from(total), Span::from(duration));
            let message = format!("the method takes {least}{total}, longer than the {most} allowed");
            let told = self.report.error(spot.key("duration").mark(), message);
            told.help(format!("allow {least}{total}, or make the steps shorter"));
        }
        let mut proxies = radius.proxies.clone().unwrap_or_default();
        proxies.sort();
        proxies.dedup();
        Some(BlastRadius { proxies, percent: radius.percent.unwrap_or(Percent::ALL), duration })
    }

    /// What a missing blast radius would have to say for this method.
    fn radius_to_write(&self, method: &[Step], total: Duration) -> String {
        let injections = || method.iter().flat_map(Step::injections);
        let proxies: BTreeSet<&str> = injections().map(|inject| inject.proxy.as_str()).collect();
        let percent = injections().map(|inject| inject.fault.percent.get()).fold(0.0, f64::max);
        let names =
            if proxies.is_empty() { "…".to_owned() } else { proxies.into_iter().collect::<Vec<_>>().join(", ") };
        format!(
            "say what may be touched: `blast_radius: {{proxies: [{names}], percent: {}, duration: {}}}`",
            if percent > 0.0 { percent } else { 100.0 },
            shown(total),
        )
    }
}

/// A time to write, or the place for one that is not known.
fn shown(total: Duration) -> String {
    if total.is_zero() { "…".to_owned() } else { Span::from(total).to_string() }
}
