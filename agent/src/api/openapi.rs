//! The API as an OpenAPI 3.1 document, made of the table of calls and of the schemas of the wire's types.
//!
//! A type looks different as it is sent and as it is answered: what has a default may be left out of the one and is
//! always in the other. Where that makes a difference, the answered form has `Shown` behind its name.
//! Neighbours: `table` has the calls, `docs` serves the document and makes a page of it.
//! Invariant: everything that the document refers to is in it.

use super::call::{Call, JSON, Shape, Tag, reason};
use schemars::{
    Schema, SchemaGenerator,
    generate::{Contract, SchemaSettings},
};
use serde_json::{Map, Value, json};
use squall_wire::{ErrorBody, FaultName, LeaseId, ProxyName, schema::literal};

const COMPONENTS: &str = "#/components/schemas/";
const ABOUT: &str = "Stands between clients and an upstream, and hurts the traffic on command.\n\nEvery error has one \
                     shape, and changed nothing. Durations are written as `800ms` or `1m30s`, sizes as `64KiB`, \
                     rates as `1MB/s`.\n\nThe agent also answers Toxiproxy's API, on the same port unless \
                     `--toxiproxy off` or a policy closes it. Those paths (`/version`, `/proxies…`, `/populate`, \
                     `/reset`) are Toxiproxy's own and not in this document.";

/// The document.
pub(super) fn document(calls: &[Call]) -> Value {
    let mut schemas = Schemas::new();
    let mut paths = Map::new();
    for call in calls {
        let entry = paths.entry(call.path).or_insert_with(|| json!({}));
        let mut operation = schemas.operation(call);
        let links = links(call, calls);
        if !links.is_empty() {
            operation["responses"]["201"]["links"] = links.into();
        }
        entry[call.method.as_str().to_ascii_lowercase()] = operation;
    }
    let tags: Vec<_> = Tag::ALL.iter().map(|tag| json!({"name": tag.name(), "description": tag.about()})).collect();
    let mut document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "squall-agent", "version": env!("CARGO_PKG_VERSION"), "description": ABOUT,
            "license": {"name": "MIT OR Apache-2.0"},
        },
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "tags": tags,
        // An agent that listens on the loopback may want nothing.
        "security": [{}, {"bearer": []}, {"certificate": []}],
        "paths": paths,
    });
    let (renamed, definitions) = schemas.definitions();
    rename(&mut document["paths"], &renamed);
    document["components"] = json!({
        "schemas": definitions,
        "securitySchemes": {
            "bearer": {"type": "http", "scheme": "bearer", "description": "A token that the agent's operator gave out."},
            "certificate": {"type": "mutualTLS", "description": "A client certificate that the agent's operator trusts."},
        },
    });
    document
}

/// From a call that makes something to those that name it.
fn links(call: &Call, calls: &[Call]) -> Map<String, Value> {
    let (name, key) = match call.id {
        "createProxy" => ("proxy", "$response.body#/name"),
        "setFault" => ("fault", "$response.body#/name"),
        "takeLease" => ("lease", "$response.body#/id"),
        _ => return Map::new(),
    };
    let targets = calls.iter().filter(|target| target.names().last() == Some(name));
    let link = |target: &Call| {
        // What its own path names is known from the request.
        let known = call.names().map(|name| (name.to_owned(), format!("$request.path.{name}").into()));
        let parameters: Map<String, Value> = known.chain([(name.to_owned(), key.into())]).collect();
        (target.id.to_owned(), json!({"operationId": target.id, "parameters": parameters}))
    };
    targets.map(link).collect()
}

/// Two generators, as a type looks when it is sent and when it is answered.
struct Schemas {
    sent: SchemaGenerator,
    answered: SchemaGenerator,
}

/// What marks, until both sides are known, that a reference is to the answered form.
const ANSWERED: &str = "#/answered/";
const SHOWN: &str = "Shown";

