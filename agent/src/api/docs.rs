//! `/openapi.json` and `/docs`: the description of the API for programs, and the same as one page for people.
//!
//! The page is made of the document, so it says nothing that the document does not; `docs.html` is how it looks. It
//! needs no network and no script. Neighbours: `openapi` makes the document, `table` lists the calls.
//! Invariant: every text reaches the page through the template, which escapes it.

use super::{Api, ApiError, openapi, table};
use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use minijinja::{AutoEscape, Environment, UndefinedBehavior, syntax::SyntaxConfig, value::Serde};
use serde::Serialize;
use serde_json::Value;
use std::sync::{Arc, OnceLock};

const PAGE: &str = include_str!("docs.html");
const COMPONENTS: &str = "#/components/schemas/";

/// Both forms, made when they are first asked for.
#[derive(Debug, Default)]
pub(crate) struct Docs {
    document: OnceLock<Arc<Value>>,
    page: OnceLock<String>,
}

impl Docs {
    fn document(&self) -> Arc<Value> {
        Arc::clone(self.document.get_or_init(|| Arc::new(openapi::document(&table::calls()))))
    }

    fn page(&self) -> Result<&str, minijinja::Error> {
        if let Some(page) = self.page.get() {
            return Ok(page);
        }
        let page = render(&self.document())?;
        Ok(self.page.get_or_init(|| page))
    }
}

pub(super) async fn openapi(State(api): State<Arc<Api>>) -> Response {
    axum::Json(&*api.docs.document()).into_response()
}

pub(super) async fn page(State(api): State<Arc<Api>>) -> Response {
    // What a page of ours needs, and nothing else, whatever finds its way into it.
    const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'";
    match api.docs.page() {
        Ok(page) => {
            let headers =
                [(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CONTENT_SECURITY_POLICY, POLICY)];
            (headers, page.to_owned()).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "failed to make the page of the API");
            ApiError::bug().into_response()
        }
    }
}

fn render(document: &Value) -> Result<String, minijinja::Error> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    environment.add_template("docs.html", PAGE)?;
    environment.get_template("docs.html")?.render(Serde(Page::of(document)))
}

/// Everything that the template shows.
#[derive(Serialize)]
struct Page<'a> {
    version: &'a str,
    about: Vec<&'a str>,
    sections: Vec<Section<'a>>,
    shapes: Vec<ShapeView<'a>>,
}

#[derive(Serialize)]
struct Section<'a> {
    name: &'a str,
    about: &'a str,
    calls: Vec<CallView<'a>>,
}

#[derive(Serialize)]
struct CallView<'a> {
    id: &'a str,
    method: String,
    path: &'a str,
    summary: &'a str,
    about: &'a str,
    parameters: Vec<ParameterView<'a>>,
    body: Option<BodyView>,
    answers: Vec<AnswerView<'a>>,
    open: bool,
}

#[derive(Serialize)]
struct ParameterView<'a> {
    name: &'a str,
    place: &'a str,
    about: &'a str,
    kind: Vec<Piece>,
}

#[derive(Serialize)]
struct BodyView {
    kind: Vec<Piece>,
    required: bool,
    example: String,
}

#[derive(Serialize)]
struct AnswerView<'a> {
    status: &'a str,
    about: &'a str,
    kind: Vec<Piece>,
    good: bool,
}

#[derive(Serialize)]
struct ShapeView<'a> {
    name: &'a str,
    about: &'a str,
    kind: Vec<Piece>,
    fields: Vec<FieldView<'a>>,
    words: Vec<FieldView<'a>>,
}

#[derive(Serialize)]
struct FieldView<'a> {
    name: &'a str,
    about: &'a str,
    kind: Vec<Piece>,
    required: bool,
    default: Option<String>,
}

/// A piece of a type's name; one that is the name of a shape is a link to it.
#[derive(Debug, PartialEq, Serialize)]
struct Piece {
    text: String,
    shape: bool,
}

impl<'a> Page<'a> {
    fn of(document: &'a Value) -> Self {
        let section = |tag: &'a Value| Section {
            name: text(tag, "name"),
            about: text(tag, "description"),
            calls: calls(document, text(tag, "name")),
        };
        Self {
            version: text(&document["info"], "version"),
            about: text(&document["info"], "description").split("\n\n").collect(),
            sections: list(document, "tags").iter().map(section).collect(),
            shapes: entries(&document["components"]["schemas"]).map(|(name, form)| ShapeView::of(name, form)).collect(),
        }
    }
}

fn calls<'a>(document: &'a Value, tag: &str) -> Vec<CallView<'a>> {
    let all = entries(&document["paths"])
        .flat_map(|(path, item)| entries(item).map(move |(method, operation)| (path, method, operation)));
    let of_tag = all.filter(|(_, _, operation)| operation["tags"][0] == tag);
    of_tag.map(|(path, method, operation)| CallView::of(path, method, operation)).collect()
}

