//! Requests made up from the API's own description: some as it says, some not quite.
//!
//! Neighbours: `api_property.rs` sends them. Invariant: whatever listens or is dialled is on the loopback.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use proptest::{collection::vec, option, prelude::*, sample::select, string::string_regex};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    pub(crate) method: String,
    /// With names and query filled in.
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Option<Vec<u8>>,
}

/// Requests for one operation.
pub(crate) fn requests(document: &Arc<Value>, path: &str, method: &str) -> BoxedStrategy<Made> {
    let operation = &document["paths"][path][method];
    let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
    let values: Vec<_> = parameters.iter().map(|parameter| value_of(document, parameter)).collect();
    let body = match operation["requestBody"]["content"]["application/json"]["schema"].clone() {
        Value::Null => Just(None).boxed(),
        schema => option::weighted(0.95, body(document, &schema)).boxed(),
    };
    let (path, method) = (path.to_owned(), method.to_ascii_uppercase());
    (values, body)
        .prop_map(move |(values, body)| {
            let mut made = Made { method: method.clone(), path: path.clone(), headers: Vec::new(), body };
            let mut query = url::form_urlencoded::Serializer::new(String::new());
            for (parameter, value) in parameters.iter().zip(values) {
                let (Some(name), Some(value)) = (parameter["name"].as_str(), value) else { continue };
                match parameter["in"].as_str() {
                    Some("path") => made.path = made.path.replace(&format!("{{{name}}}"), &in_path(&value)),
                    Some("query") => drop(query.append_pair(name, &value)),
                    _ => made.headers.push((name.to_owned(), value)),
                }
            }
            let query = query.finish();
            if !query.is_empty() {
                made.path += &format!("?{query}");
            }
            made
        })
        .boxed()
}

/// A name that is there, one that could be, or nonsense; optional ones are left out at times.
fn value_of(document: &Arc<Value>, parameter: &Value) -> BoxedStrategy<Option<String>> {
    let known = select(vec!["db", "slow", "latency-1"]).prop_map(str::to_owned);
    let sound = form(document, &parameter["schema"], 4).prop_map(|value| value.as_str().unwrap_or_default().to_owned());
    // What a header can carry.
    let text = prop_oneof![3 => known, 3 => sound, 1 => "[ -~]{0,80}"];
    if parameter["required"] == true { text.prop_map(Some).boxed() } else { option::of(text).boxed() }
}

fn in_path(text: &str) -> String {
    // Dots alone would be another path.
    let encoded: String = url::form_urlencoded::byte_serialize(text.as_bytes()).collect();
    encoded.replace('+', "%20").replace('.', "%2E")
}

/// What the schema describes; the same with one thing wrong; or no JSON at all.
fn body(document: &Arc<Value>, schema: &Value) -> BoxedStrategy<Vec<u8>> {
    let sound = form(document, schema, 8);
    let text = |value: Value| at_home(value).to_string().into_bytes();
    let bent = (sound.clone(), any::<prop::sample::Index>(), junk()).prop_map(|(mut value, at, junk)| {
        let mut left = at.index(count(&value));
        replace(&mut value, &mut left, &junk);
        value
    });
    let cut = (sound.clone(), any::<prop::sample::Index>()).prop_map(move |(value, at)| {
        let whole = text(value);
        whole[..at.index(whole.len().max(1)).min(whole.len())].to_vec()
    });
    prop_oneof![5 => sound.prop_map(text), 4 => bent.prop_map(text), 1 => cut, 1 => vec(any::<u8>(), 0..64)].boxed()
}

/// Listeners and upstreams on the loopback, where they are addresses.
fn at_home(mut value: Value) -> Value {
    for key in ["listen", "upstream"] {
        let port = value[key].as_str().and_then(|address| address.rsplit_once(':')).map(|(_, port)| port.to_owned());
        if let Some(port) = port.filter(|port| port.bytes().all(|byte| byte.is_ascii_digit())) {
            value[key] = format!("127.0.0.1:{port}").into();
        }
    }
    value
}

