//! The JSON Schema of the language, derived from the document types, for editors: completion, descriptions, squiggles.
//!
//! Draft-07, which editors' YAML servers read. Numbers and truth values may also be written `${name}`.
//! Neighbours: `document` and `environment` have the types, `squall schema` prints it.

use crate::{document::Document, environment::EnvironmentDoc};
use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Value, json};

/// The schema of an experiment.
#[must_use]
pub fn experiment_schema() -> Value {
    schema::<Document>()
}

/// The schema of an environment.
#[must_use]
pub fn environment_schema() -> Value {
    schema::<EnvironmentDoc>()
}

fn schema<T: JsonSchema>() -> Value {
    let mut schema = SchemaSettings::draft07().into_generator().into_root_schema_for::<T>().to_value();
    allow_references(&mut schema);
    schema
}

/// Lets `${name}` stand wherever a number or a truth value may.
fn allow_references(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            if let Some(widened) = map.get("type").and_then(widened) {
                map.insert("type".into(), widened);
                map.entry("pattern").or_insert_with(|| json!(r"\$\{.+\}"));
            }
            map.values_mut().for_each(allow_references);
        }
        Value::Array(list) => list.iter_mut().for_each(allow_references),
        _ => {}
    }
}

/// The type with texts, where it has numbers or truth values and no texts yet.
fn widened(kind: &Value) -> Option<Value> {
    let mut kinds = match kind {
        Value::String(one) => vec![one.as_str()],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        _ => return None,
    };
    let bare = kinds.iter().any(|kind| matches!(*kind, "integer" | "number" | "boolean"));
    (bare && !kinds.contains(&"string")).then(|| {
        kinds.push("string");
        json!(kinds)
    })
}
