//! One toxic: parsed from what a client sends, shown as a client reads it.
//!
//! Neighbours: `kind.rs` has the attributes and the fault; `registry::toxics` keeps the toxics of each proxy.
//! Invariant: what is shown is what was sent, but for `toxicity`, which is a number of 32 bits as in Toxiproxy.

use super::{
    ToxiproxyMistake,
    fields::Fields,
    kind::{ToxicKind, Values},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use squall_wire::{Direction, FaultKind, FaultSpec, Percent};

/// Letters in the name of a toxic, at most: it is written to the log at every change.
const LONGEST_NAME: usize = 200;

/// A toxic as it is asked for.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Map<String, Value>")]
pub struct ToxicInput {
    name: Option<String>,
    kind: Option<String>,
    stream: Option<String>,
    direction: Option<String>,
    toxicity: Option<f32>,
    attributes: Option<Map<String, Value>>,
}

impl TryFrom<Map<String, Value>> for ToxicInput {
    type Error = String;

    fn try_from(object: Map<String, Value>) -> Result<Self, String> {
        let fields = Fields(object);
        Ok(Self {
            name: fields.take("name")?,
            kind: fields.take("type")?,
            stream: fields.take("stream")?,
            direction: fields.take("direction")?,
            toxicity: fields.take("toxicity")?,
            attributes: fields.take("attributes")?,
        })
    }
}

/// What may be changed of a toxic; what is absent stays.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(try_from = "Map<String, Value>")]
pub(crate) struct ToxicPatch {
    toxicity: Option<f32>,
    attributes: Option<Map<String, Value>>,
}

impl TryFrom<Map<String, Value>> for ToxicPatch {
    type Error = String;

    fn try_from(object: Map<String, Value>) -> Result<Self, String> {
        let fields = Fields(object);
        Ok(Self { toxicity: fields.take("toxicity")?, attributes: fields.take("attributes")? })
    }
}

/// A toxic that makes sense.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Toxic {
    pub(crate) name: String,
    kind: ToxicKind,
    /// As it was sent, in any letter case.
    stream: String,
    toxicity: f32,
    values: Values,
}

/// A toxic as it is shown.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ToxicView {
    attributes: Map<String, Value>,
    pub(crate) name: String,
    #[serde(rename = "type")]
    kind: &'static str,
    stream: String,
    toxicity: Value,
}

impl ToxicInput {
    /// The toxic, or the first thing that is wrong, in the order in which Toxiproxy looks.
    pub(crate) fn parsed(self) -> Result<Toxic, ToxiproxyMistake> {
        let stream = self.stream.or(self.direction).unwrap_or_else(|| "downstream".to_owned());
        if !["upstream", "downstream"].contains(&stream.to_ascii_lowercase().as_str()) {
            return Err(ToxiproxyMistake::Stream);
        }
        let kind = ToxicKind::named(self.kind.as_deref().unwrap_or_default()).ok_or(ToxiproxyMistake::Type)?;
        let name = self.name.filter(|name| !name.is_empty()).unwrap_or_else(|| format!("{}_{stream}", kind.name()));
        if name.chars().count() > LONGEST_NAME {
            return Err(ToxiproxyMistake::Body(format!("the name of a toxic has at most {LONGEST_NAME} letters")));
        }
        let toxicity = sound(self.toxicity, 1.0)?;
        let values = kind.merged(&[], self.attributes.as_ref())?;
        Ok(Toxic { name, kind, stream, toxicity, values })
    }
}

impl Toxic {
    pub(crate) fn is_upstream(&self) -> bool {
        self.stream.eq_ignore_ascii_case("upstream")
    }

    /// The toxic with what the patch names.
    pub(crate) fn patched(&self, patch: &ToxicPatch) -> Result<Self, ToxiproxyMistake> {
        let toxicity = sound(patch.toxicity, self.toxicity)?;
        let values = self.kind.merged(&self.values, patch.attributes.as_ref())?;
        Ok(Self { values, toxicity, ..self.clone() })
    }

    /// The fault that does it, without a name; none where nothing is to be done.
    pub(crate) fn fault(&self) -> Option<FaultSpec> {
        let mut spec = FaultSpec::of(self.kind.fault(&self.values)?);
        spec.direction = Some(if self.is_upstream() { Direction::Upstream } else { Direction::Downstream });
        spec.percent = share(self.toxicity);
        Some(spec)
    }

    /// Its fault was changed by its own name: shows what it is now.
    pub(crate) fn follow(&mut self, fault: Option<&FaultKind>, percent: Option<Percent>) {
        if let Some(values) = fault.and_then(|fault| self.kind.values_of(fault)) {
            self.values = values;
        }
        if let Some(percent) = percent {
            self.toxicity = percent.fraction() as f32;
        }
    }

    pub(crate) fn view(&self) -> ToxicView {
        let named = self.kind.attributes().iter().zip(&self.values);
        ToxicView {
            attributes: named.map(|(name, value)| ((*name).to_owned(), Value::from(*value))).collect(),
            name: self.name.clone(),
            kind: self.kind.name(),
            stream: self.stream.clone(),
            toxicity: number(self.toxicity),
        }
    }
}

