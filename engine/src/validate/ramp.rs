//! Ramps: what grows, from where to where, and that every level is a fault that can be set and stays inside the blast
//! radius.
//!
//! Neighbour: `level` has the amounts. Invariant: the levels are at least two, and not more than `MOST`.

use super::{
    Check, LONGEST,
    method::{Before, SHORTEST},
};
use crate::{
    amount::{self, Unit},
    document::{InjectDoc, RampDoc, StepDoc},
    experiment::{Inject, Level, Ramp, RampExpect, When},
    level,
    sample::Metric,
    tolerance::Tolerance,
    yaml::Spot,
};
use serde_json::Value;
use squall_wire::{FaultSpec, Percent, Span};
use std::time::Duration;

/// A ramp of more levels takes longer than anybody watches.
const MOST: usize = 100;
const TRAFFIC_RATE: &str = "traffic.rate";
const DEFAULT_TRAFFIC_TIMEOUT: Duration = Duration::from_secs(5);

impl Check<'_, '_, '_> {
    pub(super) fn ramp(&mut self, doc: &RampDoc, step: &StepDoc, spot: Spot<'_>, before: &mut Before) -> Option<Ramp> {
        let at = spot.key("ramp");
        self.wants_rows(When::During, at, "a ramp is judged by the rows for `during`");
        let Some(vary) = doc.vary.as_deref() else {
            self.missing(at, "vary", "say what grows: `vary: delay`, `vary: percent` or `vary: traffic.rate`");
            return None;
        };
        let made_up = || match &doc.inject {
            Some(inject) => format!("ramp {vary} of {} on {}", inject.fault.name(), inject.proxy),
            None => format!("ramp {vary}"),
        };
        let name = self.step_name(step, spot, before, made_up);
        let hold = match doc.hold {
            Some(hold) => self.duration(at.key("hold"), "hold", Some(hold.get()), &(SHORTEST..=LONGEST)),
            None => {
                self.missing(at, "hold", "say how long each level is held: `hold: 5s`");
                None
            }
        };
        let (unit, written) = self.varied(doc, vary, at)?;
        let amounts = self.amounts(doc, unit, written, at)?;
        let (levels, inject) = match &doc.inject {
            Some(inject) => {
                let (levels, widest) = self.fault_levels(inject, vary, unit, &amounts, at.key("inject"))?;
                let (agent, agents) = (inject.agent.clone(), self.agents_choice(inject, at.key("inject")));
                let (name, proxy) = (name.clone(), inject.proxy.clone());
                (levels, Some(Inject { name, agent, agents, proxy, fault: widest, lasting: Duration::ZERO }))
            }
            None => {
                let level = |value: &f64| Level { shown: unit.shown(*value), value: *value, fault: None };
                (amounts.iter().map(level).collect(), None)
            }
        };
        let expect = self.ramp_expect(doc, unit, at);
        let mut ramp = Ramp { name, vary: vary.to_owned(), inject, levels, hold: hold?, settle: self.settle(), expect };
        let lasting = ramp.duration();
        if let Some(inject) = &mut ramp.inject {
            inject.lasting = lasting;
        }
        Some(ramp)
    }

    /// What grows: its unit, and what is written where it stands.
    fn varied(&mut self, doc: &RampDoc, vary: &str, at: Spot<'_>) -> Option<(Unit, f64)> {
        let mark = at.key("vary").mark();
        if vary == TRAFFIC_RATE {
            if doc.inject.is_some() {
                let told = self.report.error(at.key("inject").key_mark(), "a ramp of the traffic's rate sets no fault");
                told.help("put the `inject` beside the ramp, in a `parallel` step");
                return None;
            }
            let Some(traffic) = &self.doc.traffic else {
                self.report.error(mark, "there is no load whose rate could grow").help("write a `traffic:` section");
                return None;
            };
            return Some((Unit::Rate, traffic.rate?.per_second()));
        }
        let Some(inject) = &doc.inject else {
            let help = "write the fault that grows: `inject: {proxy: …, fault: {latency: {delay: 50ms}}}`";
            self.missing(at, "inject", help);
            return None;
        };
        if vary == "percent" {
            return Some((Unit::Percent, inject.percent.get()));
        }
        let kind = inject.fault.name();
        let value = serde_json::to_value(&inject.fault).unwrap_or_default();
        let parameters = value.get(kind).and_then(Value::as_object).cloned().unwrap_or_default();
        let amount = |value: &Value| match value {
            Value::String(text) => amount::parse(text),
            other => other.as_f64().map(|number| (Unit::Number, number)),
        };
        if let Some(found) = parameters.get(vary).and_then(amount) {
            return Some(found);
        }
        let told = self.report.error(mark, format!("`{kind}` has no `{vary}` that could grow"));
        let known = parameters.iter().filter(|(_, value)| amount(value).is_some()).map(|(key, _)| key.as_str());
        let known: Vec<&str> = known.chain(["percent", TRAFFIC_RATE]).collect();
        told.nearest(vary, known.iter().copied());
        None
    }

    fn amounts(&mut self, doc: &RampDoc, unit: Unit, written: f64, at: Spot<'_>) -> Option<Vec<f64>> {
        let from = match &doc.from {
            Some(text) => self.amount(text.as_str(), unit, at.key("from"))?,
            None => written,
        };
        let Some(to) = &doc.to else {
            self.missing(at, "to", "say where the ramp ends: `to: 5s`");
            return None;
        };
        let to = self.amount(to.as_str(), unit, at.key("to"))?;
        if from == to {
            self.report.error(at.key("to").mark(), "the ramp ends where it begins").help("give another `from` or `to`");
            return None;
        }
        let levels = match (doc.steps, doc.factor) {
            (Some(steps), None) if (2..=MOST).contains(&(steps as usize)) => Some(level::evenly(from, to, steps)),
            (Some(steps), None) => {
                let told = self.report.error(at.key("steps").mark(), format!("`{steps}` levels cannot be"));
                told.expected(format!("from 2 to {MOST}"));
                None
            }
            (None, Some(factor)) if !(factor.is_finite() && factor > 1.0) => {
                let told = self.report.error(at.key("factor").mark(), format!("`{factor}` is no factor of a ramp"));
                told.expected("more than 1, such as `2`; where `to` is smaller than `from`, levels are divided by it");
                None
            }
            (None, Some(_)) if from <= 0.0 || to <= 0.0 => {
                let told = self.report.error(at.key("factor").mark(), "by a factor one never comes from or to nothing");
                told.help("give a `from` and a `to` above 0, or `steps`");
                None
            }
            (None, Some(factor)) => {
                let levels = level::by_factor(from, to, factor, MOST);
                if levels.is_none() {
                    let told =
                        self.report.error(at.key("factor").mark(), format!("that makes more than {MOST} levels"));
                    told.help("give a larger factor");
                }
                levels
            }
            (Some(_), Some(_)) => {
                let related = at.key("steps").key_mark();
                let told = self.report.error(at.key("factor").key_mark(), "give `steps` or `factor`, not both");
                told.related(related, "the other is here");
                None
            }
            (None, None) => {
                if !at.node().had("steps") && !at.node().had("factor") {
                    let help = "say how the levels grow: `steps: 8` evenly, or `factor: 2`";
                    self.missing(at, "steps", help);
                }
                None
            }
        };
        levels.filter(|levels| levels.len() >= 2)
    }

    fn amount(&mut self, text: &str, unit: Unit, at: Spot<'_>) -> Option<f64> {
        match amount::parse(text) {
            Some((found, value)) if found == unit => Some(value),
            Some((Unit::Number, value)) if unit == Unit::Percent => Some(value),
            _ => {
                self.report.error(at.mark(), format!("`{text}` cannot be a level here")).expected(unit.example());
                None
            }
        }
    }

    /// Each level as a fault, and the one that reaches furthest: the last, with the largest share of all.
    fn fault_levels(
        &mut self,
        doc: &InjectDoc,
        vary: &str,
        unit: Unit,
        amounts: &[f64],
        at: Spot<'_>,
    ) -> Option<(Vec<Level>, FaultSpec)> {
        let plain = self.fault(doc, at);
        self.stay_inside(doc, at);
        let mut levels = Vec::new();
        for value in amounts {
            let shown = unit.shown(*value);
            let fault = match at_level(&plain, vary, unit, *value) {
                Ok(fault) => fault,
                Err(why) => {
                    self.report.error(at.key_mark(), format!("the level {shown} cannot be set: {why}"));
                    return None;
                }
            };
            if let Some(mistake) = fault.mistakes().into_iter().find(|_| fault != plain) {
                self.report.error(at.key_mark(), format!("the level {shown} cannot be set: {}", mistake.message));
                return None;
            }
            levels.push(Level { shown, value: *value, fault: Some(fault) });
        }
        let mut widest = levels.last()?.fault.clone()?;
        let shares = levels.iter().filter_map(|level| level.fault.as_ref()).map(|fault| fault.percent);
        widest.percent = shares.fold(widest.percent, |most, share| if share > most { share } else { most });
        self.stay_inside(&InjectDoc { percent: widest.percent, ..doc.clone() }, at);
        Some((levels, widest))
    }

    fn ramp_expect(&mut self, doc: &RampDoc, unit: Unit, at: Spot<'_>) -> Option<RampExpect> {
        let text = doc.expect.as_ref()?.as_str();
        let is_time = unit == Unit::Duration;
        // A share is compared as it is written, 30 for 30 %.
        let plain = if unit == Unit::Percent { text.replace('%', "") } else { text.to_owned() };
        let metric = match unit {
            Unit::Duration => Metric::Max,
            Unit::Rate => Metric::Rate,
            _ => Metric::Value,
        };
        match Tolerance::parse(&plain, metric) {
            Ok(tolerance) if !tolerance.needs_baseline() => Some(RampExpect { tolerance, is_time }),
            Ok(_) => {
                let mark = at.key("expect").mark();
                self.report.error(mark, "a level has no baseline").expected("a limit, such as `\">= 1s\"`");
                None
            }
            Err(error) => {
                self.report.error(at.key("expect").mark(), error.message).expected("a limit, such as `\">= 1s\"`");
                None
            }
        }
    }

    /// The longest that a request or a reading may be under way.
    pub(super) fn settle(&self) -> Duration {
        let get = |span: Option<Span>, default: Duration| span.map_or(default, Span::get);
        let traffic = self.doc.traffic.iter().map(|traffic| get(traffic.timeout, DEFAULT_TRAFFIC_TIMEOUT));
        let second = Duration::from_secs(1);
        let probes = self.doc.probes.iter().flatten();
        let probes = probes.map(|(_, probe)| get(probe.timeout, get(probe.every, second).min(second)));
        traffic.chain(probes).max().unwrap_or_default()
    }

    /// There must be a row that is judged then.
    pub(super) fn wants_rows(&mut self, when: When, at: Spot<'_>, why: &str) {
        let Some(rows) = &self.doc.steady_state else { return };
        let judged = |row: &crate::document::SteadyDoc| row.when.as_ref().is_none_or(|whens| whens.contains(&when));
        if !rows.is_empty() && !rows.iter().any(judged) && !self.root.key("steady_state").node().has_lost() {
            let related = self.root.key("steady_state").key_mark();
            let told = self.report.error(at.key_mark(), format!("{why}, and the steady state has none"));
            told.related(related, "none of these is one");
        }
    }
}

/// The fault with one thing of it at this level.
fn at_level(fault: &FaultSpec, vary: &str, unit: Unit, value: f64) -> Result<FaultSpec, String> {
    let mut fault = fault.clone();
    if vary == "percent" {
        fault.percent = Percent::new(value).map_err(|error| error.to_string())?;
        return Ok(fault);
    }
    let kind = fault.fault.name();
    let mut written = serde_json::to_value(&fault.fault).unwrap_or_default();
    if let Some(place) = written.get_mut(kind).and_then(|parameters| parameters.get_mut(vary)) {
        *place = match place {
            Value::String(_) => Value::String(unit.written(value)),
            Value::Number(number) if number.is_f64() => serde_json::json!(value),
            _ => serde_json::json!(value.round().max(0.0) as u64),
        };
    }
    fault.fault = serde_json::from_value(written).map_err(|error| error.to_string())?;
    Ok(fault)
}
