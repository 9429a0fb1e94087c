//! Surges of the load, and what is set up before it.
//!
//! Neighbours: `method` has the steps, `traffic` the normal load, `run` carries out. Invariant: a surge changes a load that
//! there is, no two steps change it at the same time, and a setup hurts nothing.

use super::{
    Check, LONGEST,
    method::{Before, SHORTEST},
    traffic::FASTEST,
};
use crate::{
    amount::Unit,
    document::{StepDoc, SurgeDoc},
    experiment::{Step, Surge},
    yaml::Spot,
};

impl Check<'_, '_, '_> {
    /// What is done before the baseline.
    pub(super) fn setup(&mut self, before: &mut Before) -> Vec<Step> {
        let list = self.root.key("setup");
        let Some(steps) = &self.doc.setup else { return Vec::new() };
        if steps.is_empty() && !list.node().has_lost() {
            let told = self.report.error(list.mark(), "the setup is empty");
            told.help("leave it out, or write a step such as `run: {http: {url: …}, undo: {…}}`");
        }
        for (index, step) in steps.iter().enumerate() {
            let spot = list.item(index);
            let hurts = ["inject", "surge", "parallel", "ramp", "check", "pause", "repeat"];
            if let Some(word) = hurts.into_iter().find(|word| spot.node().had(word) && step.run.is_none()) {
                let message = format!("`{word}` has no place in `setup`, which comes before the baseline");
                let told = self.report.error(spot.key(word).key_mark(), message);
                told.help("set up by `run` and `wait`; what is put to the test belongs in `method`");
            }
        }
        self.steps(steps, list, before)
    }

    pub(super) fn surge(
        &mut self,
        doc: &SurgeDoc,
        step: &StepDoc,
        spot: Spot<'_>,
        before: &mut Before,
    ) -> Option<Surge> {
        let at = spot.key("surge");
        let rate = doc.rate.map(|rate| rate.per_second());
        let made_up = || rate.map_or_else(|| "surge".to_owned(), |rate| format!("surge of {}", Unit::Rate.shown(rate)));
        let name = self.step_name(step, spot, before, made_up);
        let lasting = match step.lasting {
            Some(lasting) => self.duration(spot.key("for"), "for", Some(lasting.get()), &(SHORTEST..=LONGEST)),
            None => {
                self.missing(spot, "for", "say how long the surge lasts: `for: 1m`");
                None
            }
        };
        let Some(traffic) = &self.doc.traffic else {
            if !self.root.node().had("traffic") {
                let told = self.report.error(at.key_mark(), "there is no load that could surge");
                told.help("write a `traffic:` section: its `rate` is what is normal");
            }
            return None;
        };
        let Some(rate) = rate else {
            self.missing(at, "rate", "write so many requests a second: `rate: 600/s`");
            return None;
        };
        let mark = at.key("rate").mark();
        if !(rate > 0.0 && rate <= FASTEST) {
            let told = self.report.error(mark, format!("a rate of {rate}/s cannot be"));
            told.expected(format!("more than 0/s, at most {FASTEST}/s"));
        } else if traffic.rate.is_some_and(|normal| normal.per_second() == rate) {
            let normal = self.root.path("traffic.rate").key_mark();
            let told = self.report.error(mark, "that is what the load is already, so nothing would change");
            told.related(normal, "this is what is normal").help("give another rate, here or there");
        }
        Some(Surge { name, rate, lasting: lasting? })
    }

    /// The load has one rate at a time.
    pub(super) fn refuse_two_loads(&mut self, steps: &[Step], list: Spot<'_>) {
        let loads = |step: &&Step| step.all().into_iter().any(|inner| inner.load().is_some());
        let names: Vec<&str> = steps.iter().filter(loads).map(Step::name).collect();
        if let [first, second, ..] = names.as_slice() {
            let message = format!("`{first}` and `{second}` would change the load at the same time");
            self.report.error(list.mark(), message).help("do one after the other");
        }
    }
}