impl Schemas {
    fn new() -> Self {
        let generator = |contract, place: &str| {
            let settings = SchemaSettings::draft2020_12().with(|settings| {
                settings.definitions_path = place.to_owned().into();
                settings.meta_schema = None;
                settings.contract = contract;
            });
            settings.into_generator()
        };
        Self { sent: generator(Contract::Deserialize, COMPONENTS), answered: generator(Contract::Serialize, ANSWERED) }
    }

    fn operation(&mut self, call: &Call) -> Value {
        let mut operation = json!({
            "operationId": call.id, "tags": [call.tag.name()], "summary": call.summary,
        });
        if !call.about.is_empty() {
            operation["description"] = call.about.into();
        }
        let parameters = self.parameters(call);
        if !parameters.is_empty() {
            operation["parameters"] = parameters.into();
        }
        if let Some(body) = &call.body {
            let content = json!({JSON: {"schema": self.sent(body.shape), "example": body.example}});
            operation["requestBody"] = json!({"required": body.required, "content": content});
        }
        operation["responses"] = self.responses(call);
        if call.is_open() {
            operation["security"] = json!([{}]);
        }
        operation
    }

    fn parameters(&mut self, call: &Call) -> Vec<Value> {
        let mut all: Vec<_> = call
            .names()
            .map(|name| {
                let (shape, about): (Shape, _) = match name {
                    "fault" => (SchemaGenerator::subschema_for::<FaultName>, "The fault's name."),
                    "lease" => (SchemaGenerator::subschema_for::<LeaseId>, "The lease's id."),
                    _ => (SchemaGenerator::subschema_for::<ProxyName>, "The proxy's name."),
                };
                json!({"name": name, "in": "path", "required": true, "description": about, "schema": self.sent(shape)})
            })
            .collect();
        all.extend(call.parameters.iter().map(|parameter| {
            json!({
                "name": parameter.name, "in": parameter.place, "required": false, "description": parameter.about,
                "schema": self.sent(parameter.shape),
            })
        }));
        all
    }

    fn responses(&mut self, call: &Call) -> Value {
        let mut responses = Map::new();
        for answer in &call.answers {
            let mut response = json!({"description": answer.about});
            if let Some((kind, shape)) = answer.content {
                response["content"] = json!({kind: {"schema": self.answered(shape)}});
            }
            if answer.status == 201 {
                let schema = json!({"type": "string", "format": "uri-reference"});
                response["headers"] = json!({"Location": {"description": "Where it is.", "schema": schema}});
            }
            responses.insert(answer.status.to_string(), response);
        }
        // To be described, although nothing can refer to it.
        call.carried.iter().for_each(|shape| drop(self.answered(*shape)));
        for status in call.all_refusals() {
            let content = json!({JSON: {"schema": self.answered(SchemaGenerator::subschema_for::<ErrorBody>)}});
            responses.insert(status.to_string(), json!({"description": reason(status), "content": content}));
        }
        responses.into()
    }

    fn sent(&mut self, shape: Shape) -> Value {
        finished(shape(&mut self.sent))
    }

    fn answered(&mut self, shape: Shape) -> Value {
        finished(shape(&mut self.answered))
    }

    /// Names of answered forms that became others, and all definitions by their names.
    fn definitions(mut self) -> (Vec<String>, Map<String, Value>) {
        let take = |generator: &mut SchemaGenerator| -> Map<String, Value> {
            let all = generator.take_definitions(false).into_iter();
            // Each is an object or a boolean, as every schema is.
            all.map(|(name, form)| (name, Schema::try_from(form).map(finished).unwrap_or_default())).collect()
        };
        let (sent, answered) = (take(&mut self.sent), take(&mut self.answered));
        let differs = |name: &str, of: &[String]| {
            let mut form = answered[name].clone();
            rename(&mut form, of);
            sent.get(name).is_some_and(|other| *other != form)
        };
        // A type that refers to one that differs differs too, so this is done until nothing more comes.
        let mut renamed: Vec<String> = Vec::new();
        loop {
            let more: Vec<_> =
                answered.keys().filter(|name| !renamed.contains(name) && differs(name, &renamed)).cloned().collect();
            if more.is_empty() {
                break;
            }
            renamed.extend(more);
        }
        let mut all = sent.clone();
        for (name, mut form) in answered {
            rename(&mut form, &renamed);
            let name = if renamed.contains(&name) { format!("{name}{SHOWN}") } else { name };
            all.insert(name, form);
        }
        all.sort_keys();
        (renamed, all)
    }
}