impl<'a> CallView<'a> {
    fn of(path: &'a str, method: &str, operation: &'a Value) -> Self {
        let parameter = |parameter: &'a Value| ParameterView {
            name: text(parameter, "name"),
            place: text(parameter, "in"),
            about: text(parameter, "description"),
            kind: kind(&parameter["schema"]),
        };
        let body = operation.get("requestBody").map(|body| {
            let content = &body["content"][super::call::JSON];
            BodyView {
                kind: kind(&content["schema"]),
                required: body["required"] == true,
                example: serde_json::to_string_pretty(&content["example"]).unwrap_or_default(),
            }
        });
        let answer = |(status, answer): (&'a str, &'a Value)| AnswerView {
            status,
            about: text(answer, "description"),
            kind: answer.get("content").and_then(|content| entries(content).next()).map_or_else(Vec::new, said_as),
            good: status.starts_with('2'),
        };
        Self {
            id: text(operation, "operationId"),
            method: method.to_ascii_uppercase(),
            path,
            summary: text(operation, "summary"),
            about: text(operation, "description"),
            parameters: list(operation, "parameters").iter().map(parameter).collect(),
            body,
            answers: entries(&operation["responses"]).map(answer).collect(),
            open: operation.get("security").is_some(),
        }
    }
}

/// What is not JSON is named by its content type.
fn said_as((content, form): (&str, &Value)) -> Vec<Piece> {
    if content == super::call::JSON { kind(&form["schema"]) } else { vec![word(content)] }
}

impl<'a> ShapeView<'a> {
    fn of(name: &'a str, form: &'a Value) -> Self {
        let required = list(form, "required");
        let field = |(name, field): (&'a str, &'a Value)| FieldView {
            name,
            about: text(field, "description"),
            kind: kind(field),
            required: required.iter().any(|other| other == name),
            default: field.get("default").map(Value::to_string),
        };
        let fields: Vec<_> = entries(&form["properties"]).map(field).collect();
        let words: Vec<_> = list(form, "oneOf").iter().flat_map(alternatives).collect();
        let kind = if fields.is_empty() && words.is_empty() { kind(form) } else { Vec::new() };
        Self { name, about: text(form, "description"), kind, fields, words }
    }
}

/// The words, or the keys with their maps, that one branch of an enumeration allows.
fn alternatives(branch: &Value) -> Vec<FieldView<'_>> {
    let about = text(branch, "description");
    let named = |name, kind| FieldView { name, about, kind, required: false, default: None };
    if let Some(name) = branch["const"].as_str() {
        return vec![named(name, Vec::new())];
    }
    let several = list(branch, "enum").iter().filter_map(|word| Some(named(word.as_str()?, Vec::new())));
    several.chain(entries(&branch["properties"]).map(|(name, form)| named(name, kind(form)))).collect()
}

/// A schema's type in words.
fn kind(schema: &Value) -> Vec<Piece> {
    if let Some(name) = schema["$ref"].as_str().and_then(|target| target.strip_prefix(COMPONENTS)) {
        return vec![Piece { text: name.to_owned(), shape: true }];
    }
    if let Some(branches) = schema["anyOf"].as_array() {
        return branches.iter().map(kind).reduce(|a, b| joined(a, " or ", b)).unwrap_or_default();
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        several => several.as_array().into_iter().flatten().filter_map(Value::as_str).collect(),
    };
    let named = |name: &&str| match *name {
        "array" => joined(vec![], "list of ", kind(&schema["items"])),
        "object" if schema["additionalProperties"].is_object() => {
            joined(vec![], "map to ", kind(&schema["additionalProperties"]))
        }
        "string" if schema["pattern"].is_string() => vec![word(&format!("text like {}", text(schema, "pattern")))],
        other => vec![word(other)],
    };
    types.iter().map(named).reduce(|a, b| joined(a, " or ", b)).unwrap_or_else(|| vec![word("anything")])
}

fn joined(mut first: Vec<Piece>, between: &str, second: Vec<Piece>) -> Vec<Piece> {
    first.push(word(between));
    first.extend(second);
    first
}

fn word(text: &str) -> Piece {
    Piece { text: text.to_owned(), shape: false }
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn entries(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value.as_object().into_iter().flatten().map(|(key, value)| (key.as_str(), value))
}

#[cfg(test)]
mod tests {
    use super::{Docs, kind, render};
    use serde_json::json;

    #[test]
    fn the_page_shows_every_call_and_every_shape_and_loads_nothing() {
        let docs = Docs::default();
        let (document, page) = (docs.document(), docs.page().unwrap());
        for (path, item) in document["paths"].as_object().unwrap() {
            assert!(page.contains(path.replace('/', "&#x2f;").as_str()) || page.contains(path), "{path}");
            for operation in item.as_object().unwrap().values() {
                let id = operation["operationId"].as_str().unwrap();
                assert!(page.contains(&format!("id=\"{id}\"")), "{id}");
            }
        }
        for name in document["components"]["schemas"].as_object().unwrap().keys() {
            assert!(page.contains(&format!("id=\"shape-{name}\"")), "{name}");
        }
        for outside in ["<script", "src=", "@import", "url(", "href=\"http"] {
            assert!(!page.contains(outside), "{outside}");
        }
    }

    #[test]
    fn what_is_in_the_document_cannot_become_part_of_the_page() {
        let document = json!({
            "info": {"version": "<b>1</b>", "description": ""}, "tags": [], "paths": {},
            "components": {"schemas": {}},
        });
        let page = render(&document).unwrap();
        assert!(!page.contains("<b>1") && page.contains("&lt;b&gt;1"));
    }

    #[test]
    fn types_are_told_in_words() {
        let told = |schema| kind(&schema).into_iter().map(|piece| piece.text).collect::<String>();
        assert_eq!(told(json!({"type": ["string", "null"]})), "string or null");
        assert_eq!(told(json!({"anyOf": [{"$ref": "#/components/schemas/Span"}, {"type": "null"}]})), "Span or null");
        assert_eq!(told(json!({"type": "array", "items": {"type": "integer"}})), "list of integer");
        assert_eq!(told(json!(true)), "anything");
    }
}
