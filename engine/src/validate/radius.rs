//! The blast radius, and that the method stays inside it.
//!
//! Neighbours: `method` and `ramp` ask for each fault; how many agents a choice touches is seen when they are reached,
//! in `run::plan`.

use super::Check;
use crate::{
    document::{InjectDoc, StepDoc},
    experiment::{BlastRadius, Step},
    yaml::Spot,
};
use squall_wire::{Percent, ProxyName, Span};
use std::{collections::BTreeSet, time::Duration};

impl Check<'_, '_, '_> {
    /// The proxy and the share of an injection must be inside the blast radius.
    pub(super) fn stay_inside(&mut self, doc: &InjectDoc, at: Spot<'_>) {
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
        // Steps that touch no proxy, such as `run` and `surge`, need none.
        let touches = method.is_empty() || self.doc.method.iter().flatten().any(injects);
        if touches && radius.proxies.as_ref().is_none_or(Vec::is_empty) {
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
        let [percent, agents_percent] = [radius.percent, radius.agents_percent].map(Option::unwrap_or_default);
        Some(BlastRadius { proxies, percent, agents_percent, duration })
    }

    /// What a missing blast radius would have to say for this method.
    fn radius_to_write(&self, method: &[Step], total: Duration) -> String {
        let injections = || method.iter().flat_map(Step::injections);
        let proxies: BTreeSet<&str> = injections().map(|inject| inject.proxy.as_str()).collect();
        if proxies.is_empty() && !method.is_empty() {
            return format!("say how long it may take: `blast_radius: {{duration: {}}}`", shown(total));
        }
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

/// Whether a step sets a fault, right or wrong.
fn injects(step: &StepDoc) -> bool {
    let inner = step.repeat.iter().filter_map(|repeat| repeat.steps.as_ref()).chain(&step.parallel).flatten();
    let ramps = step.ramp.as_ref().is_some_and(|ramp| ramp.inject.is_some());
    step.inject.is_some() || ramps || inner.into_iter().any(injects)
}

/// A time to write, or the place for one that is not known.
fn shown(total: Duration) -> String {
    if total.is_zero() { "…".to_owned() } else { Span::from(total).to_string() }
}