/// What was sent, or what was there. A number that does not fit into 32 bits is infinite here and could not be shown.
fn sound(sent: Option<f32>, before: f32) -> Result<f32, ToxiproxyMistake> {
    match sent.unwrap_or(before) {
        toxicity if toxicity.is_finite() => Ok(toxicity),
        _ => Err(ToxiproxyMistake::Body("toxicity does not fit into 32 bits: write a number from 0 to 1".to_owned())),
    }
}

/// As in Toxiproxy, anything over 1 is everything and anything under 0 is nothing.
fn share(toxicity: f32) -> Percent {
    Percent::new(shortest(toxicity).clamp(0.0, 1.0) * 100.0).unwrap_or_default()
}

/// The shortest decimal number that is this one, so that 0.1 is not 0.10000000149.
fn shortest(number: f32) -> f64 {
    number.to_string().parse().unwrap_or_else(|_| f64::from(number))
}

/// Whole numbers without a fraction, as Go writes them.
fn number(toxicity: f32) -> Value {
    if toxicity.fract() == 0.0 && toxicity.abs() < 1e9 {
        return Value::from(toxicity as i64);
    }
    Value::from(shortest(toxicity))
}

#[cfg(test)]
mod tests {
    use super::{ToxicInput, ToxicPatch};
    use serde_json::json;

    fn parsed(value: serde_json::Value) -> Result<super::Toxic, String> {
        serde_json::from_value::<ToxicInput>(value).unwrap().parsed().map_err(|mistake| mistake.to_string())
    }

    #[test]
    fn what_is_left_out_has_toxiproxys_defaults() {
        let toxic = parsed(json!({"type": "latency", "attributes": {"latency": 5, "other": 1}, "more": []})).unwrap();
        let shown = serde_json::to_string(&toxic.view()).unwrap();
        let expected = r#"{"attributes":{"latency":5,"jitter":0},"name":"latency_downstream","type":"latency","stream":"downstream","toxicity":1}"#;
        assert_eq!(shown, expected);
    }

    #[test]
    fn the_direction_is_echoed_as_it_was_written_and_may_be_called_direction() {
        for (field, upstream) in [("stream", "UPSTREAM"), ("direction", "Upstream")] {
            let toxic = parsed(json!({"type": "timeout", field: upstream})).unwrap();
            let view = serde_json::to_value(toxic.view()).unwrap();
            assert_eq!(view["stream"], upstream);
            assert_eq!(view["name"], format!("timeout_{upstream}"));
            assert_eq!(toxic.fault().unwrap().direction, Some(squall_wire::Direction::Upstream));
        }
    }

    #[test]
    fn toxicity_is_shown_as_sent_and_clamped_where_it_acts() {
        for (sent, percent) in [(0.1, 10.0), (0.25, 25.0), (5.0, 100.0), (-1.0, 0.0), (0.0, 0.0)] {
            let toxic = parsed(json!({"type": "timeout", "toxicity": sent})).unwrap();
            assert_eq!(serde_json::to_value(toxic.view()).unwrap()["toxicity"].as_f64(), Some(sent));
            assert_eq!(toxic.fault().unwrap().percent.get(), percent, "{sent}");
        }
    }

    #[test]
    fn a_toxicity_that_could_not_be_shown_is_refused() {
        let too_much = json!({"type": "timeout", "toxicity": 1e40});
        assert!(parsed(too_much.clone()).unwrap_err().starts_with("bad request body: toxicity"));
        let toxic = parsed(json!({"type": "timeout"})).unwrap();
        let patch: ToxicPatch = serde_json::from_value(too_much).unwrap();
        assert!(toxic.patched(&patch).is_err());
    }

    #[test]
    fn mistakes_are_found_in_toxiproxys_order() {
        let told = |value| parsed(value).unwrap_err();
        let stream = "stream was invalid, can be either upstream or downstream";
        assert_eq!(told(json!({"type": "nonsense", "stream": "sideways"})), stream);
        assert_eq!(told(json!({"type": "nonsense", "attributes": {"latency": -1}})), "invalid toxic type");
        assert_eq!(told(json!({})), "invalid toxic type");
        for value in [json!(-1), json!(1.5), json!(1.0), json!("1"), json!(true), json!([1])] {
            let told = told(json!({"type": "latency", "attributes": {"latency": value}}));
            assert!(told.starts_with("bad request body: attributes.latency"), "{told}");
        }
        for sizes in [json!({}), json!({"average_size": 0}), json!({"average_size": 5, "size_variation": 6})] {
            assert!(told(json!({"type": "slicer", "attributes": sizes})).starts_with("bad request body: "));
        }
    }

    #[test]
    fn a_patch_is_laid_over_what_was_there() {
        let toxic = parsed(json!({"type": "latency", "attributes": {"latency": 5, "jitter": 3}})).unwrap();
        let patch: ToxicPatch = serde_json::from_value(json!({"attributes": {"jitter": 4}, "type": "x"})).unwrap();
        let view = serde_json::to_value(toxic.patched(&patch).unwrap().view()).unwrap();
        assert_eq!(view["attributes"], json!({"latency": 5, "jitter": 4}));
        let bad: ToxicPatch = serde_json::from_value(json!({"attributes": {"jitter": -4}})).unwrap();
        assert!(toxic.patched(&bad).is_err());
    }
}