/// Without the room for variables that experiments have.
fn finished(mut schema: Schema) -> Value {
    literal(&mut schema);
    schema.to_value()
}

/// Turns references to answered forms into references to what these became.
fn rename(value: &mut Value, renamed: &[String]) {
    match value {
        Value::Object(map) => {
            if let Some(Value::String(target)) = map.get_mut("$ref")
                && let Some(name) = target.strip_prefix(ANSWERED)
            {
                let shown = if renamed.iter().any(|other| other == name) { SHOWN } else { "" };
                *target = format!("{COMPONENTS}{name}{shown}");
            }
            map.values_mut().for_each(|value| rename(value, renamed));
        }
        Value::Array(list) => list.iter_mut().for_each(|value| rename(value, renamed)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::document;
    use crate::api::table;
    use serde_json::Value;
    use std::collections::BTreeSet;

    fn references(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(map) => {
                if let Some(Value::String(target)) = map.get("$ref") {
                    found.insert(target.clone());
                }
                map.values().for_each(|value| references(value, found));
            }
            Value::Array(list) => list.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn everything_that_is_referred_to_is_there_and_no_pattern_takes_a_variable() {
        let document = document(&table::calls());
        let mut found = BTreeSet::new();
        references(&document, &mut found);
        assert!(found.len() > 20, "{found:?}");
        for target in &found {
            let pointer = target.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{target} leads nowhere");
        }
        let text = document.to_string();
        assert!(!text.contains(r"\\$\\{"), "an agent knows no variables");
        assert!(!text.contains("#/$defs") && !text.contains("#/answered"), "references are the document's own");
    }

    #[test]
    fn what_has_a_default_may_be_left_out_but_is_always_answered() {
        let document = document(&table::calls());
        let required = |name: &str| document["components"]["schemas"][name]["required"].clone();
        assert_eq!(required("Latency"), serde_json::json!(["delay"]));
        assert_eq!(required("LatencyShown"), serde_json::json!(["delay", "jitter", "distribution", "buffer"]));
    }

    #[test]
    fn what_is_made_leads_to_the_calls_that_name_it() {
        let document = document(&table::calls());
        let links = &document["paths"]["/v1/proxies/{proxy}/faults"]["post"]["responses"]["201"]["links"];
        let wanted = serde_json::json!({"proxy": "$request.path.proxy", "fault": "$response.body#/name"});
        assert_eq!(links["removeFault"]["parameters"], wanted);
        let targets =
            |path: &str| document["paths"][path]["post"]["responses"]["201"]["links"].as_object().unwrap().len();
        assert_eq!((targets("/v1/proxies"), targets("/v1/leases")), (6, 3));
    }

    #[test]
    fn each_call_has_a_name_of_its_own_and_says_what_it_does_and_answers() {
        let calls = table::calls();
        let ids: BTreeSet<_> = calls.iter().map(|call| call.id).collect();
        assert_eq!(ids.len(), calls.len());
        for call in &calls {
            assert!(!call.summary.is_empty() && !call.answers.is_empty(), "{} {}", call.method, call.path);
            assert!(call.names().all(|name| ["proxy", "fault", "lease"].contains(&name)), "{}", call.path);
        }
    }
}
