//! The JSON Schema of the language: draft-07, with every nested key described, and true of the example.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use serde_json::{Map, Value};
use squall_engine::schema::{environment_schema, experiment_schema};
use squall_wire::FaultKind;

/// What the schema says of the key at this path: `method.inject.fault`.
fn describe(schema: &Value, path: &str) -> Option<Map<String, Value>> {
    let mut at = schema;
    for key in path.split('.').filter(|key| !key.is_empty()) {
        at = step(schema, resolve(schema, at)?, key)?;
    }
    resolve(schema, at)?.as_object().cloned()
}

/// One key further down, through lists, options and maps.
fn step<'a>(root: &'a Value, at: &'a Value, key: &str) -> Option<&'a Value> {
    if let Some(found) = at.get("properties").and_then(|properties| properties.get(key)) {
        return Some(found);
    }
    if let Some(any) = at.get("additionalProperties").filter(|any| any.is_object()) {
        return Some(any);
    }
    let further = at.get("items").into_iter();
    let either = ["anyOf", "oneOf", "allOf"].into_iter().filter_map(|word| at.get(word)?.as_array()).flatten();
    further.chain(either).filter(|next| next.is_object()).find_map(|next| step(root, resolve(root, next)?, key))
}

fn resolve<'a>(root: &'a Value, at: &'a Value) -> Option<&'a Value> {
    match at.get("$ref").and_then(Value::as_str) {
        Some(reference) => root.pointer(reference.strip_prefix('#')?),
        None => Some(at),
    }
}

#[test]
fn it_is_draft_07_and_refuses_unknown_keys() {
    for schema in [experiment_schema(), environment_schema()] {
        assert_eq!(schema["$schema"], "http://json-schema.org/draft-07/schema#");
        assert_eq!(schema["additionalProperties"], false);
        assert!(schema["title"].as_str().unwrap().starts_with("Squall"), "{}", schema["title"]);
    }
    let required = experiment_schema()["required"].to_string();
    assert_eq!(required, r#"["version","name","hypothesis","steady_state","method","blast_radius"]"#);
}

#[test]
fn nested_keys_are_described() {
    let schema = experiment_schema();
    let paths = [
        "variables.x.max",
        "traffic.requests.expect.body_contains",
        "probes.x.metrics.quantile",
        "probes.x.agent.read",
        "probes.x.tcp.address",
        "probes.x.command.run",
        "probes.x.command.env",
        "probes.x.promql.query",
        "probes.x.sql.url",
        "steady_state.windows",
        "steady_state.for",
        "abort_when.burn_rate",
        "steady_state.p99",
        "steady_state.when",
        "method.inject.fault.latency.delay",
        "method.parallel.inject.where.client",
        "method.for",
        "blast_radius.percent",
        "abort_when.probe_silent",
        "recovery.hold",
    ];
    for path in paths {
        assert!(describe(&schema, path).is_some(), "{path}");
    }
    assert!(describe(&schema, "method.inject.fault.latncy").is_none());
    let described = |path: &str| describe(&schema, path).unwrap()["description"].as_str().unwrap().to_owned();
    assert!(described("blast_radius").starts_with("What may be touched"));
    assert!(described("traffic.requests.weight").contains("1 when absent"));
}

#[test]
fn every_kind_of_fault_is_in_it() {
    let schema = experiment_schema();
    for kind in FaultKind::CATALOGUE {
        for parameter in kind.parameters {
            let path = format!("method.inject.fault.{}.{}", kind.name, parameter.name);
            assert!(describe(&schema, &path).is_some(), "{path}");
        }
    }
}

#[test]
fn numbers_and_truth_values_may_be_references() {
    let schema = experiment_schema();
    for path in ["traffic.clients", "probes.x.metrics.rate", "method.inject.seed"] {
        let at = describe(&schema, path).unwrap();
        assert!(at["type"].to_string().contains("\"string\"") && at["pattern"] == r"\$\{.+\}", "{path}: {at:?}");
    }
}