fn junk() -> impl Strategy<Value = Value> {
    let long = "x".repeat(70_000);
    select(vec![
        Value::Null,
        json!(true),
        json!(-1),
        json!(0),
        json!(1e300),
        json!(u64::MAX),
        json!(""),
        json!("-"),
        json!("9999999999h"),
        json!("\u{0}"),
        json!("١٢s"),
        json!(long),
        json!([]),
        json!([[null]]),
        json!({}),
        json!({"no": "such key"}),
    ])
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(fields) => fields.values().map(count).sum(),
        _ => 0,
    }
}

/// Puts junk in place of the value of this number, counted from the outside in.
fn replace(value: &mut Value, left: &mut usize, junk: &Value) -> bool {
    if *left == 0 {
        *value = junk.clone();
        return true;
    }
    *left -= 1;
    match value {
        Value::Array(items) => items.iter_mut().any(|item| replace(item, left, junk)),
        Value::Object(fields) => fields.values_mut().any(|field| replace(field, left, junk)),
        _ => false,
    }
}

/// Values of the form that a schema describes, no deeper than this.
fn form(document: &Arc<Value>, schema: &Value, depth: u32) -> BoxedStrategy<Value> {
    if let Some(target) = schema["$ref"].as_str() {
        let target = document.pointer(target.trim_start_matches('#')).unwrap();
        return form(document, target, depth);
    }
    if let Some(one) = schema.get("const") {
        return Just(one.clone()).boxed();
    }
    if let Some(words) = schema["enum"].as_array() {
        return select(words.clone()).boxed();
    }
    for key in ["oneOf", "anyOf"] {
        if let Some(branches) = schema[key].as_array() {
            return prop::strategy::Union::new(branches.iter().map(|branch| form(document, branch, depth))).boxed();
        }
    }
    let types: Vec<_> = match &schema["type"] {
        Value::String(one) => vec![one.as_str()],
        several => several.as_array().into_iter().flatten().filter_map(Value::as_str).collect(),
    };
    if types.is_empty() {
        return Just(Value::Null).boxed();
    }
    prop::strategy::Union::new(types.into_iter().map(|name| of_type(document, schema, name, depth))).boxed()
}

fn of_type(document: &Arc<Value>, schema: &Value, name: &str, depth: u32) -> BoxedStrategy<Value> {
    match name {
        "string" => match schema["pattern"].as_str() {
            Some(pattern) => {
                // The whole text is made of it, so it needs no anchors.
                let pattern = pattern.trim_start_matches('^').trim_end_matches('$').replace(r"\S", "[a-z]");
                string_regex(&pattern).unwrap().prop_map(Value::from).boxed()
            }
            None => "\\PC{0,12}".prop_map(Value::from).boxed(),
        },
        "integer" => {
            let least = schema["minimum"].as_u64().unwrap_or(0);
            let most = schema["maximum"].as_u64().unwrap_or(u64::MAX >> 11);
            prop_oneof![Just(least), Just(most), least..=most].prop_map(Value::from).boxed()
        }
        "number" => (0.0..=100.0).prop_map(|number: f64| json!(number)).boxed(),
        "boolean" => any::<bool>().prop_map(Value::from).boxed(),
        "array" if depth > 0 => vec(form(document, &schema["items"], depth - 1), 0..3).prop_map(Value::from).boxed(),
        "array" => Just(json!([])).boxed(),
        "object" if depth > 0 => object(document, schema, depth - 1),
        "object" => Just(json!({})).boxed(),
        _ => Just(Value::Null).boxed(),
    }
}

fn object(document: &Arc<Value>, schema: &Value, depth: u32) -> BoxedStrategy<Value> {
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    let field = |(name, field): (&String, &Value)| {
        let value = form(document, field, depth);
        let there = required.iter().any(|other| other == name);
        let value = if there { value.prop_map(Some).boxed() } else { option::weighted(0.4, value).boxed() };
        let name = name.clone();
        value.prop_map(move |value| Some((name.clone(), value?)))
    };
    let fields: Vec<_> = schema["properties"].as_object().into_iter().flatten().map(field).collect();
    fields.prop_map(|fields| Value::Object(fields.into_iter().flatten().collect::<Map<_, _>>())).boxed()
}
